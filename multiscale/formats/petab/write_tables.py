"""Cells and tables as PEtab writes them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from multiscale.equations.expression import Expression, ordered, substitute, symbol
from multiscale.equations.formula import formula
from multiscale.errors import FormatError
from multiscale.formats.petab.tables import IDENTIFIER

__all__ = ["Cells", "formula_text", "identifier", "new_identifiers", "number_text", "write_table"]

Cells = Mapping[str, Any]
"""A row: text by column."""

_NO_WORD = {"floor", "ceil", "gamma", "digamma"}
"""Functions that formulas of PEtab lack."""


def formula_text(expression: Expression, names: Mapping[str, str] | None = None) -> str:
    """Formula in PEtab's grammar.

    Args:
        expression: what to write.
        names: new names of symbols.

    Raises:
        FormatError: PEtab has no word for a function, or a name is no identifier.

    >>> formula_text(symbol("a") * symbol("b"), {"a": "c"})
    'c * b'
    """
    new = names or {}
    [expression] = substitute([expression], lambda e: symbol(new[e.name or ""]) if e.name in new else None)
    for node in ordered([expression]):
        if node.function in _NO_WORD:
            raise FormatError(
                f"`{node.function}` has no word in PEtab's formulas; take it out of {expression}."
            )
        if node.name is not None and not IDENTIFIER.fullmatch(node.name):
            raise FormatError(f"`{node.name}` is no identifier of PEtab; rename it.")
    return formula(expression)


def number_text(value: float) -> str:
    """Shortest text that reads back as the same number, '' for NaN.

    >>> number_text(0.1), number_text(float("nan")), number_text(2.0)
    ('0.1', '', '2.0')
    """
    return "" if math.isnan(value) else repr(float(value))


def identifier(name: str) -> str:
    """Turn a name into an identifier of PEtab: letters, digits and `_`, the first no digit.

    >>> identifier("dose 2|+EGF")
    'dose_2_EGF'
    """
    cleaned = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") if not IDENTIFIER.fullmatch(name) else name
    return cleaned if cleaned and not cleaned[0].isdigit() else f"_{cleaned}"


def new_identifiers(wanted: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Identifiers for names, different from each other and from those taken.

    >>> new_identifiers(["A:B", "A|B"], ["A_B"])
    ['A_B_2', 'A_B_3']
    """
    used, found = set(taken), []
    for name in wanted:
        stem = other = identifier(name)
        count = 1
        while other in used:
            count += 1
            other = f"{stem}_{count}"
        used.add(other)
        found.append(other)
    return found


def write_table(path: Path, rows: Sequence[Cells]) -> None:
    """Write rows, which all have the same columns, as a tab-separated table."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
