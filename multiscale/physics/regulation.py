"""Rate laws of regulation: Hill functions and the occupancy of a promoter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from multiscale.physics.law import Law
from multiscale.physics.rational import Polynomial, Ratio, law_of, polynomial

__all__ = ["LAWS", "hill", "hill_repression", "promoter"]


@cache
def hill() -> Law:
    """Activation: v = k xⁿ/(Kⁿ + xⁿ), with sign(x)|x|ⁿ for xⁿ so that it is defined below zero.

    Slots: k (µM/s), K (µM), n (1, at least 1), x (µM). The flux is at most k, half of it at x = K.

    At x = 0 derivatives are those from the right. Where one is infinite there (the second in x for 1 < n < 2,
    the mixed one in x and n at n = 1), its infinite part is left out. For n < 1 the slope itself is infinite.

    Source: A. V. Hill, J. Physiol. 40:iv, 1910; meaning of n: J. N. Weiss, FASEB J. 11:835, 1997,
    doi:10.1096/fasebj.11.11.9285481.

    >>> import torch
    >>> float(hill().rate(torch.tensor([10.0, 1.0, 2.0, 3.0], dtype=torch.float64)))
    9.0
    """
    return law_of("hill", ("k", "K", "n", "x"), _Hill(_share("k p")))


@cache
def hill_repression() -> Law:
    """Repression: v = k Kⁿ/(Kⁿ + xⁿ).

    Slots, derivatives at x = 0 and source: as `hill`. The flux is at most k, reached without repressor.

    >>> import torch
    >>> float(hill_repression().rate(torch.tensor([10.0, 1.0, 2.0, 3.0], dtype=torch.float64)))
    1.0
    """
    return law_of("hill_repression", ("k", "K", "n", "x"), _Hill(_share("k q")))


@cache
def promoter(states: tuple[tuple[int, ...], ...], active: tuple[int, ...]) -> Law:
    """Transcription from a promoter in binding equilibrium: v = k Σ_active w_s Π x / Σ_all w_s Π x.

    The probability of a state is its weight times the concentrations of what is bound in it, divided by the
    sum over all states. With energies, w_s = exp(−ΔG_s/kT) c°^−n for n bound molecules; cooperativity is a
    ΔG_s that differs from the sum of its parts (see `multiscale.physics.energy.ln_weight`).

    Slots: k (µM/s), ln_w1, ln_w2, ... (ln of powers of µM, one for every state after the first), x1, x2, ...
    (µM, factors in the order of their numbers). The flux is at most k.

    Args:
        states: factors bound in every state, numbered from 0; twice the same number for two copies. The first
            state is the empty one, (), with weight 1.
        active: positions in `states` of the states that are transcribed.

    Source: L. Bintu et al., Curr. Opin. Genet. Dev. 15:116, 2005, doi:10.1016/j.gde.2005.02.007.

    Polymerase (0) and an activator (1) that recruits it tenfold:

    >>> import torch
    >>> law = promoter(states=((), (0,), (1,), (0, 1)), active=(1, 3))
    >>> w = torch.tensor([0.1, 1.0, 1.0], dtype=torch.float64)
    >>> x = torch.tensor([1.0, 9.0], dtype=torch.float64)
    >>> round(float(law.rate(torch.cat([torch.ones(1, dtype=torch.float64), w.log(), x]))), 6)
    0.47644
    """
    if not states or states[0] != () or not set(active) <= set(range(len(states))):
        raise ValueError(
            "`states` must begin with the empty state () and `active` must be positions in it; "
            f"got states={states}, active={active}"
        )
    factors = 1 + max((number for state in states for number in state), default=-1)
    slots = ("k", *(f"ln_w{s}" for s in range(1, len(states))), *(f"x{i + 1}" for i in range(factors)))
    terms = [(1 + s, *(1 + len(states) + i for i in state)) for s, state in enumerate(states)]
    bound = Polynomial(tuple((1.0, (0, *terms[s])) for s in active))
    return law_of(
        "promoter", slots, _Promoter(Ratio(bound, Polynomial(tuple((1.0, t) for t in terms))), len(states))
    )


class _Power(NamedTuple):
    """sign(x)|x|ⁿ and its derivatives in x and n; see `hill` for x = 0."""

    p: Tensor
    x: Tensor
    n: Tensor
    xx: Tensor
    xn: Tensor
    nn: Tensor


def _power(x: Tensor, n: Tensor) -> _Power:
    """sign(x)|x|ⁿ with its first and second derivatives."""
    sign, one = torch.where(x < 0, -1.0, 1.0).to(x), torch.ones_like(x)
    size = sign * x  # |x|, with slope 1 at zero
    ln, p = torch.where(x == 0, one, size).log(), sign * size**n
    rough = (x == 0) & (n < 2.0)  # where powers below n are not smooth
    base = torch.where(rough, one, size)
    slope = torch.where(n == 1.0, 1.0, torch.where(n < 1.0, math.inf, 0.0)).to(x)
    below = torch.where(rough, slope, base ** (n - 1.0))
    bend = torch.where(rough, 0.0, base ** (n - 2.0))
    return _Power(p, n * below, p * ln, sign * n * (n - 1.0) * bend, below * (1.0 + n * ln), p * ln**2)


def _share(top: str) -> Ratio:
    """A share of p + q, in the slots k, p, q."""
    slots = ("k", "p", "q")
    return Ratio(polynomial(slots, top), polynomial(slots, "p", "q"))


@dataclass(frozen=True)
class _Hill:
    """A share of p = xⁿ and q = Kⁿ, in units of the larger of |x| and K, which leaves shares unchanged."""

    share: Ratio

    def value(self, z: Tensor) -> Tensor:
        k, p, q, _ = self._powers(z)
        return self.share.value(torch.stack([k, p.p, q.p], -1))

    def gradient(self, z: Tensor) -> Tensor:
        k, p, q, unit = self._powers(z)
        g_k, g_p, g_q = self.share.gradient(torch.stack([k, p.p, q.p], -1)).unbind(-1)
        return torch.stack([g_k, g_q * q.x / unit, g_p * p.n + g_q * q.n, g_p * p.x / unit], -1)

    def curvature(self, z: Tensor, a: Tensor) -> Tensor:
        z, a = torch.broadcast_tensors(z, a)
        k, p, q, unit = self._powers(z)
        a_k, a_K, a_n, a_x = a.unbind(-1)
        a_K, a_x = a_K / unit, a_x / unit
        along = torch.stack([a_k, p.x * a_x + p.n * a_n, q.x * a_K + q.n * a_n], -1)
        powers = torch.stack([k, p.p, q.p], -1)
        _, g_p, g_q = self.share.gradient(powers).unbind(-1)
        h_k, h_p, h_q = self.share.curvature(powers, along).unbind(-1)
        out_K = h_q * q.x + g_q * (q.xx * a_K + q.xn * a_n)
        out_x = h_p * p.x + g_p * (p.xx * a_x + p.xn * a_n)
        out_n = h_p * p.n + h_q * q.n + g_p * (p.xn * a_x + p.nn * a_n) + g_q * (q.xn * a_K + q.nn * a_n)
        return torch.stack([h_k, out_K / unit, out_n, out_x / unit], -1)

    @staticmethod
    def _powers(z: Tensor) -> tuple[Tensor, _Power, _Power, Tensor]:
        """k, p, q and the unit."""
        k, K, n, x = z.unbind(-1)
        unit = torch.maximum(x.abs(), K).detach()
        return k, _power(x / unit, n), _power(K / unit, n), unit


@dataclass(frozen=True)
class _Promoter:
    """A ratio of polynomials in k, the weights of all states and the factors, as a function of ln weights.

    Weights are divided by the largest one, which leaves the ratio unchanged.
    """

    ratio: Ratio
    states: int

    def value(self, z: Tensor) -> Tensor:
        return self.ratio.value(self._weights(z))

    def gradient(self, z: Tensor) -> Tensor:
        u = self._weights(z)
        return self._to_ln(u, self.ratio.gradient(u))

    def curvature(self, z: Tensor, a: Tensor) -> Tensor:
        z, a = torch.broadcast_tensors(z, a)
        u, last = self._weights(z), self.states
        w, a_ln = u[..., 2 : last + 1], a[..., 1:last]
        along = torch.cat([a[..., :1], torch.zeros_like(a[..., :1]), w * a_ln, a[..., last:]], -1)
        bent = torch.cat(
            [torch.zeros_like(a[..., :1]), w * self.ratio.gradient(u)[..., 2 : last + 1] * a_ln], -1
        )
        flat = self._to_ln(u, self.ratio.curvature(u, along))
        return flat + torch.cat([bent, torch.zeros_like(a[..., last:])], -1)

    def _weights(self, z: Tensor) -> Tensor:
        """k, the weights of all states from the empty one on, and the factors."""
        ln_w = torch.cat([torch.zeros_like(z[..., :1]), z[..., 1 : self.states]], -1)
        w = torch.exp(ln_w - ln_w.amax(-1, keepdim=True).detach())
        return torch.cat([z[..., :1], w, z[..., self.states :]], -1)

    def _to_ln(self, u: Tensor, g: Tensor) -> Tensor:
        """Derivatives in ln w from those in w; the empty state has no slot."""
        last = self.states + 1
        return torch.cat([g[..., :1], u[..., 2:last] * g[..., 2:last], g[..., last:]], -1)


LAWS = {"hill": hill, "hill_repression": hill_repression, "promoter": promoter}
