"""One fit of cells, minibatch by minibatch: all that decides what comes next can be saved and restored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.errors import DataError
from multiscale.fit.cells.noise import standard_normal
from multiscale.fit.cells.objective import Tally, loss
from multiscale.fit.cells.parallel import Processes
from multiscale.fit.cells.schedule import CellSettings, Plateau, kl_weight

if TYPE_CHECKING:
    from multiscale.data.cells import CellBatch, Loader
    from multiscale.model.cells import CellModel

__all__ = ["ACTIVE", "NETWORKS", "Training", "columns", "rows"]

ACTIVE = 0.01
"""A latent dimension is active if the posterior mean varies by more than this over cells.

Source: Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, section 5.2.
"""

NETWORKS = "posterior."
"""Begins the names of the parameters of encoder networks, which have a rate of their own."""

WATCHING = -1
"""Epoch of the noise with which the watched cells are judged, always the same, so that epochs compare."""

HISTORY = "history "
"""Begins the names of the columns of a history in a checkpoint."""

Shown = Callable[[int, "Mapping[str, float]"], None]


class Training:
    """A model, its optimiser, and how far they got.

    Args:
        model: starts where it was made.
        loader: minibatches of the cells that are fitted.
        watched: cells on which training is judged.
        settings: how to train.
        processes: that share the work.
        show: told the number of minibatches so far and the parts of the objective.
    """

    def __init__(
        self,
        model: CellModel,
        loader: Loader,
        watched: Loader,
        settings: CellSettings,
        processes: Processes,
        show: Shown | None = None,
    ) -> None:
        self.model, self.loader, self.watched = model, loader, watched
        self.settings, self.processes, self.show = settings, processes, show
        self.names, self.parameters = _trained(model)
        self.optimiser = torch.optim.Adam(_groups(model, settings))
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.modalities = list(loader.cells.modalities)
        self.plateau = Plateau(settings.patience)
        self.best = _copied(model)
        self.epoch = self.done = self.skipped = 0
        self.history: list[dict[str, float]] = []
        self.tally, self.seconds = self._tally(), 0.0

    def run(self, save: Callable[[Training], None] | None = None) -> str:
        """Train to the end, and leave the model at its best.

        Args:
            save: called after every minibatch.

        Returns:
            why training ended, in words.

        Raises:
            DataError: no minibatch of an epoch gave a finite gradient, or no cell was solved.
        """
        began = time.perf_counter() - self.seconds
        while self.epoch < self.settings.max_epochs and not self.plateau.over:
            for batch in self.loader.epoch(self.epoch, start=self.done):
                self.step(batch)
                self.seconds = time.perf_counter() - began
                if save is not None:
                    save(self)
            self._finish_epoch()
            began = time.perf_counter()
        self.model.load_state_dict(self.best)
        if self.plateau.over:
            return f"the bound of watched cells did not rise for {self.settings.patience} epochs"
        return f"stopped after {self.settings.max_epochs} epochs"

    def step(self, batch: CellBatch) -> None:
        """Move all parameters by the gradient of one minibatch; not at all if it is not finite."""
        batch = batch.to(self.processes.device)
        self.optimiser.zero_grad(set_to_none=True)
        sums = self._backward(batch)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        *gradients, sums = self.processes.sum([*gradients, sums])
        if bool(torch.stack([gradient.isfinite().all() for gradient in gradients]).all()):
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
            self.optimiser.step()
        else:
            self.skipped += 1
        self.tally.add(sums)
        self.done += 1
        if self.show is not None:
            self.show(self.epoch * len(self.loader) + self.done, self._parts(self.tally))

    def _backward(self, batch: CellBatch) -> Tensor:
        """Gradients of this process's share of the loss; returns its sums."""
        shares = {"total": batch.total, "cells": len(self.loader.cells), "world": self.processes.world}
        prior = self.model.log_prior()
        if not len(batch.index):  # the other processes have the last cells of the epoch
            (-prior / (shares["cells"] * shares["world"])).backward()
            return torch.zeros_like(self.tally.sums)
        parts = self.model.parts(batch, self._noise(self.epoch, batch))
        epochs = self.epoch + self.done / len(self.loader)
        loss(parts, prior, kl_weight=kl_weight(epochs, self.settings.warmup), **shares).backward()
        return self.tally.of(parts, batch)

    def _noise(self, epoch: int, batch: CellBatch) -> Tensor:
        size = self.model.problem.latent
        return standard_normal(self.settings.seed, epoch, batch.index, size).to(self.model.dtype)

    def _finish_epoch(self) -> None:
        """Judge the model, note the epoch, and begin the next."""
        began = time.perf_counter()
        if self.skipped == self.done:
            raise DataError(f"epoch {self.epoch + 1}: no minibatch gave a finite gradient; {self._culprit()}")
        if not self.tally.solved:
            raise DataError(
                f"epoch {self.epoch + 1}: the network of no cell was solved; check the graph's parameters, "
                "its volumes and `priors`."
            )
        judged, active = self.watch()
        counts = self.epoch + 1 >= self.settings.warmup
        row = {"epoch": self.epoch + 1.0, **self._parts(self.tally), **self._parts(judged, "watched_")}
        row |= {
            "log_prior": float(self.model.log_prior().detach()),
            "active_units": float(active),
            "kl_weight": kl_weight(self.epoch + 1, self.settings.warmup),
            "rate": self.plateau.rate,
            "failed": float(self.tally.failed),
            "skipped": float(self.skipped),
            "seconds": self.seconds + time.perf_counter() - began,
        }
        self.history.append(row)
        if self.plateau.see(judged.elbo, counts):
            self.best = _copied(self.model)
        self._set_rates()
        self.epoch, self.done, self.skipped = self.epoch + 1, 0, 0
        self.tally, self.seconds = self._tally(), 0.0

    def _culprit(self) -> str:
        """Which parameters have no finite gradient."""
        odd = [n for n, p in zip(self.names, self.parameters, strict=True) if not _finite(p)]
        return f"that of `{odd[0]}` is not; check priors and readings." if odd else "check the readings."

    def watch(self) -> tuple[Tally, int]:
        """The bound of the watched cells, and how many latent dimensions are active among them."""
        tally, size = self._tally(), self.model.problem.latent
        moments = torch.zeros(2, size, dtype=torch.float64, device=self.processes.device)
        with torch.no_grad():
            for batch in self.watched.epoch(0):
                if len(batch.index):
                    batch = batch.to(self.processes.device)
                    tally.add(tally.of(self.model.parts(batch, self._noise(WATCHING, batch)), batch))
                    mean = self.model.encode(batch)[0].to(torch.float64)
                    moments += torch.stack([mean.sum(0), (mean * mean).sum(0)])
        tally.sums, moments = self.processes.sum([tally.sums, moments])
        mean, square = moments / len(self.watched.cells)
        return tally, int((square - mean * mean > ACTIVE).sum())

    def _tally(self) -> Tally:
        return Tally.empty(self.modalities, self.model.problem.latent, self.processes.device)

    def _parts(self, tally: Tally, before: str = "") -> dict[str, float]:
        """Parts of the objective per cell, by the names of the history."""
        densities = {f"{before}log_density {name}": v for name, v in tally.log_densities.items()}
        return {f"{before}elbo": tally.elbo, f"{before}kl": float(tally.kl.sum()), **densities}

    def _set_rates(self) -> None:
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.plateau.rate

    # What a checkpoint holds

    def state(self) -> dict[str, Any]:
        """All that decides what comes next, as arrays by name."""
        found: dict[str, Any] = {f"model {name}": value for name, value in self.model.state_dict().items()}
        found |= {f"best {name}": value for name, value in self.best.items()}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            moments = self.optimiser.state.get(parameter, {})
            found |= {f"adam {key} {name}": value for key, value in moments.items()}
        found |= columns(self.history)
        found["position"] = np.array([self.epoch, self.done, self.skipped, self.plateau.waited])
        found["plateau"] = np.array([self.plateau.best, self.plateau.rate, self.seconds])
        return found | {"tally": self.tally.sums}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        device = self.processes.device
        self.model.load_state_dict(_named(arrays, "model ", device))
        self.best = _named(arrays, "best ", device)
        for name, parameter in zip(self.names, self.parameters, strict=True):
            keys = [k for k in ("step", "exp_avg", "exp_avg_sq") if f"adam {k} {name}" in arrays]
            where = {"step": "cpu"}
            self.optimiser.state[parameter] = {
                key: torch.as_tensor(arrays[f"adam {key} {name}"].copy(), device=where.get(key, device))
                for key in keys
            }
        self.history = rows(arrays)
        self.epoch, self.done, self.skipped, self.plateau.waited = map(int, arrays["position"])
        self.plateau.best, self.plateau.rate, self.seconds = map(float, arrays["plateau"])
        self.tally.sums = torch.as_tensor(arrays["tally"].copy(), device=device)
        self._set_rates()


def columns(history: list[dict[str, float]]) -> dict[str, np.ndarray]:
    """A history as one array per column; names tell their order, which files do not keep."""
    table = pd.DataFrame(history)
    return {f"{HISTORY}{i:03d} {name}": table[name].to_numpy(float) for i, name in enumerate(table)}


def rows(arrays: Mapping[str, np.ndarray]) -> list[dict[str, float]]:
    """A history from what `columns` gave."""
    found = sorted(name for name in arrays if name.startswith(HISTORY))
    names = [name.removeprefix(HISTORY).partition(" ")[2] for name in found]
    columns = [arrays[name].tolist() for name in found]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _trained(model: torch.nn.Module) -> tuple[list[str], list[torch.nn.Parameter]]:
    found = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    return [name for name, _ in found], [value for _, value in found]


def _groups(model: CellModel, settings: CellSettings) -> list[dict[str, Any]]:
    """Parameters with their rates: encoder networks, and everything else (free posteriors too)."""
    names, parameters = _trained(model)
    network = [model.amortised and name.startswith(NETWORKS) for name in names]
    pairs = list(zip(network, parameters, strict=True))
    groups = [
        {"params": [p for inside, p in pairs if inside], "lr": settings.learning_rate},
        {"params": [p for inside, p in pairs if not inside], "lr": settings.graph_rate},
    ]
    return [group for group in groups if group["params"]]


def _copied(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _named(arrays: Mapping[str, np.ndarray], prefix: str, device: torch.device) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): torch.as_tensor(array.copy(), device=device)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _finite(parameter: Tensor) -> bool:
    return parameter.grad is None or bool(parameter.grad.isfinite().all())
