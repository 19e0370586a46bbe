"""Optimisers for a batch of independent starts: every start has its own step, history and status.

`objective(theta, rows)` returns the loss of each of the given rows (starts); rows are independent of each
other, so that one backward pass of the sum gives all gradients. Starts that are finished leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from multiscale.fit.trace import UNTRACED, Trace

__all__ = ["Objective", "Optimum", "adam", "lbfgs"]

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
        loss: negative log posterior where the search ended, shape (start,).
        gradient: largest absolute derivative, shape (start,).
        reason: index into REASONS, shape (start,).
        steps: accepted steps, shape (start,).
        evidence: ln of the mass of the posterior around each optimum, up to a constant, −inf where it was not
            computed, shape (start,); see `finish`.
        used: see `Posterior`, shape (start, parameter).
    """

    theta: Tensor
    loss: Tensor
    gradient: Tensor
    reason: Tensor
    steps: Tensor
    evidence: Tensor | None = None
    used: Tensor | None = None

    @property
    def best(self) -> int:
        """Start around which there is most of the posterior; the one of lowest loss if that is not known."""
        if self.evidence is not None and bool(self.evidence.isfinite().any()):
            return int(torch.argmax(self.evidence))
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
    objective: Objective,
    theta: Tensor,
    steps: int,
    rate: float = 0.1,
    progress: Progress | None = None,
    trace: Trace = UNTRACED,
) -> Tensor:
    """Move every start downhill with Adam and a step size that falls as a cosine.

    Args:
        objective: loss per row.
        theta: starting points, shape (start, parameter).
        steps: number of steps.
        rate: first step size, in units of the parameters' scaled lengths.
        progress: called with the step and the losses.
        trace: keeps the state; what it holds already is carried on.

    Returns:
        theta of the lowest loss seen by each start, shape (start, parameter).

    Source: Kingma & Ba 2015, arXiv 1412.6980, algorithm 1.
    """
    state = trace.load() or {
        "theta": theta,
        "first": torch.zeros_like(theta),
        "second": torch.zeros_like(theta),
        "best": theta.clone(),
        "lowest": torch.full_like(theta[:, 0], torch.inf),
        "step": torch.tensor(0),
    }
    for step in range(int(state["step"]) + 1, steps + 1):
        state = _adam_step(objective, state, step, rate * _cosine(step, steps))
        trace.save(state, last=step == steps)
        if progress:
            progress(step, state["lowest"])
    return state["best"]


def _cosine(step: int, steps: int) -> float:
    """Factor of the step size: 1 at the first step, towards 0 at the last."""
    return 0.5 * (1 + torch.cos(torch.tensor(torch.pi * (step - 1) / steps)).item())


def _adam_step(objective: Objective, state: dict[str, Tensor], step: int, rate: float) -> dict[str, Tensor]:
    theta, lowest = state["theta"], state["lowest"]
    loss, gradient = evaluate(objective, theta, torch.arange(len(theta), device=theta.device))
    better = loss < lowest
    first = 0.9 * state["first"] + 0.1 * gradient
    second = 0.999 * state["second"] + 0.001 * gradient**2
    update = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    return {
        "theta": theta - rate * update,
        "first": first,
        "second": second,
        "best": torch.where(better[:, None], theta, state["best"]),
        "lowest": torch.where(better, loss, lowest),
        "step": torch.tensor(step),
    }


def lbfgs(
    objective: Objective,
    theta: Tensor,
    max_steps: int = 300,
    gradient_tolerance: float = 1e-3,
    change_tolerance: float = 1e-3,
    history: int = 20,
    progress: Progress | None = None,
    trace: Trace = UNTRACED,
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
        trace: keeps the state; what it holds already is carried on.

    Source: Nocedal & Wright 2006, Numerical Optimization, algorithms 7.4 and 3.1.
    """
    search = _Search(objective, trace.load() or _first_state(objective, theta, history))
    while len(search.active) and search.round < max_steps:
        search.step()
        search.retire(gradient_tolerance, change_tolerance)
        trace.save(search.state())
        if progress:
            progress(search.round, search.loss)
    trace.save(search.state(), last=True)
    return search.optimum()


def _first_state(objective: Objective, theta: Tensor, history: int) -> dict[str, Tensor]:
    """State of the search before its first step, see `_Search`."""
    starts, size = theta.shape
    loss, gradient = evaluate(objective, theta, torch.arange(starts, device=theta.device))
    s = torch.zeros(history, starts, size, dtype=theta.dtype, device=theta.device)
    steps = torch.zeros(starts, dtype=torch.int64, device=theta.device)
    return {
        "theta": theta.clone(),
        "loss": loss,
        "gradient": gradient,
        "s": s,
        "y": torch.zeros_like(s),
        "rho": torch.zeros(history, starts, dtype=theta.dtype, device=theta.device),
        "steps": steps,
        "reason": torch.full_like(steps, LIMIT),
        "calm": torch.zeros_like(steps),
        "drop": torch.full_like(loss, torch.inf),
        "stuck": torch.zeros_like(steps, dtype=torch.bool),
        "active": torch.arange(starts, device=theta.device),
        "round": torch.tensor(0),
    }


class _Search:
    """The batched quasi-Newton search.

    Args:
        objective: loss per row.
        state: theta, loss and gradient of every start; s, y and rho, the pairs of the two-loop recursion (s =
            change of theta, y = change of gradient, rho = 1 / sᵀy) in a ring with the axis of rounds first;
            accepted steps; reason of the end; how many small steps in a row (calm); last decrease (drop);
            whether the last round found no step (stuck); starts that still move (active); rounds done.
    """

    def __init__(self, objective: Objective, state: dict[str, Tensor]) -> None:
        self.objective = objective
        self.theta, self.loss, self.gradient = state["theta"], state["loss"], state["gradient"]
        self.s, self.y, self.rho = state["s"], state["y"], state["rho"]
        self.steps, self.reason, self.calm = state["steps"], state["reason"], state["calm"]
        self.drop, self.stuck, self.active = state["drop"], state["stuck"], state["active"]
        self.round, self.history = int(state["round"]), len(state["rho"])

    def state(self) -> dict[str, Tensor]:
        """All that the next round needs."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return tensors | {"round": torch.tensor(self.round)}

    @property
    def newest(self) -> int:
        """Where the ring of pairs is written next."""
        return self.round % self.history

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
        self.rho[self.newest, rows[self.stuck[rows]]] = 0.0
        self.round += 1

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
