"""Pictures of simulations: concentrations over time, or steady states over what was varied."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from multiscale.errors import DataError
from multiscale.report.drawing import bare, new_axes, plain, require

__all__ = ["trajectory"]

_MOST = 10  # species told apart by colour
_WIDE = 30.0  # range of positive values from which an axis is logarithmic


def trajectory(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    x: str = "time",
    species: Sequence[str] | None = None,
) -> Axes:
    """Concentrations over time, one colour per species and one line per context.

    Args:
        table: as `Trajectory.frame()` gives it: columns that vary between contexts, `time`, one per species.
        ax: axes to draw on; new ones if None.
        x: column of the horizontal axis; the first column where there is no `time` (steady states).
        species: columns to draw; by default those that change most, at most ten, and the title says so.

    Raises:
        DataError: a column is missing, or there are not two rows to draw a line through.
    """
    if x == "time" and "time" not in table.columns:
        x = str(table.columns[0])
    require(table, [x, *(species or [])])
    contexts = [str(name) for name in table.columns[: list(table.columns).index(x)]]
    known = [str(name) for name in table.columns if name not in (*contexts, x)]
    shown = _most_changing(table, known) if species is None else list(species)
    if len(table) < 2 or not shown:
        raise DataError("`table` must have at least two rows and one species; ask for more times.")
    ax = new_axes(ax, (6.4, 4.0))
    groups = [part for _, part in table.groupby(contexts, sort=False)] if contexts else [table]
    for colour, name in enumerate(shown):
        for number, part in enumerate(groups):
            label = plain([name])[0] if number == 0 else None
            fade = 1.0 - 0.7 * number / len(groups)
            ax.plot(part[x], part[name], color=_colour(colour), alpha=fade, linewidth=1.5, label=label)
    _dress(ax, table[x].to_numpy(float), x)
    ax.set_title(_words(len(shown), len(known), len(groups)), fontsize=9, loc="left")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    return bare(ax)


def _most_changing(table: pd.DataFrame, names: list[str]) -> list[str]:
    """The species with the largest range, in the order of the table."""
    spread = table[names].max() - table[names].min()
    largest = set(spread.sort_values(ascending=False, kind="stable").index[:_MOST])
    return [name for name in names if name in largest]


def _words(shown: int, known: int, contexts: int) -> str:
    """What a reader must know of a picture that does not show everything alike."""
    words = [f"{shown} of {known} species"] if shown < known else []
    words += [f"{contexts} contexts, from dark to light"] if contexts > 1 else []
    return "; ".join(words)


def _colour(number: int) -> str:
    cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    return cycle[number % len(cycle)]


def _dress(ax: Axes, values: np.ndarray, x: str) -> None:
    scanned = x != "time"
    wide = values.min() > 0 and values.max() / values.min() >= _WIDE
    if wide and (scanned or _log(values)):
        ax.set_xscale("log")
    ax.set_xlabel("time, s" if not scanned else plain([x])[0])
    ax.set_ylabel("concentration, µM")
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))


def _log(values: np.ndarray) -> bool:
    """Whether times were spaced logarithmically: the median lies nearer the start than the middle does."""
    return bool(np.median(values) < 0.2 * values.max())
