"""Polynomials and their ratios with closed first and second derivatives: what most rate laws are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from multiscale.physics.law import Law

__all__ = ["Extended", "Polynomial", "Ratio", "Smooth", "law_of", "polynomial"]


@runtime_checkable
class Smooth(Protocol):
    """A function f of quantities z, shape (..., slot), with its derivatives."""

    def value(self, z: Tensor) -> Tensor:
        """f, shape (...)."""
        ...

    def gradient(self, z: Tensor) -> Tensor:
        """∂f/∂z, shape (..., slot)."""
        ...

    def curvature(self, z: Tensor, a: Tensor) -> Tensor:
        """Σ_j ∂²f/∂z_i∂z_j a_j, shape (..., slot)."""
        ...


@dataclass(frozen=True)
class Polynomial:
    """f = Σ_t c_t Π_{i in t} z_i; a slot that occurs twice in a term is squared.

    Derivatives are products of the other factors, so that they are exact where factors are zero.

    Args:
        terms: pairs of a coefficient and the slots of the factors; factors are multiplied in this order.
    """

    terms: tuple[tuple[float, tuple[int, ...]], ...]

    def value(self, z: Tensor) -> Tensor:
        """f, shape (...)."""
        parts = [(0, c, _product([z[..., i] for i in term], z)) for c, term in self.terms]
        return _collect(parts, z[..., :1]).squeeze(-1)

    def gradient(self, z: Tensor) -> Tensor:
        """∂f/∂z_i = Σ_t c_t Π_{j in t, j ≠ i} z_j, shape (..., slot)."""
        parts: list[tuple[int, float, Tensor]] = []
        for c, term in self.terms:
            others = _others([z[..., i] for i in term], torch.mul)
            one = torch.ones_like(z[..., 0])
            parts += [(i, c, one if other is None else other) for i, other in zip(term, others, strict=True)]
        return _collect(parts, z)

    def curvature(self, z: Tensor, a: Tensor) -> Tensor:
        """Σ_j ∂²f/∂z_i∂z_j a_j: the products of the other factors, differentiated along a."""
        z, a = torch.broadcast_tensors(z, a)
        parts: list[tuple[int, float, Tensor]] = []
        for c, term in self.terms:
            others = _others([(z[..., i], a[..., i]) for i in term], _times)
            parts += [(i, c, other[1]) for i, other in zip(term, others, strict=True) if other is not None]
        return _collect(parts, z)


@dataclass(frozen=True)
class Ratio:
    """f = N/D.

    From N = f D: ∇N = D ∇f + f ∇D and N″ = D f″ + ∇f ∇Dᵀ + ∇D ∇fᵀ + f D″.
    """

    numerator: Smooth
    denominator: Smooth

    def value(self, z: Tensor) -> Tensor:
        """f, shape (...)."""
        return self.numerator.value(z) / self.denominator.value(z)

    def gradient(self, z: Tensor) -> Tensor:
        """∇f = (∇N − f ∇D)/D, shape (..., slot)."""
        below = self.denominator.value(z)[..., None]
        f = self.numerator.value(z)[..., None] / below
        return (self.numerator.gradient(z) - f * self.denominator.gradient(z)) / below

    def curvature(self, z: Tensor, a: Tensor) -> Tensor:
        """f″a = (N″a − f D″a − ∇f (∇D·a) − ∇D (∇f·a))/D, shape (..., slot)."""
        below = self.denominator.value(z)[..., None]
        f = self.numerator.value(z)[..., None] / below
        slope_below = self.denominator.gradient(z)
        slope = (self.numerator.gradient(z) - f * slope_below) / below
        cross = slope * _dot(slope_below, a) + slope_below * _dot(slope, a)
        return (self.numerator.curvature(z, a) - f * self.denominator.curvature(z, a) - cross) / below


@dataclass(frozen=True)
class Extended:
    """f of z and of sums z_i + z_j of pairs of slots, which follow z in the order given.

    Args:
        function: a function of the slots and the sums.
        pairs: first and second slot of every sum.
    """

    function: Smooth
    pairs: tuple[tuple[int, int], ...]

    def value(self, z: Tensor) -> Tensor:
        """f, shape (...)."""
        return self.function.value(self._extend(z))

    def gradient(self, z: Tensor) -> Tensor:
        """∂f/∂z, shape (..., slot)."""
        return self._fold(self.function.gradient(self._extend(z)))

    def curvature(self, z: Tensor, a: Tensor) -> Tensor:
        """Σ_j ∂²f/∂z_i∂z_j a_j, shape (..., slot)."""
        return self._fold(self.function.curvature(self._extend(z), self._extend(a)))

    def _extend(self, z: Tensor) -> Tensor:
        """z followed by the sums."""
        return torch.cat([z, torch.stack([z[..., i] + z[..., j] for i, j in self.pairs], -1)], -1)

    def _fold(self, g: Tensor) -> Tensor:
        """Transpose of `_extend`: what a sum contributes goes to both of its slots."""
        slots = list(g.unbind(-1))
        size = len(slots) - len(self.pairs)
        for (i, j), along in zip(self.pairs, slots[size:], strict=True):
            slots[i], slots[j] = slots[i] + along, slots[j] + along
        return torch.stack(slots[:size], -1)


def polynomial(slots: Sequence[str], *terms: str) -> Polynomial:
    """Polynomial written as words: each term names its factors, a minus sign in front subtracts it.

    Args:
        slots: names of the quantities, in order.
        terms: factors separated by blanks, for example "k x1 x2" or "- k_r y1".

    Source: definition.

    >>> f = polynomial(("k_f", "k_r", "x", "y"), "k_f x", "- k_r y")
    >>> float(f.value(torch.tensor([2.0, 0.5, 3.0, 4.0], dtype=torch.float64)))
    4.0
    """
    words = [term.split() for term in terms]
    signs = [-1.0 if word and word[0] == "-" else 1.0 for word in words]
    factors = [tuple(slots.index(name) for name in word if name != "-") for word in words]
    return Polynomial(tuple(zip(signs, factors, strict=True)))


def law_of(name: str, slots: Sequence[str], function: Smooth) -> Law:
    """Rate law whose flux is a function with closed derivatives."""
    return Law(name, tuple(slots), function.value, function.gradient, function.curvature)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar product over slots, shape (..., 1)."""
    return (a * b).sum(-1, keepdim=True)


def _collect(parts: list[tuple[int, float, Tensor]], like: Tensor) -> Tensor:
    """Sums of c·part by slot, zero where a slot has none."""
    slots: list[Tensor | None] = [None] * like.shape[-1]
    for i, c, part in parts:
        part, total = part if c == 1.0 else c * part, slots[i]
        slots[i] = part if total is None else total + part
    return torch.stack([torch.zeros_like(like[..., 0]) if slot is None else slot for slot in slots], -1)


def _product(factors: list[Tensor], z: Tensor) -> Tensor:
    """Product from left to right; one if there are no factors."""
    return list(accumulate(factors, torch.mul))[-1] if factors else torch.ones_like(z[..., 0])


def _others(factors: list[Any], times: Callable[[Any, Any], Any]) -> list[Any]:
    """For every factor the product of all others, from products before and after it (no division).

    None stands for the empty product: this is the inner loop of a solver, which multiplies nothing by one.
    """
    if not factors:
        return []
    before = [None, *accumulate(factors[:-1], times)]
    after = [None, *accumulate(factors[:0:-1], times)][::-1]
    return [b if a is None else a if b is None else times(b, a) for b, a in zip(before, after, strict=True)]


def _times(p: tuple[Tensor, Tensor], q: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Product of two values that each carry their derivative along a."""
    return p[0] * q[0], p[1] * q[0] + p[0] * q[1]
