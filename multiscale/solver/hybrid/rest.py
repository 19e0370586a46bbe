"""Steady states at the end of an integration: whether a run has come to rest, and where it will.

At rest nothing moves further. From a state that hardly moves, steps of the linearly implicit Euler method

    (I − hJ) δx = h f(x),   (I − hJ) δS = h (J S + ∂f/∂p dp),   h = 100 × the time since the start,

lead to the steady state that the run approaches: each divides the distance to it by 1 + hλ, with λ the
slowest rate of relaxation, keeps what the equations conserve (I − hJ leaves it as it is), and needs no other
treatment of a singular J. The run is at rest if such a step is smaller than the tolerance, that is, if
waiting a hundred times longer would not show.

Rounding of the rates would move what is conserved by h times its size. Rows L with L f = 0 for all x are
found once per model, and f, J and the rates of S are projected, f − R L f with L R = I.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from multiscale.equations.hybrid import HybridSystem
from multiscale.solver.hybrid.evaluation import Place, multiply, parts_of, true_at

__all__ = ["Conserved", "Settled", "conserved", "first_horizon", "next_switch", "settle"]

_AHEAD = 1e2  # length of a step in units of the time since the start
_STEPS = 8
_NEAR = 1e-3  # relative change to come at which steps to rest are tried
_SMALL = 1e-6  # relative to the largest state: what decays to zero
_ROUNDING = 16 * float(np.finfo(np.float64).eps)  # relative to the largest state
_LONG = 10.0  # first horizon in units of the shortest time scale
_SAMPLES = 10  # more than states
_LEAK = 1e-9  # what changes relative to its terms, above which nothing is conserved
_RANK = 1e-11  # singular values below this, relative to the largest, are 0
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
    done, rows, L = np.zeros(len(z), dtype=bool), np.arange(len(z)), _conserved_here(system, z)
    for _ in range(_STEPS):
        f = L.kept(parts_of(system.rate, z[rows]).values[:, :, None])
        inverse, usable = _inverse(system, z[rows], h[rows], L)
        step = (inverse @ (h[rows, None, None] * f))[:, :, 0]
        x[rows] += step
        done[rows] = usable & (np.abs(step) <= floor[rows] + rtol * np.abs(x[rows])).all(axis=1)
        rows = np.flatnonzero(~done)
        if not len(rows):
            break
    near = np.abs(x - start) <= 10 * (_NEAR * np.abs(start) + _SMALL * largest) + atol
    done &= near.all(axis=1) & _same_modes(system, z, modes)
    S, found = _slopes(system, z, S, dp, h, rtol, L)
    return Settled(x.copy(), S, done & found)


def _slopes(
    system: HybridSystem,
    z: np.ndarray,
    S: np.ndarray,
    dp: np.ndarray,
    h: np.ndarray,
    rtol: float,
    L: Conserved,
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives at rest, and whether their steps vanish."""
    if not S.shape[2]:
        return S, np.ones(len(z), dtype=bool)
    n, place = len(system.states), Place.of(system)
    x, p = z[:, place.x], z[:, place.p][:, system.active]
    by_x, by_p = parts_of(system.linear, z).entries
    inverse, usable = _inverse(system, z, h, L)
    push = multiply(system.linear.patterns[1], by_p, dp, n)
    done = np.zeros(len(z), dtype=bool)
    for _ in range(_STEPS):
        rate = L.kept(multiply(system.linear.patterns[0], by_x, S, n) + push)
        step = inverse @ (h[:, None, None] * rate)
        S = S + step
        done = usable & (np.abs(step) <= _scale(x, S, p, dp, rtol)).all(axis=(1, 2))
        if done.all():
            break
    return S, done


def _scale(x: np.ndarray, S: np.ndarray, p: np.ndarray, dp: np.ndarray, rtol: float) -> np.ndarray:
    """Tolerance of derivatives: relative to each, to the steepest of its parameter, and to x dp/p.

    A derivative is 0 to rounding where ln x depends on ln p by less than the tolerance; rounding of the rates
    keeps it from being smaller.
    """
    largest, steepest = np.abs(x).max(axis=1)[:, None, None], np.abs(S).max(axis=1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num(np.abs(x)[:, :, None] / largest)
        relative = np.abs(dp) / np.where(p == 0.0, np.inf, np.abs(p))[:, :, None]
    natural = np.abs(x)[:, :, None] * relative.max(axis=1, initial=0.0)[:, None]
    return rtol * (np.abs(S) + share * steepest + natural) + _ROUNDING * (
        steepest + natural.max(axis=1)[:, None]
    )


def _inverse(
    system: HybridSystem, z: np.ndarray, h: np.ndarray, L: Conserved
) -> tuple[np.ndarray, np.ndarray]:
    """Return (I − hJ)⁻¹ of every run, (run, n, n), and which exist."""
    n = len(system.states)
    rows, columns = system.jacobian.patterns[0]
    J = np.zeros((len(z), n, n))
    J[:, rows, columns] = parts_of(system.jacobian, z).entries[0]
    W = np.eye(n) - h[:, None, None] * L.kept(J)
    usable = np.array([np.isfinite(one).all() for one in W], dtype=bool)
    W[~usable] = np.eye(n)
    try:
        return np.linalg.inv(W), usable
    except np.linalg.LinAlgError:
        return _each_inverse(W, usable)


class Conserved(NamedTuple):
    """Rows L, (conserved, n), with L f = 0, and columns R, (n, conserved), with L R = I."""

    L: np.ndarray
    R: np.ndarray

    def kept(self, value: np.ndarray) -> np.ndarray:
        """The value, (run, n, column), without what would change what is conserved."""
        return value - self.R @ (self.L @ value) if len(self.L) else value


@lru_cache(maxsize=16)
def conserved(system: HybridSystem) -> Conserved:
    """Combinations of states that no rate changes, at states and parameters that chance has chosen."""
    n, chance = len(system.states), np.random.default_rng(0)
    nothing = Conserved(np.zeros((0, n)), np.zeros((n, 0)))
    if n == 0:
        return nothing
    z = chance.uniform(0.5, 2.0, (n + _SAMPLES, system.inputs))
    z[:, Place.of(system).modes] = chance.integers(0, 2, (len(z), len(system.kinds)))
    f = parts_of(system.rate, z).values
    f = f[np.isfinite(f).all(axis=1)]
    if len(f) < n:  # rates are undefined nearly everywhere: nothing is known
        return nothing
    size = np.abs(f).max(axis=0)
    size[size == 0.0] = 1.0
    _, values, rows = np.linalg.svd(f / size)
    rows = rows[np.count_nonzero(values > _RANK * max(values[0], 1.0)) :]
    return Conserved(rows / size, (rows * size).T)


def _conserved_here(system: HybridSystem, z: np.ndarray) -> Conserved:
    """The same, if what chance has found holds where these runs are; else nothing."""
    found, (rows, columns) = conserved(system), system.jacobian.patterns[0]
    if not len(found.L) or not rows.size:
        return found
    n, x = len(system.states), z[:, Place.of(system).x]
    values, (entries,) = parts_of(system.jacobian, z)
    flux = multiply(np.stack([rows, columns]), np.abs(entries), np.abs(x)[:, :, None], n)[:, :, 0]
    f = values[:, :n]
    leak = np.abs(f @ found.L.T) > _LEAK * ((flux + np.abs(f)) @ np.abs(found.L).T)
    J = np.zeros((len(z), n, n))
    J[:, rows, columns] = entries
    leaks = np.abs(found.L @ J) > _LEAK * (np.abs(found.L) @ np.abs(J))
    return Conserved(found.L[:0], found.R[:, :0]) if leak.any() or leaks.any() else found


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
    return ((true_at(system.kinds, g) == modes) | (g == 0.0)).all(axis=1)
