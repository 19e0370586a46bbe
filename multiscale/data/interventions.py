"""Interventions: what was done to a context, as physics: doses, clamps, knock-downs, inhibitors."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multiscale import content
from multiscale.assays.columns import choice, number, place, require, text
from multiscale.data.tables import read_table
from multiscale.errors import AssayError, DataError, nearest

__all__ = ["KINDS", "Interventions", "read_interventions"]

KINDS = {
    "set": "concentration at the start (µM), or the value of a parameter (in its unit)",
    "dose": "concentration that is added at `time`, µM",
    "clamp": "concentration at which a constant species is held from `time` on, to `until` if stated, µM",
    "knock_down": "fraction of the target that is removed at the start, 0 to 1",
    "over_express": "fold of the target's concentration at the start",
    "inhibit": "fraction by which the rates that the target catalyses fall, 0 to 1",
    "activate": "fold of the rates that the target catalyses",
}
"""Kinds of interventions, with the meaning of their value."""

COLUMNS = {
    "context": "name of the context",
    "kind": f"one of {', '.join(KINDS)}",
    "target": "a species, a parameter (set), or a reaction (inhibit, activate)",
    "value": "a number, or the name of a parameter of the graph",
    "time": "s; blank = the start",
    "until": "s; blank = to the end",
    "note": "anything else",
}
TIMED = ("dose", "clamp")
FRACTIONS = ("knock_down", "inhibit")


def _nothing() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS})


@dataclass(frozen=True, eq=False)
class Interventions:
    """A table of interventions, one row each.

    Args:
        table: columns `context`, `kind`, `target`, `value` (a number, or the name of a parameter of the graph
            that has it), and optional `time`, `until` (s) and `note`. It is kept with `time` and `until` as
            numbers (0 and infinity where blank), `value` as float or text, and a column `place` for messages.
        where: file name, for messages.

    Raises:
        DataError: a column or value is wrong; the message names file, row, column, value and remedy.

    >>> row = {"context": ["drug"], "kind": ["inhibit"], "target": ["MEK"], "value": ["0.9"]}
    >>> first = Interventions(pd.DataFrame(row)).table.loc[0, ["value", "time", "until"]]
    >>> [float(number) for number in first]
    [0.9, 0.0, inf]
    """

    table: pd.DataFrame = field(default_factory=_nothing)
    where: str = "interventions"

    def __post_init__(self) -> None:
        """Check the table and give it its types."""
        if "place" not in self.table:
            object.__setattr__(self, "table", _checked(self.table, self.where))

    def __len__(self) -> int:
        """Count the interventions."""
        return len(self.table)

    def take(self, contexts: Collection[str]) -> Interventions:
        """Those of some contexts."""
        return Interventions(self.table[self.table["context"].isin(list(contexts))])

    def join(self, other: Interventions) -> Interventions:
        """Both, these first; what is in both, from the same place, counts once."""
        mine = set(self.table.itertuples(index=False, name=None))
        new = [row not in mine for row in other.table.itertuples(index=False, name=None)]
        if not any(new):
            return self
        parts = [part for part in (self.table, other.table[new]) if len(part)]
        return Interventions(pd.concat(parts, ignore_index=True))

    def check_contexts(self, known: Collection[str]) -> None:
        """Refuse interventions on contexts that are not there.

        Raises:
            DataError: a context is unknown.
        """
        for name, where in zip(self.table["context"], self.table.get("place", []), strict=True):
            if name not in known:
                raise DataError(
                    f"{where}: `context` is `{name}`, which is not in the data; {nearest(name, known)}"
                )


def read_interventions(path: str | Path) -> Interventions:
    """Read a table of interventions; see `Interventions` for its columns.

    Args:
        path: a .tsv or .csv file, or its path below `datasets/`.

    Raises:
        DataError: the file is missing, or a column or value is wrong.
    """
    file = content.find("datasets", path)
    return Interventions(read_table(file), file.name)


def _checked(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Cells with their types, and the place of every row."""
    if table.empty:
        return _nothing().assign(place=pd.Series(dtype=object))
    try:
        require(table, COLUMNS, ("context", "kind", "target", "value"), where)
        kind = choice(table, "kind", where, KINDS, "")
        time, until = (number(table, column, where) for column in ("time", "until"))
        cells = {name: text(table, name, where) for name in ("context", "target", "value")}
        note = text(table, "note", where, "")
    except AssayError as error:
        raise DataError(str(error)) from None
    value = np.array([_value(cell) for cell in cells["value"]], dtype=object)
    _check_times(table, where, kind, time, until)
    _check_values(table, where, kind, value)
    rows = np.arange(len(table))
    return pd.DataFrame(
        {
            "context": cells["context"],
            "kind": kind,
            "target": cells["target"],
            "value": value,
            "time": np.where(np.isnan(time), 0.0, time),
            "until": np.where(np.isnan(until), np.inf, until),
            "note": note,
            "place": [place(table, rows == row, where) for row in rows],
        }
    )


def _value(cell: str) -> float | str:
    """A number where there is one, else the name of a parameter."""
    try:
        return float(cell)
    except ValueError:
        return cell


def _check_times(
    table: pd.DataFrame,
    where: str,
    kind: NDArray[np.object_],
    time: NDArray[np.float64],
    until: NDArray[np.float64],
) -> None:
    begins = np.where(np.isnan(time), 0.0, time)
    for wrong, problem in (
        (begins < 0, "`time` must not be negative, in s; the start is at 0"),
        (~np.isin(kind, TIMED) & (begins > 0), "`time` belongs to dose and clamp; leave it blank"),
        ((kind != "clamp") & ~np.isnan(until), "`until` belongs to clamp; leave it blank"),
        (until <= begins, "`until` must be later than `time`, in s"),
    ):
        _refuse(table, where, wrong, problem)


def _check_values(
    table: pd.DataFrame, where: str, kind: NDArray[np.object_], value: NDArray[np.object_]
) -> None:
    numbers = np.array([cell if isinstance(cell, float) else 0.5 for cell in value])
    fraction = np.isin(kind, FRACTIONS)
    for wrong, problem in (
        (~np.isfinite(numbers), "`value` must be finite"),
        (fraction & ~((numbers >= 0) & (numbers <= 1)), "`value` must be a fraction, 0 to 1"),
        ((kind != "set") & (numbers < 0), "`value` must not be negative"),
    ):
        got = f"; got {numbers[wrong][0]:g}" if wrong.any() else ""
        _refuse(table, where, wrong, problem + got)


def _refuse(table: pd.DataFrame, where: str, wrong: NDArray[np.bool_], problem: str) -> None:
    if wrong.any():
        raise DataError(f"{place(table, wrong, where)}: {problem}.")
