"""Several processes that fit one model together: each takes its own cells, gradients are summed.

Started by `torchrun` (`python -m torch.distributed.run --nproc-per-node=2 script.py`). Nothing is averaged
over processes and nothing is normalised within them, so that their number changes no result beyond rounding.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from multiscale.data.cells.order import LANES
from multiscale.errors import ConfigError
from multiscale.fit.train import device_of

__all__ = ["Processes"]


class Processes:
    """The processes of this fit: one, unless `torchrun` started several.

    Args:
        accelerator: `auto`, `cpu` or `gpu`; every process takes a GPU of its own.

    Raises:
        ConfigError: the number of processes does not divide 8, or there is no such accelerator.
    """

    def __init__(self, accelerator: str = "auto") -> None:
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if LANES % self.world:
            raise ConfigError(f"the number of processes must divide {LANES}; torchrun started {self.world}.")
        self._device = device_of(accelerator)
        if self.world > 1:
            opens = not torch.distributed.is_initialized()
            self._fabric.launch()
            if opens:
                atexit.register(_close_group)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._device if self.world == 1 else self._fabric.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and shows."""
        return self.rank == 0

    def sum(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Sum tensors over all processes, element by element; every process gets the same bits."""
        if self.world == 1 or not parts:
            return list(parts)
        flat = torch.cat([part.reshape(-1).to(torch.float64) for part in parts])
        pieces = self._fabric.all_reduce(flat, reduce_op="sum").split([part.numel() for part in parts])
        return [piece.reshape(part.shape).to(part.dtype) for piece, part in zip(pieces, parts, strict=True)]

    def wait(self) -> None:
        """Wait for all processes."""
        if self.world > 1:
            self._fabric.barrier()

    @cached_property
    def _fabric(self) -> Any:
        from lightning_fabric import Fabric

        local = int(os.environ.get("LOCAL_WORLD_SIZE", self.world))
        kind = "gpu" if self._device.type == "cuda" else "cpu"
        return Fabric(accelerator=kind, devices=local, num_nodes=self.world // local, strategy="ddp")


def _close_group() -> None:
    """Close the group before the interpreter ends: threads left open may abort it (PyTorch #190489)."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
