"""A small fully connected network from node features to energies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["DenseEnergy"]


class DenseEnergy(nn.Module):
    """Energy correction of each species from its features: g = E θ + net(features).

    A multilayer perceptron with tanh units; the last layer starts at zero, so that a fit begins with the
    physics alone. Detailed balance holds whatever it predicts, because it predicts one energy per species,
    never a rate.

    Args:
        features: number of features per species.
        hidden: widths of the hidden layers.
        seed: initial weights; the global random state is untouched.

    Shapes: (species, feature) → (species,), kcal/mol.
    """

    def __init__(self, features: int, hidden: Sequence[int] = (16,), seed: int = 0) -> None:
        super().__init__()
        widths = [features, *hidden]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = [nn.Linear(a, b, dtype=torch.float64) for a, b in pairwise([*widths, 1])]
        for parameter in layers[-1].parameters():
            nn.init.zeros_(parameter)
        between = [module for layer in layers[:-1] for module in (layer, nn.Tanh())]
        self.layers = nn.Sequential(*between, layers[-1])

    def forward(self, features: Tensor) -> Tensor:
        """Predict kcal/mol per species."""
        return self.layers(features).squeeze(-1)
