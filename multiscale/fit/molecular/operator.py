"""The Hessian of a molecular posterior as something to multiply with, for many parameters.

H = Λ − S Σ_ab X_aᵀ diag(h_ab) X_b S, with Λ the precision of the priors, S the slopes of values by their
theta, X the designs of the rows' scalars and h the second derivatives of every row's log density. Where rows
add up few weights, H itself is sparse and is summed up once; else every product goes through the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from multiscale.encoders.design import Design
from multiscale.fit.molecular.linear import Lines, on_device
from multiscale.fit.molecular.posterior import MolecularPosterior, slopes
from multiscale.fit.molecular.products import Stacked

__all__ = ["Curvature", "Landscape"]

PRODUCTS = 300_000_000
"""Most pairs of weights within rows that are summed up into a sparse Hessian, in some 10 s and 5 GB."""

LINES = 1 << 17  # rows whose pairs are summed at once
NUMBERS = 1 << 26
"""Numbers that scalars of rows may hold at once, for all columns (0.5 GB)."""


class Landscape:
    """A posterior whose Hessian is asked for at many points; what they share is prepared once.

    Args:
        posterior: the loss.
    """

    def __init__(self, posterior: MolecularPosterior) -> None:
        self.posterior, self.size = posterior, posterior.model.parameters.size
        self.parts = {name: _counted(posterior, name) for name in posterior.model.instruments}
        device = posterior.model.device
        self.lines = {name: Lines(parts, self.size, device) for name, parts in self.parts.items()}

    @cached_property
    def summed(self) -> bool:
        """Whether the Hessian is summed up: rows have few weights each."""
        pairs = 0
        for lines in self.lines.values():
            if lines.factored or lines.sparse is None:
                return False
            each = np.diff(lines.sparse.indptr[:: lines.scalars]).astype(float)
            pairs += float((each**2).sum())
        return pairs <= PRODUCTS

    def of(self, posterior: MolecularPosterior) -> Landscape:
        """That of a posterior of the same rows with other priors."""
        other = copy(self)
        other.posterior = posterior
        return other

    def at(self, theta: Tensor, held: Tensor | None = None) -> Curvature:
        """The exact Hessian at a point.

        Args:
            theta: shape (1, parameter).
            held: positions of parameters that are taken as known: rows do not see them move.
        """
        posterior = self.posterior
        flat, slope, bend = slopes(posterior.model.parameters.flat, theta)
        gradient, second = torch.zeros_like(slope), {}
        if posterior.used is not None:
            gradient += posterior.used
        for name, lines in self.lines.items():
            first, own = posterior.derivatives(name, flat)
            second[name] = posterior.factor(name) * own
            if bend.any():
                gradient += posterior.factor(name) * lines.transpose(first[..., None])[:, 0]
        prior = posterior.model.parameters.prior_precision(theta)
        if held is not None:
            slope[held], bend[held] = 0.0, 0.0
        return Curvature(self, flat, slope, prior, torch.where(bend == 0, 0.0, gradient * bend), second)


class Curvature:
    """H at one point.

    Args:
        landscape: of the posterior.
        flat: values of the parameters there, (1, parameter).
        slope: of values by their theta, (parameter,).
        prior: precision of the priors by theta.
        bend: gradient by the values times their second derivatives.
        second: per readings the second derivatives of the rows' log density, (row, scalar, scalar).
    """

    def __init__(
        self,
        landscape: Landscape,
        flat: Tensor,
        slope: Tensor,
        prior: Tensor,
        bend: Tensor,
        second: Mapping[str, Tensor],
    ) -> None:
        self.landscape, self.flat, self.slope, self.prior, self._bend = landscape, flat, slope, prior, bend
        self.second, self.size = second, len(slope)

    def convexified(self) -> Curvature:
        """H of rows whose log densities are made concave: positive definite; see `convex_hessian`."""
        none = torch.zeros_like(self._bend)
        return Curvature(self.landscape, self.flat, self.slope, self.prior, none, self._concave)

    def plus_convex(self, shift: float) -> Curvature:
        """H + shift · the convexified H."""
        second = {name: h + shift * self._concave[name] for name, h in self.second.items()}
        prior = (1 + shift) * self.prior
        return Curvature(self.landscape, self.flat, self.slope, prior, self._bend, second)

    @cached_property
    def _concave(self) -> dict[str, Tensor]:
        """Second derivatives of the rows' log densities made concave."""
        posterior = self.landscape.posterior
        return {
            name: posterior.factor(name) * posterior.derivatives(name, self.flat, convex=True)[1]
            for name in self.second
        }

    def times(self, v: Tensor) -> Tensor:
        """H v, (parameter, column) or (parameter,)."""
        if v.dim() == 1:
            return self.times(v[:, None])[:, 0]
        if self.landscape.summed:
            return self._on_device @ v
        found = (self.prior - self._bend)[:, None] * v
        for name, lines in self.landscape.lines.items():
            step = max(1, NUMBERS // (lines.rows * lines.scalars))
            for start in range(0, v.shape[1], step):
                part = slice(start, start + step)
                u = lines.forward(self.slope[:, None] * v[:, part])
                back = lines.transpose(torch.bmm(self.second[name], u))
                found[:, part] -= self.slope[:, None] * back
        return found

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """H as a sparse matrix; only where it is summed up."""
        total = sparse.diags(self._numpy(self.prior - self._bend), format="csr")
        scale = sparse.diags(self._numpy(self.slope), format="csr")
        for name, lines in self.landscape.lines.items():
            h = self._numpy(self.second[name])
            for piece, X in _pieces(lines):
                total = total - scale @ (X.T @ (_blocks(h[piece]) @ X)) @ scale
        return sparse.csr_matrix(total)

    @cached_property
    def _on_device(self) -> Tensor:
        return on_device(self.matrix, self.slope.device)

    @cached_property
    def diagonal(self) -> Tensor:
        """Diagonal of H, (parameter,)."""
        if self.landscape.summed:
            return self.slope.new_tensor(self.matrix.diagonal())
        found = self.prior - self._bend
        for name, lines in self.landscape.lines.items():
            found = found - self.slope**2 * lines.diagonal(self.second[name])
        return found

    def between(self, one: slice, other: slice) -> Tensor:
        """Elements of H between weights of the same position in two blocks, (weight,)."""
        if self.landscape.summed:
            return self.slope.new_tensor(self.matrix[one][:, other].diagonal())
        found = torch.zeros_like(self.slope[one])
        for name, lines in self.landscape.lines.items():
            found -= lines.between(self.second[name], one, other)
        return self.slope[one] * self.slope[other] * found

    def block(self, blocks: list[slice]) -> Tensor:
        """Dense part of H of some blocks, side by side."""
        index = torch.cat([torch.arange(b.start, b.stop) for b in blocks])
        if self.landscape.summed:
            at = index.numpy()
            return self.slope.new_tensor(self.matrix[at][:, at].toarray())
        index = index.to(self.slope.device)
        found = torch.diag((self.prior - self._bend)[index])
        for name, parts in self.landscape.parts.items():
            gram = Stacked(_within(parts, blocks), len(index)).gram(self.second[name])
            found -= self.slope[index, None] * gram * self.slope[index]
        return found

    def row_variances(self, deviations: Tensor) -> dict[str, Tensor]:
        """Mean of (X δ)(X δ)ᵀ over draws of theta, (parameter, draw), per readings, (row, scalar, scalar)."""
        found = {}
        for name, lines in self.landscape.lines.items():
            total = deviations.new_zeros(lines.rows, lines.scalars, lines.scalars)
            for part in deviations.split(max(1, NUMBERS // (4 * lines.rows * lines.scalars)), 1):
                u = lines.forward(self.slope[:, None] * part)
                total += u @ u.mT
            found[name] = total / deviations.shape[1]
        return found

    def members(self, index: Tensor) -> Tensor:
        """Blocks of H of groups of parameters, (group, member): one or many small ones."""
        if len(index) == 1:
            return self.block(_runs(index[0]))[None]
        found = self.slope.new_empty(*index.shape, index.shape[1])
        runs = [slice(int(column[0]), int(column[-1]) + 1) for column in index.T]
        for a, one in enumerate(runs):
            found[:, a, a] = self.diagonal[one]
            for b, other in enumerate(runs[:a]):
                found[:, a, b] = found[:, b, a] = self.between(one, other)
        return found

    @staticmethod
    def _numpy(values: Tensor) -> np.ndarray:
        return values.detach().cpu().numpy()


def _runs(index: Tensor) -> list[slice]:
    """Runs of consecutive positions."""
    steps = (index[1:] != index[:-1] + 1).nonzero()[:, 0] + 1
    edges = [0, *steps.tolist(), len(index)]
    return [slice(int(index[a]), int(index[b - 1]) + 1) for a, b in pairwise(edges)]


def _counted(posterior: MolecularPosterior, name: str) -> list[list[tuple[slice, Design]]]:
    """Designs of the rows that count."""
    parts, rows = posterior.model.instruments[name].parts, posterior.rows.get(name)
    return parts if rows is None else [[(where, d.take(rows)) for where, d in designs] for designs in parts]


def _within(parts: list[list[tuple[slice, Design]]], blocks: list[slice]) -> list[list[tuple[slice, Design]]]:
    """Designs whose weights lie in some blocks, with these side by side."""
    ends = np.cumsum([b.stop - b.start for b in blocks])

    def moved(where: slice) -> slice | None:
        for block, end in zip(blocks, ends, strict=True):
            if block.start <= where.start and where.stop <= block.stop:
                start = int(end) - block.stop + where.start
                return slice(start, start + where.stop - where.start)
        return None

    return [[(m, d) for where, d in designs if (m := moved(where)) is not None] for designs in parts]


def _pieces(lines: Lines) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Runs of rows, and the lines of their scalars."""
    assert lines.sparse is not None
    for start in range(0, lines.rows, LINES):
        end = min(start + LINES, lines.rows)
        yield slice(start, end), lines.sparse[start * lines.scalars : end * lines.scalars]


def _blocks(h: np.ndarray) -> sparse.csr_matrix:
    """Matrices of rows along the diagonal."""
    rows, scalars = h.shape[:2]
    kept = h.any(0)  # a derivative that is zero in all rows takes no place
    a, b = np.nonzero(kept)
    at = np.arange(rows)[:, None] * scalars
    size = rows * scalars
    entries = h[:, a, b].ravel(), ((at + a).ravel(), (at + b).ravel())
    return sparse.csr_matrix(entries, shape=(size, size))
