"""Features of several sources side by side: sums of their kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multiscale.data import Readings
from multiscale.encoders.bound_sources import BoundSource

__all__ = ["BoundMixture"]


class BoundMixture(BoundSource):
    """All features of the parts, each times √share: with normal weights the covariance is Σ share · kernel.

    Args:
        kinds: of the parts, for the names of the features.
        parts: of the same kind of entity.
        shares: in proportion; they are divided by their sum.
    """

    def __init__(self, kinds: Sequence[str], parts: Sequence[BoundSource], shares: Sequence[float]) -> None:
        self.parts = list(parts)
        self.factors = np.sqrt(np.array(shares, dtype=np.float64) / np.sum(shares))
        self.names = self.parts[0].names
        named = [f"{kind} {i}" if kinds.count(kind) > 1 else kind for i, kind in enumerate(kinds, start=1)]
        pairs = zip(named, self.parts, strict=True)
        self.labels = [f"{name}: {label}" for name, part in pairs for label in part.labels]

    def features(self, readings: Readings) -> tuple[np.ndarray, np.ndarray]:
        """Features of the entities of these rows; see `BoundSource`."""
        found = [part.features(readings) for part in self.parts]
        scaled = [factor * features for factor, (features, _) in zip(self.factors, found, strict=True)]
        return np.concatenate(scaled, axis=1), found[0][1]
