"""Rapid equilibrium: fast reversible reactions stay balanced inside slower kinetics.

Fast reactions conserve totals T = A x, and given T they settle at ln x = ln w + Aᵀλ. Slow reactions
dx/dt = N v(t, x, p) change the totals only, so the state is T and

    dT/dt = A N v(t, x(T, ln w), p).

What follows for derivatives of x is in `balance`; here the chain rule joins them to those of v.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multiscale.solver.balance import Balance, balance
from multiscale.solver.system import Point, System, dense

__all__ = ["RapidEquilibrium", "weights_of_constants"]


@dataclass(frozen=True, eq=False)
class RapidEquilibrium:
    """Totals of fast moieties as a `System`, whose rate goes through their binding equilibrium.

    Its constants are those of the slow system followed by ln w of every species. Where the equilibrium has no
    solution, because a step led to totals that nothing can hold, rates are NaN, so that the step is rejected.
    At totals ≤ 0 derivatives are those from above; if several moieties that share species are empty at once,
    such that no single one can be filled, they are taken as zero.

    Args:
        slow: kinetics of all species, without the fast reactions.
        formula: A, basis of the left null space of the fast stoichiometric matrix, integers ≥ 0, float64,
            shape (moiety, species).
        pattern: entries of ∂(dT/dt)/∂T that can differ from zero.
    """

    slow: System
    formula: Tensor
    pattern: Tensor

    @classmethod
    def build(cls, slow: System, formula: Tensor) -> RapidEquilibrium:
        """Check the moieties and work out the pattern.

        Args:
            slow: as above.
            formula: as above.

        Raises:
            ValueError: the formula has a wrong shape or type, negative or fractional entries, dependent rows,
                or a species that is in no moiety.
        """
        A = formula
        if A.dtype != torch.float64 or A.ndim != 2 or A.shape[1] != slow.size:
            got = f"{A.dtype} of shape {tuple(A.shape)}"
            raise ValueError(f"`formula` must be float64 of shape (moiety, {slow.size}); got {got}.")
        if not bool(((A >= 0) & (A.round() == A)).all() & (A > 0).any(0).all()):
            raise ValueError(
                "`formula` must hold integers ≥ 0 and every species; got others. "
                "Species that no fast reaction touches are moieties of their own."
            )
        if int(torch.linalg.matrix_rank(A)) < len(A):
            raise ValueError("`formula` must have independent rows; got dependent ones. Leave them out.")
        return cls(slow, A, _pattern(slow, A))

    @property
    def size(self) -> int:
        """Number of fast moieties."""
        return len(self.formula)

    @property
    def parameters(self) -> int:
        """Number of constants: those of the slow system and ln w of every species."""
        return self.slow.parameters + self.slow.size

    @property
    def autonomous(self) -> bool:
        """Whether the slow reactions do not read the time."""
        return self.slow.autonomous

    def totals(self, x: Tensor) -> Tensor:
        """T = A x, µM, shape (..., species) → (..., moiety)."""
        return x @ self.formula.T

    def species(self, totals: Tensor, p: Tensor) -> Tensor:
        """Concentrations of all species, differentiable by autograd.

        Args:
            totals: T, µM, shape (..., moiety).
            p: constants, shape (..., parameter).

        Returns:
            x, µM, shape (..., species).
        """
        return self._balance(totals, p).x

    def rate(self, at: Point) -> Tensor:
        """A N v, shape (..., size)."""
        return self.slow.rate(self._inner(at, self._balance(at.x, at.p).x)) @ self.formula.T

    def jacobian(self, at: Point) -> Tensor:
        """A (∂N v/∂x) (∂x/∂T) on the pattern, shape (..., nonzero)."""
        here = self._balance(at.x, at.p)
        inner = self._inner(at, here.x)
        jacobian = dense(self.slow.pattern, self.slow.jacobian(inner), self.slow.size)
        rows, columns = self.pattern
        return ((self.formula @ jacobian) @ here.by_totals)[..., rows, columns]

    def push(self, at: Point, along: Point) -> Tensor:
        """Directional derivative of the rate, shape (..., size)."""
        here = self._balance(at.x, at.p)
        inner = self._inner(at, here.x)
        return self.slow.push(inner, self._inner(along, here.push(*self._outer(along))[1])) @ self.formula.T

    def pull(self, at: Point, u: Tensor) -> Point:
        """Gradient of u · rate."""
        here = self._balance(at.x, at.p)
        inner = self.slow.pull(self._inner(at, here.x), u @ self.formula)
        return self._joined(inner, *here.pull(here.transposed(inner.x), here.x * inner.x))

    def push2(self, at: Point, a: Point, b: Point) -> Tensor:
        """Second directional derivative of the rate, shape (..., size)."""
        here = self._balance(at.x, at.p)
        inner = self._inner(at, here.x)
        (first, x_a), (second, x_b) = (here.push(*self._outer(along)) for along in (a, b))
        x_ab = here.push2((first, self._outer(a)[1]), (second, self._outer(b)[1]))
        bent = self.slow.push2(inner, self._inner(a, x_a), self._inner(b, x_b))
        still = Point(torch.zeros_like(at.t), x_ab, torch.zeros_like(inner.p))
        return (bent + self.slow.push(inner, still)) @ self.formula.T

    def pull2(self, at: Point, u: Tensor, along: Point) -> Point:
        """Gradient of u · push(at, along), with `u` and `along` held constant."""
        here = self._balance(at.x, at.p)
        inner, weight = self._inner(at, here.x), u @ self.formula
        theta, x_a = here.push(*self._outer(along))
        direct = self.slow.pull2(inner, weight, self._inner(along, x_a))
        onto = self.slow.pull(inner, weight).x  # what moves x_a, moves the result
        remaining = onto - here.back(here.transposed(onto)) @ self.formula
        bent_theta, bent_w = here.bend(remaining, theta, self._outer(along)[1])
        pulled = here.pull(here.transposed(direct.x) + bent_theta, here.x * direct.x + bent_w)
        return self._joined(direct, *pulled)

    def _inner(self, at: Point, x: Tensor) -> Point:
        """The point of the slow system at concentrations x."""
        return Point(at.t, x, at.p[..., : self.slow.parameters])

    def _outer(self, at: Point) -> tuple[Tensor, Tensor]:
        """Totals and ln w of a point."""
        return at.x, at.p[..., self.slow.parameters :]

    def _joined(self, inner: Point, totals: Tensor, ln_weight: Tensor) -> Point:
        """A gradient of the whole from that of the slow system and those of totals and ln w."""
        shape = torch.broadcast_shapes(inner.p.shape[:-1], ln_weight.shape[:-1])
        p = torch.cat([part.expand(*shape, part.shape[-1]) for part in (inner.p, ln_weight)], -1)
        return Point(inner.t, totals, p)

    def _balance(self, totals: Tensor, p: Tensor) -> Balance:
        return balance(self.formula, totals, p[..., self.slow.parameters :])


def weights_of_constants(stoichiometry: Tensor) -> Tensor:
    """Linear map R from equilibrium constants of fast reactions to weights of species, ln w = R ln K.

    K_r = Π_j x_j^N_jr (products over reactants, in powers of µM) and ln x = ln w + Aᵀλ with A N = 0 give
    Nᵀ ln w = ln K. Of all ln w with that property, which differ in λ only, this is the shortest, R = N
    (NᵀN)⁻¹.

    Args:
        stoichiometry: N of the fast reactions, independent columns, float64, shape (species, reaction).

    Returns:
        R, shape (species, reaction).

    Raises:
        ValueError: a fast reaction is a combination of others, so that its constant follows from theirs.

    E + S ⇌ C with K = 8/µM: ln w = (−⅓, −⅓, ⅓) ln 8 = (−ln 2, −ln 2, ln 2).

    >>> R = weights_of_constants(torch.tensor([[-1.0], [-1.0], [1.0]], dtype=torch.float64))
    >>> (R @ torch.tensor([8.0], dtype=torch.float64).log()).exp().tolist()
    [0.5, 0.5, 2.0]
    """
    N = stoichiometry
    if int(torch.linalg.matrix_rank(N)) < N.shape[1]:
        raise ValueError(
            "`stoichiometry` must have independent columns; got dependent ones. "
            "Leave out fast reactions that close a cycle: their constants follow from the others."
        )
    return torch.linalg.pinv(N).T


def _pattern(slow: System, A: Tensor) -> Tensor:
    """A moiety changes with what its species change with, and these with all moieties joined to theirs."""
    rows, columns = slow.pattern
    depends = torch.zeros(slow.size, slow.size, dtype=A.dtype, device=A.device)
    depends[rows, columns] = 1.0
    linked = (A @ A.T > 0).to(A)
    for _ in range(len(A)):
        linked = (linked @ linked > 0).to(A)
    entries = ((A @ depends) @ A.T @ linked > 0).nonzero()
    return entries.T.contiguous()
