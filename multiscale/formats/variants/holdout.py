"""Rows kept from the fit, to be predicted: drawn at random, whole groups together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiscale.errors import FormatError
from multiscale.formats.variants.file import column_of

__all__ = ["Holdout"]


@dataclass(frozen=True)
class Holdout:
    """Draw rows to be labelled `test`; the others are `training`.

    Args:
        fraction: of the rows, or of the groups.
        seed: of the draw.
        by: columns whose equal values keep rows together, such as a receptor: the test is then of unseen
            ones.
    """

    fraction: float
    seed: int = 0
    by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the fraction."""
        if not 0 < self.fraction < 1:
            raise FormatError(f"`holdout`: `fraction` must lie between 0 and 1; got {self.fraction}.")
        if isinstance(self.by, str):
            raise FormatError(f"`holdout`: `by` must be a list of columns; got `{self.by}`.")

    def labels(self, table: pd.DataFrame, where: str) -> np.ndarray:
        """Label every row, shape (row,).

        Raises:
            FormatError: no such column, or too few rows or groups.

        >>> table = pd.DataFrame({"drug": ["a", "a", "b", "b"]})
        >>> sorted(Holdout(0.5, by=("drug",)).labels(table, "a.csv")[[0, 2]].tolist())
        ['test', 'training']
        """
        for column in self.by:
            column_of(table, column, where, "`by` of `holdout`")
        groups = np.arange(len(table))
        if self.by:
            groups = table.groupby(list(self.by), dropna=False, sort=True).ngroup().to_numpy()
        count = int(groups.max()) + 1
        drawn = round(self.fraction * count)
        if not 0 < drawn < count:
            what = "groups" if self.by else "rows"
            drew = f"`holdout` of {self.fraction:g} of {count} {what}"
            raise FormatError(f"{where}: {drew} leaves one part empty; change `fraction`.")
        test = np.random.default_rng(self.seed).permutation(count)[:drawn]
        return np.where(np.isin(groups, test), "test", "training")
