"""What titrations, melts and calorimetry share: a signal with noise of one size per experiment."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from multiscale.assays.calibration import quantile_range
from multiscale.assays.cells import encode_groups, find, groups, named_columns, no_numbers, numbers, positives
from multiscale.assays.density import (
    draw_normal,
    draw_student_t,
    normal_of_variance,
    student_t_of_variance,
)
from multiscale.assays.instrument import Arrays, Instrument, Unknown
from multiscale.assays.options import text_or_none
from multiscale.errors import AssayError, nearest

__all__ = ["Signal"]

NOISES = ("normal", "student_t")

NOISE_SHARE, NOISE_LN_SD = 0.03, 1.5
"""Prior of the sd of the noise: 3 % of the spread of the readings, within a factor e^1.5 (assumption)."""

DEGREES, DEGREES_LN_SD = 5.0, 0.75
"""Prior of the degrees of freedom of heavy-tailed noise (assumption)."""


@dataclass(frozen=True, kw_only=True)
class Signal(Instrument):
    """A signal y = mean + noise, variance σ_row² + τ², τ fitted per group.

    Args:
        noise: `normal`, or `student_t` with fitted degrees of freedom, then σ is its scale.
        group: column of the experiment; each has its own baselines, amplitudes and noise.
        sd_column: column of the standard deviation that a row states.
        value_unit: unit of the signal.
    """

    noise: Literal["normal", "student_t"] = "normal"
    group: str | None = None
    sd_column: str | None = None
    value_unit: str = "1"

    measured: ClassVar[Mapping[str, str]] = {
        "value": "the signal",
        "sd": "its standard deviation, where the option `sd_column` names its column",
    }
    inputs: ClassVar[Mapping[str, str]] = {"group": "experiment, where the option `group` names its column"}

    def __post_init__(self) -> None:
        """Check the options that all signals share."""
        own = type(self).__name__
        if self.noise not in NOISES:
            raise AssayError(f"`noise` of {own} is `{self.noise}`; {nearest(str(self.noise), NOISES)}")
        text_or_none(own, group=self.group, sd_column=self.sd_column, value_unit=self.value_unit)
        known = [*self.measured, *self.inputs]
        columns = named_columns(own, self.columns, known, group=self.group, sd=self.sd_column)
        object.__setattr__(self, "columns", columns)

    @property
    def unit(self) -> str:
        """Unit of the signal."""
        return self.value_unit

    @abstractmethod
    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Expected signal."""

    @abstractmethod
    def calibrations(self, arrays: Arrays, labels: tuple[str, ...], codes: np.ndarray) -> list[Unknown]:
        """What `expected` needs to know of every group."""

    def settings(self, table: pd.DataFrame, where: str) -> Arrays:
        """Further columns that say how a row was measured."""
        return {}

    def prepare(self, table: pd.DataFrame, where: str, *, measured: bool = True) -> Arrays:
        """Read signals; see `Instrument.prepare`.

        Returns:
            `value`; `variance` that the row states (0 where none is stated); `group`; and `settings`.
        """
        column = find(table, "group", self.columns, where) if "group" in self.columns else None
        arrays = {"group": groups(table, column, where), "variance": np.zeros(len(table))}
        arrays |= self.settings(table, where)
        if not measured:
            return {**arrays, "value": no_numbers(table)}
        if "sd" in self.columns:
            arrays["variance"] = positives(table, find(table, "sd", self.columns, where), where) ** 2
        return {**arrays, "value": numbers(table, find(table, "value", self.columns, where), where)}

    def unknowns(self, arrays: Arrays) -> list[Unknown]:
        """Calibration and noise of every group."""
        labels, codes = encode_groups(arrays["group"])
        _, spread = quantile_range(arrays["value"])

        def noise(name: str, mean: float, sd: float, unit: str) -> Unknown:
            return Unknown(
                name=name, labels=labels, codes=codes, mean=mean, sd=sd, scale="ln", unit=unit, role="noise"
            )

        found = self.calibrations(arrays, labels, codes)
        found.append(noise("noise", math.log(NOISE_SHARE * spread), NOISE_LN_SD, self.unit))
        if self.noise == "student_t":
            found.append(noise("degrees", math.log(DEGREES), DEGREES_LN_SD, "1"))
        return found

    def log_density(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Log density of the signal."""
        mean, variance = self.expected(arrays, readouts, values), self._variance(arrays, values)
        if self.noise == "student_t":
            return student_t_of_variance(arrays["value"], mean, variance, values["degrees"])
        return normal_of_variance(arrays["value"], mean, variance)

    def draw(
        self,
        arrays: Mapping[str, Tensor],
        readouts: Tensor,
        values: Mapping[str, Tensor],
        generator: Generator,
    ) -> Tensor:
        """Draw a signal with noise."""
        mean, variance = self.expected(arrays, readouts, values), self._variance(arrays, values)
        if self.noise == "student_t":
            return draw_student_t(mean, variance, values["degrees"], generator)
        return draw_normal(mean, variance, generator)

    def observed(self, arrays: Arrays) -> np.ndarray:
        """Measured signals."""
        return arrays["value"]

    def _variance(self, arrays: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Tensor:
        return arrays["variance"] + torch.exp(2.0 * values["noise"])
