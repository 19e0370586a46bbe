"""Smaller graphs from larger ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from multiscale.graph.graph import Graph

__all__ = ["without_complexes"]


def without_complexes(graph: Graph, names: Iterable[str] | None = None) -> Graph:
    """Leave out complexes and every edge that touches them.

    Args:
        graph: stays as it is.
        names: which complexes; all if None.
    """
    dropped = list(graph.complexes if names is None else names)
    complexes = graph.nodes["complex"]
    kept = complexes.loc[~complexes.index.isin(dropped)]
    edges = {
        relation: table.loc[~table["source"].isin(dropped) & ~table["target"].isin(dropped)].reset_index(
            drop=True
        )
        for relation, table in graph.edges.items()
    }
    return replace(graph, nodes={**graph.nodes, "complex": kept}, edges=edges)
