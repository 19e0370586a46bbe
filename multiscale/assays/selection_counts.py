"""Reads of every variant before and after a selection: overdispersed counts about a calibrated growth."""

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

from multiscale.assays.calibration import MIDPOINTS, Calibration
from multiscale.assays.cells import (
    EVERY,
    LEAST_SPREAD,
    counts,
    encode_groups,
    find,
    groups,
    named_columns,
    no_numbers,
    refuse_row,
)
from multiscale.assays.density import draw_gamma, log_beta_ratio, softplus
from multiscale.assays.instrument import Arrays, Instrument, Quantity, Unknown
from multiscale.assays.noise import negative_binomial
from multiscale.assays.options import flag, text_or_none
from multiscale.errors import AssayError, nearest

__all__ = ["SelectionCounts"]

DISTRIBUTIONS = ("beta_binomial", "negative_binomial")

CONCENTRATION, CONCENTRATION_LN_SD = 300.0, 2.0
"""Prior of what limits counting beyond sampling: a replicate is good to about 1/√300 = 6 % (assumption)."""


@dataclass(frozen=True, kw_only=True)
class SelectionCounts(Instrument):
    """Reads before and after selection, n₀ and n₁; the ln ratio of their means is a calibrated fraction.

    η = ln(E n₁/E n₀) = calibration(p) holds the sequencing depths too; one calibration per group, such as a
    replicate.

    - `beta_binomial`: n₁ of n₀ + n₁ reads, with mean share S(η) = 1/(1 + e^−η) and concentration φ (that of a
      beta distribution; φ → ∞ is binomial). Both counts are random, and may be zero.
    - `negative_binomial`: n₁ with mean μ = n₀ e^η and variance μ + μ²/φ; n₀ is taken as exact, and positive.

    Readings are shown as ln((n₁ + ½)/(n₀ + ½)). Draws for rows to predict, whose reads are unknown, take
    theirs from the log-normal distribution of those of the fitted rows (unknown `reads`).

    Args:
        species: which species count.
        of: the molecule of which they are a fraction.
        calibration: `affine`, `log_affine` or `monotone`, see `calibration.Calibration`.
        decreasing: whether growth falls as the fraction grows.
        midpoints: of the steps of a monotone calibration, ln odds.
        distribution: see above.
        group: column of the replicate or library.

    Raises:
        AssayError: an option is unknown or out of range.

    Source: two Poisson counts given their sum are binomial (definition); pseudocount ½: Rubin et al. 2017,
    doi:10.1186/s13059-017-1272-5.
    """

    species: str
    of: str
    calibration: Literal["affine", "log_affine", "monotone"] = "affine"
    decreasing: bool = False
    midpoints: tuple[float, ...] = MIDPOINTS
    distribution: Literal["beta_binomial", "negative_binomial"] = "beta_binomial"
    group: str | None = None

    measured: ClassVar[Mapping[str, str]] = {
        "input_count": "reads before selection",
        "selected_count": "reads after selection",
    }
    inputs: ClassVar[Mapping[str, str]] = {
        "group": "replicate or library, where the option `group` names its column"
    }

    def __post_init__(self) -> None:
        """Check the options."""
        flag("SelectionCounts", decreasing=self.decreasing)
        text_or_none("SelectionCounts", group=self.group)
        if self.distribution not in DISTRIBUTIONS:
            hint = nearest(str(self.distribution), DISTRIBUTIONS)
            raise AssayError(f"`distribution` of SelectionCounts is `{self.distribution}`; {hint}")
        known = [*self.measured, *self.inputs]
        columns = named_columns("SelectionCounts", self.columns, known, group=self.group)
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "midpoints", tuple(self.midpoints))
        _ = self._growth  # refuses its options

    @cached_property
    def _growth(self) -> Calibration:
        return Calibration(self.calibration, 1.0, self.decreasing, self.midpoints)

    @property
    def unit(self) -> str:
        """Readings are ln ratios of counts."""
        return "ln"

    def quantities(self) -> tuple[Quantity, ...]:
        """The fraction."""
        return (Quantity("fraction", self.species, self.of),)

    def prepare(self, table: pd.DataFrame, where: str, *, measured: bool = True) -> Arrays:
        """Read counts and groups; see `Instrument.prepare`.

        Returns:
            `input`, `selected`; `group`.
        """
        column = find(table, "group", self.columns, where) if "group" in self.columns else None
        group = groups(table, column, where)
        if not measured:
            return {"input": no_numbers(table), "selected": no_numbers(table), "group": group}
        before = counts(table, find(table, "input_count", self.columns, where), where)
        after = counts(table, find(table, "selected_count", self.columns, where), where)
        if self.distribution == "negative_binomial" and (before == 0).any():
            remedy = 'drop the row, or use distribution = "beta_binomial"'
            refuse_row(table, before == 0, where, f"no read before selection; {remedy}")
        return {"input": before, "selected": after, "group": group}

    def unknowns(self, arrays: Arrays) -> list[Unknown]:
        """The calibration and dispersion of every group, and how many reads rows to predict would have."""
        labels, codes = encode_groups(arrays["group"])
        dispersion = Unknown(
            name="concentration",
            labels=labels,
            codes=codes,
            mean=math.log(CONCENTRATION),
            sd=CONCENTRATION_LN_SD,
            scale="ln",
            unit="1",
            role="noise",
        )
        calibration = self._growth.unknowns(self.observed(arrays), arrays["group"], self.unit)
        return [*calibration, dispersion, self._reads(arrays)]

    def log_density(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Log probability of the reads after selection, given those before or given the sum of both."""
        before, after = arrays["input"], arrays["selected"]
        growth, ln_phi = self._growth(readouts[..., 0], values).mean, values["concentration"]
        if self.distribution == "negative_binomial":
            return negative_binomial(after, torch.log(before) + growth, ln_phi)
        total = before + after
        ways = torch.lgamma(total + 1.0) - torch.lgamma(before + 1.0) - torch.lgamma(after + 1.0)
        return ways + log_beta_ratio(after, before, ln_phi - softplus(-growth), ln_phi - softplus(growth))

    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """η, the ln ratio of expected reads."""
        return self._growth(readouts[..., 0], values).mean

    def draw(
        self,
        arrays: Mapping[str, Tensor],
        readouts: Tensor,
        values: Mapping[str, Tensor],
        generator: Generator,
    ) -> Tensor:
        """Draw reads, as a ln ratio."""
        growth = self._growth(readouts[..., 0], values).mean
        phi = torch.exp(values["concentration"]).expand_as(growth)
        known = self._known(arrays)
        known = torch.where(torch.isnan(known), torch.exp(values["reads"]).round(), known).expand_as(growth)
        if self.distribution == "negative_binomial":
            rate = draw_gamma(phi, generator) / phi * known * torch.exp(growth)
            return torch.log(torch.poisson(rate, generator=generator) + 0.5) - torch.log(known + 0.5)
        share = torch.sigmoid(growth)
        one, other = draw_gamma(phi * share, generator), draw_gamma(phi * (1.0 - share), generator)
        after = torch.binomial(known, one / (one + other), generator=generator)
        return torch.log(after + 0.5) - torch.log(known - after + 0.5)

    def observed(self, arrays: Arrays) -> np.ndarray:
        """ln((n₁ + ½)/(n₀ + ½)), NaN where there is no read."""
        before, after = arrays["input"], arrays["selected"]
        return np.where(before + after > 0, np.log(after + 0.5) - np.log(before + 0.5), np.nan)

    def _known(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Reads that the distribution takes as given."""
        before = arrays["input"]
        return before if self.distribution == "negative_binomial" else before + arrays["selected"]

    def _reads(self, arrays: Arrays) -> Unknown:
        """Given reads of the rows, as a distribution."""
        given = {name: torch.as_tensor(arrays[name]) for name in ("input", "selected")}
        known: NDArray[np.float64] = self._known(given).numpy()
        ln = np.log(known[known > 0])
        center, spread = (float(ln.mean()), float(ln.std())) if len(ln) else (0.0, 1.0)
        return Unknown(
            name="reads",
            labels=(EVERY,),
            codes=np.zeros(len(known), dtype=np.int64),
            mean=center,
            sd=max(spread, LEAST_SPREAD),
            scale="ln",
            unit="reads",
            role="noise",
        )
