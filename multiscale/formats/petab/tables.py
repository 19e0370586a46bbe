"""Tables and YAML files of PEtab: cells with the place they come from, and all that is wrong with them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from multiscale.equations.expression import ZERO, Expression
from multiscale.equations.formula import parse
from multiscale.errors import FormatError, nearest

__all__ = ["IDENTIFIER", "Problems", "Row", "Tables", "is_number", "read_yaml"]

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|Inf|INF|infinity)")
_EMPTY = {"", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None", "<NA>", "-nan", "-NaN", "#N/A"}
_WORDS = {"time", "true", "false", "inf"}  # of PEtab's formulas, whatever the model calls its quantities
_YAML_BYTES = 1 << 20  # a problem of thousands of files needs less than 1 MiB
_CELL = 1 << 24  # characters of a cell


def is_number(text: str) -> bool:
    """Whether a text is a number, ±inf among them.

    >>> is_number("-1e-3"), is_number("1_000"), is_number("nan")
    (True, False, False)
    """
    return _NUMBER.fullmatch(text) is not None


class Problems:
    """What was found wrong so far, one sentence each, in the order found and each once."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    def add(self, sentence: str) -> None:
        """Note a sentence that names file, row, column, value and remedy."""
        self._found[sentence] = None

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._found)

    def raise_any(self, path: Path) -> None:
        """Raise one error that lists all problems.

        Raises:
            FormatError: there are problems.
        """
        if not self._found:
            return
        found = list(self._found)
        body = found[0] if len(found) == 1 else f"{len(found)} problems:\n  " + "\n  ".join(found)
        raise FormatError(f"{path}: {body}")


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
            self.note(column, f"must be a number; got `{text}`.")
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
        if text not in known:
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
        names = content.get(key) or []
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.problems.add(f"`{key}` must be a file name or a list of them; got {names!r}.")
            return []
        if required and not names:
            self.problems.add(f"`{key}` is missing; name the files.")
        return [path for name in names if (path := self.file(key, name)) is not None]

    def file(self, key: str, name: str) -> Path | None:
        """Path of a file that the YAML file names under a key, None where there is none (and noted)."""
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
            self.problems.add(f"`{key}`: `{name}` is an address; download the file and give its path.")
            return None
        path = self.path.parent / name
        if not path.is_file():
            self.problems.add(f"`{key}`: file `{name}` not found in {self.path.parent}; correct the name.")
            return None
        return path

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
            return []
        repeated = sorted({name for name in header if name and header.count(name) > 1})
        for name in repeated:
            self.problems.add(f"{path.name}: column `{name}` occurs twice; keep one.")
        for name in required:
            if name not in header:
                self.problems.add(f"{path.name}: column `{name}` of the {noun} table is missing; add it.")
        if repeated or any(name not in header for name in required):
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
        except (csv.Error, UnicodeDecodeError) as error:
            self.problems.add(f"{path.name}: not a tab-separated table in UTF-8: {error}; correct it.")
            return None, []
        finally:
            csv.field_size_limit(limit)
        if not rows:
            self.problems.add(f"{path.name}: is empty; give at least the names of the columns.")
            return None, []
        return [name.strip() for name in rows[0][1]], rows[1:]


def read_yaml(path: Path) -> dict[str, Any]:
    """Content of a YAML file.

    Raises:
        FormatError: there is no such file, it is larger than 1 MiB, no YAML, or no mapping.
    """
    if not path.is_file():
        raise FormatError(f"{path}: no such file; give the YAML file of a PEtab problem.")
    if path.stat().st_size > _YAML_BYTES:
        raise FormatError(
            f"{path}: {path.stat().st_size} bytes are too many for a PEtab problem; at most 1 MiB."
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: not a YAML file: {error}; correct it.") from None
    if not isinstance(content, dict):
        raise FormatError(f"{path}: must be a mapping with `format_version`; got {type(content).__name__}.")
    return {str(key): value for key, value in content.items()}
