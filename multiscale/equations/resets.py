"""Events of a model as programs: triggers over conditions, new values of states, delays and priorities."""

from __future__ import annotations

import math

import numpy as np

from multiscale.equations.conditions import Counter
from multiscale.equations.expression import Expression, number, symbol
from multiscale.equations.hybrid import HybridEvent, Sparse
from multiscale.equations.inline import Inliner
from multiscale.equations.layout import Layout, by_time
from multiscale.equations.model import Event
from multiscale.equations.roles import Roles

__all__ = ["counting_event", "hybrid_event"]


def hybrid_event(
    event: Event, trigger: Expression, roles: Roles, inline: Inliner, layout: Layout
) -> HybridEvent:
    """Compile an event.

    Args:
        event: as the model states it.
        trigger: its trigger over conditions.
        roles: of the quantities of the model.
        inline: writes formulas out.
        layout: of the inputs [t, x, p, m].
    """
    values = [_new_state(roles, name, value) for name, value in event.assignments.items()]
    new = inline(values)
    delay = None if event.delay is None else _timed(layout, inline([event.delay]))
    priority = None if event.priority is None else layout.program(inline([event.priority]))
    return HybridEvent(
        name=event.name,
        trigger=layout.program([trigger]),
        targets=np.array([roles.states.index(name) for name in event.assignments], dtype=np.int64),
        reset=_timed(layout, new),
        delay=delay,
        priority=priority,
        persistent=event.persistent,
        initially_true=event.initially_true,
        values_from_trigger=event.values_from_trigger,
    )


def _new_state(roles: Roles, name: str, value: Expression) -> Expression:
    """New value of the state of a quantity.

    A concentration becomes an amount by the size before the event, even if the event sets that size too: the
    new concentration is counted first, the amount then stays (case 01779 of the SBML semantic test suite).
    """
    if name not in roles.equations.species or roles.counted(name) or name in roles.by_concentration:
        return value
    return value * symbol(roles.equations.species[name].compartment)


def _timed(layout: Layout, values: list[Expression]) -> Sparse:
    """Values and their derivatives by time, states, and active parameters."""
    return layout.sparse([*values, *by_time(values)], (values, layout.x), (values, layout.p))


def counting_event(counter: Counter, position: int, layout: Layout) -> HybridEvent:
    """Return the event that counts an integer part; it comes before all others.

    Args:
        counter: the integer part.
        position: of its state.
        layout: of the inputs [t, x, p, m].
    """
    return HybridEvent(
        name=counter.name,
        trigger=layout.program([counter.trigger]),
        targets=np.array([position], dtype=np.int64),
        reset=_timed(layout, [counter.reset]),
        delay=None,
        priority=layout.program([number(math.inf)]),
        persistent=True,
        initially_true=True,
        values_from_trigger=False,
    )
