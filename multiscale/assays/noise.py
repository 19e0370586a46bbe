"""Noise models: normalised log densities, differentiable, float64.

Measured values have shape (entry,), locations (..., entry); every function broadcasts and returns one log
density per entry.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["censored_normal", "log_normal", "negative_binomial", "normal", "student_t"]

HALF_LN_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def normal(y: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Log density of a normal reading: ln p = −z²/2 − ln σ − ½ ln 2π, z = (y − μ)/σ.

    Args:
        y: readings, shape (entry,).
        mean: μ, same unit, shape (..., entry).
        sd: σ > 0, same unit, broadcastable.

    Returns:
        shape (..., entry), in nats.

    Source: definition.

    >>> one = torch.ones((), dtype=torch.float64)
    >>> round(float(normal(one, one, one)), 6)
    -0.918939
    """
    z = (y - mean) / sd
    return -0.5 * z.square() - torch.log(sd) - HALF_LN_TWO_PI


def censored_normal(y: Tensor, mean: Tensor, sd: Tensor, censoring: Tensor) -> Tensor:
    """Log likelihood of a reading that may be a bound: normal density, or mass on the side of the truth.

    With z = (y − μ)/σ: exact ln φ(z) − ln σ; left-censored (truth ≤ y) ln Φ(z); right-censored (truth ≥ y) ln
    Φ(−z).

    Args:
        y: readings or bounds, shape (entry,).
        mean: μ, shape (..., entry).
        sd: σ > 0, broadcastable.
        censoring: 0 exact, -1 left, +1 right, shape (entry,).

    Returns:
        shape (..., entry), in nats; finite and with right gradients far in the tails.

    Source: Tobin 1958, doi:10.2307/1907382 (likelihood of limited readings).

    At the bound itself half the mass lies on either side:

    >>> zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    >>> round(float(censored_normal(zero, zero, one, torch.tensor(-1)).exp()), 12)
    0.5
    """
    exact = normal(y, mean, sd)
    if not torch.any(censoring):
        return exact
    # An exact entry would put z = 0 here: its branch is discarded, and stays finite under differentiation.
    tail = torch.special.log_ndtr(-censoring * (y - mean) / sd)
    return torch.where(censoring == 0, exact, tail)


def log_normal(y: Tensor, ln_median: Tensor, ln_sd: Tensor) -> Tensor:
    """Log density of a positive reading: ln p(y) = ln N(ln y; ln median, σ²) − ln y.

    Args:
        y: readings > 0, shape (entry,).
        ln_median: shape (..., entry).
        ln_sd: σ > 0 of ln y, broadcastable.

    Returns:
        shape (..., entry), density per unit of y, in nats.

    Source: definition.

    >>> one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    >>> round(float(log_normal(one, zero, one)), 6)
    -0.918939
    """
    return normal(torch.log(y), ln_median, ln_sd) - torch.log(y)


def student_t(y: Tensor, mean: Tensor, scale: Tensor, degrees: Tensor) -> Tensor:
    """Log density of a heavy-tailed reading: Student's t with location μ, scale σ and ν degrees of freedom.

    ln p = lnΓ((ν+1)/2) − lnΓ(ν/2) − ½ ln(πν) − ln σ − (ν+1)/2 · ln(1 + z²/ν).

    Args:
        y: readings, shape (entry,).
        mean: μ, shape (..., entry).
        scale: σ > 0, broadcastable.
        degrees: ν > 0, broadcastable.

    Returns:
        shape (..., entry), in nats.

    Source: definition. With ν = 1 this is the Cauchy density, 1/π at its centre:

    >>> zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    >>> round(float(student_t(zero, zero, one, one).exp()), 6)
    0.31831
    """
    z = (y - mean) / scale
    half = 0.5 * (degrees + 1.0)
    normalisation = torch.lgamma(half) - torch.lgamma(0.5 * degrees) - 0.5 * torch.log(math.pi * degrees)
    return normalisation - torch.log(scale) - half * torch.log1p(z.square() / degrees)


def negative_binomial(y: Tensor, ln_mean: Tensor, ln_dispersion: Tensor) -> Tensor:
    """Log probability of a count with mean μ and variance μ + μ²/r.

    ln p = lnΓ(y+r) − lnΓ(r) − lnΓ(y+1) + y (ln μ − ln r) − (y + r) ln(1 + μ/r).

    Args:
        y: counts ≥ 0, shape (entry,).
        ln_mean: ln μ, shape (..., entry).
        ln_dispersion: ln r, broadcastable; r → ∞ is the Poisson distribution.

    Returns:
        shape (..., entry), in nats. The difference of lnΓ loses about r·1e-16·ln r to cancellation;
        `CountLikelihood` does not.

    Source: definition (Robinson & Smyth 2008, doi:10.1093/biostatistics/kxm030, with φ = 1/r).

    With r = 1 it is geometric; at μ = 1 the chance of zero is one half:

    >>> zero = torch.zeros((), dtype=torch.float64)
    >>> round(float(negative_binomial(zero, zero, zero).exp()), 12)
    0.5
    """
    r = torch.exp(ln_dispersion)
    ln_ratio = ln_mean - ln_dispersion
    choose = torch.lgamma(y + r) - torch.lgamma(r) - torch.lgamma(y + 1.0)
    return choose + y * ln_ratio - (y + r) * torch.logaddexp(ln_ratio, torch.zeros_like(ln_ratio))
