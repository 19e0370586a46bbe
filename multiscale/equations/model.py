"""Equations of a model as a file states them: compartments, species, parameters, reactions, rules, events.

Formulas are expressions over the names of these and over time. A species name stands for its concentration,
or for its amount where `only_amount` is set; the name of a reaction for its flux in amount per time; the name
of a stoichiometry for its value. Numbers have the units of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from multiscale.equations.expression import Expression

__all__ = [
    "Compartment",
    "Equations",
    "Event",
    "Parameter",
    "Participant",
    "Process",
    "Species",
]


@dataclass(frozen=True)
class Compartment:
    """A volume, area, length or point.

    Args:
        size: at the start; None = given by a rule or an initial assignment, or not at all.
        constant: whether nothing may change it.
        dimensions: 3 for a volume; 0 for a point, whose species are counted in amounts.
        unit: of the size, '' = not stated.
    """

    size: float | None = None
    constant: bool = True
    dimensions: float = 3.0
    unit: str = ""


@dataclass(frozen=True)
class Species:
    """A pool of molecules in a compartment.

    Args:
        compartment: where it is.
        start: amount or concentration at the start; None = given by a rule or an initial assignment, or not
            at all.
        start_is_amount: what `start` is.
        only_amount: whether its name stands for its amount in formulas.
        boundary: whether reactions leave it as it is.
        constant: whether nothing may change it.
        conversion: parameter that converts extent of reactions to its amount, '' = none.
        unit: of the amount, '' = not stated.
    """

    compartment: str
    start: float | None = None
    start_is_amount: bool = True
    only_amount: bool = False
    boundary: bool = False
    constant: bool = False
    conversion: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Parameter:
    """A number with a name.

    Args:
        value: at the start; None = given by a rule or an initial assignment, or not at all.
        constant: whether nothing may change it.
        unit: '' = not stated.
    """

    value: float | None = None
    constant: bool = True
    unit: str = ""


@dataclass(frozen=True)
class Participant:
    """A species that a reaction consumes or makes.

    Args:
        species: name.
        stoichiometry: number or formula; a formula holds at all times.
        name: under which formulas, rules and events mean this stoichiometry; '' = none.
        constant: whether nothing may change the stoichiometry.
    """

    species: str
    stoichiometry: Expression
    name: str = ""
    constant: bool = True


@dataclass(frozen=True)
class Process:
    """A reaction: what it consumes and makes, and how fast.

    Args:
        flux: amount per time, positive from reactants to products; None = not stated: it does nothing.
        reactants: what it consumes.
        products: what it makes.
        modifiers: species that its flux reads beside these.
        reversible: whether the model calls it so; the flux decides.
    """

    flux: Expression | None
    reactants: tuple[Participant, ...] = ()
    products: tuple[Participant, ...] = ()
    modifiers: tuple[str, ...] = ()
    reversible: bool = False


@dataclass(frozen=True)
class Event:
    """What happens at once when a condition becomes true.

    Args:
        name: unique.
        trigger: condition; the event fires when it changes from false to true.
        assignments: new values by name of quantity; those of species mean concentration or amount, as their
            name does in formulas.
        delay: time from firing to execution; None = at once.
        priority: among events that are executed at the same time the larger one is first; None = undefined.
        persistent: whether it is still executed when the condition becomes false before that.
        initially_true: what the condition counts as before the start; with False it fires at the start if
            it is true then.
        values_from_trigger: whether the new values are those of the time of firing, not of execution.
    """

    name: str
    trigger: Expression
    assignments: Mapping[str, Expression]
    delay: Expression | None = None
    priority: Expression | None = None
    persistent: bool = True
    initially_true: bool = True
    values_from_trigger: bool = True


@dataclass(frozen=True)
class Equations:
    """All equations of a model; every name is unique among all kinds.

    Args:
        compartments, species, parameters, processes: by name, in the order of the model.
        starts: initial assignments: values at the start by formula; they precede `start`, `size`, `value`.
        assignments: quantities that a formula gives at all times.
        rates: time derivative of quantities by formula; of a species that of what its name stands for.
        events: in the order of the model.
        units: units of the model by role: `substance`, `time`, `extent`, `volume`, `area`, `length`.
    """

    compartments: Mapping[str, Compartment] = field(default_factory=dict)
    species: Mapping[str, Species] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    processes: Mapping[str, Process] = field(default_factory=dict)
    starts: Mapping[str, Expression] = field(default_factory=dict)
    assignments: Mapping[str, Expression] = field(default_factory=dict)
    rates: Mapping[str, Expression] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
