"""Raw tables to standard ones: known columns, right dtypes, defaults filled in, problems collected."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from multiscale.errors import nearest
from multiscale.graph.schema import Column, Value

__all__ = ["DTYPES", "empty_table", "standard_table"]

DTYPES = {"text": "object", "number": "float64", "integer": "int64", "flag": "bool"}
"""Dtype of each kind of column in memory."""

_WORDS = {"text": "text", "number": "a number", "integer": "a whole number", "flag": "`true` or `false`"}


def standard_table(
    raw: pd.DataFrame, keys: Sequence[str], columns: Sequence[Column], file: str, place: Callable[[int], str]
) -> tuple[pd.DataFrame, list[str]]:
    """Bring a table to the standard form and say what was wrong with it.

    Args:
        raw: text cells of a file, or values in memory; empty and missing cells mean the default.
        keys: text columns that must be there, such as `name` or `source`, `target`.
        columns: attributes.
        file: name for messages.
        place: where row i is, for messages, such as `line 7`.

    Returns:
        Table with the columns `keys` then `columns` and a RangeIndex, and the problems; wrong cells hold the
        default.
    """
    wanted = [Column(key, "text", "", "key") for key in keys] + list(columns)
    known = [column.name for column in wanted]
    problems = [
        f"{file}: unknown column `{name}`; {nearest(str(name), known)}"
        for name in raw.columns
        if name not in known
    ]
    problems += [f"{file}: column `{key}` is missing; add it." for key in keys if key not in raw.columns]
    table: dict[str, list[Value]] = {}
    for column in wanted:
        cells = raw[column.name].tolist() if column.name in raw.columns else [""] * len(raw)
        defaults = table[column.same_as] if column.same_as else [column.default] * len(raw)
        values = [_read(cell, default, column) for cell, default in zip(cells, defaults, strict=True)]
        wrong = [i for i, value in enumerate(values) if value is None]
        problems += [f"{file}, {place(i)}: {_sentence(column, cells[i], defaults[i])}" for i in wrong]
        table[column.name] = [d if v is None else v for v, d in zip(values, defaults, strict=True)]
    arrays = {column.name: np.array(table[column.name], dtype=DTYPES[column.dtype]) for column in wanted}
    return pd.DataFrame(arrays, index=pd.RangeIndex(len(raw))), problems


def empty_table(keys: Sequence[str], columns: Sequence[Column]) -> pd.DataFrame:
    """Standard table without rows."""
    return standard_table(pd.DataFrame(columns=pd.Index(keys)), keys, columns, "", str)[0]


def _read(cell: object, default: Value, column: Column) -> Value | None:
    """Value of a cell, the default where it is empty or missing, None where it is wrong."""
    if cell is None or cell == "" or cell != cell:
        return default
    if column.dtype == "text":
        return str(cell)
    if column.dtype == "flag":
        return {"true": True, "false": False}.get(str(cell).strip().lower())
    return _number(cell) if column.dtype == "number" else _integer(cell)


def _sentence(column: Column, cell: object, default: Value) -> str:
    """What is wrong with a cell."""
    needed = f"`{column.name}` must be {_WORDS[column.dtype]}"
    return f"{needed}; got `{cell}`. Correct it or leave it empty (= {default!r})."


def _number(cell: object) -> float | None:
    """Nearest double of a number (pandas' own reading may be off by one unit in the last place)."""
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return None if math.isnan(value) or "_" in str(cell) else value


def _integer(cell: object) -> int | None:
    value = _number(cell)
    return int(value) if value is not None and abs(value) < 2**53 and value == int(value) else None
