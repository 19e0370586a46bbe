"""Mutations add up: one energy per letter and position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from multiscale.data import Readings
from multiscale.encoders.design import Design, Indexed
from multiscale.encoders.encoder import Bound, Encoder, Weights
from multiscale.encoders.sites import Sites, check_positions, name_variant, sites_of
from multiscale.errors import ConfigError, DataError

__all__ = ["Additive"]


@dataclass(frozen=True, kw_only=True)
class Additive(Encoder):
    """Every letter at every position has an energy: ΔΔG of a sequence s is Σ_p w[p, s_p].

    With a wild type its letters have no weight, so that energies are relative to it, and mutations have a
    common mean, ΔΔG_m = mean + w_m: most of them destabilise, and a scan in which every variant has as many
    mutations does not tell that from a less stable wild type. Without a wild type all letters have weights,
    whose normal prior makes them sum to zero at every position.

    Args:
        molecule: whose sequence is read.
        positions: numbers of the first and last position, such as a binding site within a promoter; None for
            all.
        mean: of the normal prior of the common mean, kcal/mol.
        mean_sd: its sd, kcal/mol; 0 = there is no common mean.
        unseen: what rows to predict may hold that no fitted row has: `refuse` such mutations, or take their
            `prior`, zero ± its sd.
    """

    molecule: str
    positions: Sequence[int] | None = None
    mean: float = 0.0
    mean_sd: float = 1.0
    unseen: Literal["refuse", "prior"] = "refuse"

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        check_positions(self.positions)
        if not (np.isfinite(self.mean_sd) and self.mean_sd >= 0):
            raise ConfigError(f"`mean_sd` must be zero or positive, in kcal/mol; got {self.mean_sd!r}.")
        if not np.isfinite(self.mean) or (self.mean and not self.mean_sd):
            raise ConfigError(f"`mean` must be finite, in kcal/mol, with a `mean_sd`; got {self.mean!r}.")
        if self.unseen not in ("refuse", "prior"):
            raise ConfigError(f"`unseen` must be `refuse` or `prior`; got {self.unseen!r}.")

    def reads(self, readings: Readings) -> bool:
        """Whether they hold the molecule's sequence."""
        return self.molecule in readings.sequences

    def bind(self, readings: Sequence[Readings]) -> BoundAdditive:
        """Find positions, letters, and which mutations are there."""
        return BoundAdditive(self, sites_of(readings, self.molecule, self.positions), readings)


class BoundAdditive(Bound):
    """Additive energies of the mutations of one molecule."""

    def __init__(self, encoder: Additive, sites: Sites, readings: Sequence[Readings]) -> None:
        self.sites, self.refuse = sites, encoder.unseen == "refuse"
        names = np.array(sites.names(), dtype=object)
        kept = names != ""
        self.weight_of = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)
        seen = np.zeros(int(kept.sum()), dtype=bool)
        for item in readings:
            seen[_used(self._index(item))] = True
        sd, learned = encoder.prior
        single = Weights(
            name="single", labels=names[kept].tolist(), sd=sd, learned=learned, seen=seen, energies=True
        )
        self.families: tuple[Weights, ...] = (single,)
        if sites.reference is not None and encoder.mean_sd:
            mean = Weights(name="mean", labels=["mutations"], sd=encoder.mean_sd, mean=encoder.mean)
            self.families = (replace(single, shift="mean"), mean)
        self.gauge = _gauge(sites)

    def designs(self, readings: Readings) -> list[Design]:
        """Which weights every row adds up.

        Raises:
            DataError: a row has a mutation that no fitted row has.
        """
        index = self._index(readings)
        seen, family = self.families[0].seen, self.families[0]
        assert seen is not None
        unknown = (index >= 0) & ~np.append(seen, True)[index]
        if self.refuse and unknown.any():
            row, slot = np.argwhere(unknown)[0]
            mutation = family.labels[int(index[row, slot])]
            raise DataError(
                f"{name_variant(readings, int(row), self.sites.molecule)}: no fitted row has `{mutation}`;"
                ' leave the row out, or set `unseen = "prior"` to predict it with the width of the prior.'
            )
        weights = torch.from_numpy(index)
        designs: list[Design] = [Indexed(weights, len(family.labels))]
        if family.shift:
            designs.append(Indexed(torch.where(weights >= 0, 0, -1), 1))
        return designs

    def _index(self, readings: Readings) -> np.ndarray:
        """Position of the weights of every row, −1 where there is none."""
        return self.weight_of[self.sites.of(readings).mutations()]


def _used(index: np.ndarray) -> np.ndarray:
    """Which weights occur."""
    found = np.unique(index)
    return found[found >= 0]


def _gauge(sites: Sites) -> str:
    """Say what energies are relative to."""
    if sites.reference is not None:
        return "energies are relative to the wild type"
    return (
        "there is no wild type: only differences between letters of one position change a prediction;"
        " the prior makes the weights of a position sum to zero: energies are relative to the average letter"
    )
