"""Fitting: many starts in one batch, first Adam, then a quasi-Newton method."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from multiscale.errors import DataError
from multiscale.fit.objective import Posterior
from multiscale.fit.optimise import Optimum, adam, lbfgs, polish
from multiscale.model import Model, Problem

__all__ = ["device_of", "limit_threads", "train"]

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
        polished: whether the best start goes on alone, for up to five times as many steps, until its loss
            changes by less than 1e-6.
        title: what the progress bar says.
        progress: whether to show it (on a terminal only).
    """
    began = time.perf_counter()
    model = Model(problem, device_of(accelerator))
    generator = torch.Generator().manual_seed(seed)
    theta = model.parameters.sample(starts, generator)
    posterior = Posterior(model, weights)
    with limit_threads(threads), _bar(title, adam_steps + max_steps, progress) as tick:
        theta = adam(posterior, theta, adam_steps, progress=tick)
        optimum = lbfgs(posterior, theta, max_steps, progress=lambda k, loss: tick(adam_steps + k, loss))
        optimum = polish(posterior, optimum, 5 * max_steps) if polished else optimum
    log.info(
        "%s: %d starts in %.1f s, best loss %.2f, %s",
        title,
        starts,
        time.perf_counter() - began,
        optimum.loss.min(),
        optimum.reasons[optimum.best],
    )
    return model, optimum


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _bar:
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
        if not self.bar.disable:
            self.bar.update(self.task, completed=step, loss=f"loss {loss.min():.2f}")

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()
