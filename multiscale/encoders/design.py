"""How rows depend on the weights of an encoder: energies per row that are linear in the weights.

An encoder gives a design per family of weights; energy of row i = Σ_f X_if w_f. A few layouts cover all
cases, each with what the curvature of a fit needs: products with weights, their transpose, and Xᵀ D X for a
diagonal D.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Dense", "Design", "Indexed", "Pairs", "Weighted"]


class Design(ABC):
    """X, shape (row, weight)."""

    rows: int
    weights: int

    @abstractmethod
    def forward(self, weights: Tensor) -> Tensor:
        """X w: shape (..., weight) → (..., row); differentiable."""

    @abstractmethod
    def take(self, rows: Tensor) -> Design:
        """Some rows, by position."""

    @abstractmethod
    def columns(self) -> tuple[Tensor, Tensor | None]:
        """Sparse rows: positions of weights (row, slot), −1 where empty, and their factors (None = 1)."""

    @abstractmethod
    def to(self, device: torch.device) -> Design:
        """The same on a device."""


class Indexed(Design):
    """Every row adds up a few weights: `index` (row, slot), int64, −1 where a slot is empty."""

    def __init__(self, index: Tensor, weights: int) -> None:
        self.index, self.weights, self.rows = index, weights, len(index)

    def forward(self, weights: Tensor) -> Tensor:
        """Sum the weights of every row."""
        padded = torch.nn.functional.pad(weights, (0, 1))
        return padded[..., self.index].sum(-1)

    def take(self, rows: Tensor) -> Indexed:
        """Some rows."""
        return Indexed(self.index[rows], self.weights)

    def columns(self) -> tuple[Tensor, Tensor | None]:
        """The index itself."""
        return self.index, None

    def to(self, device: torch.device) -> Indexed:
        """Move to a device."""
        return Indexed(self.index.to(device), self.weights)


class Dense(Design):
    """Every row weighs all features: features of entities (entity, weight), and the entity of every row.

    Rows of one entity share its features, so that they are stored once.
    """

    def __init__(self, matrix: Tensor, entity: Tensor | None = None) -> None:
        self.matrix, self.weights = matrix, matrix.shape[1]
        self.entity = entity
        self.rows = len(matrix) if entity is None else len(entity)

    def forward(self, weights: Tensor) -> Tensor:
        """Weighted sum of features."""
        values = weights @ self.matrix.T
        return values if self.entity is None else values[..., self.entity]

    def take(self, rows: Tensor) -> Dense:
        """Some rows."""
        return Dense(self.matrix[rows]) if self.entity is None else Dense(self.matrix, self.entity[rows])

    def columns(self) -> tuple[Tensor, Tensor | None]:
        """All weights in every row."""
        every = torch.arange(self.weights, device=self.matrix.device).expand(self.rows, -1)
        return every, self.matrix if self.entity is None else self.matrix[self.entity]

    def to(self, device: torch.device) -> Dense:
        """Move to a device."""
        return Dense(self.matrix.to(device), None if self.entity is None else self.entity.to(device))


class Weighted(Design):
    """Every row weighs a few weights: `index` as for `Indexed`, and `factors`, shape (row, slot)."""

    def __init__(self, index: Tensor, factors: Tensor, weights: int) -> None:
        self.index, self.factors, self.weights, self.rows = index, factors, weights, len(index)

    def forward(self, weights: Tensor) -> Tensor:
        """Weighted sum of the weights of every row."""
        padded = torch.nn.functional.pad(weights, (0, 1))
        return (padded[..., self.index] * self.factors).sum(-1)

    def take(self, rows: Tensor) -> Weighted:
        """Some rows."""
        return Weighted(self.index[rows], self.factors[rows], self.weights)

    def columns(self) -> tuple[Tensor, Tensor]:
        """The index and the factors themselves."""
        return self.index, self.factors

    def to(self, device: torch.device) -> Weighted:
        """Move to a device."""
        return Weighted(self.index.to(device), self.factors.to(device), self.weights)


class Pairs(Design):
    """Every row is a pair of entities; energy Σ_ab left[d, a] W[a, b] right[k, b], W flattened with b
    fastest.

    Features of entities are stored once; those of pairs are made only by `columns`, so take few rows before.

    Args:
        left: features of entities of one kind, shape (entity, a).
        right: of the other kind, shape (entity, b).
        first: entity on the left of every row, shape (row,).
        second: entity on the right.
    """

    def __init__(self, left: Tensor, right: Tensor, first: Tensor, second: Tensor) -> None:
        self.left, self.right, self.first, self.second = left, right, first, second
        self.rows, self.weights = len(first), left.shape[1] * right.shape[1]

    def forward(self, weights: Tensor) -> Tensor:
        """Energies of the pairs: of all pairs at once where that is less work, else row by row."""
        half = self.left @ weights.unflatten(-1, (self.left.shape[1], self.right.shape[1]))
        if len(self.left) * len(self.right) <= self.rows * self.right.shape[1]:
            return (half @ self.right.T)[..., self.first, self.second]
        return (half[..., self.first, :] * self.right[self.second]).sum(-1)

    def take(self, rows: Tensor) -> Pairs:
        """Some rows."""
        return Pairs(self.left, self.right, self.first[rows], self.second[rows])

    def columns(self) -> tuple[Tensor, Tensor]:
        """All weights in every row, with products of features."""
        every = torch.arange(self.weights, device=self.left.device).expand(self.rows, -1)
        factors = self.left[self.first][:, :, None] * self.right[self.second][:, None, :]
        return every, factors.flatten(1)

    def to(self, device: torch.device) -> Pairs:
        """Move to a device."""
        return Pairs(*(part.to(device) for part in (self.left, self.right, self.first, self.second)))
