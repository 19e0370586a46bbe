"""Reading tidy tables from TSV and CSV files; every row keeps the number of its line for error messages."""

from __future__ import annotations

import csv
import gzip
import zlib
from pathlib import Path

import pandas as pd

from multiscale.errors import DataError

__all__ = ["read_table"]

SEPARATORS = {".tsv": "\t", ".tab": "\t", ".txt": "\t", ".csv": ","}


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table with a header; all cells are text, blank cells are empty, blank lines are skipped.

    Args:
        path: .tsv, .tab or .txt (tab-separated), or .csv (comma-separated), UTF-8, also with .gz behind.

    Returns:
        columns as in the header; index `line` = number of the line in the file, on which the row ends.

    Raises:
        DataError: there is no such file, its suffix is unknown, it is empty or no text, a column has no or
            the same name as another, or a line has more cells than the header.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"`{file}` is not a file; give the path of a .tsv or .csv table.")
    if _suffix(file) not in SEPARATORS:
        raise DataError(f"`{file}` must end in {', '.join(SEPARATORS)}; got `{_suffix(file)}`.")
    lines = _read_lines(file)
    header = _read_header(file, lines)
    for line, row in lines.items():
        if len(row) > len(header):
            wide = f"{len(row)} cells, but the header has {len(header)} columns"
            raise DataError(f"{file.name}, line {line}: {wide}; quote cells that hold a separator.")
    cells = [row + [""] * (len(header) - len(row)) for row in lines.values()]
    index = pd.Index(list(lines), name="line")
    return pd.DataFrame(cells, columns=pd.Index(header), index=index, dtype=object)


def _suffix(file: Path) -> str:
    """Ending of the name that says how cells are separated."""
    return Path(file.stem).suffix if file.suffix == ".gz" else file.suffix


def _read_lines(file: Path) -> dict[int, list[str]]:
    """Cells of every line that is not blank, by number of the line."""
    try:
        opened = gzip.open if file.suffix == ".gz" else Path.open
        with opened(file, mode="rt", encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=SEPARATORS[_suffix(file)])
            return dict((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"`{file}` is not UTF-8 text ({error}); save it as a plain table.") from None


def _read_header(file: Path, lines: dict[int, list[str]]) -> list[str]:
    """Take the first line as names of columns, and refuse unnamed and doubled ones."""
    if not lines:
        raise DataError(f"`{file}` is empty; it needs a header line.")
    line = next(iter(lines))
    header = [cell.strip() for cell in lines.pop(line)]
    for number, column in enumerate(header, start=1):
        if not column:
            raise DataError(f"{file.name}, line {line}: column {number} has no name; name or remove it.")
        if header.count(column) > 1:
            raise DataError(f"{file.name}, line {line}: column `{column}` occurs twice; rename one.")
    return header
