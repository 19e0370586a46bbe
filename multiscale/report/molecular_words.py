"""What a fit of readings says in words, from its tables alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from multiscale.errors import DataError
from multiscale.report.drawing import require
from multiscale.report.scores import with_split

__all__ = ["headline", "sentences"]

FITTED = ("training", "fitted", "all", "")
"""Labels of rows that were fitted, unless said otherwise; '' where rows have none."""

_SCORES = 2  # that the first line names; of more it gives the range
_NAMED = 3  # mutations of a term
_TERMS = 4  # energy terms that have a sentence of their own


def headline(tables: Mapping[str, pd.DataFrame], fitted: Sequence[str] = FITTED) -> str:
    """First line of the report: how well rows are predicted that were not fitted, and what is determined.

    Args:
        tables: `metrics` (columns `readings`, `n`, `r2`, optional `split`) and `energies` (column
            `determinedBy`).
        fitted: splits that were fitted.

    Raises:
        DataError: `metrics` is missing or lacks a column.

    >>> metrics = pd.DataFrame({"readings": ["binding"], "split": ["test"], "n": [120], "r2": [0.934]})
    >>> headline({"metrics": metrics})
    'Held-out rows are predicted with R² 0.93 (`binding` test).'
    """
    if "metrics" not in tables:
        raise DataError("`tables` has no `metrics`; a headline needs the scores of the fit.")
    metrics = _metrics(tables)
    held = metrics[~metrics["split"].isin(fitted)]
    scores, verb = (held, "Held-out rows are predicted") if len(held) else (metrics, "Fitted rows are met")
    facts = (
        [] if len(held) else ["nothing was held out, so this does not say how well new rows are predicted"]
    )
    facts += _determined(tables.get("energies", pd.DataFrame()))
    said = f"{verb} with R² {_scores(scores)}"
    return f"{said}: {'; '.join(facts)}." if facts else f"{said}."


def sentences(tables: Mapping[str, pd.DataFrame], fitted: Sequence[str] = FITTED) -> list[str]:
    """Sentences on what was learned and how sure it is, from the tables `parameters`, `energies`, `metrics`.

    Args:
        tables: of the fit; those that are missing say nothing.
        fitted: splits that were fitted.
    """
    said = [_graph(tables), *_largest(tables.get("energies", pd.DataFrame())), _coverage(tables, fitted)]
    return [sentence for sentence in said if sentence]


def _metrics(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    metrics = tables.get("metrics", pd.DataFrame(columns=["readings", "n", "r2"]))
    require(metrics, ["readings", "n", "r2"])
    return with_split(metrics)


def _scores(metrics: pd.DataFrame) -> str:
    """R² of a few sets of rows, or the range of many."""
    values = metrics["r2"].to_numpy(float)
    if len(metrics) > _SCORES:
        known = values[np.isfinite(values)]
        return f"{known.min():.2f} to {known.max():.2f} in {len(metrics)} sets of rows"
    named = [
        f"{f'{r2:.2f}' if np.isfinite(r2) else 'unknown'} (`{readings}`{f' {split}' if split else ''})"
        for readings, split, r2 in metrics[["readings", "split", "r2"]].itertuples(index=False)
    ]
    return " and ".join(named)


def _determined(energies: pd.DataFrame) -> list[str]:
    """How many energies the data determine, in words."""
    if "determinedBy" not in energies or energies.empty:
        return []
    counts = energies["determinedBy"].astype(str).value_counts()
    data, prior = int(counts.get("data", 0)), int(counts.get("prior", 0))
    return [
        f"the data determine {data:,} of {len(energies):,} energies (their interval is at most half as "
        f"wide as their prior), and {prior:,} are as open as before"
    ]


def _graph(tables: Mapping[str, pd.DataFrame]) -> str:
    """Energies of the graph itself: of the unchanged molecule."""
    parameters = tables.get("parameters", pd.DataFrame())
    if not {"parameterId", "parameterName", "nominalValue", "lower", "upper", "role"} <= set(
        parameters.columns
    ):
        return ""
    own = parameters[parameters["parameterName"].astype(str).str.startswith("energy ")].head(_TERMS)
    named = [
        f"`{name}` {_signed(value)} ({_signed(lower)} to {_signed(upper)})"
        for name, value, lower, upper in own[["parameterId", "nominalValue", "lower", "upper"]].itertuples(
            index=False
        )
    ]
    return (
        f"Energies of the unchanged molecule, kcal/mol (90 % interval): {'; '.join(named)}." if named else ""
    )


def _largest(energies: pd.DataFrame) -> list[str]:
    """Per term the largest changes that the data determine."""
    if not {"term", "label", "estimate", "lower", "upper", "determinedBy"} <= set(energies.columns):
        return []
    known = energies[energies["determinedBy"].astype(str) == "data"]
    said = []
    for term, part in list(known.groupby("term", sort=False))[:_TERMS]:
        top = part.loc[part["estimate"].abs().sort_values(ascending=False, kind="stable").index[:_NAMED]]
        named = [
            f"`{label}` {_signed(value)} ({_signed(lower)} to {_signed(upper)})"
            for label, value, lower, upper in top[["label", "estimate", "lower", "upper"]].itertuples(
                index=False
            )
        ]
        said.append(f"Largest changes of `{term}`, kcal/mol (90 % interval): {'; '.join(named)}.")
    return said


def _coverage(tables: Mapping[str, pd.DataFrame], fitted: Sequence[str]) -> str:
    """How many measurements lie inside their interval."""
    metrics = _metrics(tables)
    if "coverage_90" not in metrics or not metrics["coverage_90"].notna().any():
        return ""
    held = metrics[~metrics["split"].isin(fitted)]
    said = [
        f"{share:.0%} of {int(n):,} in `{readings}`{f' {split}' if split else ''}".replace("%", " %")
        for readings, split, n, share in (held if len(held) else metrics)
        .dropna(subset="coverage_90")[["readings", "split", "n", "coverage_90"]]
        .itertuples(index=False)
    ]
    return f"90 % intervals of single measurements hold {', '.join(said)}."


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
