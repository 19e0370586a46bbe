"""Cells of large tables: numbers, counts and groups of many rows at once; errors name file, line, variant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multiscale.assays.columns import place
from multiscale.errors import AssayError, nearest

__all__ = [
    "EVERY",
    "LEAST_SPREAD",
    "counts",
    "encode_groups",
    "find",
    "groups",
    "named_columns",
    "no_numbers",
    "numbers",
    "positives",
    "refuse_row",
]

EVERY = "all"
"""Label of the group of all rows, where no column tells groups apart."""

LEAST_SPREAD = 1e-3
"""Sd, in ln units, of what all rows state alike: no prior can have sd 0."""

VARIANT_COLUMNS = (
    "variant",
    "mutation",
    "mutations",
    "mutant",
    "hgvs_pro",
    "hgvs_nt",
    "aa_seq",
    "sequence",
    "x",
    "id",
)
"""Columns that say which variant a row is about, the most telling first; only error messages need them."""

SHOWN = 60
"""Letters of a variant that a message shows."""


def named_columns(
    instrument: str, columns: Mapping[str, str], known: Iterable[str], **given: str | None
) -> dict[str, str]:
    """Names of columns: those of the option `columns`, and of options that name one column.

    Args:
        instrument: its name.
        columns: own name → name in the table.
        known: own names.
        given: own name = column, or None.

    Raises:
        AssayError: an own name is unknown, or a column is no name.
    """
    names = list(known)
    result = {**columns, **{own: column for own, column in given.items() if column is not None}}
    for own, column in result.items():
        if own not in names:
            raise AssayError(
                f"`columns` of {instrument}: `{own}` is none of its columns; {nearest(own, names)}"
            )
        if not (isinstance(column, str) and column):
            raise AssayError(
                f"`columns` of {instrument}: `{own}` must be the name of a column; got {column!r}."
            )
    return result


def find(table: pd.DataFrame, own: str, columns: Mapping[str, str], where: str) -> str:
    """Name of a column in the table.

    Args:
        table: rows.
        own: the instrument's name of the column.
        columns: own name → name in the table, where they differ.
        where: file name.

    Raises:
        AssayError: the table does not have it, or has it twice.
    """
    column = columns.get(own, own)
    count = list(table.columns).count(column)
    if count > 1:
        raise AssayError(f"{where}: column `{column}` occurs twice; remove or rename one.")
    if not count:
        names = [str(name) for name in table.columns]
        hint = nearest(column, names).rstrip(".")
        raise AssayError(
            f"{where}: column `{column}` ({own}) is missing; {hint}; name it with the option `columns`."
        )
    return column


def numbers(table: pd.DataFrame, column: str, where: str, *, blank: bool = False) -> NDArray[np.float64]:
    """Read a column of finite numbers.

    Args:
        table: rows.
        column: its name in the table.
        where: file name.
        blank: whether blank cells are allowed; they become NaN.

    Raises:
        AssayError: a cell is no finite number, or blank.
    """
    cells = table[column]
    values = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    odd = ~np.isfinite(values)
    if cells.dtype == object:  # pandas reads text to 15 digits only
        values[~odd] = cells.to_numpy()[~odd].astype(np.float64)
    if not odd.any():
        return values
    text = cells[odd].astype(object)
    empty = np.zeros(len(values), dtype=bool)
    empty[odd] = (text.isna() | (text.astype(str).str.strip() == "")).to_numpy(bool)
    if (odd & ~empty).any():
        got = cells[odd & ~empty].iloc[0]
        refuse_row(table, odd & ~empty, where, f"`{column}` must be a finite number; got `{got}`; correct it")
    if not blank:
        refuse_row(table, empty, where, f"`{column}` is blank; fill it or drop the row")
    return values


def positives(table: pd.DataFrame, column: str, where: str, *, blank: bool = False) -> NDArray[np.float64]:
    """Read a column of positive numbers.

    Raises:
        AssayError: a cell is not positive, or blank.
    """
    values = numbers(table, column, where, blank=blank)
    wrong = values <= 0
    if wrong.any():
        got = values[wrong][0]
        refuse_row(
            table, wrong, where, f"`{column}` must be positive; got {got:g}; correct it or drop the row"
        )
    return values


def counts(table: pd.DataFrame, column: str, where: str) -> NDArray[np.float64]:
    """Read a column of counts: whole numbers that are not negative.

    Raises:
        AssayError: a cell is no count, or blank.
    """
    values = numbers(table, column, where)
    wrong = (values < 0) | (values != np.floor(values))
    if wrong.any():
        problem = f"`{column}` must be a count, a whole number of at least 0; got {values[wrong][0]:g}"
        refuse_row(table, wrong, where, f"{problem}; correct it or drop the row")
    return values


def no_numbers(table: pd.DataFrame) -> NDArray[np.float64]:
    """NaN in every row: nothing was measured."""
    return np.full(len(table), np.nan)


def groups(table: pd.DataFrame, column: str | None, where: str) -> NDArray[np.int32]:
    """Read the labels of groups as arrays of their letters: so they travel with the rows like other numbers.

    Args:
        table: rows.
        column: its name in the table; None = one group of all rows.
        where: file name.

    Returns:
        code points of the letters, 0 after the last, shape (row, letter); no letter if all are one group.

    Raises:
        AssayError: a cell is blank.
    """
    if column is None:
        return np.zeros((len(table), 0), dtype=np.int32)
    codes, found = pd.factorize(table[column])
    labels = [_label(cell) for cell in found]
    blank = codes < 0
    if "" in labels:
        blank |= codes == labels.index("")
    if blank.any():
        refuse_row(table, blank, where, f"`{column}` is blank; name the group of every row")
    letters = np.array(labels or [""], dtype=np.str_)
    width = max(1, letters.dtype.itemsize // 4)
    return letters.view(np.uint32).reshape(len(letters), width).astype(np.int32)[codes]


def encode_groups(letters: NDArray[np.integer]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Labels of the groups in alphabetical order, and the group of every row.

    >>> table = pd.DataFrame({"batch": ["b", "a", "b"]})
    >>> labels, codes = encode_groups(groups(table, "batch", "table"))
    >>> labels, codes.tolist()
    (('a', 'b'), [1, 0, 1])
    """
    rows, width = letters.shape
    if not width:
        return (EVERY,), np.zeros(rows, dtype=np.int64)
    text = np.ascontiguousarray(letters.astype(np.uint32)).view(f"U{width}").ravel()
    codes, labels = pd.factorize(text.astype(object), sort=True)
    return tuple(str(label) for label in labels), codes.astype(np.int64)


def refuse_row(table: pd.DataFrame, wrong: NDArray[np.bool_], where: str, problem: str) -> None:
    """Raise the error that names the first wrong row, and its variant if the table tells.

    Raises:
        AssayError: always.
    """
    known = {str(name).lower(): name for name in table.columns}
    named = [known[name] for name in VARIANT_COLUMNS if name in known]
    named = [column for column in named if not pd.api.types.is_numeric_dtype(table[column])]
    variant = str(table.loc[wrong, named[0]].iloc[0]) if named else ""
    shown = variant if len(variant) <= SHOWN else variant[: SHOWN - 3] + "..."
    raise AssayError(f"{place(table, wrong, where)}: {f'variant `{shown}`: ' if named else ''}{problem}.")


def _label(cell: object) -> str:
    """Text of a cell; a whole number is written the same way whether its column has blanks or not."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()
