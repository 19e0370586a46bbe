"""One step of Rodas5P for one system, and its dense output; the formulas are those of `solver.rosenbrock`."""

from __future__ import annotations

import numpy as np

from multiscale.solver.hybrid.compiled import JACOBIAN, RATE, copy, jit
from multiscale.solver.hybrid.elimination import factorise, solve
from multiscale.solver.hybrid.work import (
    AT,
    DENSE,
    DRIFT,
    NEW,
    RIGHT,
    STAGES,
    F,
    U,
    Work,
    outputs,
    registers,
    set_point,
)
from multiscale.solver.rodas5p import RODAS5P

__all__ = ["attempt", "error_of", "inside", "linearise", "prepare_inside", "slope"]

_GAMMA = RODAS5P.gamma
_ALPHA, _D, _M = (np.array(row) for row in (RODAS5P.alpha, RODAS5P.d, RODAS5P.m))
_A, _C = (np.array([[*row, *[0.0] * (STAGES - len(row))] for row in part]) for part in (RODAS5P.a, RODAS5P.c))
_E, _H = np.array(RODAS5P.e), np.array(RODAS5P.dense)


@jit
def slope(work: Work, t: float, x: np.ndarray, to: np.ndarray) -> None:
    """f(t, x)."""
    set_point(work, RATE, t, x)
    values, places = registers(work, RATE), outputs(work, RATE)
    for i in range(len(x)):
        to[i] = values[places[i]]


@jit
def linearise(work: Work, t: float, x: np.ndarray) -> None:
    """f, ∂f/∂t and ∂f/∂x at the start of a step."""
    set_point(work, JACOBIAN, t, x)
    values, places = registers(work, JACOBIAN), outputs(work, JACOBIAN)
    f, drift, n = work.vectors[F], work.vectors[DRIFT], len(x)
    for i in range(n):
        f[i] = values[places[i]]
        drift[i] = values[places[n + i]]


@jit
def attempt(work: Work, t: float, x: np.ndarray, h: float) -> bool:
    """Try a step from where f was linearised; False if W is singular or the end is not finite."""
    if not factorise(work, 1.0 / (_GAMMA * h)):
        return False
    at, u, n = work.vectors[AT : AT + STAGES], work.vectors[U : U + STAGES], len(x)
    f, drift, right, new = work.vectors[F], work.vectors[DRIFT], work.vectors[RIGHT], work.vectors[NEW]
    for i in range(STAGES):
        for k in range(n):
            at[i, k] = x[k]
            right[k] = f[k]
        if i > 0:
            _combine(_A[i], 1.0, i, u, at[i])
            slope(work, t + _ALPHA[i] * h, at[i], right)
            _combine(_C[i], 1.0 / h, i, u, right)
        for k in range(n):
            right[k] += _D[i] * h * drift[k]
        solve(work, right, u[i])
    copy(x, new)
    _combine(_M, 1.0, STAGES, u, new)
    finite = True
    for k in range(n):
        finite = finite and np.isfinite(new[k])
    return finite


@jit
def _combine(weights: np.ndarray, scale: float, count: int, u: np.ndarray, to: np.ndarray) -> None:
    """Add Σ w_i u_i over the first stages."""
    for i in range(count):
        weight = scale * weights[i]
        for k in range(len(to)):
            to[k] += weight * u[i, k]


@jit
def error_of(work: Work, x: np.ndarray, rtol: float, atol: np.ndarray) -> float:
    """Root mean square of the error estimate in units of the tolerance."""
    u, new, total = work.vectors[U : U + STAGES], work.vectors[NEW], 0.0
    for k in range(len(x)):
        estimate = 0.0
        for i in range(STAGES):
            estimate += _E[i] * u[i, k]
        total += (estimate / (atol[k] + rtol * max(abs(x[k]), abs(new[k])))) ** 2
    return np.sqrt(total / max(len(x), 1))


@jit
def prepare_inside(work: Work) -> None:
    """Coefficients of the dense output of the last step."""
    u = work.vectors[U : U + STAGES]
    for part in range(3):
        k = work.vectors[DENSE + part]
        for i in range(len(k)):
            k[i] = 0.0
        _combine(_H[part], 1.0, STAGES, u, k)


@jit
def inside(work: Work, x: np.ndarray, theta: float, to: np.ndarray) -> None:
    """State at the fraction Θ of the last step, after `prepare_inside`; exact at its end."""
    rest, k, new = 1.0 - theta, work.vectors[DENSE : DENSE + 3], work.vectors[NEW]
    for i in range(len(x)):
        bend = k[0, i] + theta * (k[1, i] + theta * k[2, i])
        to[i] = rest * x[i] + theta * (new[i] + rest * bend)
