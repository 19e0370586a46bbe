"""Exact second derivatives of the loss, and Newton's method with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from multiscale.fit.optimise import (
    GRADIENT,
    LIMIT,
    STUCK,
    Objective,
    Optimum,
    Progress,
    evaluate,
    lbfgs,
)
from multiscale.fit.trace import UNTRACED, Trace

__all__ = ["LARGEST", "TOLERANCE", "descend", "hessian", "line_search", "minimise", "next_shift"]

LARGEST = 6000
"""Most parameters for which a dense matrix is made (0.3 GB per copy)."""

TOLERANCE = 1e-5
"""Decrease of the loss, in nats, that the last step may promise; what it leaves is about its square."""

ROWS = 128  # directions per backward pass, which bounds the memory

SMALLEST_SHIFT, FIRST_SHIFT, LARGEST_SHIFT = 1e-3, 1.0, 64.0
"""Multiples of a positive matrix that are added to an indefinite Hessian."""

STEP = 2e-4
"""Half the distance over which gradients are differenced, in the scaled lengths of theta.

Its square times the third derivative, about 1e-7, and the error of a gradient over it are then about equal:
that error is the relative tolerance of precise time courses, 1e-9, times the slopes of the readings."""


def hessian(objective: Objective, theta: Tensor, row: int = 0, local: Sequence[Tensor] = ()) -> Tensor:
    """Second derivatives of one start's loss, from one product with the Hessian per direction.

    Parameters of one context touch only that context's measurements, so that the contexts' blocks of the
    Hessian do not overlap and one direction can probe all contexts at once: the number of products does not
    grow with the number of contexts.

    Args:
        objective: loss per row; twice differentiable, unless it says otherwise: then central differences of
            its gradients take the place of products with the Hessian. One that has a method `hessian` of its
            own is asked for it.
        theta: shape (1, parameter).
        row: position of this start among the rows of the objective.
        local: per block of parameters that belong to contexts their positions, shape (context, parameter of
            one context).

    Returns:
        symmetric matrix, shape (parameter, parameter).
    """
    own = getattr(objective, "hessian", None)
    if own is not None:
        return own(theta)
    outside = torch.ones_like(theta[0], dtype=torch.bool)
    for block in local:
        outside[block.flatten()] = False
    alone = outside.nonzero()[:, 0]
    identity = torch.eye(theta.shape[1], dtype=theta.dtype, device=theta.device)
    probes = torch.cat([identity[alone], *(identity[block].sum(0) for block in local)])
    objective, multiply = _method(objective)
    products = torch.cat([multiply(objective, theta, row, part) for part in probes.split(ROWS)])
    matrix = torch.zeros_like(identity)
    matrix[alone] = products[: len(alone)]
    matrix[:, alone] = products[: len(alone)].T
    _spread(matrix, products[len(alone) :], local)
    return (matrix + matrix.T) / 2


Multiply = Callable[[Objective, Tensor, int, Tensor], Tensor]


def _method(objective: Objective) -> tuple[Objective, Multiply]:
    """The loss to differentiate twice, and how its Hessian is multiplied with directions."""
    if getattr(objective, "twice_differentiable", True):
        return objective, _products
    return _precise(objective), _differences


def _precise(objective: Objective) -> Objective:
    """The same loss, accurate enough for second derivatives."""
    return getattr(objective, "precise", objective)


def _differences(objective: Objective, theta: Tensor, row: int, directions: Tensor) -> Tensor:
    """Hessian times each direction by central differences of gradients, shape (direction, parameter).

    Where the loss is infinite on one side, the difference is that to the other side.
    """
    moves = STEP * directions
    points = torch.cat([theta + moves, theta - moves, theta])
    rows = torch.full((len(points),), row, device=theta.device)
    loss, gradient = evaluate(objective, points, rows)
    (above, below), centre = gradient[:-1].chunk(2), gradient[-1:]
    up, down = (side[:, None] for side in loss[:-1].isfinite().chunk(2))
    ahead = torch.where(up, above - centre, centre - below)
    behind = torch.where(down, centre - below, above - centre)
    return (ahead + behind) / (2 * STEP)


def _products(objective: Objective, theta: Tensor, row: int, directions: Tensor) -> Tensor:
    """Hessian times each direction, shape (direction, parameter)."""
    leaf = theta.detach().expand(len(directions), -1).clone().requires_grad_(True)
    rows = torch.full((len(directions),), row, device=theta.device)
    (gradient,) = torch.autograd.grad(objective(leaf, rows).sum(), leaf, create_graph=True)
    (product,) = torch.autograd.grad((gradient * directions).sum(), leaf)
    return product


def _spread(matrix: Tensor, products: Tensor, local: Sequence[Tensor]) -> None:
    """Put the products of the contexts' directions into the blocks of the single contexts."""
    parts = products.split([block.shape[1] for block in local]) if local else ()
    for block, part in zip(local, parts, strict=True):
        for other in local:
            for mine, theirs in zip(block, other, strict=True):
                matrix[mine[:, None], theirs[None]] = part[:, theirs]


def minimise(
    objective: Objective,
    theta: Tensor,
    row: int = 0,
    local: Sequence[Tensor] = (),
    max_steps: int = 100,
    progress: Progress | None = None,
    trace: Trace = UNTRACED,
) -> tuple[Optimum, Tensor]:
    """Minimise one start by Newton's method with the exact Hessian.

    Where the Hessian is not positive definite, a multiple of the objective's own `convex_hessian` (if there
    is none, of its diagonal) is added that makes it so; at a saddle the step goes along the direction of most
    negative curvature.

    Args:
        objective: loss per row.
        theta: near the minimum, shape (1, parameter).
        row: position of this start among the rows of the objective.
        local: see `hessian`.
        max_steps: most steps.
        progress: called with the step and the loss.
        trace: keeps where the search is; what it holds already is carried on.

    Returns:
        where this start ended, and the Hessian before the last step, which changed theta by less than a
        hundredth of its standard deviations if the minimum was reached.

    Source: Nocedal & Wright 2006, Numerical Optimization, section 3.4; Marquardt 1963, doi:10.1137/0111030.
    """
    rows, objective = torch.tensor([row], device=theta.device), _precise(objective)
    state = trace.load() or {"theta": theta, "steps": torch.tensor(0)}
    theta, steps, promised = state["theta"], int(state["steps"]), torch.inf
    shift = state.get("shift", torch.tensor(FIRST_SHIFT))
    loss, gradient = evaluate(objective, theta, rows)
    matrix = theta.new_zeros(0, 0)
    while steps < max_steps and promised >= TOLERANCE:
        matrix = hessian(objective, theta, row, local)
        direction, promised = _direction(matrix, gradient, partial(_convex, objective, theta), float(shift))
        moved = line_search(objective, theta, loss, direction, promised, rows)
        if moved is None:
            break
        steps, shift = steps + 1, next_shift(shift, float(loss - moved[1]) / promised)
        theta, loss, gradient = moved
        trace.save({"theta": theta, "steps": torch.tensor(steps), "shift": shift})
        if progress:
            progress(steps, loss)
    reason = GRADIENT if promised < TOLERANCE else LIMIT if steps == max_steps else STUCK
    count, code = (torch.full_like(rows, number) for number in (steps, reason))
    return Optimum(theta, loss, gradient.abs().amax(1), code, count), matrix


def descend(
    objective: Objective, theta: Tensor, local: Sequence[Tensor], precision: Tensor, max_steps: int = 1000
) -> Optimum:
    """Minimise one start from anywhere: a quasi-Newton search in scaled coordinates, then `minimise`.

    Args:
        objective: loss of the only row.
        theta: shape (1, parameter).
        local: see `hessian`.
        precision: of the priors, shape (parameter,): the length scale of what nothing else determines.
        max_steps: most steps of the search.
    """
    curvature = torch.maximum(hessian(objective, theta, 0, local).diagonal().abs(), precision.abs())
    length = torch.where(curvature > 0, curvature, 1.0).rsqrt()

    def scaled(z: Tensor, rows: Tensor) -> Tensor:
        return objective(theta + length * z, rows)

    found = lbfgs(scaled, torch.zeros_like(theta), max_steps, change_tolerance=1e-4)
    return minimise(objective, theta + length * found.theta, 0, local)[0]


def _convex(objective: Objective, theta: Tensor) -> Tensor | None:
    """A positive semidefinite stand-in for the Hessian that the objective knows, None if it knows none."""
    own = getattr(objective, "convex_hessian", None)
    return None if own is None else own(theta)


def next_shift(shift: Tensor, kept: float) -> Tensor:
    """Smaller after a step that kept what it promised, larger after one that did not."""
    factor = 0.25 if kept > 0.9 else 4.0 if kept < 0.5 else 1.0
    return (factor * shift).clamp(SMALLEST_SHIFT, LARGEST_SHIFT)


def _direction(
    matrix: Tensor,
    gradient: Tensor,
    convex: Callable[[], Tensor | None] = lambda: None,
    least: float = SMALLEST_SHIFT,
) -> tuple[Tensor, float]:
    """Step, shape (1, parameter), and the decrease that the parabola promises.

    Args:
        matrix: Hessian.
        gradient: shape (1, parameter).
        convex: gives a positive semidefinite stand-in for the Hessian, or None.
        least: smallest multiple of it that is added to an indefinite Hessian; of its diagonal in its place
            always the smallest.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    indefinite = bool(failed)
    scale = convex() if indefinite else None
    if scale is None:
        scale, least = torch.diag(matrix.diagonal().abs()), SMALLEST_SHIFT
    shift = 0.0
    while failed:
        shift = max(4 * shift, least)
        factor, failed = torch.linalg.cholesky_ex(matrix + shift * scale)
    direction = -torch.cholesky_solve(gradient.T, factor).T
    promised = -0.5 * float((direction * gradient).sum())
    if indefinite and promised < TOLERANCE:
        values, vectors = torch.linalg.eigh(matrix)
        downhill = vectors[:, :1].T * (-1.0 if float(vectors[:, 0] @ gradient[0]) > 0 else 1.0)
        return downhill, -0.5 * float(values[0])
    return direction, promised


def line_search(
    objective: Objective, theta: Tensor, loss: Tensor, direction: Tensor, promised: float, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """First point along a direction, halving the step, that keeps a fair part of the promise.

    A whole step that keeps far more than it promised is doubled as long as that goes on.
    """

    def at(length: float) -> tuple[Tensor, Tensor, Tensor]:
        trial = theta + length * direction
        return trial, *evaluate(objective, trial, rows)

    length = 1.0
    for _ in range(30):
        found = at(length)
        if found[1] <= loss - 1e-4 * length * promised:
            break
        length /= 2
    else:
        return None
    while 1.0 <= length < 1e3 and found[1] <= loss - 1.5 * length * promised:
        further = at(2 * length)
        if not further[1] < found[1]:
            break
        found, length = further, 2 * length
    return found
