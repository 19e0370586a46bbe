"""Densities and draws that instruments share; finite and twice differentiable wherever a fit may look."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

__all__ = [
    "draw_gamma",
    "draw_logistic",
    "draw_normal",
    "draw_student_t",
    "log_beta_ratio",
    "log_difference_of_ndtr",
    "logistic",
    "normal_of_variance",
    "softplus",
    "student_t_of_variance",
]

LN_TWO_PI = math.log(2.0 * math.pi)


def softplus(x: Tensor) -> Tensor:
    """ln(1 + eˣ), 0 at −∞, with finite first and second derivatives everywhere.

    >>> round(float(softplus(torch.zeros((), dtype=torch.float64))), 6)
    0.693147
    """
    return -torch.nn.functional.logsigmoid(-x)


def log_difference_of_ndtr(high: Tensor, low: Tensor) -> Tensor:
    """ln(Φ(high) − Φ(low)) for high > low, exact in both tails.

    The difference is taken on the side of the smaller numbers.

    >>> zero = torch.zeros((), dtype=torch.float64)
    >>> round(float(log_difference_of_ndtr(zero + 1.0, zero - 1.0).exp()), 6)
    0.682689
    """
    flip = high + low > 0
    upper, lower = torch.where(flip, -low, high), torch.where(flip, -high, low)
    whole = torch.special.log_ndtr(upper)
    return whole + torch.log(-torch.expm1(torch.special.log_ndtr(lower) - whole))


def normal_of_variance(y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Log density of a normal reading: −½ ((y − μ)²/v + ln v + ln 2π).

    Args:
        y: readings.
        mean: μ, same unit.
        variance: v > 0, unit squared.

    Source: definition.

    >>> one = torch.ones((), dtype=torch.float64)
    >>> round(float(normal_of_variance(one, one, one)), 6)
    -0.918939
    """
    return -0.5 * ((y - mean).square() / variance + torch.log(variance) + LN_TWO_PI)


def student_t_of_variance(y: Tensor, mean: Tensor, variance: Tensor, ln_degrees: Tensor) -> Tensor:
    """Log density of Student's t.

    With z² = (y − μ)²/v: ln p = lnΓ((ν+1)/2) − lnΓ(ν/2) − ½ ln(πνv) − (ν+1)/2 · ln(1 + z²/ν).

    Args:
        y: readings.
        mean: location μ.
        variance: v > 0, the square of the scale (the variance of y is v ν/(ν − 2)).
        ln_degrees: ln ν.

    Source: definition. With ν = 1 this is the Cauchy density, 1/π at its centre:

    >>> zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    >>> round(float(student_t_of_variance(zero, zero, one, zero).exp()), 6)
    0.31831
    """
    degrees = torch.exp(ln_degrees)
    half = 0.5 * (degrees + 1.0)
    scale = math.log(math.pi) + ln_degrees + torch.log(variance)
    tail = torch.log1p((y - mean).square() / (degrees * variance))
    return torch.lgamma(half) - torch.lgamma(0.5 * degrees) - 0.5 * scale - half * tail


def logistic(y: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Log density of a logistic reading with standard deviation σ; its tails are heavier than a normal's.

    With scale s = σ √3/π, z = (y − μ)/s and the logistic function S: ln p = ln S(z) + ln S(−z) − ln s.

    Source: definition. At its centre 1/(4 s):

    >>> zero = torch.zeros((), dtype=torch.float64)
    >>> round(float(logistic(zero, zero, torch.tensor(math.pi / 3**0.5, dtype=torch.float64)).exp()), 6)
    0.25
    """
    scale = sd * (math.sqrt(3.0) / math.pi)
    z = (y - mean) / scale
    return -softplus(-z) - softplus(z) - torch.log(scale)


def log_beta_ratio(a: Tensor, b: Tensor, ln_alpha: Tensor, ln_beta: Tensor) -> Tensor:
    """ln(B(a + α, b + β)/B(α, β)): with the number of orders, the log probability of a beta-binomial count.

    Args:
        a: count of the first kind.
        b: count of the second kind.
        ln_alpha: ln α.
        ln_beta: ln β.

    Source: definition. One of two reads, all shares equally likely (α = β = 1), two orders: one third.

    >>> one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    >>> round(float(2.0 * log_beta_ratio(one, one, zero, zero).exp()), 6)
    0.333333
    """
    alpha, beta = torch.exp(ln_alpha), torch.exp(ln_beta)
    drawn = torch.lgamma(a + alpha) - torch.lgamma(alpha) + torch.lgamma(b + beta) - torch.lgamma(beta)
    return drawn - torch.lgamma(a + b + alpha + beta) + torch.lgamma(alpha + beta)


def draw_normal(mean: Tensor, variance: Tensor, generator: Generator) -> Tensor:
    """Draw from a normal distribution, one number per element of both."""
    mean, variance = torch.broadcast_tensors(mean, variance)
    return mean + variance.sqrt() * _normals(mean, generator)


def draw_student_t(mean: Tensor, variance: Tensor, ln_degrees: Tensor, generator: Generator) -> Tensor:
    """Draw from Student's t: a normal deviate over √(χ²/ν), and χ²/2 is a gamma deviate of shape ν/2."""
    mean, variance, ln_degrees = torch.broadcast_tensors(mean, variance, ln_degrees)
    half = 0.5 * torch.exp(ln_degrees)
    ratio = draw_gamma(half, generator) / half
    return mean + (variance / ratio).sqrt() * _normals(mean, generator)


def draw_gamma(shape: Tensor, generator: Generator) -> Tensor:
    """Draw from gamma distributions of mean and variance `shape`."""
    return torch._standard_gamma(shape, generator=generator)  # pyright: ignore[reportPrivateImportUsage]


def draw_logistic(mean: Tensor, sd: Tensor, generator: Generator) -> Tensor:
    """Draw from a logistic distribution, by inversion."""
    mean, sd = torch.broadcast_tensors(mean, sd)
    share = torch.rand(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + sd * (math.sqrt(3.0) / math.pi) * torch.logit(share)


def _normals(like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
