"""Energies of one mutation in several terms of which only a combination is determined."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations as pairs_of

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.fit.identify import TOGETHER

__all__ = ["combinations"]

Entries = Callable[[Tensor, Tensor], Tensor]


def combinations(table: pd.DataFrame, position: np.ndarray, covariance: Entries) -> pd.DataFrame:
    """Find for every energy another term's energy of the same label that only together with it is determined.

    A reading that saturates determines ΔΔG_a + ΔΔG_b (or their difference) alone. Two energies count as such
    a pair if the data determine neither, and the sd of the sum or the difference is below half the smaller of
    theirs.

    Args:
        table: columns encoder, family, term, label, determinedBy.
        position: of every row among the parameters.
        covariance: gives elements C_ij of that of all values for positions i and j.

    Returns:
        columns partner (its term, or ''), combination (such as `fold + bind`, or ''), combination_sd, in the
        rows of `table`.
    """
    found = pd.DataFrame(
        {"partner": "", "combination": "", "combination_sd": np.nan}, index=table.index, dtype=object
    )
    found["combination_sd"] = found["combination_sd"].astype(float)
    for _, family in table.groupby(["encoder", "family"], sort=False):
        parts = {str(term): part.index.to_numpy() for term, part in family.groupby("term", sort=False)}
        for one, other in pairs_of(parts, 2):
            _compare(found, table, (one, parts[one]), (other, parts[other]), position, covariance)
    return found


def _compare(
    found: pd.DataFrame,
    table: pd.DataFrame,
    one: tuple[str, np.ndarray],
    other: tuple[str, np.ndarray],
    position: np.ndarray,
    covariance: Entries,
) -> None:
    """Enter the pairs of two terms; both list the same labels in the same order."""
    a, b = position[one[1]], position[other[1]]
    i, j = torch.from_numpy(a), torch.from_numpy(b)
    both, first, second = (covariance(*at).cpu().numpy() for at in ((i, j), (i, i), (j, j)))
    combined = first + second - 2 * np.abs(both)
    loose = (table["determinedBy"] != "data").to_numpy()
    tied = loose[one[1]] & loose[other[1]] & (combined < TOGETHER**2 * np.minimum(first, second))
    names = np.where(both < 0, f"{one[0]} + {other[0]}", f"{one[0]} - {other[0]}")  # errors cancel in it
    for rows, partner in ((one[1], other[0]), (other[1], one[0])):
        better = tied & ~(found.loc[rows, "combination_sd"].to_numpy() ** 2 <= combined)
        chosen = rows[better]
        found.loc[chosen, "partner"] = partner
        found.loc[chosen, "combination"] = names[better]
        found.loc[chosen, "combination_sd"] = np.sqrt(np.maximum(combined[better], 0.0))
