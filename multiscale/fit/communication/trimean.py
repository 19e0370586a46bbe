"""Trimeans of sparse columns within groups, for many labellings of the same cells."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import sparse

__all__ = ["Trimeans"]

_SHARES = ((0.25, 0.25), (0.5, 0.5), (0.75, 0.25))  # quantile, its weight


class Trimeans:
    """Trimean (Q₁ + 2 Q₂ + Q₃)/4 of every column in every group; quantiles are interpolated linearly.

    Columns are sorted once. A labelling then costs one pass over the stored values, from the largest down:
    the k-th value of a group is known when k others of it have been passed, and what is not stored is zero.

    Args:
        values: non-negative, shape (cell, column).

    Source: Tukey's trimean as Jin 2021 (doi:10.1038/s41467-021-21246-9) averages expression in groups.

    The quartiles of 0, 0, 1, 3 are 0, 0.5 and 1.5:

    >>> column = sparse.csr_array(np.array([[3.0], [0.0], [1.0], [0.0]]))
    >>> Trimeans(column)(np.zeros((1, 4), dtype=np.int64), np.array([4])).item()
    0.625
    """

    def __init__(self, values: sparse.csr_array) -> None:
        columns = sparse.csc_array(values)
        data = np.asarray(columns.data, dtype=np.float64)
        column = np.repeat(np.arange(len(columns.indptr) - 1), np.diff(columns.indptr))
        order = np.lexsort((-data, column))
        self._starts = columns.indptr.astype(np.int64)
        self._cells = columns.indices[order].astype(np.int64)
        self._values = data[order]

    def __call__(self, labels: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Trimeans of all labellings.

        Args:
            labels: group of every cell, shape (labelling, cell).
            sizes: cells of every group, the same in all labellings, shape (group,).

        Returns:
            shape (labelling, group, column).
        """
        ranks, weights = _needed(sizes)
        result = np.zeros((len(labels), len(sizes), len(self._starts) - 1))
        labels = np.ascontiguousarray(labels, dtype=np.int64)
        _walk(self._starts, self._cells, self._values, labels, ranks, weights, result)
        return result


def _needed(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks from the top that enter the trimean of a group, ascending, and their weights, (group, 6)."""
    ranks, weights = [], []
    for share, weight in _SHARES:
        position = (sizes - 1) * share
        low = np.floor(position).astype(np.int64)
        high = np.minimum(low + 1, sizes - 1)
        ranks += [sizes - 1 - low, sizes - 1 - high]
        weights += [weight * (1 - (position - low)), weight * (position - low)]
    rank, parts = np.stack(ranks, 1), np.stack(weights, 1)
    order = np.argsort(rank, axis=1, kind="stable")
    return np.take_along_axis(rank, order, 1), np.take_along_axis(parts, order, 1)


@njit(cache=True, nogil=True)
def _walk(starts, cells, values, labels, ranks, weights, result):
    """Add the weighted values at the ranks needed, column by column, from the largest value down."""
    seen = np.zeros(len(ranks), dtype=np.int64)
    at = np.zeros(len(ranks), dtype=np.int64)
    for i in range(len(labels)):
        for j in range(len(starts) - 1):
            seen[:] = 0
            at[:] = 0
            for e in range(starts[j], starts[j + 1]):
                g = labels[i, cells[e]]
                while at[g] < ranks.shape[1] and ranks[g, at[g]] == seen[g]:
                    result[i, g, j] += weights[g, at[g]] * values[e]
                    at[g] += 1
                seen[g] += 1
