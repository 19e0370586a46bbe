"""Readings of the molecular scale: rows of a file, each a vessel of its own, and what encoders know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from multiscale.assays import Instrument
from multiscale.data.sequences import Sequences
from multiscale.errors import DataError

__all__ = ["Entities", "Readings"]


@dataclass(frozen=True, eq=False)
class Entities:
    """Which entity (drug, receptor, peptide...) every row is about.

    Args:
        codes: index into `names`, shape (row,).
        names: of the entities, unique.
    """

    codes: np.ndarray
    names: tuple[str, ...]

    def take(self, rows: np.ndarray) -> Entities:
        """Some rows; the names stay."""
        return replace(self, codes=self.codes[rows])


@dataclass(frozen=True, eq=False)
class Readings:
    """What one instrument read.

    Args:
        name: of the readings in the problem, such as `binding`.
        instrument: how the rows are read.
        rows: columns of the file that identify the rows (all but the measurements), index `line` of the file.
        arrays: numbers of the instrument, see `Instrument.prepare`.
        sequences: per molecule its aligned sequence in every row.
        entities: per kind (`drug`, `kinase`...) which one every row is about.
        conditions: per row: concentrations in µM by name of the molecule (total, or free where the graph
            calls it constant), `temperature` in K, `denaturant` in M.
        split: label of every row, such as training or validation; None if there is none.
        provenance: file and what was done (JSON-able).
    """

    name: str
    instrument: Instrument
    rows: pd.DataFrame
    arrays: dict[str, np.ndarray]
    sequences: Mapping[str, Sequences] = field(default_factory=dict)
    entities: Mapping[str, Entities] = field(default_factory=dict)
    conditions: Mapping[str, np.ndarray] = field(default_factory=dict)
    split: np.ndarray | None = None
    provenance: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that everything has as many rows."""
        count = len(self.rows)
        parts = {**self.arrays, **self.conditions}
        parts |= {f"sequence of {name}": s.codes for name, s in self.sequences.items()}
        parts |= {f"entity {name}": e.codes for name, e in self.entities.items()}
        for name, part in parts.items():
            if len(part) != count:
                raise DataError(f"`{self.name}`: {name} has {len(part)} rows, the table has {count}.")

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    def take(self, rows: np.ndarray) -> Readings:
        """Some rows: a mask, or positions."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(
            self,
            rows=self.rows.iloc[rows],
            arrays={name: array[rows] for name, array in self.arrays.items()},
            sequences={name: part.take(rows) for name, part in self.sequences.items()},
            entities={name: part.take(rows) for name, part in self.entities.items()},
            conditions={name: array[rows] for name, array in self.conditions.items()},
            split=None if self.split is None else self.split[rows],
        )

    def where(self, *labels: str) -> Readings:
        """The rows whose `split` is one of these labels.

        Raises:
            DataError: there is no split, or no such label.
        """
        known = [] if self.split is None else sorted(set(self.split.tolist()))
        for label in labels:
            if label not in known:
                raise DataError(
                    f"`{self.name}` has no rows of split `{label}`; it has {', '.join(known) or 'no split'}."
                )
        assert self.split is not None
        return self.take(np.isin(self.split, labels))
