"""Factors of W = I/(hγ) − ∂f/∂x: kept as a full matrix, worked on only where it is not zero.

States are eliminated in an order with little fill-in. The pivot is the diagonal unless another entry of its
column is much larger, so that factors stay sparse and bounded.
Source: Duff, Erisman and Reid 1986, Direct Methods for Sparse Matrices, chapter 5 (threshold pivoting).
"""

from __future__ import annotations

import numpy as np

from multiscale.solver.hybrid.compiled import JACOBIAN, jit
from multiscale.solver.hybrid.work import (
    INVERSE,
    LOWER,
    ORDER,
    RANK,
    ROW,
    SIDE,
    SIDES,
    SOURCE,
    UPPER,
    Work,
    matrix,
    registers,
)

__all__ = ["factorise", "solve", "solve_many"]

THRESHOLD = 0.1
"""Smallest diagonal, relative to the largest entry of its column, that is taken as pivot."""


@jit
def factorise(work: Work, shift: float) -> bool:
    """Factorise shift · I − J with J of the last linearisation; False where it is singular or not finite."""
    W, indices, columns, entries = work.W, work.indices, work.columns, work.entries
    row, source, order = indices[ROW], indices[SOURCE], indices[ORDER]
    part = matrix(work, JACOBIAN, 0)
    _fill(W, indices[RANK], shift, part.rows, part.columns, part.places, registers(work, JACOBIAN))
    for k in range(len(W)):
        row[k] = k
    if not _eliminate(W, row, work.vectors[INVERSE], indices[UPPER], columns[1], entries[1]):
        return False
    _collect(W, row, indices[LOWER], columns[0], entries[0])
    for k in range(len(W)):
        source[k] = order[row[k]]
    return True


@jit
def _fill(
    W: np.ndarray,
    rank: np.ndarray,
    shift: float,
    rows: np.ndarray,
    columns: np.ndarray,
    places: np.ndarray,
    values: np.ndarray,
) -> None:
    """Write shift · I − J in order of elimination."""
    W[:] = 0.0
    for e in range(len(rows)):
        W[rank[rows[e]], rank[columns[e]]] = -values[places[e]]
    for k in range(len(W)):
        W[k, k] += shift


@jit
def _pivot(W: np.ndarray, row: np.ndarray, k: int) -> float:
    """Choose the k-th row; its pivot, NaN if nothing there can be divided by."""
    largest, best = 0.0, -1
    for i in range(k, len(W)):
        size = abs(W[row[i], k])
        if not np.isfinite(size):
            return np.nan
        if size > largest:
            largest, best = size, i
    if best < 0:
        return np.nan
    if abs(W[row[k], k]) >= THRESHOLD * largest:
        best = k
    row[k], row[best] = row[best], row[k]
    return W[row[k], k]


@jit
def _eliminate(
    W: np.ndarray,
    row: np.ndarray,
    inverse: np.ndarray,
    ends: np.ndarray,
    columns: np.ndarray,
    upper: np.ndarray,
) -> bool:
    """Eliminate below all pivots; the rows of U are collected on the way."""
    n, last = len(W), 0
    for k in range(n):
        pivot = _pivot(W, row, k)
        if pivot != pivot:
            return False
        inverse[k] = 1.0 / pivot
        first, above = last, row[k]
        for j in range(k + 1, n):
            if W[above, j] != 0.0:
                columns[last] = j
                upper[last] = W[above, j]
                last += 1
        ends[k + 1] = last
        for i in range(k + 1, n):
            below = row[i]
            if W[below, k] != 0.0:
                factor = W[below, k] * inverse[k]
                W[below, k] = factor
                for e in range(first, last):
                    W[below, columns[e]] -= factor * upper[e]
    return True


@jit
def _collect(
    W: np.ndarray, row: np.ndarray, ends: np.ndarray, columns: np.ndarray, lower: np.ndarray
) -> None:
    """Collect the entries of L by row."""
    last = 0
    for i in range(len(W)):
        for j in range(i):
            if W[row[i], j] != 0.0:
                columns[last] = j
                lower[last] = W[row[i], j]
                last += 1
        ends[i + 1] = last


@jit
def solve(work: Work, right: np.ndarray, to: np.ndarray) -> None:
    """Solve W u = r, both (n,)."""
    indices, y, inverse = work.indices, work.vectors[SIDE], work.vectors[INVERSE]
    source, order = indices[SOURCE], indices[ORDER]
    ends, columns, entries = indices[LOWER], work.columns[0], work.entries[0]
    n = len(y)
    for i in range(n):
        value = right[source[i]]
        for e in range(ends[i], ends[i + 1]):
            value -= entries[e] * y[columns[e]]
        y[i] = value
    ends, columns, entries = indices[UPPER], work.columns[1], work.entries[1]
    for i in range(n - 1, -1, -1):
        value = y[i]
        for e in range(ends[i], ends[i + 1]):
            value -= entries[e] * y[columns[e]]
        y[i] = value * inverse[i]
        to[order[i]] = y[i]


@jit
def solve_many(work: Work, right: np.ndarray, to: np.ndarray) -> None:
    """Solve W u = r for q right-hand sides at once, both (n, q)."""
    indices, y, inverse = work.indices, work.tangents[SIDES], work.vectors[INVERSE]
    source, order = indices[SOURCE], indices[ORDER]
    ends, columns, entries = indices[LOWER], work.columns[0], work.entries[0]
    n, q = y.shape
    for i in range(n):
        for k in range(q):
            y[i, k] = right[source[i], k]
        for e in range(ends[i], ends[i + 1]):
            value, j = entries[e], columns[e]
            for k in range(q):
                y[i, k] -= value * y[j, k]
    ends, columns, entries = indices[UPPER], work.columns[1], work.entries[1]
    for i in range(n - 1, -1, -1):
        for e in range(ends[i], ends[i + 1]):
            value, j = entries[e], columns[e]
            for k in range(q):
                y[i, k] -= value * y[j, k]
        value, target = inverse[i], order[i]
        for k in range(q):
            y[i, k] *= value
            to[target, k] = y[i, k]
