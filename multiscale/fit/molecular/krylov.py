"""Solving with a large symmetric matrix, and drawing with it as precision, from products with it alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

__all__ = ["Roots", "Solution", "conjugate_gradients", "inverse_root"]

Product = Callable[[Tensor], Tensor]

MOST = 500
"""Most products."""

BASIS = 1 << 27
"""Numbers of a Krylov basis that are kept (1 GB); a longer one is made twice."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Where conjugate gradients ended.

    Args:
        x: of K x = b.
        downward: direction p with pᵀ K p ≤ 0 that ended it early, None if there was none.
        products: number of products.
    """

    x: Tensor
    downward: Tensor | None
    products: int


def conjugate_gradients(K: Product, b: Tensor, tolerance: float, most: int = MOST) -> Solution:
    """Solve K x = b until |b − K x| ≤ tolerance · |b|, or until a direction of negative curvature turns up.

    Args:
        K: product with a symmetric matrix.
        b: right-hand side, (parameter,).
        tolerance: relative.
        most: products.

    Source: Nocedal & Wright 2006, Numerical Optimization, algorithm 7.1 (line search Newton-CG).
    """
    x, r = torch.zeros_like(b), b.clone()
    p, square = r.clone(), r @ r
    goal = (tolerance * tolerance) * square
    for count in range(1, most + 1):
        Kp = K(p)
        curved = p @ Kp
        if not curved > 0:
            return Solution(x, p, count)
        length = square / curved
        x += length * p
        r -= length * Kp
        before, square = square, r @ r
        if square <= goal:
            return Solution(x, None, count)
        p = r + (square / before) * p
    return Solution(x, None, most)


@dataclass(frozen=True, eq=False)
class Roots:
    """What `inverse_root` gives.

    Args:
        y: K^(−½) z, (parameter, column).
        ln_determinant: unbiased estimate of ln |K| from every column, (column,).
        products: number of products.
    """

    y: Tensor
    ln_determinant: Tensor
    products: int


def inverse_root(K: Product, z: Tensor, tolerance: float, most: int = MOST) -> Roots | None:
    """K^(−½) z by Lanczos' method: with z standard normal a draw from the normal distribution of precision K.

    In the basis V of the Krylov space of z, K is tridiagonal, T, and K^(−½) z ≈ |z| V T^(−½) e₁. It ends when
    V T⁻¹ e₁ solves K x = z to the tolerance. The same T gives ln |K| ≈ n e₁ᵀ ln(T) e₁.

    Args:
        K: product with a symmetric matrix.
        z: (parameter, column).
        tolerance: relative residual of every column.
        most: products.

    Returns:
        None if K is not positive definite.

    Source: Chow & Saad 2014, SIAM J. Sci. Comput. 36:A588, doi:10.1137/130920587; ln |K|: Ubaru, Chen & Saad
        2017, SIAM J. Matrix Anal.
    Appl. 38:1075.
    """
    kept: list[Tensor] | None = []
    alpha, beta = [], []
    length = z.norm(dim=0)
    pivot, last = torch.ones_like(length), torch.ones_like(length)
    for v, a, b in islice(_walk(K, z / length), most):
        if kept is not None:
            kept = [*kept, v] if (len(kept) + 1) * v.numel() <= BASIS else None
        if alpha:
            last = -last * beta[-1] / pivot
        pivot = a if not alpha else a - beta[-1] ** 2 / pivot
        alpha, beta = [*alpha, a], [*beta, b]
        if not bool((pivot > 0).all()):
            return None
        if bool((b * (last / pivot).abs() <= tolerance).all()):
            break
    return _combined(K, z, alpha, beta[:-1], kept)


def _walk(K: Product, v: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Vectors of Lanczos' basis (zero at the end of the space), diagonal of T, what stands beside it."""
    before, beta = torch.zeros_like(v), torch.zeros_like(v[0])
    while True:
        w = K(v) - beta * before
        alpha = (w * v).sum(0)
        w -= alpha * v
        beta = w.norm(dim=0)
        ended = beta <= 1e-12 * alpha.abs()
        beta = torch.where(ended, 0.0, beta)
        yield v, torch.where(v.any(0), alpha, 1.0), beta
        before, v = v, torch.where(ended, 0.0, w / torch.where(ended, 1.0, beta))


def _combined(
    K: Product, z: Tensor, alpha: list[Tensor], beta: list[Tensor], kept: list[Tensor] | None
) -> Roots | None:
    """Weigh the basis by |z| T^(−½) e₁."""
    T = torch.diag_embed(torch.stack(alpha, 1))
    if beta:
        side = torch.stack(beta, 1)
        T = T + torch.diag_embed(side, 1) + torch.diag_embed(side, -1)
    values, vectors = torch.linalg.eigh(T)
    if not bool((values > 0).all()):
        return None
    first, length = vectors[:, 0, :], z.norm(dim=0)
    weights = length[:, None] * torch.einsum("cik,ck->ci", vectors, first * values.rsqrt())
    y, basis = torch.zeros_like(z), _basis(K, z / length, len(alpha), kept)
    for v, weight in zip(basis, weights.T, strict=True):
        y += weight * v
    return Roots(y, len(z) * (first**2 * values.log()).sum(1), len(alpha))


def _basis(K: Product, z: Tensor, count: int, kept: list[Tensor] | None) -> Iterable[Tensor]:
    return kept if kept is not None else (v for v, _, _ in islice(_walk(K, z), count))
