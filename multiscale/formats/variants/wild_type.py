"""A row for the wild type in tables of scans that are stated relative to it and do not list it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from multiscale.errors import FormatError, nearest
from multiscale.formats.variants.notation import Notation

__all__ = ["ADDED", "SAID", "add_wild_type", "usual_label", "wild_type_cell"]

ADDED = 0
"""Line of the added row; lines of a file begin at 1."""
SAID = f"line {ADDED} (added wild type)"
"""How messages name it."""


def wild_type_cell(reference: str, notation: Notation, molecule: str, where: str) -> str:
    """How a column writes the wild type.

    Raises:
        FormatError: there is none.
    """
    if not reference:
        raise FormatError(f"{where}: `wild_type` adds a row, but `{molecule}` has no wild type; state it.")
    return {"sequence": reference, "mutations": "wt", "hgvs": "p.="}[notation]


def add_wild_type(table: pd.DataFrame, cells: Mapping[str, float | str], where: str) -> pd.DataFrame:
    """Append a row; columns that are not given are blank.

    Args:
        table: rows of the file, index `line`.
        cells: of the row, by column.
        where: file name.

    Raises:
        FormatError: the file has no such column.

    >>> table = pd.DataFrame({"seq": ["AC"], "y": [-1.0]}, index=pd.Index([2], name="line"))
    >>> add_wild_type(table, {"seq": "AG", "y": 0.0}, "scan.csv")["y"].tolist()
    [-1.0, 0.0]
    """
    for column in cells:
        if column not in table:
            known = [str(name) for name in table.columns]
            raise FormatError(f"{where}: no column `{column}` (`wild_type`); {nearest(column, known)}")
    text = {column: table[column].dtype == object for column in cells}
    row = {column: [str(cell) if text[column] else cell] for column, cell in cells.items()}
    found = pd.concat([table, pd.DataFrame(row, index=pd.Index([ADDED], name=table.index.name))])
    return found[table.columns]


def usual_label(labels: np.ndarray) -> str:
    """Label of the added row: `training` if there is such a label, else that of the first row."""
    return "training" if "training" in labels else str(labels[0])
