"""Pictures of fitted time courses: what was measured, what the fit says, and how sure it is."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from multiscale.errors import DataError
from multiscale.report.drawing import panels, plain, require

__all__ = ["MOST", "courses", "timed"]

MOST = 6
"""Targets that are drawn: those with the most measurements."""

_CONTEXTS = 10  # told apart by colour; with more, the first are drawn


def timed(table: pd.DataFrame) -> pd.DataFrame:
    """Predictions of measurements that state a time; none where the table has no times."""
    return table[table["time"].notna()] if "time" in table.columns else table.iloc[:0]


def courses(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Measurements over time (dots; limits as triangles) with what the fit says of them (lines), by target.

    Args:
        table: predictions: columns `assay`, `context`, `target`, `time`, `scale`, `measured`, `predicted`;
            optional `lower` and `upper` (interval of a new measurement) and `censoring`.
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: a column is missing, or nothing was measured at a time.
    """
    require(table, ["assay", "context", "target", "time", "scale", "measured", "predicted"])
    table = timed(table)
    if table.empty:
        raise DataError("`table` must hold measurements with a `time`; this fit has none.")
    counts = table.groupby(["assay", "target"], sort=False).size()
    chosen = counts.sort_values(ascending=False, kind="stable").index[:MOST].tolist()
    contexts = list(dict.fromkeys(table["context"]))[:_CONTEXTS]
    ax, places = panels(ax, len(chosen), (2.9, 2.5))
    for place, (assay, target) in zip(places, chosen, strict=True):
        part = table[(table["assay"] == assay) & (table["target"] == target)]
        for number, context in enumerate(contexts):
            _draw(place, part[part["context"] == context].sort_values("time"), number, context)
        place.set_title(plain([f"{target} ({assay})"], longest=34)[0], fontsize=8, loc="left")
        place.set_xlabel("time, s", fontsize=8)
        place.set_ylabel(str(part["scale"].iloc[0]), fontsize=8)
        place.tick_params(labelsize=7)
    places[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=7)
    return ax


def _draw(ax: Axes, part: pd.DataFrame, number: int, context: str) -> None:
    """One context: dots, line, band."""
    if part.empty:
        return
    cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    colour, time = cycle[number % len(cycle)], part["time"].to_numpy(float)
    ax.plot(time, part["predicted"], color=colour, linewidth=1.2, label=plain([context], longest=20)[0])
    if {"lower", "upper"} <= set(part.columns):
        ends = part["lower"].to_numpy(float), part["upper"].to_numpy(float)
        ax.fill_between(time, *ends, color=colour, alpha=0.15, linewidth=0)
    limits = part["censoring"] != 0 if "censoring" in part.columns else pd.Series(False, part.index)
    for rows, marker in ((part[~limits], "o"), (part[limits], "v")):
        ax.plot(rows["time"], rows["measured"], marker, color=colour, markersize=3.2, linestyle="none")
