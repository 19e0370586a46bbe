"""The network to explore: zoom, hover, search, filter by scale, colour by what was learned.

Bokeh draws it and handles mouse and touch; its model (`canvas`) carries no data. What is drawn travels beside
it as JSON, and `network.js` fills it in, so that names from data never pass through code.
"""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np

from multiscale.formats.layout import layers, positions
from multiscale.graph import Graph
from multiscale.report import canvas, html
from multiscale.report.findings import Findings
from multiscale.report.learned import Quantity, quantities
from multiscale.report.tables import number

__all__ = ["network"]

_LONGEST = {False: 26, True: 52}  # letters of a label on the left and on the right of its node

_RIGHT = ("pathways", "cells")
"""Scales whose names, often long, stand to the right of the nodes."""

_ABOUT = {
    "encodes": ("encoded by", "encodes"),
    "subunit": ("made of", "part of"),
    "member": ("has members", "member of"),
    "reactant": ("uses", "used by"),
    "product": ("made by", "makes"),
    "modifier": ("modified by", "modifies"),
    "drives": ("driven by", "drives"),
    "neighbor": ("neighbour of", "neighbour of"),
}
"""Per relation what the target says of the source, and the source of the target."""

_MARKERS = {
    "transcripts": "triangle",
    "molecules": "circle",
    "complexes": "square",
    "complexes between cells": "hex",
    "reactions": "plus",
    "pathways": "diamond",
    "cells": "star",
}

_SIGNS = {
    "triangle": "△",
    "circle": "○",
    "square": "□",
    "hex": "⬡",
    "plus": "+",
    "diamond": "◇",
    "star": "☆",
}


def network(findings: Findings) -> str:
    """The network and its controls as HTML; '' for a graph without nodes."""
    graph = findings.network.graph
    if not layers(graph):
        return ""
    content = _content(graph, quantities(findings))
    return "\n".join(
        [
            _controls(content),
            html.data("network-content", content),
            html.data("network-item", canvas.item("network-canvas")),
        ]
    )


def _columns(graph: Graph, linked: set[str]) -> dict[str, list[str]]:
    """Columns of nodes; a scale that nothing links, such as a template cell, is left out."""
    return {scale: names for scale, names in layers(graph).items() if linked & set(names)}


def _linked(graph: Graph) -> set[str]:
    """Nodes that are linked to more than their own gene or protein; all nodes if none is."""
    tables = [table for relation, table in graph.edges.items() if relation != "encodes"]
    linked = {str(name) for table in tables for end in ("source", "target") for name in table[end]}
    encodes = graph.edges["encodes"]
    linked |= set(encodes.loc[encodes["target"].isin(linked), "source"])
    return linked or {str(name) for table in graph.nodes.values() for name in table.index}


def _content(graph: Graph, found: list[Quantity]) -> dict[str, Any]:
    """Everything that is drawn."""
    linked = _linked(graph)
    columns = _columns(graph, linked)
    place = _places(graph, columns, linked)
    order = {name: number for number, name in enumerate(place)}
    return {
        "scales": [
            {"name": scale, "marker": _MARKERS[scale], "count": len(linked & set(names))}
            for scale, names in columns.items()
        ],
        "nodes": [
            _node(graph, name, scale, place[name], name in linked, found)
            for scale, names in columns.items()
            for name in names
        ],
        "edges": [
            [
                order[str(row.source)],
                order[str(row.target)],
                int(getattr(row, "sign", 1) < 0),
                *_ABOUT[relation],
            ]
            for relation, table in graph.edges.items()
            for row in table.itertuples()
            if row.source in order and row.target in order
        ],
        "colours": [_colours(quantity, list(place)) for quantity in _colourings(found)],
    }


def _places(graph: Graph, columns: dict[str, list[str]], linked: set[str]) -> dict[str, tuple[float, float]]:
    """Column and height of every node; those that nothing links stand below all others."""
    shown = {scale: [n for n in names if n in linked] for scale, names in columns.items()}
    above = positions(graph, {scale: names for scale, names in shown.items() if names})
    below = {scale: [n for n in names if n not in linked] for scale, names in columns.items()}
    rest = positions(graph, {scale: names for scale, names in below.items() if names})
    bottom = max((y for _, y in above.values()), default=-3.0) + 3.0
    wide = 1.8 * ("pathways" in columns)  # room for the names of pathways before the cells
    return {
        name: (x + wide * (scale == "cells"), above[name][1] if name in above else rest[name][1] + bottom)
        for x, (scale, names) in enumerate(columns.items())
        for name in names
    }


def _node(
    graph: Graph, name: str, scale: str, place: tuple[float, float], linked: bool, found: list[Quantity]
) -> dict[str, Any]:
    record = graph.nodes[graph.node_type(name)].loc[name].to_dict()
    label = str(record.get("identifier") or name) if scale == "transcripts" else name
    right = scale in _RIGHT
    about = [str(record.get(key)) for key in ("label", "compartment", "note") if record.get(key)]
    return {
        "name": name,
        "label": label if len(label) <= _LONGEST[right] else label[: _LONGEST[right] - 1] + "…",
        "right": right,
        "scale": scale,
        "x": place[0],
        "y": round(place[1], 3),
        "linked": linked,
        "about": [words for words in dict.fromkeys(about) if words != name],
        "values": [line for quantity in found if (line := _line(quantity, name))],
    }


def _line(quantity: Quantity, name: str) -> list[str] | None:
    """Name, value and interval of a quantity of a node, None if it has none."""
    value = quantity.value.get(name, np.nan)
    if not np.isfinite(value):
        return None
    ends = quantity.lower.get(name, np.nan), quantity.upper.get(name, np.nan)
    interval = f"{number(float(ends[0]))} to {number(float(ends[1]))}" if np.isfinite(ends).all() else ""
    return [quantity.name, number(float(value)), interval]


def _colourings(found: list[Quantity]) -> list[Quantity]:
    """Learned values, then their uncertainties, then what holds in one context only."""
    general = [quantity for quantity in found if not quantity.name.startswith("bound fraction in ")]
    unsure = [quantity.uncertainty for quantity in general if quantity.lower.notna().any()]
    return general + unsure + [quantity for quantity in found if quantity not in general]


def _colours(quantity: Quantity, names: list[str]) -> dict[str, Any]:
    """Place of every node between the lowest and the highest value, 0 to 1, None where it has no value."""
    values = quantity.value[~quantity.value.index.duplicated()].reindex(names).to_numpy(float)
    values[~np.isfinite(values)] = np.nan
    logarithmic = quantity.positive
    scaled = np.log(values) if logarithmic else values
    low, high = (np.nanmin(scaled), np.nanmax(scaled)) if np.isfinite(scaled).any() else (0.0, 1.0)
    where = (scaled - low) / ((high - low) or 1.0)
    ticks = [low + part * (high - low) for part in (0.0, 0.5, 1.0)]
    return {
        "name": quantity.name,
        "ticks": [number(float(f"{np.exp(tick) if logarithmic else tick:.2g}")) for tick in ticks],
        "where": [None if np.isnan(value) else round(float(value), 4) for value in where],
    }


def _controls(content: dict[str, Any]) -> str:
    """Search, filter, colours and buttons as plain form elements, which keyboards and readers know."""
    scales = "\n".join(
        f'<label><input type="checkbox" value="{escape(scale["name"])}" checked> '
        f'<span aria-hidden="true">{_SIGNS[scale["marker"]]}</span> {escape(scale["name"])} '
        f"<small>{scale['count']}</small></label>"
        for scale in content["scales"]
    )
    options = "\n".join(
        f'<option value="{place}">{escape(colour["name"])}</option>'
        for place, colour in enumerate(content["colours"])
    )
    names = "\n".join(f'<option value="{escape(node["name"])}"></option>' for node in content["nodes"])
    lonely = sum(not node["linked"] for node in content["nodes"])
    extra = (
        '<label><input type="checkbox" id="network-lonely"> in no complex, reaction or pathway '
        f"<small>{lonely}</small></label>"
        if lonely
        else ""
    )
    rows = math.ceil(max(node["y"] for node in content["nodes"] if node["linked"])) + 3
    parts = {"scales": scales, "options": options, "names": names, "lonely": extra, "rows": rows}
    return html.resource("network.html").format(**parts)
