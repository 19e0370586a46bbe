"""Parameters of the signals of one modality: scales, baselines, loadings, shifts, heads, noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from multiscale.assays.channels import CellUnknown
from multiscale.data.cells import Modality
from multiscale.model.cells.matching import Reading
from multiscale.model.cells.priors import CellPriors
from multiscale.model.cells.shared import Group

__all__ = ["SignalGroups"]

PER = {"surface": "copy", "total": "copy", "species": "µM"}
"""What one signal is per, by what a feature reads."""


class SignalGroups:
    """Makes the groups of one modality.

    Args:
        modality: names of features and the channel.
        reading: which of them read the graph.
        priors: standard deviations.
        latent: dimensions of the latent state.
        batches: names.
    """

    def __init__(
        self, modality: Modality, reading: Reading, priors: CellPriors, latent: int, batches: Sequence[str]
    ) -> None:
        self._modality, self._reading, self._priors, self._batches = modality, reading, priors, batches
        self._features = list(modality.features)
        self._latent = [f"z{i + 1}" for i in range(latent)]
        self._each = 1 / math.sqrt(latent)  # of k loadings that share a variance
        every = np.arange(len(self._features))
        nothing = np.zeros(0, dtype=np.int64)
        self.physical = nothing if reading.physical is None else reading.physical.position
        self.free = np.setdiff1d(every, self.physical)
        self.matched = np.setdiff1d(every, reading.decoded)

    def of_signals(self, typical: np.ndarray, offset: np.ndarray, loading: np.ndarray) -> list[Group]:
        """Baselines, scales, loadings and shifts of batches.

        Args:
            typical: ln signal of a typical cell, shape (feature,).
            offset: ln of typical signal over physical quantity, NaN where that is not known, of the
                features that read one.
            loading: where the decoder's loadings begin, shape (feature, latent).
        """
        groups = [self._baseline(typical)] if len(self.free) else []
        if len(self._reading.decoded):
            groups.append(self._loading(loading))
        if self._reading.physical is not None:
            groups.append(self._scale(offset, self._reading.physical.kind))
        if self._reading.linked is not None:
            groups.append(self._link(self._reading.linked.position))
        return [*groups, self._batch()] if len(self._batches) > 1 else groups

    def of_heads(self) -> list[Group]:
        """What makes further numbers per feature; none where the channel has none."""
        if not self._modality.channel.heads:
            return []
        sd, numbers = self._priors.head_sd, [f"head{i + 1}" for i in range(self._modality.channel.heads)]
        latent = (self._features, numbers, self._latent)
        groups = [
            self._head("head", (self._features, numbers), sd),
            self._head("head loading", latent, sd * self._each, listed=False),
        ]
        if len(self.matched):
            groups.append(self._head("head slope", (self._of(self.matched), numbers), sd))
        return groups

    def of_unknowns(self, unknowns: Sequence[CellUnknown]) -> list[Group]:
        """Noise and backgrounds of the channel."""
        return [
            Group(
                name=self._name(unknown.name),
                axes=(*((self._batches,) if np.ndim(unknown.mean) == 2 else ()), self._features),
                mean=unknown.mean,
                sd=unknown.sd,
                start=unknown.start,
                scale=unknown.scale,
                unit=unknown.unit,
                role=unknown.role,
            )
            for unknown in unknowns
        ]

    def _name(self, part: str) -> str:
        return f"{self._modality.name} {part}"

    def _of(self, positions: np.ndarray) -> list[str]:
        return [self._features[i] for i in positions]

    def _baseline(self, typical: np.ndarray) -> Group:
        return Group(
            name=self._name("baseline"),
            axes=(self._of(self.free),),
            mean=typical[self.free],
            sd=self._priors.scale_sd,
            unit="signal",
            role="baseline",
        )

    def _loading(self, start: np.ndarray) -> Group:
        decoded = self._reading.decoded
        return Group(
            name=self._name("loading"),
            axes=(self._of(decoded), self._latent),
            mean=0.0,
            sd=self._priors.decoder_sd * self._each,
            start=start[decoded],
            scale="lin",
            role="decoder",
            listed=False,
        )

    def _scale(self, offset: np.ndarray, kind: str) -> Group:
        """Signal per copy or µM, about what is typical of the modality: abundance × scale is a gauge."""
        known = np.isfinite(offset)
        centre = float(np.median(offset[known])) if known.any() else 0.0
        return Group(
            name=self._name("scale"),
            axes=(self._of(self.physical),),
            mean=centre,
            sd=self._priors.scale_sd,
            start=np.where(known, offset, centre),
            unit=f"signal per {PER[kind]}",
            role="calibration",
        )

    def _link(self, linked: np.ndarray) -> Group:
        return Group(
            name=self._name("link"),
            axes=(self._of(linked), self._latent),
            mean=0.0,
            sd=self._priors.link_sd * self._each,
            scale="lin",
            role="link",
        )

    def _batch(self) -> Group:
        return Group(
            name=self._name("batch"),
            axes=(self._batches, self._features),
            mean=0.0,
            sd=self._priors.batch_sd,
            unit="fold",
            role="batch",
        )

    def _head(self, name: str, axes: tuple[Sequence[str], ...], sd: float, listed: bool = True) -> Group:
        name = self._name(name)
        return Group(name=name, axes=axes, mean=0.0, sd=sd, scale="lin", role="head", listed=listed)
