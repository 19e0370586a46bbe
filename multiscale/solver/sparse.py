"""Linear systems with one sparsity pattern and many values: W = shift·I − J, factorised for a whole batch.

Elimination follows `ordering.Symbolic`, without pivoting but in its dense block. Nothing about W guarantees
that this is stable, so every solution is checked. Where it is not exact it is refined once, and if that is
not enough found by dense elimination with pivoting; for the systems concerned only. Inside, variables are in
order of elimination and systems are the last axis, so that gathering entries copies whole rows: x has shape
(size, side, system), where the sides are the right-hand sides r; a factor has shape (value, system).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from multiscale.solver.ordering import Symbolic, analyse

__all__ = ["Elimination", "Factors"]

EPSILON = torch.finfo(torch.float64).eps
NORM = 32 * EPSILON
"""Largest component of W k − r, relative to the largest of |W||k| + |r|: what pivoting would leave, too.
Rounding a row of n terms alone leaves about √n ε and at most n ε; where that is more, n ε is accepted."""
COMPONENT = 1e-10
"""Largest component of W k − r, relative to the same component of |W||k| + |r|, so that scarce species keep
ten digits beside abundant ones. Source: Oettli and Prager 1964, doi:10.1007/BF01386090."""


class _Stage(NamedTuple):
    """Positions in the values of pivots, of L with the pivot of each entry, and of the updates t −= l u."""

    pivots: slice
    lower: slice
    owner: Tensor
    target: Tensor
    left: Tensor
    right: Tensor


class _Triangle(NamedTuple):
    """Entries of L or U by stage: the pivot and the other variable of each."""

    pivots: tuple[Tensor, ...]
    others: tuple[Tensor, ...]
    sizes: list[int]


class Elimination:
    """Symbolic analysis of a sparsity pattern, done once; it factorises any number of batches.

    Args:
        pattern: row and column of the entries of J, each once, shape (2, nonzero), on the device of J.
        size: order of J.

    >>> both = Elimination(torch.tensor([[0, 1], [1, 0]]), 2)
    >>> shift = torch.tensor([2.0], dtype=torch.float64)
    >>> factors = both.factorise(shift, shift.new_ones(1, 2))  # W = [[2, −1], [−1, 2]]
    >>> [round(k, 12) for k in factors.solve(shift.new_tensor([[3.0, 0.0]]))[0].tolist()]
    [2.0, 1.0]
    """

    def __init__(self, pattern: Tensor, size: int):
        self.symbolic = plan = analyse(pattern.numpy(force=True), size)
        self._device = pattern.device
        self._order, self._rank = self._index(plan.order), self._index(np.argsort(plan.order))
        self._rows, self._columns = self._index(plan.entries)
        self._given, self._where = self._index(plan.given), self._index(plan.where)
        self._lower = self._triangle(plan.lower[1], plan.lower[0], plan.lower_stages)
        self._upper = self._triangle(plan.upper[0], plan.upper[1], plan.upper_stages)
        self._owner = self._index(plan.upper[0])
        self._stages = [self._stage(s) for s in range(len(plan.stages) - 1)]
        longest = max(np.bincount(line).max() for line in plan.entries)
        self._norm = max(NORM, float(longest) * EPSILON)

    def factorise(self, shift: Tensor, jacobian: Tensor) -> Factors:
        """Factorise W = shift·I − J for every system. Derivatives are not followed.

        Args:
            shift: shape (system,), float64.
            jacobian: J on the pattern, shape (system, nonzero), float64.
        """
        shift, jacobian = shift.detach(), jacobian.detach()
        matrix = jacobian.new_zeros(len(self._rows), len(shift))
        matrix.index_copy_(0, self._given, jacobian.T.contiguous()).neg_()
        matrix[: self.symbolic.size] += shift
        values = jacobian.new_zeros(self.symbolic.values, len(shift)).index_copy_(0, self._where, matrix)
        self._eliminate(values)
        return Factors(self, matrix, _Numbers.of(self, values))

    def _eliminate(self, values: Tensor) -> None:
        """Turn W into 1/D, −L and −U, in place. The signs make every further step an addition."""
        for stage in self._stages:
            inverse = values[stage.pivots].reciprocal_()
            values[stage.lower] *= inverse.neg().index_select(0, stage.owner)
            product = values.index_select(0, stage.left).mul_(values.index_select(0, stage.right))
            values.index_add_(0, stage.target, product)
        inverse, _, upper, _ = self._parts(values)
        upper *= inverse.neg().index_select(0, self._owner)

    def _parts(self, values: Tensor) -> tuple[Tensor, ...]:
        """Pivots, L, U and the dense block."""
        plan = self.symbolic
        return values.split([plan.front, plan.lower.shape[1], plan.upper.shape[1], plan.dense**2])

    def _residual(self, matrix: Tensor, x: Tensor, b: Tensor, transposed: bool) -> tuple[Tensor, Tensor]:
        """b − W x, and for each system whether it is mere rounding."""
        row, column = (self._columns, self._rows) if transposed else (self._rows, self._columns)
        product = x.index_select(0, column).mul_(matrix.unsqueeze(1)).neg_()
        residual = b.clone().index_add_(0, row, product)
        size = b.abs().index_add_(0, row, product.abs_())
        bound = torch.minimum(COMPONENT * size, self._norm * size.amax(0))
        return residual, (residual.abs() <= bound).flatten(0, 1).all(0)

    def _index(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def _triangle(self, pivots: np.ndarray, others: np.ndarray, ends: np.ndarray) -> _Triangle:
        sizes = np.diff(ends).tolist()
        return _Triangle(self._index(pivots).split(sizes), self._index(others).split(sizes), sizes)

    def _stage(self, s: int) -> _Stage:
        plan: Symbolic = self.symbolic
        pivots, lower, update = (
            slice(int(ends[s]), int(ends[s + 1]))
            for ends in (plan.stages, plan.lower_stages + plan.front, plan.update_stages)
        )
        target, left, right = self._index(plan.updates[:, update])
        return _Stage(pivots, lower, self._lower.pivots[s] - pivots.start, target, left, right)


class _Numbers:
    """Values of a factor and its factorised dense block, of all systems or of some."""

    def __init__(self, plan: Elimination, values: Tensor, lu: Tensor, swaps: Tensor):
        self.plan, self.values, self.lu, self.swaps = plan, values, lu, swaps
        self.inverse, lower, upper, _ = (part.unsqueeze(1) for part in plan._parts(values))
        self.lower, self.upper = lower.split(plan._lower.sizes), upper.split(plan._upper.sizes)

    @classmethod
    def of(cls, plan: Elimination, values: Tensor) -> _Numbers:
        """Factorise the dense block of eliminated values, which lies column by column."""
        block, order = plan._parts(values)[3], plan.symbolic.dense
        lu, swaps, _ = torch.linalg.lu_factor_ex(block.T.contiguous().view(-1, order, order).mT)
        return cls(plan, values, lu, swaps)

    def only(self, index: Tensor) -> _Numbers:
        """The systems of an index."""
        return _Numbers(self.plan, self.values[:, index], self.lu[index], self.swaps[index])

    def broken(self) -> Tensor:
        """Systems with a pivot that is zero or not finite, shape (system,)."""
        return ~self.inverse.isfinite().flatten(0, 1).all(0) | _unusable(self.lu)

    def substitute(self, x: Tensor, transposed: bool) -> Tensor:
        """Replace right-hand sides by solutions, in place."""
        steps = [(*self.plan._lower[:2], self.lower), (*self.plan._upper[:2], self.upper)]
        first, last = reversed(steps) if transposed else steps
        for pivot, other, value in zip(*first, strict=True):
            x.index_add_(0, other, x.index_select(0, pivot).mul_(value))
        front, block = x.split([len(self.inverse), len(x) - len(self.inverse)])
        front *= self.inverse
        side = block.permute(2, 0, 1)
        side.copy_(torch.linalg.lu_solve(self.lu, self.swaps, side, adjoint=transposed))
        for pivot, other, value in zip(*(part[::-1] for part in last), strict=True):
            x.index_add_(0, pivot, x.index_select(0, other).mul_(value))
        return x


class Factors:
    """Factors of a batch of matrices W.

    Attributes:
        singular: systems without a solution even with pivoting, or with values that are not finite, shape
            (system,). Their solutions are zeros. What the factors do not show is found out by solving.
    """

    def __init__(self, plan: Elimination, matrix: Tensor, numbers: _Numbers):
        self._plan, self._matrix, self._numbers = plan, matrix, numbers
        broken = numbers.broken()
        self.singular, self._pivoted = torch.zeros_like(broken), torch.zeros_like(broken)
        self._dense: _Dense | None = None
        if broken.any():
            self._pivot(broken)

    def solve(self, r: Tensor) -> Tensor:
        """Solve W k = r.

        Args:
            r: right-hand sides, shape (..., system, size).
        """
        return self._solve(r.detach(), False)

    def solve_transposed(self, r: Tensor) -> Tensor:
        """Solve Wᵀ k = r; `r` has shape (..., system, size)."""
        return self._solve(r.detach(), True)

    def _solve(self, r: Tensor, transposed: bool) -> Tensor:
        """Substitute, check, and repair what is not exact."""
        sides = r.reshape(r.shape[:-2].numel(), *r.shape[-2:]).permute(2, 0, 1)
        b = sides.contiguous().index_select(0, self._plan._order)
        x = self._numbers.substitute(b.clone(), transposed)
        residual, exact = self._plan._residual(self._matrix, x, b, transposed)
        if self._dense is not None or not exact.all():
            self._repair(x, b, residual, ~exact, transposed)
        return x.index_select(0, self._plan._rank).permute(1, 2, 0).contiguous().view(r.shape)

    def _repair(self, x: Tensor, b: Tensor, residual: Tensor, wrong: Tensor, transposed: bool) -> None:
        """Refine once; pivot where that is not enough; zeros where that fails too. In place."""
        self.singular |= ~b.isfinite().flatten(0, 1).all(0)
        wrong = self._refine(x, b, residual, wrong & ~self._pivoted & ~self.singular, transposed)
        if wrong.any():
            self._pivot(wrong)
        if self._dense is not None:
            index = self._dense.systems
            x[..., index] = self._dense.solve(b[..., index], transposed)
            self.singular |= ~x.isfinite().flatten(0, 1).all(0)
        x[..., self.singular] = 0.0

    def _refine(self, x: Tensor, b: Tensor, residual: Tensor, wrong: Tensor, transposed: bool) -> Tensor:
        """Add the solution for the residual, in place; return the systems where that is not enough."""
        index = wrong.nonzero().squeeze(1)
        y = self._numbers.only(index).substitute(residual[..., index], transposed).add_(x[..., index])
        exact = self._plan._residual(self._matrix[:, index], y, b[..., index], transposed)[1]
        x[..., index] = y
        return wrong.index_put((index,), ~exact)

    def _pivot(self, systems: Tensor) -> None:
        """Factorise these systems, and those that needed it before, with pivoting."""
        self._pivoted = self._pivoted | systems
        index = self._pivoted.nonzero().squeeze(1)
        self._dense = _Dense.of(self._plan, self._matrix[:, index], index)
        self.singular[index] |= _unusable(self._dense.lu)


class _Dense(NamedTuple):
    """Systems factorised with pivoting: which, W as entries, and the factors."""

    plan: Elimination
    systems: Tensor
    matrix: Tensor
    lu: Tensor
    swaps: Tensor

    @classmethod
    def of(cls, plan: Elimination, matrix: Tensor, systems: Tensor) -> _Dense:
        """Factorise matrices given by their entries."""
        full = matrix.new_zeros(len(systems), plan.symbolic.size, plan.symbolic.size)
        full[:, plan._rows, plan._columns] = matrix.T
        lu, swaps, _ = torch.linalg.lu_factor_ex(full)
        return cls(plan, systems, matrix, lu, swaps)

    def solve(self, b: Tensor, transposed: bool) -> Tensor:
        """Solve and refine once; not finite where W is singular."""
        x = self._substitute(b, transposed)
        residual, _ = self.plan._residual(self.matrix, x, b, transposed)
        return x + self._substitute(residual, transposed)

    def _substitute(self, b: Tensor, transposed: bool) -> Tensor:
        side = torch.linalg.lu_solve(self.lu, self.swaps, b.permute(2, 0, 1), adjoint=transposed)
        return side.permute(1, 2, 0)


def _unusable(lu: Tensor) -> Tensor:
    """Factors with a pivot that is zero or not finite, shape (system,)."""
    pivots = lu.diagonal(dim1=1, dim2=2)
    return ((pivots == 0) | ~pivots.isfinite()).any(1)
