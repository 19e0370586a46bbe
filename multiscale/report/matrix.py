"""Pictures of tables with two keys: which complex where, who talks to whom, which assay told what."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize

from multiscale.report.drawing import BLUE, GREY, bare, new_axes, plain, require

__all__ = ["heat", "informed"]

_CELL = 0.23  # inches: 8-point labels do not touch


def heat(matrix: pd.DataFrame, label: str, highest: float | None = None, ax: Axes | None = None) -> Axes:
    """A matrix in colours, 0 to the highest value, or to both sides of 0; cells without a value stay empty.

    Args:
        matrix: index = rows, columns = columns.
        label: what the colours mean.
        highest: value of the brightest colour; that of the matrix if None.
        ax: axes to draw on; new ones if None.
    """
    rows, columns = matrix.shape
    names, heads = plain(matrix.index, 36), plain(matrix.columns, 36)
    left, above = (max(map(len, labels), default=1) for labels in (names, heads))
    lean = 0.055 * above  # inches that heads at 45° take, upwards and to the right
    size = (1.2 + _CELL * columns + 0.075 * left + max(0.0, lean - 0.6), 0.6 + _CELL * rows + lean)
    ax = new_axes(ax, size)
    values = matrix.to_numpy(float)
    top = highest or (float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0) or 1.0
    low, colours = (-top, "RdBu_r") if (values < 0).any() else (0.0, "viridis")
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    mesh = ax.pcolormesh(*edges, np.ma.masked_invalid(values), norm=Normalize(low, top), cmap=colours)
    ax.set_xticks(range(columns), heads, rotation=45, ha="left", rotation_mode="anchor", fontsize=8)
    ax.set_yticks(range(rows), names, fontsize=8)
    ax.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)
    ax.invert_yaxis()
    ax.spines[:].set_visible(False)
    _bar(ax, mesh, plain([label])[0])
    return ax


def _bar(ax: Axes, mesh: QuadMesh, label: str) -> None:
    """What the colours mean, beside the upper half."""
    whole = ax.get_figure(root=True)
    if whole is not None:
        bar = whole.colorbar(mesh, ax=ax, fraction=0.03, pad=0.02, aspect=14, anchor=(0, 1), shrink=0.5)
        bar.set_label(label, fontsize=8)
        bar.ax.tick_params(labelsize=7)
        bar.ax.spines[:].set_visible(False)


def informed(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Information that the data gave about every parameter, one row of dots per role.

    Args:
        table: columns `role` and `informationNats` = ½ ln(prior variance / posterior variance).
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: a column is missing.
    """
    require(table, ["role", "informationNats"])
    roles = list(dict.fromkeys(table["role"].astype(str)))
    ax = new_axes(ax, (5.2, 0.9 + 0.36 * len(roles)))
    for row, role in enumerate(reversed(roles)):
        values = table.loc[table["role"].astype(str) == role, "informationNats"].dropna().to_numpy(float)
        ax.scatter(
            values,
            row + _spread(len(values)),
            s=11,
            color=BLUE,
            alpha=0.55,
            linewidths=0,
            rasterized=len(values) > 300,
        )
        if len(values):
            ax.plot([np.median(values)] * 2, [row - 0.36, row + 0.36], color=GREY, linewidth=2)
    counts = table["role"].astype(str).value_counts()
    ax.set_yticks(
        range(len(roles)), plain(f"{role} ({counts[role]})" for role in reversed(roles)), fontsize=9
    )
    ax.set_ylim(-0.6, len(roles) - 0.4)
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_xlabel("information from the data, nats")
    return bare(ax)


def _spread(count: int) -> np.ndarray:
    """Heights in a row, spread evenly and out of order, so that similar values do not hide each other."""
    golden = (np.sqrt(5) - 1) / 2  # multiples of it, modulo 1, never crowd
    return 0.6 * ((np.arange(count) * golden) % 1.0 - 0.5) if count > 1 else np.zeros(count)
