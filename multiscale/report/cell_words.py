"""What a fit of single cells says in words, from its tables alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from multiscale.report.tables import number

__all__ = ["WITHOUT", "headline", "sentences"]

WITHOUT = "without graph"
"""Name of the control that has nothing but the latent state and a decoder."""

REWIRED = "rewired"
"""Begins the names of controls with rewired graphs."""

SHARE = 0.95
"""Of the rewired graphs must predict worse for the graph itself to matter, as in fits of groups."""

CERTAIN = 2.0
"""Standard errors that a difference must exceed to be called one; by chance about 1 in 20 does."""


def headline(tables: Mapping[str, pd.DataFrame]) -> str:
    """First line of the report: whether the graph helps to predict readings that the fit did not see.

    Args:
        tables: `comparison`, with columns `control`, `modality` (`all` = all of them), `readings`, `cells`,
            `fitted`, `without`, `difference`, `standard_error` (nats per reading); missing or empty if
            nothing was held out.

    >>> row = {"control": WITHOUT, "modality": "all", "readings": 900, "cells": 90, "fitted": -1.25}
    >>> row |= {"without": -1.3, "difference": 0.05, "standard_error": 0.01}
    >>> print(headline({"comparison": pd.DataFrame([row])}))  # doctest: +NORMALIZE_WHITESPACE
    The graph helps: held-out readings have a log density of −1.25 nats each with it and −1.3 without
    (difference +0.05 ± 0.01; 900 readings of 90 cells).
    """
    comparison = tables.get("comparison", pd.DataFrame())
    if comparison.empty:
        return "Nothing was held out, so this fit does not say whether the graph helps."
    whole = comparison[comparison["modality"] == "all"]
    controls = whole[whole["control"] == WITHOUT]
    if controls.empty:
        said = number(float(whole["fitted"].iloc[0]))
        return (
            f"Held-out readings have a log density of {said} nats each: no control without a graph was "
            "fitted, so this does not say whether the graph helps."
        )
    row = controls.iloc[0]
    counts = f"{int(row['readings']):,} readings of {int(row['cells']):,} cells"
    return (
        f"{_verdict(row, whole)}: held-out readings have a log density of {number(row['fitted'])} nats each "
        f"with it and {number(row['without'])} without (difference {_difference(row)}; {counts})."
    )


def _verdict(row: Any, whole: pd.DataFrame) -> str:
    """What the difference to no graph says, and whether it takes this graph to make it."""
    difference, error = float(row["difference"]), float(row["standard_error"])
    if abs(difference) <= CERTAIN * error:
        return "The graph makes no difference that held-out readings show"
    if difference < 0:
        return "The graph does not help, predictions are worse with it"
    rewired = whole[whole["control"].str.startswith(REWIRED)]
    worse = (rewired["difference"] > 0).sum()
    if worse < SHARE * len(rewired):
        better = f"{len(rewired) - worse} of {len(rewired)}"
        return f"The graph helps, but so do rewired ones ({better} predict better)"
    return "The graph helps"


def _difference(row: Any) -> str:
    """A difference with its sign and standard error."""
    value, error = float(row["difference"]), float(row["standard_error"])
    sign = "+" if value > 0 else ""
    return f"{sign}{number(float(f'{value:.3g}'))} ± {number(float(f'{error:.1g}'))}"


def sentences(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Sentences on what was learned, from the tables that are there.

    Args:
        tables: of a fit of cells: `comparison`, `reads_graph`, `units`, `checks`, `history`.
    """
    parts = {name: tables.get(name, pd.DataFrame()) for name in ("comparison", "reads_graph", "units")}
    said = [
        *_per_modality(parts["comparison"]),
        *_rewired(parts["comparison"]),
        *_reads(parts["reads_graph"], tables.get("scores", pd.DataFrame())),
        *_units(parts["units"]),
        *_coverage(tables.get("checks", pd.DataFrame())),
    ]
    return [sentence for sentence in said if sentence]


def _per_modality(comparison: pd.DataFrame) -> list[str]:
    """Differences of each modality, where there are several."""
    if comparison.empty:
        return []
    rows = comparison[(comparison["control"] == WITHOUT) & (comparison["modality"] != "all")]
    if len(rows) < 2:
        return []
    said = [f"{_difference(row)} for `{row['modality']}`" for _, row in rows.iterrows()]
    return [f"By modality the graph changes the log density of a held-out reading by {', '.join(said)} nats."]


def _rewired(comparison: pd.DataFrame) -> list[str]:
    if comparison.empty:
        return []
    whole = comparison[(comparison["modality"] == "all") & comparison["control"].str.startswith(REWIRED)]
    if whole.empty:
        return []
    worse = int((whole["difference"] > 0).sum())
    return [f"{worse} of {len(whole)} rewired graphs predict the held-out readings worse than the graph."]


def _reads(reads: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    names = [] if "modality" not in scores else list(dict.fromkeys(scores["modality"]))
    counts = reads["modality"].value_counts() if len(reads) else pd.Series(dtype=int)
    said = [f"{int(counts.get(name, 0)):,} features of `{name}`" for name in names]
    return [f"The graph is read by {' and '.join(said)}; a decoder explains the others."] if said else []


def _units(units: pd.DataFrame) -> list[str]:
    if units.empty:
        return []
    return [f"{int(units['active'].sum())} of {len(units)} latent dimensions are in use."]


def _coverage(checks: pd.DataFrame) -> list[str]:
    """How many readings lie inside their interval."""
    if not {"modality", "observed", "lower", "upper"} <= set(checks.columns) or checks.empty:
        return []
    inside = (checks["lower"] <= checks["observed"]) & (checks["observed"] <= checks["upper"])
    shares = inside.groupby(checks["modality"], sort=False).mean()
    said = [f"{100 * share:.0f} % of `{name}`" for name, share in shares.items() if np.isfinite(share)]
    return [f"Inside their 90 % interval are {' and '.join(said)}, among the features that were checked."]
