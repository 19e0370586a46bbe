"""What all tests share: shapes checked, figures without windows, larger data if they are there."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import pytest
from jaxtyping import install_import_hook

matplotlib.use("Agg")
install_import_hook(["multiscale.physics", "multiscale.passing"], "beartype.beartype")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with `data/`, `conformance/` and `facts/`; tests that need it skip where there is none."""
    path = os.environ.get("MULTISCALE_DATA", "")
    if not path:
        pytest.skip(
            "MULTISCALE_DATA is not set: it names the folder that holds data/, conformance/ and facts/"
        )
    if not Path(path).is_dir():
        pytest.skip(f"MULTISCALE_DATA names {path}, which is not a folder")
    return Path(path)


@pytest.fixture(autouse=True)
def _close_figures():
    """Figures of one test do not live on in the next."""
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def small_graph():
    """Subunits A and B of one complex on the membrane, C alone, a dimer L that meets the complex's cell."""
    import pandas as pd

    from multiscale.graph import Graph

    genes = ["A", "B", "C", "L"]
    molecules = pd.DataFrame(
        {
            "name": genes + [f"{gene}.rna" for gene in genes],
            "kind": ["protein"] * 4 + ["transcript"] * 4,
            "identifier": genes * 2,
            "compartment": ["inside", "inside", "surface", "surface"] + [""] * 4,
        }
    )
    complexes = pd.DataFrame(
        {
            "name": ["A:B", "L2", "L2:AB"],
            "compartment": ["surface", "surface", "contact"],
            "energy": ["g_AB", "g_LL", "g_AB;g_LL;g_contact"],
            "statistical_factor": [1.0, 0.5, 1.0],
            "orphan": ["rho_AB", "", ""],
            "evidence": ["measured", "obligate", "measured"],
        }
    )
    subunits = pd.DataFrame(
        {
            "source": ["A", "B", "L", "L", "A", "B"],
            "target": ["A:B", "A:B", "L2", "L2:AB", "L2:AB", "L2:AB"],
            "stoichiometry": [1, 1, 2, 2, 1, 1],
            "side": ["", "", "", "sender", "receiver", "receiver"],
        }
    )
    parameters = pd.DataFrame(
        {
            "parameterId": ["g_AB", "g_LL", "g_contact", "rho_AB", "h_contact"],
            "parameterScale": ["lin", "lin", "lin", "log", "log"],
            "lowerBound": [-40.0, -40.0, -40.0, 0.01, 0.1],
            "upperBound": [10.0, 10.0, 10.0, 1.0, 100.0],
            "nominalValue": [-10.0, -10.0, -8.0, 0.3, 3.0],
            "estimate": 1,
            "objectivePriorType": ["normal"] * 3 + ["parameterScaleNormal"] * 2,
            "objectivePriorParameters": ["-10;2", "-10;2", "-8;3", "-1.2;1", "1.1;1.1"],
            "unit": ["kcal/mol"] * 3 + ["1", "nm"],
            "role": ["energy"] * 3 + ["loss", "confinement"],
        }
    )
    return Graph.from_tables(
        "small",
        {"molecule": molecules, "complex": complexes, "pathway": pd.DataFrame({"name": ["signal"]})},
        {
            "subunit": subunits,
            "encodes": pd.DataFrame({"source": [f"{gene}.rna" for gene in genes], "target": genes}),
            "member": pd.DataFrame(
                {"source": ["A:B", "L2:AB"], "target": "signal", "sign": 1, "weight": 1.0}
            ),
        },
        parameters,
        {
            "licence": "CC0-1.0",
            "cell": {"volume_fL": 200.0, "surface_um2": 165.0},
            "compartments": {
                "inside": {"geometry": "volume"},
                "surface": {"geometry": "membrane"},
                "contact": {"geometry": "contact", "confinement": "h_contact"},
            },
        },
    )


@pytest.fixture
def small_adata():
    """120 cells of three types with counts of A, B, C, L and a gene not in the graph; B is rare in type z."""
    import anndata
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(0)
    labels = np.repeat(["x", "y", "z"], 40)
    level = {"x": [8, 8, 3, 2, 4], "y": [4, 12, 6, 1, 4], "z": [10, 1, 2, 4, 4]}
    counts = generator.poisson(np.array([level[label] for label in labels], dtype=float)).astype(np.float32)
    obs = pd.DataFrame({"kind": pd.Categorical(labels)}, index=[f"cell{i}" for i in range(120)])
    obs["n_counts"] = 3000.0
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=["A", "B", "C", "L", "other"]))


@pytest.fixture
def small_tables(tmp_path: Path) -> dict[str, Path]:
    """Copies of A, B, C in three cell types, and two affinities of the small graph, as files."""
    rows = ["context\tmolecule\tvalue\tdetected\tsource"]
    copies = {"x": (80000, 80000, 30000), "y": (40000, 60000, 60000), "z": (20000, 9000, 20000)}
    for context, values in copies.items():
        rows += [f"{context}\t{name}\t{value}\tyes\tms" for name, value in zip("ABC", values, strict=True)]
    rows.append("z\tL\t\tno\tms")
    affinities = ["complex\tparts\tvalue\tunit\trelation", "A:B\t\t20\tnM\t=", "L2:AB\tL2;A:B\t1.5\tuM\t="]
    paths = {"proteome": tmp_path / "copies.tsv", "affinities": tmp_path / "affinities.tsv"}
    paths["proteome"].write_text("\n".join(rows) + "\n")
    paths["affinities"].write_text("\n".join(affinities) + "\n")
    return paths


@pytest.fixture
def small_problem(small_graph, small_adata, small_tables):
    """The small graph, counts, copies and affinities as one problem."""
    import multiscale as ms

    data = ms.from_anndata(small_adata, groupby="kind", pairs=True)
    data = data.join(
        ms.read_measurements(small_tables["proteome"], assay=ms.assays.Copies(), name="proteome")
    )
    data = data.join(
        ms.read_measurements(small_tables["affinities"], assay=ms.assays.Affinity(), name="affinities")
    )
    return ms.Problem(small_graph, data)


@pytest.fixture
def project(tmp_path: Path, small_graph, small_adata, small_tables) -> Path:
    """A folder with a complete small project; its fit.toml can be altered by the test."""
    from multiscale.graph import write_graph

    write_graph(small_graph, tmp_path / "net")
    small_adata.write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "fit.toml").write_text(SMALL_FIT)
    return tmp_path


SMALL_FIT = """
graph = "net"
[data]
anndata = "cells.h5ad"
groupby = "kind"
pairs = true
[data.assays.rna]
type = "counts"
[data.tables.proteome]
path = "copies.tsv"
assay = "copies"
[data.tables.affinities]
path = "affinities.tsv"
assay = "affinity"
[fit]
starts = 3
seed = 1
adam_steps = 20
max_steps = 60
[uncertainty]
draws = 0
audit = false
[holdout]
table = "proteome"
folds = 2
starts = 1
[controls]
rewirings = 1
workers = 1
"""
