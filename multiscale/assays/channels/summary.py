"""What some thousand cells say of every feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from multiscale.assays.channels.channel import Summary
from multiscale.errors import AssayError

__all__ = ["over_batches", "summarise"]

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)

WIDTH = 256
"""Features made dense at once."""


def summarise(
    y: np.ndarray | sparse.csr_array,
    size: np.ndarray,
    batch: np.ndarray,
    features: Sequence[str],
    batches: Sequence[str],
) -> Summary:
    """Summarise readings of cells that were measured, per batch and feature.

    Args:
        y: readings, shape (cell, feature).
        size: size factors, positive, shape (cell,); ones where readings do not grow with them.
        batch: number of the batch of every cell, shape (cell,).
        features: names.
        batches: names.

    Returns:
        `Summary`, float64; NaN where a batch has no cell.

    Raises:
        AssayError: there is no cell, or shapes do not agree.

    >>> summary = summarise(np.array([[0.0], [4.0]]), np.array([1.0, 2.0]), np.array([0, 0]), ["f"], ["b"])
    >>> summary.mean.item(), summary.variance.item(), summary.zeros.item()
    (1.0, 1.0, 0.5)
    """
    _check(y, size, batch, features)
    found = np.full((3 + len(LEVELS), len(batches), len(features)), np.nan)
    columns = sparse.csc_array(y) if sparse.issparse(y) else np.asarray(y)
    members = [np.flatnonzero(batch == number) for number in range(len(batches))]
    for first in range(0, len(features), WIDTH):
        part = columns[:, first : first + WIDTH]
        dense = np.asarray(part.toarray() if sparse.issparse(part) else part, dtype=np.float64)  # pyright: ignore[reportAttributeAccessIssue]
        for number, rows in enumerate(members):
            if len(rows):
                found[:, number, first : first + WIDTH] = _moments(dense[rows], size[rows])
    return Summary(
        features=features,
        batches=batches,
        cells=np.array([len(rows) for rows in members]),
        mean=found[0],
        variance=found[1],
        zeros=found[2],
        quantiles=found[3:],
    )


def over_batches(summary: Summary, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Mean over the cells of all batches, and their number.

    Args:
        summary: whose numbers of cells are the weights.
        values: shape (batch, feature); those of batches without cells do not count.

    Returns:
        shape (feature,), and the number of cells.
    """
    filled = summary.cells > 0
    weights = summary.cells[filled]
    return np.average(values[filled], axis=0, weights=weights), int(weights.sum())


def _moments(y: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Mean, variance, share of zeros and quantiles of the cells of a batch, shape (number, feature)."""
    scaled = y / size[:, None]
    return np.concatenate([[scaled.mean(0), scaled.var(0), (y == 0).mean(0)], np.quantile(y, LEVELS, axis=0)])


def _check(y: Any, size: np.ndarray, batch: np.ndarray, features: Sequence[str]) -> None:
    cells, width = y.shape
    if cells == 0:
        raise AssayError("there is no measured cell to summarise; check the filter and the names of cells.")
    if (len(size), len(batch), len(features)) != (cells, cells, width):
        given = f"{len(size)} sizes, {len(batch)} batches, {len(features)} names"
        raise AssayError(f"readings of shape {(cells, width)} do not go with {given}.")
