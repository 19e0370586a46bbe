"""Exact derivatives of one step of one system along q directions (S, P') of states and parameters.

With the stages u_i of the step and W = I/(hγ) − f_x, the derivatives u_i' solve

    W u_i' = D²f[u_i, (S, P')] + f_x(stage) (S + Σ a_ij u_j') + f_p(stage) P' + Σ c_ij u_j' / h
             + d_i h (f_tx S + f_tp P').

First and last term are taken at the start of the step and come from one program: second derivatives along
(w, u) = (d_i h, u_i) in time and states. The size h is held constant.
Source: `solver.step_gradient`, where it is derived.
"""

from __future__ import annotations

import numpy as np

from multiscale.solver.hybrid.compiled import LINEAR, SECOND, copy_rows, jit
from multiscale.solver.hybrid.elimination import solve_many
from multiscale.solver.hybrid.work import (
    AT,
    DDENSE,
    DNEW,
    DU,
    MOVED,
    RIGHTS,
    STAGES,
    Matrix,
    U,
    Work,
    evaluate,
    matrix,
    registers,
    set_point,
)
from multiscale.solver.rodas5p import RODAS5P

__all__ = [
    "multiply",
    "prepare_tangents",
    "tangent",
    "tangent_error",
    "tangents_inside",
]

_ALPHA, _D, _M = (np.array(row) for row in (RODAS5P.alpha, RODAS5P.d, RODAS5P.m))
_A, _C = (np.array([[*row, *[0.0] * (STAGES - len(row))] for row in part]) for part in (RODAS5P.a, RODAS5P.c))
_E, _H = np.array(RODAS5P.e), np.array(RODAS5P.dense)


@jit
def tangent(work: Work, t: float, x: np.ndarray, S: np.ndarray, h: float) -> None:
    """Derivatives of the last step along all directions; its stages are those in `work`."""
    rights, moved, dnew = work.tangents[RIGHTS], work.tangents[MOVED], work.tangents[DNEW]
    for i in range(STAGES):
        _begin(work, i, S, h)
        set_point(work, LINEAR, t + _ALPHA[i] * h, work.vectors[AT + i])
        multiply(work, LINEAR, moved, rights)
        _bend(work, i, t, x, h)
        multiply(work, SECOND, S, rights)
        solve_many(work, rights, work.tangents[DU + i])
    copy_rows(S, dnew)
    _combine(_M, work.tangents[DU : DU + STAGES], dnew)


@jit
def _begin(work: Work, i: int, S: np.ndarray, h: float) -> None:
    """S + Σ a_ij u_j', and Σ c_ij u_j' / h as the beginning of the right-hand side."""
    moved, rights, n, q = work.tangents[MOVED], work.tangents[RIGHTS], S.shape[0], S.shape[1]
    for k in range(n):
        for c in range(q):
            moved[k, c] = S[k, c]
            rights[k, c] = 0.0
    for j in range(i):
        a, b, du = _A[i, j], _C[i, j] / h, work.tangents[DU + j]
        for k in range(n):
            for c in range(q):
                moved[k, c] += a * du[k, c]
                rights[k, c] += b * du[k, c]


@jit
def _bend(work: Work, i: int, t: float, x: np.ndarray, h: float) -> None:
    """Run the program of second derivatives along (d_i h, u_i)."""
    values, n, u = registers(work, SECOND), len(x), work.vectors[U + i]
    direction = 1 + n + work.kernel.parameters + len(work.modes)
    values[0] = t
    values[direction] = _D[i] * h
    for k in range(n):
        values[1 + k] = x[k]
        values[direction + 1 + k] = u[k]
    evaluate(work, SECOND)


@jit
def _combine(weights: np.ndarray, du: np.ndarray, to: np.ndarray) -> None:
    """Add Σ w_i u_i'."""
    for i in range(STAGES):
        weight, part = weights[i], du[i]
        for k in range(to.shape[0]):
            for c in range(to.shape[1]):
                to[k, c] += weight * part[k, c]


@jit
def multiply(work: Work, program: int, S: np.ndarray, to: np.ndarray) -> None:
    """Add ∂/∂x S + ∂/∂p P' to `to`, (row, q), with the first two matrices of a program that was run."""
    values = registers(work, program)
    _multiply(matrix(work, program, 0), values, S, to)
    _multiply_directions(work, program, 1, to)


@jit
def _multiply(by: Matrix, values: np.ndarray, right: np.ndarray, to: np.ndarray) -> None:
    """Add a sparse matrix times (n, q)."""
    rows, columns, places, q = by.rows, by.columns, by.places, to.shape[1]
    for e in range(len(rows)):
        value = values[places[e]]
        if value != 0.0:
            row, column = rows[e], columns[e]
            for c in range(q):
                to[row, c] += value * right[column, c]


@jit
def _multiply_directions(work: Work, program: int, number: int, to: np.ndarray) -> None:
    """Add a matrix of a program that was run, times P', to `to`, (row, q)."""
    by, values = matrix(work, program, number), registers(work, program)
    ends, columns, entries = work.dp_ends, work.dp_columns, work.dp
    for e in range(len(by.rows)):
        value, row, parameter = values[by.places[e]], by.rows[e], by.columns[e]
        for k in range(ends[parameter], ends[parameter + 1]):
            to[row, columns[k]] += value * entries[k]


@jit
def tangent_error(work: Work, S: np.ndarray, rtol: float, atol: np.ndarray) -> float:
    """Largest root mean square, over directions, of the error estimate in units of the tolerance."""
    n, worst = S.shape[0], 0.0
    du, dnew = work.tangents[DU : DU + STAGES], work.tangents[DNEW]
    for c in range(S.shape[1]):
        total = 0.0
        for k in range(n):
            estimate = 0.0
            for i in range(STAGES):
                estimate += _E[i] * du[i, k, c]
            total += (estimate / (atol[k] + rtol * max(abs(S[k, c]), abs(dnew[k, c])))) ** 2
        if not total <= worst:  # NaN counts as worse
            worst = total
    return np.sqrt(worst / max(n, 1))


@jit
def prepare_tangents(work: Work) -> None:
    """Derivatives of the coefficients of the dense output of the last step."""
    for part in range(3):
        to = work.tangents[DDENSE + part]
        for k in range(to.shape[0]):
            for c in range(to.shape[1]):
                to[k, c] = 0.0
        _combine(_H[part], work.tangents[DU : DU + STAGES], to)


@jit
def tangents_inside(work: Work, S: np.ndarray, theta: float, to: np.ndarray) -> None:
    """Derivatives of the dense output at the fraction Θ, after `prepare_tangents`."""
    rest, dk, dnew = 1.0 - theta, work.tangents[DDENSE : DDENSE + 3], work.tangents[DNEW]
    for k in range(S.shape[0]):
        for c in range(S.shape[1]):
            bend = dk[0, k, c] + theta * (dk[1, k, c] + theta * dk[2, k, c])
            to[k, c] = rest * S[k, c] + theta * (dnew[k, c] + rest * bend)
