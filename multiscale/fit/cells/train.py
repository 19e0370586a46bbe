"""Fitting single cells: minibatches, cells that say when to stop, and a state that survives a kill."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
import torch

from multiscale.data.cells import Loader
from multiscale.errors import ConfigError, FormatError
from multiscale.fit.cells.parallel import Processes
from multiscale.fit.cells.result import CellResult
from multiscale.fit.cells.schedule import CellSettings
from multiscale.fit.cells.training import Training, columns, rows
from multiscale.fit.cells.watch import set_aside
from multiscale.fit.checkpoint import Checkpoint
from multiscale.fit.train import Bar, limit_threads
from multiscale.model.cells import CellModel, CellProblem

__all__ = ["fit_cells"]

log = logging.getLogger("multiscale")

TITLE = "cells"
"""Name of the finished stage in a checkpoint; `cells.state` is an unfinished one."""


def fit_cells(
    problem: CellProblem,
    *,
    accelerator: str = "auto",
    threads: int = 1,
    progress: bool = True,
    checkpoint: Checkpoint | None = None,
    save_every_s: float = 60.0,
    **options: Any,
) -> CellResult:
    """Fit single cells: maximise the evidence lower bound by stochastic gradients.

    Started by `torchrun`, several processes share the cells of every minibatch; see `Processes`. On a CPU the
    same seed gives the same numbers, whether or not the fit was interrupted, and however many processes, to
    rounding.

    Args:
        problem: graph and cells.
        accelerator: `auto` (GPU if there is one), `cpu` or `gpu`.
        threads: CPU threads of PyTorch.
        progress: show a progress bar on a terminal.
        checkpoint: holds the result if it is there already, or the state of an unfinished fit, which is
            carried on to the same bits; None keeps nothing.
        save_every_s: least time between two saves of the state, s.
        **options: `max_epochs`: most passes through all cells, 200; `batch_size`: cells per step over all
            processes, a multiple of 8, 512; `learning_rate`: of encoder networks, 0.002; `graph_rate`: of
            everything else, in natural logarithms or prior standard deviations, 0.02; `kl_warmup`: epochs
            until the KL counts in full, 20 and at most a third of all; `patience`: epochs without gain after
            which training ends, 20; `validation`: share of cells set aside to judge this, 0.1 (at most
            10,000 cells; without encoder networks no cell is set aside); `seed`; `precision`: of networks,
            `64`, `32`, or `bf16-mixed` (encoders in bfloat16; physics is always in float64).

    Raises:
        ConfigError: an option is unknown or out of range.
        FormatError: the checkpoint is of another fit.
    """
    began = time.perf_counter()
    settings = _settings(options)
    processes = Processes(accelerator)
    model = CellModel(problem, processes.device, settings.dtype, seed=settings.seed)
    for expert in getattr(model.posterior, "experts", []):
        expert.mixed = settings.precision == "bf16-mixed"
    training = _training(model, settings, processes)
    keeper = _Keeper(checkpoint, _identity(problem, settings), processes, save_every_s)
    with limit_threads(threads):
        ended = keeper.finished(training) or _run(training, keeper, progress and processes.first)
    level = logging.INFO if progress and processes.first else logging.DEBUG
    log.log(level, "cells: %.1f s, %s", time.perf_counter() - began, ended)
    _warn(training)
    used = asdict(settings) | {"device": str(processes.device), "threads": threads}
    used |= {"processes": processes.world, "stopped": ended}
    return CellResult(problem, model, pd.DataFrame(training.history).set_index("epoch"), used)


def _settings(options: Mapping[str, Any]) -> CellSettings:
    for name in options:
        if name not in CellSettings.__dataclass_fields__:
            known = ", ".join(f"`{field}`" for field in CellSettings.__dataclass_fields__)
            raise ConfigError(f"`{name}` is no option of a fit of cells; options are {known}.")
    return CellSettings(**options)


def _training(model: CellModel, settings: CellSettings, processes: Processes) -> Training:
    """Cells dealt out; without encoder networks every cell has to be fitted, and all are watched."""
    cells = model.problem.cells
    shares = {"rank": processes.rank, "world": processes.world, "dtype": settings.dtype}
    fitted, watched = cells, cells
    if model.amortised:
        inside, outside = set_aside(cells, settings.validation, settings.seed)
        fitted, watched = cells if len(inside) == len(cells) else cells.take(inside), cells.take(outside)
    loader = Loader(fitted, batch_size=settings.batch_size, seed=settings.seed, **shares)
    judge = Loader(watched, batch_size=settings.batch_size, shuffle=False, **shares)
    return Training(model, loader, judge, settings, processes)


def _run(training: Training, keeper: _Keeper, show: bool) -> str:
    keeper.restore(training)
    with _PartsBar(TITLE, training.settings.max_epochs * len(training.loader), show) as bar:
        training.show = None if bar.bar.disable else bar.tell
        ended = training.run(keeper.save)
    keeper.finish(training, ended)
    return ended


def _warn(training: Training) -> None:
    """Say what went wrong without stopping the fit."""
    for column, what in (("failed", "networks of cells were not solved"), ("skipped", "steps were left out")):
        count = sum(int(row[column]) for row in training.history)
        if count:
            log.warning("cells: %d times %s; see `history`.", count, what)


class _PartsBar(Bar):
    """Progress bar with the parts of the objective, nats per cell."""

    def tell(self, step: int, parts: Mapping[str, float]) -> None:
        """Show how far it is."""
        text = ", ".join(f"{name.removeprefix('log_density ')} {value:.1f}" for name, value in parts.items())
        self.bar.update(self.task, completed=step, loss=text)


class _Keeper:
    """Keeps an unfinished fit every few seconds, and the finished one; the first process writes.

    Args:
        checkpoint: where; None keeps nothing.
        identity: what fit this is.
        processes: that share it.
        every_s: least time between two saves, s.
    """

    def __init__(
        self, checkpoint: Checkpoint | None, identity: dict[str, Any], processes: Processes, every_s: float
    ) -> None:
        self.checkpoint, self.identity, self.processes, self.every_s = (
            checkpoint,
            identity,
            processes,
            every_s,
        )
        self.saved_at = time.monotonic()

    def finished(self, training: Training) -> str:
        """Restore what an earlier process finished; empty if none did."""
        saved = self._get(TITLE)
        if saved is None:
            return ""
        arrays = {name: torch.as_tensor(a.copy()) for name, a in saved.arrays.items()}
        own = {n.removeprefix("model "): a for n, a in arrays.items() if n.startswith("model ")}
        training.model.load_state_dict(own)
        training.history = rows(saved.arrays)
        return saved.meta["ended"]

    def restore(self, training: Training) -> None:
        """Carry an unfinished fit on."""
        saved = self._get(f"{TITLE}.state")
        if saved is not None:
            training.restore(saved.arrays)
            log.info("cells: goes on in epoch %d", training.epoch + 1)
        self.processes.wait()  # nobody writes before all have read

    def save(self, training: Training) -> None:
        """Save the state if it is time."""
        if self._writes and time.monotonic() - self.saved_at >= self.every_s:
            assert self.checkpoint is not None
            self.checkpoint.put(f"{TITLE}.state", training.state(), {"fit": self.identity})
            self.saved_at = time.monotonic()

    def finish(self, training: Training, ended: str) -> None:
        """Keep the result, drop the state."""
        if self._writes:
            assert self.checkpoint is not None
            arrays = {f"model {name}": value for name, value in training.model.state_dict().items()}
            self.checkpoint.put(
                TITLE, arrays | columns(training.history), {"fit": self.identity, "ended": ended}
            )
            self.checkpoint.drop(f"{TITLE}.")

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


def _identity(problem: CellProblem, settings: CellSettings) -> dict[str, Any]:
    """What must be the same for a fit to be carried on."""
    graph = None if problem.graph is None else problem.graph.hash()
    shape = {name: len(part.features) for name, part in problem.cells.modalities.items()}
    return asdict(settings) | {
        "graph_hash": graph,
        "cells": len(problem.cells),
        "features": shape,
        "latent": problem.latent,
        "amortised": problem.amortised,
    }
