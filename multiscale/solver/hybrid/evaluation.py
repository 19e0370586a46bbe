"""Programs of a hybrid system on many runs at once: their values, and derivatives along directions.

The inputs of all programs of a run are one row z = [t, x, p, m], which whoever moves a run changes in place.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit

from multiscale.equations.hybrid import ABOVE, HybridSystem, Sparse
from multiscale.equations.machine import evaluate
from multiscale.equations.program import Program

__all__ = ["Parts", "Place", "inputs_of", "joined", "multiply", "parts_of", "start_of", "true_at"]


class Place(NamedTuple):
    """Where states, parameters and truth values are in the inputs of programs."""

    x: slice
    p: slice
    modes: slice

    @classmethod
    def of(cls, system: HybridSystem) -> Place:
        """Places in the programs of a system."""
        n, P = len(system.states), len(system.parameters)
        return cls(slice(1, 1 + n), slice(1 + n, 1 + n + P), slice(1 + n + P, system.inputs))


class Parts(NamedTuple):
    """Results of a sparse program: values, (run, value), and the entries of each matrix, (run, nonzero)."""

    values: np.ndarray
    entries: tuple[np.ndarray, ...]


def inputs_of(t: np.ndarray, x: np.ndarray, p: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Rows [t, x, p, m] from their parts, each with one row per run."""
    return np.concatenate([t[:, None], x, p, modes], axis=1)


def parts_of(sparse: Sparse, z: np.ndarray) -> Parts:
    """Run a sparse program on rows of inputs."""
    out = evaluate(sparse.program, z)
    ends = np.cumsum([sparse.values, *(pattern.shape[1] for pattern in sparse.patterns)])
    entries = [out[:, first:last] for first, last in pairwise(ends)]
    return Parts(out[:, : sparse.values], tuple(entries))


def multiply(pattern: np.ndarray, entries: np.ndarray, right: np.ndarray, rows: int) -> np.ndarray:
    """Products of sparse matrices with dense ones.

    Args:
        pattern: rows and columns of the entries, (2, nonzero).
        entries: of the matrix of each run, (run, nonzero).
        right: (run, column, q).
        rows: of the matrices.

    Returns:
        (run, row, q).
    """
    result = np.zeros((len(entries), rows, right.shape[2]))
    if result.size and pattern.shape[1]:
        _multiply(pattern[0], pattern[1], np.ascontiguousarray(entries), np.ascontiguousarray(right), result)
    return result


@njit(cache=True, nogil=True)
def _multiply(
    rows: np.ndarray, columns: np.ndarray, entries: np.ndarray, right: np.ndarray, result: np.ndarray
) -> None:
    for run in range(len(entries)):
        for e in range(len(rows)):
            value, i, j = entries[run, e], rows[e], columns[e]
            if value != 0.0:  # what is zero has no influence, even on an infinite direction
                for k in range(right.shape[2]):
                    result[run, i, k] += value * right[run, j, k]


def start_of(
    system: HybridSystem, t: np.ndarray, p: np.ndarray, dp: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """States at the start, (run, n), and their derivatives, (run, n, q), of runs that start at t."""
    n, unknown = len(system.states), np.full((len(t), len(system.kinds)), np.nan)
    x, (by_p,) = parts_of(system.start, inputs_of(t, np.full((len(t), n), np.nan), p, unknown))
    return x[:, :n], multiply(system.start.patterns[0], by_p, dp, n)


def true_at(kinds: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Truth of conditions from the values of their g, (run, condition)."""
    return np.where(kinds == ABOVE, g > 0.0, g >= 0.0)


def joined(programs: list[Program], inputs: int) -> Program:
    """Return one program whose outputs are those of several in turn; all read the same inputs."""
    constants = inputs + np.cumsum([0, *(len(program.constants) for program in programs)])
    steps = constants[-1] + np.cumsum([0, *(len(program.code) for program in programs)])
    codes, outputs = [np.zeros((0, 4), np.int64)], [np.zeros(0, np.int64)]
    for k, program in enumerate(programs):
        middle = inputs + len(program.constants)
        place = np.arange(program.registers)
        place[inputs:middle] += constants[k] - inputs
        place[middle:] += steps[k] - middle
        code = program.code.copy()
        code[:, 1:] = place[code[:, 1:]]  # arguments that an operation does not have are read, and not used
        codes.append(code)
        outputs.append(place[program.outputs])
    values = np.concatenate([np.zeros(0), *(program.constants for program in programs)])
    return Program(inputs, values, np.concatenate(codes), np.concatenate(outputs))
