"""Exact integer null spaces of sparse integer matrices: the algebra behind moieties and cycles.

A sparse vector is a dictionary from position to non-zero Python integer: nothing rounds, nothing overflows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import gcd, lcm

__all__ = ["Sparse", "independent", "null_space", "semipositive"]

Sparse = dict[int, int]
Candidate = tuple[Sparse, Sparse]


def null_space(rows: Iterable[Sparse], size: int) -> list[Sparse]:
    """Basis of {x : row · x = 0 for every row}, one vector per free unknown, entries coprime.

    Args:
        rows: equations.
        size: number of unknowns.

    Source: fraction-free Gauss–Jordan elimination.

    >>> null_space([{0: 1, 1: -2}], 2)
    [{1: 1, 0: 2}]
    """
    pivots: dict[int, Sparse] = {}
    users: dict[int, set[int]] = defaultdict(set)
    for row in sorted(rows, key=len):
        reduced = _reduce(row, pivots)
        if reduced:
            _insert(reduced, pivots, users)
    free: dict[int, list[int]] = {i: [] for i in range(size) if i not in pivots}
    for pivot, row in pivots.items():
        for position in row:
            if position != pivot:
                free[position].append(pivot)
    return [_solution(position, bound, pivots) for position, bound in free.items()]


def independent(vectors: Iterable[Sparse], count: int) -> list[Sparse]:
    """First `count` linearly independent vectors of a sequence.

    >>> independent([{0: 1}, {0: 2}, {0: 1, 1: 1}], 2)
    [{0: 1}, {0: 1, 1: 1}]
    """
    pivots: dict[int, Sparse] = {}
    users: dict[int, set[int]] = defaultdict(set)
    chosen: list[Sparse] = []
    for vector in vectors:
        if len(chosen) == count:
            break
        reduced = _reduce(vector, pivots)
        if reduced:
            _insert(reduced, pivots, users)
            chosen.append(vector)
    return chosen


def semipositive(rows: Sequence[Sparse], size: int, limit: int) -> list[Sparse]:
    """Non-negative solutions of row · x = 0 with minimal support; none if more than `limit` occur on the way.

    Args:
        rows: equations.
        size: number of unknowns.
        limit: most candidates kept at any time; their number can grow exponentially.

    Source: Martinez and Silva 1982 (place invariants of Petri nets), a form of Fourier–Motzkin elimination.

    >>> semipositive([{0: 1, 1: -2}], 2, limit=10)
    [{0: 2, 1: 1}]
    """
    columns: dict[int, Sparse] = defaultdict(dict)
    for number, row in enumerate(rows):
        for position, value in row.items():
            columns[position][number] = value
    pool = _Pool(len(rows))
    for position in range(size):
        pool.add(({position: 1}, columns.get(position, {})))
    left = set(range(len(rows)))
    while left:
        number = min(left, key=lambda n: (len(pool.positive[n]) * len(pool.negative[n]), n))
        left.discard(number)
        pool.cancel(number)
        if len(pool.candidates) > limit:
            return []
    return [vector for vector, _ in pool.candidates.values()]


class _Pool:
    """Candidates: non-negative vectors with their values in the equations, indexed by the signs of these."""

    def __init__(self, equations: int) -> None:
        self.candidates: dict[int, Candidate] = {}
        self.positive: list[set[int]] = [set() for _ in range(equations)]
        self.negative: list[set[int]] = [set() for _ in range(equations)]
        self._next = 0

    def add(self, candidate: Candidate) -> None:
        """Take up a candidate."""
        self.candidates[self._next] = candidate
        for number, value in candidate[1].items():
            (self.positive if value > 0 else self.negative)[number].add(self._next)
        self._next += 1

    def remove(self, key: int) -> Candidate:
        """Give a candidate back."""
        candidate = self.candidates.pop(key)
        for number, value in candidate[1].items():
            (self.positive if value > 0 else self.negative)[number].discard(key)
        return candidate

    def cancel(self, number: int) -> None:
        """Satisfy one more equation: its violators give way to positive–negative sums of minimal support."""
        positive = [self.remove(key) for key in sorted(self.positive[number])]
        negative = [self.remove(key) for key in sorted(self.negative[number])]
        sums = [_sum(u, v, number) for u in positive for v in negative]
        if len(sums) > 1:
            sums = _minimal(sums, [vector for vector, _ in self.candidates.values()])
        for candidate in sums:
            self.add(candidate)


def _sum(u: Candidate, v: Candidate, number: int) -> Candidate:
    """Smallest combination of two candidates that cancels in an equation."""
    a, b = u[1][number], -v[1][number]
    vector, values = _combine(u[0], b, v[0], a), _combine(u[1], b, v[1], a)
    factor = gcd(*vector.values(), *values.values())
    return _divide(vector, factor), _divide(values, factor)


def _minimal(candidates: list[Candidate], others: list[Sparse]) -> list[Candidate]:
    """Drop candidates whose support contains that of another one, or of a vector in `others`."""
    masks = [_mask(vector) for vector in others]
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: len(c[0])):
        mask = _mask(candidate[0])
        if not any(smaller & mask == smaller for smaller in masks):
            masks.append(mask)
            kept.append(candidate)
    return kept


def _mask(vector: Sparse) -> int:
    return sum(1 << position for position in vector)


def _reduce(row: Sparse, pivots: dict[int, Sparse]) -> Sparse:
    """Eliminate every pivot from a row; empty where the row depends on the pivot rows."""
    row = dict(row)
    for pivot in [position for position in row if position in pivots]:
        row = _eliminate(row, pivot, pivots[pivot])
    return row


def _insert(row: Sparse, pivots: dict[int, Sparse], users: dict[int, set[int]]) -> None:
    """Make a reduced row a pivot row and eliminate its pivot from the others."""
    pivot = min(row, key=lambda position: (len(users[position]), abs(row[position]), position))
    for other in list(users[pivot]):
        before = pivots[other]
        after = _eliminate(before, pivot, row)
        for position in before.keys() - after.keys():
            users[position].discard(other)
        for position in after.keys() - before.keys():
            users[position].add(other)
        pivots[other] = after
    pivots[pivot] = row
    for position in row:
        if position != pivot:
            users[position].add(pivot)


def _eliminate(row: Sparse, pivot: int, pivot_row: Sparse) -> Sparse:
    a, b = pivot_row[pivot], -row[pivot]
    common = gcd(a, b)
    combined = _combine(row, a // common, pivot_row, b // common)
    return _divide(combined, gcd(*combined.values())) if combined else combined


def _combine(u: Sparse, a: int, v: Sparse, b: int) -> Sparse:
    """Return a·u + b·v without zeros."""
    total = {position: a * value for position, value in u.items()}
    for position, value in v.items():
        total[position] = total.get(position, 0) + b * value
    return {position: value for position, value in total.items() if value}


def _divide(vector: Sparse, factor: int) -> Sparse:
    return {position: value // factor for position, value in vector.items()} if factor > 1 else vector


def _solution(position: int, bound: list[int], pivots: dict[int, Sparse]) -> Sparse:
    """Solution with one free unknown set, in coprime integers."""
    scale = lcm(*(abs(pivots[p][p]) // gcd(pivots[p][p], pivots[p][position]) for p in bound)) if bound else 1
    vector = {position: scale} | {p: -scale * pivots[p][position] // pivots[p][p] for p in bound}
    return _divide(vector, gcd(*vector.values()))
