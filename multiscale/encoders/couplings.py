"""Couplings of two positions by what the new residues there are like."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from multiscale.data import Readings
from multiscale.encoders.design import Design, Indexed, Weighted
from multiscale.encoders.encoder import Bound, Weights
from multiscale.encoders.pair_keys import PairKeys
from multiscale.encoders.residues import features_of_letters, residue_features
from multiscale.encoders.sites import name_variant
from multiscale.errors import DataError

__all__ = ["FAMILIES", "BoundCouplings"]

FAMILIES = ("constant", "one", "both")
"""What of a coupling depends on no new residue, on one of them, on both."""


class BoundCouplings(Bound):
    """Energy of a pair of mutations a, b at positions p < q: c_pq + u_pq·φ(a) + v_pq·φ(b) + φ(a)ᵀ W_pq φ(b).

    With normal weights every pair of positions is a Gaussian process of its own over pairs of residues, with
    covariance s₀² + s₁² (k + k') + s₂² k k', k that of the residues.

    Args:
        keys: pairs of positions that fitted rows have.
        rank: number of features φ of a residue.
        sds: prior sd of each of `FAMILIES`, kcal/mol.
        learned: whether they are learned.
    """

    def __init__(self, keys: PairKeys, rank: int, sds: tuple[float, ...], learned: bool) -> None:
        self.keys, self.rank = keys, rank
        letters = features_of_letters(residue_features(rank), keys.sites.alphabet)
        self.features = np.concatenate([np.tile(letters, (keys.sites.length, 1)), np.zeros((1, rank))])
        parts = zip(FAMILIES, sds, strict=True)
        self.families = tuple(self._family(name, sd, learned) for name, sd in parts)
        self.gauge = (
            "energies of pairs are on top of the sum of both; features of residues are centred: the constant"
            " is that of average residues; pairs of positions that no fitted row has count as zero"
        )

    def designs(self, readings: Readings) -> list[Design]:
        """Weights of the pairs of every row, and products of features.

        Raises:
            DataError: a mutated letter is no residue, such as a stop or a gap.
        """
        rows = len(readings)
        index: list[list[np.ndarray]] = [[np.full((rows, 0), -1)] for _ in FAMILIES]
        factors: list[list[np.ndarray]] = [[np.zeros((rows, 0))] for _ in FAMILIES]
        for weight, parts in self._pairs(readings):
            for k, part in enumerate(parts):
                slots = weight[:, None] * part.shape[1] + np.arange(part.shape[1])
                index[k].append(np.where(weight[:, None] < 0, -1, slots))
                factors[k].append(part)
        whole = [torch.from_numpy(np.concatenate(part, 1)) for part in index]
        sizes = [len(family.labels) for family in self.families]
        found: list[Design] = [Indexed(whole[0], sizes[0])]
        for k in (1, 2):
            found.append(Weighted(whole[k], torch.from_numpy(np.concatenate(factors[k], 1)), sizes[k]))
        return found

    def _pairs(self, readings: Readings) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Per pair of slots the known pair of every row, −1 for none, and its factors per family."""
        for keys, *mutations in self.keys.of(readings):
            weight = self.keys.weight(keys)
            if (weight >= 0).any():
                left, right = (self._features(readings, weight, mutation) for mutation in mutations)
                both = (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)
                yield weight, [np.ones((len(left), 1)), np.concatenate([left, right], 1), both]

    def _features(self, readings: Readings, weight: np.ndarray, mutation: np.ndarray) -> np.ndarray:
        """Features of the new residues, zero where there is no known pair, shape (row, feature)."""
        features = self.features[np.where(weight < 0, -1, mutation)]
        wrong = np.isnan(features[:, 0])
        if wrong.any():
            row, sites = int(np.argmax(wrong)), self.keys.sites
            letter = sites.alphabet[mutation[row] % len(sites.alphabet)]
            raise DataError(
                f"{name_variant(readings, row, sites.molecule)}: `{letter}` is no residue with properties;"
                ' leave the row out, or use `by = "mutations"`.'
            )
        return features

    def _family(self, name: str, sd: float, learned: bool) -> Weights:
        """Weights of all known pairs; `A24.2:T30` is that of feature 2 of the residue at 24."""
        numbers, pairs = range(1, self.rank + 1), self.keys.names()
        labels = [f"{a}:{b}" for a, b in pairs]
        if name == "one":
            labels = [
                label
                for a, b in pairs
                for label in (*(f"{a}.{i}:{b}" for i in numbers), *(f"{a}:{b}.{i}" for i in numbers))
            ]
        if name == "both":
            labels = [f"{a}.{i}:{b}.{j}" for a, b in pairs for i in numbers for j in numbers]
        seen = np.ones(len(labels), dtype=bool)
        return Weights(
            name=name, labels=labels, sd=sd, learned=learned, seen=seen, energies=name == FAMILIES[0]
        )
