"""Minimise one start: a quasi-Newton search where the loss is nearly round, then Newton's method.

Steps of Newton's method cost as much as many gradients, and far from a minimum they promise what they do
not keep. One convex Hessian H = L Lᵀ makes coordinates z = Lᵀ θ, in which limited-memory BFGS learns
quickly what H does not know of the loss. When it no longer gains, H is made anew; Newton's method with
the exact Hessian ends the search.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multiscale.fit.curvature import LARGEST, minimise
from multiscale.fit.molecular.evidence import needs_settling, unknowns_of
from multiscale.fit.molecular.iterative import minimise_iteratively
from multiscale.fit.molecular.operator import Curvature
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.optimise import Optimum, Progress, lbfgs
from multiscale.fit.trace import UNTRACED, Trace

__all__ = ["descend"]

ROUNDS = 10
"""Most convex Hessians."""

STEPS = 60
"""Most quasi-Newton steps with one of them."""

GAIN = 0.5
"""A round that lowers the loss by less, in nats, is the last one: the rest is left to Newton's method."""


def descend(
    posterior: MolecularPosterior,
    theta: Tensor,
    *,
    max_steps: int = 100,
    progress: Progress | None = None,
    trace: Trace = UNTRACED,
) -> tuple[Optimum, Tensor | Curvature]:
    """Minimise from one point, with few or many parameters; see `curvature.minimise` for the arguments."""
    if theta.shape[1] > LARGEST:
        held = unknowns_of(posterior.model, ("noise",)) if needs_settling(posterior.model) else None
        if held is not None:  # it is settled afterwards; few rows may have left none of it
            theta = theta.index_fill(1, held, 0.0)
        return minimise_iteratively(posterior, theta, max_steps, progress, trace, held=held)
    begun = trace.load()
    if begun is None:
        theta, steps = _approach(posterior, theta, progress)
    else:
        theta, steps = begun["theta"], torch.zeros(1, dtype=torch.int64)
    optimum, hessian = minimise(posterior, theta, max_steps=max_steps, progress=progress, trace=trace)
    optimum.steps.add_(steps)
    return optimum, hessian


def _approach(
    posterior: MolecularPosterior, theta: Tensor, progress: Progress | None
) -> tuple[Tensor, Tensor]:
    """Rounds of the quasi-Newton search: where they led, and how many steps they took, (1,)."""
    steps = torch.zeros(1, dtype=torch.int64, device=theta.device)
    with torch.no_grad():
        loss = posterior(theta)
    for _ in range(ROUNDS):
        factor = torch.linalg.cholesky(posterior.convex_hessian(theta))

        def place(z: Tensor, factor: Tensor = factor, origin: Tensor = theta) -> Tensor:
            return origin + torch.linalg.solve_triangular(factor.T, z.T, upper=True).T

        def whitened(z: Tensor, rows: Tensor, place=place) -> Tensor:
            return posterior(place(z), rows)

        found = lbfgs(whitened, torch.zeros_like(theta), STEPS, change_tolerance=GAIN / 10, progress=progress)
        theta, steps = place(found.theta), steps + found.steps
        if float(loss - found.loss) < GAIN:
            break
        loss = found.loss
    return theta, steps
