"""Features of entities of one kind, learned from fitted rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from multiscale.data import Readings
from multiscale.encoders.feature_maps import FeatureMap, KernelFeatures, Numbers, OneHot
from multiscale.encoders.items import Item, items_from_rows
from multiscale.encoders.kernels import Aligned, Morgan, Spectrum
from multiscale.encoders.places import place
from multiscale.errors import DataError, nearest

if TYPE_CHECKING:
    from multiscale.encoders.sources import FeatureSource

__all__ = ["OTHERS", "BoundEntities", "BoundSource", "entities_of"]

OTHERS = "others"
"""Weight of what entities that were not fitted have of their own. They share it: each by itself is then as
uncertain as the prior says."""


class BoundSource(ABC):
    """Features of one kind of entity, learned from fitted rows.

    Attributes:
        names: fitted entities.
        labels: names of the features.
    """

    names: list[str]
    labels: list[str]

    @abstractmethod
    def features(self, readings: Readings) -> tuple[np.ndarray, np.ndarray]:
        """Features of the entities of these rows.

        Returns:
            features, shape (entity, weight), and the entity of every row, shape (row,).

        Raises:
            DataError: nothing is known of an entity, or its cell is no sequence, molecule or number.
        """


def entities_of(readings: Readings, kind: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Entities that rows are about.

    Returns:
        their names, the first row about each, and which of them every row is about.

    Raises:
        DataError: rows are about no such kind.
    """
    if kind not in readings.entities:
        hint = nearest(kind, readings.entities)
        raise DataError(f"`{readings.name}`: rows are about no `{kind}`; {hint}")
    entities = readings.entities[kind]
    used, first, entity = np.unique(entities.codes, return_index=True, return_inverse=True)
    return [entities.names[code] for code in used], first, entity


class BoundEntities(BoundSource):
    """Features from what is known of every entity: a weight of its own, cells, kernels."""

    def __init__(self, source: FeatureSource, readings: Sequence[Readings]) -> None:
        self.source = source
        self.table = source.open()
        found = {item.name: item for part in readings for item in self._items(part)[0]}
        self.names = list(found)
        self.weight_of = {name: i for i, name in enumerate(self.names)}
        known = [item for item in found.values() if item.known]
        if not known:
            raise DataError(
                f"nothing is known of any `{source.entity}`; fill in {', '.join(self._columns())}."
            )
        self.map = self._learn(known)
        self.labels = [*(self.names if self.map is None else self.map.labels)]
        if source.unseen == "prior":
            self.labels.append(OTHERS)

    def features(self, readings: Readings) -> tuple[np.ndarray, np.ndarray]:
        """Features of the entities of these rows; see `BoundSource`."""
        items, entity = self._items(readings)
        features = np.zeros((len(items), len(self.labels)))
        if self.map is None:
            own = self._weights(items)
            features[own >= 0, own[own >= 0]] = 1.0
        known = np.array([item.known for item in items])
        those = [item for item in items if item.known]
        if self.map is not None and those:
            features[known, : len(self.map.labels)] = self.map(those)
        if self.source.unseen == "prior":
            features[:, -1] = self._weights(items) < 0
            if self.map is not None and those:
                features[known, -1] *= self.map.left(those)
        return features, entity

    def index(self, readings: Readings) -> np.ndarray:
        """Position of the one weight of every row's entity among those of `identity`, −1 if not fitted."""
        items, entity = self._items(readings)
        return self._weights(items)[entity]

    def _weights(self, items: Sequence[Item]) -> np.ndarray:
        """Position of an entity among the fitted ones, −1 if it is not one."""
        return np.array([self.weight_of.get(item.name, -1) for item in items], dtype=np.int64)

    def _columns(self) -> list[str]:
        """Names of the columns that are read."""
        if self.source.kind == "identity":
            return []
        return self.source.columns or [] if self.table is None else self.table.columns

    def _learn(self, items: Sequence[Item]) -> FeatureMap | None:
        """The map of the kind; None for `identity`."""
        source = self.source
        if source.kind == "onehot":
            return OneHot(items, source.rank)
        if source.kind == "spectrum":
            return KernelFeatures(items, source.rank, Spectrum(source.k))
        if source.kind == "morgan":
            return KernelFeatures(items, source.rank, Morgan(source.radius, source.bits))
        if source.kind == "aligned":
            return KernelFeatures(items, source.rank, Aligned(source.weights, source.overall))
        return Numbers(items, source.rank, self._columns()) if source.kind == "table" else None

    def _items(self, readings: Readings) -> tuple[list[Item], np.ndarray]:
        """Entities that these rows are about, and which of them each row is about."""
        names, first, entity = entities_of(readings, self.source.entity)
        if self.table is None:
            items = items_from_rows(readings, self._columns(), names, first, entity)
        else:
            rows = zip(names, first, strict=True)
            items = [self.table.item(name, place(readings, int(row))) for name, row in rows]
        if self.source.missing == "refuse":
            self._refuse(items)
        return items, entity

    def _refuse(self, items: Sequence[Item]) -> None:
        """Refuse entities of which nothing is known."""
        for item in items:
            if not item.known:
                column = self._columns()[item.cells.index("")]
                file = "" if self.table is None or item.name in self.table.items else f" in {self.table.file}"
                raise DataError(
                    f"{item.where}: {self.source.entity} `{item.name}` has no `{column}`{file}; fill it in,"
                    ' leave its rows out, or set `missing = "mean"`.'
                )
