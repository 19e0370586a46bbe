"""Energies of pairs of entities: features of one times features of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from multiscale.data import Readings
from multiscale.encoders.design import Design, Pairs
from multiscale.encoders.encoder import Bound, Encoder, Weights
from multiscale.encoders.sources import BoundSource, FeatureSource

__all__ = ["Product"]


@dataclass(frozen=True, kw_only=True)
class Product(Encoder):
    """A pair (d, k) has the energy Σ_ab A[d, a] W[a, b] B[k, b]: what neither entity has alone.

    With a normal prior of sd σ for every weight this is a Gaussian process whose covariance is the product of
    both kernels, σ² (A Aᵀ) ∘ (B Bᵀ). Effects of one entity alone are encoders of their own (`Features`).

    Args:
        left: features A of one kind of entity.
        right: features B of another.
    """

    left: FeatureSource
    right: FeatureSource
    prior_sd: float | str = "learned"

    def reads(self, readings: Readings) -> bool:
        """Whether rows are about such pairs."""
        return self.left.reads(readings) and self.right.reads(readings)

    def bind(self, readings: Sequence[Readings]) -> BoundProduct:
        """Learn the features of both sides."""
        return BoundProduct(self, self.left.bind(readings), self.right.bind(readings))


class BoundProduct(Bound):
    """Energies of pairs of entities of two kinds."""

    def __init__(self, encoder: Product, left: BoundSource, right: BoundSource) -> None:
        self.left, self.right = left, right
        labels = [f"{a} × {b}" for a in left.labels for b in right.labels]
        sd, learned = encoder.prior
        seen = np.ones(len(labels), dtype=bool)
        self.families = (Weights(name="product", labels=labels, sd=sd, learned=learned, seen=seen),)
        centred = [s.entity for s in (encoder.left, encoder.right) if s.kind != "identity"]
        names = " and ".join(f"`{name}`" for name in centred)
        self.gauge = (
            f"features of {names} are centred: averaged over them, the energies of pairs are zero"
            if centred
            else ""
        )

    def designs(self, readings: Readings) -> list[Design]:
        """Features of both entities of every row."""
        sides = [side.features(readings) for side in (self.left, self.right)]
        features = [torch.from_numpy(matrix) for matrix, _ in sides]
        entities = [torch.from_numpy(entity) for _, entity in sides]
        return [Pairs(features[0], features[1], entities[0], entities[1])]
