"""What every quantity of a model is in a phase of an experiment, as a formula of the unknown parameters.

Numbers, tables, starting values and conditions are resolved into expressions whose only symbols are the
estimated parameters. Where an experiment does not say otherwise the model's own starting values hold,
initial assignments included, and these see what the first phase has changed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Protocol

from multiscale.equations.expression import TIME, ZERO, Expression, number, substitute, symbol, symbols_of
from multiscale.equations.model import Equations
from multiscale.errors import FormatError
from multiscale.formats.petab.problem import PetabProblem, Phase

__all__ = ["Later", "Starts", "Values", "means_amount", "quantities", "reads"]


class Values(Protocol):
    """Numbers of one phase; `changes` are those that read no state."""

    changes: Mapping[str, Expression]

    def value(self, name: str) -> Expression:
        """Value of a quantity in the meaning of its name in formulas, by the unknowns."""
        ...

    def stated(self, name: str, amount: bool) -> Expression:
        """Value of a species as amount or as concentration."""
        ...

    def resolve(self, e: Expression) -> Expression:
        """Put values in place of the names in a formula."""
        ...


def quantities(equations: Equations) -> set[str]:
    """Names of everything that has a number: compartments, species, parameters, named stoichiometries."""
    return {*equations.compartments, *equations.species, *equations.parameters, *_stoichiometries(equations)}


def means_amount(equations: Equations, name: str) -> bool:
    """Whether the name of a species means its amount in formulas."""
    species = equations.species[name]
    compartment = equations.compartments.get(species.compartment)
    return species.only_amount or (compartment is not None and compartment.dimensions == 0)


class Starts:
    """Values at the start of an experiment.

    Args:
        problem: with the model and the parameter table.
        phase: the first one.
    """

    def __init__(self, problem: PetabProblem, phase: Phase) -> None:
        self.problem = problem
        self.changes = phase.changes
        self.origin = number(0.0 if phase.time == -math.inf else phase.time)
        self._known: dict[tuple[str, bool], Expression] = {}
        self._open: set[tuple[str, bool]] = set()

    def value(self, name: str, changed: bool = True) -> Expression:
        """Value of a quantity in the meaning of its name in formulas.

        Args:
            name: of the model or of the tables.
            changed: whether the changes of the phase hold already.

        Raises:
            FormatError: it has no value, or is defined by itself.
        """
        key = (name, changed)
        if key in self._open:
            raise FormatError(
                f"{self.problem.path}: the start of `{name}` depends on itself; break the circle of "
                "initial assignments, rules and condition changes"
            )
        if key not in self._known:
            self._open.add(key)
            self._known[key] = self._value(name, changed)
            self._open.discard(key)
        return self._known[key]

    def stated(self, name: str, amount: bool) -> Expression:
        """Value of a species as amount or as concentration."""
        equations = self.problem.equations
        species = equations.species[name]
        given = name in self.changes or name in self.problem.parameters or name in equations.starts
        if not given and species.start_is_amount == amount:
            return _numbered(species.start)
        value = self.value(name)
        if amount == means_amount(equations, name):
            return value
        size = self.value(species.compartment)
        return value * size if amount else value / size

    def resolve(self, e: Expression, changed: bool = True, without: Collection[str] = ()) -> Expression:
        """Put values in place of all names; those of `without` are as before the changes."""

        def replaced(node: Expression) -> Expression | None:
            if node is TIME:
                return self.origin
            if node.name is None:
                return None
            return self.value(node.name, changed and node.name not in without)

        return substitute([e], replaced)[0]

    def _value(self, name: str, changed: bool) -> Expression:
        equations, parameter = self.problem.equations, self.problem.parameters.get(name)
        if changed and name in self.changes:
            return self.resolve(self.changes[name], without=self.changes)
        if parameter is not None:
            return symbol(name) if parameter.estimate else number(parameter.nominal)
        for formulas in (equations.starts, equations.assignments):
            if name in formulas:
                return self.resolve(formulas[name], changed)
        return self._own(name, changed)

    def _own(self, name: str, changed: bool) -> Expression:
        """Number that the model gives."""
        equations = self.problem.equations
        if name in equations.species:
            return self._species(name, changed)
        if name in equations.compartments:
            return _numbered(equations.compartments[name].size)
        if name in equations.parameters:
            return _numbered(equations.parameters[name].value)
        if name in equations.processes:
            return self.resolve(equations.processes[name].flux or ZERO, changed)
        if name in self._stoichiometries:
            return self.resolve(self._stoichiometries[name], changed)
        raise FormatError(
            f"{self.problem.path}: `{name}` has no value at the start; give it one in the tables"
        )

    def _species(self, name: str, changed: bool) -> Expression:
        species, amount = self.problem.equations.species[name], means_amount(self.problem.equations, name)
        value = _numbered(species.start)
        if species.start is None or species.start_is_amount == amount:
            return value
        size = self.value(species.compartment, changed)
        return value * size if amount else value / size

    @cached_property
    def _stoichiometries(self) -> Mapping[str, Expression]:
        return _stoichiometries(self.problem.equations)


class Later:
    """Values of constants in a phase that follows another.

    Args:
        equations: of the model.
        before: values of the phase before.
        phase: what it changes.
        varying: names of quantities that vary within phases; a change that reads them is none of a constant.
    """

    def __init__(self, equations: Equations, before: Values, phase: Phase, varying: Collection[str]) -> None:
        self.equations = equations
        self.before = before
        self.origin = number(phase.time)
        self.changes: Mapping[str, Expression] = {
            n: e for n, e in phase.changes.items() if not reads(e, varying)
        }

    def value(self, name: str) -> Expression:
        """Value of a constant; of a quantity that varies, what it started with."""
        if name in self.changes:
            return self._put(self.changes[name], self.before)
        if name in self.equations.assignments:
            return self._put(self.equations.assignments[name], self)
        return self.before.value(name)

    def stated(self, name: str, amount: bool) -> Expression:
        """Value of a species as amount or as concentration, if it is constant."""
        if name not in self.changes:
            return self.before.stated(name, amount)
        if amount == means_amount(self.equations, name):
            return self.value(name)
        size = self.value(self.equations.species[name].compartment)
        return self.value(name) * size if amount else self.value(name) / size

    def resolve(self, e: Expression) -> Expression:
        """Put values in place of the names in a formula of constants."""
        return self._put(e, self)

    def _put(self, e: Expression, values: Values) -> Expression:
        def replaced(node: Expression) -> Expression | None:
            if node is TIME:
                return self.origin
            return None if node.name is None else values.value(node.name)

        return substitute([e], replaced)[0]


def reads(e: Expression, varying: Collection[str]) -> bool:
    """Whether a formula reads one of some quantities."""
    return not symbols_of([e]).isdisjoint(varying)


def _numbered(value: float | None) -> Expression:
    return number(float("nan") if value is None else value)


def _stoichiometries(equations: Equations) -> Mapping[str, Expression]:
    sides = (p for r in equations.processes.values() for p in (*r.reactants, *r.products))
    return {p.name: p.stoichiometry for p in sides if p.name}
