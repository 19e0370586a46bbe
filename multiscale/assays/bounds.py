"""Values of which some are bounds: by a mark, by a word beside it, or by a number that means "not seen"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multiscale.assays.cells import find, numbers, refuse_row
from multiscale.assays.columns import text
from multiscale.errors import AssayError, nearest

__all__ = ["CENSORING", "Bounds"]

CENSORING = {"=": 0, "~": 0, "": 0, "<": -1, "<=": -1, "≤": -1, ">": 1, ">=": 1, "≥": 1}
"""Which way a bound points: the truth is above (1) or below (−1) what is stated."""

MARKED = r"^\s*(<=|>=|[<>=~≤≥])?\s*(.*)$"


@dataclass(frozen=True)
class Bounds:
    """How a table says that a value is a bound.

    Args:
        column: of the relation; None if there is none.
        relations: what words in that column mean, as `=`, `<` or `>`.
        limit: bound of rows whose relation is one and whose value is blank.
        censored_at: a value that means "not seen up to here".

    Raises:
        AssayError: a relation means none of `=`, `<` and `>`.
    """

    column: str | None
    relations: Mapping[str, str]
    limit: float | None
    censored_at: float | None

    def __post_init__(self) -> None:
        """Check the meanings of words."""
        for word, meaning in self.relations.items():
            if meaning not in CENSORING:
                hint = nearest(str(meaning), ("=", "<", ">"))
                raise AssayError(f"`relations`: `{word}` means `{meaning}`; {hint}")

    def read(
        self, table: pd.DataFrame, column: str, where: str
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Read values or bounds as written, and which way the bounds point.

        Args:
            table: rows.
            column: of the values, which may bear marks such as `>10000`.
            where: file name.

        Raises:
            AssayError: a value is no number, blank, or beyond `censored_at`; or a relation is unknown.

        >>> table = pd.DataFrame({"Kd": ["3", ">10", "10"]})
        >>> [part.tolist() for part in Bounds(None, {}, None, None).read(table, "Kd", "table")]
        [[3.0, 10.0, 10.0], [0, 1, 0]]
        """
        marks, plain = _split_marks(table, column)
        value = numbers(plain, column, where, blank=True)
        censoring = np.where(marks == 0, self._relations(table, where), marks)
        bound = censoring != 0
        if self.limit is not None:
            value = np.where(bound & np.isnan(value), self.limit, value)
        if self.censored_at is not None:
            beyond = (value > self.censored_at) & ~bound
            if beyond.any():
                problem = f"`{column}` is {value[beyond][0]:g}, beyond `censored_at` = {self.censored_at:g}"
                refuse_row(table, beyond, where, f"{problem}; correct one of them")
            censoring = np.where(value == self.censored_at, 1, censoring)
        blank = np.isnan(value)
        if blank.any():
            remedy = "state the bound, or give the option `limit`" if bound[blank][0] else "drop the row"
            refuse_row(table, blank, where, f"`{column}` is blank; {remedy}")
        return value, censoring

    def _relations(self, table: pd.DataFrame, where: str) -> NDArray[np.int64]:
        """Which way bounds point, 0 where the value is exact."""
        if self.column is None:
            return np.zeros(len(table), dtype=np.int64)
        column = find(table, self.column, {}, where)
        known = {**CENSORING, **{word: CENSORING[meaning] for word, meaning in self.relations.items()}}
        codes, cells = pd.factorize(text(table, column, where, ""))
        for code, cell in enumerate(cells):
            if cell not in known:
                hint = nearest(cell, [*self.relations, "=", "<", ">"]).rstrip(".")
                remedy = "explain words with the option `relations`, or drop the row"
                refuse_row(table, codes == code, where, f"`{column}` is `{cell}`; {hint}; {remedy}")
        return np.array([known[cell] for cell in cells], dtype=np.int64)[codes]


def _split_marks(table: pd.DataFrame, column: str) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Which way marks before the values point, 0 where there is none, and the table without the marks."""
    cells = table[column]
    if pd.api.types.is_numeric_dtype(cells):
        return np.zeros(len(table), dtype=np.int64), table
    parts = cells.astype("string").str.extract(MARKED).fillna("")
    codes, marks = pd.factorize(parts[0])
    sides = np.array([CENSORING[mark] for mark in marks], dtype=np.int64)
    return sides[codes], table.assign(**{column: parts[1].astype(object)})
