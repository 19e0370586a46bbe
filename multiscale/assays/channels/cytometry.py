"""Intensities of single cells in mass or flow cytometry, on the arcsinh scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Generator, Tensor

from multiscale.assays.channels.channel import CellUnknown, Channel, Summary
from multiscale.assays.channels.readings import check_place, refuse_unfinite, refuse_where
from multiscale.assays.channels.summary import over_batches
from multiscale.assays.density import (
    draw_normal,
    draw_student_t,
    normal_of_variance,
    student_t_of_variance,
)
from multiscale.assays.options import flag, positive
from multiscale.errors import AssayError, nearest

__all__ = ["Cytometry"]

DISTRIBUTIONS = ("normal", "student_t")

IMPOSSIBLE = 30.0
"""No instrument reads asinh(intensity/cofactor) of 30, which is an intensity of 5e12 cofactors."""


@dataclass(frozen=True, kw_only=True)
class Cytometry(Channel):
    """Intensity I = μ + noise with μ = signal, read as y = asinh(I/c).

    Noise of I has a constant part σ_add (per batch and feature) and a part σ_rel μ that grows with the signal
    (per feature). To first order (dy/dI = 1/√(c² + I²)):

        E y = asinh(μ/c),  v = Var y = (σ_add² + σ_rel² μ²)/(c² + μ²).

    y is normal, or Student's t with location E y and squared scale v. The density is that of readings as they
    are given: of I, p(y)/√(c² + I²), or of y where they are `transformed`.

    Args:
        cofactor: c, in units of intensity: 5 is usual for mass cytometry, 150 for flow cytometry.
        transformed: whether readings are y already.
        distribution: `normal`, or `student_t` for outliers such as doublets and debris.
        degrees: ν of Student's t.
        additive_sd: prior median of σ_add, in units of intensity; None = the cofactor, which is chosen to lie
            where noise begins to count.
        relative_sd: prior median of σ_rel.
        sd_ln_sd: prior sd of ln σ_add and ln σ_rel.

    The other options are those of `Channel`.

    Raises:
        AssayError: an option is of the wrong type or out of range.

    Source: noise of constant and of relative sd, and asinh as the scale on which it is even: Huber et al.
    2002, doi:10.1093/bioinformatics/18.suppl_1.S96; asinh in flow cytometry: Azad et al. 2016,
    doi:10.1186/s12859-016-1083-9; in mass cytometry: Bendall et al. 2011, doi:10.1126/science.1198704.
    """

    cofactor: float = 5.0
    transformed: bool = False
    distribution: Literal["normal", "student_t"] = "normal"
    degrees: float = 4.0
    additive_sd: float | None = None
    relative_sd: float = 0.3
    sd_ln_sd: float = 1.0

    kind: ClassVar[str] = "cytometry"
    reads: ClassVar[str] = "species"

    def __post_init__(self) -> None:
        """Check the options."""
        check_place(self)
        flag("Cytometry", transformed=self.transformed)
        positive("Cytometry", "units of intensity", cofactor=self.cofactor)
        if self.additive_sd is not None:
            positive("Cytometry", "units of intensity", additive_sd=self.additive_sd)
        positive("Cytometry", "1", degrees=self.degrees, relative_sd=self.relative_sd, sd_ln_sd=self.sd_ln_sd)
        if self.distribution not in DISTRIBUTIONS:
            hint = nearest(str(self.distribution), DISTRIBUTIONS)
            raise AssayError(f"`distribution` of Cytometry is `{self.distribution}`; {hint}")

    def check(self, values: Any, where: str, features: Sequence[str], cells: Sequence[str]) -> None:
        """Refuse what is not finite, and intensities that are given out as transformed ones."""
        refuse_unfinite("Cytometry", values, where, features, cells)
        if self.transformed:
            remedy = "no asinh of an intensity: leave out `transformed=True`."
            refuse_where(lambda y: np.abs(y) > IMPOSSIBLE, values, where, features, cells, remedy)

    def unknowns(self, summary: Summary) -> list[CellUnknown]:
        """Both parts of the noise."""
        additive = math.log(self.cofactor if self.additive_sd is None else self.additive_sd)
        of_batch = np.full((len(summary.batches), len(summary.features)), additive)
        relative = np.full(len(summary.features), math.log(self.relative_sd))
        return [self._sd("additive_sd", of_batch, "intensity"), self._sd("relative_sd", relative, "1")]

    def start(self, summary: Summary) -> np.ndarray:
        """Ln of the median intensity, or of the constant noise where the median is below that."""
        median = over_batches(summary, self._scaled(summary.quantiles[2]))[0]
        least = self.cofactor if self.additive_sd is None else self.additive_sd
        return np.log(np.maximum(self.cofactor * np.sinh(median), least))

    def log_density(
        self, y: Tensor, ln_signal: Tensor, heads: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> Tensor:
        """Log density of every reading, per unit of the reading."""
        mean, variance = self._moments(ln_signal, values)
        y = y.to(ln_signal.dtype)
        shown = self._scale(y)
        if self.distribution == "normal":
            density = normal_of_variance(shown, mean, variance)
        else:
            density = student_t_of_variance(shown, mean, variance, self._ln_degrees(mean))
        if self.transformed:
            return density
        return density - 0.5 * torch.log1p((y / self.cofactor).square()) - math.log(self.cofactor)

    def expected(
        self, ln_signal: Tensor, heads: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> Tensor:
        """Expected y; of intensities μ e^{v/2}, or with Student's t, whose sinh has no mean, the median μ."""
        mean, variance = self._moments(ln_signal, values)
        if self.transformed:
            return mean
        return torch.exp(ln_signal + 0.5 * variance if self.distribution == "normal" else ln_signal)

    def draw(
        self,
        ln_signal: Tensor,
        heads: Tensor,
        values: Mapping[str, Tensor],
        ln_size: Tensor,
        generator: Generator,
    ) -> Tensor:
        """Draw y, and take it back to intensities unless readings are transformed."""
        mean, variance = self._moments(ln_signal, values)
        if self.distribution == "normal":
            y = draw_normal(mean, variance, generator)
        else:
            y = draw_student_t(mean, variance, self._ln_degrees(mean), generator)
        return y if self.transformed else self.cofactor * torch.sinh(y)

    def seen(self, y: Tensor, ln_size: Tensor) -> Tensor:
        """asinh(I/c)."""
        return self._scale(y)

    def _sd(self, name: str, ln_median: np.ndarray, unit: str) -> CellUnknown:
        sd = np.full_like(ln_median, self.sd_ln_sd)
        return CellUnknown(name=name, mean=ln_median, sd=sd, start=ln_median, unit=unit)

    def _moments(self, ln_signal: Tensor, values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """E y and v. With w = 2 ln(μ/c): v = (σ_add/c)² S(−w) + σ_rel² S(w), S the logistic function."""
        a = ln_signal - math.log(self.cofactor)
        additive = torch.exp(2.0 * (values["additive_sd"].to(a.dtype) - math.log(self.cofactor)))
        relative = torch.exp(2.0 * values["relative_sd"].to(a.dtype))
        variance = additive * torch.sigmoid(-2.0 * a) + relative * torch.sigmoid(2.0 * a)
        return torch.asinh(torch.exp(a)), variance

    def _ln_degrees(self, like: Tensor) -> Tensor:
        return like.new_full((), math.log(self.degrees))

    def _scale(self, y: Tensor) -> Tensor:
        return y if self.transformed else torch.asinh(y / self.cofactor)

    def _scaled(self, y: np.ndarray) -> np.ndarray:
        return y if self.transformed else np.arcsinh(y / self.cofactor)
