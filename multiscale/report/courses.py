"""Pictures of fitted time courses: what was measured, what the fit says, and how sure it is."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from multiscale.errors import DataError
from multiscale.report.drawing import panels, plain, require

__all__ = ["MOST", "courses", "fits", "timed"]

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


def fits(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Measurements of a PEtab problem over time (dots) with what the model says (lines), by observable.

    Args:
        table: columns `observableId`, `time`, `measurement`, `simulation`; conditions are told apart by the
            columns of PEtab 1 (`simulationConditionId`, `preequilibrationConditionId`) or 2 (`experimentId`).
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: a column is missing, or the table is empty.
    """
    require(table, ["observableId", "time", "measurement", "simulation"])
    if table.empty:
        raise DataError("`table` has no rows; there is nothing to draw.")
    names = ("experimentId", "preequilibrationConditionId", "simulationConditionId")
    keys = [name for name in names if name in table.columns]
    labels = table[keys].astype(str).agg(" ".join, axis=1) if keys else pd.Series("", table.index)
    conditions = list(dict.fromkeys(labels))[:_CONTEXTS]
    observables = table["observableId"].value_counts(sort=True).index[: 2 * MOST].tolist()
    ax, places = panels(ax, len(observables), (2.6, 2.3), most=4)
    cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    for place, observable in zip(places, observables, strict=True):
        for number, condition in enumerate(conditions):
            rows = (table["observableId"] == observable) & (labels == condition)
            part, colour = table[rows].sort_values("time", kind="stable"), cycle[number % len(cycle)]
            place.plot(part["time"], part["simulation"], color=colour, linewidth=1.2)
            place.plot(part["time"], part["measurement"], "o", color=colour, markersize=3)
        place.set_title(plain([observable], longest=28)[0], fontsize=8, loc="left")
        place.tick_params(labelsize=7)
        place.set_xlabel("time", fontsize=7)
    return ax
