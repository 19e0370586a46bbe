"""What a molecular fit leaves open: covariance of all values, and from it that of the scalars of any row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import norm
from torch import Tensor
from torch.quasirandom import SobolEngine

from multiscale.errors import DataError
from multiscale.fit.laplace import Laplace
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.molecular.products import Stacked
from multiscale.model.molecular import RowModel

__all__ = ["Uncertainty", "normal_points", "uncertainty"]


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Normal approximation of the posterior at its mode.

    Args:
        laplace: mode and precision of theta.
        covariance: of the flat values, with one more row and column of zeros, shape (parameter + 1, parameter
            + 1).
    """

    laplace: Laplace
    covariance: Tensor

    def entries(self, i: Tensor, j: Tensor) -> Tensor:
        """Elements of the covariance of the flat values."""
        return self.covariance[i, j]

    def of_rows(self, part: RowModel, rows: Tensor) -> Tensor:
        """Covariance of the scalars of some rows, X C Xᵀ, shape (row, scalar, scalar)."""
        return Stacked(part.parts, len(self.covariance) - 1, rows).variances(self.covariance)


def uncertainty(posterior: MolecularPosterior, theta: Tensor, hessian: Tensor | None = None) -> Uncertainty:
    """Approximate the posterior around its mode.

    Args:
        posterior: the loss.
        theta: mode, shape (1, parameter).
        hessian: there, if it is known already.

    Raises:
        DataError: theta is no minimum.
    """
    precision = posterior.hessian(theta) if hessian is None else hessian
    if torch.linalg.cholesky_ex(precision)[1]:
        raise DataError(
            "intervals need a minimum, and the best start has not reached one; raise `max_steps` or `starts`."
        )
    laplace = Laplace(posterior.model.parameters, theta.detach(), precision[None], theta.new_ones(1))
    slope, size = laplace.slopes(), theta.shape[1]
    covariance = theta.new_zeros(size + 1, size + 1)
    covariance[:size, :size] = slope[:, None] * laplace.covariance * slope
    return Uncertainty(laplace, covariance)


def normal_points(count: int, dimensions: int, seed: int, device: torch.device) -> Tensor:
    """Points that fill a standard normal distribution evenly: scrambled Sobol' points and their mirror
    images.

    Args:
        count: of points, made even.
        dimensions: of a point.
        seed: of the scrambling; the global random state is untouched.
        device: where they go.

    Returns:
        shape (count, dimensions).
    """
    uniform = SobolEngine(dimensions, scramble=True, seed=seed).draw(max(count // 2, 1), dtype=torch.float64)
    edge = 0.5 / max(count // 2, 1)  # the mean of the first interval of equal mass lies about there
    z = torch.as_tensor(norm.ppf(uniform.clamp(edge / 10, 1 - edge / 10).numpy()), device=device)
    return torch.cat([z, -z])
