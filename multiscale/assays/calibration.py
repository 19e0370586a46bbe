"""From the fraction of a molecule in some state to what a selection reads: affine, log-affine or monotone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multiscale.assays.cells import encode_groups
from multiscale.assays.density import softplus
from multiscale.assays.instrument import Unknown
from multiscale.assays.options import is_number
from multiscale.errors import AssayError, nearest

__all__ = ["CALIBRATIONS", "MIDPOINTS", "Calibration", "Response", "ln_of_base", "quantile_range"]

CALIBRATIONS = ("affine", "log_affine", "monotone")

MIDPOINTS = (-6.0, -4.5, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5, 6.0)
"""ln odds of the fraction at which the steps of a monotone calibration are half way (assumption: a sigmoid of
the ln odds is itself about 4 wide, so that steps 1.5 apart are smooth)."""

TAILS = (0.02, 0.98)
"""Quantiles of the readings that stand for lowest and highest, so that outliers do not set priors."""


@dataclass(frozen=True, eq=False)
class Response:
    """What a calibration makes of fractions.

    Args:
        mean: expected reading, shape (..., row).
        floor: reading at fraction zero.
        top: reading at fraction one.
    """

    mean: Tensor
    floor: Tensor
    top: Tensor

    @property
    def relative(self) -> Tensor:
        """Expected reading on a scale from −1 (fraction zero) to 1 (fraction one)."""
        return 2.0 * (self.mean - self.floor) / (self.top - self.floor) - 1.0


@dataclass(frozen=True)
class Calibration:
    """Reading y as a function of the fraction p; every parameter is one number per group.

    - `affine`: y = baseline ± amplitude · p.
    - `log_affine`: y = ± log_base(amplitude · p + background): enrichment is affine in p, y is its logarithm.
    - `monotone`: y = baseline ± Σ_k step_k p/(p + e^{m_k} (1 − p)), midpoints m_k fixed: sigmoids of the ln
      odds of p. A factor on all energies is then hardly determined: they are in relative units.

    Amplitudes, background and steps are positive; `decreasing` takes the lower sign. A calibration whose
    `top` is stated has that reading in place of the amplitude, of either sign: y = baseline + (top −
    baseline) p, or y = ± log_base(e^background + (e^top − e^background) p).

    Priors are as wide as the readings are spread: amplitude within a factor e (log_affine: e²) of their
    range, the floor near their lower end.

    Args:
        kind: see above.
        ln_base: ln of the base of y's logarithm.
        decreasing: whether y falls with p.
        midpoints: m_k, ln odds.
        floor: mean and sd of the prior of the reading at fraction zero, in place of that above.
        top: of the reading at fraction one; not of `monotone`.

    Raises:
        AssayError: an option is out of range.

    Source: readings affine in the bound fraction: Otwinowski 2018, doi:10.1093/molbev/msy141; sums of
    sigmoids: Tareen et al. 2022, doi:10.1186/s13059-022-02661-7.
    """

    kind: Literal["affine", "log_affine", "monotone"] = "affine"
    ln_base: float = 1.0
    decreasing: bool = False
    midpoints: tuple[float, ...] = MIDPOINTS
    floor: tuple[float, float] | None = None
    top: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        if self.kind not in CALIBRATIONS:
            raise AssayError(f"`calibration` is `{self.kind}`; {nearest(str(self.kind), CALIBRATIONS)}")
        if not (self.midpoints and all(is_number(m) for m in self.midpoints)):
            raise AssayError(f"`midpoints` must be at least one finite number; got {self.midpoints!r}.")
        if self.top is not None and self.kind == "monotone":
            raise AssayError("`top` is of affine and log_affine calibrations; leave it out, or choose one.")
        for name, prior in (("floor", self.floor), ("top", self.top)):
            if prior is not None and not _is_prior(prior):
                raise AssayError(f"`{name}` must be [mean, sd] of a normal prior, sd above 0; got {prior!r}.")

    def unknowns(
        self, observed: NDArray[np.float64], letters: NDArray[np.integer], unit: str
    ) -> list[Unknown]:
        """Parameters of every group.

        Args:
            observed: readings, NaN where there is none, shape (row,).
            letters: groups of the rows, see `cells.groups`.
            unit: of the readings.
        """
        labels, codes = encode_groups(letters)
        unit = "1" if self.kind == "log_affine" else unit
        low, spread = quantile_range(-observed if self.decreasing else observed)

        def unknown(name: str, mean: float, sd: float, width: float, scale: Literal["lin", "ln"]) -> Unknown:
            return Unknown(
                name=name, labels=labels, codes=codes, mean=mean, sd=sd, width=width, scale=scale, unit=unit
            )

        sign = -1.0 if self.decreasing else 1.0

        def plateau(name: str, prior: tuple[float, float], width: float) -> Unknown:
            factor = sign * self.ln_base if self.kind == "log_affine" else 1.0
            mean, sd = factor * prior[0], abs(factor) * prior[1]
            return unknown(name, mean, sd, min(width, sd), "ln" if self.kind == "log_affine" else "lin")

        if self.kind == "log_affine":
            floor, height = low * self.ln_base, spread * self.ln_base
            base, scale = unknown("background", floor, 2.0, 0.5, "ln"), 0.5
            steps = [unknown("amplitude", floor + math.log(math.expm1(height)), 2.0, 0.5, "ln")]
        else:
            base, scale = unknown("baseline", sign * low, spread, 0.1 * spread, "lin"), 0.1 * spread
            count = math.log(len(self._steps))
            steps = [unknown(name, math.log(spread) - count, 1.0, 0.3, "ln") for name in self._steps]
        base = base if self.floor is None else plateau(base.name, self.floor, scale)
        return [base, *(steps if self.top is None else [plateau("top", self.top, scale)])]

    def __call__(self, ln_fraction: Tensor, values: Mapping[str, Tensor]) -> Response:
        """Expected readings.

        Args:
            ln_fraction: ln p, −∞ for none, shape (..., row).
            values: of the unknowns, on their scales, shape (..., row).
        """
        sign = -1.0 if self.decreasing else 1.0
        if self.kind == "log_affine":
            floor, unit = values["background"], sign / self.ln_base
            if self.top is not None:
                top = values["top"]
                mean = floor + torch.log1p(torch.expm1(top - floor) * torch.exp(ln_fraction))
                return Response(mean * unit, floor * unit, top * unit)
            excess = values["amplitude"] - floor
            mean, top = floor + softplus(excess + ln_fraction), floor + softplus(excess)
            return Response(mean * unit, floor * unit, top * unit)
        floor = values["baseline"]
        if self.kind == "affine":
            given = self.top is not None
            height = values["top"] - floor if given else sign * torch.exp(values["amplitude"])
            return Response(floor + height * torch.exp(ln_fraction), floor, floor + height)
        p, heights = torch.exp(ln_fraction), [sign * torch.exp(values[name]) for name in self._steps]
        shares = [p / (p + math.exp(m) * (1.0 - p)) for m in self.midpoints]
        mean = sum((h * s for h, s in zip(heights, shares, strict=True)), floor)
        return Response(mean, floor, sum(heights, floor))

    @property
    def _steps(self) -> list[str]:
        if self.kind == "affine":
            return ["amplitude"]
        return [f"step {k}" for k in range(1, len(self.midpoints) + 1)]


def _is_prior(prior: object) -> bool:
    """Whether something is a mean and a positive standard deviation."""
    if not isinstance(prior, tuple | list) or len(prior) != 2:
        return False
    return all(is_number(value) for value in prior) and prior[1] > 0


def quantile_range(observed: NDArray[np.float64]) -> tuple[float, float]:
    """Low end and spread of readings, 0 and 1 where there are none.

    The spread is the distance of the `TAILS` quantiles, 1 if all readings are alike.
    """
    seen = observed[np.isfinite(observed)]
    if not len(seen):
        return 0.0, 1.0
    low, high = (float(value) for value in np.quantile(seen, TAILS))
    return low, high - low if high > low else 1.0


def ln_of_base(instrument: str, base: object) -> float:
    """ln of the base of a logarithm, given as a number above 1 or as `e`.

    Raises:
        AssayError: it is neither.
    """
    if base == "e":
        return 1.0
    if isinstance(base, int | float) and is_number(base) and base > 1:
        return math.log(base)
    raise AssayError(f'`base` of {instrument} must be "e" or a number above 1; got {base!r}.')
