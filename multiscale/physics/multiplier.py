"""A bounded factor on any flux, through which a network may correct a rate law but not its equilibria."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from multiscale.physics.law import Law
from multiscale.physics.rational import law_of

__all__ = ["bounded_multiplier", "scaled"]


@cache
def scaled(law: Law, bound: float) -> Law:
    """A law times a bounded factor: v·exp(bound·tanh h), one factor for the net flux.

    Slots: h (1, for example the output of a network; 0 leaves the law as it is), then those of the law. The
    factor is positive and lies between exp(−bound) and exp(bound): zeros and signs of the flux, and with them
    equilibria and conservation laws, stay those of the law.

    Args:
        law: any rate law.
        bound: largest |ln factor|, for example ln 3 for at most threefold either way.

    Source: definition.

    >>> import math, torch
    >>> from multiscale.physics.mass_action import mass_action
    >>> law = scaled(mass_action(1), math.log(3.0))
    >>> law.slots
    ('h', 'k', 'x1')
    >>> round(float(law.rate(torch.tensor([50.0, 2.0, 5.0], dtype=torch.float64))), 9)
    30.0
    """
    return law_of(law.name, ("h", *law.slots), _Scaled(law, bound))


def bounded_multiplier(h: Tensor, bound: float) -> Tensor:
    """exp(bound·tanh h), a positive factor between exp(−bound) and exp(bound).

    Args:
        h: any shape, 1.
        bound: largest |ln factor|.

    Source: definition.
    """
    return torch.exp(bound * torch.tanh(h))


@dataclass(frozen=True)
class _Scaled:
    """m(h) v(z) with m = exp(b tanh h): m′ = m b (1 − tanh²h), m″ = m′ (b (1 − tanh²h) − 2 tanh h)."""

    law: Law
    bound: float

    def value(self, z: Tensor) -> Tensor:
        return bounded_multiplier(z[..., 0], self.bound) * self.law.rate(z[..., 1:])

    def gradient(self, z: Tensor) -> Tensor:
        m, m1, _ = self._multiplier(z)
        v, slope = self.law.rate(z[..., 1:])[..., None], self.law.gradient(z[..., 1:])
        return torch.cat([m1 * v, m * slope], -1)

    def curvature(self, z: Tensor, a: Tensor) -> Tensor:
        m, m1, m2 = self._multiplier(z)
        h, rest = a[..., :1], a[..., 1:]
        v, slope = self.law.rate(z[..., 1:])[..., None], self.law.gradient(z[..., 1:])
        first = m1 * (slope * rest).sum(-1, keepdim=True) + m2 * v * h
        return torch.cat([first, m * self.law.curvature(z[..., 1:], rest) + m1 * slope * h], -1)

    def _multiplier(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """m, m′ and m″, shape (..., 1)."""
        m, t = bounded_multiplier(z[..., :1], self.bound), torch.tanh(z[..., :1])
        rise = self.bound * (1.0 - t**2)
        return m, m * rise, m * rise * (rise - 2.0 * t)
