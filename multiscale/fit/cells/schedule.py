"""When the KL counts in full, when steps get shorter, and when training ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from multiscale.data.cells.order import LANES
from multiscale.errors import ConfigError

__all__ = ["PRECISIONS", "CellSettings", "Plateau", "kl_weight"]

PRECISIONS = ("64", "32", "bf16-mixed")

WARM_UP = 20.0
"""Epochs of KL warm-up unless said otherwise."""


@dataclass(frozen=True, kw_only=True)
class CellSettings:
    """How a fit of cells is trained; see `fit_cells`.

    Raises:
        ConfigError: a value is out of its range.
    """

    max_epochs: int = 200
    batch_size: int = 512
    learning_rate: float = 2e-3
    graph_rate: float = 2e-2
    kl_warmup: float | None = None
    patience: int = 20
    validation: float = 0.1
    seed: int = 0
    precision: str = "32"

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("max_epochs", "patience"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        size = self.batch_size
        _require(size >= LANES and size % LANES == 0, "batch_size", f"a multiple of {LANES}", size)
        _require(self.seed >= 0, "seed", "0 or more", self.seed)
        for name in ("learning_rate", "graph_rate"):
            value = getattr(self, name)
            _require(0 < value < math.inf, name, "positive", value)
        if self.kl_warmup is not None:
            _require(0 <= self.kl_warmup < math.inf, "kl_warmup", "0 or more epochs", self.kl_warmup)
        _require(0 <= self.validation < 1, "validation", "a share, 0 to below 1", self.validation)
        _require(self.precision in PRECISIONS, "precision", f"one of {', '.join(PRECISIONS)}", self.precision)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the numbers of networks."""
        return torch.float64 if self.precision == "64" else torch.float32

    @property
    def warmup(self) -> float:
        """Epochs until the KL counts in full: 20, but at most a third of all, unless stated."""
        return min(WARM_UP, self.max_epochs / 3) if self.kl_warmup is None else self.kl_warmup


def _require(good: bool, name: str, expected: str, got: object) -> None:
    if not good:
        raise ConfigError(f"`{name}` must be {expected}; got {got}.")


def kl_weight(epochs: float, warmup: float) -> float:
    """Weight of the KL after so many epochs (a fraction within one): it rises linearly to 1.

    Source: Bowman et al. 2016, arXiv:1511.06349, section 3.1 (annealing of the KL term).

    >>> kl_weight(5, 20), kl_weight(30, 20), kl_weight(0, 0)
    (0.25, 1.0, 1.0)
    """
    return min(1.0, epochs / warmup) if warmup else 1.0


@dataclass
class Plateau:
    """What the watched bound did so far: the rate halves when it stalls, training ends when it stays so.

    Args:
        patience: epochs without gain until training ends; the rate halves after each third of them.
        best: highest bound so far.
        waited: epochs since then.
        rate: factor of all learning rates.
    """

    patience: int
    best: float = -math.inf
    waited: int = 0
    rate: float = 1.0

    def see(self, bound: float, counts: bool = True) -> bool:
        """Look at the bound after an epoch.

        Args:
            bound: nats per cell.
            counts: whether waiting counts yet; not while the KL warms up.

        Returns:
            whether this is the best so far.
        """
        if bound > self.best:
            self.best, self.waited = bound, 0
            return True
        self.waited += int(counts)
        if counts and self.waited % max(self.patience // 3, 1) == 0:
            self.rate /= 2
        return False

    @property
    def over(self) -> bool:
        """Whether training ends."""
        return self.waited >= self.patience
