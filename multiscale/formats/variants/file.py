"""Tables of variants as files: separators, compression, and the number of the line of every row."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from multiscale.errors import FormatError, nearest

__all__ = ["chosen", "column_of", "fingerprint", "read_variant_table"]

SUFFIXES = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": ""}
"""Separators by suffix; that of .txt is the first of tab, comma, blank that its header holds."""

_MISSING = ("", "NA", "NaN", "nan")
_TRUE, _FALSE = ("true", "t", "yes", "1", "1.0"), ("false", "f", "no", "0", "0.0", "")


@dataclass(frozen=True)
class _Head:
    """Columns of a file, its separator and the number of the header's line."""

    columns: list[str]
    separator: str
    line: int


def read_variant_table(path: str | Path, text: Collection[str] | None = ()) -> pd.DataFrame:
    """Read a table with a header; lines before it that begin with `#`, and blank lines, are skipped.

    Args:
        path: .csv, .tsv, .tab or .txt, also compressed as .gz, UTF-8.
        text: columns that stay text as they stand (sequences, names); the others become numbers where all
            cells are. None = all stay text.

    Returns:
        columns as in the header; empty cells, NA and NaN are missing; index `line` = number of the line in
        the file.

    Raises:
        FormatError: no such file, another suffix, no header, a column without name or doubled, a line with
            more cells than the header.
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"{file}: no such file; give the path of a table ({', '.join(SUFFIXES)}, or .gz).")
    content = _content(file)
    head = _head(content, file)
    table = _parse(content, head, file, frozenset(head.columns if text is None else text))
    table.index = pd.RangeIndex(head.line + 1, head.line + 1 + len(table), name="line")
    first = table.iloc[:, 0].isna().to_numpy()
    blank = first.copy()
    blank[first] = table[first].isna().all(axis=1)
    table = table[~blank] if blank.any() else table
    if table.empty:
        raise FormatError(f"{file.name}: the table has no row; give at least one.")
    return table


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def column_of(table: pd.DataFrame, column: str, where: str, use: str) -> pd.Series:
    """A column of a table.

    Raises:
        FormatError: there is none of that name.
    """
    if column not in table:
        known = [str(name) for name in table.columns]
        raise FormatError(f"{where}: no column `{column}` ({use}); {nearest(column, known)}")
    return pd.Series(table[column])


def chosen(table: pd.DataFrame, conditions: Mapping[str, object], where: str) -> np.ndarray:
    """Which rows have the values asked for, shape (row,).

    Args:
        table: the rows.
        conditions: per column a number, a text, true or false (also written T, F, yes, no, 1, 0; blank is
            false), a list of which one must be met, or {"not": any of these}, {"min": number, "max": number}.
        where: file name.

    Raises:
        FormatError: there is no such column, or a condition is none of these.

    >>> table = pd.DataFrame({"STOP": [True, False, None], "order": [1, 2, 1]})
    >>> chosen(table, {"STOP": False, "order": [1, 2]}, "scan.csv").tolist()
    [False, True, True]
    >>> chosen(table, {"order": {"max": 1}, "STOP": {"not": True}}, "scan.csv").tolist()
    [False, False, True]
    """
    keep = np.ones(len(table), dtype=bool)
    for name, wanted in conditions.items():
        column = column_of(table, name, where, "`where`")
        keep &= _within(column, wanted, where) if isinstance(wanted, Mapping) else _any_of(column, wanted)
    return keep


def _within(column: pd.Series, wanted: Mapping[str, object], where: str) -> np.ndarray:
    """Which cells are not among some, or lie in a range."""
    known = ("not", "min", "max")
    keep = np.ones(len(column), dtype=bool)
    for word, value in wanted.items():
        if word not in known:
            raise FormatError(f"{where}: `where`: `{column.name}`: `{word}`; {nearest(word, known)}")
        if word == "not":
            keep &= ~_any_of(column, value)
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FormatError(
                f"{where}: `where`: `{word}` of `{column.name}` must be a number; got `{value}`."
            )
        numbers = pd.to_numeric(column, errors="coerce")
        keep &= (numbers >= value if word == "min" else numbers <= value).to_numpy()
    return keep


def _any_of(column: pd.Series, wanted: object) -> np.ndarray:
    """Which cells are one of several values."""
    options = wanted if isinstance(wanted, list | tuple) else [wanted]
    return np.logical_or.reduce([_equal(column, option) for option in options])


def _equal(column: pd.Series, wanted: object) -> np.ndarray:
    """Which cells are a number, a text or a flag."""
    if isinstance(wanted, bool):
        words = _TRUE if wanted else _FALSE
        cells = column.astype(object).where(column.notna(), "")
        return cells.astype(str).str.lower().str.strip().isin(words).to_numpy()
    if isinstance(wanted, int | float):
        return (pd.to_numeric(column, errors="coerce") == wanted).to_numpy()
    return (column.astype(object).where(column.notna(), "").astype(str) == str(wanted)).to_numpy()


def _content(file: Path) -> bytes:
    """Bytes of a file, unpacked."""
    if not file.name.endswith(".gz"):
        return file.read_bytes()
    try:
        return gzip.decompress(file.read_bytes())
    except (OSError, EOFError) as error:
        raise FormatError(f"{file}: cannot be unpacked: {error}.") from None


def _head(content: bytes, file: Path) -> _Head:
    """Find the header: the first line that is neither blank nor a comment."""
    suffix = Path(file.name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise FormatError(f"{file}: must end in {', '.join(SUFFIXES)} (or these and .gz); got `{suffix}`.")
    for number, raw in enumerate(io.BytesIO(content), start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise FormatError(f"{file}: is not UTF-8 text ({error}).") from None
        if line.strip() and not line.startswith("#"):
            separator = SUFFIXES[suffix] or next((mark for mark in "\t, " if mark in line), "\t")
            columns = next(csv.reader([line], delimiter=separator))
            return _Head(_checked([column.strip() for column in columns], file, number), separator, number)
    raise FormatError(f"{file}: is empty; it needs a header line.")


def _checked(columns: list[str], file: Path, line: int) -> list[str]:
    """Refuse unnamed and doubled columns."""
    for number, column in enumerate(columns, start=1):
        if not column:
            raise FormatError(f"{file.name}, line {line}: column {number} has no name; name or remove it.")
        if columns.count(column) > 1:
            raise FormatError(f"{file.name}, line {line}: column `{column}` occurs twice; rename one.")
    return columns


def _parse(content: bytes, head: _Head, file: Path, text: frozenset[str]) -> pd.DataFrame:
    """Read the cells below the header."""
    missing = {column: [""] if column in text else list(_MISSING) for column in head.columns}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                io.BytesIO(content),
                sep=head.separator,
                header=None,
                names=head.columns,
                skiprows=head.line,
                dtype={column: str for column in head.columns if column in text},
                na_values=missing,
                keep_default_na=False,
                skip_blank_lines=False,
                index_col=False,
                encoding="utf-8",
                low_memory=False,
                float_precision="round_trip",
            )
    except pd.errors.EmptyDataError:
        raise FormatError(f"{file.name}: the table has no row; give at least one.") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        width = f"the header has {len(head.columns)} columns"
        raise FormatError(f"{file}: is not a table ({width}): {_plain(error)}") from None


def _plain(error: Exception) -> str:
    """The parser's words on one line."""
    return " ".join(str(error).split()).rstrip(".") + "; quote cells that hold a separator."
