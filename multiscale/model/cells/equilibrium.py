"""Cells at binding equilibrium: totals of each → concentrations, with faster loss of orphans, as of contexts.

A molecule that the graph declares `constant` is held at a free concentration c (a ligand or an antibody in a
medium that cells do not use up) and enters weights, ln w_j + A_hj ln c; its complexes are absent where c = 0.
One whose `initial` is 0 is there only where a condition puts it. All others have a total per cell.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from multiscale.data import Contexts, Interventions
from multiscale.graph import Graph
from multiscale.model.blocks import graph_block
from multiscale.model.cells.interventions import BindingChanges, Changes, plan_binding
from multiscale.model.cells.inventory import Inventory
from multiscale.model.cells.physics import CellPhysics, posed
from multiscale.model.cells.state import CellState
from multiscale.model.graph_values import GraphValues, LinearValues
from multiscale.model.kinetics.changes import Amount, Amounts
from multiscale.model.kinetics.starts import start_amount
from multiscale.model.parameters import ParameterTable
from multiscale.model.problem import Problem
from multiscale.physics.energy import ln_weight, species_energy
from multiscale.solver import Status, equilibrium

__all__ = ["EquilibriumCells"]

ROLES = {"energy": "lin", "loss": "ln", "confinement": "ln"}
"""Roles all of whose free parameters belong to an equilibrium, with the scales of their priors."""

VALUES = {"efficacy": "lin", "concentration": "ln", "ratio": "ln"}
"""The same of roles of which only those belong that interventions name."""


class _Part(NamedTuple):
    """Conditions in which the same held molecules are absent: what can form there.

    Args:
        conditions: whether each condition is one of them, (condition,).
        bound: positions of species that hold balanced molecules.
        given: positions of species of held molecules alone.
        formula: balanced molecules in `bound`, (molecule, species).
    """

    conditions: Tensor
    bound: Tensor
    given: Tensor
    formula: np.ndarray


class EquilibriumCells(CellPhysics):
    """Cells at binding equilibrium; `ln_total` is in ln copies.

    Args:
        graph: the network.
        contexts: conditions.
        interventions: on them.
        temperature: K.
        device: where to compute.
    """

    unique = True

    def __init__(
        self,
        graph: Graph,
        contexts: Contexts,
        interventions: Interventions,
        temperature: float,
        device: torch.device,
    ) -> None:
        problem = posed(graph, contexts, "equilibrium", temperature)
        network, names = problem.network, contexts.names
        self._problem, self._device = problem, device
        first = {name: _initial(problem, name) for name in network.molecules}
        constant = graph.nodes["molecule"]["constant"]
        self._held = [name for name in network.molecules if constant[name]]
        self._balanced = [name for name in network.molecules if not constant[name]]
        molecules = [name for name in self._balanced if first[name] != Amount(0.0)]
        changes = plan_binding(graph, network, self._held, interventions.table, names)
        parameters = _parameters(problem, changes, [first[name] for name in self._held], device)
        others = [name for name in network.molecules if name not in set(molecules)]
        inventory = Inventory(problem, [*molecules, *others], device)
        super().__init__(parameters, inventory, _start(problem, molecules, first, inventory))
        self._place = torch.tensor([self._balanced.index(name) for name in molecules], device=device).long()
        self._set_constants(problem, len(names))
        self._set_changes(problem, changes, first, len(names))

    def _set_constants(self, problem: Problem, conditions: int) -> None:
        """What does not depend on parameters."""
        network = problem.network
        row = {name: i for i, name in enumerate(network.molecules)}
        kept, held = ([row[name] for name in names] for names in (self._balanced, self._held))
        formula = network.formula
        self._subunits = self._tensor(formula.sum(0))
        self._balanced_subunits = self._tensor(formula[kept].sum(0))
        self._formula, self._held_counts = formula[kept], self._tensor(formula[held])
        self._ln_statistical_factor = self._tensor(np.log(network.statistical_factor[: len(network.species)]))
        self._crowding = self._tensor(network.crowding)
        self._own = self._crowding[kept]
        self._every = torch.arange(conditions, device=self._device)
        self._term_counts = self._tensor(network.term_counts[: len(network.species)])
        self._energy = GraphValues(problem.graph, "energy", network.terms, self._device)
        self._loss = GraphValues(problem.graph, "loss", network.losses, self._device)

    def _set_changes(
        self, problem: Problem, changes: BindingChanges, first: dict[str, Amount | None], conditions: int
    ) -> None:
        """What conditions change, and what can form in each."""
        device = self._device
        before = [first[name] or Amount(0.0) for name in self._held]
        values = [*changes.parameters, *(amount.parameter for amount in before if amount.parameter)]
        self._linear = LinearValues(problem.graph, values, self.parameters)
        self._before = Amounts(before, device)
        self._totals = Changes(changes.totals, self._balanced, conditions, device)
        self._concentrations = Changes(changes.held, self._held, conditions, device)
        self._energies = Changes(changes.energies, problem.network.terms, conditions, device)
        centre = torch.zeros(1, self.parameters.size, dtype=torch.float64, device=device)
        c = self._held_at(self._linear(self.parameters.unpack(centre))).detach()
        absent = [tuple(row) for row in (c == 0).tolist()]
        self._parts = [self._formed(pattern, absent) for pattern in dict.fromkeys(absent)]

    def _formed(self, pattern: tuple[bool, ...], absent: list[tuple[bool, ...]]) -> _Part:
        """What can form where some held molecules are absent."""
        conditions = torch.tensor([row == pattern for row in absent], device=self._device)
        missing = torch.tensor(pattern, dtype=torch.bool, device=self._device)
        possible = ~(self._held_counts[missing] > 0).any(0)
        balanced = self._balanced_subunits > 0
        bound, given = ((possible & flag).nonzero()[:, 0] for flag in (balanced, ~balanced))
        return _Part(conditions, bound, given, self._formula[:, bound.cpu().numpy()])

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=float), device=self._device)

    def __call__(
        self, theta: Tensor, ln_total: Tensor, condition: Tensor, warm: Tensor | None = None
    ) -> CellState:
        """Solve some cells; see `CellPhysics`."""
        values = self.parameters.unpack(theta)
        linear = self._linear(values)
        ln_loss = self._loss(values)
        weight = self._ln_weight(values, linear, ln_loss)
        weight = weight.expand(len(condition), -1) if len(weight) == 1 else weight[condition]
        totals, legal = self._supplied(ln_total, linear, condition)
        # The solver refuses what floating point cannot hold; such a cell is marked failed, not an error.
        legal = legal & weight.isfinite().all(-1)
        weight = torch.where(legal[:, None], weight, 0.0)
        totals = torch.where(legal[:, None], totals, 1.0)
        ln_y, multipliers, status = self._solved(weight, totals, condition, warm)
        status = torch.where(legal, status, Status.NOT_FINITE)
        return self._state(ln_y - ln_loss - self._crowding, condition, multipliers, status)

    def _ln_weight(self, values: dict[str, Tensor], linear: dict[str, Tensor], ln_loss: Tensor) -> Tensor:
        """Ln weights with crowding, loss and what is held, (1 or condition, species).

        Complexes of absent molecules have any weight: they are no species of their part.
        """
        terms = self._energy(values)
        if len(self._energies):
            terms = self._energies(terms[0], linear, self._every)
        g = species_energy(self._term_counts, terms)
        weight = ln_weight(g, self._subunits, self._ln_statistical_factor, self._problem.temperature)
        weight = weight + (1 - self._balanced_subunits) * self._crowding + ln_loss
        if not self._held:
            return weight
        c = self._held_at(linear)
        return weight + torch.where(c > 0, torch.where(c > 0, c, 1.0).log(), 0.0) @ self._held_counts

    def _held_at(self, linear: dict[str, Tensor]) -> Tensor:
        """Free concentrations of what is held, µM, (condition, molecule)."""
        if not self._held:
            return torch.zeros(len(self._every), 0, dtype=torch.float64, device=self._device)
        before = self._before(linear)[0].expand(len(self._every), -1)
        return self._concentrations(before, linear, self._every)

    def _supplied(
        self, ln_total: Tensor, linear: dict[str, Tensor], condition: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Totals of balanced molecules, µM of the cell, (cell, molecule); which cells are legal."""
        shift = self.inventory.ln_per_cell[condition, None] + self._own[self._place]
        ln_own = ln_total - shift
        legal = ln_own.detach().exp().isfinite().all(-1)
        own = torch.where(legal[:, None], ln_own, 0.0).exp()
        if len(self._place) < len(self._balanced):
            none = own.new_zeros(len(own), len(self._balanced))
            own = none.index_copy(1, self._place, own)
        totals = self._totals(own, linear, condition) * self._own.exp()
        return totals, legal & (totals.isfinite() & (totals >= 0)).all(-1)

    def _solved(
        self, weight: Tensor, totals: Tensor, condition: Tensor, warm: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Ln y, multipliers and status of all cells, part by part."""
        if len(self._parts) == 1 and len(self._parts[0].bound) == len(self._crowding):
            found = equilibrium(self._formula, weight, totals, start=warm)
            return found.ln_x, found.multipliers, found.status
        ln_y = torch.full_like(weight, -torch.inf)
        multipliers, status = torch.full_like(totals, torch.nan), torch.zeros_like(condition)
        for part in self._parts:
            rows = part.conditions[condition].nonzero()[:, 0]
            if len(rows) == 0:
                continue
            mine, near = weight[rows], None if warm is None else warm[rows]
            found = equilibrium(part.formula, mine[:, part.bound], totals[rows], start=near)
            ln_y = ln_y.index_put((rows[:, None], part.bound[None]), found.ln_x)
            ln_y = ln_y.index_put((rows[:, None], part.given[None]), mine[:, part.given])
            multipliers = multipliers.index_copy(0, rows, found.multipliers.detach())
            status = status.index_copy(0, rows, found.status)
        return ln_y, multipliers, status


def _initial(problem: Problem, name: str) -> Amount | None:
    """What the graph states of a molecule, µM in its compartment; None if it states nothing."""
    text = str(problem.graph.nodes["molecule"].at[name, "initial"])
    return start_amount(text, problem) if text else None


def _parameters(
    problem: Problem, changes: BindingChanges, held: list[Amount | None], device: torch.device
) -> ParameterTable:
    """Free parameters of the graph that an equilibrium and the interventions have."""
    needed = {*changes.parameters, *(amount.parameter for amount in held if amount)}
    blocks = [graph_block(problem.graph, role, scale) for role, scale in ROLES.items()]
    blocks += [graph_block(problem.graph, role, scale, needed) for role, scale in VALUES.items()]
    return ParameterTable([block for block in blocks if block is not None], device)


def _start(
    problem: Problem, molecules: list[str], first: dict[str, Amount | None], inventory: Inventory
) -> Tensor:
    """Ln copies of the graph's `initial` in a cell of the mean ln volume, else the prior's, (molecule,)."""
    network, table = problem.network, problem.graph.parameters["nominalValue"]
    share = dict(zip(network.molecules, network.crowding, strict=False))
    typical = float(inventory.ln_per_cell.mean())
    centre = []
    for name in molecules:
        amount = first[name]
        nominal = 0.0 if amount is None else amount.factor * float(table.get(amount.parameter, 1.0))
        known = np.isfinite(nominal) and nominal > 0
        centre.append(np.log(nominal) + share[name] + typical if known else problem.priors.supply[0])
    return torch.tensor(centre, dtype=torch.float64, device=inventory.ln_per_cell.device)
