"""Tables of PEtab: cells with the place they come from, and all that is wrong with them."""

from __future__ import annotations

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multiscale.equations.expression import ZERO, Expression
from multiscale.equations.formula import parse
from multiscale.errors import FormatError, nearest
from multiscale.formats.petab.description import is_file

__all__ = ["IDENTIFIER", "Problems", "Row", "Tables", "is_number"]

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|Inf|INF|infinity)", re.ASCII)
_EMPTY = {"", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None", "<NA>", "-nan", "-NaN", "#N/A"}
_WORDS = {"time", "true", "false", "inf"}  # of PEtab's formulas, whatever the model calls its quantities
_CELL = 200_000  # characters of a cell
_PROBLEMS = 100  # as many as anybody reads


def is_number(text: str) -> bool:
    """Whether a text is a number, ±inf among them, but none that is too large to be one.

    >>> is_number("-1e-3"), is_number("1_000"), is_number("nan"), is_number("1e999")
    (True, False, False, False)
    """
    if _NUMBER.fullmatch(text) is None:
        return False
    return math.isfinite(float(text)) or not any(map(str.isdigit, text))


class Problems:
    """What was found wrong so far, one sentence each, in the order found and each once.

    Args:
        path: of the YAML file.

    Attributes:
        unread: tables that could not be read (`parameter`, `condition`, ...): what they should have named is
            not noted as unknown.
    """

    def __init__(self, path: Path) -> None:
        self.unread: set[str] = set()
        self._path = path
        self._found: dict[str, None] = {}

    def add(self, sentence: str, unread: str = "") -> None:
        """Note a sentence that names file, row, column, value and remedy; ends the reading after too many.

        Args:
            sentence: what is wrong.
            unread: table that cannot be read for it, '' = none.
        """
        self._found[sentence] = None
        self.unread |= {unread} - {""}
        if len(self._found) >= _PROBLEMS:
            self.raise_any()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._found)

    def raise_any(self) -> None:
        """Raise one error that lists all problems.

        Raises:
            FormatError: there are problems.
        """
        if not self._found:
            return
        found = list(self._found)
        count = f"{len(found)}" if len(found) < _PROBLEMS else f"at least {len(found)}"
        body = found[0] if len(found) == 1 else f"{count} problems:\n  " + "\n  ".join(found)
        raise FormatError(f"{self._path}: {body}")


@dataclass(frozen=True)
class Row:
    """A row of a table; methods read cells and note in `problems` what cannot be read.

    Args:
        file: name for messages.
        line: in the file, from 1.
        cells: text by column; empty = not stated.
        problems: where to note.
    """

    file: str
    line: int
    cells: Mapping[str, str]
    problems: Problems = field(repr=False)

    def note(self, column: str, sentence: str) -> None:
        """Note a problem of a cell."""
        self.problems.add(f"{self.file}, line {self.line}, column `{column}`: {sentence}")

    def text(self, column: str) -> str:
        """Text of a cell, '' = empty or there is no such column."""
        return self.cells.get(column, "")

    def number(self, column: str, default: float = math.nan) -> float:
        """Value of a cell with a number; NaN where it has none (and is noted, unless empty).

        Args:
            column: which one.
            default: value of an empty cell.
        """
        text = self.text(column)
        if not text:
            return default
        if not is_number(text):
            self.note(column, f"must be a number; got `{text[:40]}`.")
            return math.nan
        return float(text)

    def required_number(self, column: str) -> float:
        """Value of a cell that must hold a number."""
        if not self.text(column):
            self.note(column, "is empty; give a number.")
        return self.number(column)

    def name(self, column: str) -> str:
        """Text of a cell that must hold an identifier."""
        text = self.text(column)
        if not IDENTIFIER.fullmatch(text):
            self.note(column, f"must be letters, digits and `_`, the first no digit; got `{text}`.")
        return text

    def choice(self, column: str, known: Collection[str], default: str) -> str:
        """Text of a cell that must be one of a few words; the default where it is empty or none of them."""
        text = self.text(column)
        if text and text not in known:
            self.note(column, f"unknown `{text}`; {nearest(text, known)}")
        return text if text in known else default

    def reference(self, column: str, known: Collection[str], noun: str) -> str:
        """Text of a cell that must be the name of something."""
        text = self.text(column)
        if text not in known and noun not in self.problems.unread:
            said = f"unknown {noun} `{text}`; {nearest(text, known)}" if text else f"is empty; give a {noun}."
            self.note(column, said)
        return text

    def formula(self, column: str, names: Collection[str] = ()) -> Expression:
        """Expression in a cell; 0 where there is none (and noted).

        Args:
            column: which one.
            names: of quantities, so that one called `pi` is that quantity.
        """
        text = self.text(column)
        if not text:
            self.note(column, "is empty; give a formula.")
            return ZERO
        try:
            return parse(text, names=set(names) - _WORDS)
        except FormatError as error:
            self.note(column, f"{error}.")
            return ZERO

    def parts(self, column: str) -> list[str]:
        """Parts of a cell separated by semicolons, [] for an empty one."""
        text = self.text(column)
        return [part.strip() for part in text.split(";")] if text else []


class Tables:
    """Reads the tables that a YAML file names.

    Args:
        path: of the YAML file.
        problems: where to note what is wrong.
    """

    def __init__(self, path: Path, problems: Problems) -> None:
        self.path = path
        self.problems = problems

    def files(self, content: Mapping[str, Any], key: str, required: bool = True) -> list[Path]:
        """Paths of the files under a key of the YAML file, of those that exist.

        Args:
            content: part of the YAML file.
            key: whose value is a file name or a list of them.
            required: whether there must be at least one.
        """
        names, noun = content.get(key) or [], key.partition("_")[0]
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.problems.add(
                f"`{key}` must be a file name or a list of them; got {repr(names)[:100]}.", noun
            )
            return []
        if required and not names:
            self.problems.add(f"`{key}` is missing; name the files.", noun)
        return [path for name in names if (path := self.file(key, name)) is not None]

    def file(self, key: str, name: str) -> Path | None:
        """Path of a file that the YAML file names under a key, None where there is none (and noted)."""
        path, shown = self.path.parent / name, f"`{repr(name[:100])[1:-1]}`"
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
            problem = f"{shown} is an address; download the file and give its path."
        elif not _is_inside(name):
            problem = f"{shown} is outside of the folder of the YAML file; put it there."
        elif not is_file(path):
            problem = f"file {shown} not found in {self.path.parent}; correct the name."
        else:
            return path
        self.problems.add(f"`{key}`: {problem}", key.partition("_")[0])
        return None

    def rows(self, paths: Iterable[Path], required: Sequence[str], noun: str) -> list[Row]:
        """Rows of all files of a kind, in order; missing columns are noted.

        Args:
            paths: the files.
            required: columns that each must have.
            noun: of the table, for messages.
        """
        return [row for path in paths for row in self._table(path, required, noun)]

    def _table(self, path: Path, required: Sequence[str], noun: str) -> list[Row]:
        header, lines = self._cells(path)
        if header is None:
            self.problems.unread.add(noun)
            return []
        repeated = sorted(name for name, count in Counter(header).items() if name and count > 1)
        for name in repeated:
            self.problems.add(f"{path.name}: column `{name}` occurs twice; keep one.")
        for name in required:
            if name not in header:
                self.problems.add(f"{path.name}: column `{name}` of the {noun} table is missing; add it.")
        if repeated or any(name not in header for name in required):
            self.problems.unread.add(noun)
            return []
        return [self._row(path.name, line, header, cells) for line, cells in lines]

    def _row(self, file: str, line: int, header: list[str], cells: list[str]) -> Row:
        if any(cell.strip() for cell in cells[len(header) :]):
            self.problems.add(
                f"{file}, line {line}: {len(cells)} cells where the header has {len(header)}; remove some."
            )
        texts = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if name}
        known = {name: "" if text in _EMPTY else text for name, text in texts.items()}
        return Row(file, line, known, self.problems)

    def _cells(self, path: Path) -> tuple[list[str] | None, list[tuple[int, list[str]]]]:
        """Header and rows with their lines; a file that is no table is noted."""
        limit = csv.field_size_limit(_CELL)
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.reader(stream, delimiter="\t", strict=True)
                rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        except (csv.Error, UnicodeDecodeError, OSError) as error:
            self.problems.add(f"{path.name}: not a tab-separated table in UTF-8: {error}; correct it.")
            return None, []
        finally:
            csv.field_size_limit(limit)
        if not rows:
            self.problems.add(f"{path.name}: is empty; give at least the names of the columns.")
            return None, []
        return [name.strip() for name in rows[0][1]], rows[1:]


def _is_inside(name: str) -> bool:
    """Whether a relative path stays inside the folder that it starts from; links count as what they are."""
    return not Path(name).is_absolute() and Path(os.path.normpath(name)).parts[:1] != (os.pardir,)
