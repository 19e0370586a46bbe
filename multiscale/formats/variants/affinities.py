"""Affinity tables: long (one pair per row) or wide (a matrix), with units and censor marks inside cells and
headers.

Cells are numbers, bounds such as `>10000`, `<0.1` or `≥10`, numbers with a unit (`12 nM`), or words for
"nothing bound" (`n.b.`, `no binding`): then the bound is the option `limit` of the instrument. Empty cells,
NA and `n.d.` were not measured.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from multiscale.assays.binding_energy import BindingEnergy
from multiscale.assays.instrument import Instrument
from multiscale.errors import FormatError
from multiscale.formats.variants.conditions import CONCENTRATIONS, unit_in_name
from multiscale.formats.variants.file import column_of
from multiscale.formats.variants.layout import Layout

__all__ = ["LONG", "MATRIX", "long_table", "split_marks"]

_CELL = re.compile(r"(>=|<=|≥|≤|>|<|=|~)?\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S+)?")
_NOTHING_BOUND = ("n.b.", "n.b", "nb", "no binding", "no-binding", "not bound", "none")
_NOT_MEASURED = ("", "na", "nan", "n.d.", "n.d", "nd", "-")

RELATION, COLUMN = "relation", "column"


def split_marks(cells: pd.Series, where: str) -> pd.DataFrame:
    """Split cells into number, relation and unit.

    Args:
        cells: as written, index `line`.
        where: file name.

    Returns:
        `value` (NaN where nothing bound, or nothing was measured), `relation` (`=`, `<`, `>`; '' where
        nothing was measured), `unit` ('' if not stated); same index.

    Raises:
        FormatError: a cell is none of these.

    >>> split_marks(pd.Series([">10000", "n.b.", "12 nM"]), "a.tsv").values.tolist()
    [[10000.0, '>', ''], [nan, '>', ''], [12.0, '=', 'nM']]
    """
    codes, unique = pd.factorize(cells.astype(object).to_numpy(), use_na_sentinel=False)
    parsed = [_parse("" if pd.isna(cell) else str(cell).strip()) for cell in unique]
    for code, found in enumerate(parsed):
        if found is None:
            line = cells.index[int(np.argmax(codes == code))]
            raise FormatError(
                f"{where}, line {line}: `{cells.name}` is `{unique[code]}`; expected a number, a bound "
                "such as `>10000`, `n.b.` where nothing bound, or an empty cell; "
                f"units are {', '.join(CONCENTRATIONS)}."
            )
    table = pd.DataFrame([part or ("", "", "") for part in parsed], columns=["value", RELATION, "unit"])
    return table.iloc[codes].set_axis(cells.index, axis=0)


def long_table(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """One row per measured cell of a matrix.

    Args:
        table: rows by the first column, the other columns are partners; index `line`.
        where: file name.

    Returns:
        columns: the first one's name, `column` (the partner), `value`, `relation`, `unit`; index `line`,
            which repeats.

    Raises:
        FormatError: a cell is no affinity, a row has no name, or a name is repeated.
    """
    key = str(table.columns[0])
    names, partners = table[key], [str(column) for column in table.columns[1:]]
    if not partners:
        raise FormatError(f"{where}: a matrix needs a column of names and at least one of affinities.")
    wrong = (names.isna() | names.duplicated()).to_numpy()
    if wrong.any():
        line, name = table.index[wrong][0], names[wrong].iloc[0]
        raise FormatError(f"{where}, line {line}: `{key}` is `{name}`: blank or repeated; name rows once.")
    parts = [
        split_marks(table[partner], where).assign(**{key: names, COLUMN: partner}) for partner in partners
    ]
    whole = pd.concat(parts)
    _refuse_negative(whole, key, where)
    unit = unit_in_name(key)
    if unit in CONCENTRATIONS:
        whole["unit"] = whole["unit"].where(whole["unit"] != "", unit)
    whole = whole[whole[RELATION] != ""].rename_axis("line")
    return whole[[key, COLUMN, "value", RELATION, "unit"]].sort_index(kind="stable")


def _refuse_negative(whole: pd.DataFrame, key: str, where: str) -> None:
    """Affinities of a matrix are positive."""
    wrong = (whole["value"] <= 0).to_numpy()
    if wrong.any():
        cell = whole[wrong].iloc[0]
        raise FormatError(
            f"{where}, line {whole.index[wrong][0]}: variant `{cell[key]} × {cell[COLUMN]}`: "
            f"an affinity must be positive; got {cell['value']:g}."
        )


def _parse(cell: str) -> tuple[float, str, str] | None:
    """Number, relation and unit of a cell; None if it is none of what is known."""
    if cell.lower() in _NOT_MEASURED:
        return np.nan, "", ""
    if cell.lower() in _NOTHING_BOUND:
        return np.nan, ">", ""
    match = _CELL.fullmatch(cell)
    if match is None or (match.group(3) or "M") not in CONCENTRATIONS:
        return None
    relation = {">=": ">", "≥": ">", "<=": "<", "≤": "<", "~": "="}.get(match.group(1), match.group(1) or "=")
    return float(match.group(2)), relation, match.group(3) or ""


def _convert_long(table: pd.DataFrame, instrument: Instrument, where: str, measured: bool) -> pd.DataFrame:
    """Split the marks of the column of values."""
    if not measured:
        return table
    own = _binding(instrument, where)
    value = own.columns.get("value", "value")
    parts = split_marks(column_of(table, value, where, "affinity"), where)
    header = unit_in_name(value)
    if header in CONCENTRATIONS:
        parts["unit"] = parts["unit"].where(parts["unit"] != "", header)
    return _joined(table, parts, own, where)


def _convert_matrix(table: pd.DataFrame, instrument: Instrument, where: str, measured: bool) -> pd.DataFrame:
    """Turn a matrix into rows; all its cells if nothing was measured."""
    if not measured:
        rows = table.rename_axis("line").reset_index().melt(["line", table.columns[0]], var_name=COLUMN)
        return rows.drop(columns="value").set_index("line").sort_index(kind="stable")
    own = _binding(instrument, where)
    whole = long_table(table, where)
    return _joined(whole.drop(columns=["value", RELATION, "unit"]), whole, own, where)


def _binding(instrument: Instrument, where: str) -> BindingEnergy:
    """The instrument, which must be one of affinities."""
    if isinstance(instrument, BindingEnergy):
        return instrument
    got = type(instrument).__name__
    raise FormatError(f"{where}: tables of affinities are read by the instrument `affinity`; got {got}.")


def _joined(table: pd.DataFrame, parts: pd.DataFrame, own: BindingEnergy, where: str) -> pd.DataFrame:
    """A table with value, relation and unit in the columns where the instrument looks for them."""
    result = table.assign(**{own.columns.get("value", "value"): parts["value"].to_numpy()})
    bounds = parts[RELATION].isin(["<", ">"]).to_numpy()
    relation = own.columns.get("relation")
    if bounds.any() and relation is None:
        raise FormatError(
            f"{where}, line {parts.index[bounds][0]}: the value is a bound; give the instrument the option "
            f'relation_column = "{RELATION}", so that bounds are read as such.'
        )
    if relation is not None and relation not in table:
        result[relation] = parts[RELATION].replace("", "=").to_numpy()
    elif bounds.any():
        raise FormatError(f"{where}: bounds are marked in the values and in `{relation}`; use one of them.")
    return _with_unit(result, parts, own, where)


def _with_unit(result: pd.DataFrame, parts: pd.DataFrame, own: BindingEnergy, where: str) -> pd.DataFrame:
    """A table with the unit that cells or header state; another one than the instrument's is refused."""
    stated = (parts["unit"] != "").to_numpy()
    column = own.columns.get("unit", "unit")
    if not stated.any():
        return result
    other = stated & (parts["unit"] != own.unit_of_value).to_numpy()
    if own.unit_of_value is not None and other.any():
        raise FormatError(
            f"{where}, line {parts.index[other][0]}: the file says {parts['unit'][other].iloc[0]}, "
            f"the instrument's `unit_of_value` is {own.unit_of_value}; correct one of them."
        )
    blank = ~stated & parts["value"].notna().to_numpy()
    if own.unit_of_value is None and blank.any():
        raise FormatError(
            f"{where}, line {parts.index[blank][0]}: the unit is missing, others state it; add it."
        )
    if column in result:
        raise FormatError(
            f"{where}: the unit is stated in `{column}` and in cells or the header; use one of them."
        )
    unit = parts["unit"].where(stated, parts["unit"][stated].iloc[0])
    return result.assign(**{column: unit.to_numpy()})


LONG = Layout("affinities", convert=_convert_long)
MATRIX = Layout("affinity_matrix", convert=_convert_matrix, all_text=True)
