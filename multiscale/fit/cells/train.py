"""Fitting single cells: minibatches, cells that say when to stop, and a state that survives a kill."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from multiscale.data.cells import Loader
from multiscale.errors import ConfigError
from multiscale.fit.cells.ensemble import bootstrap, check_members, member_settings
from multiscale.fit.cells.keeper import Keeper, identity_of
from multiscale.fit.cells.parallel import Processes
from multiscale.fit.cells.result import CellResult
from multiscale.fit.cells.schedule import CellSettings
from multiscale.fit.cells.training import Training
from multiscale.fit.cells.watch import set_aside
from multiscale.fit.checkpoint import Checkpoint
from multiscale.fit.train import Bar, limit_threads
from multiscale.model.cells import CellModel, CellProblem

__all__ = ["fit_cells"]

log = logging.getLogger("multiscale")

PATIENT = 100
"""Epochs of patience from which the intervals of members are known to be wide enough; docs/uncertainty.md."""

TITLE = "cells"
"""Name of the finished stage in a checkpoint; `cells.state` is an unfinished one."""


def fit_cells(
    problem: CellProblem,
    *,
    members: int = 1,
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
        members: fits in all, one after another; more than 1 give what all cells share intervals; see
            `ensemble`. They want a `patience` of 100. A checkpoint keeps every member, and more can be added
            later.
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
        ConfigError: an option is unknown or out of range, or `smooth` is asked of several processes.
        DataError: most cells of an epoch were not solved, or no minibatch gave a finite gradient.
        FormatError: the checkpoint is of another fit.
    """
    settings = _settings(options)
    check_members(members)
    processes = Processes(accelerator)
    _check(problem, settings, members, processes)
    fits = []
    with limit_threads(threads):
        for member in range(members):
            model = _model(problem, member_settings(settings, member), processes, member)
            run = _training(model, member_settings(settings, member), processes, member)
            identity = identity_of(problem, run.settings)
            keeper = Keeper(checkpoint, identity, processes, save_every_s, _title(member))
            used = {"device": str(processes.device), "threads": threads, "processes": processes.world}
            fits.append(_fitted(run, keeper, used | {"members": members}, progress and processes.first))
    return replace(fits[0], members=tuple(fits[1:]))


def _check(problem: CellProblem, settings: CellSettings, members: int, processes: Processes) -> None:
    """Refuse what several processes cannot do; warn of members that may end early."""
    if problem.smooth and processes.world > 1:
        raise ConfigError(
            "`smooth` needs all cells of a minibatch in one process; start one, or leave it at 0."
        )
    if members > 1 and settings.patience < PATIENT and processes.first:
        log.warning(
            "members: with `patience` = %d they may end before they differ as cells and priors let them, and "
            "intervals are too narrow; take %d.",
            settings.patience,
            PATIENT,
        )


def _fitted(training: Training, keeper: Keeper, used: dict[str, Any], show: bool) -> CellResult:
    """Train one member to its end, or find what was kept of it."""
    began = time.perf_counter()
    ended = keeper.finished(training) or _run(training, keeper, show)
    log.log(
        logging.INFO if show else logging.DEBUG,
        "%s: %.1f s, %s",
        keeper.title,
        time.perf_counter() - began,
        ended,
    )
    _warn(training)
    history = pd.DataFrame(training.history).set_index("epoch")
    settings = asdict(training.settings) | used | {"stopped": ended}
    return CellResult(training.model.problem, training.model, history, settings)


def _title(member: int) -> str:
    return f"{TITLE}-{member}" if member else TITLE


def _model(problem: CellProblem, settings: CellSettings, processes: Processes, member: int) -> CellModel:
    """Where a member begins; all but the first are regularised about draws from the priors."""
    anchor = {"anchor": settings.seed} if member else {}
    model = CellModel(problem, processes.device, settings.dtype, seed=settings.seed, **anchor)
    for expert in getattr(model.posterior, "experts", []):
        expert.mixed = settings.precision == "bf16-mixed"
    return model


def _settings(options: Mapping[str, Any]) -> CellSettings:
    for name in options:
        if name not in CellSettings.__dataclass_fields__:
            known = ", ".join(f"`{field}`" for field in CellSettings.__dataclass_fields__)
            raise ConfigError(f"`{name}` is no option of a fit of cells; options are {known}.")
    return CellSettings(**options)


def _training(model: CellModel, settings: CellSettings, processes: Processes, member: int) -> Training:
    """Cells dealt out; without encoder networks every cell has to be fitted, and all are watched."""
    cells = model.problem.cells
    shares = {"rank": processes.rank, "world": processes.world, "dtype": settings.dtype}
    fitted, watched = cells, cells
    if model.amortised:
        inside, outside = set_aside(cells, settings.validation, settings.seed)
        fitted, watched = cells if len(inside) == len(cells) else cells.take(inside), cells.take(outside)
    loader = Loader(fitted, batch_size=settings.batch_size, seed=settings.seed, **shares)
    judge = Loader(watched, batch_size=settings.batch_size, shuffle=False, **shares)
    weigh = bootstrap(settings.seed) if member else None
    return Training(model, loader, judge, settings, processes, weigh=weigh)


def _run(training: Training, keeper: Keeper, show: bool) -> str:
    keeper.restore(training)
    with _PartsBar(keeper.title, training.settings.max_epochs * len(training.loader), show) as bar:
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
