"""Tables as tab-separated text: parameters in PEtab's column names, with what was learned beside them."""

from __future__ import annotations

import csv
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiscale import atomic
from multiscale.errors import FormatError, nearest
from multiscale.graph import Graph
from multiscale.graph.schema import PRIORS

__all__ = ["PETAB_COLUMNS", "read_parameters", "read_table", "write", "write_parameters", "write_table"]

PETAB_COLUMNS = ("parameterId", "parameterScale", "lowerBound", "upperBound", "nominalValue", "estimate")
"""Columns that a PEtab (version 1) parameter table must have."""

_SCALES = ("lin", "log", "log10")

_PRIOR = ("objectivePriorType", "objectivePriorParameters")

_TEXTS = ("parameterId", "parameterName", "parameterScale", *_PRIOR)
"""Columns that stay text though all cells be empty or look like numbers."""

_SID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

log = logging.getLogger("multiscale")


def write(
    graph: Graph,
    path: str | Path,
    values: Mapping[str, pd.DataFrame] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write the parameters of a graph, atomically, with learned values in further columns.

    Args:
        graph: the graph.
        path: file to write.
        values: `values["parameter"]` is joined to the table; others are not held by this format.
        meta: not held by this format.

    Raises:
        FormatError: a learned value belongs to no parameter, or its column is one of the table's own.
    """
    table, values = graph.parameters, dict(values or {})
    learned = values.pop("parameter", None)
    lost = [*graph.nodes, *graph.edges] + ["settings"] * bool(meta)
    log.warning("%s: holds the parameters of the graph only; left out: %s.", path, ", ".join(lost))
    if learned is not None:
        _check_learned(table, learned)
        table = table.join(learned)
    write_parameters(table.rename_axis("parameterId").reset_index(), path)


def write_parameters(table: pd.DataFrame, path: str | Path) -> None:
    """Write a parameter table in PEtab's columns, atomically; further columns follow them.

    A parameter on a logarithmic scale without lower bound gets the smallest positive number as bound (PEtab
    asks for a positive one), a flat prior (a width of infinity) is left empty, which is how PEtab says it.

    Args:
        table: bounds and nominal values on the linear scale.
        path: file to write.

    Raises:
        FormatError: a column that PEtab asks for is missing, or holds what it may not.
    """
    table = _in_words_of_petab(table) if set(PETAB_COLUMNS) <= set(table.columns) else table
    _check_petab(table, str(path))
    rest = [column for column in table.columns if column not in PETAB_COLUMNS]
    write_table(table[[*PETAB_COLUMNS, *rest]], path)


def read_parameters(path: str | Path) -> pd.DataFrame:
    """Read a parameter table in PEtab's columns; identifiers stay text.

    Raises:
        FormatError: the file is missing, or see `write_parameters`.
    """
    table = read_table(path, _TEXTS)
    _check_petab(table, str(path))
    return table


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table, atomically: tabs, a header, all digits, nothing where a value is missing."""
    texts = table.select_dtypes(["object", "category"])
    returns = any("\r" in str(cell) for column in texts for cell in texts[column])
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL  # which leaves a carriage return bare
    with atomic.replace(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, lineterminator="\n", encoding="utf-8", quoting=quoting)


def read_table(path: str | Path, text: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table that `write_table` wrote; an empty field is '' among texts and NaN among numbers.

    Args:
        path: file to read.
        text: columns that are text whatever they look like; others are if a cell is no number.

    Raises:
        FormatError: the file is missing or has no header.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    dtypes: dict[Any, Any] = dict.fromkeys(text, object)
    options: dict[str, Any] = {"na_values": [""], "keep_default_na": False, "float_precision": "round_trip"}
    options["low_memory"] = False  # one type per column, however long it is
    try:
        table = pd.read_csv(path, sep="\t", dtype=dtypes, **options)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise FormatError(f"{path}: not a tab-separated table: {error}") from None
    found = table.select_dtypes("object").columns
    return table.assign(**{column: table[column].fillna("") for column in found})


def _check_learned(table: pd.DataFrame, learned: pd.DataFrame) -> None:
    unknown = [str(name) for name in learned.index if name not in table.index]
    if unknown:
        raise FormatError(
            f"`values[parameter]`: no `{unknown[0]}`; {nearest(unknown[0], map(str, table.index))}"
        )
    taken = [str(column) for column in learned.columns if column in table.columns]
    if taken:
        raise FormatError(f"`values[parameter]`: the table has its own column `{taken[0]}`; rename it.")


def _in_words_of_petab(table: pd.DataFrame) -> pd.DataFrame:
    """A copy with the bounds and flat priors that PEtab has no words for in words that it has."""
    table = table.copy()
    unbounded = (table["parameterScale"] != "lin") & table["lowerBound"].isin([0.0, -np.inf])
    table["lowerBound"] = table["lowerBound"].mask(unbounded, sys.float_info.min)
    if set(_PRIOR) <= set(table.columns):
        flat = table["objectivePriorParameters"].astype(str).str.endswith(";inf")
        table[[*_PRIOR]] = table[[*_PRIOR]].mask(flat, "")
    return table


def _check_petab(table: pd.DataFrame, where: str) -> None:
    missing = [column for column in PETAB_COLUMNS if column not in table.columns]
    if missing:
        raise FormatError(
            f"{where}: column `{missing[0]}` is missing; {nearest(missing[0], map(str, table.columns))}"
        )
    repeated = table["parameterId"][table["parameterId"].duplicated()]
    if len(repeated):
        raise FormatError(f"{where}: `parameterId` {repeated.iloc[0]} occurs twice.")
    for row in table.to_dict("records"):
        for sentence in _row_problems({str(key): value for key, value in row.items()}):
            raise FormatError(f"{where}: `{row['parameterId']}`: {sentence}")


def _row_problems(row: dict[str, Any]) -> Iterator[str]:
    """What PEtab's own check would refuse in one row."""
    lower, upper, scale = row["lowerBound"], row["upperBound"], row["parameterScale"]
    if not _SID.fullmatch(str(row["parameterId"])):
        yield "`parameterId` must have only letters, digits and underscores and start with no digit."
    if scale not in _SCALES:
        yield f"`parameterScale` must be one of {', '.join(_SCALES)}; got `{scale}`."
    if row["estimate"] not in (0, 1):
        yield f"`estimate` must be 0 or 1; got {row['estimate']!r}."
    elif row["estimate"] and not lower <= upper:
        yield f"`lowerBound` must not exceed `upperBound`; got {lower:g} and {upper:g}."
    elif row["estimate"] and scale != "lin" and not lower > 0:
        yield f"`lowerBound` must be positive on the scale {scale}; got {lower:g}."
    elif not row["estimate"] and not np.isfinite(row["nominalValue"]):
        yield f"`nominalValue` must be finite where nothing is estimated; got {row['nominalValue']:g}."
    yield from _prior_problems(*(str(row.get(column, "")) for column in _PRIOR))


def _prior_problems(kind: str, parameters: str) -> Iterator[str]:
    if kind and kind not in PRIORS:
        yield f"`objectivePriorType` must be empty or one of {', '.join(PRIORS)}; got `{kind}`."
    try:
        widths = [float(part) for part in parameters.split(";")] if parameters else []
    except ValueError:
        widths = [np.nan]
    if (kind or parameters) and (len(widths) != 2 or not np.isfinite(widths).all()):
        yield f"`objectivePriorParameters` must be two numbers separated by `;`; got `{parameters}`."
