"""A small problem with every kind of parameter: 7 molecules, 6 complexes, 4 contexts, four instruments.

Only its design matters (who is measured where, by what, how often): the simulation replaces all readings.
"""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd

import multiscale as ms
from multiscale.data import MeasurementTable

CONTEXTS = ["k", "l", "m", "n"]
CELLS = 40  # per context
SIZE = 3000.0  # counts per cell
MOLECULES = {  # compartment, and the share of transcripts; H is supplied without a transcript
    "A": ("inside", 3e-3),
    "B": ("inside", 2e-3),
    "C": ("inside", 1e-3),
    "D": ("surface", 2e-3),
    "E": ("inside", 2e-3),
    "F": ("inside", 5e-4),
    "H": ("inside", None),
}
COMPLEXES = [  # name, compartment, energy, statistical factor, orphan, evidence
    ("A:B", "surface", "g_AB", 1.0, "rho_AB", "measured"),
    ("A:B:C", "surface", "g_AB;g_ABC", 1.0, "", "obligate"),
    ("D2", "surface", "g_DD", 0.5, "", "measured"),
    ("E:F", "inside", "g_EF", 1.0, "", "measured"),
    ("E:H", "inside", "g_EH", 1.0, "", "measured"),
    ("D2:AB", "contact", "g_AB;g_DD;g_contact", 1.0, "", "measured"),
]
PARAMETERS = [  # name, scale, lower, upper, nominal, mean and sd of the prior, unit, role
    ("g_AB", "lin", -40.0, 10.0, -10.0, "-10;2", "kcal/mol", "energy"),
    ("g_ABC", "lin", -40.0, 10.0, -8.0, "-8;2", "kcal/mol", "energy"),
    ("g_DD", "lin", -40.0, 10.0, -9.0, "-9;2", "kcal/mol", "energy"),
    ("g_EF", "lin", -40.0, 10.0, -9.0, "-9;2", "kcal/mol", "energy"),
    ("g_EH", "lin", -40.0, 10.0, -8.0, "-8;2", "kcal/mol", "energy"),
    ("g_contact", "lin", -40.0, 10.0, -8.0, "-8;3", "kcal/mol", "energy"),
    ("rho_AB", "log", 0.01, 1.0, 0.3, "-1.2;1", "1", "loss"),
    ("h_contact", "log", 0.1, 100.0, 3.0, "1.1;1.1", "nm", "confinement"),
]
AFFINITIES = [  # complex, parts, value, unit, quantity, format
    ("A:B", "", 50.0, "nM", "Kd", "monovalent"),
    ("A:B", "", 5.0, "nM", "Kd", "bivalent"),
    ("D2", "", 400.0, "nM", "Kd", "monovalent"),
    ("D2", "", 40.0, "nM", "Kd", "bivalent"),
    ("E:F", "", 400.0, "nM", "Kd", "monovalent"),
    ("E:H", "", 1.0, "uM", "Kd", "monovalent"),
    ("D2:AB", "D2;A:B", 2.0, "uM", "Kd", "monovalent"),
    ("D2:AB", "D2;A:B", 100.0, "molecules/um^2", "Kd_2D", "monovalent"),
]
SUBUNITS = [  # molecule, complex, stoichiometry, side
    ("A", "A:B", 1, ""),
    ("B", "A:B", 1, ""),
    ("A", "A:B:C", 1, ""),
    ("B", "A:B:C", 1, ""),
    ("C", "A:B:C", 1, ""),
    ("D", "D2", 2, ""),
    ("E", "E:F", 1, ""),
    ("F", "E:F", 1, ""),
    ("E", "E:H", 1, ""),
    ("H", "E:H", 1, ""),
    ("D", "D2:AB", 2, "sender"),
    ("A", "D2:AB", 1, "receiver"),
    ("B", "D2:AB", 1, "receiver"),
]

__all__ = ["small_problem"]


def small_problem() -> ms.Problem:
    """Graph and design; the readings are placeholders."""
    data = ms.from_anndata(_cells(), groupby="type")
    for name, assay, table in (
        ("proteome", ms.assays.Copies(), _copies("proteomics", "total", list(MOLECULES))),
        ("antibodies", ms.assays.Copies(), _copies("cytometry", "surface", list("ABD"))),
        ("affinities", ms.assays.Affinity(), _affinities()),
    ):
        data = data.join(MeasurementTable(name, assay, assay.prepare(table, where=name)))
    return ms.Problem(_graph(), data)


def _transcripts() -> list[str]:
    return [name for name, (_, level) in MOLECULES.items() if level]


def _graph() -> ms.Graph:
    genes = _transcripts()
    molecules = pd.DataFrame(
        {
            "name": [*MOLECULES, *(f"{gene}.rna" for gene in genes)],
            "kind": ["protein"] * len(MOLECULES) + ["transcript"] * len(genes),
            "identifier": [*MOLECULES, *genes],
            "compartment": [place for place, _ in MOLECULES.values()] + [""] * len(genes),
        }
    )
    complexes = ["name", "compartment", "energy", "statistical_factor", "orphan", "evidence"]
    encodes = pd.DataFrame({"source": [f"{gene}.rna" for gene in genes], "target": genes})
    subunits = pd.DataFrame(SUBUNITS, columns=["source", "target", "stoichiometry", "side"])
    return ms.Graph.from_tables(
        "small",
        {"molecule": molecules, "complex": pd.DataFrame(COMPLEXES, columns=complexes)},
        {"subunit": subunits, "encodes": encodes},
        _parameters(),
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


def _parameters() -> pd.DataFrame:
    columns = ["parameterId", "parameterScale", "lowerBound", "upperBound", "nominalValue"]
    columns += ["objectivePriorParameters", "unit", "role"]
    return pd.DataFrame(PARAMETERS, columns=columns).assign(
        estimate=1, objectivePriorType="parameterScaleNormal"
    )


def _cells() -> anndata.AnnData:
    """Counts whose pooled levels are those of the table above: the centre of the prior of levels."""
    names = _transcripts()
    levels = np.array([MOLECULES[name][1] for name in names], dtype=float)
    counts = np.random.default_rng(0).poisson(SIZE * levels, (CELLS * len(CONTEXTS), len(names)))
    obs = pd.DataFrame({"type": pd.Categorical(np.repeat(CONTEXTS, CELLS)), "n_counts": SIZE})
    obs.index = [f"cell{i}" for i in range(len(obs))]
    return anndata.AnnData(counts.astype(np.float32), obs=obs, var=pd.DataFrame(index=names))


def _copies(source: str, readout: str, molecules: list[str]) -> pd.DataFrame:
    """A reading of every molecule in every context; in the last context only a limit."""
    rows = [
        (context, molecule, 30_000.0, "no" if context == CONTEXTS[-1] else "yes", 40_000.0)
        for context in CONTEXTS
        for molecule in molecules
    ]
    columns = ["context", "molecule", "value", "detected", "limit"]
    return pd.DataFrame(rows, columns=columns).assign(
        source=source, readout=readout, limit=lambda t: t["limit"].where(t["detected"] == "no", 1000.0)
    )


def _affinities() -> pd.DataFrame:
    return pd.DataFrame(AFFINITIES, columns=["complex", "parts", "value", "unit", "quantity", "format"])
