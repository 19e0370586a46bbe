"""Optimisers for a batch of independent starts: every start has its own step, history and status.

`objective(theta, rows)` returns the loss of each of the given rows (starts); rows are independent of each
other, so that one backward pass of the sum gives all gradients. Starts that are finished leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["Objective", "Optimum", "adam", "lbfgs", "polish"]

Objective = Callable[[Tensor, Tensor], Tensor]
Progress = Callable[[int, Tensor], None]

GRADIENT, CHANGE, STUCK, LIMIT = range(4)
REASONS = (
    "gradient below tolerance",
    "loss no longer changes",
    "no step lowers the loss",
    "stopped after the maximal number of steps",
)


@dataclass(frozen=True)
class Optimum:
    """Where every start ended.

    Args:
        theta: shape (start, parameter).
        loss: negative log posterior, shape (start,).
        gradient: largest absolute derivative, shape (start,).
        reason: index into REASONS, shape (start,).
        steps: accepted steps, shape (start,).
    """

    theta: Tensor
    loss: Tensor
    gradient: Tensor
    reason: Tensor
    steps: Tensor

    @property
    def best(self) -> int:
        """Start with the lowest loss."""
        return int(torch.argmin(torch.nan_to_num(self.loss, nan=torch.inf)))

    @property
    def reasons(self) -> list[str]:
        """Why every start stopped, in words."""
        return [REASONS[int(code)] for code in self.reason]


def evaluate(objective: Objective, theta: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient of some rows; both are infinite and zero where the loss is not finite."""
    leaf = theta.detach().requires_grad_(True)
    loss = objective(leaf, rows)
    finite = torch.isfinite(loss)
    (gradient,) = torch.autograd.grad(torch.where(finite, loss, torch.zeros_like(loss)).sum(), leaf)
    good = finite & torch.isfinite(gradient).all(1)
    loss = torch.where(good, loss.detach(), torch.full_like(loss, torch.inf))
    return loss, torch.where(good[:, None], gradient, torch.zeros_like(gradient))


def adam(
    objective: Objective, theta: Tensor, steps: int, rate: float = 0.1, progress: Progress | None = None
) -> Tensor:
    """Move every start downhill with Adam and a step size that falls as a cosine.

    Args:
        objective: loss per row.
        theta: starting points, shape (start, parameter).
        steps: number of steps.
        rate: first step size, in units of the parameters' scaled lengths.
        progress: called with the step and the losses.

    Returns:
        theta of the lowest loss seen by each start, shape (start, parameter).

    Source: Kingma & Ba 2015, arXiv 1412.6980, algorithm 1.
    """
    rows = torch.arange(len(theta), device=theta.device)
    first, second = torch.zeros_like(theta), torch.zeros_like(theta)
    best, lowest = theta.clone(), torch.full_like(theta[:, 0], torch.inf)
    for step in range(1, steps + 1):
        loss, gradient = evaluate(objective, theta, rows)
        better = loss < lowest
        best, lowest = torch.where(better[:, None], theta, best), torch.where(better, loss, lowest)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        update = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        cosine = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * (step - 1) / steps)).item())
        theta = theta - rate * cosine * update
        if progress:
            progress(step, lowest)
    return best


def lbfgs(
    objective: Objective,
    theta: Tensor,
    max_steps: int = 300,
    gradient_tolerance: float = 1e-3,
    change_tolerance: float = 1e-3,
    history: int = 20,
    progress: Progress | None = None,
) -> Optimum:
    """Minimise every start with limited-memory BFGS and a backtracking line search.

    Args:
        objective: loss per row.
        theta: starting points, shape (start, parameter).
        max_steps: most iterations.
        gradient_tolerance: stop a start when its largest derivative is below.
        change_tolerance: stop a start when five steps in a row lower the loss by less than this, in nats.
        history: number of pairs kept.
        progress: called with the step and the losses.

    Source: Nocedal & Wright 2006, Numerical Optimization, algorithms 7.4 and 3.1.
    """
    search = _Search(objective, theta, history)
    for step in range(max_steps):
        if not len(search.active):
            break
        search.step()
        search.retire(gradient_tolerance, change_tolerance)
        if progress:
            progress(step + 1, search.loss)
    return search.optimum()


def polish(objective: Objective, optimum: Optimum, max_steps: int, change_tolerance: float = 1e-6) -> Optimum:
    """Carry on with the best start alone until its loss hardly changes.

    Args:
        objective: loss per row.
        optimum: where all starts ended; the others stay there.
        max_steps: most further steps.
        change_tolerance: as for `lbfgs`, in nats.
    """
    best = torch.tensor([optimum.best], device=optimum.theta.device)
    ended = lbfgs(
        lambda theta, _: objective(theta, best), optimum.theta[best], max_steps, 1e-6, change_tolerance
    )
    update = {field.name: getattr(optimum, field.name).clone() for field in fields(optimum)}
    for name, values in update.items():
        values[best] = getattr(ended, name) + (optimum.steps[best] if name == "steps" else 0)
    return Optimum(**update)


class _Search:
    """State of the batched quasi-Newton search; every tensor has the leading axis of all starts."""

    def __init__(self, objective: Objective, theta: Tensor, history: int) -> None:
        self.objective, self.history = objective, history
        starts, size = theta.shape
        self.theta = theta.clone()
        self.active = torch.arange(starts, device=theta.device)
        self.loss, self.gradient = evaluate(objective, theta, self.active)
        self.s = torch.zeros(history, starts, size, dtype=theta.dtype, device=theta.device)
        self.y = torch.zeros_like(self.s)
        self.rho = torch.zeros(history, starts, dtype=theta.dtype, device=theta.device)
        self.newest = 0
        self.steps = torch.zeros(starts, dtype=torch.int64, device=theta.device)
        self.reason = torch.full((starts,), LIMIT, device=theta.device)
        self.calm = torch.zeros_like(self.steps)
        self.fresh = torch.ones(starts, dtype=torch.bool, device=theta.device)
        self.drop = torch.full_like(self.loss, torch.inf)
        self.stuck = torch.zeros_like(self.fresh)

    def direction(self, rows: Tensor) -> Tensor:
        """Two-loop recursion; empty pairs have rho = 0 and drop out."""
        q = self.gradient[rows].clone()
        order = [(self.newest - 1 - k) % self.history for k in range(self.history)]
        alphas = []
        for k in order:
            alpha = self.rho[k, rows] * (self.s[k, rows] * q).sum(1)
            q -= alpha[:, None] * self.y[k, rows]
            alphas.append(alpha)
        last = order[0]
        curvature = (self.y[last, rows] ** 2).sum(1) * self.rho[last, rows]
        first = 1.0 / self.gradient[rows].norm(dim=1).clamp(min=1.0)
        q *= torch.where(curvature > 0, 1 / torch.where(curvature > 0, curvature, 1.0), first)[:, None]
        for k, alpha in zip(reversed(order), reversed(alphas), strict=True):
            beta = self.rho[k, rows] * (self.y[k, rows] * q).sum(1)
            q += (alpha - beta)[:, None] * self.s[k, rows]
        return -q

    def step(self, backtracks: int = 25) -> None:
        """Move every active start along its direction to the first point of sufficient decrease."""
        rows = self.active
        direction = self.direction(rows)
        slope = (direction * self.gradient[rows]).sum(1)
        uphill = slope >= 0
        direction = torch.where(uphill[:, None], -self.gradient[rows], direction)
        slope = torch.where(uphill, -(self.gradient[rows] ** 2).sum(1), slope)
        length = torch.ones_like(slope)
        pending = torch.arange(len(rows), device=rows.device)
        self.stuck[rows], self.drop[rows] = True, 0.0
        for _ in range(backtracks):
            where = rows[pending]
            trial = self.theta[where] + length[pending, None] * direction[pending]
            loss, gradient = evaluate(self.objective, trial, where)
            enough = loss <= self.loss[where] + 1e-4 * length[pending] * slope[pending]
            self._accept(where[enough], trial[enough], loss[enough], gradient[enough])
            length[pending] *= self._shrink(loss, self.loss[where], slope[pending], length[pending])
            pending = pending[~enough]
            if not len(pending):
                break
        self.newest = (self.newest + 1) % self.history
        oldest = rows[self.stuck[rows]]
        self.rho[self.newest - 1, oldest] = 0.0

    @staticmethod
    def _shrink(loss: Tensor, before: Tensor, slope: Tensor, length: Tensor) -> Tensor:
        """Factor of the next trial: minimum of the parabola of value, slope and trial, within 0.1 to 0.5."""
        excess = loss - before - length * slope
        factor = torch.where(torch.isfinite(excess) & (excess > 0), -0.5 * length * slope / excess, 0.1)
        return torch.nan_to_num(factor, nan=0.1).clamp(0.1, 0.5)

    def _accept(self, rows: Tensor, theta: Tensor, loss: Tensor, gradient: Tensor) -> None:
        s, y = theta - self.theta[rows], gradient - self.gradient[rows]
        product = (s * y).sum(1)
        curved = product > 1e-10 * s.norm(dim=1) * y.norm(dim=1)
        slot = self.newest
        self.s[slot, rows], self.y[slot, rows] = s, y
        self.rho[slot, rows] = torch.where(curved, 1 / torch.where(curved, product, 1.0), 0.0)
        self.drop[rows] = self.loss[rows] - loss
        self.theta[rows], self.loss[rows], self.gradient[rows] = theta, loss, gradient
        self.stuck[rows] = False
        self.steps[rows] += 1

    def retire(self, gradient_tolerance: float, change_tolerance: float) -> None:
        """Take finished starts out of the batch; a stuck one first drops its history and tries once more."""
        rows = self.active
        flat = self.gradient[rows].abs().amax(1) < gradient_tolerance
        small = self.drop[rows] <= change_tolerance
        self.calm[rows] = torch.where(small, self.calm[rows] + 1, 0)
        calm, stuck = self.calm[rows] >= 5, self.stuck[rows]
        again = stuck & self.rho[:, rows].any(0)
        self.rho[:, rows[again]] = 0.0
        hopeless = stuck & ~again
        for done, reason in ((hopeless, STUCK), (calm, CHANGE), (flat, GRADIENT)):
            self.reason[rows[done]] = reason
        self.active = rows[~(flat | calm | hopeless)]

    def optimum(self) -> Optimum:
        """Where everything stands."""
        gradient = self.gradient.abs().amax(1)
        return Optimum(self.theta, self.loss, gradient, self.reason, self.steps)
