"""Small kinetic graphs and data of known truth for tests of regimes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

import multiscale as ms
from multiscale.assays import Assay, Concentration
from multiscale.data import Contexts, Data, MeasurementTable, from_measurements, group_contexts

__all__ = ["ENZYME", "context_table", "enzyme", "measured", "noisy", "parameter", "problem"]


def parameter(name: str, role: str, unit: str, value: float, sd: float | None = None) -> dict[str, object]:
    """Row of parameters.tsv: fixed without `sd`, else with a normal prior around the value on its scale."""
    linear = role in ("energy", "efficacy")
    row: dict[str, object] = {
        "parameterId": name,
        "role": role,
        "unit": unit,
        "nominalValue": value,
        "parameterScale": "lin" if linear else "log",
        "estimate": 0 if sd is None else 1,
    }
    if sd is not None:
        mean = value if linear else math.log(value)
        row |= {"objectivePriorType": "parameterScaleNormal", "objectivePriorParameters": f"{mean!r};{sd!r}"}
    return row


ENZYME = [
    parameter("k_on", "k_on", "1/(uM*s)", 2.0, 1.0),
    parameter("k_cat", "k_cat", "1/s", 0.5, 1.0),
    parameter("g_ES", "energy", "kcal/mol", -8.0, 1.0),
    parameter("E0", "concentration", "uM", 0.5),
    parameter("S0", "concentration", "uM", 2.0),
]
"""Prior medians of the enzyme, its starts fixed."""


def enzyme(parameters: list[dict[str, object]] | None = None) -> ms.Graph:
    """E + S ⇌ ES → E + P, whose backward rate constant follows from the energy of ES."""
    nodes = {
        "molecule": pd.DataFrame({"name": ["E", "S", "P"], "initial": ["E0", "S0", ""]}),
        "complex": pd.DataFrame({"name": ["ES"], "energy": ["g_ES"]}),
        "reaction": pd.DataFrame(
            {
                "name": ["bind", "make"],
                "reversible": [True, False],
                "k_f": ["k_on", "k_cat"],
                "source_or_sink": [False, True],
            }
        ),
    }
    edges = {
        "subunit": _edges(("E", "ES"), ("S", "ES")),
        "reactant": _edges(("E", "bind"), ("S", "bind"), ("ES", "make")),
        "product": _edges(("bind", "ES"), ("make", "E"), ("make", "P")),
    }
    return ms.Graph.from_tables("enzyme", nodes, edges, pd.DataFrame(parameters or ENZYME))


def _edges(*pairs: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(pairs), columns=["source", "target"])


def measured(
    rows: Sequence[tuple],
    assay: Assay | None = None,
    name: str = "blot",
    unit: str = "uM",
    **columns: Any,
) -> MeasurementTable:
    """Table of concentrations from rows of context, target, time and value."""
    table = pd.DataFrame(rows, columns=["context", "target", "time", "value"]).assign(unit=unit, **columns)
    assay = assay or Concentration()
    return MeasurementTable(name, assay, assay.prepare(table, where=name))


def context_table(
    names: list[str], interventions: list[tuple] | None = None, preequilibrate: dict[str, str] | None = None
) -> Contexts:
    """Groups with interventions (context, kind, target, value, time, until)."""
    contexts = group_contexts(names)
    if preequilibrate:
        given = [preequilibrate.get(name, "") for name in names]
        contexts = contexts.with_covariates(pd.DataFrame({"context": names, "preequilibrate": given}))
    if interventions:
        columns = ["context", "kind", "target", "value", "time", "until"]
        rows = [(*row, *[""] * (len(columns) - len(row))) for row in interventions]
        contexts = contexts.with_interventions(pd.DataFrame(rows, columns=columns))
    return contexts


def problem(
    graph: ms.Graph, table: MeasurementTable, contexts: Contexts | None = None, **options
) -> ms.Problem:
    """A kinetic problem of one table."""
    data: Data = from_measurements(table, contexts=contexts)
    return ms.Problem(graph, data, **{"regime": "time_course", **options})


def noisy(values: np.ndarray, sd: float, seed: int) -> np.ndarray:
    """Values with log-normal noise."""
    return values * np.exp(np.random.default_rng(seed).normal(0.0, sd, values.shape))
