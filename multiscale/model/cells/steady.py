"""Cells at the steady state of their reactions: each has starts of its own, scaled per molecule.

A cell has ln T of every molecule relative to the start that the graph states: all forms of that molecule
alone start T-fold, and then its condition changes them. Totals that reactions conserve make cells differ at
rest; a molecule that is made and lost rests where its rates say, whatever its start, and has none.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multiscale.data import Contexts, Interventions
from multiscale.graph import Graph
from multiscale.model.blocks import parameter_table
from multiscale.model.cells.interventions import Changes
from multiscale.model.cells.inventory import Inventory
from multiscale.model.cells.physics import CellPhysics, posed
from multiscale.model.cells.state import CellState
from multiscale.model.kinetics.conditions import own_forms
from multiscale.model.kinetics.dynamics import Dynamics
from multiscale.model.kinetics.starts import Setting, Settings
from multiscale.model.problem import Problem
from multiscale.solver import Status
from multiscale.solver.steady import steady_state

__all__ = ["SteadyCells"]

RTOL = 1e-10
"""Relative tolerance of steady states."""


class SteadyCells(CellPhysics):
    """Cells at steady state; `ln_total` is ln fold of the start.

    Args:
        graph: the network, with reactions.
        contexts: conditions.
        interventions: on them.
        temperature: K.
        device: where to compute.
    """

    def __init__(
        self,
        graph: Graph,
        contexts: Contexts,
        interventions: Interventions,
        temperature: float,
        device: torch.device,
    ) -> None:
        problem = posed(graph, contexts.with_interventions(interventions), "steady_state", temperature)
        dynamics = problem.dynamics
        assert isinstance(dynamics, Dynamics)
        parameters = parameter_table(problem, device)
        self._kinetics = dynamics.kinetics.to(device)
        self._settings = Settings(problem, dynamics, self._kinetics, parameters)
        self._resolution, species = problem.resolution, self._kinetics.species
        conditions = dynamics.conditions
        planned = [*conditions.starts, *conditions.held]
        self._changes = Changes(planned, species, len(contexts.names), device)
        forms = _scaled(problem, dynamics)
        others = [name for name in problem.network.molecules if name not in forms]
        inventory = Inventory(problem, [*forms, *others], device)
        super().__init__(parameters, inventory, torch.zeros(len(forms), dtype=torch.float64, device=device))
        owner = {name: i for i, names in enumerate(forms.values()) for name in names}
        self._owner = torch.tensor([owner.get(name, len(forms)) for name in species], device=device)
        column = {name: i for i, name in enumerate(species)}
        self._column = torch.tensor([column.get(name, -1) for name in self.species], device=device)

    def __call__(
        self, theta: Tensor, ln_total: Tensor, condition: Tensor, warm: Tensor | None = None
    ) -> CellState:
        """Solve some cells; see `CellPhysics`."""
        setting = self._settings(self.parameters.unpack(theta), theta.new_zeros(1, 0))
        begin, legal = self._started(ln_total, setting, condition)
        legal = legal & setting.p[0].detach().isfinite().all(-1)[condition]
        rows = legal.nonzero()[:, 0]
        status = torch.full_like(condition, Status.NOT_FINITE)
        rest = torch.full_like(begin, torch.nan).detach()
        x = torch.ones(len(begin), len(self._owner), dtype=torch.float64, device=begin.device)
        if len(rows):
            p = setting.p[0][condition[rows]]
            found, ended = self._rested(begin[rows], p, None if warm is None else warm[rows])
            status = status.index_copy(0, rows, ended)
            good = ended <= Status.ROUNDING
            x = x.index_copy(0, rows[good], self._kinetics.concentrations(found[good], p[good]))
            rest = rest.index_copy(0, rows[good], found[good].detach())
        known = torch.where(self._column >= 0, x[:, self._column.clamp(min=0)], setting.idle)
        ln_x = known.clamp(min=self._resolution).log()  # the solver tells no less from zero
        return self._state(ln_x, condition, rest, status)

    def _started(self, ln_total: Tensor, setting: Setting, condition: Tensor) -> tuple[Tensor, Tensor]:
        """States at the start, finite, (cell, size), and which cells are legal, (cell,)."""
        legal = ln_total.detach().exp().isfinite().all(-1)
        fold = torch.where(legal[:, None], ln_total, 0.0).exp()
        fold = torch.nn.functional.pad(fold, (0, 1), value=1.0)[:, self._owner]
        before = setting.before[0][condition] * fold
        x0 = self._changes(before, setting.linear, condition)
        fine = (x0.detach().isfinite() & (x0.detach() >= 0)).all(-1)
        return self._kinetics.state(torch.where(fine[:, None], x0, 1.0)), legal & fine

    def _rested(self, begin: Tensor, p: Tensor, warm: Tensor | None) -> tuple[Tensor, Tensor]:
        """Where legal cells come to rest, (cell, size), and how that ended, (cell,)."""
        L, near = self._kinetics.state_moieties, begin.detach()
        if warm is not None:
            near = torch.where(warm.isfinite().all(-1, keepdim=True), self._moved(warm, near), near)
        found = steady_state(self._kinetics.system, near, p, moieties=L, totals=begin @ L.T, rtol=RTOL)
        return found.x, found.status

    def _moved(self, warm: Tensor, begin: Tensor) -> Tensor:
        """Earlier states, all their species scaled by as much as the totals they are part of have changed."""
        L = self._kinetics.state_moieties
        warm = warm.clamp(min=0)  # rest may stand within −atol; a start may not
        had, wanted = warm @ L.T, begin @ L.T
        ln_fold = torch.where((had > 0) & (wanted > 0), (wanted / had).log(), 0.0)
        member = (L != 0).to(L)
        return warm * (ln_fold @ (member / member.sum(0).clamp(min=1))).exp()


def _scaled(problem: Problem, dynamics: Dynamics) -> dict[str, list[str]]:
    """Molecules whose amount is conserved and starts above zero, with the species that hold nothing else."""
    graph, kinetics = problem.graph, dynamics.kinetics
    conserved = (kinetics.moieties != 0).any(0).tolist()
    kept = {name for name, flag in zip(kinetics.species, conserved, strict=True) if flag}
    starts = {
        name: str(table.at[name, "initial"])
        for table in (graph.nodes["molecule"], graph.nodes["complex"])
        for name in table.index
    }
    forms = {}
    for name in problem.network.molecules:
        own = [
            form for form in [name, *own_forms(graph, name)] if form in kept and form not in kinetics.inputs
        ]
        if any(_begins(starts[form]) for form in own):
            forms[name] = own
    return forms


def _begins(text: str) -> bool:
    """Whether a species starts above zero: by a number, or by a parameter."""
    try:
        return float(text or "0") != 0
    except ValueError:
        return True
