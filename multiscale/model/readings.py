"""Log densities of measurement tables as functions of the state, with every index worked out once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.assays import Offset
from multiscale.model.parameters import ParameterTable
from multiscale.model.sums import SPECIES_READOUTS
from multiscale.model.terms import PROCESS_READOUTS, TableTerm
from multiscale.physics.energy import process_energy
from multiscale.physics.scales import ln_two_dimensional_Kd
from multiscale.units import kT

if TYPE_CHECKING:
    from multiscale.model.problem import Problem
    from multiscale.model.state import State

__all__ = ["TableReading"]

Values = dict[str, Tensor]
Gather = Callable[[Values], Tensor]


class TableReading:
    """One table: y ~ factor · readout(state) + offsets, fitted or given noise, censored where y is a bound.

    Args:
        term: entries and the positions that they read.
        parameters: table whose blocks hold offsets and noise.
        ln_statistical_factor: ln ω of all species.
        confinement: for every name of a confinement length, its ln from the unpacked values, shape (start,).
        problem: temperature, times, and how small concentrations are resolved.
    """

    def __init__(
        self,
        term: TableTerm,
        parameters: ParameterTable,
        ln_statistical_factor: Tensor,
        confinement: Callable[[str], Gather],
        problem: Problem,
    ) -> None:
        self.term, self.device, self.temperature = term, parameters.device, problem.temperature
        entries, assay = term.entries, term.table.assay
        self.y = self._tensor(entries["y"])
        self.censoring = torch.as_tensor(entries["censoring"].to_numpy(np.int64), device=self.device)
        self.given_sd = self._tensor(entries["sd"])
        self.offsets = self._shifts(assay.offsets(entries), parameters)
        self.factors = self._shifts(assay.factors(entries), parameters)
        noise = assay.noise(entries)
        name = f"{term.name} {noise.name}"
        self.noise_block = name if name in parameters else None
        self.noise_index = (
            self._positions(noise.keys, parameters[name].labels) if name in parameters else None
        )
        kinds = entries["readout"].to_numpy()
        self.rows = {kind: np.flatnonzero(kinds == kind) for kind in ("total", "surface", "transcript")}
        self.concentrations = np.flatnonzero(np.isin(kinds, SPECIES_READOUTS))
        self.sums, self.times = self._tensor(term.sums), problem.schedule.positions(term)
        self.logarithmic, self.resolution = assay.scale.startswith("ln "), problem.resolution
        self.processes = np.flatnonzero(np.isin(kinds, PROCESS_READOUTS))
        self.change = self._tensor(term.process[self.processes])
        self.ln_statistical_factor = ln_statistical_factor
        self.planar = {
            column: confinement(term.confinement[row])
            for column, row in enumerate(self.processes)
            if term.confinement[row]
        }

    def log_density(self, state: State) -> Tensor:
        """Log density of every entry, (start, entry)."""
        return self.term.table.assay.log_prob(self.y, self.location(state), self.noise(state), self.censoring)

    def location(self, state: State) -> Tensor:
        """Expected value of every entry on the assay's scale, (start, entry)."""
        location = self.readout(state)
        for name, index in self.factors:
            location = location * _gather(state.values[name], index).exp()
        for name, index in self.offsets:
            location = location + _gather(state.values[name], index)
        return location

    def noise(self, state: State) -> Tensor:
        """Standard deviation of every entry on the assay's scale, (start, entry)."""
        if self.noise_block is None or self.noise_index is None:
            return self.given_sd.expand(len(state.g), -1)
        fitted = _gather(state.values[self.noise_block], self.noise_index).exp()
        return torch.where(self.given_sd.isnan(), fitted, self.given_sd)

    def readout(self, state: State) -> Tensor:
        """Quantity of the state that every entry reads, (start, entry)."""
        sources = {"total": state.ln_total, "surface": state.ln_surface, "transcript": state.ln_level}
        parts, order = [], []
        for kind, rows in self.rows.items():
            if len(rows):
                parts.append(sources[kind][:, self.term.context[rows], self.term.target[rows]])
                order.append(rows)
        if len(self.concentrations):
            parts.append(self._concentration(state))
            order.append(self.concentrations)
        if len(self.processes):
            parts.append(self._process_readout(state))
            order.append(self.processes)
        back = torch.as_tensor(np.argsort(np.concatenate(order)), device=self.device)
        return torch.cat(parts, 1)[:, back]

    def _concentration(self, state: State) -> Tensor:
        """Sums of concentrations, or their ln; what is not resolved reads as the least that is."""
        rows = self.concentrations
        sums = state.x @ self.sums.T
        found = sums[:, self.term.context[rows], self.times[rows], self.term.sum_of[rows]]
        return found.clamp(min=self.resolution).log() if self.logarithmic else found

    def _shifts(self, offsets: Sequence[Offset], parameters: ParameterTable) -> list[tuple[str, Tensor]]:
        """Block of each offset, and the position of every entry's parameter in it."""
        blocks = {f"{self.term.name} {offset.name}": offset.keys for offset in offsets}
        return [
            (name, self._positions(keys, parameters[name].labels))
            for name, keys in blocks.items()
            if name in parameters
        ]

    def _process_readout(self, state: State) -> Tensor:
        energy = process_energy(state.g, self.change, self.ln_statistical_factor, self.temperature)
        if not self.planar:
            return energy
        columns = list(energy.unbind(1))
        for column, ln_confinement in self.planar.items():
            ln_h = ln_confinement(state.values)
            columns[column] = ln_two_dimensional_Kd(columns[column], ln_h, kT(self.temperature))
        return torch.stack(columns, 1)

    def _tensor(self, values: pd.Series | np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=float), device=self.device)

    def _positions(self, keys: pd.Series, labels: Sequence[str]) -> Tensor:
        """Position of each entry's key among labels, −1 where it is empty."""
        index = pd.Index(labels).get_indexer(keys.to_numpy())
        return torch.as_tensor(index, dtype=torch.int64, device=self.device)


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """Values at an index, zero where it is −1, (start, entry)."""
    return torch.where(index >= 0, values[:, index.clamp(min=0)], torch.zeros_like(values[:, :1]))
