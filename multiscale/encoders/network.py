"""Energies by a network over aligned sequences, whose last layer is a family of weights like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from multiscale.data import Readings
from multiscale.encoders.architectures import ARCHITECTURES, make_architecture
from multiscale.encoders.design import Dense, Design
from multiscale.encoders.encoder import Bound, Encoder, Weights
from multiscale.encoders.sites import Sites, check_positions, sites_of
from multiscale.errors import ConfigError, nearest

__all__ = ["BoundNetwork", "LetterFeatures", "Network"]

CHUNK = 8192  # rows whose hidden values are in memory at once outside training


@dataclass(frozen=True, kw_only=True)
class Network(Encoder):
    """A sequence s changes energy t by φ(s)·w_t, φ a small network that all terms share.

    φ(s) = (h(s) − h(wild type))/√hidden with h between −1 and 1. The network is trained by gradients; then φ
    is held and w_t is fitted like other weights, with intervals that hold for the φ found.

    Args:
        molecule: whose sequence is read.
        positions: numbers of the first and last position; None for all.
        kind: `dense`, `convolution` or `attention`.
        hidden: number of features.
        layers: of the network.
        epochs: passes over the rows in training.
        batch_size: rows per step of training.
        learning_rate: of training.
        weight_decay: share of the network's weights that a step of training takes off, per learning rate.
        patience: epochs without improvement on rows kept aside after which training ends.
        seed: of the first weights and the order of rows.
        state: trained weights of the network; None to start from the seed.
    """

    molecule: str
    positions: Sequence[int] | None = None
    kind: Literal["dense", "convolution", "attention"] = "dense"
    prior_sd: float | str = "learned"
    hidden: int = 32
    layers: int = 2
    epochs: int = 50
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    patience: int = 5
    seed: int = 0
    state: Mapping[str, Tensor] | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        check_positions(self.positions)
        if self.kind not in ARCHITECTURES:
            raise ConfigError(f"`kind` of network is `{self.kind}`; {nearest(self.kind, ARCHITECTURES)}")
        for name in ("hidden", "layers", "epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"`{name}` must be a positive whole number; got {value!r}.")
        if self.kind == "attention" and self.hidden % 2:
            raise ConfigError(f"`hidden` must be even for `attention`; got {self.hidden}.")
        if not (self.learning_rate > 0 and self.weight_decay >= 0):
            raise ConfigError(
                "`learning_rate` must be positive and `weight_decay` not negative; got"
                f" {self.learning_rate} and {self.weight_decay}."
            )

    def reads(self, readings: Readings) -> bool:
        """Whether they hold the molecule's sequence."""
        return self.molecule in readings.sequences

    def bind(self, readings: Sequence[Readings]) -> BoundNetwork:
        """Build the network for the sequences of these readings."""
        return BoundNetwork(self, sites_of(readings, self.molecule, self.positions))


class LetterFeatures(nn.Module):
    """φ(s) of aligned sequences: features of a network, relative to the wild type where there is one.

    Shapes: letters (row, position), any integers → (row, hidden), float64; float32 inside.

    Args:
        network: letters → values h between −1 and 1, shape (row, hidden).
        hidden: number of features.
        reference: letters of the wild type, shape (position,); None if there is none.
    """

    def __init__(self, network: nn.Module, hidden: int, reference: np.ndarray | None) -> None:
        super().__init__()
        self.network, self.hidden = network, hidden
        wild = None if reference is None else torch.from_numpy(reference.astype(np.int64))[None]
        self.register_buffer("wild", wild, persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Features of rows."""
        values = self.network(codes.long())
        if self._buffers["wild"] is not None:
            values = values - self.network(self.get_buffer("wild"))
        return values.double() / self.hidden**0.5


class BoundNetwork(Bound):
    """A network for the sequences of one molecule.

    Attributes:
        encoder: its options.
        module: inputs → features φ, shape (row, hidden), float64; to be trained.
        head: φ → one energy per term, kcal/mol, starts at zero; only for training, its weights are the
            families' afterwards.
    """

    def __init__(self, encoder: Network, sites: Sites) -> None:
        self.encoder, self.sites = encoder, sites
        network = make_architecture(
            encoder.kind, sites.length, len(sites.alphabet), encoder.hidden, encoder.layers, encoder.seed
        )
        self.module = LetterFeatures(network, encoder.hidden, sites.reference)
        if encoder.state is not None:
            self.module.load_state_dict(dict(encoder.state))
        with torch.random.fork_rng(devices=[]):  # the constructor draws weights, which are not used
            self.head = nn.Linear(encoder.hidden, len(encoder.terms), bias=False, dtype=torch.float64)
        nn.init.zeros_(self.head.weight)
        sd, learned = encoder.prior
        labels = [f"feature {i + 1}" for i in range(encoder.hidden)]
        seen = np.ones(encoder.hidden, dtype=bool)
        self.families = (Weights(name="features", labels=labels, sd=sd, learned=learned, seen=seen),)
        self.gauge = "" if sites.reference is None else "energies are relative to the wild type"

    def inputs(self, readings: Readings) -> Tensor:
        """Letters of rows, what `module` takes, int8, shape (row, position)."""
        return torch.from_numpy(np.ascontiguousarray(self.sites.of(readings).codes))

    def designs(self, readings: Readings) -> list[Design]:
        """Features of rows by the network as it is now; no gradient reaches the network."""
        device = next(self.module.parameters()).device
        training = self.module.training
        self.module.eval()
        with torch.no_grad():
            parts = [self.module(part.to(device)).cpu() for part in self.inputs(readings).split(CHUNK)]
        self.module.train(training)
        return [Dense(torch.cat(parts))]
