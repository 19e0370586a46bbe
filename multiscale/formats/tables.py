"""Tables as tab-separated text: parameters in PEtab's column names, with what was learned beside them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from multiscale import atomic
from multiscale.errors import FormatError, nearest
from multiscale.graph import Graph

__all__ = ["PETAB_COLUMNS", "read_parameters", "read_table", "write", "write_parameters", "write_table"]

PETAB_COLUMNS = ("parameterId", "parameterScale", "lowerBound", "upperBound", "nominalValue", "estimate")
"""Columns that a PEtab (version 1) parameter table must have."""

_SCALES = ("lin", "log", "log10")

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

    Raises:
        FormatError: a column that PEtab asks for is missing, or holds what it may not.
    """
    _check_petab(table, str(path))
    rest = [column for column in table.columns if column not in PETAB_COLUMNS]
    write_table(table[[*PETAB_COLUMNS, *rest]], path)


def read_parameters(path: str | Path) -> pd.DataFrame:
    """Read a parameter table in PEtab's columns; identifiers stay text.

    Raises:
        FormatError: the file is missing, or see `write_parameters`.
    """
    table = read_table(path)
    _check_petab(table, str(path))
    return table


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table, atomically: tabs, a header, all digits, nothing where a value is missing."""
    with atomic.replace(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, lineterminator="\n", encoding="utf-8")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table that `write_table` wrote; an empty field is '' among texts and NaN among numbers.

    Raises:
        FormatError: the file is missing or has no header.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    try:
        table = pd.read_csv(
            path, sep="\t", na_values=[""], keep_default_na=False, float_precision="round_trip"
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise FormatError(f"{path}: not a tab-separated table: {error}") from None
    text = table.select_dtypes("object").columns
    return table.assign(**{column: table[column].fillna("") for column in text})


def _check_learned(table: pd.DataFrame, learned: pd.DataFrame) -> None:
    unknown = [str(name) for name in learned.index if name not in table.index]
    if unknown:
        raise FormatError(
            f"`values[parameter]`: no `{unknown[0]}`; {nearest(unknown[0], map(str, table.index))}"
        )
    taken = [str(column) for column in learned.columns if column in table.columns]
    if taken:
        raise FormatError(f"`values[parameter]`: the table has its own column `{taken[0]}`; rename it.")


def _check_petab(table: pd.DataFrame, where: str) -> None:
    missing = [column for column in PETAB_COLUMNS if column not in table.columns]
    if missing:
        raise FormatError(
            f"{where}: column `{missing[0]}` is missing; {nearest(missing[0], map(str, table.columns))}"
        )
    repeated = table["parameterId"][table["parameterId"].duplicated()]
    if len(repeated):
        raise FormatError(f"{where}: `parameterId` {repeated.iloc[0]} occurs twice.")
    odd = set(table["parameterScale"].unique()) - set(_SCALES)
    if odd:
        raise FormatError(
            f"{where}: `parameterScale` must be one of {', '.join(_SCALES)}; got `{sorted(odd)[0]}`."
        )
    if not table["estimate"].isin([0, 1]).all():
        raise FormatError(f"{where}: `estimate` must be 0 or 1.")
