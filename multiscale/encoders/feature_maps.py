"""From what is known of entities to features: aligned letters, numbers, kernels of texts and molecules.

Every map is learned from the fitted entities and holds for others. Features X are centred on the fitted
entities and scaled so that trace(X Xᵀ)/n = 1 over them: with weights of sd σ, the energy of a typical fitted
entity has sd σ.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from multiscale.encoders.items import Item
from multiscale.encoders.kernels import Kernel
from multiscale.errors import DataError

__all__ = ["FeatureMap", "KernelFeatures", "Numbers", "OneHot", "components"]

MOST = 10_000  # entities of a kernel: the matrix of a pair each then takes 0.8 GB


class FeatureMap(ABC):
    """Features of entities: (raw features − their mean over fitted entities) · rotation · scale."""

    labels: list[str]

    def __init__(self, items: Sequence[Item], rank: int | None, rotate: bool = False) -> None:
        raw, names = self.learn(items)
        self.centre = raw.mean(0)
        centred = raw - self.centre
        rounding = len(items) * np.finfo(np.float64).eps * np.abs(raw).max()
        varies = np.ptp(raw, axis=0) > rounding
        if not varies.any():
            raise DataError(
                f"{items[0].where}: all {len(items)} entities have the same features;"
                " give a column that differs, or leave the encoder out."
            )
        if rotate or rank is not None:
            self.rotation = components(centred, rank)
            self.labels = [f"component {i + 1}" for i in range(self.rotation.shape[1])]
        else:
            self.rotation = np.eye(raw.shape[1])[:, varies]
            self.labels = [names[i] for i in np.flatnonzero(varies)]
        features = centred @ self.rotation
        self.scale = float(np.sqrt(len(items) / np.square(features).sum()))

    def __call__(self, items: Sequence[Item]) -> np.ndarray:
        """Features of entities, shape (entity, weight)."""
        return (self.raw(items) - self.centre) @ self.rotation * self.scale

    def left(self, items: Sequence[Item]) -> np.ndarray:
        """Size of what fitted entities do not say of an entity, on the scale of the features, (entity,)."""
        return np.zeros(len(items))

    @abstractmethod
    def learn(self, items: Sequence[Item]) -> tuple[np.ndarray, list[str]]:
        """Get to know the fitted entities: raw features, shape (entity, feature), and their names."""

    @abstractmethod
    def raw(self, items: Sequence[Item]) -> np.ndarray:
        """Raw features of any entities, shape (entity, feature)."""


class OneHot(FeatureMap):
    """Letters of aligned sequences: a feature for every letter that a fitted entity has at a position."""

    def learn(self, items: Sequence[Item]) -> tuple[np.ndarray, list[str]]:
        """Find the letters of every position."""
        self.length = len(items[0].cells[0])
        codes = self._codes(items)
        found = [(p, letter) for p in range(self.length) for letter in np.unique(codes[:, p])]
        self.position = np.array([p for p, _ in found])
        self.letter = np.array([letter for _, letter in found])
        return self.raw(items), [f"{p + 1}{chr(letter)}" for p, letter in found]

    def raw(self, items: Sequence[Item]) -> np.ndarray:
        """One where the letter is there."""
        return (self._codes(items)[:, self.position] == self.letter).astype(np.float64)

    def _codes(self, items: Sequence[Item]) -> np.ndarray:
        """Letters as numbers, shape (entity, position)."""
        for item in items:
            if len(item.cells[0]) != self.length or not self.length:
                raise DataError(
                    f"{item.where}: `{item.name}` has a sequence of {len(item.cells[0])} letters, others of"
                    f' {self.length}; align them, or use `kind = "spectrum"`.'
                )
        return np.array([[ord(letter) for letter in item.cells[0]] for item in items])


class Numbers(FeatureMap):
    """Numeric columns, each divided by its standard deviation over the fitted entities."""

    def __init__(self, items: Sequence[Item], rank: int | None, names: Sequence[str]) -> None:
        self.names = list(names)
        super().__init__(items, rank)

    def learn(self, items: Sequence[Item]) -> tuple[np.ndarray, list[str]]:
        """Find the standard deviations."""
        values = self._values(items)
        self.sd = np.where(np.ptp(values, axis=0) > 0, values.std(0), 1.0)  # a constant one is dropped later
        return values / self.sd, self.names

    def raw(self, items: Sequence[Item]) -> np.ndarray:
        """Values in standard deviations."""
        return self._values(items) / self.sd

    def _values(self, items: Sequence[Item]) -> np.ndarray:
        """Cells as numbers."""
        return np.array([[_number(item, i, self.names[i]) for i in range(len(self.names))] for item in items])


class KernelFeatures(FeatureMap):
    """Eigenvectors U of a kernel between fitted entities, times roots of the eigenvalues S.

    X Xᵀ is the centred kernel. Others are projected on them (Nyström): X(x) = k(x, fitted) U S^−½.

    Source: Schölkopf, Smola & Müller 1998, doi:10.1162/089976698300017467; Williams & Seeger 2000, Using the
    Nyström method to speed up kernel machines.
    """

    def __init__(self, items: Sequence[Item], rank: int | None, kernel: Kernel) -> None:
        self.kernel = kernel
        if len(items) > MOST:
            raise DataError(
                f"{items[0].where}: {len(items)} entities are too many for a kernel (at most {MOST});"
                ' use aligned sequences with `kind = "onehot"`, or numbers with `kind = "table"`.'
            )
        super().__init__(items, rank, rotate=True)

    def learn(self, items: Sequence[Item]) -> tuple[np.ndarray, list[str]]:
        """Decompose the kernel."""
        self.fitted = self.kernel.describe(items)
        values, vectors = np.linalg.eigh(self.kernel.between(self.fitted, self.fitted))
        kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
        self.projection = vectors[:, kept] / np.sqrt(values[kept])
        return vectors[:, kept] * np.sqrt(values[kept]), []

    def raw(self, items: Sequence[Item]) -> np.ndarray:
        """Project."""
        return self.kernel.between(self.kernel.describe(items), self.fitted) @ self.projection

    def left(self, items: Sequence[Item]) -> np.ndarray:
        """√(k(x, x) − |projection|²), with k(x, x) = 1."""
        return self.scale * np.sqrt((1.0 - np.square(self.raw(items)).sum(1)).clip(min=0.0))


def components(centred: np.ndarray, rank: int | None) -> np.ndarray:
    """Directions of largest variance, shape (feature, component); the largest entry of each is positive."""
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    kept = values > values[0] * max(centred.shape) * np.finfo(np.float64).eps
    found = directions[kept][:rank].T
    largest = found[np.abs(found).argmax(0), np.arange(found.shape[1])]
    return found * np.sign(largest)


def _number(item: Item, i: int, column: str) -> float:
    """Read a cell."""
    try:
        value = float(item.cells[i])
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(
            f"{item.where}: `{item.name}` needs a finite number in `{column}`; got `{item.cells[i]}`;"
            " fill it in or drop the column."
        )
    return value
