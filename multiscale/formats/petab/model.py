"""The model of a PEtab problem: its names, what conditions may change, and names that tables give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from multiscale.equations.expression import Expression, number, substitute, symbol
from multiscale.equations.model import Equations, Event, Participant, Process
from multiscale.errors import FormatError
from multiscale.formats.petab.tables import Problems
from multiscale.formats.sbml.read import read_equations

__all__ = ["changeable", "constants", "names_of", "read_model", "renamed", "start_of"]

Value = TypeVar("Value")


def read_model(path: Path, problems: Problems) -> Equations | None:
    """Equations of an SBML file; None where it cannot be read (and noted)."""
    try:
        return read_equations(path)
    except FormatError as error:
        problems.add(str(error))
        return None


def names_of(equations: Equations) -> set[str]:
    """Names of everything that has a value."""
    sides = (p for process in equations.processes.values() for p in (*process.reactants, *process.products))
    return {
        *equations.compartments,
        *equations.species,
        *equations.parameters,
        *equations.processes,
        *(participant.name for participant in sides if participant.name),
    }


def changeable(equations: Equations) -> set[str]:
    """Names of what conditions may set: compartments, species and parameters that no formula always gives."""
    return {*equations.compartments, *equations.species, *equations.parameters} - set(equations.assignments)


def constants(equations: Equations) -> set[str]:
    """Names of what the parameter table may give: compartments and parameters that the model leaves alone."""
    assigned = {name for event in equations.events for name in event.assignments}
    return {*equations.compartments, *equations.parameters} - {
        *equations.assignments,
        *equations.rates,
        *assigned,
    }


def start_of(equations: Equations, name: str) -> Expression | None:
    """Value that the model gives a parameter at the start, None where it gives none."""
    if name in equations.starts:
        return equations.starts[name]
    value = equations.parameters[name].value
    return None if value is None else number(value)


def renamed(equations: Equations, names: Mapping[str, str]) -> Equations:
    """Equations in which some quantities have other names.

    Args:
        equations: a model.
        names: new names by old ones.

    >>> from multiscale.equations.model import Parameter
    >>> list(renamed(Equations(parameters={"k.1": Parameter(2.0)}), {"k.1": "k_1"}).parameters)
    ['k_1']
    """
    return Equations(
        compartments=_keys(equations.compartments, names),
        species={
            names.get(name, name): replace(
                species,
                compartment=names.get(species.compartment, species.compartment),
                conversion=names.get(species.conversion, species.conversion),
            )
            for name, species in equations.species.items()
        },
        parameters=_keys(equations.parameters, names),
        processes=_keys({key: _process(value, names) for key, value in equations.processes.items()}, names),
        starts=_formulas(equations.starts, names),
        assignments=_formulas(equations.assignments, names),
        rates=_formulas(equations.rates, names),
        events=tuple(_event(event, names) for event in equations.events),
        units=equations.units,
    )


def _keys(content: Mapping[str, Value], names: Mapping[str, str]) -> dict[str, Value]:
    return {names.get(name, name): value for name, value in content.items()}


def _formulas(content: Mapping[str, Expression], names: Mapping[str, str]) -> dict[str, Expression]:
    return _keys({name: _formula(value, names) for name, value in content.items()}, names)


def _formula(expression: Expression, names: Mapping[str, str]) -> Expression:
    def other(node: Expression) -> Expression | None:
        prefix, _, name = (node.name or "").rpartition(":")  # rateOf:NAME
        return symbol(f"{prefix}:{names[name]}" if prefix else names[name]) if name in names else None

    return substitute([expression], other)[0]


def _optional(expression: Expression | None, names: Mapping[str, str]) -> Expression | None:
    return None if expression is None else _formula(expression, names)


def _process(process: Process, names: Mapping[str, str]) -> Process:
    return replace(
        process,
        flux=_optional(process.flux, names),
        reactants=tuple(_participant(participant, names) for participant in process.reactants),
        products=tuple(_participant(participant, names) for participant in process.products),
        modifiers=tuple(names.get(name, name) for name in process.modifiers),
    )


def _participant(participant: Participant, names: Mapping[str, str]) -> Participant:
    return replace(
        participant,
        species=names.get(participant.species, participant.species),
        stoichiometry=_formula(participant.stoichiometry, names),
        name=names.get(participant.name, participant.name),
    )


def _event(event: Event, names: Mapping[str, str]) -> Event:
    return replace(
        event,
        trigger=_formula(event.trigger, names),
        assignments=_formulas(event.assignments, names),
        delay=_optional(event.delay, names),
        priority=_optional(event.priority, names),
    )
