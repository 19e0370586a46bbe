"""Counts of transcripts per cell: negative binomial about size · signal, with dropouts on request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from multiscale.assays.channels.channel import CellUnknown, Channel, Summary
from multiscale.assays.channels.count_density import count_log_density, draw_counts
from multiscale.assays.channels.readings import check_place, refuse_uncounted
from multiscale.assays.channels.summary import over_batches
from multiscale.assays.density import softplus
from multiscale.assays.options import flag, positive
from multiscale.errors import AssayError

__all__ = ["Transcripts"]


@dataclass(frozen=True, kw_only=True)
class Transcripts(Channel):
    """Counts with mean m = size · signal and variance m + m²/r, one dispersion r per feature.

    With `zero_inflation`, a count is lost (read as 0) with probability π, ln odds given by the decoder:
    P(y) = π [y = 0] + (1 − π) NB(y; m, r).

    Args:
        zero_inflation: whether counts are lost beyond sampling. Counts of molecules (UMI) seldom need it.
        dispersion_median: prior median of r.
        dispersion_ln_sd: prior sd of ln r.

    The other options are those of `Channel`.

    Raises:
        AssayError: an option is of the wrong type or out of range.

    Source: negative binomial counts of single cells with zero inflation: Lopez et al. 2018,
    doi:10.1038/s41592-018-0229-2. Here the signal is no share of a total: it is free, and size is given.
    """

    zero_inflation: bool = False
    dispersion_median: float = 3.0
    dispersion_ln_sd: float = 1.5

    kind: ClassVar[str] = "transcripts"
    reads: ClassVar[str] = "transcript"
    sized: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the options."""
        check_place(self)
        flag("Transcripts", zero_inflation=self.zero_inflation)
        prior = {"dispersion_median": self.dispersion_median, "dispersion_ln_sd": self.dispersion_ln_sd}
        positive("Transcripts", "1", **prior)

    @property
    def heads(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Ln odds of a dropout, where there are any."""
        return int(self.zero_inflation)

    def check(self, values: Any, where: str, features: Sequence[str], cells: Sequence[str]) -> None:
        """Refuse what is no count."""
        refuse_uncounted("Transcripts", values, where, features, cells)

    def unknowns(self, summary: Summary) -> list[CellUnknown]:
        """Dispersions.

        All start at the median of the prior: moments over all cells hold differences between cells too, which
        the signal explains.
        """
        mean = np.full(len(summary.features), math.log(self.dispersion_median))
        sd = np.full_like(mean, self.dispersion_ln_sd)
        return [CellUnknown(name="dispersion", mean=mean, sd=sd, start=mean)]

    def start(self, summary: Summary) -> np.ndarray:
        """Ln of the mean count at size 1; half a count among all cells where there is none."""
        mean, cells = over_batches(summary, summary.mean)
        if not np.any(mean > 0):
            raise AssayError("Transcripts: all counts are 0; check `layer` and the filter of cells.")
        return np.log(np.maximum(mean, 0.5 / cells))

    def log_density(
        self, y: Tensor, ln_signal: Tensor, heads: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> Tensor:
        """Log probability of every count; see `count_density`."""
        counted = count_log_density(y, ln_signal, values["dispersion"], ln_size)
        if not self.zero_inflation:
            return counted
        ln_odds = heads[..., 0]
        return torch.where(y == 0, torch.logaddexp(ln_odds, counted), counted) - softplus(ln_odds)

    def expected(
        self, ln_signal: Tensor, heads: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> Tensor:
        """Expected count, lost ones included: (1 − π) m."""
        ln_mean = ln_signal + ln_size.unsqueeze(1)
        return torch.exp(ln_mean - softplus(heads[..., 0]) if self.zero_inflation else ln_mean)

    def draw(
        self,
        ln_signal: Tensor,
        heads: Tensor,
        values: Mapping[str, Tensor],
        ln_size: Tensor,
        generator: Generator,
    ) -> Tensor:
        """Draw counts: Poisson about a gamma deviate."""
        drawn = draw_counts(ln_signal + ln_size.unsqueeze(1), values["dispersion"], generator)
        if not self.zero_inflation:
            return drawn
        return drawn * torch.bernoulli(torch.sigmoid(-heads[..., 0]), generator=generator)

    def seen(self, y: Tensor, ln_size: Tensor) -> Tensor:
        """ln(1 + count/size)."""
        return (y * torch.exp(-ln_size).unsqueeze(1)).log1p_()
