"""Energies of entities: a weight per entity, or one per feature of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from multiscale.data import Readings
from multiscale.encoders.bound_sources import BoundEntities
from multiscale.encoders.design import Dense, Design, Indexed
from multiscale.encoders.encoder import Bound, Encoder, Weights
from multiscale.encoders.sources import BoundSource, FeatureSource

__all__ = ["Features"]


@dataclass(frozen=True, kw_only=True)
class Features(Encoder):
    """An entity has the energy X·w of its features X; with `identity` an energy of its own.

    Features are scaled so that a typical fitted entity has an energy of sd `prior_sd`.

    Args:
        source: features of one kind of entity.
    """

    source: FeatureSource
    prior_sd: float | str = "learned"

    def reads(self, readings: Readings) -> bool:
        """Whether rows are about such entities."""
        return self.source.reads(readings)

    def bind(self, readings: Sequence[Readings]) -> BoundFeatures:
        """Learn the features of the fitted entities."""
        return BoundFeatures(self, self.source.bind(readings))


class BoundFeatures(Bound):
    """Energies of entities of one kind."""

    def __init__(self, encoder: Features, source: BoundSource) -> None:
        self.source, self.own = source, encoder.source.kind == "identity"
        sd, learned = encoder.prior
        seen = np.ones(len(source.labels), dtype=bool)
        name = encoder.source.kind
        self.families = (
            Weights(name=name, labels=source.labels, sd=sd, learned=learned, seen=seen, energies=self.own),
        )
        kind = encoder.source.entity
        self.gauge = (
            f"the prior makes energies of the fitted `{kind}` entities sum to zero: the term is their average"
            if self.own
            else f"features are centred on the fitted `{kind}` entities: the term is that of the average one"
        )

    def designs(self, readings: Readings) -> list[Design]:
        """Features of the entity of every row."""
        if self.own and isinstance(self.source, BoundEntities):
            return [Indexed(torch.from_numpy(self.source.index(readings))[:, None], len(self.source.labels))]
        features, entity = self.source.features(readings)
        return [Dense(torch.from_numpy(features), torch.from_numpy(entity))]
