"""What all pictures share: colours for white and black paper, axes, names as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from multiscale.errors import DataError, nearest

__all__ = ["AMBER", "BLUE", "GREY", "bare", "new_axes", "panels", "plain", "require"]

BLUE, AMBER, GREY = "#3f8fc4", "#d1781f", "#8c8c8c"
"""Contrast of at least 3 to 1 on white and on black; told apart by colour-blind readers."""


def new_axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The given axes, or new ones on a figure of a size in inches."""
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def bare(ax: Axes) -> Axes:
    """Axes without the lines on top and on the right."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def panels(ax: Axes | None, count: int, size: tuple[float, float], most: int = 3) -> tuple[Axes, list[Axes]]:
    """Axes that hold `count` smaller ones in rows of up to `most`, each of a size in inches, and these."""
    columns = max(1, min(most, count))
    rows = max(1, -(-count // columns))
    ax = new_axes(ax, (size[0] * columns, size[1] * rows))
    ax.set_axis_off()
    places = [divmod(number, columns) for number in range(count)]
    left, width, low, height = 0.2 / columns, 0.74 / columns, 0.2 / rows, 0.62 / rows
    boxes = [(c / columns + left, 1 - (r + 1) / rows + low, width, height) for r, c in places]
    return ax, [bare(ax.inset_axes(box)) for box in boxes]


def require(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse a table without a column.

    Raises:
        DataError: a column is missing.
    """
    for column in columns:
        if column not in table.columns:
            raise DataError(f"`table` has no column `{column}`; {nearest(column, map(str, table.columns))}")


def plain(names: Iterable[object], longest: int = 44) -> list[str]:
    """Names as they are, cut where they would leave no room for the picture.

    Matplotlib takes text between dollar signs for mathematics.

    >>> plain(["A:B", "$x$"]), plain(["a long name"], longest=7)
    (['A:B', '\\\\$x\\\\$'], ['a long…'])
    """
    cut = [name if len(name) <= longest else name[: longest - 1] + "…" for name in map(str, names)]
    return [name.replace("$", r"\$") for name in cut]
