"""GraphML: the whole graph with learned values as attributes, for networkx, igraph, Gephi and Cytoscape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import networkx as nx
import pandas as pd

from multiscale import atomic
from multiscale.errors import FormatError
from multiscale.formats.exchange import KEY, Network, Records, flatten, unflatten
from multiscale.graph import Graph

__all__ = ["read", "write"]

_NOT_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 cannot hold, and the carriage return, which its readers turn into a line feed."""


def write(
    graph: Graph,
    path: str | Path,
    values: Mapping[str, pd.DataFrame] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a graph as GraphML, atomically.

    Nodes carry `type`, edges carry `relation`; all attributes and learned values keep their type. Values that
    are missing are left out.

    Args:
        graph: the graph.
        path: file to write.
        values: per node type a table indexed by node name, per relation a table indexed by row.
        meta: settings that travel along.

    Raises:
        FormatError: values do not fit the graph, or a text holds a character that XML cannot.
    """
    records = flatten(graph, values, meta)
    _check_characters(records)
    network = nx.MultiDiGraph(name=graph.name)
    network.graph[KEY] = records.document
    for name, attributes in records.nodes.items():
        network.add_node(
            name, name=name, **attributes
        )  # twice: igraph reads ids without undoing XML's escapes
    for number, (source, target, attributes) in enumerate(records.edges):
        network.add_edge(source, target, key=f"e{number}", **attributes)
    with atomic.replace(path) as temporary:
        nx.write_graphml_xml(network, temporary, named_key_ids=True)


def read(path: str | Path) -> Network:
    """Read back what `write` wrote.

    Raises:
        FormatError: the file is missing, is not GraphML, is too new, or another program wrote it.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    try:
        network = nx.read_graphml(path, force_multigraph=True)
    except (ParseError, nx.NetworkXError) as error:
        raise FormatError(f"{path}: not GraphML: {error}") from None
    if KEY not in network.graph:
        raise FormatError(
            f"{path}: has no network attribute `{KEY}`, so another program wrote it; "
            "read it with networkx and pass it to `from_networkx`."
        )
    edges = sorted(network.edges(keys=True, data=True), key=lambda edge: int(edge[2].removeprefix("e")))
    nodes = {str(name): dict(attributes) for name, attributes in network.nodes(data=True)}
    records = Records(nodes, [(u, v, dict(data)) for u, v, _, data in edges], network.graph[KEY])
    return unflatten(records, str(path))


def _check_characters(records: Records) -> None:
    texts = [*records.nodes, records.document]
    texts += [v for attributes in records.nodes.values() for v in attributes.values() if isinstance(v, str)]
    texts += [v for _, _, attributes in records.edges for v in attributes.values() if isinstance(v, str)]
    for text in texts:
        if _NOT_XML.search(text):
            raise FormatError(f"GraphML cannot hold the control character in {text[:60]!r}; remove it.")
