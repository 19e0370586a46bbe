"""Laplace's approximation: the posterior as normal distributions of theta around its modes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm
from torch import Tensor

from multiscale.errors import DataError
from multiscale.fit.curvature import LARGEST, hessian
from multiscale.fit.objective import Posterior
from multiscale.fit.optimise import Optimum
from multiscale.model import Model
from multiscale.model.parameters import ParameterTable

__all__ = ["LEVEL", "Approximation", "Laplace", "laplace", "laplace_of", "source_of"]

log = logging.getLogger("multiscale")

LEVEL = 0.9
"""Probability of all intervals."""

DATA, PRIOR = 0.5, 0.9
"""Ratios of posterior to prior standard deviation, below and above which data or prior determine a value."""

NODES = 40  # of the Gauss–Hermite rule: exact to many digits for smooth functions of the widths that occur
NEGLIGIBLE = 1e-3
"""Weight below which a mode is left out."""


class Approximation(ABC):
    """Mixture of normal approximations of theta around modes, and what follows from their sds."""

    parameters: ParameterTable
    theta: Tensor
    """Modes, shape (mode, parameter)."""
    weights: Tensor
    """Probabilities of the modes, shape (mode,)."""

    @property
    @abstractmethod
    def sd(self) -> Tensor:
        """Standard deviations of theta around every mode, shape (mode, parameter)."""

    @abstractmethod
    def draws(self, count: int, seed: int = 0) -> Tensor:
        """Draw theta, shape (count, parameter)."""

    @abstractmethod
    def covariance_of(self, index: Tensor) -> Tensor:
        """Covariance of some parameters, by position, within and between modes."""

    def slopes(self) -> Tensor:
        """Derivative of every value on its block's scale by its own theta at the main mode, (parameter,)."""
        theta = self.theta[:1].detach().clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(self.parameters.flat(theta).sum(), theta)
        return slope[0]

    def ends(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the central interval of every parameter on its block's scale, each (parameter,)."""
        ends = (self._quantile(0.5 + sign * level / 2) for sign in (-1, 1))
        lower, upper = (self.parameters.flat(end[None])[0].cpu().numpy() for end in ends)
        return lower, upper

    def _quantile(self, probability: float) -> Tensor:
        """Quantile of every theta, (parameter,), by bisection between those of the single modes."""
        single = self.theta + float(norm.ppf(probability)) * self.sd
        low, high = single.amin(0), single.amax(0)
        for _ in range(60 if len(single) > 1 else 0):  # halves the bracket to the last bit
            middle = (low + high) / 2
            below = self.weights @ torch.special.ndtr((middle - self.theta) / self.sd) < probability
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def value_sd(self) -> np.ndarray:
        """Standard deviation of every parameter on its block's scale, by Gauss–Hermite quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        steps: Tensor = torch.as_tensor(nodes, device=self.theta.device)[:, None, None]
        points = self.theta + steps * self.sd
        values = self.parameters.flat(points.flatten(0, 1)).reshape(points.shape).cpu().numpy()
        share = (weights / weights.sum())[:, None, None] * self.weights.cpu().numpy()[:, None]
        mean = (share * values).sum((0, 1))
        return np.sqrt((share * (values - mean) ** 2).sum((0, 1)))

    def frame(self) -> pd.DataFrame:
        """Per parameter: ends of its interval (linear units), sd, prior sd, information, what determines it.

        The information is ½ ln(prior variance / posterior variance), in nats, on the parameter's scale.
        """
        linear = np.concatenate([np.full(len(b), b.scale == "ln") for b in self.parameters.blocks])
        lower, upper = (np.where(linear, np.exp(end), end) for end in self.ends())
        sd, prior = self.value_sd(), self.parameters.prior_sd
        ratio = sd / prior
        return pd.DataFrame(
            {
                "lower": lower,
                "upper": upper,
                "sd": sd,
                "priorSd": prior,
                "informationNats": -np.log(ratio),
                "determinedBy": source_of(ratio),
            }
        )


@dataclass(frozen=True)
class Laplace(Approximation):
    """Mixture of normal approximations of theta, one per mode, the heaviest first.

    Args:
        parameters: the table of parameters.
        theta: modes, shape (mode, parameter).
        precision: Hessians of the negative log posterior, positive definite, (mode, parameter, parameter).
        weights: probabilities of the modes, shape (mode,).
    """

    parameters: ParameterTable
    theta: Tensor
    precision: Tensor
    weights: Tensor

    @property
    def main(self) -> Laplace:
        """The heaviest mode alone."""
        return Laplace(self.parameters, self.theta[:1], self.precision[:1], torch.ones_like(self.weights[:1]))

    @cached_property
    def factor(self) -> Tensor:
        """Lower Cholesky factors of the precisions."""
        return torch.linalg.cholesky(self.precision)

    @cached_property
    def _covariances(self) -> Tensor:
        return torch.cholesky_inverse(self.factor)

    @cached_property
    def covariance(self) -> Tensor:
        """Covariance of theta within and between modes, shape (parameter, parameter)."""
        off = self.theta - self.weights @ self.theta
        return torch.einsum("m,mij->ij", self.weights, self._covariances) + (self.weights * off.T) @ off

    def covariance_of(self, index: Tensor) -> Tensor:
        """Covariance of some parameters, by position."""
        return self.covariance[index][:, index]

    @property
    def sd(self) -> Tensor:
        """Standard deviations of theta around every mode, shape (mode, parameter)."""
        return self._covariances.diagonal(dim1=1, dim2=2).sqrt()

    def draws(self, count: int, seed: int = 0) -> Tensor:
        """Draw from the approximate posterior; the global random state is untouched.

        Returns:
            theta, shape (count, parameter).
        """
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(count, self.theta.shape[1], generator=generator, dtype=torch.float64)
        chosen = torch.multinomial(self.weights.cpu(), count, replacement=True, generator=generator)
        drawn = torch.empty_like(noise, device=self.theta.device)
        for mode, (theta, factor) in enumerate(zip(self.theta, self.factor, strict=True)):
            here = (chosen == mode).to(self.theta.device)
            z = noise.to(self.theta.device)[here]
            drawn[here] = theta + torch.linalg.solve_triangular(factor.T, z.T, upper=True).T
        return drawn

    def effective_parameters(self) -> float:
        """Directions that the data determine at the main mode: parameters − tr(prior precision · covariance).

        Source: MacKay 1992, Neural Computation 4:415, doi:10.1162/neco.1992.4.3.415, eq. 4.9 (γ).
        """
        share = self.parameters.prior_precision(self.theta[:1]) * self._covariances[0].diagonal()
        return float(self.theta.shape[1] - share.sum())


def source_of(ratio: np.ndarray) -> np.ndarray:
    """What determines values whose sds are these fractions of their priors': data, prior or both.

    >>> source_of(np.array([0.1, 0.7, 0.99])).tolist()
    ['data', 'both', 'prior']
    """
    return np.where(ratio <= DATA, "data", np.where(ratio >= PRIOR, "prior", "both"))


def laplace(posterior: Posterior, theta: Tensor, row: int = 0) -> Laplace:
    """Approximate the posterior at a minimum of the loss by the exact Hessian.

    Args:
        posterior: the loss.
        theta: minimum, shape (1, parameter).
        row: its position among the rows of the posterior.

    Raises:
        DataError: there are too many parameters for a dense matrix, or theta is not a minimum.
    """
    parameters = posterior.model.parameters
    if parameters.size > LARGEST:
        raise DataError(
            f"intervals need a dense Hessian, and {parameters.size} parameters are more than {LARGEST}; use "
            "fewer contexts (groups instead of cells) or molecules."
        )
    precision = hessian(posterior, theta, row, parameters.local())
    _, failed = torch.linalg.cholesky_ex(precision)
    if failed:
        raise DataError(
            "intervals need a minimum, and the best start has not reached one; raise `max_steps` or `starts`."
        )
    return Laplace(parameters, theta.detach(), precision[None], theta.new_ones(1))


def laplace_of(model: Model, optimum: Optimum) -> Laplace:
    """Approximate the posterior by all modes that were found, weighted by their evidence.

    Args:
        model: the model.
        optimum: where the starts ended, see `finish`.

    Raises:
        DataError: see `laplace`.
    """
    if optimum.evidence is None or optimum.used is None or not bool(optimum.evidence.isfinite().any()):
        return laplace(Posterior(model), optimum.theta[optimum.best][None])
    weights = torch.softmax(optimum.evidence, 0)
    order = torch.argsort(weights, descending=True)
    kept = order[weights[order] > NEGLIGIBLE].tolist()
    parts = [laplace(Posterior(model, used=optimum.used[k][None]), optimum.theta[k][None]) for k in kept]
    share = weights[kept] / weights[kept].sum()
    theta, precision = (torch.cat([getattr(part, name) for part in parts]) for name in ("theta", "precision"))
    return Laplace(model.parameters, theta, precision, share)
