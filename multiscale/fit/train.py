"""Fitting: many starts in one batch, first Adam, then a quasi-Newton method."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from multiscale.errors import DataError
from multiscale.fit.checkpoint import Checkpoint
from multiscale.fit.curvature import LARGEST
from multiscale.fit.finish import finish
from multiscale.fit.objective import Posterior
from multiscale.fit.optimise import Optimum, adam, lbfgs
from multiscale.fit.trace import Trace
from multiscale.model import Model, Problem

__all__ = ["Bar", "device_of", "finished", "limit_threads", "summary", "train"]

log = logging.getLogger("multiscale")


def device_of(accelerator: str) -> torch.device:
    """Device of an accelerator name.

    Args:
        accelerator: `auto` (GPU if there is one), `cpu` or `gpu`.

    Raises:
        DataError: the name is unknown, or a GPU was asked for and there is none.
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        raise DataError(f"`accelerator` must be auto, cpu or gpu; got `{accelerator}`.")
    available = torch.cuda.is_available()
    if accelerator == "gpu" and not available:
        raise DataError("`accelerator` is gpu, but torch finds no GPU; use `auto` or `cpu`.")
    return torch.device("cuda" if available and accelerator != "cpu" else "cpu")


def train(
    problem: Problem,
    *,
    starts: int,
    seed: int,
    adam_steps: int = 100,
    max_steps: int = 300,
    accelerator: str = "auto",
    threads: int = 1,
    weights: Mapping[str, Tensor] | None = None,
    polished: bool = False,
    title: str = "fit",
    progress: bool = True,
    checkpoint: Checkpoint | None = None,
    save_every_s: float = 20.0,
) -> tuple[Model, Optimum]:
    """Maximise the posterior from several starts.

    Args:
        problem: what is asked.
        starts: number of starting points drawn around the priors.
        seed: of the starting points; the global random state is untouched.
        adam_steps: steps of Adam.
        max_steps: most quasi-Newton steps per start.
        accelerator: `auto`, `cpu` or `gpu`.
        threads: CPU threads of PyTorch while it runs.
        weights: 0 for held-out entries, see `Posterior`.
        polished: whether the starts that ended best go on to the modes of the posterior, see `finish`, unless
            there are too many parameters for exact second derivatives.
        title: what the progress bar says, and the name of the stage in the checkpoint.
        progress: whether to show it (on a terminal only) and to log how the search ended.
        checkpoint: holds the result if it is there already, or the state of an unfinished search, which is
            carried on to the same bits; None keeps nothing.
        save_every_s: least time between two saves of the state, s.
    """
    began = time.perf_counter()
    model = Model(problem, device_of(accelerator))
    optimum = finished(title, checkpoint, model.device)
    if optimum is not None:
        return model, optimum
    posterior = Posterior(model, weights)
    theta = model.parameters.sample(starts, torch.Generator().manual_seed(seed))
    adam_trace, lbfgs_trace = (
        Trace(checkpoint, f"{title}.{step}", posterior, model.device, save_every_s)
        for step in ("adam", "lbfgs")
    )
    with limit_threads(threads), Bar(title, adam_steps + max_steps, progress) as tick:
        theta = adam(posterior, theta, adam_steps, progress=tick, trace=adam_trace)
        later = partial(_later, tick, adam_steps)
        optimum = lbfgs(posterior, theta, max_steps, progress=later, trace=lbfgs_trace)
        if polished and model.parameters.size <= LARGEST:
            optimum = finish(model, optimum)
    if checkpoint is not None:
        checkpoint.put(title, {name: value for name, value in vars(optimum).items() if value is not None})
        checkpoint.drop(f"{title}.")
    level = logging.INFO if progress else logging.DEBUG
    seconds = time.perf_counter() - began
    log.log(level, "%s: %d starts in %.1f s, %s", title, starts, seconds, summary(optimum))
    return model, optimum


def summary(optimum: Optimum) -> str:
    """How the best start ended, in words."""
    return f"best loss {optimum.loss.min():.2f}, {optimum.reasons[optimum.best]}"


def finished(title: str, checkpoint: Checkpoint | None, device: torch.device) -> Optimum | None:
    """What an earlier process found, None if it did not get so far."""
    saved = None if checkpoint is None else checkpoint.get(title)
    if saved is None:
        return None
    optimum = Optimum(**{name: torch.as_tensor(array, device=device) for name, array in saved.arrays.items()})
    log.info("%s: there already, %s", title, summary(optimum))
    return optimum


def _later(tick: Bar, before: int, step: int, loss: Tensor) -> None:
    """Show a step that comes after `before` others."""
    tick(before + step, loss)


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Bar:
    """Progress bar with the lowest loss; silent when standard error is not a terminal."""

    def __init__(self, title: str, total: int, show: bool) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
        )
        self.bar = Progress(
            *columns, console=Console(stderr=True), disable=not (show and sys.stderr.isatty()), transient=True
        )
        self.task = self.bar.add_task(title, total=total, loss="")

    def __enter__(self):
        self.bar.start()
        return self

    def __call__(self, step: int, loss: Tensor) -> None:
        """Show a step and the lowest of these losses."""
        if not self.bar.disable:
            self.bar.update(self.task, completed=step, loss=f"loss {loss.min():.2f}")

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()
