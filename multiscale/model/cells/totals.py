"""Totals of molecules in single cells: ln T = b + L·z + β of the batch."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from multiscale.model.cells.problem import CellProblem
from multiscale.model.cells.shared import Group, Shared, by_batch

__all__ = ["BASELINE", "BATCH", "LOADING", "ln_totals", "total_groups"]

BASELINE, LOADING, BATCH = "ln_total", "loading", "total_batch"
"""Names of the groups."""

UNITS = {"equilibrium": "copies", "steady_state": "fold of the start"}


def total_groups(problem: CellProblem, loading: np.ndarray) -> list[Group]:
    """Parameters of totals; none without a graph.

    Args:
        problem: graph, cells and priors.
        loading: where loadings begin, shape (molecule, latent).
    """
    if problem.physics is None or not problem.molecules:
        return []
    priors, batches = problem.priors, problem.cells.batch.names
    centre = problem.physics.start.detach().cpu().numpy()
    latent = [f"z{i + 1}" for i in range(problem.latent)]
    unit = UNITS[problem.regime]
    groups = [
        Group(
            name=BASELINE,
            axes=(problem.molecules,),
            mean=centre,
            sd=priors.total_sd,
            unit=unit,
            role="total",
            physical=True,
        ),
        Group(
            name=LOADING,
            axes=(problem.molecules, latent),
            mean=0.0,
            sd=priors.loading_sd / math.sqrt(problem.latent),
            start=loading,
            scale="lin",
            role="loading",
            physical=True,
        ),
    ]
    if len(batches) > 1:
        shift = Group(
            name=BATCH,
            axes=(batches, problem.molecules),
            mean=0.0,
            sd=priors.batch_sd,
            unit="fold",
            role="batch",
            physical=True,
        )
        groups.append(shift)
    return groups


def ln_totals(shared: Shared, z: Tensor, batch: Tensor) -> Tensor:
    """Ln totals of cells: ln T_nm = b_m + L_m·z_n + β_(batch n, m).

    Args:
        shared: with the groups of totals.
        z: latent states, shape (cell, latent).
        batch: of every cell, −1 where it is not one of the fit: the shift is then its prior mean, 0; (cell,).

    Returns:
        float64, shape (cell, molecule).
    """
    ln_total = shared[BASELINE] + z.double() @ shared[LOADING].T
    if BATCH not in shared:
        return ln_total
    shift = shared[BATCH]
    return ln_total + by_batch(shift, batch, shift.new_zeros(shift.shape[1]))
