"""Rows of a table that repeat a variant under the same conditions: kept, refused, or pooled where that
loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from multiscale.assays import Instrument
from multiscale.errors import FormatError, nearest

__all__ = ["Repeats", "settle"]

Repeats = Literal["keep", "refuse", "mean"]

_CHOICES = ("keep", "refuse", "mean")


def settle(
    table: pd.DataFrame,
    keys: Sequence[np.ndarray],
    instrument: Instrument,
    repeats: Repeats,
    where: str,
    name_of: Callable[[int], str],
) -> tuple[pd.DataFrame, np.ndarray]:
    """Deal with rows that repeat others.

    Args:
        table: rows, index `line`.
        keys: what identifies a row, each of shape (row, anything).
        instrument: its inputs (replicate, batch...) identify a row too.
        repeats: what to do.
        where: file name.
        name_of: name of the variant of a line.

    Returns:
        the table, and which rows of the old one it has, shape (row,).

    Raises:
        FormatError: rows conflict and `repeats` is `refuse`, or they cannot be pooled.
    """
    if repeats not in _CHOICES:
        raise FormatError(f"`duplicates` = `{repeats}`; {nearest(str(repeats), _CHOICES)}")
    everything = np.arange(len(table))
    if repeats == "keep" or not len(table):
        return table, everything
    return _settle(table, _groups(table, keys, instrument), instrument, repeats, where, name_of)


def _groups(table: pd.DataFrame, keys: Sequence[np.ndarray], instrument: Instrument) -> np.ndarray:
    """Number of the group of equal rows, in order of appearance, shape (row,)."""
    own = instrument.columns
    inputs = [own.get(name, name) for name in instrument.inputs]
    codes = [pd.factorize(table[column])[0][:, None] for column in inputs if column in table]
    parts = [np.ascontiguousarray(part) for part in (*keys, *codes)]
    if not parts:
        return np.arange(len(table))  # nothing says that rows repeat each other
    raw = np.concatenate([part.view(np.uint8).reshape(len(table), -1) for part in parts], axis=1)
    rows = np.ascontiguousarray(raw).view(np.dtype((np.void, raw.shape[1]))).ravel()
    return pd.factorize(np.array(rows.tolist(), dtype=object))[0]


def _settle(
    table: pd.DataFrame,
    groups: np.ndarray,
    instrument: Instrument,
    repeats: Repeats,
    where: str,
    name_of: Callable[[int], str],
) -> tuple[pd.DataFrame, np.ndarray]:
    """Refuse conflicts, or pool."""
    first = np.unique(groups, return_index=True)[1]
    own = instrument.columns
    measured = [own.get(name, name) for name in instrument.measured]
    measured = [column for column in measured if column in table]
    if len(first) == len(table):
        return table, first
    if repeats == "refuse":
        _refuse_conflicts(table, groups, first, measured, where, name_of)
        return table, np.arange(len(table))
    return _pool(table, groups, first, _rule(table, instrument, where), where), first


def _refuse_conflicts(
    table: pd.DataFrame,
    groups: np.ndarray,
    first: np.ndarray,
    measured: Sequence[str],
    where: str,
    name_of: Callable[[int], str],
) -> None:
    """Raise the error that names the first two rows that differ in a measurement."""
    lines = table.index.tolist()
    for column in measured:
        cells = pd.Series(table[column])
        before = cells.iloc[first[groups]].reset_index(drop=True)
        after = cells.reset_index(drop=True)
        differs = ((before != after) & ~(before.isna() & after.isna())).to_numpy()
        if differs.any():
            row = int(np.argmax(differs))
            line, other = lines[row], lines[first[groups[row]]]
            raise FormatError(
                f"{where}, line {line}: variant `{name_of(line)}` conflicts with line {other}: `{column}` is "
                f"{after.iloc[row]}, there {before.iloc[row]}; remove one, name the column that tells "
                'them apart as an input of the instrument, or read each as a reading (duplicates = "keep").'
            )


def _rule(table: pd.DataFrame, instrument: Instrument, where: str) -> dict[str, str]:
    """How every column of measurements is pooled: counts are summed, values weighted by their stated
    errors."""
    own = instrument.columns
    found = {name: own.get(name, name) for name in instrument.measured}
    found = {name: column for name, column in found.items() if column in table}
    counts = [column for name, column in found.items() if "count" in name]
    errors = [column for name, column in found.items() if name in ("sd", "sigma", "se")]
    values = [column for column in found.values() if column not in counts + errors]
    if counts and len(counts) == len(found):
        return dict.fromkeys(counts, "sum")
    if len(values) == len(errors) == 1 and not counts:
        return {values[0]: "mean", errors[0]: "sd"}
    raise FormatError(
        f'{where}: duplicates = "mean" loses nothing only for counts alone, or for a value with its standard '
        f"deviation; {type(instrument).__name__} reads {', '.join(found.values())}; "
        'use "keep", so that each repeat is a reading.'
    )


def _pool(
    table: pd.DataFrame, groups: np.ndarray, first: np.ndarray, rule: dict[str, str], where: str
) -> pd.DataFrame:
    """One row per group: counts are summed; value = Σ v/s² / Σ 1/s², its standard deviation (Σ 1/s²)^-½."""
    pooled = {column: _positive(table, column, where, rule[column]) for column in rule}
    kinds = {kind: column for column, kind in rule.items()}
    size = len(first)
    if "sum" in kinds:
        new = {column: np.bincount(groups, cells, size) for column, cells in pooled.items()}
    else:
        weight = pooled[kinds["sd"]] ** -2
        total = np.bincount(groups, weight, size)
        mean = np.bincount(groups, weight * pooled[kinds["mean"]], size) / total
        new = {kinds["mean"]: mean, kinds["sd"]: total**-0.5}
    return table.iloc[first].assign(**new)


def _positive(table: pd.DataFrame, column: str, where: str, kind: str) -> np.ndarray:
    """Numbers that can be pooled: none missing, standard deviations positive, counts not negative."""
    cells = pd.to_numeric(pd.Series(table[column]), errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(cells)
    wrong |= {"sd": cells <= 0, "sum": cells < 0}.get(kind, np.zeros(len(cells), dtype=bool))
    if wrong.any():
        line, cell = table.index[wrong][0], table[column].iloc[int(np.argmax(wrong))]
        raise FormatError(
            f"{where}, line {line}: `{column}` = {cell} cannot be pooled with its repeats; correct it."
        )
    return cells
