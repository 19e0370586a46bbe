"""Checks of card.toml: what the graph is, under which licence, and where its species live."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, time
from typing import Any

from multiscale.errors import nearest
from multiscale.graph.graph import Graph
from multiscale.graph.schema import CARD_KEYS, COMPARTMENT_KEYS, FORMAT_VERSION, GEOMETRIES, MODEL_UNITS

__all__ = ["card_problems"]

_SPDX = re.compile(r"\(*[A-Za-z0-9][A-Za-z0-9.+-]*\)*( (AND|OR|WITH) \(*[A-Za-z0-9][A-Za-z0-9.+-]*\)*)*")
_NAMES = {str: "text", int: "a whole number", list: "a list", dict: "a section", (int, float): "a number"}


def card_problems(graph: Graph) -> Iterator[str]:
    """Sentences on everything wrong with the card and with compartments that nodes name."""
    card = graph.card
    yield from _keys("", card, CARD_KEYS)
    for key in ("format_version", "name", "title", "licence"):
        if card.get(key) in (None, ""):
            yield f"card.toml: `{key}` is missing; add it."
    yield from _identity(graph)
    for item in _lists(card.get("sources")):
        if not isinstance(item, Mapping):
            yield f"card.toml: `sources` must be sections [[sources]]; got {item!r}."
    for name, compartment in _sections(card.get("compartments")).items():
        yield from _compartment(graph, name, compartment)
    yield from _cell(card.get("cell"))
    if card.get("units", MODEL_UNITS) != MODEL_UNITS:
        yield f"card.toml: `units` must be `{MODEL_UNITS}` or be left out (s, µM); got `{card['units']}`."
    yield from _unwritable("", card)
    yield from _undefined_compartments(graph)


def _keys(section: str, found: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Unknown keys, and keys whose value has the wrong type."""
    for key, value in found.items():
        path = f"{section}.{key}" if section else key
        if key not in known:
            yield f"card.toml: unknown key `{path}`; {nearest(str(key), known)}"
        elif not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] is not bool):
            yield f"card.toml: `{path}` must be {_NAMES[known[key]]}; got {value!r}."


def _identity(graph: Graph) -> Iterator[str]:
    version, licence, name = (graph.card.get(key) for key in ("format_version", "licence", "name"))
    if isinstance(version, int) and not 1 <= version <= FORMAT_VERSION:
        yield f"card.toml: `format_version` must be from 1 to {FORMAT_VERSION}; got {version}."
    if isinstance(licence, str) and licence and not _SPDX.fullmatch(licence):
        yield f"card.toml: `licence` must be an SPDX identifier (`CC-BY-4.0`...) or `facts`; got `{licence}`."
    if isinstance(name, str) and name and name != graph.name:
        yield f"card.toml: `name` is `{name}` but the graph is called `{graph.name}`; make them the same."


def _compartment(graph: Graph, name: str, compartment: Any) -> Iterator[str]:
    path = f"compartments.{name}"
    if not isinstance(compartment, Mapping):
        yield f"card.toml: `{path}` must be a section [{path}]; got {compartment!r}."
        return
    yield from _keys(path, compartment, COMPARTMENT_KEYS)
    geometry = compartment.get("geometry", "")
    if geometry not in GEOMETRIES:
        yield f"card.toml: `{path}.geometry` = `{geometry}`; {nearest(str(geometry), GEOMETRIES)}"
    fraction, volume = compartment.get("volume_fraction", 1.0), compartment.get("volume_fL", 1.0)
    if isinstance(fraction, int | float) and not 0 < fraction <= 1:
        yield f"card.toml: `{path}.volume_fraction` must be above 0 and at most 1; got {fraction}."
    if isinstance(volume, int | float) and not 0 < volume < float("inf"):
        yield f"card.toml: `{path}.volume_fL` must be positive, in fL; got {volume}."
    if geometry == "soluble" and "volume_fL" not in compartment:
        yield f"card.toml: soluble `{name}` has no `volume_fL`; state its volume per pair of cells, in fL."
    yield from _confinement(graph, name, geometry, compartment.get("confinement", ""))


def _confinement(graph: Graph, name: str, geometry: str, confinement: str) -> Iterator[str]:
    roles = graph.parameters["role"].to_dict()
    lengths = [str(parameter) for parameter, role in roles.items() if role == "confinement"]
    if confinement and confinement not in lengths:
        yield (
            f"card.toml: `compartments.{name}.confinement` = `{confinement}` is not a parameter of that role;"
            f" {nearest(str(confinement), lengths)}"
        )
    if geometry == "contact" and not confinement:
        yield f"card.toml: contact `{name}` has no `confinement`; name a parameter of role confinement (nm)."


def _cell(cell: Any) -> Iterator[str]:
    """Default volume and surface of a cell: positive numbers."""
    for key, value in _sections(cell).items():
        if isinstance(value, int | float) and not 0 < value < float("inf"):
            yield f"card.toml: `cell.{key}` must be positive; got {value}."


def _unwritable(path: str, value: Any) -> Iterator[str]:
    """Values that TOML does not have, such as None or arrays of numbers that are no lists."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _unwritable(f"{path}.{key}" if path else str(key), item)
    elif isinstance(value, list):
        for item in value:
            yield from _unwritable(path, item)
    elif not isinstance(value, str | int | float | date | time):
        yield f"card.toml: `{path}` must be text, a number, a flag, a date or a list of these; got {value!r}."


def _undefined_compartments(graph: Graph) -> Iterator[str]:
    known = _sections(graph.card.get("compartments"))
    for table in graph.nodes.values():
        if "compartment" in table:
            for name, compartment in zip(table.index.tolist(), table["compartment"].tolist(), strict=True):
                if compartment and compartment not in known:
                    yield (
                        f"nodes.tsv: `{name}`: compartment `{compartment}` is not defined in card.toml;"
                        f" {nearest(compartment, known)}"
                    )


def _sections(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _lists(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
