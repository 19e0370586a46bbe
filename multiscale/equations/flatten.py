"""From the equations of a model to the system that a solver integrates, with exact derivatives."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from multiscale.equations.conditions import Counter, Switching
from multiscale.equations.definitions import Definitions
from multiscale.equations.derivative import derivatives
from multiscale.equations.expression import TIME, ZERO, Expression, apply, substitute, symbol
from multiscale.equations.hybrid import HybridEvent, HybridSystem, Sparse
from multiscale.equations.inline import Inliner
from multiscale.equations.layout import Layout, by_time
from multiscale.equations.model import Equations
from multiscale.equations.program import Program
from multiscale.equations.resets import counting_event, hybrid_event
from multiscale.equations.roles import Roles, roles_of
from multiscale.errors import FormatError, nearest

__all__ = ["Flat", "flatten"]


@dataclass(frozen=True, eq=False)
class Flat:
    """A model as a system for solvers, and its names in terms of that system.

    Formulas that `inline` and `quantity` return have the symbols `x:N` for states and `p:N` for parameters.

    Args:
        equations: the model.
        system: what a solver integrates.
        inliner: writes names out.
        layout: of the inputs [t, x, p].
    """

    equations: Equations
    system: HybridSystem
    inliner: Inliner
    layout: Layout

    def inline(self, formula: Expression) -> Expression:
        """Write a formula over names of the model out over states, parameters and time.

        Raises:
            FormatError: a name is none of the model and none in `extra`.
        """
        return self.inliner([formula])[0]

    def quantity(self, name: str, amount: bool | None = None) -> Expression:
        """Return what a name stands for.

        Args:
            name: a species, compartment, parameter, stoichiometry or reaction (its flux).
            amount: for a species: its amount or its concentration; None = what its name stands for.
        """
        if amount is None or name not in self.equations.species:
            return self.inline(symbol(name))
        return self.inline(symbol(f"{'amount' if amount else 'concentration'}:{name}"))

    def program(self, roots: Sequence[Expression], extra: Sequence[Expression] = ()) -> Program:
        """Compile what `inline` returned.

        Args:
            roots: results.
            extra: further symbols; the program reads [t, x, p] and these.
        """
        return self.layout.with_further(extra).program(roots)

    def sparse(self, roots: Sequence[Expression], extra: Sequence[Expression] = ()) -> Sparse:
        """Compile what `inline` returned, with derivatives by states, active parameters, and `extra`."""
        layout = self.layout.with_further(extra)
        return layout.sparse(roots, (roots, layout.x), (roots, layout.p), (roots, extra))


def flatten(
    equations: Equations,
    *,
    free: Collection[str] = (),
    active: Collection[str] | None = None,
    extra: Sequence[str] = (),
) -> Flat:
    """Turn the equations of a model into a system for solvers.

    States are the amounts of the species that reactions change, everything with a rate rule as what its name
    stands for, and everything that events set (`roles` has the exceptions). Parameters are all constants, and
    the starts of states in the numbers of the model, amounts or concentrations.

    Args:
        equations: the model.
        free: names whose start is a parameter even if the model computes it; the parameter is what the name
            stands for, and while its value is NaN the model's own start holds.
        active: names of the parameters with derivatives; None = all.
        extra: names of further parameters.

    Raises:
        FormatError: names are unknown, definitions lead back to themselves, or something cannot be simulated.

    >>> from multiscale.equations.expression import number
    >>> from multiscale.equations.model import Equations, Parameter
    >>> decay = Equations(parameters={"x": Parameter(2.0, constant=False)}, rates={"x": -symbol("x")})
    >>> flatten(decay).system.states, flatten(decay).system.parameters
    (('x',), ('x',))
    """
    roles = roles_of(equations, free, extra)
    inline = Inliner(Definitions(roles))
    rates = inline(symbol(f"rateOf:x:{name}") for name in roles.states)
    moving = {f"x:{name}" for name, rate in zip(roles.states, rates, strict=True) if rate is not ZERO}
    switching = Switching(moving)
    rates = switching(rates)
    triggers = [switching.truth(trigger) for trigger in inline(event.trigger for event in equations.events)]
    active = _active(roles, active)
    states = [*roles.states, *(counter.name for counter in switching.counters)]
    plain = Layout(states, [*roles.parameters], active)
    layout = plain.with_further([symbol(f"m:{i}") for i in range(len(switching.roots))])
    events = [
        hybrid_event(event, trigger, roles, inline, layout)
        for event, trigger in zip(equations.events, triggers, strict=True)
    ]
    starts = _starts(roles, inline, switching.counters)
    rates += [ZERO] * len(switching.counters)
    system = _system(roles, states, active, layout, starts, rates, switching, events)
    return Flat(equations, system, inline, plain)


def _active(roles: Roles, active: Collection[str] | None) -> list[str]:
    """Names of the parameters with derivatives, in the order of the parameters."""
    for name in active or ():
        if name not in roles.parameters:
            hint = nearest(name, roles.parameters)
            raise FormatError(f"`active` must name parameters; got `{name}`; {hint}")
    return [name for name in roles.parameters if active is None or name in active]


def _starts(roles: Roles, inline: Inliner, counters: Iterable[Counter]) -> list[Expression]:
    """Start of every state over parameters."""
    starts = inline(symbol(f"start:x:{name}") for name in roles.states)
    known: dict[Expression, Expression] = {TIME: ZERO}
    known |= {symbol(f"x:{name}"): start for name, start in zip(roles.states, starts, strict=True)}
    for counter in counters:
        start = apply("floor", substitute([counter.argument], known.get)[0])
        known[symbol(f"x:{counter.name}")] = start
        starts.append(start)
    return starts


def _system(
    roles: Roles,
    states: Sequence[str],
    active: Sequence[str],
    layout: Layout,
    starts: Sequence[Expression],
    rates: Sequence[Expression],
    switching: Switching,
    events: Sequence[HybridEvent],
) -> HybridSystem:
    """Compile all programs of a system."""
    names = [*roles.parameters]
    place = {name: position for position, name in enumerate(names)}
    return HybridSystem(
        states=tuple(states),
        parameters=tuple(names),
        values=np.array([*roles.parameters.values()], dtype=np.float64),
        active=np.array([place[name] for name in active], dtype=np.int64),
        start=layout.sparse(starts, (starts, layout.p)),
        rate=layout.sparse(rates),
        jacobian=layout.sparse([*rates, *by_time(rates)], (rates, layout.x)),
        linear=layout.sparse([], (rates, layout.x), (rates, layout.p)),
        second=_second(layout, states, rates),
        roots=layout.sparse(switching.roots),
        root_gradient=_root_gradient(layout, switching.roots),
        kinds=np.array(switching.kinds, dtype=np.int64),
        events=(*events, *_counting(switching.counters, states, layout)),
    )


def _root_gradient(layout: Layout, roots: Sequence[Expression]) -> Sparse:
    return layout.sparse([*roots, *by_time(roots)], (roots, layout.x), (roots, layout.p))


def _counting(counters: Iterable[Counter], states: Sequence[str], layout: Layout) -> list[HybridEvent]:
    return [counting_event(counter, states.index(counter.name), layout) for counter in counters]


def _second(layout: Layout, states: Sequence[str], rates: Sequence[Expression]) -> Sparse:
    """Derivatives of ∂f/∂x u + ∂f/∂t w by states and by active parameters."""
    w = symbol("w:")
    u = [symbol(f"u:{name}") for name in states]
    rows = [slope * w for slope in by_time(rates)]
    for (row, column), slope in derivatives(rates, layout.x).items():
        rows[row] = rows[row] + slope * u[column]
    wider = layout.with_further([w, *u])
    return wider.sparse([], (rows, layout.x), (rows, layout.p))
