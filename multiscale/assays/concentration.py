"""Concentrations of species at given times, or at steady state: blots, reporters, sensors, chemistry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multiscale.assays.assay import Assay, Noise, Offset, keys, noise_keys
from multiscale.assays.columns import NOTES, choice, notes, number, positive_number, refuse, require, text
from multiscale.assays.options import finite, positive
from multiscale.errors import AssayError, nearest
from multiscale.units import to_uM

__all__ = ["Concentration"]

UNITS = ("fM", "pM", "nM", "uM", "µM", "mM", "M")
DISTRIBUTIONS = ("log_normal", "normal")

LN_NOISE = 0.2
"""Prior median of the sd of ln concentrations: a fifth of the value (assumption)."""


@dataclass(frozen=True, kw_only=True)
class Concentration(Assay):
    """Concentration of a species, or of a sum such as `A + 2*B`, at a time or at steady state.

    `log_normal`: y = ln value = ln readout + scale(source, target) + noise. `normal`: y = value = readout ·
    exp(scale) + noise. The scale is zero where the row states a unit of concentration.

    Args:
        distribution: of the noise: `log_normal`, or `normal` for readings that may be zero or negative.
        limit: value below which a reading says only "less than this", in the unit of the row; a row may state
            its own in column `limit`; none if None.
        scale_mean: prior mean of the scale of readings in arbitrary units, ln of units per µM.
        scale_sd: prior sd of that scale, ln units.
        noise_median: prior median of the sd of a source's readings of one target: in ln units for
            `log_normal` (0.2 if None); in µM, or in the arbitrary unit, for `normal`, which has no default.
        noise_ln_sd: sd of the ln of that sd.
    """

    distribution: Literal["log_normal", "normal"] = "log_normal"
    limit: float | None = None
    scale_mean: float = 0.0
    scale_sd: float = math.log(1000.0)
    noise_median: float | None = None
    noise_ln_sd: float = 0.5

    reads: ClassVar[tuple[str, ...]] = ("species", "total")
    columns: ClassVar[dict[str, str]] = {
        "context": "name of the group or cell",
        "target": "a species, a sum of species such as `A + 2*B`, or a molecule with readout total",
        "time": "s; blank = the last time, or the steady state",
        "value": "concentration; blank if not detected",
        "unit": "fM, pM, nM, uM, mM or M; blank = arbitrary units with an unknown scale",
        "readout": "species (default), or total: a molecule in all its forms",
        "source": "study or instrument; entries of one source and target share a scale and a noise",
        "detected": "yes (default) or no",
        "limit": "detection limit of this row, in its unit",
        "sd": "known standard deviation: of ln value (log_normal), or of the value in its unit (normal)",
        **NOTES,
    }

    def __post_init__(self) -> None:
        """Check the options."""
        if self.distribution not in DISTRIBUTIONS:
            hint = nearest(str(self.distribution), DISTRIBUTIONS)
            raise AssayError(f"`distribution` of Concentration is `{self.distribution}`; {hint}")
        finite("Concentration", "ln units", scale_mean=self.scale_mean)
        positive("Concentration", "ln units", scale_sd=self.scale_sd, noise_ln_sd=self.noise_ln_sd)
        for name, value in (("limit", self.limit), ("noise_median", self.noise_median)):
            if value is not None:
                positive("Concentration", "the unit of the readings", **{name: value})

    @property
    def scale(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Unit in which y is fitted."""
        return "ln µM" if self._logarithmic else "µM"

    @property
    def _logarithmic(self) -> bool:
        return self.distribution == "log_normal"

    def prepare(self, table: pd.DataFrame, where: str = "table") -> pd.DataFrame:
        """Check a table of concentrations and convert it to entries; see `Assay.prepare`.

        Returns:
            y = ln value or value, in µM or arbitrary units, or the limit where left-censored; also columns
            `time` (s, NaN where blank), `source` and `absolute` (whether a unit was stated).
        """
        require(table, self.columns, ("context", "target", "value"), where)
        unit = _units(table, where)
        factor = np.array([to_uM(1.0, name) if name else 1.0 for name in unit])
        value, limit, censored = self._read_values(table, where)
        y = np.where(censored, limit, value) * factor
        time, sd = number(table, "time", where), positive_number(table, "sd", where)
        if (time < 0).any():
            refuse(table, time < 0, where, f"`time` must not be negative, in s; got {time[time < 0][0]:g}")
        if not self._logarithmic and self.noise_median is None and np.isnan(sd).any():
            problem = "`sd` is blank; state it, or give the option `noise_median`, which normal noise needs"
            refuse(table, np.isnan(sd), where, problem)
        readout = choice(table, "readout", where, self.reads, "species")
        return notes(table).assign(
            context=text(table, "context", where),
            target=text(table, "target", where),
            readout=np.where(readout == "total", "total_uM", "species"),
            y=np.log(y) if self._logarithmic else y,
            censoring=-censored.astype(np.int64),
            sd=sd if self._logarithmic else sd * factor,
            time=time,
            source=text(table, "source", where, "all"),
            absolute=unit != "",
        )

    def offsets(self, entries: pd.DataFrame) -> list[Offset]:
        """One scale per source and target in arbitrary units, where noise is log-normal."""
        return [self._scale(entries)] if self._logarithmic else []

    def factors(self, entries: pd.DataFrame) -> list[Offset]:
        """One scale per source and target in arbitrary units, where noise is normal."""
        return [] if self._logarithmic else [self._scale(entries)]

    def _scale(self, entries: pd.DataFrame) -> Offset:
        absolute = pd.Series(entries["absolute"].to_numpy(bool), index=entries.index)
        return Offset("scale", _observable(entries).mask(absolute, ""), self.scale_mean, self.scale_sd)

    def noise(self, entries: pd.DataFrame) -> Noise:
        """One standard deviation per source and target."""
        given = entries.assign(observable=_observable(entries))
        median = LN_NOISE if self.noise_median is None else self.noise_median
        return Noise("noise", noise_keys(given, "observable"), median, self.noise_ln_sd)

    def _read_values(
        self, table: pd.DataFrame, where: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Values, limits, and whether a row says only that there is less than its limit."""
        value = number(table, "value", where)
        detected = choice(table, "detected", where, ("yes", "no"), "yes") == "yes"
        limit = positive_number(table, "limit", where)
        limit = np.where(np.isnan(limit) & (self.limit is not None), self.limit or np.nan, limit)
        censored = ~detected | (value < limit)
        for wrong, problem in (
            (detected & np.isnan(value), "`value` is blank; drop the row or write detected = no"),
            (~detected & np.isnan(limit), "not detected, and there is no `limit`; state it"),
            (~detected & (value >= limit), "not detected, yet `value` is not below the `limit`; state both"),
            (
                self._logarithmic & ~censored & (value <= 0),
                '`value` must be positive; state a `limit`, or use distribution = "normal"',
            ),
        ):
            if wrong.any():
                refuse(table, wrong, where, problem)
        return value, limit, censored


def _observable(entries: pd.DataFrame) -> pd.Series:
    """Source and target of every entry."""
    return keys(entries, "source") + "|" + keys(entries, "target")


def _units(table: pd.DataFrame, where: str) -> NDArray[np.object_]:
    """Units of concentration, '' where none is stated."""
    unit = text(table, "unit", where, "")
    wrong = ~np.isin(unit, ("", *UNITS))
    if wrong.any():
        got = unit[wrong][0]
        refuse(
            table, wrong, where, f"`unit` is `{got}`; {nearest(got, UNITS).rstrip('.')}, or leave it blank"
        )
    return unit
