"""Which quantities of a model change, and by what: states, parameters, and what a species is counted in.

The amount of a species is its state, because it stays when sizes change. A species with a rate rule for its
concentration has the concentration as its state, unless an event sets its compartment.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from multiscale.equations.model import Equations, Event, Participant, Species
from multiscale.errors import FormatError, nearest

__all__ = ["Change", "Roles", "roles_of"]


@dataclass(frozen=True, eq=False)
class Change:
    """A reaction makes (`sign` 1) or consumes (`sign` -1) a species."""

    sign: float
    participant: Participant
    process: str


@dataclass(frozen=True, eq=False)
class Roles:
    """What the quantities of a model are to a solver.

    Args:
        equations: the model.
        names: of all quantities but the reactions.
        states: names of what changes in time by its own equation, or that events set.
        parameters: names of the constants, with their numbers; NaN = the model gives none.
        free: names whose start is a parameter in place of what the model says.
        changes: what reactions do to each species.
        participants: stoichiometries that have a name.
        targets: what events set.
        by_concentration: species whose state is their concentration.
    """

    equations: Equations
    names: tuple[str, ...]
    states: tuple[str, ...]
    parameters: Mapping[str, float]
    free: frozenset[str]
    changes: Mapping[str, Sequence[Change]]
    participants: Mapping[str, Participant]
    targets: frozenset[str]
    by_concentration: frozenset[str]

    def varies(self, compartment: str) -> bool:
        """Whether the size of a compartment is more than a constant."""
        return _varies(self.equations, self.targets, compartment)

    def counted(self, species: str) -> bool:
        """Whether the name of a species stands for its amount."""
        return _counted(self.equations, self.equations.species[species])

    def given(self, name: str) -> bool:
        """Whether the number that the model states for a free quantity is its parameter as it is."""
        species = self.equations.species.get(name)
        same = species is None or species.start is None or self.stated_as_amount(name) == self.counted(name)
        return same and name not in self.equations.starts

    def stated(self, name: str) -> float:
        """Number that the model states for a quantity at the start, NaN for none."""
        if name in self.equations.compartments:
            value = self.equations.compartments[name].size
        elif name in self.equations.species:
            value = self.equations.species[name].start
        elif name in self.equations.parameters:
            value = self.equations.parameters[name].value
        else:
            value = self.participants[name].stoichiometry.value
        return math.nan if value is None else value

    def stated_as_amount(self, species: str) -> bool:
        """Whether the number that the model states for the start of a species is an amount."""
        stated = self.equations.species[species]
        return stated.start_is_amount or self.equations.compartments[stated.compartment].dimensions == 0.0


def _counted(equations: Equations, species: Species) -> bool:
    """Whether the name of a species stands for its amount: by wish of the model, or for want of a size."""
    return species.only_amount or equations.compartments[species.compartment].dimensions == 0.0


def _varies(equations: Equations, targets: Collection[str], compartment: str) -> bool:
    return compartment in equations.assignments or compartment in equations.rates or compartment in targets


def roles_of(equations: Equations, free: Collection[str] = (), extra: Sequence[str] = ()) -> Roles:
    """Find out what the quantities of a model are to a solver.

    Args:
        equations: the model.
        free: names whose start becomes a parameter, even if the model computes it. Such a parameter is what
            the name stands for; the value NaN means that the model's own start holds.
        extra: names of further parameters.

    Raises:
        FormatError: a rule or an event is about something that is no quantity of the model, or about one that
            something else determines.
    """
    participants = _named(equations)
    targets = frozenset(name for event in equations.events for name in event.assignments)
    names = (*equations.compartments, *equations.species, *equations.parameters, *participants)
    _check_places(equations)
    _check_subjects(equations, names, targets, free)
    changes = _changes(equations)
    moved = {*equations.rates, *targets, *changes}
    roles = Roles(
        equations=equations,
        names=names,
        states=tuple(name for name in names if name in moved),
        parameters={},
        free=frozenset(free),
        changes=changes,
        participants=participants,
        targets=targets,
        by_concentration=frozenset(
            name for name in equations.species if _by_concentration(equations, targets, name)
        ),
    )
    values = {name: _nominal(roles, name) for name in names if _has_number(roles, name)}
    _refuse_clash(extra, {*names, *equations.processes} - {*values})
    parameters = values | {name: math.nan for name in extra if name not in values}
    return replace(roles, parameters=parameters)


def _named(equations: Equations) -> dict[str, Participant]:
    """Stoichiometries with a name."""
    return {part.name: part for _, _, part in _parts(equations) if part.name}


def _parts(equations: Equations) -> Iterator[tuple[str, float, Participant]]:
    """All participants with their reaction, and -1 for what it consumes, 1 for what it makes."""
    for name, process in equations.processes.items():
        yield from ((name, -1.0, part) for part in process.reactants)
        yield from ((name, 1.0, part) for part in process.products)


def _changes(equations: Equations) -> dict[str, list[Change]]:
    """What reactions do to the species that they may change."""
    fixed = {name for name, species in equations.species.items() if species.boundary or species.constant}
    fixed |= {*equations.rates, *equations.assignments}
    result: dict[str, list[Change]] = {}
    for process, sign, part in _parts(equations):
        if equations.processes[process].flux is not None and part.species not in fixed:
            result.setdefault(part.species, []).append(Change(sign, part, process))
    return result


def _by_concentration(equations: Equations, targets: Collection[str], name: str) -> bool:
    """Whether the state of a species is its concentration.

    A concentration that an event stores for later must not become an amount with the size of now.
    """
    species = equations.species[name]
    if _counted(equations, species):
        return False
    stored = any(name in event.assignments for event in equations.events if _stores(event))
    late = stored and _varies(equations, targets, species.compartment)
    if late and species.compartment in targets:
        raise FormatError(
            f"species `{name}` must not be set by an event with a delay that uses values from trigger time "
            f"while an event sets its compartment `{species.compartment}`; use values from assignment time"
        )
    return late or (name in equations.rates and species.compartment not in targets)


def _stores(event: Event) -> bool:
    return event.delay is not None and event.values_from_trigger


def _has_number(roles: Roles, name: str) -> bool:
    """Whether a quantity has a parameter of its own."""
    equations = roles.equations
    if name in equations.assignments or (name in equations.starts and name not in roles.free):
        return False
    return name not in roles.participants or name in roles.free or name in roles.states


def _nominal(roles: Roles, name: str) -> float:
    return math.nan if name in roles.free and not roles.given(name) else roles.stated(name)


def _check_places(equations: Equations) -> None:
    """Refuse species without a compartment, and reactions of what is no species."""
    for name, species in equations.species.items():
        if species.compartment not in equations.compartments:
            hint = nearest(species.compartment, equations.compartments)
            raise FormatError(
                f"species `{name}` must be in a compartment; got `{species.compartment}`; {hint}"
            )
    for process, _, part in _parts(equations):
        if part.species not in equations.species:
            hint = nearest(part.species, equations.species)
            raise FormatError(f"reaction `{process}` must change species; got `{part.species}`; {hint}")


def _check_subjects(
    equations: Equations, names: Sequence[str], targets: Iterable[str], free: Collection[str]
) -> None:
    """Refuse rules, events and wishes about what is no quantity, or about what a rule determines."""
    known = {*names}
    for what, subjects in _subjects(equations, free):
        for name in subjects:
            if name not in known:
                hint = nearest(name, known)
                raise FormatError(f"{what} must be about a quantity of the model; got `{name}`; {hint}")
    others = (("an event", targets), ("a rate rule", equations.rates), ("its start in `free`", free))
    for what, subjects in others:
        for name in subjects:
            if name in equations.assignments:
                raise FormatError(
                    f"`{name}` must be determined once; got an assignment rule and {what}; remove one of them"
                )


def _subjects(equations: Equations, free: Collection[str]) -> Iterator[tuple[str, Iterable[str]]]:
    """What must be names of quantities, with what it comes from."""
    yield "an initial assignment", equations.starts
    yield "an assignment rule", equations.assignments
    yield "a rate rule", equations.rates
    yield "a name in `free`", free
    for event in equations.events:
        yield f"an assignment of event `{event.name}`", event.assignments


def _refuse_clash(extra: Sequence[str], taken: Collection[str]) -> None:
    for name in extra:
        if name in taken:
            raise FormatError(
                f"`{name}` must not be a further parameter: the model has it already; choose another name"
            )
