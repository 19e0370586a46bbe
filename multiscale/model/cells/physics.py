"""Physics of single cells: what all cells share, and the totals of each, set its species."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import pandas as pd
import torch
from torch import Tensor

from multiscale.data import Contexts, Data, Interventions, group_contexts
from multiscale.errors import DataError, nearest
from multiscale.graph import Graph
from multiscale.model.cells.inventory import Inventory
from multiscale.model.cells.readouts import Readouts
from multiscale.model.cells.state import CellState
from multiscale.model.parameters import ParameterTable
from multiscale.model.problem import Problem
from multiscale.solver import Status

__all__ = ["CellPhysics", "make_physics"]


class CellPhysics(ABC):
    """Species of many cells at once; the batch axis is the cell. Made by `make_physics`.

    Cells that cannot be solved are told by `CellState.status`; their values are finite, mean nothing, and
    pass no gradient to anything.

    Args:
        parameters: of the graph.
        inventory: counts molecules: those with a total per cell first, in the order of `molecules`.
        start: of `ln_total`, shape (molecule,).

    Attributes:
        molecules: names of the molecules that have a total per cell.
        counted: names of all molecules, those of `molecules` first: the columns of `CellState.ln_total` and
            `CellState.ln_surface`.
        species: names of all species: the columns of `CellState.ln_x`.
        start: centre of the prior of `ln_total`, shape (molecule,).
        parameters: theta of the graph, which all cells share, with its priors.
        unique: whether parameters and totals leave one state only, so that it does not matter where a solver
            starts; a network of reactions may have several.
    """

    unique: ClassVar[bool] = False

    def __init__(self, parameters: ParameterTable, inventory: Inventory, start: Tensor) -> None:
        self.parameters, self.inventory, self.start = parameters, inventory, start
        self.counted, self.species = inventory.molecules, inventory.species
        self.molecules = self.counted[: len(start)]

    @abstractmethod
    def __call__(
        self, theta: Tensor, ln_total: Tensor, condition: Tensor, warm: Tensor | None = None
    ) -> CellState:
        """Solve some cells.

        Args:
            theta: parameters of the graph, shape (1, parameter).
            ln_total: what each cell has of every molecule before its condition changes that: ln copies at
                equilibrium; ln fold of the start that the graph states at steady state; −inf for a molecule
                that is absent; shape (cell, molecule).
            condition: of every cell, int64, shape (cell,).
            warm: of earlier, similar states of the same cells; NaN where there is none.
        """

    def readouts(self, names: Sequence[str], reads: str, *, strict: bool = True) -> Readouts:
        """How to read some quantities of a state; see `Readouts`.

        Raises:
            DataError: a name is unknown or cannot be read.
        """
        return Readouts(self.inventory, names, reads, strict=strict)

    def _state(self, ln_x: Tensor, condition: Tensor, warm: Tensor, status: Tensor) -> CellState:
        """The state of cells from their concentrations; what failed gets values that no gradient reaches."""
        solved = (status <= Status.ROUNDING)[:, None]
        ln_x = torch.where(solved, ln_x, 0.0) if bool(solved.any()) else torch.zeros_like(ln_x)
        ln_total, ln_surface = self.inventory.counted(ln_x, condition)
        return CellState(ln_x, ln_total, ln_surface, torch.where(solved, warm.detach(), torch.nan), status)


def make_physics(
    graph: Graph,
    regime: str,
    conditions: Sequence[str],
    interventions: Interventions | None = None,
    temperature: float = 310.15,
    device: str | torch.device = "cpu",
    *,
    covariates: pd.DataFrame | None = None,
) -> CellPhysics:
    """Physics of the cells of some conditions on a graph.

    Args:
        graph: the network.
        regime: `equilibrium` (binding) or `steady_state` (reactions).
        conditions: names.
        interventions: what was done to cells of a condition; its contexts are conditions.
        temperature: K.
        device: where to compute.
        covariates: columns `context` (the condition) and `volume_fL`; by default all cells have the volume
            that the graph's card states.

    Raises:
        GraphError: the graph is inconsistent, or lacks what the regime needs.
        DataError: regime, conditions or interventions are wrong or do not fit the graph.
    """
    from multiscale.model.cells.equilibrium import EquilibriumCells
    from multiscale.model.cells.steady import SteadyCells

    regimes = {"equilibrium": EquilibriumCells, "steady_state": SteadyCells}
    if regime not in regimes:
        raise DataError(f"`regime` of single cells is `{regime}`; {nearest(regime, regimes)}")
    contexts = group_contexts(conditions)
    if covariates is not None:
        contexts = contexts.with_covariates(covariates)
    done = interventions if interventions is not None else Interventions()
    done.check_contexts(contexts.names)
    return regimes[regime](graph, contexts, done, temperature, torch.device(device))


def posed(graph: Graph, contexts: Contexts, regime: str, temperature: float) -> Problem:
    """Conditions as contexts of a problem that measures nothing."""
    return Problem(graph, Data(contexts, {}), regime=regime, temperature=temperature)
