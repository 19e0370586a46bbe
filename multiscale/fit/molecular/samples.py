"""What many parameters leave open: draws from the normal approximation of their posterior.

A draw is δ = C⁻ᵀ K^(−½) z with K = C⁻¹ H C⁻ᵀ and z standard normal, so that its covariance is H⁻¹: that of
the exact Hessian, not of a convexified one. Variances are not those of the draws alone: given all others, a
group of parameters i with block H_ii is normal with precision H_ii around H_ii⁻¹ (H_ii δ − Hδ)_i, so that
C_ii = H_ii⁻¹ + the covariance of these means, and only the second part is noisy.

Source: Chow & Saad 2014, doi:10.1137/130920587 (draws); Sidén et al. 2018, arXiv:1705.08656 (variances).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from multiscale.errors import DataError
from multiscale.fit.laplace import Approximation
from multiscale.fit.molecular.iterative import Solver
from multiscale.fit.molecular.krylov import inverse_root
from multiscale.fit.molecular.linear import Lines
from multiscale.fit.molecular.operator import Curvature, Landscape
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.model.molecular import RowModel
from multiscale.model.parameters import ParameterTable

__all__ = ["DRAWN", "Drawn", "SampledUncertainty", "Samples", "draw", "sampled_uncertainty"]

DRAWN = 64
"""Draws: sds of the noisy parts of variances are then known to 1/√128, 9 %."""

TOLERANCE = 1e-4  # relative residual of draws, far below their own scatter
COLUMNS = 1 << 23  # numbers of the draws that are made at once


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws around a mode.

    Args:
        z: standard normal numbers they were made of, (parameter, draw).
        deviations: δ, (parameter, draw).
        half_ln_det: ½ ln det H.
        products: products with H that it took, for the slowest draw.
    """

    z: Tensor
    deviations: Tensor
    half_ln_det: float
    products: int


def draw(solver: Solver, count: int, seed: int) -> Drawn:
    """Draw from the normal distribution whose precision is a Hessian.

    Args:
        solver: the Hessian with its preconditioner.
        count: of draws.
        seed: of them; the global random state is untouched.

    Raises:
        DataError: the Hessian is not positive definite.
    """
    generator, size = Generator().manual_seed(seed), solver.curvature.size
    z = torch.randn(count, size, generator=generator, dtype=torch.float64).T.to(solver.curvature.slope.device)
    deviations, ln_det, products = [], [], 0
    for part in z.split(max(1, COLUMNS // size), 1):
        roots = inverse_root(solver, part.contiguous(), TOLERANCE)
        if roots is None:
            raise DataError(
                "intervals need a minimum, and the best start has not reached one;"
                " raise `max_steps` or `starts`."
            )
        deviations.append(solver.preconditioner.upper(roots.y))
        ln_det.append(roots.ln_determinant)
        products = max(products, roots.products)
    half = 0.5 * (solver.preconditioner.ln_determinant + float(torch.cat(ln_det).mean()))
    return Drawn(z, torch.cat(deviations, 1), half, products)


class Samples(Approximation):
    """Normal approximation of theta known by draws.

    Args:
        parameters: the table of parameters.
        theta: the mode, shape (1, parameter).
        drawn: around it.
        solver: Hessian there.
    """

    def __init__(self, parameters: ParameterTable, theta: Tensor, drawn: Drawn, solver: Solver) -> None:
        self.parameters, self.theta, self.drawn = parameters, theta, drawn
        self.weights = torch.ones_like(theta[:, 0])
        self._group, self._place = (torch.zeros(theta.shape[1], dtype=torch.int64) for _ in range(2))
        self._covariances = self._conditional(solver)
        found = torch.empty_like(theta[0])
        for index, covariance in self._covariances:
            found[index] = covariance.diagonal(dim1=-2, dim2=-1)
        self._sd = found.sqrt()

    @property
    def sd(self) -> Tensor:
        """Standard deviations of theta, (1, parameter)."""
        return self._sd[None]

    @property
    def error(self) -> float:
        """Relative standard error of an sd whose variance comes from draws alone; that of others is less."""
        return 1 / math.sqrt(2 * self.drawn.z.shape[1])

    def draws(self, count: int, seed: int = 0) -> Tensor:
        """Those draws that there are, again and again if more are asked for, (count, parameter).

        Args:
            count: of draws.
            seed: from which one on.
        """
        there = self.drawn.deviations.shape[1]
        chosen = (torch.arange(count) + seed) % there
        return self.theta + self.drawn.deviations.T[chosen.to(self.theta.device)]

    def entries(self, i: Tensor, j: Tensor) -> Tensor:
        """Elements C_ij of the covariance.

        Those of one group (a label in several terms, or the dense part of H) are as precise as sds; those
        between groups are correlations of the draws times sds.
        """
        d = self.drawn.deviations
        one, other = d[i], d[j]
        norms = one.square().sum(-1) * other.square().sum(-1)
        found = (one * other).sum(-1) / norms.sqrt() * self._sd[i] * self._sd[j]
        at, to, place = self._group.to(i.device), i, self._place.to(i.device)
        for group, (_, covariance) in enumerate(self._covariances):
            label, slot = place[to] // covariance.shape[-1], place[to] % covariance.shape[-1]
            same = (at[i] == group) & (at[j] == group) & (label == place[j] // covariance.shape[-1])
            found[same] = covariance[label[same], slot[same], (place[j] % covariance.shape[-1])[same]]
        return found

    def covariance_of(self, index: Tensor) -> Tensor:
        """Covariance of some parameters; see `entries`."""
        i, j = torch.meshgrid(index, index, indexing="ij")
        return self.entries(i.reshape(-1), j.reshape(-1)).reshape(i.shape)

    def _conditional(self, solver: Solver) -> list[tuple[Tensor, Tensor]]:
        """Covariance of every group, (group, member, member), with the positions of its members."""
        d, C = self.drawn.deviations, solver.preconditioner
        pulled = solver.curvature.times(d)
        groups = [*(part.index for part in C.large), C.small[None]]
        found = []
        for number, index in enumerate(groups):
            self._group[index.cpu()] = number
            self._place[index.cpu()] = torch.arange(index.numel()).reshape(index.shape)
            found.append((index, _covariance(solver.curvature.members(index), d[index], pulled[index])))
        return found


def _covariance(H: Tensor, d: Tensor, pulled: Tensor) -> Tensor:
    """H⁻¹ + the covariance of δ − H⁻¹ (Hδ): H (group, member, member), δ and Hδ (group, member, draw)."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(H))
    mean = d - inverse @ pulled
    return inverse + mean @ mean.mT / d.shape[-1]


@dataclass(frozen=True, eq=False)
class SampledUncertainty:
    """Normal approximation of the posterior by draws; stands where `Uncertainty` does.

    Args:
        laplace: what is known of theta.
        deviations: of the flat values, (parameter, draw).
    """

    laplace: Samples
    deviations: Tensor

    def of_rows(self, part: RowModel, rows: Tensor) -> Tensor:
        """Covariance of the scalars of some rows over the draws, shape (row, scalar, scalar)."""
        parts = [[(where, design.take(rows)) for where, design in designs] for designs in part.parts]
        u = Lines(parts, len(self.deviations), self.deviations.device).forward(self.deviations)
        return u @ u.mT / u.shape[2]

    def entries(self, i: Tensor, j: Tensor) -> Tensor:
        """Elements of the covariance of the flat values; zero at the position after the last."""
        slope, last = torch.nn.functional.pad(self.laplace.slopes(), (0, 1)), len(self.deviations) - 1
        return slope[i] * slope[j] * self.laplace.entries(i.clamp(max=last), j.clamp(max=last))


def sampled_uncertainty(
    posterior: MolecularPosterior, theta: Tensor, count: int = DRAWN, seed: int = 0
) -> SampledUncertainty:
    """Approximate the posterior around its mode by draws.

    Args:
        posterior: the loss.
        theta: mode, shape (1, parameter).
        count: of draws.
        seed: of them.

    Raises:
        DataError: theta is no minimum.
    """
    curvature: Curvature = Landscape(posterior).at(theta)
    solver = Solver.of(curvature)
    drawn = draw(solver, count, seed)
    samples = Samples(posterior.model.parameters, theta.detach(), drawn, solver)
    return SampledUncertainty(samples, curvature.slope[:, None] * drawn.deviations)
