"""cytoscape.js JSON: the network with positions for web pages, Cytoscape desktop and networkx."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from multiscale import atomic
from multiscale.errors import FormatError
from multiscale.formats.exchange import KEY, Network, Records, Scalar, flatten, unflatten
from multiscale.formats.layout import SPACING, positions
from multiscale.graph import Graph
from multiscale.version import __version__

__all__ = ["read", "write"]

_NODE_KEYS = {"id", "name", "value"}
_EDGE_KEYS = {"id", "key", "source", "target", "interaction"}


def write(
    graph: Graph,
    path: str | Path,
    values: Mapping[str, pd.DataFrame] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a graph as cytoscape.js JSON (.cyjs), atomically.

    Nodes are named by their `id` (and by `value`, which networkx reads), edges by an `id` that no node has.

    Args:
        graph: the graph.
        path: file to write.
        values: per node type a table indexed by node name, per relation a table indexed by row.
        meta: settings that travel along.

    Raises:
        FormatError: values do not fit the graph.
    """
    records = flatten(graph, values, meta)
    place, prefix = positions(graph), _edge_prefix(records.nodes)
    content = {
        "format_version": "1.0",  # of Cytoscape's JSON; ours stands in the document
        "generated_by": f"multiscale-{__version__}",
        "target_cytoscapejs_version": "~2.1",
        "data": {"name": graph.name, "shared_name": graph.name, KEY: records.document},
        "directed": True,
        "multigraph": True,
        "elements": {
            "nodes": [_node(name, record, place[name]) for name, record in records.nodes.items()],
            "edges": [_edge(f"{prefix}{number}", *edge) for number, edge in enumerate(records.edges)],
        },
    }
    with atomic.replace(path) as temporary:
        temporary.write_text(json.dumps(content, allow_nan=False, ensure_ascii=False), encoding="utf-8")


def read(path: str | Path) -> Network:
    """Read back what `write` wrote, also after Cytoscape saved it again under numbers of its own.

    Raises:
        FormatError: the file is missing, is not cytoscape.js JSON, is too new, or another program wrote it.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        data, elements = dict(content["data"]), content["elements"]
        nodes = [dict(node["data"]) for node in elements["nodes"]]
        edges = [dict(edge["data"]) for edge in elements["edges"]]
        records = _records(nodes, edges) if KEY in data else ({}, [])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: not cytoscape.js JSON ({type(error).__name__}: {error}).") from None
    if KEY not in data:
        raise FormatError(
            f"{path}: its `data` has no `{KEY}`, so another program wrote it; "
            "read it with networkx.cytoscape_graph and pass it to `from_networkx`."
        )
    return unflatten(Records(*records, str(data[KEY])), str(path))


def _node(name: str, record: dict[str, Scalar], place: tuple[float, float]) -> dict[str, Any]:
    x, y = place[0] * SPACING[0], place[1] * SPACING[1]
    return {"data": {"id": name, "name": name, "value": name, **record}, "position": {"x": x, "y": y}}


def _edge(identifier: str, source: str, target: str, record: dict[str, Scalar]) -> dict[str, Any]:
    ends = {"id": identifier, "key": identifier, "source": source, "target": target}
    return {"data": {**ends, "interaction": record["relation"], **record}}


def _edge_prefix(nodes: Mapping[str, Any]) -> str:
    """A prefix that starts no node's name: nodes and edges share one space of ids."""
    prefix = "e"
    while any(name.startswith(prefix) for name in nodes):
        prefix += "_"
    return prefix


def _records(
    nodes: list[dict[str, Any]], edges: list[dict[str, Any]]
) -> tuple[dict[str, dict[str, Scalar]], list[tuple[str, str, dict[str, Scalar]]]]:
    """Records of nodes and edges, the edges in the order in which they were written."""
    names = {str(node["id"]): str(node["name"]) for node in nodes}
    edges = sorted(edges, key=lambda edge: int(str(edge["key"]).lstrip("e_")))
    return (
        {names[str(node["id"])]: _without(node, _NODE_KEYS) for node in nodes},
        [
            (names[str(edge["source"])], names[str(edge["target"])], _without(edge, _EDGE_KEYS))
            for edge in edges
        ],
    )


def _without(record: dict[str, Any], keys: set[str]) -> dict[str, Scalar]:
    return {key: value for key, value in record.items() if key not in keys}
