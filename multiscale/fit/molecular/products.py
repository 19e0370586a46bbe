"""Products with all designs of some rows at once: sums over rows, curvature, and variances of rows.

Scalar a of a row is u_a = X_a w, with w the flat values of all parameters and X_a the designs of the scalar
side by side. A fit needs Σ_a X_aᵀ g_a (gradient), Σ_ab X_aᵀ diag(h_ab) X_b (Hessian) and X_a C X_bᵀ row by
row (variances). Rows that add up a few weights are scattered and gathered; rows that weigh all features go
through matrix products, entity by entity where rows share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from multiscale.encoders.design import Dense, Design, Pairs
from multiscale.fit.molecular.crossed import Crossed
from multiscale.fit.molecular.linear import Crossed as Pairwise

__all__ = ["Stacked"]

NUMBERS = 1 << 22
"""Numbers that one temporary array may hold (32 MB)."""

SEVERAL = 64  # different weights in a slot: as many are summed one by one

COLUMNS = 512  # of a symmetric product at once: what lies above the diagonal is enough


@dataclass(frozen=True, eq=False)
class _Sparse:
    """Slots of one scalar: position of the weight in w (`size` where empty), and factor (None = 1)."""

    scalar: int
    index: Tensor
    factor: Tensor | None

    def times(self, slot: int, values: Tensor) -> Tensor:
        """Values of rows, (..., row), times the factor of a slot."""
        return values if self.factor is None else values * self.factor[:, slot]


@dataclass(frozen=True, eq=False)
class _Full:
    """Features of one scalar: where their weights lie in w, features of entities, and entities of rows."""

    scalar: int
    where: slice
    matrix: Tensor
    entity: Tensor | None

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.matrix if self.entity is None else self.entity)

    def rows(self, part: slice) -> Tensor:
        """Features of some rows, (row, weight)."""
        return self.matrix[part] if self.entity is None else self.matrix[self.entity[part]]

    def same_rows(self, other: object) -> bool:
        """Whether another design is about the same entities, row by row."""
        if not isinstance(other, _Full):
            return False
        if self.entity is None or other.entity is None:
            return self.entity is other.entity
        return len(self.matrix) == len(other.matrix) and torch.equal(self.entity, other.entity)

    def forward(self, weights: Tensor) -> Tensor:
        """X w, (start, weight) → (start, row)."""
        values = weights @ self.matrix.T
        return values if self.entity is None else values[..., self.entity]

    def transpose(self, g: Tensor) -> Tensor:
        """Xᵀ g, (start, row) → (start, weight)."""
        return self.summed(g) @ self.matrix

    def columns(self, part: slice) -> Tensor:
        """Some features of every row, (weight, row)."""
        values = self.matrix[:, part].T
        return values if self.entity is None else values[:, self.entity]

    def gram(self, other: _Full, values: Tensor) -> Tensor:
        """Xᵀ diag(values) Y for Y about the same rows, (weight, weight of the other)."""
        return _product(self.matrix, self.summed(values), other.matrix)

    def variances(self, other: _Full, covariance: Tensor) -> Tensor:
        """X C Yᵀ of every row, for Y about the same rows and C between their weights, (row,)."""
        own = torch.cat(
            [
                ((self.matrix[part] @ covariance) * other.matrix[part]).sum(1)
                for part in _pieces(len(self.matrix), max(covariance.shape))
            ]
        )
        return own if self.entity is None else own[self.entity]

    def summed(self, values: Tensor) -> Tensor:
        """Sum values of rows (..., row) by entity, (..., entity)."""
        if self.entity is None:
            return values
        found = values.new_zeros(*values.shape[:-1], len(self.matrix))
        return found.scatter_add_(-1, self.entity.expand(values.shape), values)


_Part = _Sparse | _Full | Crossed


class Stacked:
    """All designs of some rows.

    Args:
        parts: per scalar its designs, and where the weights of each lie in w.
        size: length of w.
        rows: positions of the rows; all if None.
    """

    def __init__(
        self, parts: Sequence[Sequence[tuple[slice, Design]]], size: int, rows: Tensor | None = None
    ) -> None:
        self.size, self.scalars = size, len(parts)
        self.sparse: list[_Sparse] = []
        self._factored: list[_Full | Crossed] = []
        self._scattered: list[Pairwise] = []  # pairs of so many entities that few of all pairs occur
        for scalar, designs in enumerate(parts):
            taken = [(where, d if rows is None else d.take(rows)) for where, d in designs]
            for where, d in taken:
                if isinstance(d, Pairs) and len(d.left) * len(d.right) > 2 * NUMBERS:
                    self._scattered.append(Pairwise(scalar, where, d))
                elif isinstance(d, Dense | Pairs):
                    self._factored.append(_full(scalar, where, d))
            slots = [_slots(where, d, size) for where, d in taken if not isinstance(d, Dense | Pairs)]
            if slots:
                self.sparse.append(_joined(scalar, slots))

    @cached_property
    def full(self) -> list[_Full | Crossed]:
        """Scalars that weigh all features; scattered pairs multiplied out, which is for few weights only."""
        pairs = [_Full(c.scalar, c.where, c.features(), c.pair) for c in self._scattered]
        return [*self._factored, *pairs]

    def transpose(self, g: Tensor) -> Tensor:
        """Σ_a X_aᵀ g_a: (start, row, scalar) → (start, parameter)."""
        total = g.new_zeros(len(g), self.size + 1)
        for part in self.sparse:
            for slot in range(part.index.shape[1]):
                values = part.times(slot, g[..., part.scalar])
                total.scatter_add_(1, part.index[:, slot].expand(values.shape), values)
        for part in self._factored:
            total[:, part.where] += part.transpose(g[..., part.scalar])
        for part in self._scattered:
            total[:, part.where] += part.transpose(g[..., part.scalar].T).T
        return total[:, : self.size]

    def gram(self, h: Tensor) -> Tensor:
        """Σ_ab X_aᵀ diag(h_ab) X_b for symmetric h, (row, scalar, scalar) → (parameter, parameter)."""
        half = h.new_zeros(self.size + 1, self.size + 1)  # the rest is its transpose
        for one, other in combinations_with_replacement([*self.sparse, *self.full], 2):
            values = h[:, one.scalar, other.scalar]
            if one is other:
                values = values / 2
            if values.any():
                _add(half, one, other, values.contiguous())
        half = half[: self.size, : self.size]
        return half + half.T

    def variances(self, covariance: Tensor) -> Tensor:
        """X_a C X_bᵀ of every row, (row, scalar, scalar).

        Args:
            covariance: C, with one more row and column of zeros, shape (parameter + 1, parameter + 1).
        """
        rows = len(self.sparse[0].index) if self.sparse else self.full[0].count
        found = covariance.new_zeros(rows, self.scalars, self.scalars)
        for one, other in combinations_with_replacement(self.sparse, 2):
            _put(found, one, other, _gathered(covariance, one, other))
        for one, other in combinations_with_replacement(self.full, 2):
            _put(found, one, other, _between(covariance, one, other))
        for one in self.full:
            for other in self.sparse:
                _put(found, one, other, _mixed(covariance, one, other))
        return found


def _full(scalar: int, where: slice, design: Dense | Pairs) -> _Full | Crossed:
    if isinstance(design, Dense):
        return _Full(scalar, where, design.matrix, design.entity)
    return Crossed(scalar, where, design.left, design.right, design.first, design.second)


def _slots(where: slice, design: Design, size: int) -> tuple[Tensor, Tensor | None]:
    index, factor = design.columns()
    return torch.where(index < 0, size, index + where.start), factor


def _joined(scalar: int, slots: list[tuple[Tensor, Tensor | None]]) -> _Sparse:
    index = torch.cat([i for i, _ in slots], 1)
    if all(factor is None for _, factor in slots):
        return _Sparse(scalar, index, None)
    ones = [torch.ones(i.shape, dtype=torch.float64, device=i.device) if f is None else f for i, f in slots]
    return _Sparse(scalar, index, torch.cat(ones, 1))


def _pieces(rows: int, width: int) -> Iterator[slice]:
    """Runs of rows that hold few enough numbers."""
    step = max(1, NUMBERS // max(width, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _add(total: Tensor, one: _Part, other: _Part, values: Tensor) -> None:
    """Add X_oneᵀ diag(values) X_other to a matrix of all parameters."""
    if isinstance(one, _Sparse):
        add = _add_sparse if isinstance(other, _Sparse) else _add_mixed
        add(total, one, other, values)  # pyright: ignore[reportArgumentType]
    elif not isinstance(other, _Sparse):
        total[one.where, other.where] += _weighted(one, other, values)


def _add_sparse(total: Tensor, one: _Sparse, other: _Sparse, values: Tensor) -> None:
    flat, width = total.view(-1), total.shape[1]
    for s in range(one.index.shape[1]):
        left, start = one.times(s, values), one.index[:, s] * width
        for t in range(s if one is other else 0, other.index.shape[1]):
            twice = 2.0 if one is other and t > s else 1.0  # slots (s, t) and (t, s)
            flat.scatter_add_(0, start + other.index[:, t], twice * other.times(t, left))


def _add_mixed(total: Tensor, one: _Sparse, other: _Full | Crossed, values: Tensor) -> None:
    """Slot by slot: few different weights are columns that `other` sums; many are added row by row."""
    for s in range(one.index.shape[1]):
        scaled, index = one.times(s, values), one.index[:, s]
        known, which = index.unique(return_inverse=True)
        if len(known) <= SEVERAL:
            for part in _pieces(len(known), len(values)):
                own = (which >= part.start) & (which < part.stop)
                columns = values.new_zeros(part.stop - part.start, len(values))
                columns[which[own] - part.start, own.nonzero()[:, 0]] = scaled[own]
                total[known[part], other.where] += other.transpose(columns)
            continue
        if isinstance(other, _Full) and other.entity is not None and _pays(len(other.matrix), total, values):
            entities = len(other.matrix)
            sums = values.new_zeros(total.shape[1] * entities)
            sums.scatter_add_(0, index * entities + other.entity, scaled)
            total[:, other.where] += sums.view(-1, entities) @ other.matrix
            continue
        for part in _pieces(len(values), _weights(other)):
            total[:, other.where].index_add_(0, index[part], other.rows(part) * scaled[part, None])


def _pays(entities: int, total: Tensor, values: Tensor) -> bool:
    """Whether sums per entity and parameter are fewer than rows times features, and fit."""
    return 8 * entities <= len(values) and entities * total.shape[1] <= 8 * NUMBERS


def _weights(part: _Full | Crossed) -> int:
    return part.where.stop - part.where.start


def _weighted(one: _Full | Crossed, other: _Full | Crossed, values: Tensor) -> Tensor:
    """X_oneᵀ diag(values) X_other, shape (weight, weight)."""
    if one.same_rows(other):
        return one.gram(other, values)  # pyright: ignore[reportArgumentType]
    if isinstance(other, _Full) and (isinstance(one, Crossed) or one.entity is not None):
        pieces = _pieces(_weights(other), max(len(values), _size(one)))
        return torch.cat([one.transpose(values * other.columns(part)) for part in pieces]).T
    if isinstance(one, _Full) and (isinstance(other, Crossed) or other.entity is not None):
        return _weighted(other, one, values).T
    found = values.new_zeros(_weights(one), _weights(other))
    for part in _pieces(len(values), max(found.shape)):
        found += one.rows(part).T @ (values[part, None] * other.rows(part))
    return found


def _size(part: _Full | Crossed) -> int:
    """Entities, or pairs of entities, of a design."""
    return len(part.matrix) if isinstance(part, _Full) else len(part.left) * len(part.right)


def _product(left: Tensor, values: Tensor, right: Tensor) -> Tensor:
    """Aᵀ diag(v) B; where both are the same matrix only what lies on and above the diagonal is multiplied."""
    same = left.data_ptr() == right.data_ptr() and left.shape == right.shape
    found = values.new_zeros(left.shape[1], right.shape[1])
    for start in range(0, left.shape[1], COLUMNS):
        columns, onwards = slice(start, start + COLUMNS), slice(start if same else 0, None)
        found[columns, onwards] = (left[:, columns] * values[:, None]).T @ right[:, onwards]
    return torch.triu(found) + torch.triu(found, 1).T if same else found


def _gathered(covariance: Tensor, one: _Sparse, other: _Sparse) -> Tensor:
    """Σ over slots of C between two scalars, (row,)."""
    flat, width = covariance.view(-1), covariance.shape[1]
    found = covariance.new_zeros(len(one.index))
    for s in range(one.index.shape[1]):
        start = one.index[:, s] * width
        for t in range(s if one is other else 0, other.index.shape[1]):
            twice = 2.0 if one is other and t > s else 1.0
            found += twice * one.times(s, other.times(t, flat[start + other.index[:, t]]))
    return found


def _between(covariance: Tensor, one: _Full | Crossed, other: _Full | Crossed) -> Tensor:
    """X C X_otherᵀ of every row, (row,)."""
    C = covariance[one.where, other.where]
    if one.same_rows(other):
        return one.variances(other, C)  # pyright: ignore[reportArgumentType]
    if isinstance(one, _Full) and isinstance(other, Crossed):
        return _between(covariance.T, other, one)
    if isinstance(other, _Full):
        pieces = _pieces(_weights(other), max(one.count, _size(one)))
        return torch.stack([(one.forward(C[:, p].T) * other.columns(p)).sum(0) for p in pieces]).sum(0)
    pieces = _pieces(one.count, max(_weights(one), _weights(other)))
    return torch.cat([((one.rows(p) @ C) * other.rows(p)).sum(1) for p in pieces])


def _mixed(covariance: Tensor, one: _Full | Crossed, other: _Sparse) -> Tensor:
    """X C X_otherᵀ of every row, (row,): slot by slot, as in `_add_mixed`."""
    C, found = covariance[one.where], covariance.new_zeros(one.count)
    rows = torch.arange(one.count, device=C.device)
    for s in range(other.index.shape[1]):
        known, which = other.index[:, s].unique(return_inverse=True)
        if len(known) <= SEVERAL:
            for part in _pieces(len(known), max(one.count, _size(one))):
                own = rows[(which >= part.start) & (which < part.stop)]
                moved = one.forward(C[:, known[part]].T)
                found[own] += other.times(
                    s, moved[which.clamp(part.start, part.stop - 1) - part.start, rows]
                )[own]
            continue
        for part in _pieces(one.count, _weights(one)):
            values = (one.rows(part) * C[:, other.index[part, s]].T).sum(1)
            found[part] += values if other.factor is None else values * other.factor[part, s]
    return found


def _put(found: Tensor, one: _Part, other: _Part, value: Tensor) -> None:
    """Add the covariance of two parts to that of their scalars, both ways."""
    a, b = one.scalar, other.scalar
    found[:, a, b] += value
    if one is not other:
        found[:, b, a] += value
