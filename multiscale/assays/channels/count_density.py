"""Log probability of a matrix of counts, entry by entry: cheap where counts are zero, exact as r → ∞.

With v = ln m − ln r and the softplus s(v) = ln(1 + eᵛ), the negative binomial with mean m and dispersion r is

    ln p(y) = −r s(v) + [y (ln m − s(v)) + Σ_{k<y} (ln(1 + k/r) − ln(1 + k))].

The bracket is zero where y is. Nothing cancels as r → ∞, where the Poisson distribution is reached, or as
m → 0. Most counts are small: their sums come from a table. Larger ones are computed in float64, one by one.
Cells are taken in blocks, so that what is needed in between stays in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from multiscale.assays.density import draw_gamma

__all__ = ["LINEAR", "count_coefficient", "count_log_density", "draw_counts"]

Tables = tuple[Tensor, Tensor]

TABULATED = 16
"""Sums over k below this come from a table per dispersion, the rest from Stirling's series."""

SMALL = 3
"""Counts up to this need no float64 where the means are float32: y ln m then keeps six decimal places."""

BLOCK = 1 << 18
"""Entries that a CPU treats at once: an array of float32 takes 1 MiB."""

LINEAR = 40.0
"""Where s(v) = v to the last digit of float64: e^−40 < 2^−53."""


def count_log_density(
    y: Tensor, ln_mean: Tensor, ln_dispersion: Tensor, ln_size: Tensor | None = None
) -> Tensor:
    """Log probability of negative binomial counts with mean m and variance m + m²/r.

    Args:
        y: counts ≥ 0, whole, shape (cell, feature).
        ln_mean: ln m, float32 or float64, shape (cell, feature).
        ln_dispersion: ln r, shape (feature,), which is cheaper, or (cell, feature).
        ln_size: added to `ln_mean`, shape (cell,); no gradient flows into it.

    Returns:
        shape (cell, feature), in nats, of the type of `ln_mean`, once differentiable in it and in ln r.
        ln m and ln r may be as large as the exponents of the type allow: 88 in float32.

    Source: definition (Robinson & Smyth 2008, doi:10.1093/biostatistics/kxm030, with φ = 1/r).
    `noise.negative_binomial` is its readable twin.

    With r = 1 it is geometric: at mean 1 counts of 0, 1, 2 have probabilities 1/2, 1/4, 1/8.

    >>> y, ln_mean = torch.tensor([[0.0, 1.0, 2.0]]), torch.zeros(1, 3, dtype=torch.float64)
    >>> [round(p, 12) for p in count_log_density(y, ln_mean, ln_mean[0]).exp()[0].tolist()]
    [0.5, 0.25, 0.125]
    """
    return _Density.apply(y, ln_mean, ln_dispersion.to(ln_mean.dtype), ln_size)  # pyright: ignore[reportReturnType]


def count_coefficient(y: Tensor, ln_dispersion: Tensor) -> Tensor:
    """ln[Γ(y + r)/(Γ(r) y! rʸ)] = Σ_{k<y} (ln(1 + k/r) − ln(1 + k)), what a count has whatever its mean.

    Mixtures of negative binomials that share r need it once.

    Args:
        y: counts ≥ 0, whole, shape (cell, feature).
        ln_dispersion: ln r, shape (feature,) or (cell, feature).

    Returns:
        shape (cell, feature), of the type of `ln_dispersion`, once differentiable in it.

    For r = 1 every term is zero; for r = 2 a count of 2 has ln(3/2) − ln 2:

    >>> y = torch.tensor([[2.0, 2.0]])
    >>> [round(c, 6) for c in count_coefficient(y, torch.tensor([1.0, 2.0]).double().log())[0].exp().tolist()]
    [1.0, 0.75]
    """
    return _Coefficient.apply(y, ln_dispersion)  # pyright: ignore[reportReturnType]


def draw_counts(ln_mean: Tensor, ln_dispersion: Tensor, generator: Generator) -> Tensor:
    """Draw negative binomial counts of mean m and dispersion r: Poisson about m G/r, G a gamma deviate.

    Args:
        ln_mean: ln m, shape (cell, feature).
        ln_dispersion: ln r, broadcastable.
        generator: source of randomness, on the same device.
    """
    r = torch.exp(ln_dispersion).to(ln_mean.dtype).expand(ln_mean.shape)
    return torch.poisson(torch.exp(ln_mean) * draw_gamma(r, generator) / r, generator=generator)


class _Density(torch.autograd.Function):
    """The density, with both derivatives taken in the same pass.

    With p = 1/(1 + e^−v): ∂/∂ln m = y − (y + r) p, ∂/∂ln r = (y + r) p − r s − Σ_{k<y} k/(r + k).
    """

    @staticmethod
    def forward(ctx, y, ln_mean, ln_dispersion, ln_size):
        size = ln_mean.new_zeros(len(ln_mean)) if ln_size is None else ln_size.to(ln_mean.dtype)
        shared = ln_dispersion.dim() == 1
        tables = _tables(ln_dispersion.to(torch.float64)) if shared else None
        found = [torch.empty(ln_mean.shape, dtype=ln_mean.dtype, device=ln_mean.device) for _ in range(3)]
        for rows in _blocks(y):
            ln_r = ln_dispersion if shared else ln_dispersion[rows]
            m = ln_mean[rows] + size[rows].unsqueeze(1)
            _fill(y[rows].to(m.dtype), m, ln_r, tables, [part[rows] for part in found])
        value, slope, by_dispersion = found
        ctx.save_for_backward(slope, by_dispersion)
        ctx.shared = shared
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):  # pyright: ignore[reportIncompatibleMethodOverride]  (by the decorator)
        slope, by_dispersion = ctx.saved_tensors
        (grad,) = grads
        by_mean = grad * slope if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[2]:
            return None, by_mean, None, None
        by_r = _over_cells(grad, by_dispersion) if ctx.shared else grad * by_dispersion
        return None, by_mean, by_r, None


class _Coefficient(torch.autograd.Function):
    """The coefficient; its derivative in ln r is −Σ_{k<y} k/(r + k)."""

    @staticmethod
    def forward(ctx, y, ln_dispersion):
        entry, column, count = _counted(y, ln_dispersion)
        rise, fall = _sums(count, ln_dispersion, column)
        value = ln_dispersion.new_zeros(y.shape)
        value.view(-1)[entry] = rise.to(value.dtype)
        ctx.save_for_backward(entry, column, fall.to(value.dtype))
        ctx.shape = ln_dispersion.shape
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):  # pyright: ignore[reportIncompatibleMethodOverride]  (by the decorator)
        entry, column, fall = ctx.saved_tensors
        (grad,) = grads
        by_dispersion = grad.new_zeros(ctx.shape)
        by_dispersion.view(-1).index_add_(0, column, -fall * grad.reshape(-1).index_select(0, entry))
        return None, by_dispersion


def _blocks(y: Tensor) -> Iterator[slice]:
    """Rows that are treated together: all at once on a GPU."""
    step = max(1, BLOCK // max(1, y.shape[1])) if y.device.type == "cpu" else max(1, len(y))
    return (slice(first, first + step) for first in range(0, len(y), step))


def _over_cells(grad: Tensor, matrix: Tensor) -> Tensor:
    """Σ_cells grad · matrix; the gradient of a sum over features is one number per cell, repeated."""
    return grad[:, 0] @ matrix if grad.stride(1) == 0 else (grad * matrix).sum(0)


def _fill(y: Tensor, ln_m: Tensor, ln_r: Tensor, tables: Tables | None, into: list[Tensor]) -> None:
    """Ln p, ∂/∂ln m and ∂/∂ln r of some cells: small counts together, others one by one."""
    small = 0 if tables is None else SMALL if ln_m.dtype != torch.float64 else TABULATED
    value, slope, by_dispersion = into
    r, v = torch.exp(ln_r), ln_m - ln_r
    ln_odds = softplus(v, threshold=LINEAR)
    drawn = torch.sigmoid(v).mul_(y + r)
    torch.sub(y, drawn, out=slope)
    own = (ln_m - ln_odds).mul_(y)
    if bool(own.sum().isnan()):
        own = torch.where(y > 0, own, 0.0)  # 0 · ln 0 = 0
    of_r = ln_odds.mul_(r)
    torch.sub(own, of_r, out=value)
    torch.sub(drawn, of_r, out=by_dispersion)
    if tables is not None:
        rise, fall = _looked_up(y, small, tables)
        value.add_(rise)
        by_dispersion.sub_(fall)
    entry, column, count = _counted(y, ln_r, small)
    exact = _of_counted(count, _at(ln_m, entry), ln_r, column, tables)
    for part, of_entry in zip(into, exact, strict=True):
        part.view(-1).index_copy_(0, entry, of_entry.to(part.dtype))


def _looked_up(y: Tensor, small: int, tables: Tables) -> list[Tensor]:
    """Both sums of small counts, and anything for others, shape (cell, feature)."""
    features = torch.arange(y.shape[1], dtype=torch.int32, device=y.device)
    place = y.clamp(max=small).to(torch.int32).mul_(y.shape[1]).add_(features).reshape(-1)
    kept = [table[: small + 1].to(y.dtype).reshape(-1) for table in tables]
    return [table.index_select(0, place).view(y.shape) for table in kept]


def _of_counted(
    count: Tensor, ln_m: Tensor, ln_dispersion: Tensor, column: Tensor, tables: Tables | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Ln p, ∂/∂ln m and ∂/∂ln r of single counts, float64."""
    rise, fall = _sums(count, ln_dispersion, column, tables)
    ln_r = _at(ln_dispersion, column)
    v, r = ln_m - ln_r, torch.exp(ln_r)
    ln_odds, drawn = softplus(v, threshold=LINEAR), (count + r) * torch.sigmoid(v)
    value = rise + count * (ln_m - ln_odds) - r * ln_odds
    return value, count - drawn, drawn - fall - r * ln_odds


def _counted(y: Tensor, ln_dispersion: Tensor, small: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Counts that are not small (float64): their place, the place of their dispersion, and the counts."""
    entry = torch.nonzero(y.reshape(-1) > small).squeeze(1)
    column = entry % y.shape[1] if ln_dispersion.dim() == 1 else entry
    return entry, column, _at(y, entry)


def _at(matrix: Tensor, entry: Tensor) -> Tensor:
    """Some entries, float64."""
    return matrix.reshape(-1).index_select(0, entry).to(torch.float64)


def _sums(
    count: Tensor, ln_dispersion: Tensor, column: Tensor, tables: Tables | None = None
) -> tuple[Tensor, Tensor]:
    """Σ_{k<y} (ln(1 + k/r) − ln(1 + k)) and Σ_{k<y} k/(r + k) of every count, float64."""
    ln_r = ln_dispersion.to(torch.float64)
    if ln_r.dim() > 1:  # a dispersion per count
        ln_r, column = _at(ln_r, column), torch.arange(len(column), device=column.device)
    rises, falls = _tables(ln_r) if tables is None else tables
    place = count.clamp(max=TABULATED).to(torch.int64) * len(ln_r) + column
    rise, fall = _at(rises, place), _at(falls, place)
    (beyond,) = torch.nonzero(count > TABULATED, as_tuple=True)
    if len(beyond):
        more = count[beyond] - TABULATED
        r = torch.exp(ln_r)[column[beyond]]
        tail, tail_fall = _stirling(more, r)
        rise[beyond] += tail + math.lgamma(TABULATED + 1) - torch.lgamma(count[beyond] + 1.0)
        fall[beyond] += tail_fall
    return rise, fall


def _tables(ln_r: Tensor) -> Tables:
    """Both sums for every y up to `TABULATED`, shape (y, dispersion)."""
    k = torch.arange(TABULATED, dtype=ln_r.dtype, device=ln_r.device).unsqueeze(1)
    v = torch.log(k) - ln_r
    none = ln_r.new_zeros(1, len(ln_r))
    rises = torch.cumsum(softplus(v, threshold=LINEAR) - torch.log1p(k), 0)
    return torch.cat([none, rises]), torch.cat([none, torch.cumsum(torch.sigmoid(v), 0)])


def _stirling(more: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Σ ln(1 + k/r) and Σ k/(r + k) over K ≤ k < K + d, K = `TABULATED`, from Stirling's series.

    With a = r + K they are (a + d − ½) ln(1 + d/a) − d + d ln(1 + K/r) + R(a + d) − R(a), where
    ln Γ(x) = (x − ½) ln x − x + ½ ln 2π + R(x), and d − r (ψ(a + d) − ψ(a)), where
    ψ(x) = ln x − 1/(2 x) + R′(x).

    Source: Abramowitz & Stegun 1964, 6.1.41 and 6.3.18. The term left out of R is below 2e-14 for x ≥ 16.
    """
    a = r + TABULATED
    b = a + more
    ln_ratio = torch.log1p(more / a)
    remainder, derivative = _remainder(b)
    remainder_a, derivative_a = _remainder(a)
    rise = (b - 0.5) * ln_ratio - more + more * torch.log1p(TABULATED / r) + remainder - remainder_a
    return rise, more - r * (ln_ratio + 0.5 * more / a / b + derivative - derivative_a)


def _remainder(x: Tensor) -> tuple[Tensor, Tensor]:
    """R(x) = 1/(12 x) − 1/(360 x³) + 1/(1260 x⁵) − 1/(1680 x⁷) and its derivative."""
    i = 1.0 / x
    q = i * i
    value = i * (1 / 12 - q * (1 / 360 - q * (1 / 1260 - q / 1680)))
    return value, -q * (1 / 12 - q * (1 / 120 - q * (1 / 252 - q / 240)))
