"""State at binding equilibrium: transcripts → supply → concentrations, with faster loss of orphans."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multiscale.model.graph_values import GraphValues
from multiscale.model.parameters import ParameterTable
from multiscale.model.problem import Problem
from multiscale.model.state import State
from multiscale.passing.messages import translate
from multiscale.physics.energy import ln_weight
from multiscale.physics.scales import ln_concentration, ln_sum
from multiscale.solver import Status, equilibrium
from multiscale.solver.options import Solver
from multiscale.units import MOLECULES_PER_UM_FL

__all__ = ["EquilibriumState"]


class EquilibriumState:
    """Makes states of regime `equilibrium`.

    Args:
        problem: the checked problem.
        parameters: its parameters, on the device on which states live.
        solver: of no use here, where nothing is integrated.
    """

    twice_differentiable = True

    def __init__(self, problem: Problem, parameters: ParameterTable, solver: Solver) -> None:
        self._problem, self._device = problem, parameters.device
        network = problem.network
        self._formula = torch.as_tensor(network.formula, device=self._device)
        self._counts = self._tensor(network.formula)
        self._surface = self._tensor(network.formula * network.surface)
        self._visible = self._surface.any(1)
        self._subunits = self._tensor(network.formula.sum(0))
        within = len(network.species)
        self._ln_statistical_factor = self._tensor(np.log(network.statistical_factor[:within]))
        self._crowding = self._tensor(network.crowding)
        self._volume = self._tensor(problem.volume_fL)
        edges = np.array(np.nonzero(network.encodes))[::-1].copy()
        self._encodes = torch.as_tensor(edges, device=self._device)
        self._absent = torch.as_tensor(~network.encodes.any(1), device=self._device)
        self._loss = GraphValues(problem.graph, "loss", network.losses, self._device)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=float), device=self._device)

    def __call__(self, values: dict[str, Tensor], g: Tensor, warm: Tensor | None = None) -> State:
        """Solve the equilibria of all contexts.

        Args:
            values: parameters per block.
            g: energies of all species, kcal/mol, (start, species).
            warm: multipliers of an earlier, similar state.
        """
        nothing = g.new_zeros(len(g), len(self._volume), 0)
        ln_level = values.get("level", nothing)
        ln_supply = self._supply(values, ln_level, values["translation_mean"] + values["translation"])
        ln_loss = self._loss(values)
        within = len(self._crowding)
        weight = ln_weight(
            g[:, :within], self._subunits, self._ln_statistical_factor, self._problem.temperature
        )
        weight = weight + (1 - self._subunits) * self._crowding + ln_loss
        supplied = ln_concentration(ln_supply, self._volume).exp()
        # The solver refuses what floating point cannot hold; such a start is marked failed, not an error.
        legal = (supplied.isfinite().all(-1) & weight.isfinite().all(-1, keepdim=True))[..., None]
        solved = equilibrium(
            self._formula,
            torch.where(legal, weight[:, None], 0.0),
            torch.where(legal, supplied, 1.0),
            start=warm,
        )
        ln_x = solved.ln_x - ln_loss[:, None]
        per_cell = (MOLECULES_PER_UM_FL * self._volume).log()[:, None]
        return State(
            values=values,
            g=g,
            ln_level=ln_level,
            ln_supply=ln_supply,
            ln_x=ln_x,
            ln_total=ln_sum(ln_x, self._counts) + per_cell,
            ln_surface=self._ln_surface(ln_x) + per_cell,
            x=(ln_x - self._crowding).exp()[:, :, None],
            warm=solved.multipliers.detach(),
            status=torch.where(legal[..., 0], solved.status, Status.NOT_CONVERGED),
        )

    def _supply(self, values: dict[str, Tensor], ln_level: Tensor, ln_translation: Tensor) -> Tensor:
        supplied = translate(ln_level, ln_translation[:, None], self._encodes)
        if "supply" not in values:
            return supplied
        return supplied.masked_scatter(self._absent.expand_as(supplied), values["supply"])

    def _ln_surface(self, ln_x: Tensor) -> Tensor:
        empty = torch.full(
            (*ln_x.shape[:2], len(self._visible)), -torch.inf, dtype=ln_x.dtype, device=self._device
        )
        return empty.index_copy(2, self._visible.nonzero()[:, 0], ln_sum(ln_x, self._surface[self._visible]))
