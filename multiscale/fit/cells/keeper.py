"""A fit of cells that survives a kill: its unfinished state every few seconds, and its result."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import Any

import torch

from multiscale.errors import FormatError
from multiscale.fit.cells.kept import columns, rows
from multiscale.fit.cells.parallel import Processes
from multiscale.fit.cells.schedule import CellSettings
from multiscale.fit.cells.training import Training
from multiscale.fit.checkpoint import Checkpoint
from multiscale.model.cells import CellProblem

__all__ = ["Keeper", "identity_of"]

log = logging.getLogger("multiscale")


class Keeper:
    """Keeps an unfinished fit every few seconds, and the finished one; the first process writes.

    Args:
        checkpoint: where; None keeps nothing.
        identity: what fit this is.
        processes: that share it.
        every_s: least time between two saves, s.
        title: name of the finished stage; `<title>.state` is an unfinished one.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        identity: dict[str, Any],
        processes: Processes,
        every_s: float,
        title: str,
    ) -> None:
        self.checkpoint, self.identity, self.processes = checkpoint, identity, processes
        self.every_s, self.title = every_s, title
        self.saved_at = time.monotonic()

    def finished(self, training: Training) -> str:
        """Restore what an earlier process finished; empty if none did."""
        saved = self._get(self.title)
        if saved is None:
            return ""
        arrays = {name: torch.as_tensor(a.copy()) for name, a in saved.arrays.items()}
        own = {n.removeprefix("model "): a for n, a in arrays.items() if n.startswith("model ")}
        training.model.load_state_dict(own)
        training.history = rows(saved.arrays)
        return saved.meta["ended"]

    def restore(self, training: Training) -> None:
        """Carry an unfinished fit on."""
        saved = self._get(f"{self.title}.state")
        if saved is not None:
            training.restore(saved.arrays)
            log.info("%s: goes on in epoch %d", self.title, training.epoch + 1)
        self.processes.wait()  # nobody writes before all have read

    def save(self, training: Training) -> None:
        """Save the state if it is time."""
        if self._writes and time.monotonic() - self.saved_at >= self.every_s:
            assert self.checkpoint is not None
            self.checkpoint.put(f"{self.title}.state", training.state(), {"fit": self.identity})
            self.saved_at = time.monotonic()

    def finish(self, training: Training, ended: str) -> None:
        """Keep the result, drop the state."""
        if self._writes:
            assert self.checkpoint is not None
            arrays = {f"model {name}": value for name, value in training.model.state_dict().items()}
            self.checkpoint.put(
                self.title, arrays | columns(training.history), {"fit": self.identity, "ended": ended}
            )
            self.checkpoint.drop(f"{self.title}.")
        self.processes.wait()  # nobody reads, or cleans up, before it is written

    @property
    def _writes(self) -> bool:
        return self.checkpoint is not None and self.processes.first

    def _get(self, name: str):
        saved = None if self.checkpoint is None else self.checkpoint.get(name)
        if saved is None:
            return None
        for what, ours in self.identity.items():
            if saved.meta["fit"].get(what) != ours:
                raise FormatError(
                    f"the checkpoint holds a fit with `{what}` {saved.meta['fit'].get(what)}, this one has "
                    f"{ours}; give another folder, or what was fitted."
                )
        return saved


def identity_of(problem: CellProblem, settings: CellSettings) -> dict[str, Any]:
    """What must be the same for a fit to be carried on."""
    graph = None if problem.graph is None else problem.graph.hash()
    shape = {name: len(part.features) for name, part in problem.cells.modalities.items()}
    pull = {"smooth": problem.smooth} if problem.smooth else {}  # earlier versions had none
    return (
        asdict(settings)
        | pull
        | {
            "graph_hash": graph,
            "cells": len(problem.cells),
            "features": shape,
            "latent": problem.latent,
            "amortised": problem.amortised,
        }
    )
