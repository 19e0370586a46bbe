"""The evidence lower bound of cells, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from multiscale.data.cells import CellBatch
    from multiscale.model.cells import Parts

__all__ = ["Tally", "loss"]


def loss(
    parts: Parts,
    log_prior: Tensor,
    *,
    kl_weight: float,
    total: int,
    cells: int,
    world: int,
    weight: Tensor | None = None,
) -> Tensor:
    """Negative evidence lower bound per cell; summed over processes it is that of the whole minibatch.

    −Σ_n v_n (Σ_modalities ln p(y_n | z_n) − w KL(q_n ‖ N(0, I))) / total − ln p(shared) / cells, where n runs
    over the cells whose network was solved; others have no gradient at all. The prior counts once over all
    processes.

    Args:
        parts: of this process's cells.
        log_prior: ln density of all shared parameters, shape ().
        kl_weight: w, 0 to 1.
        total: cells of the whole minibatch, over all processes.
        cells: cells that are fitted.
        world: number of processes.
        weight: v, shape (cell,); 1 if None.

    Returns:
        nats per cell, shape ().
    """
    bound = _density(parts) - kl_weight * parts.kl.sum(1)
    solved = torch.where(parts.failed, torch.zeros_like(bound), bound)
    solved = solved if weight is None else weight * solved
    return -solved.sum() / max(total, 1) - log_prior / (cells * world)


def _density(parts: Parts) -> Tensor:
    """Σ over modalities of the log density of every cell, float64, shape (cell,)."""
    found = torch.zeros(len(parts.failed), dtype=torch.float64, device=parts.kl.device)
    for density in parts.log_density.values():
        found = found + density
    return found


@dataclass
class Tally:
    """Sums over cells, from which a row of the history comes.

    Args:
        modalities: names.
        latent: dimensions of z.
        sums: see `of`, float64, shape (number,).
    """

    modalities: Sequence[str]
    latent: int
    sums: Tensor

    @classmethod
    def empty(cls, modalities: Sequence[str], latent: int, device: torch.device | str = "cpu") -> Tally:
        """Nothing counted yet."""
        size = 2 * len(modalities) + latent + 2
        return cls(list(modalities), latent, torch.zeros(size, dtype=torch.float64, device=device))

    def of(self, parts: Parts, batch: CellBatch, weight: Tensor | None = None) -> Tensor:
        """Sums of some cells: log densities and cells per modality, KL per dimension, solved, failed.

        Args:
            parts: of the cells.
            batch: says which modality measured which.
            weight: of every cell in all sums but the last, shape (cell,); 1 if None.
        """
        solved = ~parts.failed
        v = torch.ones_like(parts.kl[:, 0], dtype=torch.float64) if weight is None else weight
        columns = [torch.where(solved, parts.log_density[name], 0.0) for name in self.modalities]
        columns += [solved & batch.observed[name] for name in self.modalities]
        columns += list(torch.where(solved[:, None], parts.kl, 0.0).T)
        columns = [v * column.detach() for column in [*columns, solved]]
        return torch.stack([column.to(torch.float64).sum() for column in [*columns, parts.failed]])

    def add(self, sums: Tensor) -> None:
        """Count further cells."""
        self.sums = self.sums + sums

    @property
    def solved(self) -> float:
        """Cells that count."""
        return float(self.sums[-2])

    @property
    def failed(self) -> int:
        """Cells whose network was not solved."""
        return int(self.sums[-1])

    @property
    def kl(self) -> Tensor:
        """Mean KL per dimension, nats, shape (latent,)."""
        first = 2 * len(self.modalities)
        return self.sums[first : first + self.latent] / max(self.solved, 1.0)

    @property
    def log_densities(self) -> dict[str, float]:
        """Mean log density per modality, nats per cell that it measured; NaN where it measured none."""
        count = len(self.modalities)
        means = self.sums[:count] / self.sums[count : 2 * count]
        return dict(zip(self.modalities, means.tolist(), strict=True))

    @property
    def elbo(self) -> float:
        """Evidence lower bound with the full KL, nats per cell; −inf where no cell was solved."""
        if not self.solved:
            return float("-inf")
        return float(self.sums[: len(self.modalities)].sum()) / self.solved - float(self.kl.sum())
