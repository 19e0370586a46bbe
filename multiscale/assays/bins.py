"""Cells sorted into bins by a reporter: reads per ordered bin, by cumulative link or multinomial logits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import gammaln
from torch import Generator, Tensor

from multiscale.assays.cells import counts, encode_groups, find, groups, named_columns
from multiscale.assays.density import log_difference_of_ndtr, softplus
from multiscale.assays.instrument import Arrays, Instrument, Quantity, Unknown
from multiscale.assays.options import flag, text_or_none
from multiscale.errors import AssayError, nearest

__all__ = ["Bins", "information"]

LINKS = ("logit", "probit", "multinomial")

BACKGROUND, BACKGROUND_LN_SD = 0.01, 2.0
"""Prior of the reporter's background in units of the readout at fraction one, or in µM (assumption)."""

LAPSE, LAPSE_LN_SD = 0.05, 1.5
"""Prior of the odds that a read fell into a bin at random (assumption)."""

CENTER, WIDTH = -1.0, 1.5
"""Where thresholds are thought to lie, ln units: readouts within e^1.5 of e^-1 (assumption)."""


@dataclass(frozen=True, kw_only=True)
class Bins(Instrument):
    """Reads of every variant in K ordered bins, lowest signal first.

    The reporter of a cell is x = ln(p + background), with p a fraction of a molecule or a concentration (µM).
    Reads fall into bins with probabilities P_k:

    - `logit`, `probit`: P(bin ≤ k) = G((t_k − x)/s), G the logistic or normal distribution, thresholds
      t_1 < t_2 < … and the spread s of cells of one variant fitted; with `depth`, P_k is multiplied by a
      weight per bin (reads per cell; that of the first bin is one) and normalised.
    - `multinomial`: P_k ∝ exp(a_k + b_k h + c_k h²), h = x − ln background ≥ 0, and a, b, c are zero for the
      first bin.

    With `lapse`, reads fall into any bin alike, whatever their reporter, with odds λ fitted:
    P_k becomes (P_k + λ/K)/(1 + λ). Without it one read in a far bin is worth many near ones.

    Counts given their sum are multinomial. Thresholds, spread, background and λ are per group. The unit of x
    is that of ln p, which the energies set; with `multinomial`, b and c absorb a factor on energies where p
    is small: they are in relative units.

    Args:
        species: which species count.
        bins: columns of the counts, lowest signal first.
        of: molecule of which a fraction is read; '' = their concentration is.
        link: see above.
        depth: whether bins were read to unknown depths.
        lapse: whether some reads fall into bins at random.
        group: column of the sort or library.

    Raises:
        AssayError: an option is unknown or out of range.

    Source: cumulative links: McCullagh 1980, doi:10.1111/j.2517-6161.1980.tb01109.x; reads of sorted
    reporters as a noisy function of a latent phenotype: Tareen et al. 2022, doi:10.1186/s13059-022-02661-7.
    """

    species: str
    bins: tuple[str, ...]
    of: str = ""
    link: Literal["logit", "probit", "multinomial"] = "logit"
    depth: bool = False
    lapse: bool = False
    group: str | None = None

    inputs: ClassVar[Mapping[str, str]] = {
        "group": "sort or library, where the option `group` names its column"
    }

    def __post_init__(self) -> None:
        """Check the options."""
        bins = tuple(self.bins) if not isinstance(self.bins, str) else (self.bins,)
        if len(bins) < 2 or len(set(bins)) < len(bins) or not all(isinstance(b, str) and b for b in bins):
            raise AssayError(f"`bins` of Bins must name at least two different columns; got {bins!r}.")
        if self.link not in LINKS:
            raise AssayError(f"`link` of Bins is `{self.link}`; {nearest(str(self.link), LINKS)}")
        flag("Bins", depth=self.depth, lapse=self.lapse)
        text_or_none("Bins", group=self.group)
        if self.depth and self.link == "multinomial":
            raise AssayError("`depth` of Bins: a multinomial link holds it already (a_k); leave it out.")
        object.__setattr__(self, "bins", bins)
        columns = named_columns("Bins", self.columns, [*self.measured, *self.inputs], group=self.group)
        object.__setattr__(self, "columns", columns)

    @property
    def measured(self) -> Mapping[str, str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Columns of the counts: as many as there are bins."""
        return {name: f"reads in bin {k}" for k, name in enumerate(self.bins, 1)}

    @property
    def unit(self) -> str:
        """Readings are mean bins, counted from 1."""
        return "bin"

    def quantities(self) -> tuple[Quantity, ...]:
        """The fraction, or the concentration."""
        return (Quantity("fraction" if self.of else "concentration", self.species, self.of),)

    def prepare(self, table: pd.DataFrame, where: str, *, measured: bool = True) -> Arrays:
        """Read counts and groups; see `Instrument.prepare`.

        Returns:
            `counts`, shape (row, bin); `ln_ways`, ln of the multinomial coefficient; `group`.
        """
        column = find(table, "group", self.columns, where) if "group" in self.columns else None
        group = groups(table, column, where)
        if not measured:
            reads = np.full((len(table), len(self.bins)), np.nan)
            return {"counts": reads, "ln_ways": np.zeros(len(table)), "group": group}
        found = [counts(table, find(table, name, self.columns, where), where) for name in self.bins]
        reads = np.stack(found, 1)
        ways = gammaln(reads.sum(1) + 1.0) - gammaln(reads + 1.0).sum(1)
        return {"counts": reads, "ln_ways": ways, "group": group}

    def unknowns(self, arrays: Arrays) -> list[Unknown]:
        """Background, and thresholds or logits, of every group."""
        labels, codes = encode_groups(arrays["group"])
        share = _shares(arrays["counts"])

        def unknown(
            name: str, mean: float, sd: float, scale: Literal["lin", "ln"], unit: str = "1"
        ) -> Unknown:
            return Unknown(
                name=name,
                labels=labels,
                codes=codes,
                mean=mean,
                sd=sd,
                width=0.3 * sd,
                scale=scale,
                unit=unit,
            )

        unit = "1" if self.of else "uM"
        found = [unknown("background", math.log(BACKGROUND), BACKGROUND_LN_SD, "ln", unit)]
        if self.lapse:
            found.append(unknown("lapse", math.log(LAPSE), LAPSE_LN_SD, "ln"))
        if self.link == "multinomial":
            for k in range(2, len(self.bins) + 1):
                rise = (k - 1) / (len(self.bins) - 1)
                found += [
                    unknown(f"intercept {k}", math.log(share[k - 1] / share[0]) - rise, 2.0, "lin"),
                    unknown(f"slope {k}", rise, 1.0, "lin"),
                    unknown(f"curvature {k}", 0.0, 0.3, "lin"),
                ]
            return found
        levels = [CENTER + WIDTH * NormalDist().inv_cdf(level) for level in np.cumsum(share)[:-1].tolist()]
        found += [unknown("threshold 1", levels[0], 3.0, "lin"), unknown("spread", 0.0, 1.0, "ln")]
        gaps = [math.log(gap) for gap in np.diff(levels)]
        found += [unknown(f"gap {k}", gap, 1.0, "ln") for k, gap in enumerate(gaps, 2)]
        if self.depth:
            found += [unknown(f"depth {k}", 0.0, 1.0, "ln") for k in range(2, len(self.bins) + 1)]
        return found

    def log_shares(self, readouts: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """ln P of every bin, shape (..., row, bin)."""
        shares = self._of_reporter(readouts, values)
        if not self.lapse:
            return shares
        odds = values["lapse"][..., None]
        return torch.logaddexp(shares, odds - math.log(len(self.bins))) - softplus(odds)

    def _of_reporter(self, readouts: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """ln P of every bin where the reporter alone decides."""
        above = softplus(readouts[..., 0] - values["background"])
        if self.link == "multinomial":
            return self._softmax(above, values)
        shares = torch.stack(self._between(above + values["background"], values), -1)
        if not self.depth:
            return shares
        weights = [torch.zeros_like(above), *(values[f"depth {k}"] for k in range(2, len(self.bins) + 1))]
        return torch.log_softmax(shares + torch.stack(torch.broadcast_tensors(*weights), -1), -1)

    def log_density(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Log probability of the counts given their sum."""
        return arrays["ln_ways"] + (arrays["counts"] * self.log_shares(readouts, values)).sum(-1)

    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Mean bin, from 1."""
        shares = torch.exp(self.log_shares(readouts, values))
        return shares @ self._numbers(shares)

    def draw(
        self,
        arrays: Mapping[str, Tensor],
        readouts: Tensor,
        values: Mapping[str, Tensor],
        generator: Generator,
    ) -> Tensor:
        """Draw the mean bin of as many reads as the row has (NaN if none), of one read in rows to predict."""
        shares = torch.exp(self.log_shares(readouts, values))
        total = arrays["counts"].sum(-1).nan_to_num(nan=1.0).expand(shares.shape[:-1])
        reads = _multinomial(total, shares, generator)
        return reads @ self._numbers(reads) / total

    def observed(self, arrays: Arrays) -> np.ndarray:
        """Mean bin of the reads, from 1."""
        reads = arrays["counts"]
        total = reads.sum(1)
        return reads @ np.arange(1.0, reads.shape[1] + 1.0) / np.where(total > 0, total, np.nan)

    def _numbers(self, like: Tensor) -> Tensor:
        return torch.arange(1, len(self.bins) + 1, dtype=like.dtype, device=like.device)

    def _softmax(self, above: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Multinomial logits."""
        logits = [torch.zeros_like(above)]
        for k in range(2, len(self.bins) + 1):
            slope = values[f"slope {k}"] + values[f"curvature {k}"] * above
            logits.append(values[f"intercept {k}"] + slope * above)
        return torch.log_softmax(torch.stack(torch.broadcast_tensors(*logits), -1), -1)

    def _between(self, x: Tensor, values: Mapping[str, Tensor]) -> list[Tensor]:
        """ln of the mass of every bin between its thresholds."""
        scale = torch.exp(-values["spread"])
        gaps = [torch.exp(values[f"gap {k}"]) * scale for k in range(2, len(self.bins))]
        edges = [(values["threshold 1"] - x) * scale]
        for gap in gaps:
            edges.append(edges[-1] + gap)
        pairs = list(zip(edges[1:], edges[:-1], gaps, strict=True))
        if self.link == "probit":
            inner = [log_difference_of_ndtr(high, low) for high, low, _ in pairs]
            return [torch.special.log_ndtr(edges[0]), *inner, torch.special.log_ndtr(-edges[-1])]
        # S(b) − S(a) = S(b) S(−a) (1 − e^(a − b))
        inner = [torch.log(-torch.expm1(-gap)) - softplus(-high) - softplus(low) for high, low, gap in pairs]
        return [-softplus(-edges[0]), *inner, -softplus(edges[-1])]


def information(log_shares: Tensor, reads: Tensor) -> Tensor:
    """Information per read that shares carry on the bin, bits: I = H(bin) + mean log₂ P(bin | variant).

    H is the entropy of the reads of all variants together. I is a lower bound on the mutual information
    between readout and bin, negative for shares worse than the same for all.

    Args:
        log_shares: `Bins.log_shares`, shape (..., row, bin).
        reads: counts, shape (row, bin).

    Returns:
        shape (...).

    Source: variational information, Tareen et al. 2022, doi:10.1186/s13059-022-02661-7.

    Two variants, each always in a bin of its own, tell one bit:

    >>> reads = torch.tensor([[5.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    >>> float(information(torch.log(reads / 5.0 + 1e-300), reads))
    1.0
    """
    total = reads.sum()
    share = reads.sum(0) / total
    entropy = -torch.special.xlogy(share, share).sum()
    return (entropy + (reads * log_shares).sum((-1, -2)) / total) / math.log(2.0)


def _shares(reads: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of all reads by bin; half a read is added to every bin, so that an empty one has a place too."""
    total = np.nansum(reads, 0) + 0.5
    return total / total.sum()


def _multinomial(total: Tensor, shares: Tensor, generator: Generator) -> Tensor:
    """Draw multinomial counts bin by bin: each is binomial of the reads that are left."""
    left, rest, drawn = total.clone(), torch.ones_like(total), []
    for k in range(shares.shape[-1] - 1):
        share = (shares[..., k] / rest).clamp(0.0, 1.0)  # rounding may leave a rest below the share
        reads = torch.binomial(left, share, generator=generator)
        left, rest = left - reads, rest - shares[..., k]
        drawn.append(reads)
    return torch.stack([*drawn, left], -1)
