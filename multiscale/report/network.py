"""A picture of a graph: one column per scale, labels beside the nodes, colours for what was learned."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.path import Path

from multiscale.formats.layout import layers, positions
from multiscale.graph import Graph

__all__ = ["EDGE", "Fitted", "Point", "draw_edges", "linked", "named", "network", "placed", "sheet"]

ROW = 0.19  # inches between neighbours of a column: 7-point labels do not touch
GAP = 0.8  # inches between the nodes of a column and the longest label of the next
LETTER = 0.06  # inches per letter of a 7-point label
WRAP = 30  # letters per line of a label
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.1, 0.15, 0.9, 0.6  # inches around the nodes, for titles and the note

EDGE = "#8c8c8c"
_COLOURS = "viridis"
_HEADS = {
    "transcripts": "transcripts",
    "molecules": "proteins and\nother molecules",
    "complexes between cells": "complexes\nbetween cells",
}


@runtime_checkable
class Fitted(Protocol):
    """Anything that has a graph and values learned about its nodes, such as a result of a fit."""

    @property
    def graph(self) -> Graph:
        """The graph."""
        ...

    def node_values(self) -> dict[str, pd.DataFrame]:
        """Per node type a table of learned values, index = node names."""
        ...


@dataclass(frozen=True)
class Point:
    """Where a node stands, in inches: its marker at (x, y), its label from `left` to the marker."""

    x: float
    y: float
    left: float
    label: str


def network(
    graph: Graph | Fitted,
    values: Mapping[str, pd.DataFrame] | None = None,
    *,
    show: Mapping[str, str] | None = None,
    everything: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw a graph by scale: transcripts, molecules, complexes, complexes between cells, pathways.

    Args:
        graph: a graph, or a result that has one and the values learned about it.
        values: per node type a table of learned values, index = node names; colours show one of its columns.
        show: per node type the column to show; its first numeric one if not named.
        everything: also draw molecules that belong to no complex, reaction or pathway.
        ax: axes to draw on, one unit = one inch of the picture at its own size; new ones if None.

    Returns:
        the axes; edges with a negative sign are dashed.
    """
    if not isinstance(graph, Graph):
        graph, values = graph.graph, graph.node_values() if values is None else values
    shown = layers(graph) if everything else linked(graph)
    learned = {head: _learned(graph, names, values or {}, show or {}) for head, names in shown.items()}
    points = placed(graph, shown, {head: title for head, (_, title) in learned.items()})
    width = max((point.x for point in points.values()), default=1.0)
    height = max((point.y for point in points.values()), default=0.0)
    ax = sheet(width, height) if ax is None else ax
    ax.set(xlim=(-_LEFT, width + _RIGHT), ylim=(height + _BOTTOM, -_TOP))  # y runs downwards
    ax.set_axis_off()
    draw_edges(ax, graph, points)
    for head, names in shown.items():
        _draw_column(ax, head, [points[name] for name in names], *learned[head])
    ax.text(0, height + 0.4, _note(graph, len(points)), fontsize=7)
    return ax


def sheet(width: float, height: float) -> Axes:
    """Axes that fill a new figure, one unit = one inch."""
    return plt.figure(figsize=(width + _LEFT + _RIGHT, height + _TOP + _BOTTOM)).add_axes((0, 0, 1, 1))


def linked(graph: Graph) -> dict[str, list[str]]:
    """Columns without the molecules that only encode or are encoded, and without lone nodes."""
    tables = {relation: table for relation, table in graph.edges.items() if relation != "encodes"}
    known = {name for table in tables.values() for end in ("source", "target") for name in table[end]}
    encodes = graph.edges["encodes"]
    known |= set(encodes.loc[encodes["target"].isin(known), "source"])
    kept = {head: [name for name in names if name in known] for head, names in layers(graph).items()}
    return {head: names for head, names in kept.items() if names} or layers(graph)


def placed(graph: Graph, shown: dict[str, list[str]], titles: dict[str, str]) -> dict[str, Point]:
    """Place all nodes; a column is as wide as its longest text."""
    place = positions(graph, shown)
    points, x = {}, 0.0
    for head, names in shown.items():
        labels = {name: _label(graph, name) for name in names}
        longest = max(_letters(text) for text in [_HEADS.get(head, head), titles[head], *labels.values()])
        x += LETTER * longest + 0.1
        for name, label in labels.items():
            points[name] = Point(x, place[name][1] * ROW, x - LETTER * _letters(label) - 0.12, label)
        x += GAP
    return points


def _label(graph: Graph, name: str) -> str:
    """Name of a node, in lines; a transcript goes by the name that data know it by."""
    if name in set(graph.edges["encodes"]["source"]):
        name = str(graph.nodes["molecule"].loc[name, "identifier"])
    return "\n".join(textwrap.wrap(name, WRAP, break_long_words=False)) or name


def _letters(text: str) -> int:
    return max(map(len, text.splitlines()), default=0)


def draw_edges(ax: Axes, graph: Graph, points: Mapping[str, Point]) -> None:
    """Curves from the marker of one node to the label of another; those with a negative sign dashed."""
    solid: list[Path] = []
    dashed: list[Path] = []
    for table in graph.edges.values():
        signs = table["sign"] if "sign" in table.columns else [1] * len(table)
        for source, target, sign in zip(table["source"], table["target"], signs, strict=True):
            if source in points and target in points:
                (dashed if sign < 0 else solid).append(_curve(points[source], points[target]))
    style: dict[str, Any] = {"facecolors": "none", "edgecolors": EDGE, "linewidths": 0.7, "alpha": 0.55}
    ax.add_collection(PathCollection(solid, zorder=1, **style), autolim=False)
    ax.add_collection(PathCollection(dashed, zorder=1, linestyles="dashed", **style), autolim=False)


def _curve(start: Point, end: Point) -> Path:
    """Bézier curve to the right; within a column an arc beside it."""
    first, last = (start, end) if start.x <= end.x else (end, start)
    x0, x1 = first.x + 0.06, last.left if first.x < last.x else last.x + 0.06
    middle = (x0 + x1) / 2 if first.x < last.x else x0 + GAP / 2
    corners = [(x0, first.y), (middle, first.y), (middle, last.y), (x1, last.y)]
    return Path(corners, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])


def named(ax: Axes, head: str, points: list[Point], title: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Head and labels of one column; gives x and y of its markers."""
    x, y = np.array([(point.x, point.y) for point in points]).T
    ax.text(x[0], -0.52, _HEADS.get(head, head), fontsize=8, fontweight="bold", ha="right", va="bottom")
    ax.text(x[0], -0.48, title, fontsize=6, ha="right", va="top")
    for point in points:
        text = point.label.replace("$", r"\$")  # between dollar signs matplotlib reads mathematics
        ax.text(point.x - 0.08, point.y, text, fontsize=7, ha="right", va="center", linespacing=0.9)
    return x, y


def _draw_column(ax: Axes, head: str, points: list[Point], learned: np.ndarray, title: str) -> None:
    """One column; nodes without a value are hollow."""
    x, y = named(ax, head, points, title)
    has = np.isfinite(learned)
    ax.scatter(x[~has], y[~has], s=26, facecolors="none", edgecolors=EDGE, linewidths=0.8, zorder=3)
    if has.any():
        colours: dict[str, Any] = {"c": learned[has], "norm": _norm(learned[has]), "cmap": _COLOURS}
        ax.scatter(x[has], y[has], s=30, edgecolors=EDGE, linewidths=0.6, zorder=3, **colours)


def _learned(
    graph: Graph, names: list[str], values: Mapping[str, pd.DataFrame], show: Mapping[str, str]
) -> tuple[np.ndarray, str]:
    """Shown value of every node of a column, NaN where there is none, and a title that says what it is."""
    kind = graph.node_type(names[0])
    numeric = values[kind].select_dtypes("number") if kind in values else pd.DataFrame()
    shown = show.get(kind) or next(iter(numeric.columns), "")
    if shown not in numeric.columns:
        return np.full(len(names), np.nan), ""
    found = numeric[shown].reindex(names).to_numpy(float)
    finite = found[np.isfinite(found)]
    if not len(finite):
        return found, ""
    span = f"{finite.min():.3g} to {finite.max():.3g}".replace("-", "−")
    return found, f"{shown}\n{span}"


def _norm(learned: np.ndarray) -> Normalize:
    """Colours by decade where values are positive and span more than two decades, else evenly."""
    low, high = learned.min(), learned.max()
    return LogNorm(low, high) if low > 0 and high > 100 * low else Normalize(low, high)


def _note(graph: Graph, drawn: int) -> str:
    left_out = sum(map(len, layers(graph).values())) - drawn
    note = "colour: from the lowest (dark) to the highest value (bright) of a column; dashed: negative"
    return note + (f"; not drawn: {left_out} nodes in no complex, reaction or pathway" if left_out else "")
