"""Pairs of mutations or of positions that rows have, as numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from multiscale.data import Readings
from multiscale.encoders.sites import Sites
from multiscale.errors import ConfigError

__all__ = ["PairKeys", "allowed_pairs"]


class PairKeys:
    """Which pairs fitted rows have, and which of them are in any row.

    Args:
        sites: positions of a molecule.
        allowed: which two positions may pair, shape (position, position).
        letters: whether a pair is one of mutations; else of positions, whatever their letters.
    """

    def __init__(self, sites: Sites, allowed: np.ndarray, letters: bool) -> None:
        self.sites, self.allowed, self.letters = sites, allowed, letters
        self.base = sites.length * (len(sites.alphabet) if letters else 1)
        self.known = np.empty(0, np.int64)

    def learn(self, readings: Sequence[Readings], least_rows: int) -> None:
        """Keep the pairs that at least so many rows have."""
        found = [keys[keys >= 0] for item in readings for keys, _, _ in self.of(item)]
        keys, count = np.unique(np.concatenate([np.empty(0, np.int64), *found]), return_counts=True)
        self.known = keys[count >= least_rows]

    def of(self, readings: Readings) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Pairs of every row, one array per pair of slots in which any row has one.

        Yields:
            pair as a number, −1 where there is none, and its first and second mutation, shape (row,).
        """
        mutations = self.sites.of(readings).mutations()
        position = mutations // len(self.sites.alphabet)
        code = mutations if self.letters else position
        for i, j in combinations(range(mutations.shape[1]), 2):
            both = (mutations[:, i] >= 0) & (mutations[:, j] >= 0)
            both &= self.allowed[position[:, i], position[:, j]]
            if both.any():
                yield (
                    np.where(both, code[:, i] * self.base + code[:, j], -1),
                    mutations[:, i],
                    mutations[:, j],
                )

    def weight(self, keys: np.ndarray) -> np.ndarray:
        """Position of every pair among the known ones, −1 where there is none."""
        if not len(self.known):
            return np.full(len(keys), -1)
        at = np.searchsorted(self.known, keys).clip(max=len(self.known) - 1)
        return np.where(self.known[at] == keys, at, -1)

    def names(self) -> list[tuple[str, str]]:
        """Names of both members of every known pair, such as `A24G` and `T30P`, or `A24` and `T30`."""
        names = self.sites.names() if self.letters else self._positions()
        return [(names[key // self.base], names[key % self.base]) for key in self.known.tolist()]

    def _positions(self) -> list[str]:
        """Wild-type letter, if there is one, and number of every position."""
        reference = self.sites.reference
        wild = [""] * self.sites.length if reference is None else [self.sites.alphabet[c] for c in reference]
        return [f"{letter}{self.sites.first + i}" for i, letter in enumerate(wild)]


def allowed_pairs(pairs: str | Sequence[Sequence[int]], sites: Sites) -> np.ndarray:
    """Which two positions may pair, shape (position, position).

    Args:
        pairs: pairs of position numbers; a word allows all.
        sites: positions of the molecule.

    Raises:
        ConfigError: a number is not one of a position.
    """
    if isinstance(pairs, str):
        return np.ones((sites.length, sites.length), dtype=bool)
    allowed = np.zeros((sites.length, sites.length), dtype=bool)
    for pair in pairs:
        first, second = sorted(number - sites.first for number in pair)
        if first < 0 or second >= sites.length:
            last = sites.first + sites.length - 1
            raise ConfigError(f"`pairs` must lie within positions {sites.first}-{last}; got {list(pair)}.")
        allowed[first, second] = True
    return allowed
