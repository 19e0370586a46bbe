"""Contexts of a graph as phases of PEtab experiments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from multiscale.equations.expression import ONE, Expression, number, substitute, symbol
from multiscale.equations.model import Equations
from multiscale.formats.petab.problem import PetabParameter, Phase
from multiscale.model.kinetics.changes import Amount
from multiscale.model.kinetics.conditions import Planned
from multiscale.model.kinetics.dynamics import Dynamics

__all__ = ["GraphConditions"]

Changes = dict[str, Expression]


class GraphConditions:
    """Turns the interventions of contexts into changes.

    Args:
        dynamics: interventions by position of the context.
        equations: the model, whose names are identifiers.
        names: these by name in the graph.
        targets: quantities of the model that contexts set, by parameter or rate constant of its own.
        parameters: of the parameter table.
        contexts: names of the contexts.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        equations: Equations,
        names: Mapping[str, str],
        targets: Mapping[str, str],
        parameters: Mapping[str, PetabParameter],
        contexts: Sequence[str],
    ) -> None:
        self._dynamics, self._equations = dynamics, equations
        self._names, self._targets, self._contexts = names, targets, contexts
        fixed = {name: p.nominal for name, p in parameters.items() if not p.estimate}
        inner = {name: p.value for name, p in equations.parameters.items() if name not in parameters}
        self._numbers = {
            name: number(value)
            for name, value in {**inner, **fixed}.items()
            if value is not None and name not in targets.values()
        }

    def phases(self, context: int) -> tuple[Phase, ...]:
        """Phases of a context: maybe the steady state of another one, the start, and later events."""
        before = int(self._dynamics.before[context])
        label = (self._contexts[context],)
        if before < 0:
            return (Phase(0.0, self._initial(context), label), *self._events(context))
        rest = Phase(-math.inf, self._initial(before), (self._contexts[before],))
        return (rest, Phase(0.0, self._carried(context, before), label), *self._events(context))

    def _initial(self, context: int) -> Changes:
        """Constants of a context, and the starts that interventions change."""
        changes = self._constants(context)
        for planned in (*self._dynamics.conditions.starts, *self._dynamics.conditions.held):
            name = self._names[planned.target]
            changes |= self._applied(planned, context, changes.get(name, self._start(name, context)), name)
        return self._simple(changes)

    def _carried(self, context: int, before: int) -> Changes:
        """Constants of a context that starts from the rest of another one, and what changes from there."""
        changes, inputs = self._constants(context), set(self._dynamics.kinetics.inputs)
        for species in inputs:  # these are what they are in this context, whatever they were before
            name = self._names[species]
            if self._start(name, context) is not self._initial(before).get(name, self._start(name, before)):
                changes[name] = self._start(name, context)
        for planned in (*self._dynamics.conditions.starts, *self._dynamics.conditions.held):
            name = self._names[planned.target]
            base = self._start(name, context) if planned.target in inputs else symbol(name)
            changes |= self._applied(planned, context, changes.get(name, base), name)
        return self._simple(changes)

    def _events(self, context: int) -> list[Phase]:
        """Doses and clamps after the start, those of one moment together."""
        found: dict[float, Changes] = {}
        for event in self._dynamics.conditions.events:
            if context not in event.rows:
                continue
            time, amount = event.rows[context]
            name = self._names[event.species]
            changes = found.setdefault(time, {})
            if amount is None:
                changes[name] = self._returned(event.species, context)
            elif event.add:
                changes[name] = changes.get(name, symbol(name)) + _amount(amount)
            else:
                changes[name] = _amount(amount)
        return [
            Phase(time, self._simple(found[time]), (f"{self._contexts[context]}_{time:g}",))
            for time in sorted(found)
        ]

    def _returned(self, species: str, context: int) -> Expression:
        """Start to which a clamp returns: that of the context without what is held."""
        name = self._names[species]
        value = self._start(name, context)
        for planned in self._dynamics.conditions.starts:
            if planned.target == species:
                value = self._applied(planned, context, value, name).get(name, value)
        return value

    def _constants(self, context: int) -> Changes:
        """All quantities that some context sets, as this one has them."""
        conditions = self._dynamics.conditions
        aliases = conditions.aliases
        found = {name: symbol(name) for name in self._targets if name not in aliases}
        for planned in conditions.constants:
            if planned.target not in aliases:
                found |= self._applied(planned, context, found[planned.target], planned.target)
        found |= {a: found.get(name, symbol(name)) for a, name in aliases.items() if a in self._targets}
        for planned in conditions.constants:
            if planned.target in aliases:
                found |= self._applied(planned, context, found[planned.target], planned.target)
        inside = self._equations.parameters  # what no reaction reads is not there
        return {self._targets[name]: value for name, value in found.items() if self._targets[name] in inside}

    def _start(self, name: str, context: int) -> Expression:
        """Start of a species that the model gives, in terms of parameters."""
        start = self._equations.starts.get(name)
        if start is None:
            return number(self._equations.species[name].start or 0.0)
        constants = self._constants(context)
        return self._simple({name: substitute([start], lambda e: constants.get(e.name or ""))[0]})[name]

    def _applied(self, planned: Planned, context: int, value: Expression, name: str) -> Changes:
        """Change of one quantity, nothing where the context has none."""
        if context not in planned.amounts:
            return {}
        amount = _amount(planned.amounts[context])
        operations = {
            "set": amount,
            "add": value + amount,
            "fold": value * amount,
            "remove": value * (ONE - amount),
        }
        return {name: operations[planned.operation]}

    def _simple(self, changes: Changes) -> Changes:
        """Formulas with the values of fixed parameters in place of their names; single names stay."""
        return {
            name: value
            if value.name is not None and value.name not in self._equations.parameters
            else self._filled(value)
            for name, value in changes.items()
        }

    def _filled(self, value: Expression) -> Expression:
        return substitute([value], lambda e: self._numbers.get(e.name or ""))[0]


def _amount(amount: Amount) -> Expression:
    value = number(amount.factor)
    return value * symbol(amount.parameter) if amount.parameter else value
