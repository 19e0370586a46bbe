"""Where searches begin: points spread evenly over the bounds or the initial priors."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import qmc

from multiscale.errors import ConfigError, FormatError, nearest
from multiscale.formats.petab.priors import scaled, unscaled
from multiscale.formats.petab.problem import PetabParameter, PetabProblem

__all__ = ["Sampling", "bounds", "draw", "linear"]

Sampling = Literal["latin", "sobol"]


def linear(theta: np.ndarray, problem: PetabProblem) -> np.ndarray:
    """Values of estimated parameters on the linear scale; the last axis is the parameter."""
    scales = [problem.parameters[name].scale for name in problem.estimated]
    columns = [unscaled(theta[..., i], scale) for i, scale in enumerate(scales)]
    return np.stack(columns, axis=-1)


def bounds(problem: PetabProblem) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of the estimated parameters on their scales, each of shape (parameter,)."""
    unknown = [problem.parameters[name] for name in problem.estimated]
    lower, upper = ([scaled(getattr(p, end), p.scale) for p in unknown] for end in ("lower", "upper"))
    return np.array(lower, dtype=np.float64), np.array(upper, dtype=np.float64)


def draw(problem: PetabProblem, count: int, seed: int = 1, sampling: Sampling = "latin") -> np.ndarray:
    """Draw starts on the estimation scale.

    Args:
        problem: its initial priors say where; without one it is the box between the bounds.
        count: how many.
        seed: equal seeds give equal starts.
        sampling: `latin` hypercube (McKay et al. 1979, doi 10.1080/00401706.1979.10489755) or scrambled
            `sobol` sequence.

    Returns:
        shape (count, parameter).

    Raises:
        FormatError: a parameter has neither finite bounds nor an initial prior.
    """
    if sampling not in ("latin", "sobol"):
        raise ConfigError(f"`sampling` = `{sampling}`; {nearest(sampling, ['latin', 'sobol'])}")
    unknown = [problem.parameters[name] for name in problem.estimated]
    if not unknown:
        raise FormatError(f"{problem.path}: no parameter has `estimate` = 1; there is nothing to fit.")
    shares = _shares(len(unknown), count, seed, sampling)
    lower, upper = bounds(problem)
    columns = [_quantile(p, shares[:, i], lower[i], upper[i], problem) for i, p in enumerate(unknown)]
    return np.clip(np.stack(columns, axis=1), lower, upper)


def _shares(dimension: int, count: int, seed: int, sampling: Sampling) -> np.ndarray:
    """Points in the unit cube; a Sobol sequence is cut after `count` of a full power of two."""
    if sampling == "latin":
        return qmc.LatinHypercube(dimension, rng=np.random.default_rng(seed)).random(count)
    exponent = max(int(np.ceil(np.log2(max(count, 1)))), 0)
    return qmc.Sobol(dimension, rng=np.random.default_rng(seed)).random_base2(exponent)[:count]


def _quantile(
    parameter: PetabParameter, share: np.ndarray, lower: float, upper: float, problem: PetabProblem
) -> np.ndarray:
    prior = parameter.start_prior or parameter.prior
    if prior is not None:
        return scaled(prior.quantile(share), parameter.scale)
    if not (np.isfinite(lower) and np.isfinite(upper)):
        raise FormatError(
            f"{problem.path}: parameter `{parameter.name}` has bounds {parameter.lower:g} and"
            f" {parameter.upper:g}; starts need finite ones (positive on a log scale) or an"
            " initialisation prior."
        )
    return lower + share * (upper - lower)
