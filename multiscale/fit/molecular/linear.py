"""Designs of rows times many columns at once: what iterative methods ask for, hundreds of times.

Columns lie side by side, (parameter, column), so that a weight is read once for all of them. Rows that add up
a few weights become one sparse matrix; features of entities and of pairs of entities stay factors: energies
of pairs are A W Bᵀ, never a matrix with a column per weight.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from multiscale.encoders.design import Dense, Design, Pairs

__all__ = ["Crossed", "Lines", "on_device", "sparse_rows"]

Parts = Sequence[Sequence[tuple[slice, Design]]]


@dataclass(frozen=True, eq=False)
class _Features:
    """Features of entities: weights are multiplied per entity, and rows take what is theirs."""

    scalar: int
    where: slice
    matrix: Tensor
    entity: Tensor | None

    def forward(self, v: Tensor) -> Tensor:
        """(weight, column) → (row, column)."""
        values = self.matrix @ v
        return values if self.entity is None else values[self.entity]

    def transpose(self, g: Tensor) -> Tensor:
        """(row, column) → (weight, column)."""
        return self.matrix.T @ _summed(g, self.entity, len(self.matrix))

    def squared(self) -> _Features:
        """With every feature squared."""
        return _Features(self.scalar, self.where, self.matrix**2, self.entity)

    def alike(self, other: object) -> bool:
        """Whether another scalar has the same features row by row."""
        if not isinstance(other, _Features) or (self.entity is None) != (other.entity is None):
            return False
        same = self.entity is None or other.entity is None or torch.equal(self.entity, other.entity)
        return same and torch.equal(self.matrix, other.matrix)


class Crossed:
    """Pairs of entities: row i has Σ_ab A[first_i, a] W[a, b] B[second_i, b].

    Rows about the same pair are one. All pairs are multiplied if most of them occur, else those that do, one
    entity of A after another.

    Args:
        scalar: which one of a row.
        where: weights W, b fastest.
        design: of the rows.
    """

    def __init__(self, scalar: int, where: slice, design: Pairs) -> None:
        self.scalar, self.where, self.left, self.right = scalar, where, design.left, design.right
        keys, self.pair = torch.unique(design.first * len(design.right) + design.second, return_inverse=True)
        self.first, self.second = keys // len(design.right), keys % len(design.right)  # sorted by the first
        self._keys = keys
        self._most = 4 * len(keys) >= len(design.left) * len(design.right)
        self._ends = torch.bincount(self.first, minlength=len(design.left)).cumsum(0).tolist()

    def forward(self, v: Tensor) -> Tensor:
        """(weight, column) → (row, column)."""
        count, (a, b) = v.shape[1], (self.left.shape[1], self.right.shape[1])
        half = (self.left @ v.reshape(a, b * count)).reshape(-1, b, count)
        if self._most:
            return (self.right @ half).reshape(-1, count)[self._keys][self.pair]
        found = v.new_zeros(len(self._keys), count)
        for entity, part in self._runs():
            found[part] = self.right[self.second[part]] @ half[entity]
        return found[self.pair]

    def transpose(self, g: Tensor) -> Tensor:
        """(row, column) → (weight, column)."""
        count, g = g.shape[1], _summed(g, self.pair, len(self._keys))
        half = g.new_zeros(len(self.left), self.right.shape[1], count)
        if self._most:
            every = g.new_zeros(len(self.left) * len(self.right), count)
            every[self._keys] = g
            half = self.right.T @ every.reshape(len(self.left), -1, count)
        else:
            for entity, part in self._runs():
                half[entity] = self.right[self.second[part]].T @ g[part]
        return (self.left.T @ half.reshape(len(self.left), -1)).reshape(-1, count)

    def features(self) -> Tensor:
        """A ⊗ B of every pair that occurs, (pair, weight)."""
        return (self.left[self.first][:, :, None] * self.right[self.second][:, None, :]).flatten(1)

    def squared(self) -> Crossed:
        """With every feature squared."""
        first, second = self.first[self.pair], self.second[self.pair]
        return Crossed(self.scalar, self.where, Pairs(self.left**2, self.right**2, first, second))

    def alike(self, other: object) -> bool:
        """Whether another scalar has the same features row by row."""
        if not isinstance(other, Crossed) or not torch.equal(self._keys, other._keys):
            return False
        sides = ((self.left, other.left), (self.right, other.right))
        return torch.equal(self.pair, other.pair) and all(torch.equal(a, b) for a, b in sides)

    def _runs(self):
        """Entities on the left, and the pairs of each."""
        start = 0
        for entity, end in enumerate(self._ends):
            if end > start:
                yield entity, slice(start, end)
            start = end


class Lines:
    """All designs of some rows.

    Args:
        parts: per scalar its designs, and where the weights of each lie among all.
        size: number of all weights.
        device: where products are made.
    """

    def __init__(self, parts: Parts, size: int, device: torch.device) -> None:
        self.size, self.scalars = size, len(parts)
        self.rows = next(design.rows for designs in parts for _, design in designs)
        placed = [(s, where, design) for s, designs in enumerate(parts) for where, design in designs]
        self.factored = [
            Crossed(s, where, design) if isinstance(design, Pairs)
            else _Features(s, where, design.matrix, design.entity)
            for s, where, design in placed
            if isinstance(design, Pairs | Dense)
        ]  # fmt: skip
        few = [[p for p in designs if not isinstance(p[1], Pairs | Dense)] for designs in parts]
        self.sparse = sparse_rows(few, self.rows, size) if any(few) else None
        self._matrices = None if self.sparse is None else _both(self.sparse, device)

    def forward(self, v: Tensor) -> Tensor:
        """Scalars of every row: (parameter, column) → (row, scalar, column)."""
        found = v.new_zeros(self.rows, self.scalars, v.shape[1])
        if self._matrices is not None:
            found += (self._matrices[0] @ v).view(found.shape)
        for part in self.factored:
            found[:, part.scalar] += part.forward(v[part.where])
        return found

    def transpose(self, g: Tensor) -> Tensor:
        """Σ_a X_aᵀ g_a: (row, scalar, column) → (parameter, column)."""
        found = g.new_zeros(self.size, g.shape[2])
        if self._matrices is not None:
            found += self._matrices[1] @ g.reshape(-1, g.shape[2])
        for part in self.factored:
            found[part.where] += part.transpose(g[:, part.scalar])
        return found

    def diagonal(self, h: Tensor) -> Tensor:
        """Diagonal of Σ_ab X_aᵀ diag(h_ab) X_b, (parameter,), where every weight belongs to one scalar."""
        own = h.diagonal(dim1=1, dim2=2)
        found = h.new_zeros(self.size)
        if self.sparse is not None:
            squared = self.sparse.copy()
            squared.data **= 2
            found += torch.as_tensor(squared.T @ own.reshape(-1).cpu().numpy(), device=h.device)
        for part in self.factored:
            found[part.where] += part.squared().transpose(own[:, part.scalar, None])[:, 0]
        return found

    def between(self, h: Tensor, one: slice, other: slice) -> Tensor:
        """Σ_i h_ab X_ail X_bil for a family of weights in two terms, (weight,)."""
        found = h.new_zeros(one.stop - one.start)
        for a, b in product(range(self.scalars), repeat=2) if self.sparse is not None else ():
            both = self._columns(a, one).multiply(self._columns(b, other))
            found += torch.as_tensor(both.T @ h[:, a, b].cpu().numpy(), device=h.device)
        for a in self.factored:
            for b in self.factored:
                if a.where == one and b.where == other and a.alike(b):
                    found += a.squared().transpose(h[:, a.scalar, b.scalar, None])[:, 0]
        return found

    def _columns(self, scalar: int, where: slice) -> sparse.csr_matrix:
        """How one scalar of every row depends on some weights, (row, weight)."""
        assert self.sparse is not None
        return self.sparse[scalar :: self.scalars][:, where]


def sparse_rows(parts: Parts, rows: int, size: int) -> sparse.csr_matrix:
    """Designs with few weights per row as one matrix, (row · scalar, parameter), row by row."""
    lines, columns, factors = [], [], []
    for scalar, designs in enumerate(parts):
        for where, design in designs:
            index, factor = (None if part is None else part.cpu().numpy() for part in design.columns())
            row, slot = np.nonzero(index >= 0)  # pyright: ignore[reportOptionalOperand]
            lines.append(row * len(parts) + scalar)
            columns.append(index[row, slot] + where.start)  # pyright: ignore[reportOptionalSubscript]
            factors.append(np.ones(len(row)) if factor is None else factor[row, slot])
    entries = np.concatenate(factors), (np.concatenate(lines), np.concatenate(columns))
    return sparse.csr_matrix(entries, shape=(rows * len(parts), size))


def on_device(matrix: sparse.csr_matrix, device: torch.device) -> Tensor:
    """The same for products on a device."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Sparse CSR tensor support"
        )  # products are all that is used of it
        return torch.sparse_csr_tensor(
            torch.as_tensor(matrix.indptr, dtype=torch.int64),
            torch.as_tensor(matrix.indices, dtype=torch.int64),
            torch.as_tensor(matrix.data),
            size=matrix.shape,
            device=device,
            check_invariants=False,
        )


def _both(matrix: sparse.csr_matrix, device: torch.device) -> tuple[Tensor, Tensor]:
    """The matrix and its transpose, both by rows."""
    return on_device(matrix, device), on_device(matrix.T.tocsr(), device)


def _summed(g: Tensor, entity: Tensor | None, count: int) -> Tensor:
    """Sums of rows by entity, (row, column) → (entity, column)."""
    if entity is None:
        return g
    return g.new_zeros(count, g.shape[1]).index_add_(0, entity, g)
