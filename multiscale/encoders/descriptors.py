"""Mutations told by what they change: hydropathy and volume of a residue, weighed at every position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from multiscale.data import Readings, Sequences
from multiscale.encoders.design import Design, Weighted
from multiscale.encoders.encoder import Bound, Encoder, Weights
from multiscale.encoders.sites import Sites, check_positions, name_variant, sites_of
from multiscale.errors import ConfigError, DataError, nearest

__all__ = ["HYDROPATHY", "SCALES", "VOLUME", "Descriptors"]

HYDROPATHY = {
    **{"A": 1.8, "C": 2.5, "D": -3.5, "E": -3.5, "F": 2.8, "G": -0.4, "H": -3.2, "I": 4.5, "K": -3.9},
    **{"L": 3.8, "M": 1.9, "N": -3.5, "P": -1.6, "Q": -3.5, "R": -4.5, "S": -0.8, "T": -0.7, "V": 4.2},
    **{"W": -0.9, "Y": -1.3},
}
"""Hydropathy index, without unit, positive = hydrophobic.

Source: Kyte & Doolittle 1982, doi:10.1016/0022-2836(82)90515-0.
"""
VOLUME = {
    **{"A": 90.1, "C": 113.2, "D": 117.1, "E": 140.8, "F": 193.5, "G": 63.8, "H": 159.3, "I": 164.9},
    **{"K": 170.0, "L": 164.6, "M": 167.7, "N": 127.5, "P": 123.1, "Q": 149.4, "R": 192.8, "S": 94.2},
    **{"T": 120.0, "V": 139.1, "W": 231.7, "Y": 197.1},
}
"""Mean volume of residues buried in proteins, Å³; cysteine without disulphide bond.

Source: Harpaz, Gerstein & Chothia 1994, doi:10.1016/S0969-2126(00)00065-4, table 1. (In AAindex, entry
HARY940101, Trp and Tyr are exchanged.)
"""
SCALES = {"hydropathy": HYDROPATHY, "volume": VOLUME}
"""Properties of residues by name."""


@dataclass(frozen=True, kw_only=True)
class Descriptors(Encoder):
    """A substitution changes an energy by Σ w[p] (x_new − x_old)/s, over properties x of residues.

    There is one weight per position p and property; s is the root mean square difference of two residues, so
    that a weight is the energy of a typical substitution. Without a wild type x_old is the mean over all
    residues. Far fewer weights than letters; also predicts substitutions that no fitted row has.

    Args:
        molecule: whose sequence is read, a protein.
        positions: numbers of the first and last position; None for all.
        properties: of `SCALES`.
    """

    molecule: str
    positions: Sequence[int] | None = None
    properties: Sequence[str] = ("hydropathy", "volume")

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        check_positions(self.positions)
        if isinstance(self.properties, str) or not self.properties:
            raise ConfigError(f"`properties` must list some of {', '.join(SCALES)}; got {self.properties!r}.")
        for name in self.properties:
            if name not in SCALES:
                raise ConfigError(f"`properties`: `{name}` is unknown; {nearest(name, SCALES)}")

    def reads(self, readings: Readings) -> bool:
        """Whether they hold the molecule's sequence."""
        return self.molecule in readings.sequences

    def bind(self, readings: Sequence[Readings]) -> BoundDescriptors:
        """Find the positions."""
        return BoundDescriptors(self, sites_of(readings, self.molecule, self.positions), readings)


class BoundDescriptors(Bound):
    """Energies of substitutions by what they change."""

    def __init__(self, encoder: Descriptors, sites: Sites, readings: Sequence[Readings]) -> None:
        self.sites = sites
        self.changes = [_changes(SCALES[name], sites) for name in encoder.properties]
        numbers = [str(sites.first + i) for i in range(sites.length)]
        seen = np.zeros(sites.length, dtype=bool)
        for item in readings:
            found = np.unique(sites.of(item).mutations())
            seen[found[found >= 0] // len(sites.alphabet)] = True
        sd, learned = encoder.prior
        self.families = tuple(
            Weights(name=name, labels=numbers, sd=sd, learned=learned, seen=seen)
            for name in encoder.properties
        )
        self.gauge = (
            "energies are relative to the wild type"
            if sites.reference is not None
            else "energies are relative to a residue of mean properties"
        )

    def designs(self, readings: Readings) -> list[Design]:
        """Changes at every mutated position of a row, per property.

        Raises:
            DataError: a letter is no residue, such as a stop or a gap.
        """
        sequences = self.sites.of(readings)
        mutations = sequences.mutations()
        self._refuse(readings, sequences, mutations)
        index = torch.from_numpy(np.where(mutations >= 0, mutations // len(sequences.alphabet), -1))
        factors = [np.append(changes, 0.0)[mutations] for changes in self.changes]
        return [Weighted(index, torch.from_numpy(part), self.sites.length) for part in factors]

    def _refuse(self, readings: Readings, sequences: Sequences, mutations: np.ndarray) -> None:
        """Refuse letters without properties."""
        wrong = np.isnan(np.append(self.changes[0], 0.0))[mutations]
        if wrong.any():
            row, slot = np.argwhere(wrong)[0]
            letter = sequences.alphabet[mutations[row, slot] % len(sequences.alphabet)]
            raise DataError(
                f"{name_variant(readings, int(row), self.sites.molecule)}: `{letter}` has no hydropathy or"
                " volume; leave the row out, or use `additive`."
            )


def _changes(scale: dict[str, float], sites: Sites) -> np.ndarray:
    """Scaled change of a property by every letter at every position, position-major, NaN where unknown."""
    known = np.array(list(scale.values()))
    n = len(known)
    typical = np.sqrt(
        2 * n / (n - 1) * known.var()
    )  # root mean square of x − y over pairs of different residues
    values = np.array([scale.get(letter, np.nan) for letter in sites.alphabet])
    old = np.full(sites.length, known.mean()) if sites.reference is None else values[sites.reference]
    return ((values - old[:, None]) / typical).ravel()
