"""Rates, conditions and start values of many systems at given states, with their derivatives along directions."""

from __future__ import annotations

import numpy as np

from multiscale.solver.hybrid.compiled import (
    GRADIENT,
    LINEAR,
    RATE,
    START,
    Compiled,
    Kernel,
    allocating,
    jit,
    plain,
    set_system,
)
from multiscale.solver.hybrid.step import slope
from multiscale.solver.hybrid.tangent import multiply, multiply_directions
from multiscale.solver.hybrid.work import (
    F,
    Work,
    matrix,
    outputs,
    registers,
    set_directions,
    set_point,
    workspace,
)

__all__ = ["root_slopes", "slopes", "start_state"]


def start_state(
    compiled: Compiled, p: np.ndarray, dp: np.ndarray, t0: float | np.ndarray = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """States at the start, and their derivatives along q directions.

    Args:
        compiled: the model.
        p: parameters, (B, P).
        dp: derivatives of the active parameters, (B, A, q).
        t0: time of the start, one for all or (B,).

    Returns:
        x (B, n) and S (B, n, q).
    """
    systems, n = len(p), compiled.kernel.states
    blank = np.full((systems, n), np.nan), np.full((systems, len(compiled.kernel.kinds)), np.nan)
    S = np.zeros((systems, n, dp.shape[2]))
    x, _, S = _evaluate(compiled, START, np.broadcast_to(t0, (systems,)), blank[0], S, p, dp, blank[1])
    return x, S


def slopes(
    compiled: Compiled,
    t: np.ndarray,
    x: np.ndarray,
    S: np.ndarray,
    p: np.ndarray,
    dp: np.ndarray,
    modes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """f and dS/dt = ∂f/∂x S + ∂f/∂p P'; arguments as in `State`, results (B, n) and (B, n, q)."""
    f, _, rates = _evaluate(compiled, RATE, t, x, S, p, dp, modes)
    return f, rates


def root_slopes(
    compiled: Compiled,
    t: np.ndarray,
    x: np.ndarray,
    S: np.ndarray,
    p: np.ndarray,
    dp: np.ndarray,
    modes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Conditions and how they change.

    Args:
        compiled: the model; see `State` for the others.

    Returns:
        g, (B, M); dg/dt = ∂g/∂t + ∂g/∂x f with f of the given modes, (B, M); and ∂g/∂x S + ∂g/∂p P', (B, M, q).
    """
    return _evaluate(compiled, GRADIENT, t, x, S, p, dp, modes)


def _evaluate(
    compiled: Compiled,
    program: int,
    t: np.ndarray,
    x: np.ndarray,
    S: np.ndarray,
    p: np.ndarray,
    dp: np.ndarray,
    modes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values of a program, their rates if it is that of the conditions, and derivatives along directions."""
    kernel, systems = compiled.kernel, len(p)
    rows = len(kernel.kinds) if program == GRADIENT else kernel.states
    values, rates = np.zeros((systems, rows)), np.zeros((systems, rows))
    along = np.zeros((systems, rows, dp.shape[2]))
    arrays = [plain(array, np.float64) for array in (t, x, S, p, dp, modes)]
    _evaluate_systems(kernel, program, *arrays, values, rates, along)
    return values, rates, along


@jit
def _add_rates(work: Work, to: np.ndarray) -> None:
    """Add ∂g/∂t + ∂g/∂x f of conditions that were evaluated, with f in `work`."""
    values, places, f = registers(work, GRADIENT), outputs(work, GRADIENT), work.vectors[F]
    by_x = matrix(work, GRADIENT, 0)
    for i in range(len(to)):
        to[i] += values[places[len(to) + i]]
    for e in range(len(by_x.rows)):
        to[by_x.rows[e]] += values[by_x.places[e]] * f[by_x.columns[e]]


@allocating
def _evaluate_systems(
    kernel: Kernel,
    program: int,
    t: np.ndarray,
    x: np.ndarray,
    S: np.ndarray,
    p: np.ndarray,
    dp: np.ndarray,
    modes: np.ndarray,
    values: np.ndarray,
    rates: np.ndarray,
    along: np.ndarray,
) -> None:
    work = workspace(kernel, dp.shape[1], dp.shape[2])
    for b in range(len(p)):
        set_system(kernel, work.registers, p[b], modes[b])
        set_directions(work, dp[b])
        set_point(work, program, t[b], x[b])
        found, places = registers(work, program), outputs(work, program)
        for i in range(values.shape[1]):
            values[b, i] = found[places[i]]
        if program == START:
            multiply_directions(work, START, 0, along[b])
        elif program == RATE:
            set_point(work, LINEAR, t[b], x[b])
            multiply(work, LINEAR, S[b], along[b])
        else:
            multiply(work, GRADIENT, S[b], along[b])
            slope(work, t[b], x[b], work.vectors[F])
            _add_rates(work, rates[b])
