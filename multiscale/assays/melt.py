"""Unfolding by heat or denaturant: a signal between two sloping baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.assays.calibration import quantile_range
from multiscale.assays.cells import find, numbers, refuse_row
from multiscale.assays.instrument import Arrays, Quantity, Unknown
from multiscale.assays.options import finite
from multiscale.assays.signal import Signal
from multiscale.errors import AssayError, nearest
from multiscale.units import ROOM_TEMPERATURE

__all__ = ["Melt"]

UNITS = {"K": 0.0, "C": 273.15, "M": 0.0}
"""Units of x, and what to add to get K, or M."""


@dataclass(frozen=True, kw_only=True)
class Melt(Signal):
    """Signal = (a_F + b_F (x − x₀)) p + (a_U + b_U (x − x₀)) (1 − p), p the folded fraction.

    x is temperature or denaturant. The graph's energies say how p depends on x (roles entropy, heat_capacity,
    m_value); give the same column as condition.

    Args:
        species: the folded species, or a sum of them.
        of: the molecule.
        x_unit: of column `x`: `K`, `C` (degrees Celsius), or `M` of denaturant.
        reference: x₀ at which the a are the signals, K or M; 298.15 K or 0 M if None.

    Raises:
        AssayError: an option is unknown or out of range.

    Source: Santoro & Bolen 1988, doi:10.1021/bi00421a014.
    """

    species: str
    of: str
    x_unit: Literal["K", "C", "M"] = "K"
    reference: float | None = None

    inputs: ClassVar[Mapping[str, str]] = {**Signal.inputs, "x": "temperature or denaturant"}

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        if self.x_unit not in UNITS:
            raise AssayError(f"`x_unit` of Melt is `{self.x_unit}`; {nearest(str(self.x_unit), UNITS)}")
        if self.reference is not None:
            finite("Melt", "K or M", reference=self.reference)

    def quantities(self) -> tuple[Quantity, ...]:
        """The folded fraction."""
        return (Quantity("fraction", self.species, self.of),)

    def settings(self, table: pd.DataFrame, where: str) -> Arrays:
        """Read x, as x − x₀."""
        column = find(table, "x", self.columns, where)
        x = numbers(table, column, where) + UNITS[self.x_unit]
        wrong = (x < 0) if self.x_unit == "M" else (x <= 0)
        if wrong.any():
            got = x[wrong][0] - UNITS[self.x_unit]
            refuse_row(table, wrong, where, f"`{column}` is {got:g} {self.x_unit}, which does not exist")
        return {"x": x - self._reference}

    def calibrations(self, arrays: Arrays, labels: tuple[str, ...], codes: np.ndarray) -> list[Unknown]:
        """Intercept and slope of both baselines of every experiment."""
        low, spread = quantile_range(arrays["value"])
        folded, unfolded = _ends(arrays["x"], arrays["value"])
        _, span = quantile_range(arrays["x"])
        found = []
        for name, start in (("folded", folded), ("unfolded", unfolded)):
            for part, mean, sd, center in (
                ("", low + 0.5 * spread, 2.0 * spread, start),
                (" slope", 0.0, spread / span, 0.0),
            ):
                found.append(
                    Unknown(
                        name=name + part,
                        labels=labels,
                        codes=codes,
                        mean=mean,
                        sd=sd,
                        center=center,
                        width=0.1 * sd,
                        unit=f"{self.unit}/{'M' if self.x_unit == 'M' else 'K'}" if part else self.unit,
                    )
                )
        return found

    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Expected signal."""
        p, x = torch.exp(readouts[..., 0]), arrays["x"]
        folded = values["folded"] + values["folded slope"] * x
        unfolded = values["unfolded"] + values["unfolded slope"] * x
        return folded * p + unfolded * (1.0 - p)

    @property
    def _reference(self) -> float:
        if self.reference is not None:
            return self.reference
        return 0.0 if self.x_unit == "M" else ROOM_TEMPERATURE


def _ends(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean signal of the tenth of the rows with the lowest x, and of that with the highest."""
    seen = np.isfinite(y)
    if not seen.any():
        return 0.0, 0.0
    x, y = x[seen], y[seen]
    low, high = np.quantile(x, (0.1, 0.9))
    return float(y[x <= low].mean()), float(y[x >= high].mean())
