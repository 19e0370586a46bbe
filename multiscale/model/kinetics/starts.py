"""Constants and starts of every context of a kinetic model, from parameters and interventions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from multiscale.model.graph_values import LinearValues
from multiscale.model.kinetics.changes import Amount, Amounts, Change
from multiscale.model.kinetics.conditions import Planned
from multiscale.model.kinetics.dynamics import Dynamics
from multiscale.model.kinetics.system import Kinetics
from multiscale.model.parameters import ParameterTable
from multiscale.model.problem import Problem
from multiscale.model.supply import Supply
from multiscale.units import to_uM

__all__ = ["Setting", "Settings", "start_amount"]

Values = dict[str, Tensor]


class Setting(NamedTuple):
    """What the contexts of all starts are before anything happens.

    Args:
        linear: parameters that contexts share, each (start, 1).
        p: constants, (start, context, constant).
        before: concentrations without interventions, µM, (start, context, species).
        idle: concentrations of species that no reaction touches, µM, (start, species).
    """

    linear: Values
    p: Tensor
    before: Tensor
    idle: Tensor


class Settings:
    """Finds constants and starts.

    Args:
        problem: of a kinetic regime.
        dynamics: of the problem.
        kinetics: on the device of the parameters.
        parameters: of the problem.
    """

    def __init__(
        self, problem: Problem, dynamics: Dynamics, kinetics: Kinetics, parameters: ParameterTable
    ) -> None:
        device = parameters.device
        self._kinetics, self._temperature = kinetics, problem.temperature
        self._contexts = len(problem.contexts)
        self._linear = LinearValues(problem.graph, dynamics.parameters, parameters)
        conditions = dynamics.conditions
        self._aliases = conditions.aliases
        self._constants = [(c.target, _change(c, device)) for c in conditions.constants]
        position = {name: i for i, name in enumerate(kinetics.species)}
        self._at_start, self._held = (
            [(position[c.target], _change(c, device)) for c in changes]
            for changes in (conditions.starts, conditions.held)
        )
        self._supply = Supply(problem, position, device) if problem.supplied else None
        self._abundant = torch.tensor([position[name] for name in dynamics.abundances], device=device).long()
        idle = [dynamics.idle.get(name, "0") for name in problem.network.species]
        self._idle = Amounts([start_amount(text, problem) for text in idle], device)
        names = {name: i for i, name in enumerate(problem.network.all_species)}
        self._energies = None
        if problem.energy_network is not None:
            columns = [names.get(name, len(names)) for name in kinetics.species]
            self._energies = torch.tensor(columns, device=device)

    def __call__(self, values: Values, g: Tensor) -> Setting:
        """Constants and starts from parameters per block and energies of all species, (start, species)."""
        linear = self._linear(values)
        constants = self._changed(linear)
        p = self._kinetics.values(constants, self._effective(linear, constants, g), self._temperature)
        count = len(g)
        before = self._expanded(self._kinetics.initial(constants), count)
        if self._supply is not None:
            before = self._supply.put(before, values)
        if "abundance" in values:
            fold = torch.ones_like(before).index_copy(2, self._abundant, values["abundance"].exp())
            before = before * fold
        return Setting(linear, self._expanded(p, count), before, self._idle(linear).expand(count, -1))

    def started(self, setting: Setting, before: Tensor) -> tuple[Tensor, Tensor]:
        """Concentrations at time 0, to which clamps return, and those with what is held from then on.

        Args:
            setting: of all contexts.
            before: concentrations without interventions, (start, context, species).
        """
        base = _apply(before, self._at_start, setting.linear)
        return base, _apply(base, self._held, setting.linear)

    def _expanded(self, found: Tensor, starts: int) -> Tensor:
        """Values of all starts and contexts."""
        return found.expand(starts, self._contexts, found.shape[-1])

    def _changed(self, linear: Values) -> Values:
        """Parameters of every context, (start, context) where they differ between contexts."""
        found = dict(linear)
        pending = list(self._constants)
        for name, change in pending:
            if name not in self._aliases:
                found[name] = change(_wide(found[name], self._contexts), linear)
        found |= {alias: found[name] for alias, name in self._aliases.items()}
        for name, change in pending:
            if name in self._aliases:
                found[name] = change(_wide(found[name], self._contexts), linear)
        return found

    def _effective(self, linear: Values, constants: Values, g: Tensor) -> Tensor:
        """Energies with what a network adds, and what contexts change, (start, 1 or context, species)."""
        own = self._kinetics.energies.values(constants)
        if self._energies is None:
            return own
        padded = torch.nn.functional.pad(g, (0, 1))[:, None, self._energies]
        return padded + own - self._kinetics.energies.values(linear)


def _wide(value: Tensor, contexts: int) -> Tensor:
    return value.expand(-1, contexts)


def _apply(x: Tensor, changes: list[tuple[int, Change]], linear: Mapping[str, Tensor]) -> Tensor:
    """Change species one after the other."""
    columns = list(x.unbind(-1))
    for species, change in changes:
        columns[species] = change(columns[species], linear)
    return torch.stack(torch.broadcast_tensors(*columns), -1) if changes else x


def _change(planned: Planned, device: torch.device) -> Change:
    return Change(planned.operation, list(planned.amounts), list(planned.amounts.values()), device)


def start_amount(text: str, problem: Problem) -> Amount:
    """Start of a species as the graph states it: a number in µM, or a parameter."""
    table = problem.graph.parameters
    return (
        Amount(to_uM(1.0, str(table.at[text, "unit"])), text) if text in table.index else Amount(float(text))
    )
