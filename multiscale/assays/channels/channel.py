"""What a channel is: how one modality of single cells reads a signal, with which noise.

A signal is what physics or a decoder says a feature has: a share of transcripts, copies on the surface, a
concentration. A channel knows nothing of where it comes from; it turns ln signal into a density of readings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Generator, Tensor

__all__ = ["CellUnknown", "Channel", "Summary"]


@dataclass(frozen=True, eq=False, kw_only=True)
class CellUnknown:
    """Noise or background of a modality: a value per feature, or per batch and feature, with a normal prior.

    Args:
        name: unique within the channel.
        mean: of the prior, on `scale`; shape (feature,) or (batch, feature).
        sd: of the prior, same shape.
        start: where training begins, same shape.
        scale: `lin`, or `ln`: then prior, start and the value handed to the channel are natural logarithms.
        unit: of the quantity (not of its logarithm).
        role: `calibration` or `noise`.
    """

    name: str
    mean: np.ndarray
    sd: np.ndarray
    start: np.ndarray
    scale: Literal["lin", "ln"] = "ln"
    unit: str = "1"
    role: Literal["calibration", "noise"] = "noise"


@dataclass(frozen=True, eq=False, kw_only=True)
class Summary:
    """What some thousand cells say of every feature, from which training begins.

    Args:
        features: names.
        batches: names.
        cells: number of cells of every batch, shape (batch,).
        mean: of readings / size factor, per batch, shape (batch, feature); NaN where a batch has no reading.
        variance: the same of their variance.
        zeros: share of readings that are 0, shape (batch, feature).
        quantiles: 5, 25, 50, 75, 95 % quantiles of readings, shape (5, batch, feature).
    """

    features: Sequence[str]
    batches: Sequence[str]
    cells: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    zeros: np.ndarray
    quantiles: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Channel(ABC):
    """Noise of one modality of single cells. Subclasses are frozen dataclasses of options.

    Args:
        layer: layer of the AnnData that holds the readings; None = X.
        use_raw: read `adata.raw.X` instead.
        obsm_key: key of obsm that holds them instead (a DataFrame, or an array with names in `names`).
        names: names of the columns of an array in obsm; a key of uns, or the names themselves.
        targets: feature → node of the graph that it reads, where names differ; a sum such as `A + 2*B` of
            species is possible. Others are matched by name and identifier.
    """

    kind: ClassVar[str]
    reads: ClassVar[str]
    """What of the graph a matched feature reads: `transcript` (share of transcripts), `surface` (copies on
    membranes), `total` (copies in all forms), `species` (µM), or `` (nothing: the decoder alone)."""
    heads: ClassVar[int] = 0
    """Further numbers per feature that a decoder gives, such as ln odds of being background."""
    sized: ClassVar[bool] = False
    """Whether readings grow with the size factor of the cell."""

    layer: str | None = None
    use_raw: bool = False
    obsm_key: str | None = None
    names: str | Sequence[str] | None = None
    targets: Mapping[str, str] = field(default_factory=dict)

    @abstractmethod
    def check(self, values: Any, where: str, features: Sequence[str], cells: Sequence[str]) -> None:
        """Refuse readings that are none of this kind.

        Args:
            values: some rows, sparse (CSR) or dense.
            where: how a user would write where they lie.
            features: names of the columns.
            cells: names of the rows.

        Raises:
            AssayError: names place, cell, feature, value and remedy.
        """

    @abstractmethod
    def unknowns(self, summary: Summary) -> list[CellUnknown]:
        """Noise and backgrounds, with priors and starts."""

    @abstractmethod
    def start(self, summary: Summary) -> np.ndarray:
        """Ln signal of a typical cell, where decoders begin, shape (feature,)."""

    @abstractmethod
    def log_density(
        self, y: Tensor, ln_signal: Tensor, heads: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> Tensor:
        """Log density (or probability) of every reading, normalised, in nats.

        Args:
            y: readings, shape (cell, feature).
            ln_signal: shape (cell, feature), float64 or float32; the result has its type.
            heads: shape (cell, feature, head).
            values: per unknown, shape (feature,) or (cell, feature).
            ln_size: ln of size factors, shape (cell,).

        Returns:
            shape (cell, feature).
        """

    @abstractmethod
    def expected(
        self, ln_signal: Tensor, heads: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> Tensor:
        """Expected reading, shape (cell, feature)."""

    @abstractmethod
    def draw(
        self,
        ln_signal: Tensor,
        heads: Tensor,
        values: Mapping[str, Tensor],
        ln_size: Tensor,
        generator: Generator,
    ) -> Tensor:
        """Draw a new reading of every cell and feature, shape (cell, feature)."""

    @abstractmethod
    def seen(self, y: Tensor, ln_size: Tensor) -> Tensor:
        """What an encoder network is shown of the readings: of order one, finite, shape (cell, feature)."""
