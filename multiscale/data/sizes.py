"""Size of every cell: how many transcripts were counted in it, which its counts are relative to."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from multiscale.errors import DataError, nearest

__all__ = ["Sizes", "choose_sizes", "stated_sizes"]

SIZE_KEYS = ("n_counts", "total_counts", "nCount_RNA")
"""Columns of obs where scanpy (old and new) and Seurat keep the total counts of a cell."""

logger = logging.getLogger("multiscale")


@dataclass(frozen=True, eq=False)
class Sizes:
    """Sizes of cells and where they are from.

    Args:
        values: shape (cell,), ≥ 0.
        where: as a user would write it: `obs['n_counts']` or `row sums`.
        asked: whether the user named the column.
    """

    values: np.ndarray
    where: str
    asked: bool = False


def stated_sizes(obs: pd.DataFrame, key: str | None) -> Sizes | None:
    """Read the sizes that obs states.

    Args:
        obs: annotations of cells.
        key: column asked for; None looks for the usual ones.

    Returns:
        None if no column was asked for and none of the usual ones is there.

    Raises:
        DataError: the column asked for is not there, or a size is negative or no number.
    """
    numeric = [name for name in SIZE_KEYS if name in obs and pd.api.types.is_numeric_dtype(obs[name])]
    column = key if key is not None else next(iter(numeric), None)
    if column is None:
        return None
    if column not in obs:
        hint = nearest(column, [str(name) for name in obs.columns])
        raise DataError(f"`size_factor_key`: `{column}` is not a column of obs; {hint}")
    values = np.asarray(pd.to_numeric(obs[column].tolist(), errors="coerce"), dtype=np.float64)
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        cell = int(np.argmax(wrong))
        got = obs[column].tolist()[cell]
        raise DataError(f"obs['{column}'] of cell `{obs.index[cell]}` must be a positive number; got {got}.")
    return Sizes(values, f"obs['{column}']", asked=key is not None)


def choose_sizes(counts: sparse.csr_array, stated: Sizes | None) -> Sizes:
    """Take the stated sizes if they were asked for or can be totals of these counts, else the row sums.

    Args:
        counts: shape (cell, feature).
        stated: sizes that obs states.
    """
    sums = np.asarray(counts.sum(axis=1), dtype=np.float64)
    if stated is None:
        return Sizes(sums, "row sums")
    # A total covers the features at hand; half a count allows for totals kept as float32.
    if stated.asked or bool((stated.values >= sums * (1.0 - 1e-6) - 0.5).all()):
        return stated
    logger.warning("%s is below the sum of the counts of a cell; row sums are its size.", stated.where)
    return Sizes(sums, "row sums")
