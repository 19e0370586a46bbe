"""Positive intensities whose logarithm is normal: group means of normalised expression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multiscale.assays.assay import Assay, Noise, Offset, keys, noise_keys
from multiscale.assays.columns import NOTES, notes, number, positive_number, refuse, require, text
from multiscale.assays.options import flag, positive, text_or_none
from multiscale.errors import AssayError

__all__ = ["USUAL_TARGET", "LogNormal"]

USUAL_TARGET = 1e4
"""Total that scanpy's tutorials normalise cells to; assumed where nothing tells."""


@dataclass(frozen=True, kw_only=True)
class LogNormal(Assay):
    """Mean normalised expression of a transcript in a group, log-normal.

    For matrices whose counts cannot be recovered.

    y = ln(mean expm1(X) / target_sum) = ln transcript fraction + scale + noise, one scale per source.

    Args:
        layer: layer of the AnnData that holds log1p-normalised values; None = X.
        use_raw: read `adata.raw.X` instead.
        target_sum: total that the cells were normalised to; None = from the row sums if they agree, else
            10,000.
        scale_sd: prior sd of the scale, ln units: how well `target_sum` is known.
        noise_median: prior median of the sd of an entry, ln units.
        noise_ln_sd: sd of the ln of that sd.
    """

    layer: str | None = None
    use_raw: bool = False
    target_sum: float | None = None
    scale_sd: float = math.log(2.0)
    noise_median: float = 0.5
    noise_ln_sd: float = 0.5

    reads: ClassVar[tuple[str, ...]] = ("transcript",)
    scale: ClassVar[str] = "ln level"
    columns: ClassVar[dict[str, str]] = {
        "context": "name of the group or cell",
        "molecule": "identifier of the molecule",
        "value": "mean of the normalised (not logarithmic) expression; 0 or blank = not seen",
        "limit": "smallest value that would have been seen, needed where `value` is 0",
        "source": "entries of one source share a scale",
        "sd": "known standard deviation of ln value",
        **NOTES,
    }

    def __post_init__(self) -> None:
        """Check the options."""
        text_or_none("LogNormal", layer=self.layer)
        flag("LogNormal", use_raw=self.use_raw)
        positive("LogNormal", "ln units", scale_sd=self.scale_sd)
        positive("LogNormal", "ln units", noise_median=self.noise_median, noise_ln_sd=self.noise_ln_sd)
        if self.target_sum is not None:
            positive("LogNormal", "the unit of the matrix", target_sum=self.target_sum)
        if self.layer is not None and self.use_raw:
            raise AssayError("LogNormal: give `layer` or `use_raw`, not both.")

    def prepare(self, table: pd.DataFrame, where: str = "table") -> pd.DataFrame:
        """Check a table of group means and convert it to entries; see `Assay.prepare`.

        Returns:
            y = ln(value / target_sum), or ln(limit / target_sum) where nothing was seen (left-censored); also
            the column `source`.
        """
        require(table, self.columns, ("context", "molecule", "value"), where)
        value, unseen = _read_values(table, where)
        return notes(table).assign(
            context=text(table, "context", where),
            target=text(table, "molecule", where),
            readout="transcript",
            y=np.log(value / (self.target_sum or USUAL_TARGET)),
            censoring=-unseen.astype(np.int64),
            sd=positive_number(table, "sd", where),
            source=text(table, "source", where, "all"),
        )

    def offsets(self, entries: pd.DataFrame) -> list[Offset]:
        """One scale per source."""
        return [Offset("scale", keys(entries, "source"), 0.0, self.scale_sd)]

    def noise(self, entries: pd.DataFrame) -> Noise:
        """One standard deviation per source."""
        return Noise("noise", noise_keys(entries, "source"), self.noise_median, self.noise_ln_sd)


def _read_values(table: pd.DataFrame, where: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values, or limits where nothing was seen, and which rows these are."""
    value, limit = number(table, "value", where), positive_number(table, "limit", where)
    unseen = np.isnan(value) | (value == 0)
    for wrong, problem in (
        (value < 0, "`value` is negative; give means of expm1(X), not of a scaled matrix"),
        (unseen & np.isnan(limit), "nothing was seen and `limit` is blank; give the limit or drop the row"),
    ):
        if wrong.any():
            refuse(table, wrong, where, problem)
    return np.where(unseen, limit, value), unseen
