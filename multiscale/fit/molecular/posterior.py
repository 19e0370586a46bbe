"""The joint negative log posterior of millions of rows: value, gradient and exact Hessian by structure.

Every row's log density depends on a few scalars u of its own, and these are linear in the flat values w of
the parameters. So the derivatives by u are found row by row, and gradient and Hessian by w are products with
designs (`products`): with g and h the first and second derivatives of a row's log density, ∇ = Σ_a X_aᵀ g_a
and ∇² = Σ_ab X_aᵀ diag(h_ab) X_b.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from multiscale.fit.molecular.products import Stacked
from multiscale.fit.molecular.thirds import contracted
from multiscale.model.molecular import MolecularModel
from multiscale.model.molecular.derivatives import row_derivatives

__all__ = ["CHUNK", "MolecularPosterior", "slopes"]

CHUNK = 65_536
"""Rows times starts that are differentiated at once, which bounds the memory."""


class MolecularPosterior:
    """−(Σ log density of all rows + log prior) of every start.

    Args:
        model: the model.
        rows: per readings the positions of the rows that count; all of those that are not named.
        weigh: whether rows left out are stood for by the others: the sum is multiplied by all rows / counted
            rows.
        used: what is added to the slope of the log posterior by the flat values, see `evidence`, shape
            (parameter,); None for nothing.
    """

    def __init__(
        self,
        model: MolecularModel,
        rows: Mapping[str, Tensor] | None = None,
        *,
        weigh: bool = False,
        used: Tensor | None = None,
    ) -> None:
        self.model, self.rows, self.weigh, self.used = model, dict(rows or {}), weigh, used
        self._last: tuple[Tensor, dict[str, tuple[Tensor, Tensor]]] | None = None
        size = model.parameters.size
        self._stacked = {
            name: Stacked(part.parts, size, self.rows.get(name)) for name, part in model.instruments.items()
        }

    def __call__(self, theta: Tensor, rows: Tensor | None = None) -> Tensor:
        """Loss of every start; no number where a row's log density is none.

        Args:
            theta: shape (start, parameter).
            rows: positions of the starts among all, which do not matter.
        """
        parameters = self.model.parameters
        flat = parameters.flat(theta)
        total = _SumOfRows.apply(flat, self) + parameters.log_prior(theta)  # pyright: ignore[reportOperatorIssue]
        return -total if self.used is None else -total - (self.used * flat).sum(1)

    def terms(self, theta: Tensor) -> dict[str, Tensor]:
        """Log density of the priors and of all rows of every readings, each (start,)."""
        flat = self.model.parameters.flat(theta.detach())
        found = {"prior": self.model.parameters.log_prior(theta.detach())}
        for name in self._stacked:
            found[name] = self._sum(name, flat, False)[0]
        return found

    def hessian(self, theta: Tensor) -> Tensor:
        """Second derivatives of the loss of one start.

        Args:
            theta: shape (1, parameter).

        Returns:
            shape (parameter, parameter).
        """
        flat, slope, bend = slopes(self.model.parameters.flat, theta)
        found = self._derivatives(flat)
        gradient = torch.zeros_like(flat[0]) if self.used is None else self.used.clone()
        for name, stacked in self._stacked.items():
            gradient += self.factor(name) * stacked.transpose(found[name][0][None])[0]
        matrix = self._curvature(theta, slope, {name: second for name, (_, second) in found.items()})
        matrix.diagonal().sub_(torch.where(bend == 0, 0.0, gradient * bend))
        return matrix

    def convex_hessian(self, theta: Tensor) -> Tensor:
        """The same for rows whose log densities are made concave: positive definite, so that it gives a
        direction of descent anywhere.

        Far from a minimum rows curve downwards where a calibration saturates.
        """
        flat, slope, _ = slopes(self.model.parameters.flat, theta)
        second = {name: self.derivatives(name, flat, convex=True)[1] for name in self._stacked}
        return self._curvature(theta, slope, second)

    def _curvature(self, theta: Tensor, slope: Tensor, second: Mapping[str, Tensor]) -> Tensor:
        matrix = torch.diag(self.model.parameters.prior_precision(theta))
        for name, stacked in self._stacked.items():
            gram = stacked.gram(self.factor(name) * second[name])
            matrix -= gram.mul_(slope[:, None]).mul_(slope)
        return matrix

    def _derivatives(self, flat: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """First and second derivatives of all rows; those of the last point are remembered."""
        if self._last is None or not torch.equal(self._last[0], flat):
            self._last = flat, {name: self.derivatives(name, flat) for name in self._stacked}
        return self._last[1]

    def ln_det_slope(self, flat: Tensor, covariance: Tensor) -> Tensor:
        """Derivative of ½ ln det H by the flat values, ½ Σ tr(C ∂H/∂w), with C the covariance that belongs to
        H.

        Args:
            flat: values, shape (1, parameter).
            covariance: of the flat values, with one more row and column of zeros.

        Returns:
            shape (parameter,).
        """
        total = torch.zeros_like(flat[0])
        for name, stacked in self._stacked.items():
            part, chosen = self.model.instruments[name], self.rows.get(name)
            with torch.no_grad():
                u, variance = part.scalars_of(flat, chosen), stacked.variances(covariance)
            found = [
                contracted(part, u[:, piece], rows, variance[piece]) for piece, rows in self.pieces(name, 4)
            ]
            total -= self.factor(name) / 2 * stacked.transpose(torch.cat(found)[None])[0]
        return total

    def derivatives(self, name: str, flat: Tensor, convex: bool = False) -> tuple[Tensor, Tensor]:
        """Derivatives of every counted row's log density by its scalars, see `row_derivatives`."""
        part, chosen = self.model.instruments[name], self.rows.get(name)
        with torch.no_grad():
            u = part.scalars_of(flat, chosen)
        found = [row_derivatives(part, u[:, piece], rows, convex) for piece, rows in self.pieces(name, 1)]
        return torch.cat([first for first, _ in found]), torch.cat([second for _, second in found])

    def state(self) -> dict[str, Tensor]:
        """Nothing is remembered between calls."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to remember."""

    def count(self, name: str) -> int:
        """Rows that count."""
        chosen = self.rows.get(name)
        return self.model.instruments[name].rows if chosen is None else len(chosen)

    def factor(self, name: str) -> float:
        """What the sum over the counted rows is multiplied by."""
        count = self.count(name)
        return self.model.instruments[name].rows / count if self.weigh and count else 1.0

    def pieces(self, name: str, starts: int) -> Iterator[tuple[slice, Tensor]]:
        """Runs of the counted rows, and their positions."""
        chosen, device = self.rows.get(name), self.model.device
        count, step = self.count(name), max(1, CHUNK // starts)
        for start in range(0, count, step):
            piece = slice(start, min(start + step, count))
            rows = torch.arange(piece.start, piece.stop, device=device) if chosen is None else chosen[piece]
            yield piece, rows

    def _sum(self, name: str, flat: Tensor, slope: bool) -> tuple[Tensor, Tensor | None]:
        """Sum over the rows of one readings, (start,), and its derivatives if asked for."""
        part = self.model.instruments[name]
        with torch.no_grad():
            u = part.scalars_of(flat, self.rows.get(name))
        total, first = torch.zeros_like(flat[:, 0]), torch.zeros_like(u) if slope else None
        for piece, rows in self.pieces(name, len(flat)):
            leaf = u[:, piece].detach().requires_grad_(slope)
            with torch.set_grad_enabled(slope):
                density = part.log_density(leaf, rows).sum(1)
            total += density.detach()
            if first is not None:
                (first[:, piece],) = torch.autograd.grad(density, leaf, torch.ones_like(density))
        factor = self.factor(name)
        return factor * total, None if first is None else factor * self._stacked[name].transpose(first)

    def sums(self, flat: Tensor, slope: bool) -> tuple[Tensor, Tensor]:
        """Sum over all rows, (start,), and its derivatives by the flat values, (start, parameter)."""
        total, gradient = torch.zeros_like(flat[:, 0]), torch.zeros_like(flat)
        for name in self._stacked:
            value, first = self._sum(name, flat, slope)
            total = total + value
            gradient = gradient if first is None else gradient + first
        return total, gradient


class _SumOfRows(torch.autograd.Function):
    """Sum of the log densities of all rows; its derivative is found chunk by chunk with the value."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, posterior: MolecularPosterior) -> Tensor:
        value, gradient = posterior.sums(flat.detach(), ctx.needs_input_grad[0])
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return outer[0][:, None] * gradient, None


def slopes(flat_of: Any, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Flat values (1, parameter), and their first and second derivatives by their own theta, (parameter,)."""
    leaf = theta.detach().clone().requires_grad_(True)
    flat = flat_of(leaf)
    (slope,) = torch.autograd.grad(flat.sum(), leaf, create_graph=True)
    bend = torch.zeros_like(slope)
    if slope.requires_grad:
        (bend,) = torch.autograd.grad(slope.sum(), leaf)
    return flat.detach(), slope[0].detach(), bend[0]
