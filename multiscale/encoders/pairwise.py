"""Mutations that do not add up: energies of pairs that were seen together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from multiscale.data import Readings
from multiscale.encoders.couplings import FAMILIES, BoundCouplings
from multiscale.encoders.design import Design, Indexed
from multiscale.encoders.encoder import Bound, Encoder, Weights
from multiscale.encoders.pair_keys import PairKeys, allowed_pairs
from multiscale.encoders.sites import check_positions, sites_of
from multiscale.errors import ConfigError, nearest

__all__ = ["Pairwise"]

KINDS = ("mutations", "positions", "properties")
MOST = 19  # features that differ among 20 residues after centring


@dataclass(frozen=True, kw_only=True)
class Pairwise(Encoder):
    """Pairs that some fitted row has together have an energy on top of the sum of both; others count as zero.

    Use it beside `Additive`. For a sequence s, with p < q its mutated positions, ΔΔG gets

    - `mutations`: Σ w[p, s_p, q, s_q], one energy per pair of mutations;
    - `positions`: Σ w[p, q], one per pair of positions, whatever the letters; there must be a wild type;
    - `properties`: Σ c + u·φ(s_p) + v·φ(s_q) + φ(s_p)ᵀ W φ(s_q) with c, u, v, W of the pair of positions and
      φ features that are like for residues of like hydropathy, volume and charge that both are or both are
      not proline, glycine, beta-branched, aromatic. Also predicts pairs of mutations that no fitted row has,
      from others at these positions.

    Args:
        molecule: whose sequence is read; of a protein for `properties`.
        positions: numbers of the first and last position; None for all.
        pairs: `observed`, or pairs of position numbers to which they are limited, such as contacts.
        least_rows: in how many fitted rows a pair must be.
        by: see above.
        rank: number of features φ of a residue, 1 to 19.
        prior_sd: see `Encoder`; `auto` is 1 kcal/mol, and `learned` for `properties` unless `sds` are given.
        sds: of `properties`: prior sd of weights of pairs of positions (`constant`), times a feature (`one`),
            times two (`both`), kcal/mol; where to start if learned. Others have that of `prior_sd`.
    """

    molecule: str
    positions: Sequence[int] | None = None
    pairs: Literal["observed"] | Sequence[Sequence[int]] = "observed"
    least_rows: int = 1
    by: Literal["mutations", "positions", "properties"] = "mutations"
    rank: int = 5
    prior_sd: float | str = "auto"
    sds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the options."""
        if self.prior_sd == "auto":
            learned = self.by == "properties" and not self.sds
            object.__setattr__(self, "prior_sd", "learned" if learned else 1.0)
        super().__post_init__()
        check_positions(self.positions)
        if self.by not in KINDS:
            raise ConfigError(f"`by` is `{self.by}`; {nearest(str(self.by), KINDS)}")
        if self.least_rows < 1:
            raise ConfigError(f"`least_rows` must be at least 1; got {self.least_rows}.")
        if not isinstance(self.rank, int) or not 1 <= self.rank <= MOST:
            raise ConfigError(f"`rank` must be 1 to {MOST} features of a residue; got {self.rank!r}.")
        self._check_sds()
        self._check_pairs()

    def reads(self, readings: Readings) -> bool:
        """Whether they hold the molecule's sequence."""
        return self.molecule in readings.sequences

    def bind(self, readings: Sequence[Readings]) -> Bound:
        """Find the pairs that occur.

        Raises:
            ConfigError: there is no wild type of which positions could differ.
        """
        sites = sites_of(readings, self.molecule, self.positions)
        if self.by == "positions" and sites.reference is None:
            raise ConfigError(
                f'`by = "positions"` needs a wild type of `{self.molecule}`: else all pairs are in all rows;'
                ' give a `reference`, or use `by = "mutations"`.'
            )
        keys = PairKeys(sites, allowed_pairs(self.pairs, sites), self.by == "mutations")
        keys.learn(readings, self.least_rows)
        sd, learned = self.prior
        if self.by == "properties":
            sds = tuple(float(self.sds.get(name, sd)) for name in FAMILIES)
            return BoundCouplings(keys, self.rank, sds, learned)
        return BoundPairwise(keys, sd, learned)

    def _check_sds(self) -> None:
        """Refuse unknown families and what is no standard deviation."""
        if self.sds and self.by != "properties":
            raise ConfigError('`sds` are of `by = "properties"`; leave them out, or give `prior_sd`.')
        for name, value in self.sds.items():
            if name not in FAMILIES:
                raise ConfigError(f"`sds`: `{name}` is unknown; {nearest(name, FAMILIES)}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ConfigError(f"`sds`: `{name}` must be a positive number, kcal/mol; got {value!r}.")

    def _check_pairs(self) -> None:
        """Refuse what is not pairs of two different numbers."""
        if self.pairs == "observed":
            return
        if isinstance(self.pairs, str) or any(len(pair) != 2 or pair[0] == pair[1] for pair in self.pairs):
            raise ConfigError(
                f"`pairs` must be `observed` or pairs of position numbers, [[2, 5], ...]; got {self.pairs!r}."
            )


class BoundPairwise(Bound):
    """Energies of the pairs of mutations, or of positions, that fitted rows have."""

    def __init__(self, keys: PairKeys, sd: float, learned: bool) -> None:
        self.keys = keys
        labels = [f"{a}:{b}" for a, b in keys.names()]
        seen = np.ones(len(labels), dtype=bool)
        self.families = (
            Weights(name="pair", labels=labels, sd=sd, learned=learned, seen=seen, energies=True),
        )
        self.gauge = (
            "energies of pairs are on top of the sum of both; pairs that no fitted row has count as zero"
        )

    def designs(self, readings: Readings) -> list[Design]:
        """Pairs that every row has, of those that are known."""
        columns = [self.keys.weight(keys) for keys, _, _ in self.keys.of(readings)]
        used = [column for column in columns if (column >= 0).any()]
        index = np.stack(used, axis=1) if used else np.full((len(readings), 1), -1)
        return [Indexed(torch.from_numpy(index), len(self.keys.known))]
