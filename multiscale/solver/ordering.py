"""Symbolic analysis of sparse elimination: which pivot when, which entries fill in, which products go where.

Pivots are chosen from the diagonal by Markowitz' rule (fewest products first). Pivots that do not touch each
other form a stage, whose products can be formed together; once what is left is mostly full it becomes one
dense block. All is done once per pattern, in NumPy, so that every numeric code can share the arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Symbolic", "analyse"]

DENSE = 0.5
"""Fraction of the remaining matrix that is non-zero from which on dense elimination is faster."""
SMALL = 16
"""Order of the remaining matrix up to which one dense call costs less than another stage."""


@dataclass(frozen=True, eq=False)
class Symbolic:
    """W = [L₁₁ 0; L₂₁ 1] · [D 0; 0 S] · [U₁₁ U₁₂; 0 1] with the pivots D and the dense block S.

    Rows and columns are counted in order of elimination. The values of a factor lie in one array of length
    `values`: pivots, L, U (without their unit diagonals), then S column by column. W itself is kept as
    `entries`: the diagonal, then the rest by row.

    Args:
        size: order of W.
        order: variable that is eliminated k-th, shape (size,); the last ones form the dense block.
        stages: pivots `stages[s]:stages[s + 1]` do not depend on each other, shape (stage + 1,).
        lower: row and column of the entries of L by column, shape (2, lower).
        lower_stages: entries of L by stage, shape (stage + 1,).
        upper: row and column of the entries of U by row, shape (2, upper).
        upper_stages: entries of U by stage, shape (stage + 1,).
        updates: positions t, l, u in the values, meaning value[t] −= value[l] value[u], shape (3, update).
        update_stages: updates by stage, shape (stage + 1,).
        entries: row and column of the entries of W, shape (2, entry).
        given: entry of W of each entry of the given pattern, shape (nonzero,).
        where: position in the values of each entry of W, shape (entry,).
    """

    size: int
    order: np.ndarray
    stages: np.ndarray
    lower: np.ndarray
    lower_stages: np.ndarray
    upper: np.ndarray
    upper_stages: np.ndarray
    updates: np.ndarray
    update_stages: np.ndarray
    entries: np.ndarray
    given: np.ndarray
    where: np.ndarray

    @property
    def front(self) -> int:
        """Number of pivots before the dense block."""
        return int(self.stages[-1])

    @property
    def dense(self) -> int:
        """Order of the dense block."""
        return self.size - self.front

    @property
    def values(self) -> int:
        """Number of values of a factor."""
        return self.front + self.lower.shape[1] + self.upper.shape[1] + self.dense**2


def analyse(pattern: np.ndarray, size: int, dense: float = DENSE, small: int = SMALL) -> Symbolic:
    """Order a pattern and work out its factor.

    Args:
        pattern: row and column of every entry that can differ from zero, each once, shape (2, nonzero). The
            diagonal is added.
        size: order of the matrix, at least 1.
        dense: filled fraction of the remaining matrix that makes it the dense block; above 1 for never.
        small: order of the remaining matrix that makes it the dense block, at least 1.

    Raises:
        ValueError: a row or column out of range, or an entry named twice.

    >>> arrow = np.array([[0, 0, 1, 2], [1, 2, 0, 0]])  # variable 0 meets 1 and 2, which go first, together
    >>> plan = analyse(arrow, 3, dense=2, small=1)
    >>> plan.order.tolist(), plan.stages.tolist(), plan.updates.shape[1]
    ([1, 2, 0], [0, 2], 2)
    """
    _check(pattern, size)
    stages, below, right = _eliminate(pattern, size, dense, small)
    front = [pivot for stage in stages for pivot in stage]
    order = np.array([*front, *sorted(set(range(size)).difference(front))], dtype=np.int64)
    rank = np.argsort(order)
    ends = _ends([len(stage) for stage in stages])
    lower = _columns(front, below, rank)[::-1]
    upper = _columns(front, right, rank)
    position = _Position(size, len(front), lower, upper)
    updates, of_pivot = _updates(lower, upper, len(front), position)
    given = rank[pattern]
    entries = _with_diagonal(given, size)
    return Symbolic(
        size,
        order,
        ends,
        lower,
        np.searchsorted(lower[1], ends),
        upper,
        np.searchsorted(upper[0], ends),
        _sorted_within(updates, of_pivot, ends),
        np.searchsorted(of_pivot, ends),
        entries,
        _find(entries, given, size),
        position(entries[0], entries[1]),
    )


def _check(pattern: np.ndarray, size: int) -> None:
    if pattern.size and (pattern.min() < 0 or pattern.max() >= size):
        raise ValueError(
            f"`pattern` must have rows and columns from 0 to {size - 1}; "
            f"got {pattern.min()} to {pattern.max()}: check `size`."
        )
    if len(np.unique(pattern[0] * size + pattern[1])) < pattern.shape[1]:
        raise ValueError("`pattern` must name each entry once; got some twice: add their values up first.")


Neighbours = dict[int, list[int]]


def _eliminate(
    pattern: np.ndarray, size: int, dense: float, small: int
) -> tuple[list[list[int]], Neighbours, Neighbours]:
    """Pivots by stage, and for each pivot the rows below it and the columns right of it that remain."""
    rows: list[set[int]] = [set() for _ in range(size)]  # columns in a row, without the diagonal
    columns: list[set[int]] = [set() for _ in range(size)]
    for i, j in pattern.T.tolist():
        if i != j:
            rows[i].add(j)
            columns[j].add(i)
    left, stages = set(range(size)), []
    below: Neighbours = {}
    right: Neighbours = {}
    while len(left) > small and sum(len(rows[v]) + 1 for v in left) < dense * len(left) ** 2:
        stages.append(_stage(left, rows, columns, len(left) - small))
        for pivot in stages[-1]:
            below[pivot], right[pivot] = sorted(columns[pivot]), sorted(rows[pivot])
            _remove(pivot, rows, columns)
        left.difference_update(stages[-1])
    return stages, below, right


def _stage(left: set[int], rows: list[set[int]], columns: list[set[int]], most: int) -> list[int]:
    """Pivots without an entry between them, cheapest first, ties by number.

    Admitting pivots of up to four times the least number of products, plus four, changes the fill little and
    makes stages fewer: every second link of a chain goes at once, instead of one from each end.
    """
    cost = {v: len(rows[v]) * len(columns[v]) for v in left}
    limit = 4 * min(cost.values()) + 4
    chosen: list[int] = []
    touched: set[int] = set()
    for pivot in sorted((v for v in left if cost[v] <= limit), key=lambda v: (cost[v], v)):
        if pivot not in touched and len(chosen) < most:
            chosen.append(pivot)
            touched |= rows[pivot] | columns[pivot]
    return chosen


def _remove(pivot: int, rows: list[set[int]], columns: list[set[int]]) -> None:
    """Connect every row below the pivot with every column right of it."""
    for i in columns[pivot]:
        rows[i].discard(pivot)
        rows[i] |= rows[pivot] - {i}
    for j in rows[pivot]:
        columns[j].discard(pivot)
        columns[j] |= columns[pivot] - {j}


def _columns(front: list[int], neighbours: Neighbours, rank: np.ndarray) -> np.ndarray:
    """Position of each pivot and of each of its neighbours, by pivot, shape (2, entry)."""
    pivots = np.repeat(np.arange(len(front)), [len(neighbours[v]) for v in front])
    others = np.array([j for v in front for j in neighbours[v]], dtype=np.int64)
    return np.stack([pivots, rank[others]])


class _Position:
    """Where an entry of the filled matrix lies among the values."""

    def __init__(self, size: int, front: int, lower: np.ndarray, upper: np.ndarray):
        self.size, self.front = size, front
        self.block = front + lower.shape[1] + upper.shape[1]
        pivots = np.arange(front)
        keys = np.concatenate(
            [pivots * size + pivots, lower[0] * size + lower[1], upper[0] * size + upper[1]]
        )
        self.sorter = np.argsort(keys)
        self.keys = keys[self.sorter]

    def __call__(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        dense = (row >= self.front) & (column >= self.front)
        position = self.block + (column - self.front) * (self.size - self.front) + row - self.front
        found = np.searchsorted(self.keys, (row * self.size + column)[~dense])
        position[~dense] = self.sorter[found]
        return position


def _updates(
    lower: np.ndarray, upper: np.ndarray, front: int, position: _Position
) -> tuple[np.ndarray, np.ndarray]:
    """Products of the entries below and right of each pivot, shape (3, update), and their pivots."""
    pivots = np.arange(front + 1)
    starts, ends = np.searchsorted(lower[1], pivots), np.searchsorted(upper[0], pivots)
    parts = [np.empty((3, 0), dtype=np.int64)]
    for k in range(front):
        below, right = np.arange(starts[k], starts[k + 1]), np.arange(ends[k], ends[k + 1])
        pairs = [np.repeat(below, len(right)), np.tile(right, len(below))]
        parts.append(np.stack([*pairs, np.full_like(pairs[0], k)]))
    below, right, of_pivot = np.concatenate(parts, 1)
    target = position(lower[0, below], upper[1, right])
    return np.stack([target, front + below, front + lower.shape[1] + right]), of_pivot


def _sorted_within(updates: np.ndarray, of_pivot: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Updates of each stage by target, so that they are added to memory in order."""
    stage = np.searchsorted(ends, of_pivot, side="right")
    return np.ascontiguousarray(updates[:, np.lexsort((of_pivot, updates[0], stage))])


def _with_diagonal(given: np.ndarray, size: int) -> np.ndarray:
    """The diagonal, then the other entries by row and column."""
    row, column = given[:, given[0] != given[1]]
    rest = np.sort(row * size + column)
    diagonal = np.arange(size)
    return np.stack([np.concatenate([diagonal, rest // size]), np.concatenate([diagonal, rest % size])])


def _find(entries: np.ndarray, given: np.ndarray, size: int) -> np.ndarray:
    """Which of the entries each given one is."""
    keys = entries[0] * size + entries[1]
    sorter = np.argsort(keys)
    return sorter[np.searchsorted(keys[sorter], given[0] * size + given[1])]


def _ends(counts: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
