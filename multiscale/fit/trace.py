"""Where an optimiser keeps its state, so that a process that was killed goes on to the same numbers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from multiscale.fit.checkpoint import Checkpoint

__all__ = ["UNTRACED", "Stateful", "Trace"]

OBJECTIVE = "objective."
"""Before the names of the objective's own tensors."""


class Stateful(Protocol):
    """An objective that remembers something between calls, such as warm starts."""

    def state(self) -> dict[str, Tensor]:
        """What it remembers."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember that instead."""
        ...


class Trace:
    """Saves the tensors of one optimiser, with what its objective remembers, every few seconds.

    Args:
        checkpoint: where; None keeps nothing.
        name: of the stage.
        objective: what is optimised.
        device: where restored tensors go.
        every_s: least time between two saves, s.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        name: str = "",
        objective: Stateful | None = None,
        device: torch.device | None = None,
        every_s: float = 20.0,
    ) -> None:
        self.checkpoint, self.name, self.objective, self.device = checkpoint, name, objective, device
        self.every_s, self._saved_at = every_s, time.monotonic()

    def load(self) -> dict[str, Tensor] | None:
        """Tensors as they were saved last, None if nothing was; the objective remembers what it did then."""
        saved = self.checkpoint.get(self.name) if self.checkpoint is not None else None
        if saved is None:
            return None
        tensors = {name: torch.as_tensor(array, device=self.device) for name, array in saved.arrays.items()}
        own = {name: value for name, value in tensors.items() if name.startswith(OBJECTIVE)}
        if self.objective is not None:
            self.objective.restore({name.removeprefix(OBJECTIVE): value for name, value in own.items()})
        return {name: value for name, value in tensors.items() if name not in own}

    def save(self, state: Mapping[str, Tensor], last: bool = False) -> None:
        """Save the tensors if it is time, or if they are the last ones."""
        if self.checkpoint is None or not (last or time.monotonic() - self._saved_at >= self.every_s):
            return
        remembered = self.objective.state() if self.objective is not None else {}
        own = {OBJECTIVE + name: value for name, value in remembered.items()}
        self.checkpoint.put(self.name, {**state, **own})
        self._saved_at = time.monotonic()


UNTRACED = Trace()
"""Keeps nothing."""
