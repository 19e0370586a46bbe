"""Single cells: several modalities of one set of cells, each in memory or on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from multiscale.assays.channels import Channel
from multiscale.data.interventions import Interventions
from multiscale.data.match import shorten
from multiscale.errors import DataError, nearest

__all__ = ["Cells", "Codes", "Modality", "Source"]


class Source(ABC):
    """Readings of one modality, wherever they lie.

    Attributes:
        shape: (row, feature).
        on_disk: whether neighbouring rows are cheaper to read together.
    """

    shape: tuple[int, int]
    on_disk: bool

    @abstractmethod
    def rows(self, index: np.ndarray) -> sparse.csr_array | np.ndarray:
        """Some rows, in the order asked for, float32; sparse where the source is.

        Args:
            index: positions, int64, shape (row,).
        """


@dataclass(frozen=True, eq=False)
class Codes:
    """A label per cell: its number, and the names of all labels.

    Args:
        names: of the labels.
        codes: label of every cell, int64, shape (cell,).
    """

    names: tuple[str, ...]
    codes: np.ndarray

    def take(self, keep: np.ndarray) -> Codes:
        """Those of some cells; names stay."""
        return replace(self, codes=self.codes[keep])


@dataclass(frozen=True, eq=False)
class Modality:
    """Readings of one kind of some or all cells.

    Args:
        name: of the modality.
        channel: what is read, and its noise.
        features: names, unique.
        source: readings.
        columns: column of the source of every feature, int64, shape (feature,).
        rows: row of the source of every cell, −1 where the cell was not measured, int64, shape (cell,).
        size: size factor of every cell, 1 on average, shape (cell,).
        hidden: entries that do not count, shape (cell, feature), or None.
        provenance: where the readings come from, in words that JSON can hold.
    """

    name: str
    channel: Channel
    features: tuple[str, ...]
    source: Source
    columns: np.ndarray
    rows: np.ndarray
    size: np.ndarray
    hidden: sparse.csr_array | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Say what was read, of how many cells."""
        measured = int((self.rows >= 0).sum())
        return f"{self.name}: {type(self.channel).__name__}, {measured} cells × {len(self.features)} features"

    def take(self, keep: np.ndarray) -> Modality:
        """Some of the cells."""
        hidden = None if self.hidden is None else sparse.csr_array(self.hidden[keep])
        return replace(self, rows=self.rows[keep], size=self.size[keep], hidden=hidden)

    def only(self, features: Sequence[str]) -> Modality:
        """Some of the features, in this order.

        Raises:
            DataError: one is not there.
        """
        position = {name: i for i, name in enumerate(self.features)}
        for name in features:
            if name not in position:
                raise DataError(f"`{self.name}` has no feature `{name}`; {nearest(name, position)}")
        chosen = np.array([position[name] for name in features], dtype=np.int64)
        hidden = None if self.hidden is None else sparse.csr_array(self.hidden[:, chosen])
        return replace(self, features=tuple(features), columns=self.columns[chosen], hidden=hidden)

    def values(self, cells: np.ndarray) -> np.ndarray:
        """Readings of some cells, dense float32, shape (cell, feature); 0 where the cell was not measured."""
        rows = self.rows[cells]
        measured = rows >= 0
        found = np.zeros((len(cells), len(self.features)), dtype=np.float32)
        if measured.any():
            part = self.source.rows(rows[measured])[:, self.columns]
            found[measured] = part.toarray() if sparse.issparse(part) else part  # pyright: ignore[reportAttributeAccessIssue]
        return found


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells with the modalities that measured them; a cell may lack some.

    Args:
        obs: covariates, one row per cell; index = names of the cells, unique.
        modalities: by name, at least one.
        batch: batch of every cell: calibrations may differ between them.
        condition: condition of every cell: what was done to it, by name.
        interventions: what the conditions are, physically; its contexts are names of conditions.
        neighbours: affinities between cells (such as `obsp['connectivities']`), shape (cell, cell), or None.
        provenance: where the cells come from, in words that JSON can hold.
    """

    obs: pd.DataFrame
    modalities: Mapping[str, Modality]
    batch: Codes
    condition: Codes
    interventions: Interventions = field(default_factory=Interventions)
    neighbours: sparse.csr_array | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that everything is about the same cells."""
        if not len(self.obs) or not self.modalities:
            raise DataError("there are no cells, or nothing measured them; check `assays` and the filter.")
        twice = self.obs.index[self.obs.index.duplicated()]
        if len(twice):
            raise DataError(f"cell `{twice[0]}` occurs twice; make names unique: obs_names_make_unique().")
        sizes = {
            "batch": len(self.batch.codes),
            "condition": len(self.condition.codes),
            **{name: len(part.rows) for name, part in self.modalities.items()},
        }
        for name, size in sizes.items():
            if size != len(self.obs):
                raise DataError(f"`{name}` is about {size} cells, `obs` about {len(self.obs)}.")
        self.interventions.check_contexts(list(self.condition.names))

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.obs)

    def __repr__(self) -> str:
        """Say how many there are, and a line per modality."""
        names = (("batches", self.batch.names), ("conditions", self.condition.names))
        labels = "; ".join(f"{what}: {shorten(part)}" for what, part in names)
        return "\n    ".join([f"{len(self)} cells; {labels}", *map(repr, self.modalities.values())])

    def take(self, keep: np.ndarray) -> Cells:
        """Some of the cells: flags, or positions in the wanted order."""
        keep = np.flatnonzero(keep) if np.asarray(keep).dtype == bool else np.asarray(keep)
        near = None if self.neighbours is None else sparse.csr_array(self.neighbours[keep][:, keep])
        return replace(
            self,
            obs=self.obs.iloc[keep],
            modalities={name: part.take(keep) for name, part in self.modalities.items()},
            batch=self.batch.take(keep),
            condition=self.condition.take(keep),
            neighbours=near,
        )

    def only(self, name: str, features: Sequence[str]) -> Cells:
        """With some of the features of one modality."""
        return replace(self, modalities={**self.modalities, name: self._part(name).only(features)})

    def without(self, *names: str) -> Cells:
        """Without some modalities."""
        for name in names:
            self._part(name)
        return replace(self, modalities={n: m for n, m in self.modalities.items() if n not in names})

    def hide(self, name: str, entries: np.ndarray | sparse.csr_array) -> Cells:
        """With entries of one modality that do not count, shape (cell, feature), to be predicted."""
        part = self._part(name)
        if entries.shape != (len(self), len(part.features)):
            raise DataError(
                f"`entries` of `{name}`: shape {entries.shape} is not {(len(self), len(part.features))}."
            )
        hidden = sparse.csr_array(entries, dtype=bool)
        hidden = hidden if part.hidden is None else sparse.csr_array(hidden + part.hidden)
        return replace(self, modalities={**self.modalities, name: replace(part, hidden=hidden)})

    def with_interventions(self, interventions: Interventions) -> Cells:
        """With what conditions are, physically."""
        return replace(self, interventions=interventions)

    def _part(self, name: str) -> Modality:
        if name not in self.modalities:
            raise DataError(f"no modality is called `{name}`; {nearest(name, self.modalities)}")
        return self.modalities[name]
