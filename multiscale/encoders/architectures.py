"""Small networks from aligned sequences to features: fully connected, convolution, attention."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["ARCHITECTURES", "Attention", "Convolution", "FullyConnected", "make_architecture"]


class FullyConnected(nn.Module):
    """h = tanh(W₂ ... tanh(Σ_p w[p, s_p] + b)): the first layer adds a vector per letter and position.

    Shapes: letters (row, position), int64 → (row, hidden).

    Args:
        length: positions.
        letters: size of the alphabet.
        hidden: width of every layer.
        layers: how many, at least 1.
    """

    def __init__(self, length: int, letters: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.register_buffer("offset", torch.arange(length) * letters, persistent=False)
        self.first = nn.EmbeddingBag(length * letters, hidden, mode="sum")
        nn.init.normal_(self.first.weight, std=length**-0.5)
        self.bias = nn.Parameter(torch.zeros(hidden))
        widths = [hidden] * layers
        self.rest = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, codes: Tensor) -> Tensor:
        """Features of sequences."""
        values = (self.first(codes + self.get_buffer("offset")) + self.bias).tanh()
        for layer in self.rest:
            values = layer(values).tanh()
        return values


class Convolution(nn.Module):
    """Windows of neighbouring letters, then a layer over all positions: h = tanh(W · flatten(x)).

    x ← x + tanh(window weights ∗ x) in every layer; x starts as a vector per letter.

    Shapes: letters (row, position), int64 → (row, hidden).

    Args:
        length: positions.
        letters: size of the alphabet.
        hidden: features; also channels at every position.
        layers: of windows, at least 1.
        window: positions in a window, odd.
    """

    def __init__(self, length: int, letters: int, hidden: int, layers: int, window: int = 5) -> None:
        super().__init__()
        self.letters = nn.Embedding(letters, hidden)
        self.windows = nn.ModuleList(
            nn.Conv1d(hidden, hidden, window, padding=window // 2) for _ in range(layers)
        )
        self.last = nn.Linear(length * hidden, hidden)

    def forward(self, codes: Tensor) -> Tensor:
        """Features of sequences."""
        values = self.letters(codes).transpose(1, 2)
        for layer in self.windows:
            values = values + layer(values).tanh()
        return self.last(values.flatten(1)).tanh()


class Attention(nn.Module):
    """Every position looks at all others (self-attention), then the mean over positions: h = tanh(W · mean
    x).

    Shapes: letters (row, position), int64 → (row, hidden).

    Args:
        length: positions.
        letters: size of the alphabet.
        hidden: features; also width at every position; even.
        layers: at least 1.

    Source: Vaswani et al. 2017, arXiv:1706.03762; normalisation first as in Xiong et al. 2020,
        arXiv:2002.04745.
    """

    def __init__(self, length: int, letters: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.letters = nn.Embedding(letters, hidden)
        self.positions = nn.Parameter(torch.randn(length, hidden))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                hidden, 2, 2 * hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.last = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden))

    def forward(self, codes: Tensor) -> Tensor:
        """Features of sequences."""
        values = self.letters(codes) + self.positions
        for layer in self.layers:
            values = layer(values)
        return self.last(values.mean(1)).tanh()


ARCHITECTURES: dict[str, type[FullyConnected] | type[Convolution] | type[Attention]] = {
    "dense": FullyConnected,
    "convolution": Convolution,
    "attention": Attention,
}
"""Networks over aligned sequences by name."""


def make_architecture(kind: str, length: int, letters: int, hidden: int, layers: int, seed: int) -> nn.Module:
    """Build a network whose first weights are drawn from a seed; the global random state is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[kind](length, letters, hidden, layers)
