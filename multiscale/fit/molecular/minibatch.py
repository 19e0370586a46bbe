"""Gradients of batches of rows: training of networks in encoders, and fits of more parameters than Newton's
method can take.

A network's last layer is a family of weights like any other. Network and all parameters are trained together;
then the network's features are held, and everything that is linear in them is fitted again with exact
curvature, so that intervals hold for the features that were found.

Source: Snoek et al. 2015, arXiv:1502.05700 (Bayesian last layer on trained features); Daxberger et al. 2021,
arXiv:2106.14806 (last-layer Laplace); Kingma & Ba 2015, arXiv:1412.6980 (Adam).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from multiscale.fit.train import Bar
from multiscale.model.molecular import MolecularModel, RowModel

__all__ = ["Live", "Schedule", "live_networks", "train"]

log = logging.getLogger("multiscale")

SET_ASIDE = 0.1
"""Share of the rows on which training of networks is judged."""

CHUNK = 8192  # rows whose features are computed at once when they are judged


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Args:
        epochs: most passes through the rows.
        batch_size: rows per step, of all readings together.
        rate: first step size of theta, in its scaled lengths; it falls as a cosine.
        network_rate: first step size of networks.
        weight_decay: of networks.
        patience: epochs without improvement after which training ends.
        seed: of the order of the rows.
    """

    epochs: int
    batch_size: int
    rate: float = 0.03
    network_rate: float = 1e-3
    weight_decay: float = 1e-4
    patience: int = 5
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Live:
    """A network whose features are computed anew in every step.

    Args:
        module: inputs → features, (row, feature).
        inputs: by readings, first axis row.
        where: slices of the weights of its features, by their start.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    where: dict[int, slice]


def live_networks(model: MolecularModel) -> list[Live]:
    """Networks of the model's encoders that are to be trained."""
    found, where = [], model.parameters.slices()
    for name, bound in model.problem.bound.items():
        module, encoder = getattr(bound, "module", None), model.problem.encoders[name]
        if module is None or getattr(encoder, "state", None) is not None:
            continue
        blocks = [where[f"{name} {f.name} {term}"] for f in bound.families for term in encoder.terms]
        inputs = {
            reading: bound.inputs(part).to(model.device)  # pyright: ignore[reportAttributeAccessIssue]
            for reading, part in model.problem.readings.items()
            if model.problem.reads(name, part)
        }
        found.append(Live(module.to(model.device), inputs, {block.start: block for block in blocks}))
    return found


def train(
    model: MolecularModel, theta: Tensor, networks: list[Live], schedule: Schedule, tick: Bar | None = None
) -> Tensor:
    """Move theta, and the weights of networks in place, downhill on batches of rows.

    With networks a tenth of the rows is set aside, and the state that predicts these best is kept.

    Args:
        model: the model.
        theta: where to begin, shape (1, parameter).
        networks: to be trained.
        schedule: how long and how fast.
        tick: told the step and the loss per row.

    Returns:
        theta, shape (1, parameter).
    """
    training = _Training(model, theta, networks, schedule)
    best, lowest, waited = training.state(), math.inf, 0
    for epoch in range(schedule.epochs):
        loss = training.epoch(epoch)
        judged = training.judge() if networks else loss
        log.debug("epoch %d: loss per row %.4f, set aside %.4f", epoch + 1, loss, judged)
        if tick:
            tick(epoch + 1, torch.tensor([judged]))
        waited = 0 if judged < lowest else waited + 1
        if judged < lowest:
            best, lowest = training.state(), judged
        if waited >= schedule.patience:
            break
    return training.restore(best)


class _Training:
    """Theta, networks, and the optimiser of both.

    Args: as of `train`.
    """

    def __init__(
        self, model: MolecularModel, theta: Tensor, networks: list[Live], schedule: Schedule
    ) -> None:
        self.model, self.networks, self.schedule = model, networks, schedule
        self.theta = theta.detach().clone().requires_grad_(True)
        self.generator = Generator().manual_seed(schedule.seed)
        groups = [{"params": [self.theta], "lr": schedule.rate, "weight_decay": 0.0}]
        groups += [
            {
                "params": list(n.module.parameters()),
                "lr": schedule.network_rate,
                "weight_decay": schedule.weight_decay,
            }
            for n in networks
        ]
        self.optimiser = torch.optim.AdamW(groups)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.names = list(model.instruments)
        self.inside, self.aside = self._split(SET_ASIDE if networks else 0.0)
        self.total = sum(len(rows) for rows in self.inside.values())

    def _split(self, share: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Rows that are trained on, and those set aside, per readings."""
        inside, aside = {}, {}
        for name, part in self.model.instruments.items():
            order = torch.randperm(part.rows, generator=self.generator)
            count = int(share * part.rows)
            aside[name], inside[name] = order[:count], order[count:]
        return inside, aside

    def state(self) -> list[Tensor]:
        """Copies of theta and of all weights."""
        weights = [p for n in self.networks for p in n.module.state_dict().values()]
        return [value.detach().clone() for value in (self.theta, *weights)]

    def restore(self, state: list[Tensor]) -> Tensor:
        """Put the weights back, and give theta."""
        rest = iter(state[1:])
        for network in self.networks:
            names = list(network.module.state_dict())
            network.module.load_state_dict({name: next(rest) for name in names})
            network.module.eval()
        return state[0]

    def epoch(self, number: int) -> float:
        """One pass through the rows; the mean loss per row."""
        size, sums = self.schedule.batch_size, 0.0
        batches = math.ceil(self.total / size)
        self._set_mode(True)
        for position, batch in enumerate(self._batches(size)):
            done = (number + position / batches) / self.schedule.epochs
            for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * done))
            self.optimiser.zero_grad(set_to_none=True)
            loss = self._loss(batch)
            if torch.isfinite(loss):
                loss.backward()
                self.optimiser.step()
            sums += float(loss.detach()) / batches
        return sums

    def judge(self) -> float:
        """Mean loss per row set aside."""
        self._set_mode(False)
        total, count = 0.0, 0
        with torch.no_grad():
            for name, rows in self.aside.items():
                for part in rows.split(CHUNK):
                    total -= float(self._density(name, part.to(self.model.device)).sum())
                    count += len(part)
        return total / max(count, 1)

    def _set_mode(self, training: bool) -> None:
        for network in self.networks:
            network.module.train(training)

    def _batches(self, size: int) -> Iterator[dict[str, Tensor]]:
        """Rows of all readings, mixed."""
        owner = torch.cat([torch.full((len(self.inside[n]),), i) for i, n in enumerate(self.names)])
        rows = torch.cat([self.inside[name] for name in self.names])
        for chosen in torch.randperm(len(rows), generator=self.generator).split(size):
            picked = {n: rows[chosen[owner[chosen] == i]] for i, n in enumerate(self.names)}
            yield {name: part.to(self.model.device) for name, part in picked.items() if len(part)}

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Loss per row: of the batch, and of the priors shared out."""
        count = sum(len(rows) for rows in batch.values())
        total = torch.stack([self._density(name, rows).sum() for name, rows in batch.items()]).sum()
        return -total / count - self.model.parameters.log_prior(self.theta)[0] / self.total

    def _density(self, name: str, rows: Tensor) -> Tensor:
        part = self.model.instruments[name]
        u = self._scalars(name, part, rows)
        return part.log_density(u, rows)[0]

    def _scalars(self, name: str, part: RowModel, rows: Tensor) -> Tensor:
        """Scalars of some rows, with features of networks as they are now, (1, row, scalar)."""
        flat = self.model.parameters.flat(self.theta)
        live = {
            start: network.module(network.inputs[name][rows])
            for network in self.networks
            if name in network.inputs
            for start in network.where
        }
        columns = []
        for designs in part.parts:
            parts = [
                flat[:, where] @ live[where.start].T
                if where.start in live
                else design.take(rows).forward(flat[:, where])
                for where, design in designs
            ]
            columns.append(torch.stack(parts).sum(0))
        return torch.stack(columns, -1)
