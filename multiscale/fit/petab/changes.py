"""What a condition sets when a phase starts: states jump, constants are other numbers from then on.

All new values are computed from the values before any of them is set; those that read no state are among the
parameters of the phase before, under a name that begins with `after:`. Where the size of a compartment
changes, species whose names mean concentrations keep these, and their amounts jump.

Source: PEtab data format specification, version 2, reinitialization semantics; version 1 leaves this open
and is read in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from multiscale.equations.derivative import derivatives, sparse_program
from multiscale.equations.expression import TIME, ZERO, Expression, ordered, symbol
from multiscale.equations.flatten import Flat
from multiscale.equations.hybrid import Sparse
from multiscale.equations.model import Equations
from multiscale.fit.petab.values import reads
from multiscale.formats.petab.problem import PetabProblem, Phase

__all__ = ["AFTER", "Jump", "jump", "varying", "with_states", "written_names"]

AFTER = "after:"
"""Begins the names of parameters that hold what the next phase sets a quantity to."""


@dataclass(frozen=True, eq=False)
class Jump:
    """States that a change sets.

    Args:
        targets: positions of the states.
        reset: as in `HybridEvent`.
    """

    targets: np.ndarray
    reset: Sparse


def varying(equations: Equations) -> set[str]:
    """Names of quantities that may change within a phase."""
    found = {name for name, species in equations.species.items() if not species.constant}
    found |= set(equations.rates) | set(equations.processes)
    found |= {name for event in equations.events for name in event.assignments}
    size = -1
    while size != len(found):
        size = len(found)
        found |= {name for name, e in equations.assignments.items() if _timed(e) or reads(e, found)}
    return found


def _timed(e: Expression) -> bool:
    return any(node is TIME for node in ordered([e]))


def later_phases(problem: PetabProblem) -> Iterable[Phase]:
    """All phases but the first of each experiment."""
    return (phase for phases in problem.experiments.values() for phase in phases[1:])


def written_names(problem: PetabProblem) -> list[str]:
    """Names of the parameters that hold what the next phase sets."""
    return [
        AFTER + name for name in dict.fromkeys(n for phase in later_phases(problem) for n in phase.changes)
    ]


def with_states(problem: PetabProblem) -> Equations:
    """The model, in which a constant that is set to a formula of the state is a state that stands still."""
    equations = problem.equations
    vary = varying(equations)
    still = {
        name
        for phase in later_phases(problem)
        for name, e in phase.changes.items()
        if name not in vary and reads(e, vary)
    }
    return replace(
        equations,
        rates={**equations.rates, **dict.fromkeys(sorted(still & _numbers(equations)), ZERO)},
        compartments=_free(equations.compartments, still),
        parameters=_free(equations.parameters, still),
    )


def _numbers(equations: Equations) -> set[str]:
    return {*equations.compartments, *equations.parameters}


def _free(items: Mapping, names: Collection[str]) -> dict:
    return {name: replace(item, constant=False) if name in names else item for name, item in items.items()}


def jump(flat: Flat, phase: Phase, vary: Collection[str]) -> Jump | None:
    """What a phase does to the states; None = nothing."""
    states = {name: place for place, name in enumerate(flat.system.states)}
    new = {name: _new_value(flat, phase, name, vary) for name in phase.changes}
    values = {name: _as_state(flat, name, new) for name in phase.changes if name in states}
    values |= {name: _kept(flat, name, new) for name in _resized(flat, phase, states)}
    if not values:
        return None
    targets = np.array([states[name] for name in values], dtype=np.int64)
    return Jump(targets, _sparse(flat, list(values.values())))


def _new_value(flat: Flat, phase: Phase, name: str, vary: Collection[str]) -> Expression:
    """What a change sets a quantity to, in the meaning of its name."""
    if not reads(phase.changes[name], vary):
        return flat.inline(symbol(AFTER + name))
    return flat.inline(phase.changes[name])


def _as_state(flat: Flat, name: str, new: Mapping[str, Expression]) -> Expression:
    """New value of a state: of a species its amount or its concentration, whichever is the state."""
    species = flat.equations.species.get(name)
    if species is None or flat.quantity(name) is symbol(f"x:{name}"):
        return new[name]
    return new[name] * new.get(species.compartment, flat.quantity(species.compartment))


def _resized(flat: Flat, phase: Phase, states: Collection[str]) -> list[str]:
    """Species known by concentration, with amounts as states, that are not set but whose compartment is."""
    return [
        name
        for name, species in flat.equations.species.items()
        if name in states
        and species.compartment in phase.changes
        and name not in phase.changes
        and flat.quantity(name) is not symbol(f"x:{name}")
    ]


def _kept(flat: Flat, name: str, new: Mapping[str, Expression]) -> Expression:
    """Amount with which a species keeps its concentration."""
    compartment = flat.equations.species[name].compartment
    return flat.quantity(name, False) * new[compartment]


def _sparse(flat: Flat, roots: list[Expression]) -> Sparse:
    """Program of new values as events have it."""
    system = flat.system
    x = [symbol(f"x:{name}") for name in system.states]
    p = [symbol(f"p:{name}") for name in system.parameters]
    inputs = {e: place for place, e in enumerate([TIME, *x, *p])}
    by_time = derivatives(roots, [TIME])
    values = [*roots, *(by_time.get((row, 0), ZERO) for row in range(len(roots)))]
    active = [p[place] for place in system.active]
    return sparse_program(values, [(roots, x), (roots, active)], inputs, system.inputs)
