"""Pictures of single cells: what was learned of every cell, on an embedding of the cells."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from multiscale.errors import DataError, nearest
from multiscale.report.drawing import GREY, new_axes, plain

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Shown", "embedding", "find", "states"]

_PANELS = 6  # drawn where nothing is asked for
_BEYOND = (0.01, 0.99)  # quantiles that the colours span; single extreme cells would pale all others
_WIDE = 30.0  # ratio of the ends from which on colours go by factors
_NAMED = 20  # groups with a name and a colour each
_GAP = 0.05  # between names of groups, in heights of the panel


@dataclass(frozen=True, eq=False)
class Shown:
    """One quantity of all cells.

    Args:
        name: what it is.
        values: one per cell; numbers, or categories.
        kind: `pathway`, `complex`, `molecule`, or `` for what the data say themselves.
        unit: of numbers, '' if unknown.
    """

    name: str
    values: pd.Series
    kind: str = ""
    unit: str = ""

    @property
    def grouped(self) -> bool:
        """Whether it is a label rather than a number."""
        return not pd.api.types.is_numeric_dtype(self.values) or self.values.dtype == bool


def embedding(
    adata: AnnData,
    color: str | Sequence[str] | None = None,
    *,
    basis: str = "umap",
    key: str = "multiscale",
    ax: Axes | None = None,
) -> Axes:
    """Activity of pathways and levels of complexes on a two-dimensional embedding of the cells.

    Cells are drawn in a random order that is the same every time, so that none hides another by its place in
    the file. Colours span the 1 to 99 % quantiles; where cells lie beyond, the colour bar has a pointed end.
    Pathways diverge from 0 (white), the reference of their activity; levels go by factors where they span
    more than a factor of 30. Cells without a value are grey.

    Args:
        adata: with results as `write_anndata` leaves them, and an embedding such as `obsm["X_umap"]`.
        color: pathways, complexes, molecules, columns of `obs`, or variables; up to six pathways, or where
            there are none six complexes that vary most, if None.
        basis: which embedding; `umap` and `X_umap` both mean `obsm["X_umap"]`.
        key: key under which results were written.
        ax: axes whose place the panels take, one per name; new ones if None.

    Returns:
        the axes that hold the panels (`ax.child_axes`).

    Raises:
        DataError: there is no such embedding or name.
    """
    place, axis = _place(adata, basis)
    names = [color] if isinstance(color, str) else list(color) if color is not None else _usual(adata, key)
    shown = [find(adata, name, key) for name in names]
    columns = min(len(shown), 3 if len(shown) in (5, 6, 9) else 4)
    rows = -(-len(shown) // columns)
    ax = new_axes(ax, (2.9 * columns, 2.6 * rows))
    ax.set_axis_off()
    order = np.random.default_rng(0).permutation(len(place))
    for number, part in enumerate(shown):
        row, column = divmod(number, columns)
        box = (column / columns + 0.06 / columns, 1 - (row + 0.9) / rows, 0.78 / columns, 0.78 / rows)
        panel = ax.inset_axes(box)
        _draw(panel, place[order], part, order)
        if row == rows - 1 and column == 0:
            _axes_arrows(panel, axis)
    return ax


def _place(adata: AnnData, basis: str) -> tuple[np.ndarray, str]:
    """Coordinates of the cells, and the name of the embedding."""
    for name in (basis, f"X_{basis}"):
        if name in adata.obsm:
            place = np.asarray(adata.obsm[name], dtype=float)
            if place.ndim == 2 and place.shape[1] >= 2:
                short = name.removeprefix("X_")
                return place[:, :2], {"umap": "UMAP", "tsne": "t-SNE", "pca": "PC"}.get(short, short)
            raise DataError(f'obsm["{name}"] has shape {place.shape}; an embedding has two columns or more.')
    known = [str(name) for name in adata.obsm]
    raise DataError(f"`adata.obsm` has no embedding `{basis}`; {nearest(f'X_{basis}', known)}")


def states(adata: AnnData, key: str = "multiscale") -> dict[str, pd.DataFrame]:
    """Tables of what was learned of every cell: `pathway`, `complex`, `molecule`; those that are there."""
    found = {
        kind: pd.DataFrame(adata.obsm[f"{key}_{kind}"], index=adata.obs_names)
        for kind in ("pathway", "complex", "molecule")
        if f"{key}_{kind}" in adata.obsm
    }
    names = adata.uns.get(key, {}).get("molecules", [])
    if "molecule" not in found and f"X_{key}" in adata.obsm and len(names):  # a fit of groups, not of cells
        columns = [str(name) for name in names]
        found["molecule"] = pd.DataFrame(adata.obsm[f"X_{key}"], adata.obs_names, columns)
    return found


def _usual(adata: AnnData, key: str) -> list[str]:
    """The pathways; where there are none the complexes that vary most in relation to their mean."""
    tables = states(adata, key)
    pathways, complexes = tables.get("pathway", pd.DataFrame()), tables.get("complex", pd.DataFrame())
    if pathways.shape[1]:
        return [str(name) for name in pathways.columns[:_PANELS]]
    if complexes.shape[1]:
        spread = complexes.std() / complexes.mean().abs()
        return [str(name) for name in spread.sort_values(ascending=False, kind="stable").index[:_PANELS]]
    raise DataError(
        f'nothing was written under "{key}"; call `result.write_anndata(adata)`, or name what to show.'
    )


def find(adata: AnnData, name: str, key: str = "multiscale") -> Shown:
    """A pathway, complex, molecule, column of obs, or variable, by name.

    Raises:
        DataError: nothing has that name.
    """
    tables = states(adata, key)
    said = adata.uns.get(key, {}).get("units", {})
    units = {"pathway": "", "complex": said.get("concentration", ""), "molecule": said.get("copies", "")}
    for kind, table in tables.items():
        for written in (name, name.replace("/", "|")):  # HDF5 has no / in names
            if written in table:
                return Shown(name, table[written].astype(float), kind, units[kind].replace("uM", "µM"))
    if name in adata.obs:
        return Shown(name, adata.obs[name])
    if name in adata.var_names:
        values: Any = adata[:, name].X
        dense = np.asarray(values.todense() if hasattr(values, "todense") else values, dtype=float)
        return Shown(name, pd.Series(dense.ravel(), adata.obs_names))
    known = [str(n) for table in tables.values() for n in table] + [str(n) for n in adata.obs]
    raise DataError(
        f"`{name}` is no pathway, complex, molecule, column of obs or variable; {nearest(name, known)}"
    )


def _draw(ax: Axes, place: np.ndarray, shown: Shown, order: np.ndarray) -> None:
    """One panel."""
    ax.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    ax.spines[:].set_visible(False)
    ax.set_title("\n".join(textwrap.wrap(plain([shown.name], 64)[0], 32)), fontsize=9, loc="left")
    size = float(np.clip(9000 / len(place), 0.5, 14))
    style: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": len(place) > 2000}
    if shown.grouped:
        _draw_groups(ax, place, shown.values.astype(str).to_numpy()[order], style)
    else:
        _draw_values(ax, place, shown.values.to_numpy(float)[order], shown, style)


def _draw_values(
    ax: Axes, place: np.ndarray, values: np.ndarray, shown: Shown, style: dict[str, Any]
) -> None:
    known = np.isfinite(values)
    ax.scatter(*place[~known].T, color=GREY, alpha=0.25, **style)
    if not known.any():
        return
    norm, colours = _colours(values[known], shown.kind)
    dots = ax.scatter(*place[known].T, c=values[known], norm=norm, cmap=colours, **style)
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)
    ends = int((values[known] < low).any()), int((values[known] > high).any())
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[ends]
    bar = ax.figure.colorbar(dots, cax=ax.inset_axes((1.03, 0.12, 0.035, 0.76)), extend=extend)
    if np.ptp(values[known]) == 0:
        bar.set_ticks([float(values[known][0])])
    bar.ax.tick_params(labelsize=6.5, length=2)
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.set_label(shown.unit or {"pathway": "activity"}.get(shown.kind, ""), fontsize=7)


def _colours(values: np.ndarray, kind: str) -> tuple[Normalize, str]:
    """Diverging around 0 for what has both signs or is an activity; by factors for wide positive ranges."""
    low, high = (float(q) for q in np.quantile(values, _BEYOND))
    if kind == "pathway" or (low < 0 < high):
        top = max(abs(low), abs(high)) or 1.0
        return Normalize(-top, top), "RdBu_r"
    if low > 0 and high > _WIDE * low:
        return LogNorm(low, high), "viridis"
    return (Normalize(low, high) if high > low else Normalize(low - 1.0, low + 1.0)), "viridis"


def _draw_groups(ax: Axes, place: np.ndarray, labels: np.ndarray, style: dict[str, Any]) -> None:
    """Categories: a colour each, and the name at the middle of the cells."""
    names = sorted(set(labels))
    cycle = mpl.colormaps["tab10" if len(names) <= 10 else "tab20"]
    colour = {name: cycle(i % cycle.N) for i, name in enumerate(names)}
    ax.scatter(*place.T, c=[colour[name] for name in labels], **style)
    if len(names) > _NAMED:
        return
    middles = np.array([np.median(place[labels == name], axis=0) for name in names])
    height = _apart(middles[:, 1], _GAP * float(np.ptp(place[:, 1])))
    for name, (x, y), level in zip(names, middles, height, strict=True):
        ax.plot([x, x], [y, level], color="black", linewidth=0.4, alpha=0.6)
        text = ax.text(
            x, level, plain([name], 24)[0], fontsize=6.5 if len(names) < 9 else 5.5, ha="center", va="center"
        )
        text.set_bbox({"facecolor": "white", "alpha": 0.55, "edgecolor": "none", "pad": 0.4})


def _apart(height: np.ndarray, gap: float) -> np.ndarray:
    """Heights moved apart where they are closer than a gap, in their order, each run about its middle.

    >>> _apart(np.array([0.0, 0.0, 9.0]), 2.0).tolist()
    [-1.0, 1.0, 9.0]
    """
    order = np.argsort(height, kind="stable")
    runs: list[list[float]] = []
    for value in height[order]:
        runs.append([float(value)])
        while len(runs) > 1 and _low(runs[-1], gap) - _high(runs[-2], gap) < gap:
            runs[-2:] = [runs[-2] + runs[-1]]
    moved = np.empty(len(height))
    moved[order] = np.concatenate([_low(run, gap) + gap * np.arange(len(run)) for run in runs])
    return moved


def _low(run: list[float], gap: float) -> float:
    return float(np.mean(run)) - gap * (len(run) - 1) / 2


def _high(run: list[float], gap: float) -> float:
    return float(np.mean(run)) + gap * (len(run) - 1) / 2


def _axes_arrows(ax: Axes, name: str) -> None:
    """Two short arrows with the names of the axes: distances on an embedding have no unit."""
    for end, label, turn in (((0.18, 0.0), f"{name} 1", 0), ((0.0, 0.18), f"{name} 2", 90)):
        arrow = {"arrowstyle": "->", "color": GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", end, (0, 0), xycoords="axes fraction", arrowprops=arrow)
        x, y = (0.0, -0.02) if turn == 0 else (-0.02, 0.0)
        ax.text(
            x, y, label, fontsize=6.5, color=GREY, rotation=turn, transform=ax.transAxes,
            ha="left" if turn == 0 else "right", va="top" if turn == 0 else "bottom",
        )  # fmt: skip
