"""Counts of a matrix: as they are, or recovered from log1p-normalised values where that is exact.

Normalising multiplies the counts n of a cell by target/size and takes log1p, so n = expm1(X)·size/target. If
that comes out integer everywhere, it is the matrix of counts: by chance one value in five would be within 0.1
of an integer, never all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from multiscale.data.matrix import Matrix
from multiscale.errors import DataError

__all__ = ["Recovered", "common_target", "counts_of"]

TOLERANCE = 0.1
"""Largest distance to an integer; logarithms kept with few digits are 0.08 off at counts in the hundreds."""

ENOUGH = 20
"""Values a cell needs before its smallest one may be taken for a single count."""

logger = logging.getLogger("multiscale")


@dataclass(frozen=True, eq=False)
class Recovered:
    """Counts and how they came about.

    Args:
        counts: int64, shape (cell, feature).
        recovered: false if the matrix held them as they are.
        max_deviation: largest distance to an integer before rounding.
        target_sum: total that the cells had been normalised to; None if not needed.
    """

    counts: sparse.csr_array
    recovered: bool
    max_deviation: float
    target_sum: float | None

    @property
    def provenance(self) -> dict[str, object]:
        """What was done, JSON-able."""
        return {
            "recovered": self.recovered,
            "max_deviation": self.max_deviation,
            "target_sum": self.target_sum,
        }


def counts_of(
    matrix: Matrix, size: np.ndarray | None, target_sum: float | None, may_recover: bool
) -> Recovered | None:
    """Counts of a matrix, or None if it is log1p-normalised in a way that cannot be undone exactly.

    Args:
        matrix: counts, or log1p of normalised counts.
        size: total counts of each cell, shape (cell,), if known.
        target_sum: total that the cells were normalised to, if known.
        may_recover: false refuses whatever holds no counts.

    Raises:
        DataError: counts were promised and a value is not an integer, or values cannot be logarithms of
            counts.
    """
    data = matrix.values.data
    fraction = data != np.rint(data)
    if not fraction.any():
        return Recovered(matrix.with_data(data.astype(np.int64)), False, 0.0, None)
    if not may_recover:
        remedy = "give the layer that holds counts, or `recover=True` if these are log1p-normalised"
        raise DataError(f"counts were promised, but {matrix.at(int(fraction.argmax()))}; {remedy}.")
    return _recover(matrix, size, target_sum)


def _recover(matrix: Matrix, size: np.ndarray | None, target_sum: float | None) -> Recovered | None:
    """Try the factors in turn until one makes counts of all values."""
    closest = np.inf
    natural = matrix.natural()
    for factor, target in _factors(matrix, natural, size, target_sum):
        scaled = natural.data * factor[matrix.rows]
        counts = np.rint(scaled)
        deviation = float(np.abs(scaled - counts).max())
        # Too small a factor rounds values to zero, too large a one leaves a common divisor.
        if deviation <= TOLERANCE and counts.min() >= 1 and np.gcd.reduce(counts.astype(np.int64)) == 1:
            return Recovered(matrix.with_data(counts.astype(np.int64)), True, deviation, target)
        closest = min(closest, deviation)
    logger.warning("no counts in `%s`: at best %.2g from an integer.", matrix.where, closest)
    return None


def common_target(natural: sparse.csr_array) -> float | None:
    """Total that all cells were normalised to, if their sums agree to 1 %: if no feature was left out.

    >>> common_target(sparse.csr_array(np.array([[1.0, 3.0], [2.0, 2.0]])))
    4.0
    """
    sums = natural.sum(axis=1)
    sums = sums[sums > 0]
    if sums.size and np.ptp(sums) <= 0.01 * sums.mean():
        return float(np.median(sums))
    return None


def _factors(
    matrix: Matrix, natural: sparse.csr_array, size: np.ndarray | None, target_sum: float | None
) -> Iterator[tuple[np.ndarray, float | None]]:
    """Factors size/target per cell worth trying, the usual one first, with the target."""
    if size is not None and (size > 0).any():
        usual = [1e4, common_target(natural), float(np.median(size[size > 0])), 1e6]
        targets = usual if target_sum is None else [target_sum]
        yield from ((size / target, target) for target in targets if target is not None)
    per_cell = np.diff(matrix.values.indptr)
    if target_sum is None and per_cell[per_cell > 0].min() >= ENOUGH:
        # The smallest value of a cell is one count.
        smallest = np.full(len(per_cell), np.inf)
        np.minimum.at(smallest, matrix.rows, natural.data)
        yield 1.0 / smallest, None
