"""Counts of antibody tags per cell: background or foreground, both negative binomial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid, softplus

from multiscale.assays.channels.channel import CellUnknown, Channel, Summary
from multiscale.assays.channels.count_density import LINEAR, count_coefficient, draw_counts
from multiscale.assays.channels.readings import check_place, refuse_uncounted
from multiscale.assays.channels.summary import over_batches
from multiscale.assays.options import flag, positive

__all__ = ["SurfaceProteins"]

HALF_COUNT = 0.5
"""Added to a quantile before its logarithm: a count of 0 stands for what lies between 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class SurfaceProteins(Channel):
    """Counts of antibody tags: y ~ π NB(β, r) + (1 − π) NB(β + signal, r).

    β is the background of a protein in a batch: antibodies that float or stick. π is the probability that a
    reading is background alone, its ln odds given by the decoder; r is the dispersion of a protein. With
    `size_factor`, both means grow with the size of the cell.

    The same mixture as in totalVI. What differs: there β is a latent number of every cell with a log-normal
    prior per protein and batch, and foreground is β times a factor of at least one; here β is one number per
    protein and batch, and the signal, which can be copies of a molecule, adds to it.

    Args:
        size_factor: whether readings grow with the size factor of the cell. Counts of tags follow the copies
            of few proteins, so that their total is no measure of depth: not by default.
        background_ln_sd: prior sd of ln β, about the low quantiles of the counts.
        dispersion_median: prior median of r.
        dispersion_ln_sd: prior sd of ln r.

    The other options are those of `Channel`.

    Raises:
        AssayError: an option is of the wrong type or out of range.

    Source: Gayoso et al. 2021, doi:10.1038/s41592-020-01050-x.
    """

    size_factor: bool = False
    background_ln_sd: float = 1.0
    dispersion_median: float = 5.0
    dispersion_ln_sd: float = 1.5

    kind: ClassVar[str] = "surface_proteins"
    reads: ClassVar[str] = "surface"
    heads: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check the options."""
        check_place(self)
        flag("SurfaceProteins", size_factor=self.size_factor)
        names = ("background_ln_sd", "dispersion_median", "dispersion_ln_sd")
        positive("SurfaceProteins", "1", **{name: getattr(self, name) for name in names})

    @property
    def sized(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As asked."""
        return self.size_factor

    def check(self, values: Any, where: str, features: Sequence[str], cells: Sequence[str]) -> None:
        """Refuse what is no count."""
        refuse_uncounted("SurfaceProteins", values, where, features, cells)

    def unknowns(self, summary: Summary) -> list[CellUnknown]:
        """Backgrounds per batch, and dispersions."""
        background = _background(summary)
        dispersion = np.full(len(summary.features), math.log(self.dispersion_median))
        return [
            CellUnknown(
                name="background",
                mean=background,
                sd=np.full_like(background, self.background_ln_sd),
                start=background,
                unit="count",
                role="calibration",
            ),
            CellUnknown(
                name="dispersion",
                mean=dispersion,
                sd=np.full_like(dispersion, self.dispersion_ln_sd),
                start=dispersion,
            ),
        ]

    def start(self, summary: Summary) -> np.ndarray:
        """Ln of what the upper quarter of cells has above the background, and at least as much as that.

        With less, foreground and background could not be told apart.
        """
        upper = np.log(HALF_COUNT + summary.quantiles[3:]).mean(0)
        background = _background(summary)
        with np.errstate(divide="ignore"):  # no count at all: as much as the background
            above = np.log(np.maximum(np.exp(upper) - np.exp(background), 0.0))
        return over_batches(summary, np.maximum(above, background))[0]

    def log_density(
        self, y: Tensor, ln_signal: Tensor, heads: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> Tensor:
        """Log probability of every count."""
        background, foreground = self._ln_means(ln_signal, values, ln_size)
        ln_r = values["dispersion"].to(ln_signal.dtype)
        parts = (
            logsigmoid(heads[..., 0]) + _of_mean(y, background, ln_r),
            logsigmoid(-heads[..., 0]) + _of_mean(y, foreground, ln_r),
        )
        return torch.logaddexp(*parts) + count_coefficient(y, ln_r)

    def foreground(
        self, y: Tensor, ln_signal: Tensor, heads: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> Tensor:
        """Probability, given the count, that it is foreground, shape (cell, feature)."""
        background, foreground = self._ln_means(ln_signal, values, ln_size)
        ln_r = values["dispersion"].to(ln_signal.dtype)
        return torch.sigmoid(_of_mean(y, foreground, ln_r) - _of_mean(y, background, ln_r) - heads[..., 0])

    def expected(
        self, ln_signal: Tensor, heads: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> Tensor:
        """Expected count: β + (1 − π) signal, times size where that counts."""
        ln_size = self._ln_size(ln_size)
        background = torch.exp(values["background"] + ln_size)
        return background + torch.exp(ln_signal + ln_size + logsigmoid(-heads[..., 0]))

    def draw(
        self,
        ln_signal: Tensor,
        heads: Tensor,
        values: Mapping[str, Tensor],
        ln_size: Tensor,
        generator: Generator,
    ) -> Tensor:
        """Draw whether a count is background, then the count."""
        background, foreground = self._ln_means(ln_signal, values, ln_size)
        alone = torch.bernoulli(torch.sigmoid(heads[..., 0]), generator=generator).bool()
        return draw_counts(torch.where(alone, background, foreground), values["dispersion"], generator)

    def seen(self, y: Tensor, ln_size: Tensor) -> Tensor:
        """ln(1 + count), the count divided by size where that counts."""
        return torch.log1p(y * torch.exp(-self._ln_size(ln_size)))

    def _ln_size(self, ln_size: Tensor) -> Tensor:
        return ln_size.unsqueeze(1) if self.size_factor else ln_size.new_zeros(1, 1)

    def _ln_means(
        self, ln_signal: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Ln of the means of background and foreground, shape (cell, feature)."""
        background = values["background"].to(ln_signal.dtype).expand(ln_signal.shape)
        foreground = torch.logaddexp(background, ln_signal)
        ln_size = self._ln_size(ln_size)
        return background + ln_size, foreground + ln_size


def _of_mean(y: Tensor, ln_mean: Tensor, ln_r: Tensor) -> Tensor:
    """What of the negative binomial depends on its mean: y ln m − (y + r) ln(1 + m/r)."""
    ln_odds = softplus(ln_mean - ln_r, threshold=LINEAR)
    return y.to(ln_r.dtype) * (ln_mean - ln_odds) - torch.exp(ln_r) * ln_odds


def _background(summary: Summary) -> np.ndarray:
    """Ln background: midway between the 5 % and the 25 % quantile of ln counts, shape (batch, feature).

    Where most cells lack a protein both are background, where most have it the lower one alone. Batches
    without readings get the mean of the others.
    """
    low = np.log(HALF_COUNT + summary.quantiles[:2]).mean(0)
    return np.where(np.isnan(low), over_batches(summary, low)[0], low)
