"""Signals of one modality: read of physics, of loadings of molecules, or of the latent state."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from multiscale.model.cells.matching import Readout
from multiscale.model.cells.physics import CellPhysics
from multiscale.model.cells.problem import CellProblem
from multiscale.model.cells.readouts import Readouts
from multiscale.model.cells.shared import Shared, by_batch
from multiscale.model.cells.signal_groups import SignalGroups
from multiscale.model.cells.state import CellState
from multiscale.model.cells.totals import LOADING

__all__ = ["Signals"]


class Signals:
    """Ln signals and heads of one modality as functions of latent state and physical state.

    Features outside the graph: ln signal = b_g + W_g·z + shift of the batch.
    Transcripts of molecules of the graph: the same with W_t = L_m + Δ_t, L_m the loadings of the molecule, or
    the mean of several. All else that the graph has: ln signal = scale_f + ln (copies or µM) + shift of the
    batch; what the latent state does to it goes through the physics. Heads, such as the ln odds that a cell
    shows background alone, are h_g + V_g·z, of features of the graph + d_f ln(1 + signal / typical signal).

    Args:
        problem: graph, cells and priors.
        name: of the modality.
        loading: where the decoder's loadings begin, shape (feature, latent).
        physics: of the graph, on the device; None without a graph.
        typical: state of one typical cell, and its condition, shape (1,); None without a graph.
        device: where to compute.
        dtype: of signals.

    Attributes:
        channel: how the signals are read.
        groups: parameters.
        typical: ln signal of a typical cell, the constant `<modality> typical`, shape (feature,).
    """

    def __init__(
        self,
        problem: CellProblem,
        name: str,
        loading: np.ndarray,
        physics: CellPhysics | None,
        typical: tuple[CellState, Tensor] | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.name, self.dtype, self._latent = name, dtype, problem.latent
        modality, reading = problem.cells.modalities[name], problem.readings[name]
        summary = problem.summary(name)
        self.channel, self.unknowns = modality.channel, modality.channel.unknowns(summary)
        start = np.asarray(self.channel.start(summary), dtype=float)
        names = SignalGroups(modality, reading, problem.priors, problem.latent, problem.cells.batch.names)

        def tensor(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, device=device)

        self._readouts = _readouts(reading.physical, physics)
        self._physical, self._free = tensor(names.physical), tensor(names.free)
        self._decoded, self._matched = tensor(reading.decoded), tensor(names.matched)
        linked = reading.linked
        self._linked = None if linked is None else (tensor(linked.position), tensor(linked.weight))
        self.typical, self._count = start, len(start)
        offset = _offsets(self._readouts, start[names.physical], typical)
        signals = names.of_signals(start, offset, loading)
        self.groups = [*signals, *names.of_heads(), *names.of_unknowns(self.unknowns)]

    def signals(
        self, shared: Shared, z: Tensor, state: CellState | None, batch: Tensor, condition: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Ln signal, shape (cell, feature), and heads, shape (cell, feature, head).

        Args:
            shared: values of the groups.
            z: latent states, shape (cell, latent).
            state: physical state of the cells; None without a graph.
            batch: of every cell, −1 where it is not one of the fit.
            condition: of every cell.
        """
        z = z.to(self.dtype)
        of_z, slopes = z, self._loadings(shared)
        if (
            self._name("batch") in shared
        ):  # shifts are loadings of indicators: no further pass over all features
            shift = shared[self._name("batch")]
            of_z, slopes = (
                torch.cat([z, _indicator(batch, z, len(shift))], 1),
                torch.cat([slopes, shift.T], 1),
            )
        ln_signal = torch.addmm(self._baseline(shared), of_z, slopes.T)
        if state is not None and self._readouts is not None:
            quantity = self._readouts(state, condition).to(self.dtype)
            ln_signal = ln_signal.index_add(1, self._physical, quantity)
        return ln_signal, self._heads(shared, z, ln_signal)

    def values(self, shared: Shared, batch: Tensor) -> dict[str, Tensor]:
        """Noise and backgrounds by name, (feature,) or (cell, feature); unknown batches get the mean."""
        found = {}
        for unknown in self.unknowns:
            value = shared[self._name(unknown.name)]
            found[unknown.name] = value if value.ndim == 1 else by_batch(value, batch, value.mean(0))
        return found

    def _name(self, part: str) -> str:
        return f"{self.name} {part}"

    def _baseline(self, shared: Shared) -> Tensor:
        """Baselines and scales in the order of features."""
        if not len(self._physical):
            return shared[self._name("baseline")]
        if not len(self._free):
            return shared[self._name("scale")]
        scale = shared[self._name("scale")]
        full = scale.new_zeros(self._count).index_copy(0, self._free, shared[self._name("baseline")])
        return full.index_copy(0, self._physical, scale)

    def _loadings(self, shared: Shared) -> Tensor:
        """Loadings in the order of features; 0 for those that read physics."""
        full = self._free.new_zeros(self._count, self._latent, dtype=self.dtype)
        if len(self._decoded):
            own = shared[self._name("loading")]
            full = own if len(own) == len(full) else full.index_copy(0, self._decoded, own)
        if self._linked is None:
            return full
        position, weight = self._linked
        linked = (weight @ shared[LOADING]).to(self.dtype) + shared[self._name("link")]
        return full.index_copy(0, position, linked)

    def _heads(self, shared: Shared, z: Tensor, ln_signal: Tensor) -> Tensor:
        if not self.channel.heads:
            return ln_signal.new_zeros(*ln_signal.shape, 0)
        loading = shared[self._name("head loading")]
        heads = shared[self._name("head")] + torch.einsum("fhk,nk->nfh", loading, z)
        if len(self._matched):
            typical = shared.constant(self._name("typical"))[self._matched]
            relative = softplus(ln_signal[:, self._matched] - typical)
            seen = relative[..., None] * shared[self._name("head slope")]
            heads = heads.index_add(1, self._matched, seen)
        return heads


def _indicator(batch: Tensor, like: Tensor, batches: int) -> Tensor:
    """1 for the batch of every cell, nowhere for −1, shape (cell, batch)."""
    return (batch[:, None] == torch.arange(batches, device=batch.device)).to(like.dtype)


def _readouts(physical: Readout | None, physics: CellPhysics | None) -> Readouts | None:
    """Reads of the state what features read; the total of what never lies on a membrane."""
    if physical is None or physics is None:
        return None
    return physics.readouts(physical.names, physical.kind, strict=False)


def _offsets(
    readouts: Readouts | None, start: np.ndarray, typical: tuple[CellState, Tensor] | None
) -> np.ndarray:
    """Ln of typical signals over quantities of a typical cell, NaN where there are none, shape (feature,)."""
    if readouts is None or typical is None or not bool(typical[0].solved.all()):
        return np.full(len(start), np.nan)
    value = readouts(*typical)[0].cpu().numpy()
    return np.where(np.isfinite(value), start - np.where(np.isfinite(value), value, 0.0), np.nan)
