"""Memory of one thread, allocated once: programs with their registers, and the arrays of a step.

Few arrays with many rows, because every array that is handed to a compiled function costs time, there and
when it is compiled; the constants here name their rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from multiscale.equations.machine import run
from multiscale.solver.hybrid.compiled import Kernel, allocating, inlined, jit
from multiscale.solver.rodas5p import RODAS5P

__all__ = [
    "Matrix",
    "Work",
    "evaluate",
    "matrix",
    "outputs",
    "registers",
    "set_directions",
    "set_point",
    "workspace",
]

STAGES = len(RODAS5P.alpha)
"""Stages of a step."""

F, DRIFT, RIGHT, NEW, SIDE, INVERSE, DENSE = range(7)
"""Rows of `vectors`: f and ∂f/∂t at the start of a step; right-hand side of a stage; state at the end;
scratch of solving; 1 / pivots; three coefficients of the dense output."""
AT = DENSE + 3
U = AT + STAGES
"""Rows of `vectors`: states of the stages, and the stages u."""

RIGHTS, MOVED, DNEW, SIDES, DDENSE = range(5)
"""Rows of `tangents`: right-hand side and S + Σ a_ij u_j' of a stage; derivatives of the end; scratch of
solving; derivatives of the three coefficients of the dense output."""
DU = DDENSE + 3
"""Rows of `tangents`: derivatives of the stages."""

ROW, SOURCE, ORDER, RANK, LOWER, UPPER = range(6)
"""Rows of `indices`: row of W that was taken i-th; the equation which that is; state that is eliminated i-th;
when each state is eliminated; where the rows of L and U begin in `columns` and `entries`."""

HIGH, LAST = 5, 6
"""Rows of `G` after five places in a step: at the end of a bracket, and at the last trial."""


class Work(NamedTuple):
    """Memory for systems with n states, A active parameters, q directions and M conditions.

    Args:
        kernel: the programs.
        registers: of all programs.
        vectors: (row, n).
        tangents: (row, n, q).
        indices: (row, n + 1).
        W: in order of elimination, then its factors, (n, n).
        columns, entries: what of L (first row) and U (second) is not zero, by row, (2, n (n - 1) / 2).
        dp_ends, dp_columns, dp: entries of P' that are not zero, by row, (A + 1,), (A q,), (A q,).
        modes: truth values of the conditions, (M,).
        G: conditions, positive where they have switched, (row, M).
    """

    kernel: Kernel
    registers: np.ndarray
    vectors: np.ndarray
    tangents: np.ndarray
    indices: np.ndarray
    W: np.ndarray
    columns: np.ndarray
    entries: np.ndarray
    dp_ends: np.ndarray
    dp_columns: np.ndarray
    dp: np.ndarray
    modes: np.ndarray
    G: np.ndarray


class Matrix(NamedTuple):
    """Entries of a matrix: rows, columns, and the registers that hold them."""

    rows: np.ndarray
    columns: np.ndarray
    places: np.ndarray


@allocating
def workspace(kernel: Kernel, active: int, q: int) -> Work:
    """Allocate the memory of one thread."""
    n, conditions = kernel.states, len(kernel.kinds)
    indices = np.zeros((6, n + 1), np.int64)
    indices[ORDER, :n], indices[RANK, :n] = kernel.order, kernel.rank
    return Work(
        kernel,
        kernel.template.copy(),
        np.zeros((U + STAGES, n)),
        np.zeros((DU + STAGES, n, q)),
        indices,
        np.zeros((n, n)),
        np.zeros((2, n * (n - 1) // 2), np.int64),
        np.zeros((2, n * (n - 1) // 2)),
        np.zeros(active + 1, np.int64),
        np.zeros(active * q, np.int64),
        np.zeros(active * q),
        np.zeros(conditions),
        np.zeros((7, conditions)),
    )


@jit
def set_directions(work: Work, dp: np.ndarray) -> None:
    """Keep the entries of P', (A, q), that are not zero: directions are often single parameters."""
    ends, columns, entries, last = work.dp_ends, work.dp_columns, work.dp, 0
    for i in range(dp.shape[0]):
        for k in range(dp.shape[1]):
            if dp[i, k] != 0.0:
                columns[last] = k
                entries[last] = dp[i, k]
                last += 1
        ends[i + 1] = last


@inlined
def registers(work: Work, program: int) -> np.ndarray:
    """Registers of a program."""
    table = work.kernel.table
    return work.registers[table[program, 2] : table[program, 3]]


@inlined
def outputs(work: Work, program: int) -> np.ndarray:
    """Registers of the results of a program, counted among its own."""
    table = work.kernel.table
    return work.kernel.outputs[table[program, 4] : table[program, 5]]


@inlined
def matrix(work: Work, program: int, number: int) -> Matrix:
    """Matrix of a program."""
    kernel = work.kernel
    k = kernel.table[program, 6] + number
    first, last = kernel.ends[k], kernel.ends[k + 1]
    return Matrix(kernel.rows[first:last], kernel.columns[first:last], kernel.places[first:last])


@jit
def evaluate(work: Work, program: int) -> None:
    """Run a program on what its registers hold."""
    table = work.kernel.table
    run(work.kernel.code[table[program, 0] : table[program, 1]], registers(work, program))


@jit
def set_point(work: Work, program: int, t: float, x: np.ndarray) -> None:
    """Write time and states into the registers of a program and run it."""
    values, first = work.registers, work.kernel.table[program, 2]
    values[first] = t
    for i in range(len(x)):
        values[first + 1 + i] = x[i]
    evaluate(work, program)
