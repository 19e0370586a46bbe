"""What would be: the same cells under another condition, or under interventions that nobody did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.data import Interventions
from multiscale.data.cells import CellBatch
from multiscale.errors import DataError, nearest
from multiscale.model.cells import CellModel, CellPhysics, CellState, make_physics

__all__ = ["World", "world"]

NEW = "counterfactual"
"""Name of a condition that the data lack; underscores are added if they have it."""


@dataclass(frozen=True, eq=False)
class World:
    """Physics in which cells are predicted.

    Args:
        model: the fitted one.
        physics: None without a graph.
        theta: parameters of the graph, shape (1, parameter).
        condition: of all cells; None = each its own.
    """

    model: CellModel
    physics: CellPhysics | None
    theta: Tensor
    condition: int | None

    def state(self, z: Tensor, batch: CellBatch, warm: Tensor | None = None) -> CellState | None:
        """Physical state of cells in this world; None without a graph.

        Args:
            z: latent states, shape (cell, latent).
            batch: whose batches and conditions count.
            warm: of earlier states of the same cells, shape (cell, number).
        """
        if self.physics is None:
            return None
        condition = batch.condition
        if self.condition is not None:
            condition = torch.full_like(condition, self.condition)
        return self.physics(self.theta, self.model.totals(z, batch.batch), condition, warm)

    def solved(
        self, z: Tensor, batch: CellBatch, warm: Tensor | None
    ) -> tuple[CellState | None, Tensor | None]:
        """State, and which cells were not solved; earlier states are used where they change no result."""
        if self.physics is None or not self.physics.unique:
            warm = None
        state = self.state(z, batch, warm)
        if state is not None and warm is not None and not bool(state.solved.all()):
            state = self.state(z, batch)
        return state, None if state is None else ~state.solved


def world(
    model: CellModel, condition: str | None, intervention: Interventions | pd.DataFrame | None
) -> World:
    """The world in which cells are predicted.

    Args:
        model: fitted.
        condition: of the fit, whose interventions hold for all cells; None = each cell's own, or, with
            `intervention`, none.
        intervention: what is done besides, see `data.Interventions`; the column `context` may be missing. A
            value that is a parameter which the fit did not know is at its prior.

    Raises:
        DataError: the condition is unknown, or interventions do not fit the graph, or there is no graph.
    """
    names = list(model.problem.cells.condition.names)
    if condition is not None and condition not in names:
        raise DataError(
            f"`condition` is `{condition}`, which the fit does not know; {nearest(condition, names)}"
        )
    if intervention is None:
        code = None if condition is None else names.index(condition)
        return World(model, model.physics, model.graph_theta.detach(), code)
    problem, old = model.problem, model.physics
    if problem.graph is None or old is None:
        raise DataError("`intervention` acts on a graph, and this fit has none.")
    name = NEW
    while name in names:
        name += "_"
    done = problem.cells.interventions
    device = model.graph_theta.device
    rows = _rows(done, condition, intervention, name)
    physics = make_physics(
        problem.graph, problem.regime, [*names, name], done.join(rows), problem.temperature, device
    )
    return World(model, physics, _theta(old, physics, model.graph_theta.detach()), len(names))


def _rows(
    done: Interventions, condition: str | None, intervention: Interventions | pd.DataFrame, name: str
) -> Interventions:
    """What is done in the new condition: all of a known one, then what is new."""
    if isinstance(intervention, pd.DataFrame):
        intervention = Interventions(intervention.assign(context=name), "intervention")
    known = done.take([] if condition is None else [condition])
    parts = [part.table for part in (known, intervention) if len(part)]
    if not parts:
        raise DataError("`intervention` has no row; leave it out, or say what is done.")
    return Interventions(pd.concat(parts, ignore_index=True).assign(context=name))


def _theta(old: CellPhysics, new: CellPhysics, theta: Tensor) -> Tensor:
    """Parameters by name; one that the fit did not know is where its prior begins."""
    position = {name: i for i, name in enumerate(old.parameters.names)}
    column = np.array([position.get(name, -1) for name in new.parameters.names], dtype=np.int64)
    chosen = torch.as_tensor(column, device=theta.device)
    return (
        torch.where(chosen >= 0, theta[:, chosen.clamp(min=0)], 0.0)
        if len(position)
        else (torch.zeros(1, len(column), dtype=theta.dtype, device=theta.device))
    )
