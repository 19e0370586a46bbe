"""P values of any statistics of labelled groups of cells, from permutations of the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

__all__ = ["GroupMeans", "Null", "p_values", "permuted"]

ROUNDING = 1e-9
"""Relative difference below which two sums of the same numbers in another order count as equal."""

Statistics = Callable[[np.ndarray], dict[str, np.ndarray]]


class Null(NamedTuple):
    """Statistics of the labels as they are, and the p value of each."""

    observed: dict[str, np.ndarray]
    p: dict[str, np.ndarray]


class GroupMeans:
    """Means of all columns in all groups, for many labellings of the same cells in one sparse product.

    Args:
        values: shape (cell, column).
        sizes: cells of every group, shape (group,).

    >>> values = sparse.csr_array(np.array([[2.0], [4.0], [9.0]]))
    >>> GroupMeans(values, np.array([2, 1]))(np.array([[0, 0, 1], [1, 0, 0]])).tolist()
    [[[3.0], [9.0]], [[6.5], [2.0]]]
    """

    def __init__(self, values: sparse.csr_array, sizes: np.ndarray) -> None:
        self._values, self._sizes = values, sizes

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Means of shape (labelling, group, column), from labels of shape (labelling, cell)."""
        count, cells = labels.shape
        groups = len(self._sizes)
        rows = (labels + groups * np.arange(count)[:, None]).ravel()
        members = sparse.csr_array(
            (np.ones(rows.size), (rows, np.tile(np.arange(cells), count))), shape=(count * groups, cells)
        )
        sums = sparse.csr_array(members @ self._values).toarray().reshape(count, groups, -1)
        return sums / self._sizes[:, None]


def permuted(labels: np.ndarray, count: int, seed: int, at_once: int) -> Iterator[np.ndarray]:
    """Permutations of labels in portions of shape (≤ at_once, cell); the same ones however they are dealt."""
    random = np.random.default_rng(seed)
    for start in range(0, count, at_once):
        portion = np.tile(labels, (min(at_once, count - start), 1))
        yield random.permuted(portion, axis=1)


def p_values(
    statistics: Statistics, labels: np.ndarray, permutations: int, seed: int, at_once: int = 64
) -> Null:
    """How often permuted labels give at least what the labels of the cells give.

    p = (1 + Σ_b [s_b ≥ s]) / (1 + B): exact, since under the null hypothesis the labels as they are count as
    one more permutation, and never zero. NaN counts as at least as large.

    Args:
        statistics: function of labels of shape (labelling, cell); each of its values has shape
            (labelling, ...), large = evidence.
        labels: group of every cell, shape (cell,).
        permutations: B; 0 = no p values (NaN).
        seed: of the permutations.
        at_once: labellings that are evaluated together.

    Source: Phipson and Smyth 2010, Stat Appl Genet Mol Biol 9:39, doi:10.2202/1544-6115.1585.

    Of the labellings of values 1, 2, 3 with one cell in group 1, a third puts 3 there:

    >>> values = np.array([1.0, 2.0, 3.0])
    >>> def largest(labels):
    ...     return {"sum": (labels * values).sum(1)}
    >>> found = p_values(largest, np.array([0, 0, 1]), 3000, seed=0)
    >>> float(found.observed["sum"]), round(float(found.p["sum"]), 1)
    (3.0, 0.3)
    """
    observed = {name: value[0] for name, value in statistics(labels[None]).items()}
    least = {name: value - ROUNDING * np.abs(value) for name, value in observed.items()}
    reached = {name: np.ones(value.shape) for name, value in observed.items()}
    for portion in permuted(labels, permutations, seed, at_once):
        for name, value in statistics(portion).items():
            reached[name] += (~(value < least[name])).sum(0)
    if permutations == 0:
        return Null(observed, {name: np.full(value.shape, np.nan) for name, value in observed.items()})
    return Null(observed, {name: count / (1 + permutations) for name, count in reached.items()})
