"""Text of the files of a graph folder: what is written, and what the hash is taken of."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

import pandas as pd

from multiscale.equations.model import Equations
from multiscale.equations.text import from_document, to_document
from multiscale.errors import FormatError
from multiscale.graph.schema import NODE_TYPES, PARAMETER_COLUMNS, RELATIONS, Column

__all__ = ["equations_text", "file_texts", "read_equations_text", "toml_text"]

Part = tuple[int, dict[str, list[str]]]  # number of rows, cells by column


def file_texts(
    nodes: Mapping[str, pd.DataFrame],
    edges: Mapping[str, pd.DataFrame],
    parameters: pd.DataFrame,
    card: Mapping[str, Any],
    equations: Equations | None = None,
) -> dict[str, str]:
    """Text of every file of a graph folder, by file name; columns that hold only defaults are left out.

    Only a graph with equations of its own has the file equations.toml.
    """
    node_parts = [
        (
            len(table),
            {"type": [kind] * len(table)} | _cells(table.reset_index(), ["name"], NODE_TYPES[kind].columns),
        )
        for kind, table in nodes.items()
    ]
    edge_parts = [
        (
            len(table),
            {"relation": [kind] * len(table)} | _cells(table, ["source", "target"], RELATIONS[kind].columns),
        )
        for kind, table in edges.items()
    ]
    rows = _cells(parameters.reset_index(), ["parameterId"], PARAMETER_COLUMNS)
    return {
        "card.toml": toml_text(card),
        "nodes.tsv": _tsv(node_parts, ["name", "type"], [t.columns for t in NODE_TYPES.values()]),
        "edges.tsv": _tsv(
            edge_parts, ["source", "relation", "target"], [r.columns for r in RELATIONS.values()]
        ),
        "parameters.tsv": _tsv([(len(parameters), rows)], ["parameterId"], [PARAMETER_COLUMNS]),
        **({} if equations is None else {"equations.toml": equations_text(equations)}),
    }


def equations_text(equations: Equations) -> str:
    """Text of equations.toml; formulas are texts."""
    return toml_text(to_document(equations))


def read_equations_text(text: str, where: str) -> Equations:
    """Equations from the text of equations.toml.

    Raises:
        FormatError: it is no TOML, or a part of it cannot be read.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{where}: not a TOML file: {error}; correct it.") from None
    return from_document(document, where)


def toml_text(content: Mapping[str, Any], section: str = "") -> str:
    """TOML of a dictionary of text, numbers, flags, lists and sections.

    >>> print(toml_text({"name": "pair", "sources": [{"doi": "10.1/x"}]}))
    name = "pair"
    <BLANKLINE>
    [[sources]]
    doi = "10.1/x"
    <BLANKLINE>
    """
    lines, sections = [], []
    for key, value in content.items():
        path = f"{section}.{_toml_key(key)}" if section else _toml_key(key)
        if isinstance(value, Mapping):
            nested = bool(value) and all(isinstance(item, Mapping) for item in value.values())
            head = "" if nested else f"\n[{path}]\n"
            sections.append(head + toml_text(value, path))
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            sections += [f"\n[[{path}]]\n{toml_text(item, path)}" for item in value]
        else:
            lines.append(f"{_toml_key(key)} = {_toml_value(value)}\n")
    return "".join(lines + sections)


def _toml_key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "_").replace("_", "a").isalnum()
    return key if bare else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, date | time):  # datetime is a date
        return value.isoformat()
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _cells(table: pd.DataFrame, keys: Sequence[str], columns: Sequence[Column]) -> dict[str, list[str]]:
    """Cells of every column as text, empty where they hold the default."""
    cells = {key: [str(value) for value in table[key]] for key in keys}
    for column in columns:
        values = table[column.name].tolist()
        defaults = table[column.same_as].tolist() if column.same_as else [column.default] * len(table)
        cells[column.name] = [
            "" if value == default or (value != value and default != default) else _cell(value)
            for value, default in zip(values, defaults, strict=True)
        ]
    return cells


def _cell(value: object) -> str:
    """Shortest text that reads back as the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _tsv(parts: Sequence[Part], keys: list[str], columns: Sequence[Sequence[Column]]) -> str:
    """Stack tables and leave out the attributes that are empty everywhere."""
    order = dict.fromkeys([*keys, *(column.name for group in columns for column in group)])
    stacked = {name: [cell for rows, part in parts for cell in part.get(name, [""] * rows)] for name in order}
    kept = {name: cells for name, cells in stacked.items() if name in keys or any(cells)}
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(kept)
    writer.writerows(zip(*kept.values(), strict=True))
    return stream.getvalue()
