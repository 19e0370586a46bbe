"""CX2: the exchange format of Cytoscape (desktop and web) and NDEx, with positions and a simple style."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from multiscale import atomic
from multiscale.errors import FormatError
from multiscale.formats.exchange import KEY, Network, Records, flatten, unflatten
from multiscale.formats.layout import SPACING, positions
from multiscale.graph import Graph

if TYPE_CHECKING:
    from ndex2.cx2 import CX2Network

__all__ = ["read", "write"]

_COLOURS = {
    "molecule": "#7fb3d5",
    "complex": "#e59866",
    "reaction": "#bfc9ca",
    "pathway": "#7dcea0",
    "cell": "#c39bd3",
}
_SHAPES = {
    "molecule": "ellipse",
    "complex": "round-rectangle",
    "reaction": "diamond",
    "pathway": "hexagon",
    "cell": "octagon",
}


def write(
    graph: Graph,
    path: str | Path,
    values: Mapping[str, pd.DataFrame] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a graph as CX2, atomically.

    Args:
        graph: the graph.
        path: file to write.
        values: per node type a table indexed by node name, per relation a table indexed by row.
        meta: settings that travel along.

    Raises:
        FormatError: values do not fit the graph.
    """
    from ndex2.cx2 import CX2Network  # local: it loads a web client

    records = flatten(graph, values, meta)
    network = CX2Network()
    network.set_network_attributes({"name": graph.name, KEY: records.document})
    place = positions(graph)
    numbers = {
        name: network.add_node(
            attributes={"name": name, **attributes},
            x=place[name][0] * SPACING[0],
            y=place[name][1] * SPACING[1],
        )
        for name, attributes in records.nodes.items()
    }
    for source, target, attributes in records.edges:
        attributes = {"interaction": attributes["relation"], **attributes}
        network.add_edge(source=numbers[source], target=numbers[target], attributes=attributes)
    network.set_visual_properties(_style())
    with atomic.replace(path) as temporary:
        temporary.write_text(
            json.dumps(network.to_cx2(), allow_nan=False, ensure_ascii=False), encoding="utf-8"
        )


def read(path: str | Path) -> Network:
    """Read back what `write` wrote; positions and style are not read.

    Raises:
        FormatError: the file is missing, is not CX2, is too new, or another program wrote it.
    """
    network = _parse(Path(path))
    attributes = network.get_network_attributes()
    if KEY not in attributes:
        raise FormatError(f"{path}: has no network attribute `{KEY}`, so another program wrote it.")
    names = {number: node["v"]["name"] for number, node in network.get_nodes().items()}
    nodes = {
        names[number]: {key: value for key, value in node["v"].items() if key != "name"}
        for number, node in network.get_nodes().items()
    }
    edges = [
        (names[edge["s"]], names[edge["t"]], {k: v for k, v in edge["v"].items() if k != "interaction"})
        for _, edge in sorted(network.get_edges().items())
    ]
    return unflatten(Records(nodes, edges, attributes[KEY]), str(path))


def _parse(path: Path) -> CX2Network:
    from ndex2.cx2 import RawCX2NetworkFactory
    from ndex2.exceptions import NDExError

    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    try:
        return RawCX2NetworkFactory().get_cx2network(json.loads(path.read_text(encoding="utf-8")))
    except (NDExError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: not CX2: {error}") from None


def _style() -> dict[str, Any]:
    """Colour and shape by node type, names as labels."""

    def by_type(values: dict[str, str]) -> dict[str, Any]:
        pairs = [{"v": kind, "vp": value} for kind, value in values.items()]
        return {"type": "DISCRETE", "definition": {"attribute": "type", "map": pairs}}

    label = {"type": "PASSTHROUGH", "definition": {"attribute": "name", "type": "string"}}
    return {
        "default": {
            "network": {"NETWORK_BACKGROUND_COLOR": "#ffffff"},
            "node": {
                "NODE_WIDTH": 150,
                "NODE_HEIGHT": 30,
                "NODE_LABEL_FONT_SIZE": 11,
                "NODE_BORDER_WIDTH": 0,
            },
            "edge": {"EDGE_WIDTH": 1, "EDGE_LINE_COLOR": "#999999", "EDGE_TARGET_ARROW_SHAPE": "triangle"},
        },
        "nodeMapping": {
            "NODE_BACKGROUND_COLOR": by_type(_COLOURS),
            "NODE_SHAPE": by_type(_SHAPES),
            "NODE_LABEL": label,
        },
        "edgeMapping": {},
    }
