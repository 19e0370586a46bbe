"""First and second derivatives of every row's log density by the scalars of that row.

A row is a chain: scalars u → readouts r(u) → log density l(r, v), with v the calibrations and noise among u.
With J = ∂(r, v)/∂u:

    ∇l = Jᵀ l',  ∇²l = Jᵀ l'' J + Σ_q (∂l/∂r_q) ∇²r_q

Fractions of a molecule with a partition function of its own have closed derivatives, which are moments
of Boltzmann's distribution: with E_j the counts of the energy terms in species j, ∂ ln p/∂θ = −(⟨E⟩_S −
⟨E⟩)/kT and ∂² ln p/∂θ² = (Cov_S E − Cov E)/(kT)², where S are the species that are read. All else is
differentiated automatically, all rows in one backward pass per scalar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from multiscale.model.molecular.state import Chemistry, Conditions, Reader, coefficients
from multiscale.units import R

if TYPE_CHECKING:
    from multiscale.model.molecular.model import RowModel

__all__ = ["row_derivatives"]


def row_derivatives(
    part: RowModel, u: Tensor, rows: Tensor | None = None, convex: bool = False
) -> tuple[Tensor, Tensor]:
    """Differentiate every row twice.

    Args:
        part: the model of the rows.
        u: scalars of these rows, shape (1, row, scalar).
        rows: their positions; all if None.
        convex: whether second derivatives are made those of a concave function: of l'' the nearest negative
            semidefinite matrix is taken and the curvature of readouts is left out (generalised Gauss–Newton).

    Returns:
        shapes (row, scalar) and (row, scalar, scalar).

    Source: Schraudolph 2002, Neural Comput 14:1723, doi:10.1162/08997660260028683 (generalised Gauss–Newton).
    """
    terms = part.free_terms
    readouts, slope, bend = _readouts(part, u[0], rows)
    count = readouts.shape[1]

    def density(leaf: Tensor) -> Tensor:
        return part.density_of(leaf[None, :, :count], leaf[None, :, count:], rows)[0]

    first, second = twice(density, torch.cat([readouts, u[0, :, terms:]], 1))
    if convex:
        second = _concave(second)
    jacobian = u.new_zeros(len(readouts), second.shape[1], u.shape[2])
    jacobian[:, :count, :terms] = slope
    jacobian[:, count:, terms:] = torch.eye(u.shape[2] - terms, dtype=u.dtype, device=u.device)
    gradient = (first[:, None] @ jacobian)[:, 0]
    hessian = jacobian.mT @ second @ jacobian
    if not convex:
        hessian[:, :terms, :terms] += (first[:, :count, None, None] * bend).sum(1)
    return gradient, (hessian + hessian.mT) / 2


def twice(function: Callable[[Tensor], Tensor], point: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of a function whose rows do not depend on each other: (row, n) → (row, n), (row, n, n)."""
    leaf = point.detach().requires_grad_(True)
    value = function(leaf).sum()
    if not value.requires_grad:
        return torch.zeros_like(point), point.new_zeros(*point.shape, point.shape[1])
    (first,) = torch.autograd.grad(value, leaf, create_graph=True)
    columns = [_derivative(first[:, k].sum(), leaf) for k in range(point.shape[1])]
    return first.detach(), torch.stack(columns, -1)


def _derivative(total: Tensor, leaf: Tensor) -> Tensor:
    """Derivative of one column of first derivatives; zero where they are constant."""
    if not total.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True)
    return torch.zeros_like(leaf) if found is None else found


def _concave(second: Tensor) -> Tensor:
    """The nearest negative semidefinite matrices."""
    if second.shape[-1] == 1:
        return second.clamp(max=0.0)
    values, vectors = torch.linalg.eigh((second + second.mT) / 2)
    return (vectors * values.clamp(max=0.0)[..., None, :]) @ vectors.mT


def _readouts(part: RowModel, u: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Readouts (row, quantity), and their derivatives by the energy terms, with one and two further axes."""
    if part.closed_form:
        return _moments(part, u, rows)
    own, others = u[:, : part.free_terms], u[:, part.free_terms :]
    found = []
    with torch.no_grad():
        values = part.readouts(u[None], rows)[0]
    for q in range(values.shape[1]):

        def one(leaf: Tensor, q: int = q) -> Tensor:
            return part.readouts(torch.cat([leaf, others], 1)[None], rows)[0, :, q]

        found.append(twice(one, own))
    slope, bend = (torch.stack(parts, 1) for parts in zip(*found, strict=True))
    return values, slope, bend


@torch.no_grad()
def _moments(part: RowModel, u: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The same in closed form, for fractions and energies."""
    chemistry: Chemistry = part.chemistry
    reader: Reader = part.reader
    now: Conditions = part.conditions.take(rows)
    energies = chemistry.energies(part.all_terms(u[None]), now)
    weight = chemistry.weights(energies, now)[0]
    free = part.free
    factor = coefficients(chemistry.layout, now, chemistry.reference)[:, free]
    thermal = -factor / (R * now.temperature)[:, None]
    counts = chemistry.term_counts[:, free]
    values, slopes, bends = [], [], []
    for quantity, (species, ln_share, whole, ln_whole) in zip(reader.quantities, reader.parts, strict=True):
        if quantity.kind == "energy":
            values.append(energies[0, :, species[0]])
            slope = (factor * counts[species[0]]).expand(len(u), -1)
            slopes.append(slope)
            bends.append(slope.new_zeros(*slope.shape, slope.shape[1]))
            continue
        read, mean, spread = _boltzmann(weight[:, species] + ln_share, counts[species])
        everything, all_mean, all_spread = _boltzmann(weight[:, whole] + ln_whole, counts[whole])
        values.append(read - everything)
        slopes.append((mean - all_mean) * thermal)
        bends.append((spread - all_spread) * thermal[:, :, None] * thermal[:, None])
    return torch.stack(values, 1), torch.stack(slopes, 1), torch.stack(bends, 1)


def _boltzmann(weight: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """ln of a sum of weights (row, species), and mean and covariance of counts (species, term) under them."""
    share = torch.softmax(weight, -1)
    mean = share @ counts
    products = (counts[:, :, None] * counts[:, None]).flatten(1)
    second = (share @ products).reshape(len(weight), counts.shape[1], counts.shape[1])
    return torch.logsumexp(weight, -1), mean, second - mean[:, :, None] * mean[:, None]
