"""A model flattened to what a solver needs: states, constants, truth values that switch, events, programs.

All programs but `second` read the inputs [t, x, p, m]: time, states, parameters, one truth value per
condition; `second` reads [t, x, p, m, w, u] with a number w and a direction u of states. Between two switches
the truth values are constant, so that the right-hand side is smooth there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multiscale.equations.program import Program

__all__ = ["ABOVE", "ABOVE_OR_AT", "HybridEvent", "HybridSystem", "Sparse"]

ABOVE, ABOVE_OR_AT = range(2)
"""When a condition on g is true: g > 0, or g >= 0."""


@dataclass(frozen=True, eq=False)
class Sparse:
    """A program whose outputs begin with values and go on with entries of matrices.

    Args:
        program: outputs: first `values` numbers, then the entries of each pattern in turn.
        values: how many outputs come before the matrices.
        patterns: rows and columns of every matrix, each of shape (2, nonzero), int64, sorted by row, then
            by column.
    """

    program: Program
    values: int
    patterns: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class HybridEvent:
    """An event; programs read [t, x, p, m].

    Args:
        name: of the event.
        trigger: program with one output, the truth of the trigger.
        targets: positions of the states that it sets, shape (target,).
        reset: values: new values of the targets, then their derivative by t (one each); patterns: by x, by
            active p.
        delay: values: the delay, its derivative by t; patterns: by x, by active p; None = none.
        priority: program with one output; None = undefined.
        persistent, initially_true, values_from_trigger: see `model.Event`.
    """

    name: str
    trigger: Program
    targets: np.ndarray
    reset: Sparse
    delay: Sparse | None
    priority: Program | None
    persistent: bool
    initially_true: bool
    values_from_trigger: bool


@dataclass(frozen=True, eq=False)
class HybridSystem:
    """dx/dt = f(t, x, p; m), with n states, P parameters, A active ones among them, and M conditions.

    Args:
        states: names, length n.
        parameters: names, length P.
        values: nominal values of the parameters, shape (P,); NaN where the model gives none.
        active: positions of the parameters with derivatives, shape (A,); columns of all patterns `by p` count
            these.
        start: reads t and p only (x and m are NaN). values: x(0); patterns: by p.
        rate: values: f (n).
        jacobian: values: f (n), ∂f/∂t (n); patterns: ∂f/∂x.
        linear: patterns: ∂f/∂x, ∂f/∂p.
        second: of u ↦ ∂f/∂x u + ∂f/∂t w: patterns: its derivatives by x, and by p.
        roots: values: g (M).
        root_gradient: values: g (M), ∂g/∂t (M); patterns: ∂g/∂x, ∂g/∂p.
        kinds: ABOVE or ABOVE_OR_AT per condition, shape (M,).
        events: in the order of the model.
    """

    states: tuple[str, ...]
    parameters: tuple[str, ...]
    values: np.ndarray
    active: np.ndarray
    start: Sparse
    rate: Sparse
    jacobian: Sparse
    linear: Sparse
    second: Sparse
    roots: Sparse
    root_gradient: Sparse
    kinds: np.ndarray
    events: tuple[HybridEvent, ...]

    @property
    def inputs(self) -> int:
        """How many numbers the programs read."""
        return 1 + len(self.states) + len(self.parameters) + len(self.kinds)
