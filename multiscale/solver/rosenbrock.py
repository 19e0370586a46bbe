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
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

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


@dataclass(frozen=True)
class Method:
    """Coefficients of a Rosenbrock method in the form above; rows are stages.

    Args:
        name: of the method.
        order: of the solution; the error estimate has one less.
        gamma: γ.
        alpha: α, where in the step each stage lies.
        a: stage values, row i holds a_i0 ... a_i,i−1.
        c: couplings of stages, in the same way.
        d: weights of the time derivative.
        m: weights of the solution.
        e: weights of the error estimate.
        dense: H, three rows.
    """

    name: str
    order: int
    gamma: float
    alpha: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    c: tuple[tuple[float, ...], ...]
    d: tuple[float, ...]
    m: tuple[float, ...]
    e: tuple[float, ...]
    dense: tuple[tuple[float, ...], ...]


_A6 = (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946)

RODAS5P = Method(
    name="Rodas5P",
    order=5,
    gamma=0.21193756319429014,
    alpha=(
        0.0,
        0.6358126895828704,
        0.4095798393397535,
        0.9769306725060716,
        0.4288403609558664,
        1.0,
        1.0,
        1.0,
    ),
    a=(
        (),
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        _A6,
        (*_A6, 1.0),
        (*_A6, 1.0, 1.0),
    ),
    c=(
        (),
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
        (
            *(30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783),
            *(-19.097331116725623, -28.087943162872662),
        ),
        (
            *(37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047),
            *(-40.06618937091002, -54.66780262877968, -9.48861652309627),
        ),
    ),
    d=(
        *(0.21193756319429014, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734),
        *(2.325825639765069, 0.0, 0.0, 0.0),
    ),
    m=(*_A6, 1.0, 1.0, 1.0),
    e=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    dense=(
        (
            *(25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204),
            *(0.524948541321073, 1.1241088310450404, 0.4272876194431874, -0.17202221070155493),
        ),
        (
            *(-9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796),
            *(20.176138334709044, 15.98066361424651, -6.789040303419874, -6.710236069923372),
        ),
        (
            *(11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643),
            *(-52.072871366152654, -59.78993625266729, -0.15582684282751913, 4.883087185713722),
        ),
    ),
)
"""Order 5, eight stages, A-stable and stiffly accurate, dense output of order 4.

Source: Steinebach 2023, Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the
Julia Differential Equations package, BIT 63:27, doi 10.1007/s10543-023-00967-x.
"""


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
