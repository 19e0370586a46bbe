"""Batches and conditions of cells, as numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from multiscale.data.cells.cells import Codes
from multiscale.errors import DataError, nearest

__all__ = ["codes_of", "column_of"]

ONE = "all"
"""Name of the batch or condition of cells of which nothing is stated."""


def column_of(obs: pd.DataFrame, key: str, argument: str) -> pd.Series:
    """A column of obs.

    Raises:
        DataError: it is not there.
    """
    if key not in obs:
        known = [str(name) for name in obs.columns]
        raise DataError(f"`{argument}`: `{key}` is not a column of obs; {nearest(key, known)}")
    return pd.Series(obs[key])


def codes_of(column: pd.Series | None, size: int) -> Codes:
    """Number the labels of cells: in the order of the categories, else sorted; those of no cell are left out.

    Args:
        column: label of every cell; None gives all cells the label `all`.
        size: number of cells.

    Raises:
        DataError: a label is missing.

    >>> codes = codes_of(pd.Series(["b", "a", "b"]), 3)
    >>> codes.names, codes.codes.tolist()
    (('a', 'b'), [1, 0, 1])
    """
    if column is None:
        return Codes((ONE,), np.zeros(size, dtype=np.int64))
    number, labels = pd.factorize(column)
    text = np.array([str(label).strip() for label in labels], dtype=object)
    missing = (number < 0) | np.isin(number, np.flatnonzero(text == ""))
    if missing.any():
        cell, more = column.index[int(missing.argmax())], int(missing.sum()) - 1
        also = f" (and of {more} more)" if more else ""
        raise DataError(
            f"obs['{column.name}'] of cell `{cell}`{also} is missing; fill it in, or drop these cells."
        )
    present = set(text)
    if isinstance(column.dtype, pd.CategoricalDtype):
        known = dict.fromkeys(str(name).strip() for name in column.dtype.categories)
        names = [name for name in known if name in present]
    else:
        names = sorted(present)
    position = {name: i for i, name in enumerate(names)}
    return Codes(tuple(names), np.array([position[name] for name in text], dtype=np.int64)[number])
