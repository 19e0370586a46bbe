"""Labels of cells that are there or not, such as hashtags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from multiscale.assays.channels.channel import CellUnknown, Channel, Summary
from multiscale.assays.channels.readings import check_place, refuse_where
from multiscale.assays.channels.summary import over_batches
from multiscale.assays.density import softplus

__all__ = ["Labels"]


@dataclass(frozen=True, kw_only=True)
class Labels(Channel):
    """A label is there (1) with ln odds = ln signal, else not (0): ln p = y η − ln(1 + e^η).

    The options are those of `Channel`.

    Source: definition (Bernoulli).
    """

    kind: ClassVar[str] = "labels"
    reads: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Check the options."""
        check_place(self)

    def check(self, values: Any, where: str, features: Sequence[str], cells: Sequence[str]) -> None:
        """Refuse what is neither 0 nor 1."""
        remedy = "Labels reads 0 (absent) and 1 (present); threshold the readings first."
        refuse_where(lambda y: (y != 0) & (y != 1), values, where, features, cells, remedy)

    def unknowns(self, summary: Summary) -> list[CellUnknown]:
        """None."""
        return []

    def start(self, summary: Summary) -> np.ndarray:
        """Ln odds of a typical cell, with half a cell added to those with and to those without the label."""
        absent, cells = over_batches(summary, summary.zeros)
        return np.log((1.0 - absent) * cells + 0.5) - np.log(absent * cells + 0.5)

    def log_density(
        self, y: Tensor, ln_signal: Tensor, heads: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> Tensor:
        """Log probability of every label."""
        return y.to(ln_signal.dtype) * ln_signal - softplus(ln_signal)

    def expected(
        self, ln_signal: Tensor, heads: Tensor, values: Mapping[str, Tensor], ln_size: Tensor
    ) -> Tensor:
        """Probability of the label."""
        return torch.sigmoid(ln_signal)

    def draw(
        self,
        ln_signal: Tensor,
        heads: Tensor,
        values: Mapping[str, Tensor],
        ln_size: Tensor,
        generator: Generator,
    ) -> Tensor:
        """Draw labels, 0 or 1."""
        return torch.bernoulli(torch.sigmoid(ln_signal), generator=generator)

    def seen(self, y: Tensor, ln_size: Tensor) -> Tensor:
        """The labels."""
        return y
