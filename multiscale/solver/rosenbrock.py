"""One step of a Rosenbrock method for dx/dt = f(t, x, p): linearly implicit, so that it has no inner
iteration.

With J = ∂f/∂x and f_t = ∂f/∂t at the start of the step and W = I/(hγ) − J, the stages solve

    W u_i = f(t + α_i h, x + Σ_{j<i} a_ij u_j) + Σ_{j<i} c_ij u_j / h + d_i h f_t

and x(t + h) ≈ x + Σ m_i u_i, with error estimate Σ e_i u_i. Inside the step, with Θ between 0 and 1,

    x(t + Θh) ≈ (1 − Θ) x + Θ (x(t + h) + (1 − Θ) (k_1 + Θ (k_2 + Θ k_3))),   k_l = Σ_i H_li u_i.

Source: Hairer and Wanner 1996, Solving Ordinary Differential Equations II, section IV.7, equations 7.25.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from multiscale.solver.rodas5p import RODAS5P, Method
from multiscale.solver.system import Point, System, dense, time_direction

__all__ = [
    "RODAS5P",
    "DenseFactors",
    "Eliminate",
    "Factorised",
    "Method",
    "Stages",
    "combine",
    "interpolate",
    "interpolation_slope",
    "step",
]


class Factorised(Protocol):
    """A factorised matrix W, one per system."""

    singular: Tensor

    def solve(self, r: Tensor) -> Tensor:
        """Return k with W k = r, shape (..., system, size)."""
        ...

    def solve_transposed(self, r: Tensor) -> Tensor:
        """Return k with Wᵀ k = r, shape (..., system, size)."""
        ...


Eliminate = Callable[[Tensor, Tensor], Factorised]
"""Factorises W = shift · I − J, with shift (system,) and J on its pattern, (system, nonzero)."""


class Stages(NamedTuple):
    """Result of one step: new state and error estimate, (system, size); stages u, (stage, system, size)."""

    x: Tensor
    error: Tensor
    u: Tensor


def step(
    method: Method, system: System, eliminate: Eliminate, at: Point, h: Tensor
) -> tuple[Stages, Factorised]:
    """Take one step of every system.

    Args:
        method: its coefficients.
        system: f and its derivatives.
        eliminate: see `Eliminate`.
        at: start of the step.
        h: step sizes, s, shape (system,).

    Returns:
        the stages, and the factors of W.
    """
    factors = eliminate(1 / (method.gamma * h), system.jacobian(at))
    drift = 0.0
    if not system.autonomous:
        drift = h[:, None] * system.push(at, time_direction(at))
    rate = 1 / h[:, None]
    u = [factors.solve(system.rate(at) + method.d[0] * drift)]
    for i in range(1, len(method.alpha)):
        inner, coupled = _combinations(method, i, u)
        r = torch.addcmul(system.rate(Point(at.t + method.alpha[i] * h, at.x + inner, at.p)), coupled, rate)
        u.append(factors.solve(r if method.d[i] == 0.0 else r + method.d[i] * drift))
    stages = torch.stack(u)
    new, error = _weighted(stages, method.m, method.e)
    return Stages(at.x + new, error, stages), factors


def _combinations(method: Method, i: int, u: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Σ a_ij u_j and Σ c_ij u_j of stage i."""
    return _weighted(torch.stack(u), method.a[i], method.c[i])


def _weighted(stages: Tensor, first: tuple[float, ...], second: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Two combinations of stages at once, each (system, size)."""
    table = _table((first, second), stages.dtype, stages.device)
    both = (table @ stages.flatten(1)).unflatten(1, stages.shape[1:])
    return both[0], both[1]


@lru_cache(maxsize=256)
def _table(weights: tuple[tuple[float, ...], ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Weights as a matrix; made once, because copying a few numbers costs as much as using them."""
    return torch.tensor(weights, dtype=dtype, device=device)


def combine(weights: tuple[float, ...], u: list[Tensor] | Tensor) -> Tensor | float:
    """Σ w_i u_i over the first axis; 0 where there is nothing to add."""
    if len(u) == 0:
        return 0.0
    stacked = torch.stack(u) if isinstance(u, list) else u
    return torch.tensordot(_table((weights,), stacked.dtype, stacked.device)[0], stacked, 1)


def interpolate(method: Method, x: Tensor, new: Tensor, u: Tensor, theta: Tensor) -> Tensor:
    """State inside a step, at the fraction Θ of it.

    Args:
        method: its coefficients.
        x: state at the start, shape (system, size).
        new: state at the end.
        u: stages, shape (stage, system, size).
        theta: Θ, shape (..., system).

    Returns:
        shape (..., system, size).
    """
    k1, k2, k3 = torch.tensordot(_table(method.dense, u.dtype, u.device), u, 1)
    s = theta.unsqueeze(-1)
    return (1 - s) * x + s * (new + (1 - s) * (k1 + s * (k2 + s * k3)))


def interpolation_slope(method: Method, x: Tensor, new: Tensor, u: Tensor, theta: Tensor) -> Tensor:
    """Derivative of `interpolate` by Θ, for arguments of the same shapes."""
    k1, k2, k3 = torch.tensordot(_table(method.dense, u.dtype, u.device), u, 1)
    s = theta.unsqueeze(-1)
    return new - x + (1 - 2 * s) * (k1 + s * (k2 + s * k3)) + s * (1 - s) * (k2 + 2 * s * k3)


class DenseFactors:
    """W as a dense matrix, solved with pivoting: the definition of `Factorised`, which autograd can follow.

    Args:
        W: shape (system, size, size).
    """

    def __init__(self, W: Tensor) -> None:
        self._lu, self._pivots, info = torch.linalg.lu_factor_ex(W)
        self.singular = info > 0

    @classmethod
    def of(cls, pattern: Tensor, size: int) -> Eliminate:
        """Factorise matrices with a pattern in this way."""

        def eliminate(shift: Tensor, jacobian: Tensor) -> DenseFactors:
            identity = torch.eye(size, dtype=shift.dtype, device=shift.device)
            return cls(shift[:, None, None] * identity - dense(pattern, jacobian, size))

        return eliminate

    def solve(self, r: Tensor) -> Tensor:
        """Return k with W k = r."""
        return self._solve(r, False)

    def solve_transposed(self, r: Tensor) -> Tensor:
        """Return k with Wᵀ k = r."""
        return self._solve(r, True)

    def _solve(self, r: Tensor, adjoint: bool) -> Tensor:
        sides = r.reshape(-1, *r.shape[-2:]).permute(1, 2, 0)
        solved = torch.linalg.lu_solve(self._lu, self._pivots, sides, adjoint=adjoint)
        return solved.permute(2, 0, 1).reshape(r.shape)
