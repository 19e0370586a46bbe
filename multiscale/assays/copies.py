"""Absolute copy numbers per cell: proteomics, antibody counts, receptor sites."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multiscale.assays.assay import Assay, Noise, Offset, keys, noise_keys
from multiscale.assays.columns import NOTES, choice, notes, number, positive_number, refuse, require, text
from multiscale.assays.options import positive

__all__ = ["Copies"]


@dataclass(frozen=True, kw_only=True)
class Copies(Assay):
    """Copies of a molecule per cell, log-normal, with unknown scales of sources and of their molecules.

    y = ln copies = ln readout + source + scale(source, molecule) + noise. Only the product of these scales
    and the translation factor of the molecule is determined by copies; the priors below share it out.

    Args:
        limit: copies per cell below which a value says only "fewer than this"; a row may state its own in
            column `limit`.
        scale_sd: prior sd of the scale of one molecule in one source, in ln units; ln 5 for mass
            spectrometry.
        source_sd: prior sd of the scale of a whole source, in ln units.
        noise_median: prior median of the sd of a source's entries, in ln units.
        noise_ln_sd: sd of the ln of that sd.
    """

    limit: float = 1000.0
    scale_sd: float = math.log(5.0)
    source_sd: float = math.log(10.0)
    noise_median: float = 0.5
    noise_ln_sd: float = 0.5

    reads: ClassVar[tuple[str, ...]] = ("total", "surface")
    scale: ClassVar[str] = "ln copies"
    columns: ClassVar[dict[str, str]] = {
        "context": "name of the group or cell",
        "molecule": "identifier of the molecule",
        "value": "copies per cell; blank if not detected",
        "source": "study or instrument; entries of one source share a scale",
        "detected": "yes (default) or no",
        "readout": "total (default) or surface",
        "limit": "detection limit of this row, copies per cell",
        "sd": "known standard deviation of ln copies",
        "quantity": "quantity as published",
        "unit": "something per cell",
        **NOTES,
    }

    def __post_init__(self) -> None:
        """Check the options."""
        positive("Copies", "copies per cell", limit=self.limit)
        positive("Copies", "ln units", scale_sd=self.scale_sd, source_sd=self.source_sd)
        positive("Copies", "ln units", noise_median=self.noise_median, noise_ln_sd=self.noise_ln_sd)

    def prepare(self, table: pd.DataFrame, where: str = "table") -> pd.DataFrame:
        """Check a table of copies and convert it to entries; see `Assay.prepare`.

        Returns:
            y = ln copies, or ln limit where left-censored; also the column `source`.
        """
        require(table, self.columns, ("context", "molecule", "value", "source"), where)
        _check_units(table, where)
        value, limit, censored = self._read_values(table, where)
        return notes(table).assign(
            context=text(table, "context", where),
            target=text(table, "molecule", where),
            readout=choice(table, "readout", where, self.reads, "total"),
            y=np.log(np.where(censored, limit, value)),
            censoring=-censored.astype(np.int64),
            sd=positive_number(table, "sd", where),
            source=text(table, "source", where),
        )

    def offsets(self, entries: pd.DataFrame) -> list[Offset]:
        """One shift per source and molecule, and one per source."""
        source = keys(entries, "source")
        each = source + "|" + keys(entries, "target")
        return [Offset("scale", each, 0.0, self.scale_sd), Offset("source", source, 0.0, self.source_sd)]

    def noise(self, entries: pd.DataFrame) -> Noise:
        """One standard deviation per source."""
        return Noise("noise", noise_keys(entries, "source"), self.noise_median, self.noise_ln_sd)

    def _read_values(
        self, table: pd.DataFrame, where: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Values, limits, and whether a row says only that there are fewer than its limit."""
        value = number(table, "value", where)
        detected = choice(table, "detected", where, ("yes", "no"), "yes") == "yes"
        limit = positive_number(table, "limit", where)
        limit = np.where(np.isnan(limit), self.limit, limit)
        for wrong, problem in (
            (value < 0, "`value` is negative, which copies per cell cannot be; correct it or drop the row"),
            (detected & np.isnan(value), "`value` is blank; drop the row or write detected = no"),
            (~detected & (value >= limit), "not detected, yet `value` is not below the `limit`; state both"),
        ):
            if wrong.any():
                refuse(table, wrong, where, problem)
        return value, limit, ~detected | (value < limit)


def _check_units(table: pd.DataFrame, where: str) -> None:
    """Refuse a unit that is not per cell."""
    unit = text(table, "unit", where, default="copies/cell")
    wrong = np.array([not cell.endswith("/cell") for cell in unit])
    if wrong.any():
        got = unit[wrong][0]
        refuse(table, wrong, where, f"`unit` must be a number per cell, such as copies/cell; got `{got}`")
