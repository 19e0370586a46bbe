"""Exact derivatives of one Rosenbrock step: forward (tangent) and backward (adjoint).

Differentiating W u_i = r_i gives W du_i = dr_i − dW u_i, with dW = −dh/(γh²) I − dJ and (dJ) u_i = D²f[u_i,
·]. The adjoint runs the stages backwards: with ū_i the gradient by u_i, μ_i = W⁻ᵀ ū_i is the gradient by r_i,
and W itself contributes −μ_iᵀ dW u_i. So both need second derivatives of f, at the start of the step only.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from multiscale.solver.rosenbrock import Factorised, Method, combine
from multiscale.solver.system import Point, System, time_direction

__all__ = ["StepGradient", "step_adjoint", "step_tangent"]


class StepGradient(NamedTuple):
    """Gradient by the start of a step and by its size: `at` like the start, `h` of shape (system,)."""

    at: Point
    h: Tensor


def step_tangent(
    method: Method,
    system: System,
    factors: Factorised,
    at: Point,
    h: Tensor,
    u: Tensor,
    along: Point,
    dh: Tensor,
) -> tuple[Tensor, Tensor]:
    """Derivative of a step along a direction of its start and its size.

    Args:
        method: its coefficients.
        system: f and its derivatives.
        factors: of W in this step.
        at: start of the step.
        h: step sizes, shape (system,).
        u: stages, shape (stage, system, size).
        along: direction; leading axes may hold several.
        dh: change of the step size, shape (..., system).

    Returns:
        derivatives of the new state, (..., system, size), and of the stages, (stage, ..., system, size).
    """
    size, rate = h.unsqueeze(-1), dh.unsqueeze(-1)
    drift, bend = 0.0, 0.0
    if not system.autonomous:
        moving = time_direction(at)
        drift, bend = system.push(at, moving), system.push2(at, moving, along)
    du: list[Tensor] = []
    for i, alpha in enumerate(method.alpha):
        inside = Point(at.t + alpha * h, at.x + combine(method.a[i], u[:i]), at.p)
        moved = Point(along.t + alpha * dh, along.x + combine(method.a[i], du), along.p)
        dr = system.push(inside, moved) + combine(method.c[i], du) / size
        dr = dr - combine(method.c[i], u[:i]) * rate / size**2 + method.d[i] * (rate * drift + size * bend)
        stage = Point(torch.zeros_like(at.t), u[i], torch.zeros_like(at.p))
        dr = dr + rate / (method.gamma * size**2) * u[i] + system.push2(at, stage, along)
        du.append(factors.solve(dr))
    return along.x + combine(method.m, du), torch.stack(du)


def step_adjoint(
    method: Method,
    system: System,
    factors: Factorised,
    at: Point,
    h: Tensor,
    u: Tensor,
    new: Tensor,
    stages: Tensor | None = None,
) -> StepGradient:
    """Gradient by the start and the size of a step, of a function of its result.

    Args:
        method: its coefficients.
        system: f and its derivatives.
        factors: of W in this step.
        at: start of the step.
        h: step sizes, shape (system,).
        u: stages, shape (stage, system, size).
        new: gradient by the new state, shape (system, size).
        stages: gradient by the stages besides what comes through the new state (dense output), like `u`.
    """
    size = h.unsqueeze(-1)
    weights = u.new_tensor(method.m)[:, None, None] * new
    bar = weights if stages is None else weights + stages
    x_bar, p_bar = new.clone(), torch.zeros_like(at.p)
    t_bar, h_bar = torch.zeros_like(at.t), torch.zeros_like(h)
    mu = torch.zeros_like(u)
    for i in reversed(range(len(method.alpha))):
        mu[i] = factors.solve_transposed(bar[i])
        inside = Point(at.t + method.alpha[i] * h, at.x + combine(method.a[i], u[:i]), at.p)
        t, x, p = system.pull(inside, mu[i])
        x_bar, p_bar, t_bar = x_bar + x, p_bar + p, t_bar + t
        h_bar = h_bar + method.alpha[i] * t
        if i:
            a, c = u.new_tensor(method.a[i])[:, None, None], u.new_tensor(method.c[i])[:, None, None]
            bar[:i] += a * x + c / size * mu[i]
            h_bar = h_bar - (c * u[:i] * mu[i]).sum((0, 2)) / h**2
    weight = u.new_tensor(method.d)[:, None]
    t, x, p = system.pull2(at, mu, Point(weight * h, u, torch.zeros_like(at.p)))
    if not system.autonomous:
        h_bar = h_bar + ((weight.unsqueeze(-1) * mu).sum(0) * system.push(at, time_direction(at))).sum(-1)
    h_bar = h_bar + (mu * u).sum((0, 2)) / (method.gamma * h**2)
    return StepGradient(Point(t_bar + t.sum(0), x_bar + x.sum(0), p_bar + p.sum(0)), h_bar)
