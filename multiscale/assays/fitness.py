"""Fitness or enrichment from a selection: a calibrated fraction of a molecule, noise shared by replicates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from multiscale.assays.calibration import MIDPOINTS, Calibration, Response, ln_of_base, quantile_range
from multiscale.assays.cells import (
    EVERY,
    LEAST_SPREAD,
    counts,
    encode_groups,
    find,
    groups,
    named_columns,
    no_numbers,
    numbers,
    positives,
)
from multiscale.assays.density import (
    draw_normal,
    draw_student_t,
    normal_of_variance,
    student_t_of_variance,
)
from multiscale.assays.instrument import Arrays, Instrument, Quantity, Unknown
from multiscale.assays.options import flag, text_or_none
from multiscale.errors import AssayError, nearest

__all__ = ["Fitness"]

NOISES = ("normal", "student_t")

NOISE_SHARE, NOISE_LN_SD = 0.1, 1.5
"""Prior of τ: a tenth of the spread of the readings, within a factor e^1.5 (assumption)."""

DEGREES, DEGREES_LN_SD = 5.0, 0.75
"""Prior of the degrees of freedom of heavy-tailed noise (assumption)."""


@dataclass(frozen=True, kw_only=True)
class Fitness(Instrument):
    """Fitness, growth rate or enrichment of variants, from the fraction p of a molecule in some species.

    y = calibration(p) + noise, variance σ² = σ_row² + τ². σ_row is what the row states: its own standard
    deviation (`sd_column`), and what counting reads adds to a logarithm of a ratio of counts (`counts`),
    (1/(n_input + ½) + 1/(n_selected + ½))/ln² base. τ is fitted, one per group; with `heteroscedastic`, ln τ
    = c₀ + c₁ z + c₂ z², where z = −1 at fraction zero and 1 at fraction one.

    Rows to predict state no σ_row: draws take one from the log-normal distribution of those of the fitted
    rows (unknown `row_sd`, which the readings do not change).

    Args:
        species: which species count, such as `folded + bound`.
        of: the molecule of which they are a fraction.
        calibration: `affine`, `log_affine` or `monotone`, see `calibration.Calibration`.
        base: of the logarithm of y, a number or `e`; used by `log_affine` and `counts`.
        decreasing: whether y falls as the fraction grows.
        midpoints: of the steps of a monotone calibration, ln odds.
        floor: mean and sd of the prior of the reading at fraction zero, such as that of dead variants; None =
            by the readings' range.
        top: of the reading at fraction one; then it is a parameter in place of the amplitude.
        noise: `normal`, or `student_t` with fitted degrees of freedom, then σ is its scale.
        heteroscedastic: whether τ depends on the expected reading.
        group: column of the batch, replicate or library; each group has its own calibration and noise.
        sd_column: column of the standard deviation that a row states; a blank cell states none.
        counts: whether reads before and after selection are stated.
        value_unit: unit of y.

    Raises:
        AssayError: an option is unknown or out of range.

    Source: additional variance beyond counting, and the ½: Rubin et al. 2017, doi:10.1186/s13059-017-1272-5.
    """

    species: str
    of: str
    calibration: Literal["affine", "log_affine", "monotone"] = "affine"
    base: float | Literal["e"] = "e"
    decreasing: bool = False
    midpoints: tuple[float, ...] = MIDPOINTS
    floor: tuple[float, float] | None = None
    top: tuple[float, float] | None = None
    noise: Literal["normal", "student_t"] = "normal"
    heteroscedastic: bool = False
    group: str | None = None
    sd_column: str | None = None
    counts: bool = False
    value_unit: str = "1"

    measured: ClassVar[Mapping[str, str]] = {
        "value": "fitness, growth rate or ln enrichment",
        "sd": "standard deviation of the value, where the option `sd_column` names its column",
        "input_count": "reads before selection, with the option `counts`",
        "selected_count": "reads after selection, with the option `counts`",
    }
    inputs: ClassVar[Mapping[str, str]] = {
        "group": "batch, replicate or library, where the option `group` names its column"
    }

    def __post_init__(self) -> None:
        """Check the options."""
        flag(
            "Fitness",
            decreasing=self.decreasing,
            heteroscedastic=self.heteroscedastic,
            counts=self.counts,
        )
        text_or_none("Fitness", group=self.group, sd_column=self.sd_column)
        if self.noise not in NOISES:
            raise AssayError(f"`noise` of Fitness is `{self.noise}`; {nearest(str(self.noise), NOISES)}")
        known = [*self.measured, *self.inputs]
        columns = named_columns("Fitness", self.columns, known, group=self.group, sd=self.sd_column)
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "midpoints", tuple(self.midpoints))
        _ = self._response  # refuses its options

    @cached_property
    def _ln_base(self) -> float:
        return ln_of_base("Fitness", self.base)

    @cached_property
    def _response(self) -> Calibration:
        return Calibration(
            self.calibration, self._ln_base, self.decreasing, self.midpoints, self.floor, self.top
        )

    @property
    def unit(self) -> str:
        """Unit of y."""
        return self.value_unit

    def quantities(self) -> tuple[Quantity, ...]:
        """The fraction."""
        return (Quantity("fraction", self.species, self.of),)

    def prepare(self, table: pd.DataFrame, where: str, *, measured: bool = True) -> Arrays:
        """Read values, their variances and the groups; see `Instrument.prepare`.

        Returns:
            `value`; `variance` σ_row² (0 where none is stated, NaN in rows to predict); `group`.
        """
        group = groups(table, find(table, "group", self.columns, where) if self._grouped else None, where)
        if not measured:
            return {"value": no_numbers(table), "variance": no_numbers(table), "group": group}
        value = numbers(table, find(table, "value", self.columns, where), where)
        return {"value": value, "variance": self._row_variance(table, where), "group": group}

    def unknowns(self, arrays: Arrays) -> list[Unknown]:
        """The calibration and noise of every group, and how rows to predict would be measured."""
        value, (labels, codes) = arrays["value"], encode_groups(arrays["group"])
        _, spread = quantile_range(value)

        def noise(name: str, mean: float, sd: float, scale: Literal["lin", "ln"], unit: str) -> Unknown:
            return Unknown(
                name=name, labels=labels, codes=codes, mean=mean, sd=sd, scale=scale, unit=unit, role="noise"
            )

        found = self._response.unknowns(value, arrays["group"], self.unit)
        found.append(noise("noise", math.log(NOISE_SHARE * spread), NOISE_LN_SD, "ln", self.unit))
        if self.heteroscedastic:
            found += [noise(name, 0.0, 1.0, "lin", "1") for name in ("noise_slope", "noise_curvature")]
        if self.noise == "student_t":
            found.append(noise("degrees", math.log(DEGREES), DEGREES_LN_SD, "ln", "1"))
        return [*found, self._row_sd(arrays["variance"])] if self._stated else found

    def log_density(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Log density of y; see `Instrument.log_density`."""
        response = self._response(readouts[..., 0], values)
        variance = self._variance(arrays, response, values)
        if self.noise == "student_t":
            return student_t_of_variance(arrays["value"], response.mean, variance, values["degrees"])
        return normal_of_variance(arrays["value"], response.mean, variance)

    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Expected y."""
        return self._response(readouts[..., 0], values).mean

    def draw(
        self,
        arrays: Mapping[str, Tensor],
        readouts: Tensor,
        values: Mapping[str, Tensor],
        generator: Generator,
    ) -> Tensor:
        """Draw y with noise."""
        response = self._response(readouts[..., 0], values)
        variance = self._variance(arrays, response, values)
        if self.noise == "student_t":
            return draw_student_t(response.mean, variance, values["degrees"], generator)
        return draw_normal(response.mean, variance, generator)

    def observed(self, arrays: Arrays) -> np.ndarray:
        """Measured y."""
        return arrays["value"]

    @property
    def _grouped(self) -> bool:
        return "group" in self.columns

    @property
    def _stated(self) -> bool:
        """Whether rows state a variance of their own."""
        return self.counts or "sd" in self.columns

    def _row_variance(self, table: pd.DataFrame, where: str) -> NDArray[np.float64]:
        """What the rows say of their variance."""
        variance = np.zeros(len(table))
        if "sd" in self.columns:
            stated = positives(table, find(table, "sd", self.columns, where), where, blank=True)
            variance += np.where(np.isnan(stated), 0.0, stated) ** 2
        if self.counts:
            for own in ("input_count", "selected_count"):
                reads = counts(table, find(table, own, self.columns, where), where)
                variance += 1.0 / ((reads + 0.5) * self._ln_base**2)
        return variance

    def _row_sd(self, variance: NDArray[np.float64]) -> Unknown:
        """Standard deviations that rows state, as a distribution."""
        ln_sd = 0.5 * np.log(variance[variance > 0])
        center, spread = (float(ln_sd.mean()), float(ln_sd.std())) if len(ln_sd) else (0.0, 1.0)
        every = np.zeros(len(variance), dtype=np.int64)
        spread = max(spread, LEAST_SPREAD)
        return Unknown(
            name="row_sd",
            labels=(EVERY,),
            codes=every,
            mean=center,
            sd=spread,
            scale="ln",
            unit=self.unit,
            role="noise",
        )

    def _variance(
        self, arrays: Mapping[str, Tensor], response: Response, values: Mapping[str, Tensor]
    ) -> Tensor:
        """σ² of every row."""
        ln_sd = values["noise"]
        if self.heteroscedastic:
            z = response.relative
            ln_sd = ln_sd + values["noise_slope"] * z + values["noise_curvature"] * z.square()
        extra = torch.exp(2.0 * ln_sd)
        if not self._stated:
            return extra
        stated = arrays["variance"]
        unstated = torch.isnan(stated)
        if unstated.any():
            stated = torch.where(unstated, torch.exp(2.0 * values["row_sd"]), stated)
        return extra + stated
