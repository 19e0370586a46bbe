"""Pictures that judge a fit: predicted against measured, and held-out error beside the controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from multiscale.errors import DataError
from multiscale.report.drawing import AMBER, BLUE, GREY, bare, new_axes, panels, plain, require

__all__ = ["MODELS", "calibration", "controls", "exact", "fraction_inside", "models", "rmse", "touched"]

MODELS = {"fitted": "with the graph", "no_graph": "no graph"}
"""Columns of a table of held-out values that are no baseline, and what they are called."""

_NO_MODEL = ("measured", "lower", "upper", "sd")
_MANY = 300  # measurements; of more, intervals are not drawn (only coloured by) and points are pixels


def calibration(table: pd.DataFrame, assays: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Predicted against measured values with 90 % predictive intervals, one panel per assay.

    The title says how many measurements lie inside their interval: 90 % if the uncertainty is right. Censored
    measurements are bounds, not values; they are neither drawn nor counted.

    Args:
        table: columns `assay`, `measured`, `predicted`; optional `lower` and `upper` (ends of the interval),
            `censoring` (0 = exact) and `scale` (unit of the values, for the axes).
        assays: which; all if None.
        ax: axes whose place the panels take; new ones if None.

    Returns:
        the axes that hold the panels (`ax.child_axes`).

    Raises:
        DataError: a column is missing.
    """
    require(table, ["assay", "measured", "predicted"])
    assays = list(assays if assays is not None else dict.fromkeys(table["assay"].astype(str)))
    known = exact(table)
    ax, places = panels(ax, len(assays), (3.3, 3.3))
    for assay, place in zip(assays, places, strict=True):
        _draw_assay(place, assay, known[known["assay"].astype(str) == assay])
    return ax


def fraction_inside(table: pd.DataFrame) -> float:
    """Fraction of measurements inside their predictive interval, censored ones left out; NaN without either.

    >>> fraction_inside(pd.DataFrame({"measured": [1.0, 5.0], "lower": [0.0, 0.0], "upper": [2.0, 2.0]}))
    0.5
    """
    known = exact(table)
    return float(_inside(known).mean()) if len(known) and "lower" in known else float("nan")


def exact(table: pd.DataFrame) -> pd.DataFrame:
    """Measurements that are values, not bounds."""
    has_value = table["measured"].notna()
    return (
        table[has_value & (table["censoring"].fillna(0) == 0)] if "censoring" in table else table[has_value]
    )


def _inside(table: pd.DataFrame) -> np.ndarray:
    """Whether every measurement is inside its interval; all are if there are no intervals."""
    if "lower" not in table:
        return np.ones(len(table), dtype=bool)
    return ((table["lower"] <= table["measured"]) & (table["measured"] <= table["upper"])).to_numpy(bool)


def _draw_assay(ax: Axes, assay: str, table: pd.DataFrame) -> None:
    """One panel: identity, intervals, points inside in blue and outside in amber."""
    inside = _inside(table)
    ax.set_title(f"{plain([assay], 34)[0]}\n{_say_inside(table)}", fontsize=9, loc="left")
    scales = list(dict.fromkeys(table["scale"])) if "scale" in table else []
    unit = f", {plain([' or '.join(map(str, scales))])[0]}" if scales else ""
    ax.set_xlabel(f"measured{unit}", fontsize=8)
    ax.set_ylabel("predicted", fontsize=8)
    ax.tick_params(labelsize=8)
    ends = _limits(ax, table[["measured", "predicted"]].to_numpy(float))
    ax.plot(ends, ends, color=GREY, linewidth=0.8)
    many = len(table) > _MANY
    style: dict[str, Any] = {"s": 5, "alpha": 0.4, "rasterized": True} if many else {"s": 11, "alpha": 0.9}
    for chosen, colour in ((inside, BLUE), (~inside, AMBER)):
        part = table[chosen]
        if not many and "lower" in part:
            ax.vlines(part["measured"], part["lower"], part["upper"], color=colour, linewidth=0.7, alpha=0.6)
        ax.scatter(part["measured"], part["predicted"], color=colour, linewidths=0, **style)


def _say_inside(table: pd.DataFrame) -> str:
    if "lower" not in table or table.empty:
        return f"{len(table)} measurements" + (", no intervals" if len(table) else " that are no bounds")
    return f"{fraction_inside(table):.0%} of {len(table)} inside"


def _limits(ax: Axes, values: np.ndarray) -> tuple[float, float]:
    """Set equal limits and, where values span more than two decades, scales by decade; return the limits."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low >= 0 and high > 100 * max(low, 1.0 if low == 0 else low):
        ax.set_xscale("log" if low > 0 else "symlog")
        ax.set_yscale("log" if low > 0 else "symlog")
        ends = (low / 1.5, high * 1.5)
    else:
        margin = 0.05 * (high - low) or 1.0
        ends = (low - margin, high + margin)
    ax.set(xlim=ends, ylim=ends)
    return ends


def controls(
    heldout: pd.DataFrame, rewirings: pd.DataFrame | None = None, unit: str = "", ax: Axes | None = None
) -> Axes:
    """Held-out error with the graph, without it, of simple baselines and of rewired graphs.

    Errors are root mean squares over the measurements that the graph can influence (over all, if none is
    marked); what beats the fit is amber. The title says how many rewired graphs the real one beats.

    Args:
        heldout: columns `measured`, `fitted` and one per other model; optional `touched_by_graph`.
        rewirings: column `rmse_touched`, one row per rewired graph.
        unit: unit of the measured values.
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: a column is missing, or no measurement was held out.
    """
    require(heldout, ["measured", "fitted"])
    if heldout.empty:
        raise DataError("`heldout` has no row; nothing was held out.")
    names = models(heldout)
    errors = [rmse(touched(heldout), name) for name in names]
    rewired = np.array([]) if rewirings is None or rewirings.empty else _rewired(rewirings)
    ax = new_axes(ax, (4.6, 1.0 + 0.27 * (len(names) + 2 * bool(len(rewired)))))
    rows = np.arange(len(names))[::-1] + (1.6 if len(rewired) else 0.0)
    ax.axvline(errors[0], color=BLUE, linewidth=0.8, alpha=0.6)
    ax.hlines(rows, 0, 1, transform=ax.get_yaxis_transform(), color=GREY, alpha=0.2, linewidth=1)
    colours = [BLUE] + [AMBER if error < errors[0] else GREY for error in errors[1:]]
    ax.scatter(errors, rows, s=36, color=colours, zorder=3)
    for value, row in zip(errors, rows, strict=True):
        ax.annotate(f"{value:.2f}", (value, row), (7, 0), textcoords="offset points", va="center", fontsize=8)
    labels = [MODELS.get(name, name.replace("_", " ")) for name in names]
    if len(rewired):
        _draw_rewired(ax, rewired, errors[0])
        rows, labels = np.append(rows, 0.0), [*labels, f"{len(rewired)} rewired graphs"]
    ax.set_yticks(rows, plain(labels, 30), fontsize=9)
    ax.set_ylim(-0.65, rows.max() + 0.6)
    lowest, highest = min([*errors, *rewired]), max([*errors, *rewired])
    spread = (highest - lowest) or highest or 1.0
    ax.set_xlim(max(0.0, lowest - 0.25 * spread), highest + 0.18 * spread)
    ax.set_xlabel(
        "held-out error (RMSE" + (f", {plain([unit])[0]})" if unit else ")") + ", smaller is better",
        fontsize=9,
    )
    return bare(ax)


def _rewired(table: pd.DataFrame) -> np.ndarray:
    require(table, ["rmse_touched"])
    return table["rmse_touched"].dropna().to_numpy(float)


def _draw_rewired(ax: Axes, rewired: np.ndarray, error: float) -> None:
    """Stacked dots, one per rewired graph, on row −0.3; those that beat the real graph in amber."""
    counts, edges = np.histogram(rewired, bins=min(24, max(8, len(rewired) // 4)))
    place = np.clip(np.digitize(rewired, edges) - 1, 0, len(counts) - 1)
    order = pd.Series(place).groupby(place).cumcount().to_numpy()  # how many stand below in the same bin
    step = min(0.2, 1.25 / counts.max())
    height = order * step - 0.3
    better = rewired < error
    for chosen, colour in ((~better, GREY), (better, AMBER)):
        ax.scatter(rewired[chosen], height[chosen], s=9, color=colour, linewidths=0, zorder=3)
    title = f"beats {(rewired > error).sum()} of {len(rewired)} rewired graphs"
    ax.set_title(title, fontsize=9, loc="left")


def models(heldout: pd.DataFrame) -> list[str]:
    """Columns with predictions: the fit first, then without graph, then every other one in their order."""
    found = [str(n) for n, dtype in heldout.dtypes.items() if dtype.kind == "f" and n not in _NO_MODEL]
    return [name for name in MODELS if name in found] + [name for name in found if name not in MODELS]


def touched(heldout: pd.DataFrame) -> pd.DataFrame:
    """Rows that the graph can influence; all if none is marked."""
    marked = heldout[heldout["touched_by_graph"].astype(bool)] if "touched_by_graph" in heldout else heldout
    return marked if len(marked) else heldout


def rmse(table: pd.DataFrame, model: str) -> float:
    """Root mean square error of one column of predictions.

    >>> rmse(pd.DataFrame({"measured": [0.0, 0.0], "fitted": [1.0, 7.0]}), "fitted")
    5.0
    """
    return float(np.sqrt(((table[model] - table["measured"]) ** 2).mean()))
