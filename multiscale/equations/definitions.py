"""What every name of a model stands for, in terms of other names, by the semantics of SBML.

Names are those of the model, and these derived from them:

* `x:N`, `p:N`: the state and the parameter N; they have no definition;
* `amount:S`, `concentration:S`: of a species;
* `start:N`: the value of N at the start;
* `rateOf:N`: the time derivative of N; `rateOf:x:N` is the right-hand side of a state.

Source: Hucka et al. 2019, SBML Level 3 Version 2 Core, Release 2, doi:10.1515/jib-2019-0021, sections 4.5
to 4.11.
"""

from __future__ import annotations

from multiscale.equations.derivative import derivatives
from multiscale.equations.expression import (
    ONE,
    TIME,
    ZERO,
    Expression,
    apply,
    number,
    substitute,
    symbol,
    symbols_of,
    total,
)
from multiscale.equations.roles import Change, Roles
from multiscale.errors import FormatError, nearest

__all__ = ["Definitions", "base"]

BASES = ("x:", "p:")


def base(name: str) -> bool:
    """Whether a name is that of a state or of a parameter, which have no definition."""
    return name.startswith(BASES)


class Definitions:
    """Definitions of the names of a model, made when they are asked for.

    Args:
        roles: what the quantities of the model are.
    """

    def __init__(self, roles: Roles) -> None:
        self.roles = roles
        self.equations = roles.equations
        self._derived = {
            "amount": lambda name: self._species_as(name, amount=True),
            "concentration": lambda name: self._species_as(name, amount=False),
            "start": self._start_of,
            "rateOf": self._rate_of,
        }

    def __getitem__(self, name: str) -> Expression:
        """Return the definition of a name.

        Raises:
            FormatError: there is no such name.
        """
        kind, colon, rest = name.partition(":")
        if colon and kind in self._derived:
            return self._derived[kind](rest)
        if name in self.equations.species:
            return self._species_as(name, amount=self.roles.counted(name))
        if name in self.equations.processes:
            return self.equations.processes[name].flux or ZERO
        return self._plain(name)

    def _plain(self, name: str) -> Expression:
        """A compartment, a parameter, a stoichiometry, or a further parameter."""
        if name in self.equations.assignments:
            return self.equations.assignments[name]
        if name in self.roles.states:
            return symbol(f"x:{name}")
        return self._start(name)

    def _start(self, name: str) -> Expression:
        """Start of anything; of a species as `_stated` says it."""
        if name in self.roles.free:
            parameter = symbol(f"p:{name}")
            if self.roles.given(name):
                return parameter
            return apply("if", apply("==", parameter, parameter), parameter, self._own_start(name))
        return self._own_start(name)

    def _own_start(self, name: str) -> Expression:
        """Start as the model says it."""
        if name in self.equations.starts:
            return at_start(self.equations.starts[name])
        if name in self.roles.free:  # a species: amount and concentration differ
            return self._converted(name, number(self.roles.stated(name)), not self.roles.counted(name))
        if name in self.roles.parameters:
            return symbol(f"p:{name}")
        if name in self.roles.participants:
            return self.roles.participants[name].stoichiometry
        known = {*self.roles.names, *self.equations.processes, *self.roles.parameters}
        hint = nearest(name, known)
        raise FormatError(f"a formula must read quantities of the model; got `{name}`; {hint}")

    def _converted(self, name: str, value: Expression, amount: bool) -> Expression:
        """An amount (or else a concentration) of a species at the start as the other of the two."""
        size = at_start(self._size(name))
        return value / size if amount else value * size

    def _size(self, species: str) -> Expression:
        """Size that amounts are divided by; in a point they are not."""
        compartment = self.equations.species[species].compartment
        return ONE if self.equations.compartments[compartment].dimensions == 0.0 else symbol(compartment)

    def _species_as(self, name: str, amount: bool) -> Expression:
        """Amount or concentration of a species."""
        is_amount, value = self._species(name)
        if is_amount == amount:
            return value
        return value * self._size(name) if amount else value / self._size(name)

    def _species(self, name: str) -> tuple[bool, Expression]:
        """Whether a species is determined as an amount, and its value as such."""
        if name in self.equations.assignments:
            return self.roles.counted(name), self.equations.assignments[name]
        if name in self.roles.states:
            return name not in self.roles.by_concentration, symbol(f"x:{name}")
        is_amount, start = self._stated(name)
        if is_amount or not self.roles.varies(self.equations.species[name].compartment):
            return is_amount, start
        return True, self._converted(name, start, amount=False)

    def _stated(self, name: str) -> tuple[bool, Expression]:
        """Whether the start of a species is an amount, and its value as such."""
        if name in self.equations.starts or name in self.roles.free:
            return self.roles.counted(name), self._start(name)
        return self.roles.stated_as_amount(name), self._start(name)

    def _start_of(self, name: str) -> Expression:
        """Value at the start; of a state as the number that it is."""
        kind, _, state = name.partition(":")
        if kind != "x":
            return at_start(self[name])
        if state not in self.equations.species:
            return self._start(state)
        is_amount, value = self._stated(state)
        if is_amount != (state in self.roles.by_concentration):
            return value
        return self._converted(state, value, is_amount)

    def _rate_of(self, name: str) -> Expression:
        """Time derivative by the chain rule; what belongs to the start has none."""
        kind, _, state = name.partition(":")
        if kind in ("p", "start"):
            return ZERO
        if kind == "x":
            return self._rate(state)
        value = self[name]
        names = sorted(symbols_of([value]))
        found = derivatives([value], [*map(symbol, names), TIME])
        inner = [*(symbol(f"rateOf:{inside}") for inside in names), ONE]
        return total(slope * inner[column] for (_, column), slope in found.items())

    def _rate(self, state: str) -> Expression:
        """Right-hand side of a state: of an amount, of a concentration, or of what is no species."""
        rule = self.equations.rates.get(state)
        if state not in self.equations.species or (rule is not None and self.roles.counted(state)):
            return rule or ZERO
        by_concentration = state in self.roles.by_concentration
        if rule is not None and by_concentration:
            return rule
        size = self._size(state)
        swelling = self._growth(size)
        if rule is not None:  # d(c V)/dt
            return rule * size + symbol(f"x:{state}") / size * swelling
        change = self._change(state)
        return (change - symbol(f"x:{state}") * swelling) / size if by_concentration else change

    def _growth(self, size: Expression) -> Expression:
        return ZERO if size.name is None else symbol(f"rateOf:{size.name}")

    def _change(self, species: str) -> Expression:
        """Amount per time that reactions add to a species: conversion · Σ ± stoichiometry · flux."""
        change = total(self._term(part) for part in self.roles.changes.get(species, ()))
        conversion = self.equations.species[species].conversion
        return symbol(conversion) * change if conversion else change

    def _term(self, change: Change) -> Expression:
        part = change.participant
        term = (symbol(part.name) if part.name else part.stoichiometry) * symbol(change.process)
        return term if change.sign > 0 else -term


def at_start(formula: Expression) -> Expression:
    """Return a formula that holds at the start, where the time is 0."""

    def replace(part: Expression) -> Expression | None:
        if part is TIME:
            return ZERO
        if part.name is None or part.name.startswith(("p:", "start:")):
            return None
        return symbol(f"start:{part.name}")

    return substitute([formula], replace)[0]
