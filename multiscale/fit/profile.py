"""Profiles: how the best posterior rises as one parameter is moved and all others follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.errors import DataError, nearest
from multiscale.fit.laplace import Laplace
from multiscale.fit.objective import Posterior
from multiscale.fit.optimise import lbfgs

if TYPE_CHECKING:
    from multiscale.fit.result import Result
    from multiscale.model.parameters import ParameterTable

__all__ = ["follow", "profile"]

REACH = 3.0
"""A profile goes this many standard deviations of Laplace's approximation to either side."""


def profile(result: Result, names: Sequence[str], points: int = 15) -> pd.DataFrame:
    """Fix a parameter at values around its optimum and optimise all others again, for every value at once.

    The others start at their conditional means under Laplace's approximation and move in coordinates in which
    it is round, so that few steps are needed; the profile itself is that of the exact posterior. Where it
    rises by χ²₁(0.9)/2 = 1.353, the 90 % interval ends.

    Args:
        result: a fit.
        names: identifiers of parameters (column parameterId of the table of parameters).
        points: values per parameter over ±3 standard deviations; made odd, so that the optimum is one.

    Returns:
        columns parameterId, value (on the parameter's scale: lin, or ln), rise (negative log posterior above
        the optimum, nats; NaN where no equilibrium was found), prior_rise (the part of its own prior).

    Raises:
        DataError: a name is not a parameter, or the fit has no Laplace approximation.

    Source: Raue 2009, Bioinformatics 25:1923, doi:10.1093/bioinformatics/btp358.
    """
    if result.laplace is None:
        raise DataError("profiles start from Laplace's approximation, which this fit does not have.")

    def posterior_of(count: int) -> Posterior:
        used = result.posterior.used
        return Posterior(result.model, used=None if used is None else used.expand(count, -1))

    return follow(result.model.parameters, result.laplace.main, posterior_of, names, points)


def follow(
    parameters: ParameterTable,
    near: Laplace,
    posterior_of: Callable[[int], Callable[[Tensor, Tensor], Tensor]],
    names: Sequence[str],
    points: int = 15,
) -> pd.DataFrame:
    """Profile any posterior; see `profile`.

    Args:
        parameters: of the model.
        near: its approximation around one mode.
        posterior_of: gives the loss of that many rows of theta, a function of theta and their positions.
        names: identifiers of parameters.
        points: values per parameter.
    """
    for name in names:
        if name not in parameters.identifiers:
            raise DataError(f"no parameter is called `{name}`; {nearest(name, parameters.identifiers)}")
    grid = np.linspace(-REACH, REACH, points + 1 - points % 2)
    places = [parameters.identifiers.index(name) for name in names for _ in grid]
    index = torch.tensor(places, dtype=torch.int64, device=near.theta.device)
    steps = torch.as_tensor(np.tile(grid, len(names)), device=near.theta.device)
    theta, loss = _follow(posterior_of(len(index)), near, index, steps)
    with torch.no_grad():
        best = posterior_of(1)(near.theta, torch.zeros(1, dtype=torch.int64))
        prior, at_best = (parameters.log_priors(t) for t in (theta, near.theta))
        value = parameters.flat(theta)
    rows = torch.arange(len(index))
    return pd.DataFrame(
        {
            "parameterId": np.repeat(list(names), len(grid)),
            "value": value[rows, index].cpu().numpy(),
            "rise": torch.where(loss.isfinite(), loss - best, torch.nan).cpu().numpy(),
            "prior_rise": (at_best[0, index] - prior[rows, index]).cpu().numpy(),
        }
    )


def _follow(
    posterior: Callable[[Tensor, Tensor], Tensor], near: Laplace, index: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor]:
    """Best theta and its loss, with parameter `index` of every row held at its optimum + steps · sd."""
    slope = near.covariance[index] / near.covariance.diagonal()[index, None]
    centre = near.theta + (steps * near.sd[0, index])[:, None] * slope

    def theta(z: Tensor, rows: Tensor) -> Tensor:
        """Conditional mean + z in round coordinates − what would move the held parameter."""
        free = torch.linalg.solve_triangular(near.factor[0].T, z.T, upper=True).T
        return centre[rows] + free - free.gather(1, index[rows, None]) * slope[rows]

    def loss(z: Tensor, rows: Tensor) -> Tensor:
        return posterior(theta(z, rows), rows)

    found = lbfgs(loss, torch.zeros_like(centre), max_steps=200, change_tolerance=1e-4)
    return theta(found.theta, torch.arange(len(index), device=centre.device)), found.loss
