"""Conserved moieties: integer totals that no reaction changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from math import gcd, lcm

import numpy as np
from numpy.typing import NDArray

from multiscale.errors import GraphError
from multiscale.graph.nullspace import Sparse, independent, null_space, semipositive
from multiscale.graph.stoichiometry import integer_matrix

__all__ = ["conserved_moieties"]

_CANDIDATES = 1000  # most minimal moieties kept on the way to a basis; where there are more, others are used


def conserved_moieties(N: NDArray[np.integer]) -> NDArray[np.int64]:
    """Integer basis of the left null space of a stoichiometric matrix: totals that no reaction changes.

    Exact arithmetic. Vectors are non-negative with few species where possible.

    Args:
        N: stoichiometric matrix, shape (species, reaction), integers.

    Returns:
        L with L N = 0, shape (moiety, species), ordered by the first species of each moiety.

    Raises:
        GraphError: N does not hold integers.

    >>> conserved_moieties(np.array([[-1], [1], [0]])).tolist()
    [[1, 1, 0], [0, 0, 1]]
    """
    if not np.issubdtype(np.asarray(N).dtype, np.integer):
        raise GraphError(
            f"`N` must be a matrix of integers, shape (species, reaction); got {np.asarray(N).dtype}."
        )
    species, reactions = N.shape
    equations: list[Sparse] = [{} for _ in range(reactions)]
    for i, j in zip(*(axis.tolist() for axis in np.nonzero(N)), strict=True):
        equations[j][i] = int(N[i, j])
    basis = [
        vector for members, rows in _components(equations, species) for vector in _moieties_of(members, rows)
    ]
    return integer_matrix(
        sorted(basis, key=lambda vector: (min(vector), len(vector), sorted(vector.items()))), species
    )


def _moieties_of(members: list[int], equations: list[Sparse]) -> list[Sparse]:
    """Basis of one connected part, in global positions: first choice minimal, then non-negative vectors."""
    size, local = len(members), {species: i for i, species in enumerate(members)}
    rows = [{local[i]: n for i, n in row.items()} for row in equations]
    signed = sorted(null_space(rows, size), key=len)
    simple = semipositive(independent(rows, size - len(signed)), size, limit=_CANDIDATES) if signed else []
    simple.sort(key=lambda v: (len(v), sum(v.values()), sorted(v)))
    chosen = independent(simple, len(signed))
    if len(chosen) < len(signed):
        total = _largest_total(rows, size)
        lifted = [_lift(vector, total) for vector in signed]
        chosen = independent([*simple, *sorted(lifted, key=len), total, *signed], len(signed))
    return [{members[i]: n for i, n in sorted(vector.items())} for vector in chosen]


def _lift(vector: Sparse, total: Sparse) -> Sparse:
    """Make a moiety non-negative by adding a positive one, where that covers its negative entries."""
    times = max((-(n // total.get(i, 1)) for i, n in vector.items() if n < 0), default=0)
    sums = {i: vector.get(i, 0) + times * total.get(i, 0) for i in vector.keys() | total.keys()}
    lifted = {i: n for i, n in sums.items() if n}
    factor = gcd(*lifted.values()) if lifted else 1
    return {i: n // factor for i, n in lifted.items()} if min(lifted.values(), default=0) > 0 else {}


def _largest_total(rows: list[Sparse], size: int) -> Sparse:
    """Non-negative moiety of as many species as possible (Gevorgyan et al. 2008); empty if none is found."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack

    entries = [(float(n), r, i) for r, row in enumerate(rows) for i, n in row.items()]
    values, row, column = (np.array(part) for part in zip(*entries, strict=True))
    N = csr_array((values, (row, column)), shape=(len(rows), size))
    covered = eye_array(size)  # z ≤ m, z ≤ 1: each species counts once, however large its share m
    solution = linprog(
        np.concatenate([np.zeros(size), -np.ones(size)]),
        A_ub=hstack([-covered, covered], format="csr"),
        b_ub=np.zeros(size),
        A_eq=hstack([N, csr_array((len(rows), size))], format="csr"),
        b_eq=np.zeros(len(rows)),
        bounds=[(0, None)] * size + [(0, 1)] * size,
    )
    if solution.status != 0:
        return {}
    shares = [Fraction(float(share)).limit_denominator(10_000) for share in solution.x[:size]]
    scale = lcm(*(share.denominator for share in shares))
    total = {i: int(share * scale) for i, share in enumerate(shares) if share > 0}
    exact = all(sum(n * total.get(i, 0) for i, n in row.items()) == 0 for row in rows)
    return total if exact else {}


def _components(equations: list[Sparse], size: int) -> Iterable[tuple[list[int], list[Sparse]]]:
    """Split species and equations into parts that share nothing."""
    parent = list(range(size))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for row in equations:
        linked = list(row)
        for other in linked[1:]:
            parent[root(other)] = root(linked[0])
    members: dict[int, list[int]] = defaultdict(list)
    rows: dict[int, list[Sparse]] = defaultdict(list)
    for i in range(size):
        members[root(i)].append(i)
    for row in equations:
        if row:
            rows[root(next(iter(row)))].append(row)
    return [(part, rows[key]) for key, part in members.items()]
