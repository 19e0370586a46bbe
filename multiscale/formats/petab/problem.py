"""What a PEtab problem says: a model, experiments on it, what was measured with which noise, and what is
unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from multiscale.equations.expression import Expression
from multiscale.equations.model import Equations
from multiscale.formats.petab.priors import Prior

__all__ = ["Measurement", "Observable", "PetabParameter", "PetabProblem", "Phase"]


@dataclass(frozen=True)
class PetabParameter:
    """A row of the parameter table.

    Args:
        name: of the parameter, in the model or only in the tables.
        scale: on which it is estimated: `lin`, `log` or `log10`.
        lower, upper: bounds on the linear scale; NaN = not stated, for parameters that are not estimated.
        nominal: value on the linear scale; NaN = not stated.
        estimate: whether it is unknown.
        prior: part of the objective; None = none.
        start_prior: where fits start; None = anywhere between the bounds, evenly on `scale`.
    """

    name: str
    scale: str = "lin"
    lower: float = float("nan")
    upper: float = float("nan")
    nominal: float = float("nan")
    estimate: bool = False
    prior: Prior | None = None
    start_prior: Prior | None = None


@dataclass(frozen=True)
class Phase:
    """A span of an experiment, until the next one starts.

    The changes of the first phase hold before the model computes its starting values, and replace starting
    values and initial assignments of what they name. Those of a later phase are computed from the values at
    the end of the phase before and are then made all at once; after that the model's own events may happen.
    A compartment that changes leaves the values of its species as they are, concentrations of those whose
    name means a concentration and amounts of the others (events of SBML always keep amounts).

    Args:
        time: of its start; −inf = until nothing changes any more, before the next phase starts.
        changes: new values by name of quantity of the model. Species mean concentration or amount, as their
            name does in formulas. Names that are no quantity of the model are parameters of the tables,
            which formulas of observables read.
        conditions: names of the conditions that say so, in the order of the table.
    """

    time: float
    changes: Mapping[str, Expression] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observable:
    """What can be measured, and how exactly.

    A measurement m of the observable y is distributed with density p((s(m) − s(y)) / σ) / σ · |ds(m)/dm|, s
    the scale, and σ a standard deviation (normal) or mean absolute deviation (laplace) on this scale.

    Args:
        formula: y by quantities of the model, parameters, placeholders and time; other observables that its
            file names are put in place.
        noise: σ by the same.
        placeholders: names that a measurement replaces in the formula, in order.
        noise_placeholders: names that a measurement replaces in the noise, in order.
        distribution: `normal` or `laplace`.
        scale: s: `lin`, `log` or `log10`.
        title: for people.
    """

    formula: Expression
    noise: Expression
    placeholders: tuple[str, ...] = ()
    noise_placeholders: tuple[str, ...] = ()
    distribution: str = "normal"
    scale: str = "lin"
    title: str = ""


@dataclass(frozen=True)
class Measurement:
    """A row of the measurement table.

    Args:
        observable, experiment: names.
        time: inf = when nothing changes any more; a time at which a phase starts is after its changes.
        value: as measured, on the linear scale.
        overrides: what the placeholders of the observable's formula stand for, in order.
        noise_overrides: the same for its noise.
        row: position among the rows of all measurement files, from 0.
        dataset, replicate: labels of the file, '' = none.
    """

    observable: str
    experiment: str
    time: float
    value: float
    overrides: tuple[Expression, ...] = ()
    noise_overrides: tuple[Expression, ...] = ()
    row: int = 0
    dataset: str = ""
    replicate: str = ""


@dataclass(frozen=True, eq=False)
class PetabProblem:
    """A parameter estimation problem; `read_petab` makes it and has checked it.

    Args:
        path: of the YAML file.
        version: of the PEtab format, 1 or 2.
        name: the problem's, for people.
        equations: the model.
        parameters: rows of the parameter table by name, in its order; they replace values and initial
            assignments of the model.
        experiments: phases in order of time, by name. A measurement at the start time of a phase is of the
            values after its changes. The names of version 1 are made of those of its conditions.
        observables: by name.
        measurements: in the order of the table.
        model_path: file of the model.
    """

    path: Path
    version: int
    name: str
    equations: Equations
    parameters: Mapping[str, PetabParameter]
    experiments: Mapping[str, tuple[Phase, ...]]
    observables: Mapping[str, Observable]
    measurements: tuple[Measurement, ...]
    model_path: Path | None = None

    @property
    def estimated(self) -> list[str]:
        """Names of the unknown parameters, in the order of the table."""
        return [name for name, parameter in self.parameters.items() if parameter.estimate]
