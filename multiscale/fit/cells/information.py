"""How well cells determine the parameters of their graph: intervals from the scores of single cells.

At the optimum of the bound the score of cell n, g_n = E_q ∂ ln p(y_n | z, φ)/∂φ, has mean 0 up to the prior,
and Σ_n g_n g_nᵀ is the information that cells hold on φ, which is all that they share: parameters of the
graph, scales, loadings, shifts and noise. The posterior of φ is taken for normal,

    Σ = (Λ + Σ_n g_n g_nᵀ)⁻¹,        Λ = diag(1/prior sd²),

so that what cannot be told from a scale or a total stays as wide as it is. Posteriors of latent states do not
enter: the bound is at its optimum in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from multiscale.data.cells import CellBatch, Loader
from multiscale.errors import DataError
from multiscale.fit.cells.noise import standard_normal
from multiscale.model.cells import CellModel

if TYPE_CHECKING:
    from multiscale.fit.cells.result import CellResult

__all__ = ["graph_intervals", "posterior_sd"]

SCORING = -4
"""Epoch of the noise of scores."""

INTERVAL = 1.645
"""Standard deviations from the middle to the ends of a 90 % interval of a normal distribution."""

Array = NDArray[np.float64]


def posterior_sd(scores: Array, prior_sd: Array, weight: float = 1.0) -> Array:
    """Marginal standard deviations of parameters, from scores of cells and normal priors.

    Args:
        scores: g, nats per unit of the parameter, shape (cell, parameter).
        prior_sd: shape (parameter,).
        weight: number of cells that each scored one stands for.

    Returns:
        shape (parameter,).

    Nine readings with noise 1 whose deviations from a mean are ±1, and a prior of sd 1: 1/√(1 + 9).

    >>> posterior_sd(np.array([[1.0], [-1.0], [1.0]]), np.array([1.0]), weight=3.0).round(6).tolist()
    [0.316228]
    """
    scaled = scores * prior_sd  # in units of the prior, where the matrix is well scaled
    precision = np.eye(scaled.shape[1]) + weight * scaled.T @ scaled
    return prior_sd * np.sqrt(np.diag(np.linalg.inv(precision)))


def graph_intervals(
    result: CellResult, *, most: int = 400, draws: int = 16, seed: int | None = None
) -> pd.DataFrame:
    """Values of the parameters of the graph, with 90 % intervals beside their priors.

    Args:
        result: of a fit with a graph.
        most: cells that are scored, drawn from those of the fit; the others are taken to be like them.
        draws: of the latent state, over which the score of a cell is a mean. Few draws add noise to scores,
            which makes intervals too narrow.
        seed: of cells and draws, that of the fit if None.

    Returns:
        index = parameterId; columns `parameterName`, `value`, `lower`, `upper`, `prior_lower`, `prior_upper`
        (natural logarithms where the scale is `log`) and `sd_ratio`, posterior over prior standard deviation
        in the coordinates of the fit: 1 where cells say nothing.

    Raises:
        DataError: the fit has no graph, or its graph no free parameter.
    """
    model = result.model
    if model.physics is None or not model.physics.parameters.size:
        raise DataError("this fit has no parameters of a graph; intervals need a graph with free parameters.")
    chosen = int(result.settings.get("seed", 0)) if seed is None else seed
    count = len(result.problem.cells)
    some = np.sort(np.random.default_rng(chosen).permutation(count)[:most])
    prior = np.concatenate([np.ones(model.graph_theta.shape[1]), *_prior_sds(model)])
    scored = _scores(model, some, draws, chosen)
    ratio = posterior_sd(scored, prior, count / max(len(scored), 1))[: model.graph_theta.shape[1]]
    return _table(model, ratio)


def _scores(model: CellModel, cells: np.ndarray, draws: int, seed: int) -> Array:
    """Scores of cells in all that they share, (cell, parameter); cells that were not solved are left out."""
    loader = Loader(model.problem.cells, dtype=model.dtype, shuffle=False)
    wanted = [model.graph_theta, *(model.shared[name] for name in model.shared.groups)]
    rows = []
    for cell in cells.tolist():
        batch = loader.at(np.full(draws, cell)).to(model.graph_theta.device)
        row = _score(model, batch, wanted, seed)
        rows += [row] if np.isfinite(row).all() else []
    return np.stack(rows) if rows else np.zeros((0, sum(part.numel() for part in wanted)))


def _score(model: CellModel, batch: CellBatch, wanted: list[torch.Tensor], seed: int) -> Array:
    """Mean score of one cell over draws of its latent state; NaN where none was solved."""
    size = model.problem.latent
    first = batch.index[:1]
    noise = torch.cat([standard_normal(seed, SCORING, first, size, d) for d in range(len(batch.index))])
    parts = model.parts(batch, noise.to(model.dtype))
    solved = (~parts.failed).sum()
    density = torch.stack(list(parts.log_density.values())).sum() / solved
    found = torch.autograd.grad(density, wanted, allow_unused=True)
    flat = [torch.zeros_like(p) if g is None else g for g, p in zip(found, wanted, strict=True)]
    return torch.cat([part.detach().double().flatten() for part in flat]).cpu().numpy()


def _prior_sds(model: CellModel) -> list[Array]:
    """Prior standard deviations of what cells share besides the graph."""
    return [model.shared.prior(name).scale.double().cpu().numpy().ravel() for name in model.shared.groups]


def _table(model: CellModel, ratio: Array) -> pd.DataFrame:
    """Middle and ends of the intervals, as values of parameters."""
    assert model.physics is not None
    parameters, theta = model.physics.parameters, model.graph_theta.detach()
    sd = torch.as_tensor(ratio, device=theta.device)[None]

    def at(place: torch.Tensor) -> Array:
        return parameters.flat(place)[0].detach().cpu().numpy()

    frame = parameters.frame()
    columns = {
        "parameterName": frame["parameterName"].to_numpy(),
        "value": at(theta),
        "lower": at(theta - INTERVAL * sd),
        "upper": at(theta + INTERVAL * sd),
        "prior_lower": at(torch.full_like(theta, -INTERVAL)),
        "prior_upper": at(torch.full_like(theta, INTERVAL)),
        "sd_ratio": ratio,
    }
    return pd.DataFrame(columns, index=pd.Index(frame["parameterId"], name="parameterId"))
