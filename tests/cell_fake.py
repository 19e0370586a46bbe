"""A linear normal model of cells with a closed form, in place of the physical one: y = W z + σ ε."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from multiscale.assays.channels import Channel
from multiscale.data.cells import CellBatch, Cells, Codes, InMemory, Modality
from multiscale.model.cells import Parts

SD = 0.5
"""Noise of every reading."""


@dataclass(frozen=True, kw_only=True)
class Plain(Channel):
    """Readings with normal noise of known sd."""

    kind = "plain"
    reads = ""

    def check(self, values, where, features, cells):
        """Everything is a reading."""

    def unknowns(self, summary):
        return []

    def start(self, summary):
        return summary.mean.mean(0)

    def log_density(self, y, ln_signal, heads, values, ln_size):
        return -0.5 * ((y - ln_signal) / SD) ** 2 - math.log(SD) - 0.5 * math.log(2 * math.pi)

    def expected(self, ln_signal, heads, values, ln_size):
        return ln_signal

    def draw(self, ln_signal, heads, values, ln_size, generator):
        return ln_signal + SD * torch.randn(ln_signal.shape, generator=generator, dtype=ln_signal.dtype)

    def seen(self, y, ln_size):
        return y


class FakeModel(nn.Module):
    """p(y | z) = N(W z, σ²), prior of W N(0, 1), posterior linear in y."""

    def __init__(
        self,
        problem: Any,
        device: Any = "cpu",
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
        anchor: int | None = None,
    ):
        super().__init__()
        self.problem, self.dtype, self.amortised, self.physics = problem, dtype, True, None
        part = problem.cells.modalities["rna"]
        noise = torch.randn(len(part.features), problem.latent, generator=torch.Generator().manual_seed(seed))
        self.loading = nn.Parameter(0.3 * noise.to(dtype))
        self.posterior = nn.Linear(len(part.features), problem.latent, dtype=dtype)
        self.posterior.bias.data.zero_()  # nothing is left to the global random state
        self.posterior.weight.data = 0.1 * noise.T.to(dtype)
        self.posterior_ln_sd = nn.Parameter(torch.zeros(problem.latent, dtype=dtype))
        self.fails: list[int] = []

    def encode(self, batch: CellBatch) -> tuple[Tensor, Tensor]:
        mean = self.posterior(batch.values["rna"])
        return mean, self.posterior_ln_sd.expand_as(mean)

    def log_prior(self) -> Tensor:
        return -0.5 * (self.loading.double() ** 2).sum()

    def parts(self, batch: CellBatch, noise: Tensor, warm: Tensor | None = None) -> Parts:
        mean, ln_sd = self.encode(batch)
        z = mean + ln_sd.exp() * noise
        channel = self.problem.cells.modalities["rna"].channel
        density = channel.log_density(batch.values["rna"], z @ self.loading.T, None, {}, None).sum(1)
        kl = 0.5 * (mean**2 + (2 * ln_sd).exp() - 1) - ln_sd
        failed = torch.isin(batch.index, torch.tensor(self.fails, dtype=torch.int64))
        return Parts({"rna": density}, kl, failed, mean)


def plain_cells(count: int = 200, features: int = 6, seed: int = 0) -> Cells:
    """Cells whose readings have two hidden dimensions."""
    rng = np.random.default_rng(seed)
    loading = rng.normal(size=(features, 2))
    values = rng.normal(size=(count, 2)) @ loading.T + SD * rng.normal(size=(count, features))
    obs = pd.DataFrame(index=pd.Index([f"cell{i}" for i in range(count)]))
    part = Modality(
        name="rna",
        channel=Plain(),
        features=tuple(f"f{i}" for i in range(features)),
        source=InMemory(values),
        columns=np.arange(features),
        rows=np.arange(count),
        size=np.ones(count),
    )
    one = Codes(("all",), np.zeros(count, dtype=np.int64))
    return Cells(obs, {"rna": part}, one, one)


def plain_problem(count: int = 200, latent: int = 2, seed: int = 0) -> Any:
    """What the training loop asks of a problem."""
    return SimpleNamespace(
        cells=plain_cells(count, seed=seed), latent=latent, graph=None, amortised=True, smooth=0.0
    )


def log_evidence(model: FakeModel, values: Tensor) -> Tensor:
    """ln N(y; 0, W Wᵀ + σ² I) of every cell: what no bound exceeds."""
    size = len(model.loading)
    loading = model.loading.detach().double()
    covariance = loading @ loading.T + SD**2 * torch.eye(size, dtype=torch.float64)
    zero = torch.zeros(size, dtype=torch.float64)
    return torch.distributions.MultivariateNormal(zero, covariance).log_prob(values.double())
