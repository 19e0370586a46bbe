"""What a format of variant tables says of its columns without being asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from multiscale.assays import Instrument
from multiscale.formats.variants.notation import Notation
from multiscale.formats.variants.sequence_columns import SequenceColumn

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """A format of tables with one row per variant.

    Args:
        name: of the format.
        wild_type: values of columns that mark the wild type; None where files do not mark it.
        aligned: rows that have an aligned sequence: values of columns, used where the file has the column.
        without_stop: the same, for alphabets without stop.
        notations: columns whose sequences are written as mutations.
        measurements: pattern of columns that hold measurements.
        convert: turn the table of a file (table, instrument, file name, measured) into one row per reading.
        all_text: whether all cells are read as text.
    """

    name: str
    wild_type: Mapping[str, object] | None = None
    aligned: Mapping[str, object] = field(default_factory=dict)
    without_stop: Mapping[str, object] = field(default_factory=dict)
    notations: Mapping[str, Notation] = field(default_factory=dict)
    measurements: str = ""
    convert: Callable[[pd.DataFrame, Instrument, str, bool], pd.DataFrame] | None = None
    all_text: bool = False

    def usual_rows(self, table: pd.DataFrame, stops: bool) -> dict[str, object]:
        """Rows that are kept if nothing else is said; `stops`: whether the alphabet has a stop."""
        wanted = {**self.aligned, **({} if stops else self.without_stop)}
        return {column: value for column, value in wanted.items() if column in table}

    def sequence(self, column: SequenceColumn) -> SequenceColumn:
        """A column with the notation of this format."""
        return replace(column, notation=self.notations.get(column.column, column.notation))

    def is_measured(self, column: str) -> bool:
        """Whether a column holds measurements."""
        return bool(self.measurements) and re.fullmatch(self.measurements, column) is not None
