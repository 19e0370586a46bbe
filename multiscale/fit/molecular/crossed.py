"""Products with designs of pairs of entities, X = A[first] ⊗ B[second], which are never written out.

Energies of pairs have as many weights as features on one side times those on the other. Summed over the
pairs, XᵀDX is Σ_d (a_d a_dᵀ) ⊗ (Σ_k h_dk b_k b_kᵀ), which costs as much as one side's products times the
other's entities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Crossed"]

ENTITIES = 16  # whose half of a covariance is in memory at once


@dataclass(frozen=True, eq=False)
class Crossed:
    """Features of one scalar: where their weights W[a, b] lie in w (b fastest), and the entities of every
    row.

    Args:
        scalar: which one of a row.
        where: place of the weights among all.
        left: A, features of entities of one kind, shape (entity, a).
        right: B, shape (entity, b).
        first: entity on the left of every row.
        second: entity on the right.
    """

    scalar: int
    where: slice
    left: Tensor
    right: Tensor
    first: Tensor
    second: Tensor

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.first)

    def rows(self, part: slice) -> Tensor:
        """Features of some rows, (row, weight)."""
        left, right = self.left[self.first[part]], self.right[self.second[part]]
        return (left[:, :, None] * right[:, None]).flatten(1)

    def forward(self, weights: Tensor) -> Tensor:
        """X w, (start, weight) → (start, row)."""
        shaped = weights.unflatten(-1, (self.left.shape[1], self.right.shape[1]))
        return (self.left @ shaped @ self.right.T)[..., self.first, self.second]

    def transpose(self, g: Tensor) -> Tensor:
        """Xᵀ g, (start, row) → (start, weight)."""
        return (self.left.T @ (self._summed(g) @ self.right)).flatten(1)

    def same_rows(self, other: object) -> bool:
        """Whether another design is about the same pairs, row by row."""
        return (
            isinstance(other, Crossed)
            and (len(self.left), len(self.right)) == (len(other.left), len(other.right))
            and torch.equal(self.first, other.first)
            and torch.equal(self.second, other.second)
        )

    def gram(self, other: Crossed, values: Tensor) -> Tensor:
        """Xᵀ diag(values) Y for Y about the same rows, (weight, weight of the other)."""
        sums = self._summed(values)
        inner = sums @ (self.right[:, :, None] * other.right[:, None]).flatten(
            1
        )  # Σ_k h_dk b_k b_kᵀ, (d, b · b')
        outer = (self.left[:, :, None] * other.left[:, None]).flatten(1)
        a, b, c, d = (part.shape[1] for part in (self.left, self.right, other.left, other.right))
        return (outer.T @ inner).reshape(a, c, b, d).transpose(1, 2).reshape(a * b, c * d)

    def variances(self, other: Crossed, covariance: Tensor) -> Tensor:
        """X C Yᵀ of every row, for Y about the same rows and C between their weights, (row,)."""
        a, b, c, d = (part.shape[1] for part in (self.left, self.right, other.left, other.right))
        found = covariance.new_empty(self.count)
        known, entity = self.first.unique(return_inverse=True)
        runs = torch.argsort(entity).split(torch.bincount(entity).tolist())
        by_entity = covariance.reshape(a, b * c * d)
        for start in range(0, len(known), ENTITIES):
            some = known[start : start + ENTITIES]
            halves = (self.left[some] @ by_entity).reshape(len(some), b, c, d)
            inner = torch.einsum("ec,ebcd->ebd", other.left[some], halves)
            for matrix, rows in zip(inner, runs[start : start + ENTITIES], strict=False):
                found[rows] = (
                    (self.right[self.second[rows]] @ matrix) * other.right[other.second[rows]]
                ).sum(1)
        return found

    def _summed(self, values: Tensor) -> Tensor:
        """Sums of rows by pair of entities, (..., row) → (..., entity, entity)."""
        size = len(self.left) * len(self.right)
        keys = self.first * len(self.right) + self.second
        total = values.new_zeros(*values.shape[:-1], size)
        total.scatter_add_(-1, keys.expand(values.shape), values)
        return total.unflatten(-1, (len(self.left), len(self.right)))
