"""Steady states at the end of an integration: whether a run has come to rest, and where it will.

At rest nothing moves further. From a state that hardly moves, steps of the linearly implicit Euler method

    (I − hJ) δx = h f(x),   (I − hJ) δS = h (J S + ∂f/∂p dp),   h = 100 × the time since the start,

lead to the steady state that the run approaches: each divides the distance to it by 1 + hλ, with λ the
slowest rate of relaxation, keeps what the equations conserve (I − hJ leaves it as it is), and needs no other
treatment of a singular J. The run is at rest if such a step is smaller than the tolerance, that is, if waiting
a hundred times longer would not show.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from multiscale.equations.hybrid import EQUAL, UNEQUAL, HybridSystem
from multiscale.solver.hybrid.evaluation import Place, multiply, parts_of, true_at

__all__ = ["Settled", "first_horizon", "next_switch", "settle"]

_AHEAD = 1e2  # length of a step in units of the time since the start
_STEPS = 8
_NEAR = 1e-3  # relative change to come at which steps to rest are tried
_SMALL = 1e-6  # relative to the largest state: what decays to zero
_ROUNDING = 16 * float(np.finfo(np.float64).eps)  # relative to the largest state
_LONG = 10.0  # first horizon in units of the shortest time scale
_MEMORY = 4_000_000  # numbers in the matrices of systems treated at once


class Settled(NamedTuple):
    """States at rest: x (run, n), their derivatives (run, n, q), and which runs are at rest, (run,)."""

    x: np.ndarray
    S: np.ndarray
    rested: np.ndarray


def first_horizon(f: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A first time at which to look whether runs are at rest: some of their shortest time scales, (run,)."""
    if not x.shape[1]:
        return np.ones(len(x))
    size = np.abs(x) + _SMALL * np.abs(x).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(size > 0.0, np.abs(f) / size, 0.0).max(axis=1)
        horizon = _LONG / rate
    return np.where(np.isfinite(horizon) & (horizon > 0.0), horizon, 1.0)


def next_switch(system: HybridSystem, z: np.ndarray) -> np.ndarray:
    """When the next condition switches by the passage of time alone, (run,); infinity = none does."""
    if not len(system.kinds):
        return np.full(len(z), np.inf)
    values = parts_of(system.root_gradient, z).values
    count = len(system.kinds)
    g, speed = values[:, :count], values[:, count:]
    with np.errstate(divide="ignore", invalid="ignore"):
        wait = -g / speed
    wait = np.where((wait > 0.0) & np.isfinite(wait), wait, np.inf)
    return z[:, 0] + wait.min(axis=1)


def settle(
    system: HybridSystem,
    z: np.ndarray,
    S: np.ndarray,
    dp: np.ndarray,
    elapsed: np.ndarray,
    rtol: float,
    atol: np.ndarray,
) -> Settled:
    """Take runs to rest that are about to come to rest.

    Args:
        system: the equations.
        z: inputs of programs, (run, input).
        S: derivatives of the states, (run, n, q).
        dp: derivatives of the active parameters, (run, A, q).
        elapsed: time since the start, (run,).
        rtol: relative tolerance of the steady state.
        atol: absolute tolerance, (n,).
    """
    n, place = len(system.states), Place.of(system)
    x, S = z[:, place.x].copy(), S.copy()
    rested = _near(system, z, elapsed, rtol, atol)
    size = max(1, _MEMORY // max(1, n * n))
    rows = np.flatnonzero(rested)
    for first in range(0, len(rows), size):
        some = rows[first : first + size]
        x[some], S[some], rested[some] = _approach(
            system, z[some], S[some], dp[some], _AHEAD * elapsed[some], rtol, atol
        )
    return Settled(x, S, rested)


def _near(
    system: HybridSystem, z: np.ndarray, elapsed: np.ndarray, rtol: float, atol: np.ndarray
) -> np.ndarray:
    """Which runs hardly move; those whose rates depend on time must not move at all."""
    n, x = len(system.states), z[:, Place.of(system).x]
    values = parts_of(system.jacobian, z).values
    f, drift = np.abs(values[:, :n]), np.abs(values[:, n:])
    largest = np.abs(x).max(axis=1, keepdims=True, initial=0.0)
    to_come = f * elapsed[:, None]
    hardly = (to_come <= atol + _NEAR * np.abs(x) + _SMALL * largest).all(axis=1)
    by_time = drift * elapsed[:, None] ** 2
    still = (to_come + by_time <= atol + rtol * np.abs(x)).all(axis=1)
    return hardly & (still | (drift == 0.0).all(axis=1))


def _approach(
    system: HybridSystem,
    z: np.ndarray,
    S: np.ndarray,
    dp: np.ndarray,
    h: np.ndarray,
    rtol: float,
    atol: np.ndarray,
) -> Settled:
    """Steps to rest; runs whose steps do not vanish are not at rest."""
    place = Place.of(system)
    z, start, modes = z.copy(), z[:, place.x], z[:, place.modes]
    x = z[:, place.x]  # a view: z moves with it
    largest = np.abs(start).max(axis=1, keepdims=True, initial=0.0)
    floor = atol + _ROUNDING * largest
    done, rows = np.zeros(len(z), dtype=bool), np.arange(len(z))
    for _ in range(_STEPS):
        f = parts_of(system.rate, z[rows]).values
        inverse, usable = _inverse(system, z[rows], h[rows])
        step = (inverse @ (h[rows, None] * f)[:, :, None])[:, :, 0]
        x[rows] += step
        done[rows] = usable & (np.abs(step) <= floor[rows] + rtol * np.abs(x[rows])).all(axis=1)
        rows = np.flatnonzero(~done)
        if not len(rows):
            break
    near = np.abs(x - start) <= 10 * (_NEAR * np.abs(start) + _SMALL * largest) + atol
    done &= near.all(axis=1) & _same_modes(system, z, modes)
    S, found = _slopes(system, z, S, dp, h, rtol)
    return Settled(x.copy(), S, done & found)


def _slopes(
    system: HybridSystem, z: np.ndarray, S: np.ndarray, dp: np.ndarray, h: np.ndarray, rtol: float
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives at rest, and whether their steps vanish."""
    if not S.shape[2]:
        return S, np.ones(len(z), dtype=bool)
    n = len(system.states)
    by_x, by_p = parts_of(system.linear, z).entries
    inverse, usable = _inverse(system, z, h)
    push = multiply(system.linear.patterns[1], by_p, dp, n)
    done = np.zeros(len(z), dtype=bool)
    for _ in range(_STEPS):
        rate = multiply(system.linear.patterns[0], by_x, S, n) + push
        step = inverse @ (h[:, None, None] * rate)
        S = S + step
        done = usable & (np.abs(step) <= _scale(z[:, Place.of(system).x], S, rtol)).all(axis=(1, 2))
        if done.all():
            break
    return S, done


def _scale(x: np.ndarray, S: np.ndarray, rtol: float) -> np.ndarray:
    """Tolerance of derivatives: relative to each, and to what is usual for its state and its parameter."""
    largest, steepest = np.abs(x).max(axis=1)[:, None, None], np.abs(S).max(axis=1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num(np.abs(x)[:, :, None] / largest)
    return rtol * (np.abs(S) + share * steepest) + _ROUNDING * steepest


def _inverse(system: HybridSystem, z: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (I − hJ)⁻¹ of every run, (run, n, n), and which exist."""
    n = len(system.states)
    rows, columns = system.jacobian.patterns[0]
    W = np.zeros((len(z), n, n))
    W[:, rows, columns] = -h[:, None] * parts_of(system.jacobian, z).entries[0]
    W[:, np.arange(n), np.arange(n)] += 1.0
    usable = np.array([np.isfinite(one).all() for one in W], dtype=bool)
    W[~usable] = np.eye(n)
    try:
        return np.linalg.inv(W), usable
    except np.linalg.LinAlgError:
        return _each_inverse(W, usable)


def _each_inverse(W: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same one by one, where some are singular."""
    for k in range(len(W)):
        try:
            W[k] = np.linalg.inv(W[k])
        except np.linalg.LinAlgError:
            W[k], usable[k] = np.eye(W.shape[1]), False
    return W, usable


def _same_modes(system: HybridSystem, z: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Whether conditions are as they were, so that the equations are the same at rest, (run,)."""
    if not len(system.kinds):
        return np.ones(len(z), dtype=bool)
    g = parts_of(system.roots, z).values
    continuous = ~np.isin(system.kinds, (EQUAL, UNEQUAL)) & (g != 0.0)
    return ((true_at(system.kinds, g) == modes) | ~continuous).all(axis=1)
