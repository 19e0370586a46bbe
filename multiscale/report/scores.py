"""Pictures of readings beside their fit: what instruments make of the state, predicted against measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from multiscale.errors import DataError
from multiscale.report.drawing import AMBER, BLUE, GREY, panels, plain, require

__all__ = ["predicted", "readout", "score", "with_split"]

_MANY = 300  # points; more are counted in hexagons
_HEXAGONS = 34  # along an axis
_DECADES = 100.0  # ratio of the largest to the smallest readout from which on it is drawn by factors


def readout(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Calibration: expected measurement against the state that the instrument reads, and what it measured.

    Line: the fitted calibration. Dots: mean measurement of all rows of similar state; bars: ± one standard
    deviation of single rows; the larger the dot, the more rows.

    Args:
        table: one row per bin: columns `readings`, `readout` (fraction, µM, or energy), `expected`,
            `observed_mean`, `observed_sd` (of single rows), `n` (rows); optional `quantity`, `unit` (labels
            of the axes).
        ax: axes whose place the panels take, one per readings; new ones if None.

    Returns:
        the axes that hold the panels (`ax.child_axes`).

    Raises:
        DataError: a column is missing, or the table has no row.
    """
    require(table, ["readings", "readout", "expected", "observed_mean", "observed_sd", "n"])
    if table.empty:
        raise DataError("`table` has no row; there is nothing to draw.")
    parts = list(table.groupby("readings", sort=False))
    ax, places = panels(ax, len(parts), (3.4, 3.0))
    for (name, part), place in zip(parts, places, strict=True):
        _draw_readout(place, str(name), part.sort_values("readout", kind="stable"))
    return ax


def _draw_readout(ax: Axes, name: str, part: pd.DataFrame) -> None:
    state, count = part["readout"].to_numpy(float), part["n"].to_numpy(float)
    measured = part["observed_mean"].to_numpy(float)
    ax.plot(state, part["expected"], "-", color=AMBER, linewidth=1.6, zorder=1, label="expected")
    ax.errorbar(state, measured, part["observed_sd"], fmt="none", ecolor=GREY, elinewidth=1.0, zorder=2)
    size = 8 + 40 * np.sqrt(count / count.max()) if count.max() > 0 else 8
    ax.scatter(state, measured, s=size, color=BLUE, linewidths=0, zorder=3, label="measured")
    positive = state[np.isfinite(state)]
    if len(positive) and positive.min() > 0 and positive.max() > _DECADES * positive.min():
        ax.set_xscale("log")
    ax.set_title(plain([name], 34)[0] + f"\n{int(count.sum()):,} rows", fontsize=9, loc="left")
    ax.set_xlabel(plain([_said(part, "quantity", "readout")])[0], fontsize=8)
    unit = _said(part, "unit", "")
    ax.set_ylabel("measurement" + (f", {plain([unit])[0]}" if unit not in ("", "1") else ""), fontsize=8)
    ax.tick_params(labelsize=8)
    ax.legend(frameon=False, fontsize=7)


def _said(part: pd.DataFrame, column: str, otherwise: str) -> str:
    """What an optional column says, if it says one thing."""
    said = part[column].dropna().astype(str).unique() if column in part else []
    return said[0] if len(said) == 1 and said[0] else otherwise


def predicted(table: pd.DataFrame, metrics: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """Predicted against measured values, one panel per readings and split; many points as hexagons of counts.

    The corner says R² (squared correlation), n, and how many measurements lie inside their 90 % interval.

    Args:
        table: columns `readings`, `observed`, `predicted`; optional `split`, `lower` and `upper`, and `unit`.
            Rows without a measured value (bounds) are left out.
        metrics: columns `readings`, `n`, `r2`, `coverage_90`, optional `split`: scores of all rows, where
            `table` holds some; worked out from the table if None.
        ax: axes whose place the panels take; new ones if None.

    Returns:
        the axes that hold the panels (`ax.child_axes`).

    Raises:
        DataError: a column is missing, or no row has a measured value.
    """
    require(table, ["readings", "observed", "predicted"])
    table = with_split(table)
    known = table[
        np.isfinite(table["observed"].astype(float)) & np.isfinite(table["predicted"].astype(float))
    ]
    if known.empty:
        raise DataError("`table` has no row with a measured and a predicted value.")
    parts = list(known.groupby(["readings", "split"], sort=False))
    order = list(dict.fromkeys(known["readings"]))
    parts.sort(key=lambda part: order.index(part[0][0]))  # splits of one instrument beside each other
    ax, places = panels(ax, len(parts), (3.3, 3.3))
    for (key, part), place in zip(parts, places, strict=True):
        scores = _stated(metrics, *map(str, key)) or score(part)
        _draw_predicted(place, " ".join(str(word) for word in key if word), part, scores)
    return ax


def with_split(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `split`, '' where nothing is said."""
    said = table["split"].fillna("").astype(str) if "split" in table else ""
    return table.assign(split=said)


def score(part: pd.DataFrame) -> dict[str, float]:
    """Number of rows, squared correlation, and fraction inside the 90 % interval, NaN where there is none.

    >>> score(pd.DataFrame({"observed": [0.0, 1.0, 2.0], "predicted": [1.0, 3.0, 5.0]}))
    {'n': 3, 'r2': 1.0, 'coverage_90': nan}
    """
    measured, fitted = part["observed"].to_numpy(float), part["predicted"].to_numpy(float)
    varied = len(part) > 1 and np.ptp(measured) > 0 and np.ptp(fitted) > 0
    inside = float("nan")
    if {"lower", "upper"} <= set(part.columns):
        inside = float(((part["lower"] <= measured) & (measured <= part["upper"])).mean())
    r2 = float(np.corrcoef(measured, fitted)[0, 1] ** 2) if varied else float("nan")
    return {"n": len(part), "r2": r2, "coverage_90": inside}


def _stated(metrics: pd.DataFrame | None, readings: str, split: str) -> dict[str, float]:
    """Scores of one readings and split, {} if nobody stated them."""
    if metrics is None:
        return {}
    require(metrics, ["readings", "n", "r2", "coverage_90"])
    metrics = with_split(metrics)
    row = metrics[(metrics["readings"] == readings) & (metrics["split"] == split)]
    return {name: float(row[name].iloc[0]) for name in ("n", "r2", "coverage_90")} if len(row) else {}


def _draw_predicted(ax: Axes, title: str, part: pd.DataFrame, scores: Mapping[str, float]) -> None:
    """One panel: identity, points or hexagons, scores in the corner."""
    measured, fitted = part["observed"].to_numpy(float), part["predicted"].to_numpy(float)
    low, high = min(measured.min(), fitted.min()), max(measured.max(), fitted.max())
    margin = 0.04 * (high - low) or 1.0
    ends = (low - margin, high + margin)
    ax.set(xlim=ends, ylim=ends)
    if len(part) > _MANY:
        options: dict[str, Any] = {"bins": "log", "mincnt": 1, "cmap": "viridis", "linewidths": 0}
        ax.hexbin(measured, fitted, gridsize=_HEXAGONS, extent=(*ends, *ends), **options)
    else:
        if {"lower", "upper"} <= set(part.columns):
            ax.vlines(measured, part["lower"], part["upper"], color=GREY, linewidth=0.6, alpha=0.5)
        ax.scatter(measured, fitted, s=9, color=BLUE, linewidths=0, alpha=0.8)
    ax.plot(ends, ends, color=GREY, linewidth=0.8)
    ax.annotate(_corner(scores), (0.03, 0.97), xycoords="axes fraction", va="top", fontsize=7)
    ax.set_title(plain([title], 36)[0], fontsize=9, loc="left")
    unit = _said(part, "unit", "1")
    ax.set_xlabel("measured" + (f", {plain([unit])[0]}" if unit != "1" else ""), fontsize=8)
    ax.set_ylabel("predicted", fontsize=8)
    ax.tick_params(labelsize=8)


def _corner(scores: Mapping[str, float]) -> str:
    lines = [f"n = {int(scores['n']):,}"]
    if np.isfinite(scores["r2"]):
        lines.insert(0, f"R² = {scores['r2']:.3f}".replace("-", "−"))
    if np.isfinite(scores["coverage_90"]):
        lines.append(f"90 % intervals hold {100 * scores['coverage_90']:.0f} %")
    return "\n".join(lines)
