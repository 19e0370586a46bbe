"""Laplace's approximation: the posterior near the best start as a normal distribution of theta."""

from __future__ import annotations

import logging
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
from multiscale.model.parameters import ParameterTable

__all__ = ["LEVEL", "Laplace", "laplace"]

log = logging.getLogger("multiscale")

LEVEL = 0.9
"""Probability of all intervals."""

DATA, PRIOR = 0.5, 0.9
"""Ratios of posterior to prior standard deviation, below and above which data or prior determine a value."""

NODES = 40  # of the Gauss–Hermite rule: exact to rounding for a logistic curve of the widths that occur


@dataclass(frozen=True)
class Laplace:
    """Normal approximation of theta: bounded parameters are normal on the logit of their interval.

    Args:
        parameters: the table of parameters.
        theta: mode, shape (1, parameter).
        precision: Hessian of the negative log posterior there, positive definite, shape (parameter,
            parameter).
    """

    parameters: ParameterTable
    theta: Tensor
    precision: Tensor

    @cached_property
    def factor(self) -> Tensor:
        """Lower Cholesky factor of the precision."""
        return torch.linalg.cholesky(self.precision)

    @cached_property
    def covariance(self) -> Tensor:
        """Covariance of theta, shape (parameter, parameter)."""
        return torch.cholesky_inverse(self.factor)

    @property
    def sd(self) -> Tensor:
        """Standard deviations of theta, shape (parameter,)."""
        return self.covariance.diagonal().sqrt()

    def draws(self, count: int, seed: int = 0) -> Tensor:
        """Draw from the approximate posterior; the global random state is untouched.

        Returns:
            theta, shape (count, parameter).
        """
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(count, len(self.precision), generator=generator, dtype=torch.float64)
        noise = noise.to(self.theta.device)
        return self.theta + torch.linalg.solve_triangular(self.factor.T, noise.T, upper=True).T

    def slopes(self) -> Tensor:
        """Derivative of every value on its block's scale by its own theta, shape (parameter,)."""
        theta = self.theta.detach().clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(self.parameters.flat(theta).sum(), theta)
        return slope[0]

    def ends(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the central interval of every parameter on its block's scale, each (parameter,)."""
        reach = float(norm.ppf(0.5 + level / 2)) * self.sd
        lower, upper = (self.parameters.flat(self.theta + s * reach)[0].cpu().numpy() for s in (-1, 1))
        return lower, upper

    def value_sd(self) -> np.ndarray:
        """Standard deviation of every parameter on its block's scale, by Gauss–Hermite quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        steps: Tensor = torch.as_tensor(nodes, device=self.theta.device)[:, None]
        values = self.parameters.flat(self.theta + steps * self.sd).cpu().numpy()
        share = (weights / weights.sum())[:, None]
        mean = (share * values).sum(0)
        return np.sqrt((share * (values - mean) ** 2).sum(0))

    def frame(self) -> pd.DataFrame:
        """Per parameter: ends of its interval (linear units), sd, prior sd, information, what determines it.

        The information is ½ ln(prior variance / posterior variance), in nats, on the parameter's scale.
        """
        linear = np.concatenate([np.full(len(b), b.scale == "ln") for b in self.parameters.blocks])
        lower, upper = (np.where(linear, np.exp(end), end) for end in self.ends())
        sd, prior = self.value_sd(), self.parameters.prior_sd
        ratio = sd / prior
        source = np.where(ratio <= DATA, "data", np.where(ratio >= PRIOR, "prior", "both"))
        return pd.DataFrame(
            {
                "lower": lower,
                "upper": upper,
                "sd": sd,
                "priorSd": prior,
                "informationNats": -np.log(ratio),
                "determinedBy": source,
            }
        )

    def effective_parameters(self) -> float:
        """Number of directions that the data determine: parameters − tr(prior precision · covariance).

        Source: MacKay 1992, Neural Computation 4:415, doi:10.1162/neco.1992.4.3.415, eq. 4.9 (γ).
        """
        share = self.parameters.prior_precision(self.theta) * self.covariance.diagonal()
        return float(len(self.precision) - share.sum())


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
    return Laplace(parameters, theta.detach(), precision)
