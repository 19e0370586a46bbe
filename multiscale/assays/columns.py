"""Columns of tidy tables: which must be there, which may, and what their cells must hold.

Every message names file and row. The index of a table says where a row is: a table read from a file has an
index called `line`, with line numbers of that file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multiscale.errors import AssayError, nearest

__all__ = ["NOTES", "choice", "notes", "number", "place", "positive_number", "refuse", "require", "text"]

NOTES: dict[str, str] = {
    "id": "identifier of the row",
    "label": "name to show",
    "population": "what was measured, where several share a context",
    "state": "state of the cells",
    "method": "instrument or procedure",
    "spread": "spread as published",
    "n": "replicates as published",
    "reference": "citation",
    "doi": "DOI",
    "pmid": "PubMed identifier",
    "source_url": "where the value was read",
    "source_kind": "what kind of source that is",
    "evidence_grade": "how good the evidence is",
    "caveat": "what to be careful with",
    "note": "anything else",
}
"""Columns that any table may carry along; they are kept and never read."""


def require(table: pd.DataFrame, known: Mapping[str, str], required: Iterable[str], where: str) -> None:
    """Check that a table has the required columns and no unknown ones.

    Args:
        table: as the user wrote it.
        known: columns that the reader understands, with their meaning.
        required: columns that must be there.
        where: file name.

    Raises:
        AssayError: a column is missing, unknown or doubled, or there is no row.
    """
    columns = [str(column) for column in table.columns]
    for column in columns:
        if column not in known:
            raise AssayError(f"{where}: unknown column `{column}`; {nearest(column, known)}")
        if columns.count(column) > 1:
            raise AssayError(f"{where}: column `{column}` occurs twice; remove or rename one.")
    missing = [column for column in required if column not in columns]
    if missing:
        wanted = ", ".join(f"`{column}` ({known[column]})" for column in missing)
        raise AssayError(f"{where}: column {wanted} is missing; got {', '.join(columns)}.")
    if table.empty:
        raise AssayError(f"{where}: the table has no row; give at least one measurement.")


def text(table: pd.DataFrame, column: str, where: str, default: str | None = None) -> NDArray[np.object_]:
    """Read a column as text, without surrounding blanks.

    Args:
        table: with or without the column.
        column: its name.
        where: file name.
        default: for blank cells and a missing column; None refuses blank cells.

    Returns:
        one string per row.

    Raises:
        AssayError: a cell is blank and there is no default.
    """
    given = table[column].tolist() if column in table else [""] * len(table)
    cells = np.array(["" if pd.isna(cell) else str(cell).strip() for cell in given], dtype=object)
    blank = cells == ""
    if default is None and blank.any():
        refuse(table, blank, where, f"`{column}` is blank; fill it or drop the row")
    cells[blank] = default
    return cells


def number(table: pd.DataFrame, column: str, where: str) -> NDArray[np.float64]:
    """Read a column of numbers; blank cells, and a missing column, are NaN.

    Raises:
        AssayError: a cell is neither blank nor a finite number.
    """
    cells = text(table, column, where, default="")
    values = np.array([_parse(cell) for cell in cells], dtype=np.float64)
    wrong = (cells != "") & ~np.isfinite(values)
    if wrong.any():
        refuse(table, wrong, where, f"`{column}` must be a finite number; got `{cells[wrong][0]}`")
    return values


def positive_number(table: pd.DataFrame, column: str, where: str) -> NDArray[np.float64]:
    """Read a column of positive numbers; blank cells, and a missing column, are NaN.

    Raises:
        AssayError: a cell is neither blank nor positive.
    """
    values = number(table, column, where)
    wrong = values <= 0
    if wrong.any():
        refuse(table, wrong, where, f"`{column}` must be positive; got {values[wrong][0]:g}")
    return values


def choice(
    table: pd.DataFrame, column: str, where: str, allowed: Iterable[str], default: str
) -> NDArray[np.object_]:
    """Read a column whose cells are one of a few words.

    Raises:
        AssayError: another word is used; the nearest allowed one is suggested.
    """
    cells = text(table, column, where, default)
    words = list(allowed)
    wrong = ~np.isin(cells, words)
    if wrong.any():
        got = cells[wrong][0]
        refuse(table, wrong, where, f"`{column}` is `{got}`; {nearest(got, words).rstrip('.')}")
    return cells


def notes(table: pd.DataFrame) -> pd.DataFrame:
    """Columns that are carried along, with entries numbered from 0."""
    carried = {column: table[column].to_numpy() for column in table.columns if column in NOTES}
    return pd.DataFrame(carried, index=pd.RangeIndex(len(table), name="entry"))


def place(table: pd.DataFrame, wrong: NDArray[np.bool_], where: str) -> str:
    """Say where the first wrong row is: file, row and the number of further ones.

    >>> table = pd.DataFrame({"value": [1, 2, 3]}, index=pd.Index([2, 3, 4], name="line"))
    >>> place(table, np.array([False, True, True]), "affinities.tsv")
    'affinities.tsv, line 3 (and 1 more)'
    """
    rows = table.index[wrong]
    word = "line" if table.index.name == "line" else "row"
    more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
    return f"{where}, {word} {rows[0]}{more}"


def refuse(table: pd.DataFrame, wrong: NDArray[np.bool_], where: str, problem: str) -> None:
    """Raise the error that names the first wrong row."""
    raise AssayError(f"{place(table, wrong, where)}: {problem}.")


def _parse(cell: str) -> float:
    """Read a number; NaN where there is none. Thousands separators are refused rather than guessed at."""
    try:
        return float(cell)
    except ValueError:
        return float("nan")
