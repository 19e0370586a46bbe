"""Newton's method for many parameters: every step is solved by conjugate gradients.

The exact Hessian is tried first; where it turns out not to be positive definite, multiples of the convexified
one are added, and at a saddle the step goes along the direction of negative curvature that was met. A step is
solved only as well as it pays: the residual shrinks with the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multiscale.fit.curvature import FIRST_SHIFT, TOLERANCE, line_search, next_shift
from multiscale.fit.molecular.krylov import conjugate_gradients
from multiscale.fit.molecular.operator import Curvature, Landscape
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.molecular.preconditioner import Groups, Preconditioner, precondition
from multiscale.fit.optimise import GRADIENT, LIMIT, STUCK, Optimum, Progress, evaluate
from multiscale.fit.trace import UNTRACED, Trace

__all__ = ["Solver", "minimise_iteratively"]

LOOSEST, TIGHTEST = 0.1, 1e-8
"""Relative residuals of a step: the first far from the minimum, less as the gradient shrinks."""

EXACT = 1e-9  # relative residual of solutions that are used as they are


@dataclass(frozen=True, eq=False)
class Solver:
    """Products with C⁻¹ H C⁻ᵀ, H the Hessian at a point and C its preconditioner.

    Args:
        curvature: H.
        preconditioner: C.
    """

    curvature: Curvature
    preconditioner: Preconditioner

    @classmethod
    def of(cls, curvature: Curvature) -> Solver:
        """Prepare the preconditioner."""
        parameters = curvature.landscape.posterior.model.parameters
        return cls(curvature, precondition(curvature, Groups.of(parameters)))

    def __call__(self, y: Tensor) -> Tensor:
        """C⁻¹ H C⁻ᵀ y, (parameter, column) or (parameter,)."""
        if y.dim() == 1:
            return self(y[:, None])[:, 0]
        C = self.preconditioner
        return C.lower(self.curvature.times(C.upper(y)))

    def solve(self, b: Tensor, tolerance: float = EXACT) -> Tensor:
        """H⁻¹ b, (parameter, column), column by column; H must be positive definite."""
        found = [conjugate_gradients(self, column, tolerance).x for column in self.preconditioner.lower(b).T]
        return self.preconditioner.upper(torch.stack(found, 1))


def minimise_iteratively(
    posterior: MolecularPosterior,
    theta: Tensor,
    max_steps: int = 100,
    progress: Progress | None = None,
    trace: Trace = UNTRACED,
    landscape: Landscape | None = None,
    held: Tensor | None = None,
) -> tuple[Optimum, Curvature]:
    """Minimise one start, as `curvature.minimise` does, with no dense matrix.

    Args:
        posterior: the loss.
        theta: near the minimum, shape (1, parameter).
        max_steps: most steps.
        progress: called with the step and the loss.
        trace: keeps where the search is; what it holds already is carried on.
        landscape: of the posterior, if it is prepared already.
        held: positions of parameters that stay where they are; none if None.

    Returns:
        where this start ended, and the Hessian there.

    Source: Nocedal & Wright 2006, Numerical Optimization, section 7.1 (line search Newton-CG and its forcing
        sequence).
    """
    landscape = landscape or Landscape(posterior)
    state = trace.load() or {"theta": theta, "steps": torch.tensor(0), "shift": torch.tensor(FIRST_SHIFT)}
    theta, steps, shift, promised = state["theta"], int(state["steps"]), state["shift"], torch.inf
    rows = torch.zeros(1, dtype=torch.int64, device=theta.device)
    loss, gradient = evaluate(posterior, theta, rows)
    curvature = landscape.at(theta, held)
    while steps < max_steps and promised >= TOLERANCE:
        free = gradient if held is None else gradient.index_fill(1, held, 0.0)
        direction, promised, added = _direction(curvature, free, float(shift))
        moved = line_search(posterior, theta, loss, direction, promised, rows)
        if moved is None:
            break
        steps, shift = steps + 1, next_shift(shift.new_tensor(added), float(loss - moved[1]) / promised)
        theta, loss, gradient = moved
        curvature = landscape.at(theta, held)
        trace.save({"theta": theta, "steps": torch.tensor(steps), "shift": shift})
        if progress:
            progress(steps, loss)
    reason = GRADIENT if promised < TOLERANCE else LIMIT if steps == max_steps else STUCK
    count, code = (torch.full_like(rows, number) for number in (steps, reason))
    return Optimum(theta, loss, gradient.abs().amax(1), code, count), curvature


def _direction(curvature: Curvature, gradient: Tensor, shift: float) -> tuple[Tensor, float, float]:
    """Step, (1, parameter), the decrease that the parabola promises, and the multiple that was added.

    Args:
        curvature: H.
        gradient: (1, parameter).
        shift: least multiple of the convexified Hessian that is added to an indefinite one.
    """
    solver = Solver.of(curvature)
    step, downward = _step(solver, gradient)
    if downward is None:
        return step, -0.5 * float((step * gradient).sum()), shift
    along = solver.preconditioner.upper(downward[:, None]).T
    step, again = _step(Solver.of(curvature.plus_convex(shift)), gradient)
    while again is not None:
        shift *= 4
        step, again = _step(Solver.of(curvature.plus_convex(shift)), gradient)
    promised = -0.5 * float((step * gradient).sum())
    if promised >= TOLERANCE:
        return step, promised, shift
    along = along / along.norm() * (-1.0 if float((along * gradient).sum()) > 0 else 1.0)
    return along, -0.5 * float(along[0] @ curvature.times(along[0])), shift


def _step(solver: Solver, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
    """Newton's step, (1, parameter), and a direction of negative curvature if there is one."""
    b = solver.preconditioner.lower(-gradient.T)[:, 0]
    tolerance = min(LOOSEST, max(TIGHTEST, LOOSEST * float(b.norm())))
    found = conjugate_gradients(solver, b, tolerance)
    return solver.preconditioner.upper(found.x[:, None]).T, found.downward
