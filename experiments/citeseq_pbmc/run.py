"""Do complexes help to predict hidden antibody counts of two CITE-seq panels?

    python experiments/citeseq_pbmc/run.py --out FOLDER [--quick] [--workers 2]

Finished fits lie in the folder, so that a run that was stopped goes on; the tables are printed at the end.
"""

from __future__ import annotations

import argparse
import os
import time
import tomllib
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one fit per core

import anndata
import numpy as np
import pandas as pd

import multiscale as ms
from multiscale.content import find
from multiscale.data.cells import Cells
from multiscale.errors import MultiscaleError
from multiscale.fit.cells.heldout import overdispersed
from multiscale.fit.cells.heldout_report import run_study
from multiscale.fit.cells.heldout_trials import HeldOut
from multiscale.model.cells.priors import CellPriors

HERE = Path(__file__).parent
GRAPHS = HERE.parent.parent / "graphs"


def read_panels(folder: Path, panels: dict[str, str]) -> tuple[anndata.AnnData, pd.DataFrame]:
    """Messages of all cells, and counts of antibodies, NaN where the panel has none."""
    parts = {name: anndata.read_h5ad(folder / file) for name, file in panels.items()}
    tables = []
    for name, part in parts.items():
        part.obs_names = [f"{name} {barcode}" for barcode in part.obs_names]
        columns = list(part.uns["protein_names"])
        tables.append(pd.DataFrame(part.obsm.pop("protein_expression"), part.obs_names, columns))
    return anndata.concat(parts, join="inner", label="panel"), pd.concat(tables)


def read_cells(config: dict[str, Any], data: Path, graph: ms.Graph) -> Cells:
    """Cells of both panels, with the genes that vary and those of the graph."""
    adata, proteins = read_panels(data, config["panels"])
    chosen = adata.var_names.isin(graph.nodes["molecule"]["identifier"])
    chosen[overdispersed(np.asarray(adata.X), config["genes"])] = True
    adata = adata[:, chosen].copy()
    adata.obsm["protein"] = proteins.fillna(0.0)
    antibodies = pd.read_csv(GRAPHS / config["graph"] / "antibodies.tsv", sep="\t").dropna(subset="target")
    own = antibodies[antibodies["panel"].isin(list(config["panels"]))]
    targets = own.drop_duplicates("antibody").set_index("antibody")["target"].to_dict()
    surface = ms.assays.SurfaceProteins(obsm_key="protein", targets=targets)
    assays = {"rna": ms.assays.Transcripts(), "protein": surface}
    cells = ms.from_anndata(adata, assays=assays, batch_key="panel")
    return cells.hide("protein", proteins.isna().to_numpy())


def study(quick: bool) -> tuple[HeldOut, dict[str, Any]]:
    """What is asked, and how often."""
    config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    if quick:
        config |= {"genes": 300, "seeds": 1, "rewirings": 2}
        config["study"]["fit"]["max_epochs"] = 60
    graph, asked = ms.read_graph(config["graph"]), config["study"]
    asked["priors"] = CellPriors(**asked["priors"])
    return HeldOut(
        cells=read_cells(config, find("datasets", config["data"]), graph), graph=graph, **asked
    ), config


def main() -> None:
    """Run what the folder lacks, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of finished fits and of the tables")
    parser.add_argument("--quick", action="store_true", help="few genes, epochs and controls")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    given, began = parser.parse_args(), time.perf_counter()
    try:
        asked, config = study(given.quick)
        print(run_study(asked, config, given.out / "quick" if given.quick else given.out, given.workers))
    except MultiscaleError as error:
        parser.exit(2, f"{error}\n")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
