"""What a fit found, as numbers and as everything that a report shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from multiscale.fit.evaluation import Evaluation, inside, paired_bootstrap
from multiscale.fit.words import headline, learned, not_determined
from multiscale.formats import Network
from multiscale.report.findings import Findings

if TYPE_CHECKING:
    from multiscale.fit.result import Result

__all__ = ["findings", "judged", "metrics"]


def metrics(result: Result, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Machine-readable summary of a fit and its held-out errors."""
    optimum = result.optimum
    best = optimum.best
    return {
        "format_version": 1,
        "headline": headline(evaluations),
        "loss": float(optimum.loss[best]),
        "terms": result.terms(),
        "starts": len(optimum.loss),
        "starts_within_2_of_best": int((optimum.loss <= optimum.loss[best] + 2).sum()),
        "reasons": pd.Series(optimum.reasons).value_counts().to_dict(),
        "matched": {name: str(found) for name, found in result.problem.matches.items()},
        "sentences": learned(result, evaluations),
        "not_determined": not_determined(result),
        "held_out": {name: _scores(evaluation) for name, evaluation in evaluations.items()},
        **{key: value for key, value in result.metadata().items() if key != "format_version"},
    }


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    """Errors, and differences to the fitted model with 95 % intervals over molecules."""
    table = evaluation.table
    touched = table[table["touched_by_graph"]]
    unit = ["molecule", "context"]
    scores: dict[str, Any] = {
        "held_out_together": list(evaluation.unit),
        "entries": len(table),
        "entries_touched_by_graph": len(touched),
        "blocks": len(table[unit].drop_duplicates()),
        "blocks_touched_by_graph": len(touched[unit].drop_duplicates()),
        "molecules_touched_by_graph": sorted(set(touched["molecule"])),
        "rmse": evaluation.scores().to_dict(orient="index"),
        "fitted_minus": {
            other: {name: _difference(part, other) for name, part in (("touched", touched), ("all", table))}
            for other in evaluation.models
            if other != "fitted"
        },
        "unit": f"{evaluation.scale}; differences of RMSE with 95 % bootstrap intervals over molecules",
    }
    if "lower" in table:
        scores["inside_90_interval"] = {"all": inside(table), "touched": inside(touched)}
    if evaluation.rewired:
        fitted = evaluation.scores().loc["fitted", "touched"]
        scores["rewired_rmse_touched"] = evaluation.rewired
        scores["rewirings_beaten"] = int((np.array(evaluation.rewired) > fitted).sum())
    return scores


def _difference(table: pd.DataFrame, other: str) -> dict[str, float]:
    if table.empty:
        return {}
    value, lower, upper = paired_bootstrap(table, "fitted", other)
    return {"difference": value, "lower": lower, "upper": upper}


def findings(
    result: Result,
    evaluations: Mapping[str, Evaluation],
    tables: Mapping[str, pd.DataFrame] | None = None,
    title: str = "",
    question: str = "",
) -> Findings:
    """Everything that a report says of a fit.

    Args:
        result: the fit.
        evaluations: held-out judging by name of the split.
        tables: further tables of a run (profiles, information, sources).
        title: of the page; default the name of the graph.
        question: what was asked.
    """
    numbers = metrics(result, evaluations)
    return Findings(
        title=title or result.graph.name,
        question=question,
        headline=numbers["headline"],
        sentences=numbers["sentences"],
        undetermined=numbers["not_determined"],
        network=Network(result.graph, result.node_values(), result.metadata()),
        tables=result.tables() | judged(evaluations) | dict(tables or {}),
        meta=numbers,
    )


def judged(evaluations: Mapping[str, Evaluation]) -> dict[str, pd.DataFrame]:
    """Tables of what was held out, by name of the split, and of the rewired graphs."""
    controls = [evaluation.controls() for evaluation in evaluations.values() if evaluation.rewired]
    tables = {name: evaluation.table for name, evaluation in evaluations.items()}
    return tables | ({"controls": controls[0]} if controls else {})
