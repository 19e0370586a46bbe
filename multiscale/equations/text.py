"""Equations as a document of texts, numbers, lists and sections, with formulas as text, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from multiscale.equations.expression import Expression
from multiscale.equations.formula import formula, parse
from multiscale.equations.model import Compartment, Equations, Event, Parameter, Participant, Process, Species
from multiscale.errors import FormatError, nearest

__all__ = ["FORMAT_VERSION", "from_document", "to_document"]

FORMAT_VERSION = 1
"""Version of the document; newer ones are refused."""

_FORMULAS = {"starts": "initial_assignments", "assignments": "assignment_rules", "rates": "rate_rules"}
_KINDS: dict[str, Callable[..., Any]] = {
    "compartments": Compartment,
    "species": Species,
    "parameters": Parameter,
}
_SECTIONS = ("format_version", "units", *_KINDS, "reactions", *_FORMULAS.values(), "events")

Section = dict[str, Any]
T = TypeVar("T")


def to_document(equations: Equations) -> Section:
    """Turn equations into sections, in which what is as by default is left out.

    >>> from multiscale.equations.model import Parameter
    >>> to_document(Equations(parameters={"k": Parameter(2.0)}))["parameters"]
    {'k': {'value': 2.0}}
    """
    document: Section = {"format_version": FORMAT_VERSION, "units": dict(equations.units)}
    for section in _KINDS:
        document[section] = {name: _stated(item) for name, item in getattr(equations, section).items()}
    document["reactions"] = {name: _reaction(process) for name, process in equations.processes.items()}
    for attribute, section in _FORMULAS.items():
        document[section] = {name: formula(e) for name, e in getattr(equations, attribute).items()}
    document["events"] = [_event(event) for event in equations.events]
    return document


def from_document(document: Mapping[str, Any], where: str) -> Equations:
    """Turn sections back into equations.

    Args:
        document: as `to_document` makes it.
        where: the file, for errors.

    Raises:
        FormatError: it is too new, has an unknown section or key, or a formula cannot be read.
    """
    if document.get("format_version") != FORMAT_VERSION:
        got = document.get("format_version")
        raise FormatError(f"{where}: `format_version` must be {FORMAT_VERSION}; got {got!r}.")
    _known(document, _SECTIONS, where)
    parts: dict[str, Any] = {
        section: {n: _made(kind, item, f"{where}: {section} `{n}`") for n, item in _of(document, section)}
        for section, kind in _KINDS.items()
    }
    for attribute, section in _FORMULAS.items():
        parts[attribute] = {
            n: _parsed(text, f"{where}: {section} `{n}`") for n, text in _of(document, section)
        }
    return Equations(
        **parts,
        processes={n: _process(item, f"{where}: reaction `{n}`") for n, item in _of(document, "reactions")},
        events=tuple(_read_event(item, where) for item in document.get("events", [])),
        units=dict(_of(document, "units")),
    )


def _stated(item: Any) -> Section:
    """Attributes that are not as by default."""
    defaults = {f.name: f.default for f in fields(item)}
    values = {name: getattr(item, name) for name in defaults}
    return {name: value for name, value in values.items() if value != defaults[name]}


def _reaction(process: Process) -> Section:
    found: Section = {} if process.flux is None else {"flux": formula(process.flux)}
    if process.reversible:
        found["reversible"] = True
    if process.modifiers:
        found["modifiers"] = list(process.modifiers)
    for side in ("reactants", "products"):
        participants: tuple[Participant, ...] = getattr(process, side)
        rows = [_stated(p) | {"stoichiometry": formula(p.stoichiometry)} for p in participants]
        found |= {side: rows} if rows else {}
    return found


def _event(event: Event) -> Section:
    found = _stated(event) | {"trigger": formula(event.trigger)}
    timing = {"delay": event.delay, "priority": event.priority}
    found |= {name: formula(e) for name, e in timing.items() if e is not None}
    return found | {"assignments": {name: formula(e) for name, e in event.assignments.items()}}


def _made(kind: Callable[..., T], item: Mapping[str, Any], where: str) -> T:
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    _known(item, names, where)
    numbers = {"size", "start", "value", "dimensions"}
    return kind(**{name: float(value) if name in numbers else value for name, value in item.items()})


def _process(item: Mapping[str, Any], where: str) -> Process:
    _known(item, ("flux", "reversible", "modifiers", "reactants", "products"), where)
    sides = {
        side: tuple(
            _made(Participant, row | {"stoichiometry": _parsed(row["stoichiometry"], where)}, where)
            for row in item.get(side, [])
        )
        for side in ("reactants", "products")
    }
    flux = _parsed(item["flux"], where) if "flux" in item else None
    return Process(
        flux, **sides, modifiers=tuple(item.get("modifiers", ())), reversible=item.get("reversible", False)
    )


def _read_event(item: Mapping[str, Any], where: str) -> Event:
    where = f"{where}: event `{item.get('name')}`"
    read = {key: _parsed(item[key], where) for key in ("trigger", "delay", "priority") if key in item}
    assigned = {name: _parsed(text, where) for name, text in item.get("assignments", {}).items()}
    return _made(Event, {**item, **read, "assignments": assigned}, where)


def _of(document: Mapping[str, Any], section: str) -> list[tuple[str, Any]]:
    return list(document.get(section, {}).items())


def _known(found: Mapping[str, Any], known: Any, where: str) -> None:
    for key in found:
        if key not in known:
            raise FormatError(f"{where}: unknown key `{key}`; {nearest(str(key), known)}")


def _parsed(text: Any, where: str) -> Expression:
    try:
        return parse(str(text))
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
