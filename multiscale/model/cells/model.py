"""Single cells as one differentiable model: latent state → totals → physics → signals → log density."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from multiscale.data.cells import CellBatch
from multiscale.encoders.cell import CellEncoder, FreePosterior
from multiscale.model.cells.anchor import anchored, graph_anchor
from multiscale.model.cells.begin import Beginning, molecule_loadings
from multiscale.model.cells.decoder import Signals
from multiscale.model.cells.problem import CellProblem
from multiscale.model.cells.shared import COLUMNS, Group, Shared
from multiscale.model.cells.state import CellState
from multiscale.model.cells.totals import ln_totals, total_groups
from multiscale.model.parameters import ParameterTable

__all__ = ["CellModel", "Parts", "kl_to_prior"]

log = logging.getLogger("multiscale")

FREE_LN_SD = -1.0
"""Where free ln standard deviations begin: a cell's readings tell a good deal more than the prior."""


class Parts(NamedTuple):
    """Parts of the objective, per cell.

    Args:
        log_density: of each modality's readings, nats, shape (cell,); 0 for cells that it did not measure
            and for cells that failed.
        kl: of every latent dimension, nats, shape (cell, latent).
        failed: cells whose physics was not solved, bool, shape (cell,).
        mean: of the posteriors, shape (cell, latent).
        warm: what the next solve of the same cells may start from, shape (cell, number); None without
            physics.
    """

    log_density: dict[str, Tensor]
    kl: Tensor
    failed: Tensor
    mean: Tensor | None = None
    warm: Tensor | None = None


def kl_to_prior(mean: Tensor, ln_sd: Tensor) -> Tensor:
    """Divergence of normal posteriors from N(0, 1): ½(μ² + σ² − 1) − ln σ, nats, elementwise.

    >>> import torch
    >>> float(kl_to_prior(torch.tensor(2.0), torch.tensor(0.0)))
    2.0
    """
    return 0.5 * (mean**2 + (2 * ln_sd).exp() - 1) - ln_sd


class CellModel(nn.Module):
    """Generative model of cells and posterior of their latent states.

    A cell has z ~ N(0, I). Molecules of the graph have totals ln T = b + L·z + β; physics makes species of
    them; modalities read these, or the latent state through a decoder. q(z | readings) is normal: given by
    encoder networks, or free for every cell.

    Args:
        problem: graph, cells and priors, checked.
        device: where to compute.
        dtype: of networks and signals; physics is float64.
        seed: of all first values.
        anchor: of a member of an ensemble, the seed of draws from all priors about which it is regularised;
            None: priors stay where they are.

    Attributes:
        shared: parameters that all cells share, by name, with priors.
        graph_theta: parameters of the graph, in the coordinates of `physics.parameters`, (1, parameter).
        posterior: encoder networks, or means and ln sds of all cells.
    """

    def __init__(
        self,
        problem: CellProblem,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
        anchor: int | None = None,
    ) -> None:
        super().__init__()
        self.problem, self.dtype = problem, dtype
        where = torch.device(device)
        self.physics = problem.physics if where.type == "cpu" else problem.make_physics(where)
        size = 0 if self.physics is None else self.physics.parameters.size
        self.graph_theta = nn.Parameter(
            torch.zeros(1, size, dtype=torch.float64, device=where), requires_grad=size > 0
        )
        begin = Beginning(problem, seed)
        totals = total_groups(problem, molecule_loadings(problem, begin.loading))
        self.modalities = self._signals(totals, begin)
        groups = [group for part in self.modalities.values() for group in part.groups]
        if anchor is not None:
            totals, groups = self._anchor(totals, groups, begin, anchor)
        constants = {f"{name} typical": part.typical for name, part in self.modalities.items()}
        self.shared = Shared([*totals, *groups], dtype, constants).to(where)
        self.posterior = self._posterior(begin, seed).to(where)
        for i, name in enumerate(self.modalities):
            self.register_buffer(f"seen_mean_{i}", self._tensor(begin.seen_mean[name], where))
            self.register_buffer(f"seen_sd_{i}", self._tensor(begin.seen_sd[name], where))

    def _signals(self, totals: list[Group], begin: Beginning) -> dict[str, Signals]:
        """Signals of all modalities, whose scales begin where a typical cell says."""
        device = self.graph_theta.device
        typical = self._typical_state(totals[0].filled(None) if totals else np.zeros(0), device)
        return {
            name: Signals(self.problem, name, begin.loading[name], self.physics, typical, device, self.dtype)
            for name in self.problem.cells.modalities
        }

    def _anchor(
        self, totals: list[Group], groups: list[Group], begin: Beginning, seed: int
    ) -> tuple[list[Group], list[Group]]:
        """Move all priors to draws; scales begin where a typical cell with the drawn totals says."""
        rng = np.random.default_rng(seed)
        if self.physics is not None:
            moved = graph_anchor(self.physics.parameters, rng)
            self.register_buffer("graph_anchor", moved)
            with torch.no_grad():
                self.graph_theta.copy_(moved)
        totals = anchored(totals, rng)
        there = [group for part in self._signals(totals, begin).values() for group in part.groups]
        groups = [
            replace(g, start=g.filled(t.start)) if t.start is not None else g
            for g, t in zip(groups, there, strict=True)
        ]
        return totals, anchored(groups, rng)

    @property
    def amortised(self) -> bool:
        """Whether encoder networks give the posterior, also that of new cells."""
        return isinstance(self.posterior, CellEncoder)

    def encode(self, batch: CellBatch) -> tuple[Tensor, Tensor]:
        """Mean and ln standard deviation of the posterior, shape (cell, latent).

        Hidden entries have no effect; nor have modalities that did not measure a cell, or of which all is
        hidden. Free posteriors are found by the position of the cell.
        """
        if isinstance(self.posterior, FreePosterior):
            return self.posterior(batch.index)
        seen = {name: self._seen(i, name, batch) for i, name in enumerate(self.modalities)}
        present = {name: _present(name, batch) for name in self.modalities}
        return self.posterior(seen, present, (batch.batch, batch.condition))

    def totals(self, z: Tensor, batch: Tensor) -> Tensor:
        """Ln totals of molecules before interventions, float64, shape (cell, molecule).

        Args:
            z: latent states, shape (cell, latent).
            batch: of every cell, −1 for a new one; shape (cell,).
        """
        return ln_totals(self.shared, z, batch)

    def state(self, z: Tensor, batch: CellBatch, warm: Tensor | None = None) -> CellState | None:
        """Physical state of cells; None without a graph.

        Args:
            z: latent states, shape (cell, latent).
            batch: whose batches and conditions count.
            warm: of an earlier state of the same cells, shape (cell, number).
        """
        if self.physics is None:
            return None
        return self.physics(self.graph_theta, self.totals(z, batch.batch), batch.condition, warm)

    def signals(
        self, z: Tensor, state: CellState | None, batch: CellBatch
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Per modality ln signal, shape (cell, feature), and heads, shape (cell, feature, head)."""
        return {
            name: part.signals(self.shared, z, state, batch.batch, batch.condition)
            for name, part in self.modalities.items()
        }

    def log_densities(self, batch: CellBatch, z: Tensor, state: CellState | None) -> dict[str, Tensor]:
        """Per modality log density of the readings of every cell, nats, float64, shape (cell,).

        Hidden entries and cells that were not measured count 0, whatever stands there.
        """
        found = {}
        for name, (ln_signal, heads) in self.signals(z, state, batch).items():
            part, counts = self.modalities[name], _counts(name, batch)
            values = part.values(self.shared, batch.batch)
            size = batch.ln_size[name].to(self.dtype)
            y = _only(counts, batch.values[name])
            density = part.channel.log_density(y, ln_signal, heads, values, size)
            found[name] = (
                _only(counts, density).sum(1).double()
            )  # summed pairwise; a copy in float64 costs more
        return found

    def log_prior(self) -> Tensor:
        """Log density of all shared parameters and of those of the graph, nats, float64, shape ()."""
        own = self.shared.log_prior()
        if self.physics is None:
            return own
        moved = self._buffers.get("graph_anchor")
        theta = self.graph_theta if moved is None else self.graph_theta - moved
        return own + self.physics.parameters.log_prior(theta)[0]

    def parts(self, batch: CellBatch, noise: Tensor, warm: Tensor | None = None) -> Parts:
        """Parts of the objective for one draw z = mean + sd · noise per cell.

        Args:
            batch: readings.
            noise: standard normal, shape (cell, latent).
            warm: of an earlier state of the same cells, shape (cell, number).
        """
        mean, ln_sd = self.encode(batch)
        z = mean + ln_sd.exp() * noise.to(mean.dtype)
        state = self.state(z, batch, warm)
        failed = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        if state is not None:
            failed = ~state.solved
        density = {
            name: torch.where(failed, 0.0, value)
            for name, value in self.log_densities(batch, z, state).items()
        }
        again = None if state is None else state.warm
        return Parts(density, kl_to_prior(mean, ln_sd), failed, mean, again)

    def expected(self, batch: CellBatch, z: Tensor, state: CellState | None) -> dict[str, Tensor]:
        """Per modality expected readings, shape (cell, feature)."""
        return {
            name: self.modalities[name].channel.expected(
                ln_signal,
                heads,
                self.modalities[name].values(self.shared, batch.batch),
                batch.ln_size[name].to(self.dtype),
            )
            for name, (ln_signal, heads) in self.signals(z, state, batch).items()
        }

    def draw(
        self, batch: CellBatch, z: Tensor, state: CellState | None, generator: Generator
    ) -> dict[str, Tensor]:
        """Per modality new readings, shape (cell, feature).

        Args:
            batch: batches and sizes of the cells; its readings have no effect.
            z: latent states, shape (cell, latent).
            state: physical state.
            generator: of random numbers.
        """
        return {
            name: self.modalities[name].channel.draw(
                ln_signal,
                heads,
                self.modalities[name].values(self.shared, batch.batch),
                batch.ln_size[name].to(self.dtype),
                generator,
            )
            for name, (ln_signal, heads) in self.signals(z, state, batch).items()
        }

    def table(self, everything: bool = False) -> pd.DataFrame:
        """Values and priors of shared parameters and of the graph, one row each.

        Columns are `parameterId`, `parameterName`, `parameterScale`, `value`, `priorMean`, `priorSd`, `unit`
        and `role`; value and prior are natural logarithms where the scale is `log`.

        Args:
            everything: list the loadings of decoders too, of which there are many.
        """
        own = self.shared.frame(everything)
        if self.physics is None or not self.physics.parameters.size:
            return own
        return pd.concat([_graph_frame(self.physics.parameters, self.graph_theta), own], ignore_index=True)

    def _tensor(self, values: np.ndarray, device: torch.device) -> Tensor:
        return torch.as_tensor(values, dtype=self.dtype, device=device)

    def _typical_state(self, ln_total: np.ndarray, device: torch.device) -> tuple[CellState, Tensor] | None:
        """State of a cell with z = 0 under the condition that most cells have, at the first parameters."""
        if self.physics is None:
            return None
        codes = self.problem.cells.condition.codes
        condition = torch.tensor([int(np.bincount(codes).argmax())], device=device)
        with torch.no_grad():
            given = torch.as_tensor(ln_total, device=device)[None]
            state = self.physics(self.graph_theta, given, condition)
        if not bool(state.solved.all()):
            log.warning("the physics of a typical cell was not solved; scales begin at 1 signal per unit")
        return state, condition

    def _posterior(self, begin: Beginning, seed: int) -> CellEncoder | FreePosterior:
        problem = self.problem
        if not problem.amortised:
            scores = torch.as_tensor(begin.scores(), dtype=self.dtype)
            return FreePosterior(scores, torch.full_like(scores, FREE_LN_SD))
        features = {name: len(part.features) for name, part in problem.cells.modalities.items()}
        labels = (len(problem.cells.batch.names), len(problem.cells.condition.names))
        return CellEncoder(
            features, labels, problem.latent, hidden=problem.hidden, layers=problem.layers, seed=seed
        ).to(self.dtype)

    def _seen(self, number: int, name: str, batch: CellBatch) -> Tensor:
        """What the encoder is shown, standardised, 0 for entries that do not count."""
        counts = _counts(name, batch)
        y = _only(counts, batch.values[name]).to(self.dtype)
        seen = self.modalities[name].channel.seen(y, batch.ln_size[name].to(self.dtype))
        mean, sd = self.get_buffer(f"seen_mean_{number}"), self.get_buffer(f"seen_sd_{number}")
        return _only(counts, torch.addcmul(-mean / sd, seen, 1 / sd))  # one pass


def _counts(name: str, batch: CellBatch) -> Tensor | None:
    """Which readings of a modality count, shape (cell, 1 or feature); None if all do."""
    there = batch.observed[name][:, None]
    if name in batch.hidden:
        return there & ~batch.hidden[name]
    return None if bool(there.all()) else there


def _present(name: str, batch: CellBatch) -> Tensor:
    """Whether any reading of a modality counts, shape (cell,)."""
    there = batch.observed[name]
    return there & ~batch.hidden[name].all(1) if name in batch.hidden else there


def _only(counts: Tensor | None, values: Tensor) -> Tensor:
    """Values that count, 0 for others, whatever stands there."""
    return values if counts is None else torch.where(counts, values, 0.0)


def _graph_frame(parameters: ParameterTable, theta: Tensor) -> pd.DataFrame:
    """Parameters of the graph with the columns of shared ones."""
    value = parameters.flat(theta)[0].detach().cpu().numpy()
    frame = parameters.frame()
    mean = [np.broadcast_to(np.asarray(block.mean, dtype=float), len(block)) for block in parameters.blocks]
    columns = (
        frame["parameterId"],
        frame["parameterName"],
        frame["parameterScale"],
        value,
        np.concatenate(mean),
        parameters.prior_sd,
        frame["unit"],
        frame["role"],
    )
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
