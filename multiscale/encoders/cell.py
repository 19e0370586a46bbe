"""Posteriors of latent states of cells: one network per modality, multiplied as experts; or free values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["CellEncoder", "FreePosterior", "ModalityEncoder", "product_of_experts"]


def product_of_experts(
    means: list[Tensor], ln_precisions: list[Tensor], present: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Product of normal experts with the prior N(0, I): Λ = 1 + Σ_m τ_m, μ = Σ_m τ_m μ_m / Λ.

    Args:
        means: μ_m of every expert, shape (cell, latent).
        ln_precisions: ln τ_m, same shape.
        present: whether an expert has something to say, bool, shape (cell,); others drop out.

    Returns:
        mean and ln standard deviation −½ ln Λ, shape (cell, latent).

    Source: Wu & Goodman 2018, Multimodal generative models for scalable weakly-supervised learning,
    arXiv:1802.05335.

    >>> import torch
    >>> mean, ln_sd = product_of_experts([torch.tensor([[2.0]])], [torch.zeros(1, 1)], [torch.tensor([True])])
    >>> float(mean), round(float(ln_sd.exp() ** 2), 6)
    (1.0, 0.5)
    """
    total, weighted = torch.ones_like(means[0]), torch.zeros_like(means[0])
    for mean, ln_precision, here in zip(means, ln_precisions, present, strict=True):
        precision = torch.where(here[:, None], ln_precision, -torch.inf).exp()
        total, weighted = total + precision, weighted + precision * mean
    return weighted / total, -0.5 * total.log()


class ModalityEncoder(nn.Module):
    """Readings of one modality → mean and ln precision of its expert.

    Hidden layers are linear, layer norm and SiLU; normalisation is within a cell, so that other cells of a
    minibatch have no effect.

    Args:
        features: of the modality.
        labels: numbers of labels of each kind (batches, conditions) that shift the first layer; they start
            without effect.
        latent: dimensions of the latent state.
        hidden: width.
        layers: hidden layers.

    Attributes:
        mixed: whether matrices are multiplied in bfloat16; the result has the type of the readings.
    """

    mixed = False

    def __init__(self, features: int, labels: tuple[int, ...], latent: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, hidden)
        self.shifts = nn.ParameterList([nn.Parameter(torch.zeros(count, hidden)) for count in labels])
        sizes = [hidden] * layers
        later = [part for a, b in pairwise(sizes) for part in (nn.LayerNorm(a), nn.SiLU(), nn.Linear(a, b))]
        self.rest = nn.Sequential(*later, nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent))

    def forward(self, seen: Tensor, labels: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Mean and ln precision, shape (cell, latent); a label of −1 shifts nothing."""
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=self.mixed):
            value = self.first(seen)
            for shift, label in zip(self.shifts, labels, strict=True):
                value = value + torch.where((label >= 0)[:, None], shift[label.clamp(min=0)], 0.0)
            value = self.rest(value)
        mean, ln_precision = value.to(seen.dtype).chunk(2, dim=-1)
        return mean, ln_precision


class CellEncoder(nn.Module):
    """Amortised posterior: what channels show of readings → mean and ln sd of the latent state.

    Args:
        features: number of features per modality.
        labels: numbers of labels of each kind that posteriors depend on; kinds with one label are left out.
        latent: dimensions of the latent state.
        hidden: width.
        layers: hidden layers.
        seed: of the first weights.
    """

    def __init__(
        self,
        features: Mapping[str, int],
        labels: tuple[int, ...],
        latent: int,
        *,
        hidden: int = 128,
        layers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.modalities = list(features)
        self._kept = [i for i, count in enumerate(labels) if count > 1]
        kept = tuple(labels[i] for i in self._kept)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.experts = nn.ModuleList(
                [ModalityEncoder(count, kept, latent, hidden, layers) for count in features.values()]
            )

    def forward(
        self, seen: Mapping[str, Tensor], present: Mapping[str, Tensor], labels: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Posterior of some cells.

        Args:
            seen: per modality, shape (cell, feature).
            present: per modality whether it has a say on a cell, shape (cell,).
            labels: of each kind, int64, shape (cell,).

        Returns:
            mean and ln sd, shape (cell, latent).
        """
        kept = tuple(labels[i] for i in self._kept)
        found = [expert(seen[name], kept) for name, expert in zip(self.modalities, self.experts, strict=True)]
        here = [present[name] for name in self.modalities]
        return product_of_experts([mean for mean, _ in found], [prec for _, prec in found], here)


class FreePosterior(nn.Module):
    """A mean and ln sd of its own for every cell.

    Args:
        mean: where training begins, shape (cell, latent).
        ln_sd: the same of ln standard deviations.
    """

    def __init__(self, mean: Tensor, ln_sd: Tensor) -> None:
        super().__init__()
        self.mean, self.ln_sd = nn.Parameter(mean.clone()), nn.Parameter(ln_sd.clone())

    def forward(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Those of some cells, by position, shape (cell, latent)."""
        return self.mean[index], self.ln_sd[index]
