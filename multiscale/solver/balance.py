"""Binding equilibrium as a function of totals, zero included, with closed first and second derivatives.

Derivatives of x. Let θ_m = λ_m, the logarithm of the free concentration c_m. Where T_m ≤ 0, where it has
none, let θ_m = c_m itself: x_j = w_j Π_m c_m^A_mj is a polynomial in c, so it has derivatives at c = 0 and a
continuation to slightly negative totals, down to which a solver may step. With P_j = w_j exp(Σ A_mj λ_m) over
λ, Q_j = Π c_m^A_mj over c, x = P Q, B = ∂x/∂θ and H = A B, a direction a = (dT, d ln w) moves

    H θ_a = dT − A (x d ln w),   x_a = B θ_a + x d ln w,

and, since A x = T is linear, two directions move x by x_ab = B θ_ab + C with H θ_ab = −A C, where C is the
second derivative of P Q at fixed θ_ab: P (l_a l_b Q + l_a Q_b + l_b Q_a + Q_ab), l_a = d ln w + Σ A_mj dλ_m.
Where all totals are positive this is B = diag(x) Aᵀ, H = A diag(x) Aᵀ and x_ab = x (l_a l_b + Aᵀ λ_ab).
Reverse directions are the transposes. Autograd sees the same x through two recorded Newton steps, as in
`steady`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from multiscale.solver.equilibrium import equilibrium

__all__ = ["Balance", "balance"]

_CONTINUED = 4  # Newton steps from a total of zero to one within the tolerance of a solver below it


def balance(A: Tensor, totals: Tensor, ln_weight: Tensor) -> Balance:
    """Equilibrium at given totals, with its history for autograd if there is any.

    Args:
        A: formula, integers ≥ 0 with independent rows, shape (moiety, species).
        totals: T, µM, shape (..., moiety); slightly negative ones are allowed.
        ln_weight: ln w, shape (..., species).

    Returns:
        `Balance`; NaN where totals or weights are not finite or no concentrations have these totals.
    """
    shape = torch.broadcast_shapes(totals.shape[:-1], ln_weight.shape[:-1])
    T, w = (part.expand(*shape, part.shape[-1]) for part in (totals, ln_weight))
    with torch.no_grad():
        here = _solve(A, T.detach(), w.detach())
    if not torch.is_grad_enabled() or not (T.requires_grad or w.requires_grad):
        return here
    for _ in range(2):
        here = Balance(A, here.empty, Balance(A, here.empty, here.theta, w).newton(T), w)
    return here


@dataclass(frozen=True, eq=False)
class Balance:
    """Concentrations of a batch at θ and their derivatives; leading axes are those of the batch.

    Args:
        A: formula, shape (moiety, species).
        empty: moieties whose θ is c, shape (..., moiety).
        theta: λ, or c where empty.
        ln_weight: ln w, shape (..., species).
    """

    A: Tensor
    empty: Tensor
    theta: Tensor
    ln_weight: Tensor

    @cached_property
    def some(self) -> Tensor:
        """Moieties that are empty in some system, shape (k,); all of `Q` is about them."""
        return self.empty.reshape(-1, len(self.A)).any(0).nonzero().flatten()

    @cached_property
    def P(self) -> Tensor:
        """w exp(Σ A λ) over moieties that are not empty."""
        return (self.ln_weight + self._logarithms(self.theta)).exp()

    @cached_property
    def powers(self) -> tuple[Tensor, Tensor, Tensor]:
        """c^n with n = A_mj and its two derivatives, shape (..., k, species); 1, 0, 0 where not empty."""
        c, n = self.theta[..., self.some].unsqueeze(-1), self.A[self.some]
        empty = self.empty[..., self.some].unsqueeze(-1)
        slope, bend = n * _power(c, n - 1), n * (n - 1) * _power(c, n - 2)
        return (
            torch.where(empty, _power(c, n), 1.0),
            torch.where(empty, slope, 0.0),
            torch.where(empty, bend, 0.0),
        )

    @cached_property
    def Q(self) -> Tensor:
        """Π c^n, shape (..., species)."""
        return _product(self.powers[0])

    @cached_property
    def slopes(self) -> Tensor:
        """∂Q/∂c, shape (..., k, species)."""
        value, slope, _ = self.powers
        return slope * _others(value, torch.zeros_like(value))[0]

    @cached_property
    def x(self) -> Tensor:
        """Concentrations, shape (..., species)."""
        return self.P * self.Q

    @cached_property
    def B(self) -> Tensor:
        """∂x/∂θ, transposed: shape (..., moiety, species)."""
        logarithmic = torch.where(self.empty.unsqueeze(-1), 0.0, self.A * self.x.unsqueeze(-2))
        return logarithmic.index_add(-2, self.some, self.P.unsqueeze(-2) * self.slopes)

    @cached_property
    def scaled(self) -> tuple[Tensor, Tensor]:
        """H = A B scaled to a unit diagonal, and the scale; 0 for moieties that nothing can fill."""
        H = self.A @ self.B.mT
        diagonal = H.diagonal(dim1=-2, dim2=-1).detach()
        scale = torch.where(diagonal == 0, 0.0, diagonal.abs().rsqrt())
        filled = H * scale.unsqueeze(-1) * scale.unsqueeze(-2)
        return filled + torch.diag_embed(torch.where(scale == 0, 1.0, 0.0)), scale

    @cached_property
    def factors(self) -> tuple[Tensor, Tensor]:
        """LU factors of the scaled H."""
        lower_upper, pivots, _ = torch.linalg.lu_factor_ex(self.scaled[0])
        return lower_upper, pivots

    def solve(self, right: Tensor, adjoint: bool = False) -> Tensor:
        """H⁻¹ right, or its transpose; `right` may have more leading axes, (..., moiety)."""
        scale, (factors, pivots) = self.scaled[1], self.factors
        shape = torch.broadcast_shapes(right.shape, scale.shape)
        scaled = (scale * right).expand(shape).unsqueeze(-1)
        return scale * torch.linalg.lu_solve(factors, pivots, scaled, adjoint=adjoint).squeeze(-1)

    @cached_property
    def by_totals(self) -> Tensor:
        """∂x/∂T, shape (..., species, moiety)."""
        scale, (factors, pivots) = self.scaled[1].unsqueeze(-1), self.factors
        return (scale * torch.linalg.lu_solve(factors, pivots, scale * self.B, adjoint=True)).mT

    def newton(self, totals: Tensor) -> Tensor:
        """θ after one Newton step on A x = T."""
        return self.theta + self.solve(totals - self.x @ self.A.T)

    def push(self, totals: Tensor, ln_weight: Tensor) -> tuple[Tensor, Tensor]:
        """θ_a and x_a of a direction."""
        moved = self.x * ln_weight
        theta = self.solve(totals - moved @ self.A.T)
        return theta, (theta.unsqueeze(-2) @ self.B).squeeze(-2) + moved

    def push2(self, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
        """x_ab of two directions (θ, ln w)."""
        (theta_a, w_a), (theta_b, w_b) = a, b
        l_a, l_b = w_a + self._logarithms(theta_a), w_b + self._logarithms(theta_b)
        c_a, c_b = (part[..., self.some].unsqueeze(-1) for part in (theta_a, theta_b))
        Q_a, Q_b = (self.slopes * c_a).sum(-2), (self.slopes * c_b).sum(-2)
        Q_ab = (self._slopes_along(c_a) * c_b).sum(-2)
        C = self.P * (l_a * l_b * self.Q + l_a * Q_b + l_b * Q_a + Q_ab)
        theta = self.solve(-C @ self.A.T)
        return (theta.unsqueeze(-2) @ self.B).squeeze(-2) + C

    def transposed(self, u: Tensor) -> Tensor:
        """Gradient of u · x by θ."""
        return (self.B @ u.unsqueeze(-1)).squeeze(-1)

    def back(self, theta: Tensor) -> Tensor:
        """From a gradient by θ to that by T."""
        return self.solve(theta, adjoint=True)

    def pull(self, theta: Tensor, ln_weight: Tensor) -> tuple[Tensor, Tensor]:
        """From a gradient by θ and ln w, taken as independent, to that by T and ln w."""
        totals = self.back(theta)
        return totals, ln_weight - self.x * (totals @ self.A)

    def bend(self, r: Tensor, theta: Tensor, ln_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient by θ and ln w of r · (derivative of P Q along θ_a and ln w_a): what C does, transposed."""
        l_a, c_a = ln_weight + self._logarithms(theta), theta[..., self.some].unsqueeze(-1)
        weight = r * self.P
        by_logarithm = weight * (l_a * self.Q + (self.slopes * c_a).sum(-2))
        by_c = (weight.unsqueeze(-2) * (l_a.unsqueeze(-2) * self.slopes + self._slopes_along(c_a))).sum(-1)
        by_theta = torch.where(self.empty, 0.0, by_logarithm @ self.A.T)
        return by_theta.index_add(-1, self.some, by_c), by_logarithm

    def _logarithms(self, theta: Tensor) -> Tensor:
        """Σ A_mj θ_m over moieties that are not empty."""
        return torch.where(self.empty, 0.0, theta) @ self.A

    def _slopes_along(self, c_a: Tensor) -> Tensor:
        """Derivative of ∂Q/∂c along c_a, shape (..., k, species)."""
        value, slope, bend = self.powers
        others, along = _others(value, slope * c_a)
        return bend * c_a * others + slope * along


def _solve(A: Tensor, totals: Tensor, ln_weight: Tensor) -> Balance:
    """Equilibrium at totals ≥ 0, continued to negative ones; NaN where there is none."""
    finite = totals.isfinite().all(-1) & ln_weight.isfinite().all(-1)
    usable = finite.unsqueeze(-1)
    T, w = torch.where(usable, totals, 0.0), torch.where(usable, ln_weight, 0.0)
    found = equilibrium(A, w, T.clamp(min=0.0))
    empty = T <= 0
    theta = torch.where(empty, 0.0, found.multipliers)
    theta = torch.where((found.solved & finite).unsqueeze(-1), theta, torch.nan)
    here = Balance(A, empty, theta, w)
    if bool((T < 0).any()):
        below = (T < 0).any(-1, keepdim=True)
        for _ in range(_CONTINUED):
            here = Balance(A, empty, torch.where(below, here.newton(T), theta), w)
    return here


def _power(c: Tensor, n: Tensor) -> Tensor:
    """c^n for integers n by multiplication, so that all derivatives exist at 0; 1 for n ≤ 0."""
    result = torch.ones_like(c * n)
    for i in range(int(n.max()) if n.numel() else 0):
        result = result * torch.where(n > i, c, 1.0)
    return result


def _product(values: Tensor) -> Tensor:
    """Product over the axis before the last, by multiplication."""
    result = torch.ones_like(values.sum(-2))
    for i in range(values.shape[-2]):
        result = result * values[..., i, :]
    return result


def _others(value: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Per factor the product of all others, and its derivative if every factor has the given slope."""
    value, slope = torch.broadcast_tensors(value, slope)
    if value.shape[-2] == 0:
        return value, slope
    pairs = list(zip(value.unbind(-2), slope.unbind(-2), strict=True))
    before, after = _running(pairs), _running(pairs[::-1])[::-1]
    products = [_times(b, a) for b, a in zip(before, after, strict=True)]
    return torch.stack([p for p, _ in products], -2), torch.stack([s for _, s in products], -2)


def _running(pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Products, with derivatives, of all factors before each."""
    result = [(torch.ones_like(pairs[0][0]), torch.zeros_like(pairs[0][1]))]
    for pair in pairs[:-1]:
        result.append(_times(result[-1], pair))
    return result


def _times(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return a[0] * b[0], a[0] * b[1] + a[1] * b[0]
