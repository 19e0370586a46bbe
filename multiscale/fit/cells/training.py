"""One fit of cells, minibatch by minibatch: all that decides what comes next can be saved and restored."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from multiscale.errors import DataError
from multiscale.fit.cells.kept import copied, put_back, state_of
from multiscale.fit.cells.noise import standard_normal
from multiscale.fit.cells.objective import Tally, loss
from multiscale.fit.cells.parallel import Processes
from multiscale.fit.cells.rates import culprit, rate_groups, trained
from multiscale.fit.cells.schedule import CellSettings, Plateau, kl_weight
from multiscale.fit.cells.smooth import Smoothness
from multiscale.fit.cells.warm import WarmStarts

if TYPE_CHECKING:
    from multiscale.data.cells import CellBatch, Loader
    from multiscale.model.cells import CellModel, Parts

__all__ = ["ACTIVE", "Training"]

log = logging.getLogger("multiscale")

ACTIVE = 0.01
"""A latent dimension is active if the posterior mean varies by more than this over cells.

Source: Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, section 5.2.
"""

WATCHING = -1
"""Epoch of the noise with which the watched cells are judged, always the same, so that epochs compare."""

Weights = Callable[[Tensor], Tensor]
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
        weigh: weights of fitted cells by their positions, of a member of an ensemble; None = all 1.
    """

    def __init__(
        self,
        model: CellModel,
        loader: Loader,
        watched: Loader,
        settings: CellSettings,
        processes: Processes,
        show: Shown | None = None,
        weigh: Weights | None = None,
    ) -> None:
        self.model, self.loader, self.watched = model, loader, watched
        self.settings, self.processes, self.show, self.weigh = settings, processes, show, weigh
        self.names, self.parameters = trained(model)
        self.optimiser = torch.optim.Adam(rate_groups(model, settings))
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.modalities = list(loader.cells.modalities)
        self.plateau = Plateau(settings.patience)
        self.best = copied(model)
        self.epoch = self.done = self.skipped = 0
        self.history: list[dict[str, float]] = []
        self.tally, self.seconds = self._tally(), 0.0
        alone = processes.world == 1  # else a cell belongs to another process in every epoch
        unique = model.physics is not None and model.physics.unique  # else cells are judged from their start
        self.warm = WarmStarts(len(loader.cells), alone)
        self.warm_watched = WarmStarts(len(watched.cells), alone and unique)
        self.smooth, self.smooth_watched = (self._smoothness(part) for part in (loader, watched))

    def run(self, save: Callable[[Training], None] | None = None) -> str:
        """Train to the end, and leave the model at its best.

        Args:
            save: called after every minibatch.

        Returns:
            why training ended, in words.

        Raises:
            DataError: no minibatch of an epoch gave a finite gradient, or most cells were not solved.
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
        cells, world = len(self.loader.cells), self.processes.world
        prior = self.model.log_prior()
        if not len(batch.index):  # the other processes have the last cells of the epoch
            (-prior / (cells * world)).backward()
            return torch.zeros_like(self.tally.sums)
        parts = self._parts_of(batch, self.epoch, self.warm)
        epochs = self.epoch + self.done / len(self.loader)
        value = loss(
            parts,
            prior,
            kl_weight=kl_weight(epochs, self.settings.warmup),
            total=batch.total,
            cells=cells,
            world=world,
            weight=None if self.weigh is None else self.weigh(batch.index),
        )
        if self.smooth is not None and parts.mean is not None:
            value = value + self.smooth(batch.index, parts.mean, parts.failed)
        value.backward()
        return self.tally.of(parts, batch)

    def _parts_of(self, batch: CellBatch, epoch: int, warm: WarmStarts) -> Parts:
        """Parts of the objective; cells whose earlier state misled the solver begin afresh."""
        noise, near = self._noise(epoch, batch), warm.get(batch.index)
        parts = self.model.parts(batch, noise, near)
        if near is not None and bool((parts.failed & near.isfinite().all(1)).any()):
            parts = self.model.parts(batch, noise)
        warm.put(batch.index, parts.warm)
        return parts

    def _smoothness(self, loader: Loader) -> Smoothness | None:
        problem, near = self.model.problem, loader.cells.neighbours
        if not problem.smooth or near is None:
            return None
        return Smoothness(problem.smooth, near, len(problem.cells))

    def _noise(self, epoch: int, batch: CellBatch) -> Tensor:
        size = self.model.problem.latent
        return standard_normal(self.settings.seed, epoch, batch.index, size).to(self.model.dtype)

    def _finish_epoch(self) -> None:
        """Judge the model, note the epoch, and begin the next."""
        began = time.perf_counter()
        if self.skipped == self.done:
            cause = culprit(self.names, self.parameters)
            raise DataError(f"epoch {self.epoch + 1}: no minibatch gave a finite gradient; {cause}")
        self._check_solved()
        judged, rough, active = self.watch()
        counts = self.epoch + 1 >= self.settings.warmup
        row = {"epoch": self.epoch + 1.0, **self._parts(self.tally), **self._parts(judged, "watched_")}
        row |= {
            "log_prior": float(self.model.log_prior().detach()),
            **({} if self.smooth is None else {"watched_smooth": rough}),
            "active_units": float(active),
            "kl_weight": kl_weight(self.epoch + 1, self.settings.warmup),
            "rate": self.plateau.rate,
            "failed": float(self.tally.failed),
            "skipped": float(self.skipped),
            "seconds": self.seconds + time.perf_counter() - began,
        }
        self.history.append(row)
        if self.plateau.see(judged.elbo - rough, counts):
            self.best = copied(self.model)
        self.set_rates()
        self.epoch, self.done, self.skipped = self.epoch + 1, 0, 0
        self.tally, self.seconds = self._tally(), 0.0

    def _check_solved(self) -> None:
        """Warn of the first cells that were not solved; they are no reason to go on if they are most."""
        failed, solved = self.tally.failed, int(self.tally.solved)
        said = f"epoch {self.epoch + 1}: the network of {failed} of {failed + solved} cells was not solved"
        if failed > solved:
            raise DataError(f"{said}; check the graph's parameters, its volumes and `priors`.")
        if failed and not any(row["failed"] for row in self.history):
            log.warning("cells: %s; they teach nothing, see `failed` of `history`.", said)

    def watch(self) -> tuple[Tally, float, int]:
        """The bound of the watched cells, their roughness, and how many latent dimensions are active."""
        tally, own = self._tally(), self.watched.cells is self.loader.cells
        means, index, failed = [], [], []
        with torch.no_grad():
            for batch in self.watched.epoch(0):
                if len(batch.index):
                    batch = batch.to(self.processes.device)
                    parts = self._parts_of(batch, WATCHING, self.warm_watched)
                    weight = self.weigh(batch.index) if own and self.weigh is not None else None
                    tally.add(tally.of(parts, batch, weight))
                    means.append(self.model.encode(batch)[0].to(torch.float64))
                    index.append(batch.index)
                    failed.append(parts.failed)
        rough = 0.0
        if self.smooth_watched is not None:
            rough = float(self.smooth_watched(torch.cat(index), torch.cat(means), torch.cat(failed)))
        tally.sums, active = self._summed(tally.sums, means)
        return tally, rough, active

    def _summed(self, sums: Tensor, means: list[Tensor]) -> tuple[Tensor, int]:
        """Sums over processes, and the active dimensions by posterior means of their cells."""
        moments = torch.zeros(2, self.model.problem.latent, dtype=torch.float64, device=sums.device)
        for mean in means:
            moments += torch.stack([mean.sum(0), (mean * mean).sum(0)])
        sums, moments = self.processes.sum([sums, moments])
        mean, square = moments / len(self.watched.cells)
        return sums, int((square - mean * mean > ACTIVE).sum())

    def _tally(self) -> Tally:
        return Tally.empty(self.modalities, self.model.problem.latent, self.processes.device)

    def _parts(self, tally: Tally, before: str = "") -> dict[str, float]:
        """Parts of the objective per cell, by the names of the history."""
        densities = {f"{before}log_density {name}": v for name, v in tally.log_densities.items()}
        return {f"{before}elbo": tally.elbo, f"{before}kl": float(tally.kl.sum()), **densities}

    def set_rates(self) -> None:
        """Lower all rates to what the plateau says."""
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.plateau.rate

    def state(self) -> dict[str, Any]:
        """All that decides what comes next, as arrays by name."""
        return state_of(self)

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        put_back(self, arrays)
