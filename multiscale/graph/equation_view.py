"""Who takes part in the equations of an imported model: rows of the tables of its graph."""

from __future__ import annotations

import math
from collections.abc import Iterable

from multiscale.equations.expression import symbols_of
from multiscale.equations.model import Equations, Participant, Process

__all__ = ["count", "modifiers_of", "participants", "start_text", "totals"]


def participants(process: Process) -> dict[str, dict[str, int]]:
    """Stoichiometry of every species on each side, by `reactant` and `product`."""
    sides = {"reactant": process.reactants, "product": process.products}
    return {name: {s: count(n) for s, n in totals(side).items()} for name, side in sides.items()}


def count(total: float | None) -> int:
    """Stoichiometry as an edge says it: a positive whole number; 1 where it is none, or varies.

    >>> count(2.0), count(0.5), count(None)
    (2, 1, 1)
    """
    return int(total) if total is not None and total >= 1.0 and total.is_integer() else 1


def modifiers_of(equations: Equations, process: Process) -> list[str]:
    """Species that a flux reads, or that the model names as modifiers, beside reactants and products."""
    around = {p.species for p in process.reactants + process.products}
    read = symbols_of([process.flux]) if process.flux is not None else set()
    named = {*process.modifiers, *read} - around
    return [name for name in equations.species if name in named]


def start_text(equations: Equations, name: str) -> str:
    """Start of a species as a table says it: the number of the file, '' where there is none."""
    start = equations.species[name].start
    return "" if start is None or name in equations.starts or name in equations.assignments else repr(start)


def totals(side: Iterable[Participant]) -> dict[str, float | None]:
    """Stoichiometry of every species on one side; None where it varies or is not stated."""
    found: dict[str, float | None] = {}
    for participant in side:
        before, value = found.get(participant.species, 0.0), participant.stoichiometry.value
        if before is None or value is None or not (participant.constant and math.isfinite(value)):
            found[participant.species] = None
        else:
            found[participant.species] = before + value
    return found
