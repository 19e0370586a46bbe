"""Pictures of posterior predictive checks: are cells that the model draws distributed like those measured?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import wasserstein_distance

from multiscale.errors import DataError, nearest
from multiscale.report.drawing import AMBER, BLUE, GREY, panels, plain, require

__all__ = ["checks"]

_FEATURES = 12  # per modality
_BINS = 36


def checks(table: pd.DataFrame, features: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Posterior predictive checks: distribution of measured readings (filled) and of drawn ones (line).

    One panel per modality, one row per feature, every histogram as tall as its highest bin. On the right: how
    many of the readings lie inside their 90 % interval. Counts stand at ln(1 + count). An axis ends where
    99.9 % of the readings do. Expected readings scatter less than readings do, so without `drawn` a line that
    is too narrow is no fault of the model, and the legend says so.

    Args:
        table: one row per cell and feature: columns `modality`, `feature`, `observed`, and `drawn` (a reading
            that the model drew for the cell) or `predicted` (the expected one); optional `lower`, `upper` and
            `unit` (label of the axis of a modality). Rows without a measured value are left out.
        features: which to draw; up to twelve of each modality whose distributions differ most if None.
        ax: axes whose place the panels take; new ones if None.

    Returns:
        the axes that hold the panels (`ax.child_axes`).

    Raises:
        DataError: a column or feature is missing, or nothing was measured.
    """
    drawn = "drawn" if "drawn" in table else "predicted"
    require(table, ["modality", "feature", "observed", drawn])
    table = table[np.isfinite(table["observed"].astype(float)) & np.isfinite(table[drawn].astype(float))]
    if features is not None:
        _refuse_unknown(table, features)
        table = table[table["feature"].isin(features)]
    if table.empty:
        raise DataError("`table` has no row with a measured and a predicted value.")
    parts = [
        (str(name), *_chosen(part, drawn, features)) for name, part in table.groupby("modality", sort=False)
    ]
    rows = max(len(chosen) for _, chosen, _ in parts)
    ax, places = panels(ax, len(parts), (4.6, 1.5 + 0.33 * rows))
    for place, (name, chosen, known) in zip(places, parts, strict=True):
        _draw(place, chosen, drawn)
        said = f"{len(chosen)} of {known:,} features, worst first" if len(chosen) < known else ""
        place.set_title(plain([name], 30)[0] + (f"\n{said}" if said else ""), fontsize=9, loc="left")
    label = "drawn" if drawn == "drawn" else "expected (readings scatter more)"
    places[0].plot([], [], color=BLUE, alpha=0.45, linewidth=6, label="measured")
    places[0].plot([], [], color=AMBER, linewidth=1.4, label=label)
    places[0].legend(loc="upper left", bbox_to_anchor=(0, -0.13), ncols=2, frameon=False, fontsize=7)
    return ax


def _refuse_unknown(table: pd.DataFrame, features: Sequence[str]) -> None:
    known = set(map(str, table["feature"]))
    for name in features:
        if name not in known:
            raise DataError(f"`table` has no measured feature `{name}`; {nearest(name, known)}")


def _chosen(
    part: pd.DataFrame, drawn: str, features: Sequence[str] | None
) -> tuple[list[tuple[str, pd.DataFrame]], int]:
    """Features of a modality that are drawn, worst first, and how many there are."""
    by = [(str(name), rows) for name, rows in part.groupby("feature", sort=False)]
    if features is not None:
        return sorted(by, key=lambda item: list(features).index(item[0])), len(by)
    if len(by) > _FEATURES:
        counts = _counts(part)
        far = {
            name: _misfit(_scaled(rows, "observed", counts), _scaled(rows, drawn, counts))
            for name, rows in by
        }
        by = sorted(by, key=lambda item: -far[item[0]])
    return by[:_FEATURES], len(part["feature"].unique())


def _misfit(measured: np.ndarray, drawn: np.ndarray) -> float:
    """Distance of the distributions in standard deviations of the measured one."""
    sd = float(measured.std())
    return float(wasserstein_distance(measured, drawn)) / (sd or 1.0)


def _counts(part: pd.DataFrame) -> bool:
    """Whether readings are counts."""
    seen = part["observed"].to_numpy(float)
    return bool((seen >= 0).all() and (seen == np.round(seen)).all() and seen.max() > 1)


def _scaled(rows: pd.DataFrame, column: str, counts: bool) -> np.ndarray:
    values = rows[column].to_numpy(float)
    return np.log1p(values) if counts else values


def _draw(ax: Axes, parts: list[tuple[str, pd.DataFrame]], drawn: str) -> None:
    """One modality: histograms above each other."""
    whole = pd.concat([rows for _, rows in parts])
    counts = _counts(whole)
    edges = _edges(whole, drawn, counts)
    for row, (_, rows) in enumerate(parts):
        measured, model = (_shares(_scaled(rows, name, counts), edges) for name in ("observed", drawn))
        top = max(measured.max(), model.max()) / 0.85 or 1.0
        ax.stairs(row - measured / top, edges, baseline=row, fill=True, color=BLUE, alpha=0.45, linewidth=0)
        ax.stairs(row - model / top, edges, baseline=row, color=AMBER, linewidth=1.1)
        if {"lower", "upper"} <= set(rows):
            inside = ((rows["lower"] <= rows["observed"]) & (rows["observed"] <= rows["upper"])).mean()
            ax.text(1.01, row - 0.1, f"{100 * inside:.0f} %", fontsize=6.5, color=GREY,
                    transform=ax.get_yaxis_transform())  # fmt: skip
    if {"lower", "upper"} <= set(whole):
        ax.text(1.01, -1.05, "inside\n90 %", fontsize=6.5, color=GREY, transform=ax.get_yaxis_transform())
    ax.set_yticks(np.arange(len(parts)) - 0.2, plain([name for name, _ in parts], 14), fontsize=7)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(parts) - 0.9, -1.0)
    ax.spines["left"].set_visible(False)
    _axis(ax, whole, edges, counts)


def _edges(whole: pd.DataFrame, drawn: str, counts: bool) -> np.ndarray:
    """Edges of bins; of counts every bin holds a whole number."""
    both = np.concatenate([_scaled(whole, name, counts) for name in ("observed", drawn)])
    low, high = (float(q) for q in np.quantile(both, [0.0 if counts else 0.001, 0.999]))
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    if not counts:
        return edges
    whole_numbers = np.unique(np.round(np.expm1(edges)))
    between = np.append(whole_numbers, whole_numbers[-1] + 1) - 0.5
    return np.log1p(np.maximum(between, -0.1))  # the bin of 0 is as wide as that of 1, ln 5/3


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the values per unit of the axis; what lies beyond its ends is not drawn."""
    share = np.histogram(values, edges)[0] / max(len(values), 1)
    return share / np.diff(edges)


def _axis(ax: Axes, whole: pd.DataFrame, edges: np.ndarray, counts: bool) -> None:
    ax.set_xlim(edges[0], edges[-1])
    ax.tick_params(axis="x", labelsize=7)
    said = whole["unit"].dropna().astype(str).unique() if "unit" in whole else []
    ax.set_xlabel(plain([said[0]])[0] if len(said) == 1 else "counts" if counts else "reading", fontsize=8)
    if counts:
        ticks = [
            t for t in (0, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000) if np.log1p(t) <= edges[-1]
        ]
        ax.set_xticks(np.log1p(ticks), [f"{t:,}" for t in ticks])
