"""What is known of entities: cells of a table of their own, or of the rows that are about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multiscale.data import Readings, read_table
from multiscale.encoders.places import place
from multiscale.errors import DataError, nearest

__all__ = ["EntityTable", "Item", "items_from_rows"]


@dataclass(frozen=True)
class Item:
    """What is known of an entity.

    Args:
        name: of the entity.
        cells: texts of its columns, '' where nothing is known.
        where: file and line, for error messages.
    """

    name: str
    cells: tuple[str, ...]
    where: str

    @property
    def known(self) -> bool:
        """Whether no cell is blank."""
        return all(self.cells)


class EntityTable:
    """A table with one row per entity.

    Args:
        path: of the table.
        key: column with names of entities; the first if None.
        columns: that are wanted; all but the key if None.

    Raises:
        DataError: a column is missing, or an entity occurs twice.
    """

    def __init__(self, path: Path, key: str | None, columns: Sequence[str] | None) -> None:
        table = read_table(path)
        key = table.columns[0] if key is None else key
        self.file = path.name
        self.columns = [c for c in table.columns if c != key] if columns is None else list(columns)
        for column in [key, *self.columns]:
            if column not in table:
                hint = nearest(column, table.columns)
                raise DataError(f"{self.file}: there is no column `{column}`; {hint}")
        names = [name.strip() for name in table[key]]
        cells = table[self.columns].to_numpy(dtype=object).tolist()
        self.items: dict[str, Item] = {}
        for name, row, line in zip(names, cells, table.index, strict=True):
            where = f"{self.file}, line {line}"
            if name in self.items:
                raise DataError(f"{where}: `{name}` occurs twice; keep one row of it.")
            self.items[name] = Item(name, tuple(cell.strip() for cell in row), where)

    def item(self, name: str, where: str) -> Item:
        """What is known of an entity; its cells are blank if it is not there.

        Args:
            name: of the entity.
            where: file and line of a row about it.
        """
        return self.items.get(name, Item(name, ("",) * len(self.columns), where))


def items_from_rows(
    readings: Readings, columns: Sequence[str], names: Sequence[str], first: np.ndarray, entity: np.ndarray
) -> list[Item]:
    """What the rows themselves say of their entities.

    Args:
        readings: rows.
        columns: that are wanted.
        names: of the entities.
        first: first row about each of them.
        entity: which of them every row is about.

    Raises:
        DataError: a column is missing, or rows about one entity differ in it.
    """
    cells: list[list[str]] = []
    for column in columns:
        if column not in readings.rows:
            hint = nearest(column, readings.rows.columns)
            raise DataError(f"`{readings.name}`: there is no column `{column}`; {hint}")
        values = readings.rows[column].fillna("").astype(str).str.strip().to_numpy()
        differs = np.flatnonzero(values != values[first][entity])
        if len(differs):
            row = int(differs[0])
            raise DataError(
                f"{place(readings, row)}: `{names[entity[row]]}` has another `{column}` here than before; got"
                f" `{values[row]}`; give one value per entity."
            )
        cells.append(values[first].tolist())
    texts = list(zip(*cells, strict=True)) if cells else [()] * len(names)
    places = [place(readings, int(row)) for row in first]
    return [Item(*parts) for parts in zip(names, texts, places, strict=True)]
