"""Conditions of rows: numbers, or columns with their unit, in the project's units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from multiscale.errors import FormatError
from multiscale.formats.variants.file import column_of
from multiscale.units import to_uM

__all__ = ["CONCENTRATIONS", "Condition", "read_condition", "unit_in_name"]

Condition = float | str | tuple[float | str, str] | Mapping[str, Any]
"""A number in the project's unit, a column whose name ends in its unit (`dose_nM`), or (column or number,
unit)."""

CONCENTRATIONS = ("fM", "pM", "nM", "uM", "µM", "mM", "M")

_ZERO_CELSIUS = 273.15
_OWN = {"temperature": "K", "denaturant": "M"}  # of conditions that are no concentration in µM
_NAME = re.compile(r"(?:^|[_ (\[])(fM|pM|nM|uM|µM|mM|M|K|C|°C)[)\]]?$")


def read_condition(table: pd.DataFrame, name: str, condition: Condition, where: str) -> np.ndarray:
    """One condition of every row: µM; K for `temperature`, M for `denaturant`, shape (row,).

    Args:
        table: rows, index `line`.
        name: a molecule, `temperature` or `denaturant`; `@...` after it names another state of the row.
        condition: see `Condition`.
        where: file name.

    Raises:
        FormatError: no such column, no or an unknown unit, a cell that is no number, or a negative one.

    >>> read_condition(pd.DataFrame({"dose": [1.0, 20.0]}), "drug", ("dose", "nM"), "a.csv").tolist()
    [0.001, 0.02]
    """
    kind = name.partition("@")[0]
    source, unit = _source(name, condition, where)
    if isinstance(source, str):
        values = _numbers(column_of(table, source, where, f"condition `{name}`"), name, where)
        unit = unit or _stated(source, name, where)
    else:
        values = np.full(len(table), float(source))
        unit = unit or _OWN.get(kind, "uM")
    values = _convert(values, kind, unit, where)
    _check(table, values, kind, where)
    return values


def unit_in_name(column: str) -> str:
    """Unit that the name of a column ends in, '' if none.

    >>> unit_in_name("Kd_nM"), unit_in_name("dose [µM]"), unit_in_name("dose")
    ('nM', 'µM', '')
    """
    match = _NAME.search(column)
    return match.group(1) if match else ""


def _source(name: str, condition: Condition, where: str) -> tuple[float | str, str]:
    """Number or column, and the unit, '' if not stated."""
    if isinstance(condition, Mapping):
        unknown = sorted(set(condition) - {"column", "value", "unit"})
        if unknown or len(set(condition) & {"column", "value"}) != 1:
            known = "{ column, unit } or { value, unit }"
            raise FormatError(f"{where}: condition `{name}` must be {known}; got {dict(condition)}.")
        return condition.get("column", condition.get("value")), str(condition.get("unit", ""))
    if isinstance(condition, str | int | float):
        return condition, ""
    source, unit = condition
    return source, unit


def _stated(column: str, name: str, where: str) -> str:
    """Unit in the name of the column."""
    unit = unit_in_name(column)
    if not unit:
        raise FormatError(
            f"{where}: condition `{name}`: the unit of column `{column}` is missing; give (column, unit), "
            f'such as {{ column = "{column}", unit = "nM" }}, or call the column `{column}_nM`.'
        )
    return unit


def _convert(values: np.ndarray, kind: str, unit: str, where: str) -> np.ndarray:
    """Values in the project's unit."""
    if kind == "temperature":
        if unit not in ("K", "C", "°C"):
            raise FormatError(f"{where}: `temperature` must be in K or °C; got `{unit}`.")
        return values if unit == "K" else values + _ZERO_CELSIUS
    if unit not in CONCENTRATIONS:
        raise FormatError(
            f"{where}: condition `{kind}` must be in {', '.join(CONCENTRATIONS)}; got `{unit}`."
        )
    return values * to_uM(1.0, unit) / (1e6 if kind == "denaturant" else 1.0)


def _numbers(column: pd.Series, name: str, where: str) -> np.ndarray:
    """Cells as numbers."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(values)
    if wrong.any():
        line, cell = column.index[wrong][0], column[wrong].iloc[0]
        raise FormatError(
            f"{where}, line {line}: `{column.name}` (condition `{name}`) must be a number; got `{cell}`."
        )
    return values


def _check(table: pd.DataFrame, values: np.ndarray, kind: str, where: str) -> None:
    """Concentrations are not negative, temperatures positive."""
    wrong = values <= 0 if kind == "temperature" else values < 0
    if wrong.any() or not np.isfinite(values).all():
        line, value = table.index[wrong][0], values[wrong][0]
        bound = "positive, in K" if kind == "temperature" else "not negative"
        raise FormatError(f"{where}, line {line}: condition `{kind}` must be {bound}; got {value:g}.")
