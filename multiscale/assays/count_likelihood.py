"""Likelihood of a matrix of counts for many starts at once: one pass over it, exact derivatives.

With u = s·exp(v), v = ln rate − ln r, the negative binomial with mean s·rate and dispersion r is

    ln p(y) = Σ_{k<y} ln(1 + k/r) + y ln(s·rate) − (y + r) ln(1 + u) − ln y!

Only the third term needs every pair of cell and feature. The first depends on how many cells exceed k, the
second on sums per group, the last on nothing. No term cancels as r → ∞, where the Poisson distribution is
reached smoothly.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["CountLikelihood", "negative_binomial_matrix"]

BLOCK = 2**18
"""Numbers held at once in a temporary, 2 MiB of float64: several of them stay in the cache of one core."""

TABULATED = 1024
"""Counts above this are summed with lnΓ, one entry each, instead of through the table of exceedances."""


class CountLikelihood(torch.nn.Module):
    """Negative binomial log likelihood of a fixed matrix of counts, as a function of rates and dispersions.

    Args:
        counts: y, non-negative integers, shape (row, feature).
        ln_size: ln s, log of the size factor of each row, shape (row,).
        group: index of the group whose rate explains a row, int64, shape (row,).
        groups: number of groups; `ln_rate` has that many.
        mask: true where the entry was observed, shape (row, feature); all if None.

    Source: definition, with Γ(y + r)/Γ(r) = Π_{k<y} (r + k). `noise.negative_binomial` is its readable twin.
    """

    counts: Tensor
    ln_size: Tensor
    group: Tensor
    observed: Tensor | None
    sums: Tensor
    constant: Tensor
    step: Tensor
    step_feature: Tensor
    exceeding: Tensor
    large: Tensor
    large_feature: Tensor

    def __init__(
        self, counts: Tensor, ln_size: Tensor, group: Tensor, groups: int, mask: Tensor | None = None
    ) -> None:
        super().__init__()
        observed = None if mask is None else mask.to(torch.float64)
        y = counts.to(torch.float64) if observed is None else counts.to(torch.float64) * observed
        size = ln_size.to(torch.float64)
        self.register_buffer("counts", y)
        self.register_buffer("ln_size", size)
        self.register_buffer("group", group)
        self.register_buffer("observed", observed)
        self.register_buffer("sums", y.new_zeros(groups, y.shape[1]).index_add_(0, group, y))
        self.register_buffer("constant", (y * size.unsqueeze(1) - torch.lgamma(y + 1.0)).sum(0))
        step, step_feature, exceeding = exceedances(y)
        self.register_buffer("step", step)
        self.register_buffer("step_feature", step_feature)
        self.register_buffer("exceeding", exceeding)
        row, large_feature = torch.nonzero(y > TABULATED, as_tuple=True)
        self.register_buffer("large", y[row, large_feature])
        self.register_buffer("large_feature", large_feature)

    def forward(self, ln_rate: Tensor, ln_dispersion: Tensor) -> Tensor:
        """Log probability of each feature's counts, summed over rows.

        Args:
            ln_rate: ln of the expected count at size 1, shape (start, group, feature).
            ln_dispersion: ln r, shape (start, feature).

        Returns:
            shape (start, feature), in nats, differentiable twice in both arguments.
        """
        ln_ratio = ln_rate - ln_dispersion.unsqueeze(1)
        r = torch.exp(ln_dispersion)
        saturation = _Saturation.apply(ln_ratio, r, self.counts, self.ln_size, self.group, self.observed)
        linear = (self.sums * ln_rate).sum(1)
        return self._rise(ln_dispersion, r) + linear - saturation + self.constant

    def _rise(self, ln_dispersion: Tensor, r: Tensor) -> Tensor:
        """Σ over rows of Σ_{k<y} ln(1 + k/r), shape (start, feature)."""
        terms = self.exceeding * torch.log1p(self.step / r[:, self.step_feature])
        rise = torch.zeros_like(r).index_add(1, self.step_feature, terms)
        if self.large.numel() == 0:
            return rise
        r_large = r[:, self.large_feature]
        gamma = torch.lgamma(self.large + r_large) - torch.lgamma(TABULATED + r_large)
        beyond = gamma - (self.large - TABULATED) * ln_dispersion[:, self.large_feature]
        return rise.index_add(1, self.large_feature, beyond)


def negative_binomial_matrix(
    counts: Tensor,
    ln_size: Tensor,
    group: Tensor,
    ln_rate: Tensor,
    ln_dispersion: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Log probability of a matrix of counts, summed over rows.

    `CountLikelihood` does the same and keeps what does not change between calls.

    Args:
        counts: shape (row, feature).
        ln_size: shape (row,).
        group: int64, shape (row,).
        ln_rate: shape (start, group, feature).
        ln_dispersion: shape (start, feature).
        mask: true where observed, shape (row, feature).

    Returns:
        shape (start, feature), in nats.

    With r = 1 the distribution is geometric, and at mean 1 a count of zero has probability one half:

    >>> zero = torch.zeros(1, 1, dtype=torch.float64)
    >>> one_row = torch.zeros(1, dtype=torch.int64)
    >>> float(negative_binomial_matrix(zero, zero[0], one_row, zero.unsqueeze(0), zero).exp())
    0.5
    """
    likelihood = CountLikelihood(counts, ln_size, group, ln_rate.shape[1], mask)
    return likelihood(ln_rate, ln_dispersion)


def exceedances(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Number of rows whose count exceeds k, for every feature and every k below `TABULATED`.

    Args:
        counts: shape (row, feature).

    Returns:
        k (float64), feature (int64) and number of rows (float64), one entry per pair with a positive number.

    >>> k, feature, rows = exceedances(torch.tensor([[2.0, 0.0], [1.0, 0.0]]))
    >>> k.tolist(), feature.tolist(), rows.tolist()
    ([0.0, 1.0], [0, 0], [2.0, 1.0])
    """
    y = counts.to(torch.int64).clamp(max=TABULATED)
    features = y.shape[1]
    width = int(y.max()) + 1 if y.numel() else 1
    cell = torch.arange(features, device=y.device) * width + y
    histogram = torch.bincount(cell.flatten(), minlength=features * width).reshape(features, width)
    exceeding = histogram.sum(1, keepdim=True) - histogram.cumsum(1)
    feature, k = torch.nonzero(exceeding, as_tuple=True)
    return k.to(torch.float64), feature, exceeding[feature, k].to(torch.float64)


class _Saturation(torch.autograd.Function):
    """Σ over rows of (y + r) ln(1 + s exp(v)), with the gradient taken in the same pass.

    With p = u/(1 + u): ∂/∂v of a group = Σ over its rows of (y + r) p, and ∂/∂r = Σ over rows of ln(1 + u).
    """

    @staticmethod
    def forward(ctx, ln_ratio, r, counts, ln_size, group, observed):
        value = torch.zeros_like(r)
        by_ratio = torch.zeros_like(ln_ratio)
        by_r = torch.zeros_like(r)
        for rows, weight, u in _blocks(ln_ratio, r, counts, ln_size, group, observed):
            ln_one_plus = torch.log1p(u)
            if observed is not None:
                ln_one_plus *= observed[rows]
            by_r += ln_one_plus.sum(1)
            value += ln_one_plus.mul_(weight).sum(1)
            by_ratio.index_add_(1, group[rows], weight.mul_(u).div_(u.add_(1.0)))
        ctx.constants = counts, ln_size, group, observed
        ctx.save_for_backward(ln_ratio, r, by_ratio, by_r)
        return value

    @staticmethod
    def backward(ctx, *grads):
        (grad,) = grads
        by_ratio, by_r = _SaturationGradient.apply(grad, *ctx.saved_tensors, *ctx.constants)
        return by_ratio, by_r, None, None, None, None


class _SaturationGradient(torch.autograd.Function):
    """Gradient of `_Saturation`; its own gradient needs the curvature, which takes another pass.

    ∂²/∂v² of a group = Σ over its rows of (y + r) p (1 − p), ∂²/∂v∂r = Σ over its rows of p, ∂²/∂r² = 0.
    """

    @staticmethod
    def forward(ctx, grad, ln_ratio, r, by_ratio, by_r, counts, ln_size, group, observed):
        ctx.constants = counts, ln_size, group, observed
        ctx.save_for_backward(grad, ln_ratio, r, by_ratio, by_r)
        return grad.unsqueeze(1) * by_ratio, grad * by_r

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):  # pyright: ignore[reportIncompatibleMethodOverride]  (by the decorator)
        grad, ln_ratio, r, by_ratio, by_r = ctx.saved_tensors
        to_ratio, to_r = grads
        curvature, mixed = torch.zeros_like(ln_ratio), torch.zeros_like(ln_ratio)
        _, _, group, observed = ctx.constants
        for rows, weight, u in _blocks(ln_ratio, r, *ctx.constants):
            p = u / (1.0 + u)
            curvature.index_add_(1, group[rows], weight.mul_(p).div_(u.add_(1.0)))
            mixed.index_add_(1, group[rows], p if observed is None else p * observed[rows])
        by_grad = (to_ratio * by_ratio).sum(1) + to_r * by_r
        ratio = grad.unsqueeze(1) * (to_ratio * curvature + to_r.unsqueeze(1) * mixed)
        return by_grad, ratio, grad * (to_ratio * mixed).sum(1), None, None, None, None, None, None


def _blocks(
    ln_ratio: Tensor, r: Tensor, counts: Tensor, ln_size: Tensor, group: Tensor, observed: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows in blocks that fit the cache, their weights y + r (zero where not observed), and u = s exp(v)."""
    ratio, size = torch.exp(ln_ratio), torch.exp(ln_size)
    step = max(16, BLOCK // max(1, r.numel()))
    for rows in torch.arange(len(counts), device=counts.device).split(step):
        weight = counts[rows] + r.unsqueeze(1)
        if observed is not None:
            weight *= observed[rows]
        yield rows, weight, ratio[:, group[rows]].mul_(size[rows].unsqueeze(1))
