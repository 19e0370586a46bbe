"""Where nodes stand in a picture: one column per scale, neighbours at similar height."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from multiscale.graph import Graph

__all__ = ["LAYERS", "SPACING", "layers", "positions"]

LAYERS = (
    "transcripts",
    "molecules",
    "complexes",
    "complexes between cells",
    "reactions",
    "pathways",
    "cells",
)
"""Columns from left to right, from small to large scales."""

SPACING = (260.0, 45.0)
"""Pixels between columns and between rows in files with positions: a label fits between."""

_SWEEPS = 24  # passes of the barycentre heuristic; orders of real graphs stop improving after about ten


def layers(graph: Graph) -> dict[str, list[str]]:
    """Node names per column; a molecule that encodes others and is encoded by none counts as a transcript.

    Args:
        graph: the graph.

    Returns:
        column name to node names, columns without nodes left out.
    """
    encodes, subunits = graph.edges["encodes"], graph.edges["subunit"]
    transcripts = set(encodes["source"])
    between = set(subunits.loc[subunits["side"] != "", "target"])
    molecules, complexes = list(graph.nodes["molecule"].index), list(graph.nodes["complex"].index)
    columns = {
        "transcripts": [name for name in molecules if name in transcripts],
        "molecules": [name for name in molecules if name not in transcripts],
        "complexes": [name for name in complexes if name not in between],
        "complexes between cells": [name for name in complexes if name in between],
        "reactions": list(graph.nodes["reaction"].index),
        "pathways": list(graph.nodes["pathway"].index),
        "cells": list(graph.nodes["cell"].index),
    }
    return {column: names for column, names in columns.items() if names}


def positions(graph: Graph, columns: dict[str, list[str]] | None = None) -> dict[str, tuple[float, float]]:
    """Place every node: x = number of its column, y = height, one unit apart or more within a column.

    Heights follow the barycentre heuristic: a node wants to stand at the mean height of its neighbours.

    Args:
        graph: the graph.
        columns: node names per column, to leave nodes out; all of `layers` if None.

    Returns:
        (x, y) per node name; y grows downwards from 0.

    Source: Sugiyama, Tagawa and Toda 1981, doi:10.1109/TSMC.1981.4308636, barycentre ordering of one level.
    """
    columns = layers(graph) if columns is None else columns
    neighbours = _neighbours(graph, {name for names in columns.values() for name in names})
    height = {name: float(row) for names in columns.values() for row, name in enumerate(names)}
    for sweep in range(_SWEEPS):  # to the right, then to the left
        for names in list(columns.values())[:: 1 if sweep % 2 == 0 else -1]:
            wanted = {
                name: np.mean([height[n] for n in neighbours[name]] or [height[name]]) for name in names
            }
            ordered = sorted(
                names, key=lambda name: (wanted[name], name)
            )  # names break ties: the same every time
            height.update(_spread(ordered, np.array([wanted[name] for name in ordered])))
    top = min(height.values(), default=0.0)
    return {
        name: (float(x), height[name] - top) for x, names in enumerate(columns.values()) for name in names
    }


def _neighbours(graph: Graph, shown: set[str]) -> dict[str, list[str]]:
    """Neighbours of every node among those that are shown."""
    found = defaultdict(list)
    for table in graph.edges.values():
        for source, target in zip(table["source"], table["target"], strict=True):
            if source in shown and target in shown:
                found[source].append(target)
                found[target].append(source)
    return found


def _spread(names: list[str], wanted: np.ndarray) -> dict[str, float]:
    """Heights nearest to the wanted ones (least squares) in the given order and at least one unit apart."""
    steps = np.arange(len(names))
    return dict(zip(names, _increasing(wanted - steps) + steps, strict=True))


def _increasing(values: np.ndarray) -> np.ndarray:
    """Least-squares non-decreasing sequence: pool neighbours that violate the order until none does."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        blocks.append((mean, size))
    return np.repeat([mean for mean, _ in blocks], [size for _, size in blocks])
