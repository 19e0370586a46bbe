"""Where the solver begins: the state that a cell had when it was last solved."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

__all__ = ["MOST_BYTES", "WarmStarts"]

MOST_BYTES = 512 * 2**20
"""Memory that earlier states may take on the host; where they take more, every solve begins afresh."""


class WarmStarts:
    """The last state of every cell, float32, on the host.

    Where physics has one state per cell (`CellPhysics.unique`), a start changes no result beyond the
    tolerance of the solver. Where it may have several, training follows the branch that a cell is on, and the
    bound by which the best epoch is chosen is that of cells solved from their own start, as predictions are.
    The array is part of a checkpoint, so that a fit goes on to the same bits.

    Args:
        cells: their number.
        active: false keeps nothing.

    Attributes:
        values: shape (cell, number), NaN where a cell was not solved yet; None before the first.
    """

    def __init__(self, cells: int, active: bool = True) -> None:
        self.cells, self.active = cells, active
        self.values: Tensor | None = None

    def get(self, index: Tensor) -> Tensor | None:
        """Starts of some cells, float64, shape (cell, number); None if there are none.

        Args:
            index: positions of the cells, shape (cell,).
        """
        return None if self.values is None else self.values[index.cpu()].double().to(index.device)

    def put(self, index: Tensor, warm: Tensor | None) -> None:
        """Keep what the next solve of some cells may begin with."""
        if not self.active or warm is None:
            return
        if self.values is None:
            size = (self.cells, warm.shape[1])
            self.active = 4 * size[0] * size[1] < MOST_BYTES
            if not self.active:
                return
            self.values = torch.full(size, torch.nan, dtype=torch.float32)
        self.values[index.cpu()] = warm.detach().cpu().float()

    def state(self, name: str) -> dict[str, Tensor]:
        """What a checkpoint holds."""
        return {} if self.values is None else {name: self.values}

    def restore(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        self.values = torch.as_tensor(arrays[name].copy()) if name in arrays else None
