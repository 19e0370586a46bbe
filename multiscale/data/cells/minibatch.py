"""Some cells of all modalities, dense, on the device that computes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["CellBatch"]


class CellBatch(NamedTuple):
    """Readings of some cells.

    Args:
        index: position of every cell among all, int64, shape (cell,): what random numbers are keyed by.
        values: per modality, shape (cell, feature); 0 where nothing was measured.
        observed: per modality whether the cell was measured by it, bool, shape (cell,).
        hidden: per modality entries that do not count, bool, shape (cell, feature); only where there are any.
        ln_size: per modality ln of size factors, shape (cell,).
        batch: batch of every cell, int64, shape (cell,).
        condition: condition of every cell, int64, shape (cell,).
        total: cells of the whole minibatch, over all processes.
    """

    index: Tensor  # pyright: ignore[reportIncompatibleMethodOverride]
    values: dict[str, Tensor]
    observed: dict[str, Tensor]
    hidden: dict[str, Tensor]
    ln_size: dict[str, Tensor]
    batch: Tensor
    condition: Tensor
    total: int

    def to(self, device: str | torch.device) -> CellBatch:
        """The same on another device."""

        def moved(parts: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: part.to(device, non_blocking=True) for name, part in parts.items()}

        return CellBatch(
            self.index.to(device),
            moved(self.values),
            moved(self.observed),
            moved(self.hidden),
            moved(self.ln_size),
            self.batch.to(device),
            self.condition.to(device),
            self.total,
        )
