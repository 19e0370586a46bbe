"""Which columns of a table hold sequences, how they are written, and where the wild type is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiscale.data.sequences import Sequences
from multiscale.errors import FormatError, nearest
from multiscale.formats.variants.file import chosen, column_of
from multiscale.formats.variants.notation import Notation, sequences_of_mutations

__all__ = ["SequenceColumn", "read_sequences", "reference_of"]


@dataclass(frozen=True)
class SequenceColumn:
    """A column with the sequence of a molecule.

    Args:
        molecule: whose sequence it is.
        column: name in the table.
        alphabet: name in `ALPHABETS`, or the letters themselves.
        reference: wild type; None: the row that `reference_where` (or the format, such as a column `WT`)
            marks; '': there is none (unrelated sequences of an alignment).
        first: number of the first residue.
        notation: `sequence`, `mutations` (`A24G:T30P`, `wt`) or `hgvs` (`p.Ala24Gly`).
        reference_where: values of columns that mark the wild type's row, such as {"dist": 0}.
    """

    molecule: str
    column: str
    alphabet: str = "protein"
    reference: str | None = None
    first: int = 1
    notation: Notation = "sequence"
    reference_where: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        """Check the notation."""
        known = ("sequence", "mutations", "hgvs")
        if self.notation not in known:
            raise FormatError(
                f"`notation` of `{self.column}` is `{self.notation}`; {nearest(self.notation, known)}"
            )


def read_sequences(
    table: pd.DataFrame, column: SequenceColumn, where: str, reference: str, keep: np.ndarray
) -> Sequences:
    """Sequences of the rows kept.

    Args:
        table: all rows of the file, index `line`.
        column: what to read.
        where: file name.
        reference: wild type, see `reference_of`.
        keep: rows wanted, shape (row,).

    Raises:
        DataError: see `Sequences.read`.
        FormatError: see `sequences_of_mutations`; there is no such column, or a cell is blank.
    """
    cells = column_of(table, column.column, where, f"sequence of `{column.molecule}`")[keep]
    lines = cells.index.to_numpy()
    blank = cells.isna().to_numpy()
    if blank.any():
        remedy = f'fill it, or leave out such rows: where = {{ {column.column} = {{ not = "" }} }}'
        raise FormatError(f"{where}, line {lines[blank][0]}: `{column.column}` is blank; {remedy}.")
    options = {"alphabet": column.alphabet, "first": column.first, "where": where}
    texts = [text.strip() for text in cells.tolist()]
    if column.notation == "sequence":
        return Sequences.read(texts, reference=reference, lines=lines, **options)
    return sequences_of_mutations(
        texts, reference=reference, notation=column.notation, lines=lines, **options
    )


def reference_of(
    table: pd.DataFrame, column: SequenceColumn, where: str, mark: Mapping[str, object] | None
) -> str:
    """Wild type of a column: stated, or that of the row that is marked; '' where there is none.

    Args:
        table: all rows of the file.
        column: what to read.
        where: file name.
        mark: values of columns that mark the wild type in this format.

    Raises:
        FormatError: no row is marked, or rows marked have different sequences.
    """
    if column.reference is not None:
        return column.reference
    mark = column.reference_where or mark
    ways = (
        f'state it (reference = "..." of `{column.molecule}`), or how its row is marked (reference_where = '
        '{ column = value }); reference = "" says that there is none'
    )
    if not mark or (not column.reference_where and not set(mark) <= set(table.columns)):
        raise FormatError(
            f"{where}: the wild type of `{column.molecule}` (column `{column.column}`) is absent; {ways}."
        )
    rows = column_of(table, column.column, where, f"sequence of `{column.molecule}`")[
        chosen(table, mark, where)
    ]
    said = ", ".join(f"{name} = {value}" for name, value in mark.items())
    if not len(rows):
        raise FormatError(
            f"{where}: the wild type of `{column.molecule}` is absent: no row has {said}; {ways}."
        )
    found = rows.dropna().unique()
    if len(found) != 1:
        line = rows.index[1] if len(rows) > 1 else rows.index[0]
        raise FormatError(
            f"{where}, line {line}: variant `{found[-1] if len(found) else ''}`: rows with {said} hold "
            f"{len(found)} sequences, one wild type is needed; {ways}."
        )
    return str(found[0])
