"""Which cell belongs to which context: to the label it carries."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from multiscale.errors import DataError, nearest

__all__ = ["Labels", "read_labels"]

logger = logging.getLogger("multiscale")


@dataclass(frozen=True, eq=False)
class Labels:
    """The context of every cell that is kept.

    Args:
        keep: true for cells that have one, shape (cell,).
        contexts: context of each kept cell.
        order: contexts in their order.
        empty: labels without a cell, which are left out.
    """

    keep: np.ndarray
    contexts: np.ndarray
    order: list[str]
    empty: list[str]

    @property
    def dropped(self) -> int:
        """Number of cells without a label."""
        return int((~self.keep).sum())

    @property
    def group(self) -> np.ndarray:
        """Index of the context of each kept cell in `order`."""
        return pd.Index(self.order).get_indexer(pd.Index(self.contexts))

    @property
    def n_cells(self) -> np.ndarray:
        """Number of cells of each context."""
        return np.bincount(self.group, minlength=len(self.order))


def read_labels(obs: pd.DataFrame, groupby: str) -> Labels:
    """Read the context of every cell; cells without a label and labels without a cell are left out.

    Args:
        obs: annotations of cells, index = their names.
        groupby: column with the labels.

    Returns:
        contexts in the order of the categories, else sorted.

    Raises:
        DataError: the column is not there or labels no cell.
    """
    if groupby not in obs:
        known = [str(column) for column in obs.columns]
        raise DataError(f"`groupby`: `{groupby}` is not a column of obs; {nearest(groupby, known)}")
    labels = _group(pd.Series(obs[groupby]))
    if not labels.order:
        raise DataError(f"`groupby`: obs['{groupby}'] labels no cell; give a column with labels.")
    if labels.dropped:
        logger.warning("%d cells without a label in obs['%s'] are left out.", labels.dropped, groupby)
    if labels.empty:
        logger.warning("labels of obs['%s'] without a cell are left out: %s.", groupby, labels.empty)
    return labels


def _group(column: pd.Series) -> Labels:
    """Labels of a column of obs."""
    text = np.array([_clean(label) for label in column], dtype=object)
    keep = text != ""
    present = set(text[keep])
    known = _categories(column, present)
    order = [name for name in known if name in present]
    return Labels(keep, text[keep], order, sorted(set(known) - present))


def _clean(label: Any) -> str:
    """Text of a label; empty if it is missing."""
    return "" if pd.isna(label) else str(label).strip()


def _categories(column: pd.Series, present: set[str]) -> list[str]:
    """Known labels in their order: that of the categories, else alphabetical."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(dict.fromkeys(name for name in map(_clean, column.dtype.categories) if name))
    return sorted(present)
