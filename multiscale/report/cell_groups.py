"""A picture of the network of a group of cells: what it has more or less of than the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from multiscale.errors import DataError, nearest
from multiscale.formats.layout import layers
from multiscale.graph import Graph
from multiscale.report.cells import states
from multiscale.report.network import EDGE, Fitted, draw_edges, linked, named, placed, sheet

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["contrasts", "group"]

_BEYOND = 0.95  # quantile of the contrasts that the colours span
_SIZES = (14.0, 74.0)  # markers, points², from the smallest to the largest level of a column


def group(
    graph: Graph | Fitted,
    adata: AnnData,
    groupby: str,
    name: str,
    *,
    reference: str = "rest",
    most: int = 25,
    key: str = "multiscale",
    ax: Axes | None = None,
) -> Axes:
    """Network of a group of cells: colours say how much more (red) or less (blue) it has than the others.

    Colour: log2 of the ratio of mean levels; of pathways, whose activities are logarithms, the difference in
    the same unit. Marker: the larger, the higher the level in this group among those of its column. Nodes
    without a value are small and hollow.

    Args:
        graph: a graph, or a result that has one.
        adata: cells with results as `write_anndata` leaves them.
        groupby: column of `obs`.
        name: the group.
        reference: the group to compare with; `rest` = all other cells.
        most: complexes and reactions drawn, those with the largest contrasts; with them come their molecules,
            the transcripts of these if these have values, and their pathways.
        key: key under which results were written.
        ax: axes to draw on, one unit = one inch of the picture at its own size; new ones if None.

    Raises:
        DataError: there is no such column, group or result, or no other cell.
    """
    graph = graph if isinstance(graph, Graph) else graph.graph
    values = contrasts(adata, groupby, name, reference=reference, key=key)
    values = values.rename({name.replace("/", "|"): name for name in _names(graph)})  # HDF5 has no / in names
    shown, known = _most_different(graph, values["contrast"], most)
    points = placed(graph, shown, dict.fromkeys(shown, ""))
    width, height = max(p.x for p in points.values()), max(p.y for p in points.values())
    ax = sheet(width + 0.9, height) if ax is None else ax
    ax.set(xlim=(-0.1, width + 1.05), ylim=(height + 0.6, -1.15))  # y runs downwards
    ax.set_axis_off()
    draw_edges(ax, graph, points)
    top = _reach(values["contrast"])
    for head, names in shown.items():
        _draw_column(ax, *named(ax, head, [points[n] for n in names]), values.reindex(names), top)
    other = "other cells" if reference == "rest" else reference
    ax.text(-0.05, -1.0, f"{name} against {other}".replace("$", r"\$"), fontsize=10, va="bottom")
    _key(ax, top, width)
    drawn = sum(
        len(names) for head, names in shown.items() if head not in ("transcripts", "molecules", "pathways")
    )
    note = "marker: the larger, the higher the level in its column; hollow: no value; dashed: negative"
    left_out = (
        f"; {drawn} of {known} complexes and reactions: those that differ most" if drawn < known else ""
    )
    ax.text(0, height + 0.4, note + left_out, fontsize=7)
    return ax


def contrasts(
    adata: AnnData, groupby: str, name: str, *, reference: str = "rest", key: str = "multiscale"
) -> pd.DataFrame:
    """What a group of cells has more or less of than others.

    Args:
        adata: cells with results as `write_anndata` leaves them.
        groupby: column of `obs`.
        name: the group.
        reference: the group to compare with; `rest` = all other cells.
        key: key under which results were written.

    Returns:
        index = molecules, complexes, pathways; columns `kind`, `level` (mean over the group), `contrast`
        (log2 ratio of means; of pathways the difference of means/ln 2).

    Raises:
        DataError: there is no such column, group or result, or no other cell.
    """
    if groupby not in adata.obs:
        raise DataError(
            f"`adata.obs` has no column `{groupby}`; {nearest(groupby, map(str, adata.obs.columns))}"
        )
    labels = adata.obs[groupby].astype(str).to_numpy()
    known = set(labels)
    for wanted in (name, reference):
        if wanted not in known and not (wanted == "rest" and wanted is reference):
            raise DataError(f"`{groupby}` has no group `{wanted}`; {nearest(wanted, known)}")
    inside = labels == name
    outside = ~inside if reference == "rest" else labels == reference
    tables = states(adata, key)
    if not tables or not outside.any():
        raise DataError(
            f'nothing was written under "{key}"; call `result.write_anndata(adata)`.' if not tables
            else f"all cells are `{name}`; there are none to compare with."
        )  # fmt: skip
    return pd.concat([_contrast(kind, table, inside, outside) for kind, table in tables.items()])


def _contrast(kind: str, table: pd.DataFrame, inside: np.ndarray, outside: np.ndarray) -> pd.DataFrame:
    level, other = table[inside].mean(), table[outside].mean()
    if kind == "pathway":
        change = (level - other) / np.log(2)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            change = pd.Series(np.log2(level / other), level.index)
    return pd.DataFrame({"kind": kind, "level": level, "contrast": change.where(np.isfinite(change))})


def _names(graph: Graph) -> list[str]:
    return [str(name) for names in layers(graph).values() for name in names]


def _most_different(graph: Graph, contrast: pd.Series, most: int) -> tuple[dict[str, list[str]], int]:
    """Columns with the complexes and reactions that differ most and what they link; how many there are."""
    columns = linked(graph)
    middle = [
        n
        for head, names in columns.items()
        if head not in ("transcripts", "molecules", "pathways")
        for n in names
    ]
    size = contrast.groupby(level=0).first().reindex(middle).abs().fillna(0.0)
    kept = set(size.sort_values(ascending=False, kind="stable").index[:most])
    edges = [table[["source", "target"]] for relation, table in graph.edges.items() if relation != "encodes"]
    pairs = pd.concat(edges) if edges else pd.DataFrame({"source": [], "target": []})
    touched = pairs[pairs["source"].isin(kept) | pairs["target"].isin(kept)]
    near = kept | ({*touched["source"], *touched["target"]} - (set(middle) - kept))
    encodes = graph.edges["encodes"]
    near |= set(encodes.loc[encodes["target"].isin(near), "source"])
    if not contrast.index.isin(columns.get("transcripts", [])).any():  # nothing to say of transcripts
        columns = {head: names for head, names in columns.items() if head != "transcripts"} or columns
    found = {head: [n for n in names if n in near] for head, names in columns.items()}
    return {head: names for head, names in found.items() if names} or columns, len(middle)


def _reach(contrast: pd.Series) -> float:
    """Contrast of the strongest colour, rounded up to a half."""
    size = contrast.abs().dropna()
    return float(np.ceil(2 * size.quantile(_BEYOND)) / 2) or 0.5 if len(size) else 0.5


def _draw_column(ax: Axes, x: np.ndarray, y: np.ndarray, values: pd.DataFrame, top: float) -> None:
    contrast, level = values["contrast"].to_numpy(float), values["level"].to_numpy(float)
    has = np.isfinite(contrast)
    ax.scatter(x[~has], y[~has], s=_SIZES[0], facecolors="white", edgecolors=EDGE, linewidths=0.8, zorder=3)
    if not has.any():
        return
    height = np.log(level[has]) if (level[has] > 0).all() else level[has]
    share = (
        (height - height.min()) / (np.ptp(height) or 1.0) if np.ptp(height) > 0 else np.full(has.sum(), 0.5)
    )
    style: dict[str, Any] = {"norm": Normalize(-top, top), "cmap": "RdBu_r", "edgecolors": EDGE}
    size = _SIZES[0] + (_SIZES[1] - _SIZES[0]) * share
    ax.scatter(x[has], y[has], s=size, c=contrast[has], linewidths=0.6, zorder=3, **style)


def _key(ax: Axes, top: float, width: float) -> None:
    """Colour bar at the right."""
    where = ax.inset_axes((width + 0.3, -0.2, 0.12, 1.5), transform=ax.transData)
    bar = ax.figure.colorbar(ScalarMappable(Normalize(-top, top), "RdBu_r"), cax=where, extend="both")
    bar.ax.tick_params(labelsize=6.5, length=2)
    bar.set_ticks([-top, 0, top], labels=[f"−{top:g}", "0", f"+{top:g}"])
    bar.set_label("log2 ratio", fontsize=7)
