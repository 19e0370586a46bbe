"""Conservation laws L x = T in place of the dependent equations of f(x) = 0.

Since L f = 0, as many of the equations f(x) = 0 follow from the others as there are laws. Let D be one
species per law, chosen such that L_D is invertible, and I all others. From f_I = 0 follows L_D f_D = −L_I f_I
= 0, so

    f_I(x) = 0,   L x = T

is equivalent to f(x) = 0 with given totals, and has as many independent equations as unknowns for generic
rates. D are the species that hold most of the totals: an equation that is left out holds only to the rounding
errors of the others, which a species with small fluxes would feel.

On the class of states with the same totals, x_D moves with x_I as E = ∂x_D/∂x_I = −L_D⁻¹ L_I, which gives the
Jacobian of the dynamics on that class, J_II + J_ID E.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["Conserved", "Reduced", "conserved", "feasible"]

EPSILON = torch.finfo(torch.float64).eps
Sparse = dict[int, Fraction]


@dataclass(frozen=True, eq=False)
class Conserved:
    """Laws, all independent.

    Args:
        moieties: L, shape (moiety, species).
        constant: species that nothing changes and no given law keeps constant; each is a law of its own,
            after the given ones.
    """

    moieties: Tensor
    constant: Tensor

    @cached_property
    def apart(self) -> bool:
        """Whether no species is in two laws."""
        return bool(((self.moieties != 0).sum(0) <= 1).all())

    def totals(self, x: Tensor) -> Tensor:
        """L x, shape (..., species) → (..., moiety); systems are summed one by one, in a fixed order."""
        return torch.matmul(self.moieties.expand(*x.shape[:-1], -1, -1), x.unsqueeze(-1)).squeeze(-1)

    def replaced(self, x: Tensor) -> Tensor:
        """D: per law the species whose equation it replaces, shape (system, moiety).

        Gaussian elimination of L with pivots where |L_mj| x_j is largest. Laws that share no species leave
        each other alone: then each has its largest term.
        """
        rest = self.moieties.expand(len(x), -1, -1)
        laws, species = self.moieties.shape
        weight = torch.where(x > 0, x, torch.finfo(x.dtype).tiny).unsqueeze(-2)
        if self.apart:
            return (rest.abs() * weight).argmax(-1)
        chosen = torch.zeros(len(x), laws, dtype=torch.int64, device=x.device)
        noise = species * EPSILON * self.moieties.abs().amax() if laws else 0.0
        system = torch.arange(len(x), device=x.device)
        for _ in range(laws):
            best = (rest.abs() * weight).flatten(1).argmax(1)
            law, column = best // species, best % species
            chosen[system, law] = column
            pivot = rest[system, law] / rest[system, law, column].unsqueeze(-1)
            rest = rest - rest[system, :, column].unsqueeze(-1) * pivot.unsqueeze(-2)
            rest = torch.where(rest.abs() > noise, rest, 0.0)
        return chosen

    def remainder(self, rate: Tensor, x: Tensor, totals: Tensor, rows: Tensor) -> Tensor:
        """What is left to balance: f in rows I and T − L x in rows D, shape (system, species)."""
        return rate.scatter(-1, rows, totals - self.totals(x))

    def matrix(self, jacobian: Tensor, rows: Tensor) -> Tensor:
        """−J in rows I and L in rows D, shape (system, species, species)."""
        laws = self.moieties.expand(len(jacobian), -1, -1)
        return (-jacobian).scatter(1, _wide(rows, jacobian.shape[-1]), laws)

    def reduced(self, jacobian: Tensor, rows: Tensor) -> Reduced:
        """The equations on the class of states with the same totals."""
        size, count = jacobian.shape[-1], len(jacobian)
        kept = torch.ones(count, size, dtype=torch.bool, device=rows.device).scatter(1, rows, False)
        kept = kept.nonzero()[:, 1].reshape(count, size - rows.shape[1])
        own = self._columns(rows)
        if self.apart:  # L_D is diagonal
            inverse = torch.diag_embed(1 / own.diagonal(dim1=-2, dim2=-1))
        else:
            inverse = torch.linalg.inv(own)
        follow = -inverse @ self._columns(kept)
        inner, outer = (_part(jacobian, kept, part) for part in (kept, rows))
        return Reduced(rows, kept, inverse, follow, outer, inner + outer @ follow)

    def _columns(self, species: Tensor) -> Tensor:
        """Columns of L, a choice per system: (system, k) → (system, moiety, k)."""
        laws = self.moieties.expand(len(species), -1, -1)
        return laws.gather(2, species.unsqueeze(1).expand(-1, laws.shape[1], -1))


@dataclass(frozen=True, eq=False)
class Reduced:
    """Equations of x_I alone, with x_D following; I and D are a choice per system.

    Args:
        rows: D, shape (system, moiety).
        kept: I in ascending order, shape (system, I).
        inverse: L_D⁻¹, shape (system, moiety, moiety).
        follow: E = ∂x_D/∂x_I, shape (system, moiety, I).
        outer: J_ID, shape (system, I, moiety).
        jacobian: J_II + J_ID E, shape (system, I, I).
    """

    rows: Tensor
    kept: Tensor
    inverse: Tensor
    follow: Tensor
    outer: Tensor
    jacobian: Tensor

    def right(self, remainder: Tensor) -> tuple[Tensor, Tensor]:
        """From a remainder in all rows to that of x_I, (system, I), and to what x_D has to move by itself."""
        moved = self.inverse @ remainder.gather(1, self.rows).unsqueeze(-1)
        return remainder.gather(1, self.kept) + (self.outer @ moved).squeeze(-1), moved.squeeze(-1)

    def full(self, change: Tensor, moved: Tensor) -> Tensor:
        """From a change of x_I and what x_D moves by itself to that of x, shape (system, species)."""
        behind = moved + (self.follow @ change.unsqueeze(-1)).squeeze(-1)
        empty = change.new_empty(len(change), change.shape[1] + moved.shape[1])
        return empty.scatter(1, self.kept, change).scatter(1, self.rows, behind)


def _part(matrix: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Some rows and columns of every matrix, shape (system, row, column)."""
    place = rows.unsqueeze(2) * matrix.shape[-1] + columns.unsqueeze(1)
    return matrix.flatten(1).gather(1, place.flatten(1)).reshape(place.shape)


def _wide(rows: Tensor, size: int) -> Tensor:
    """An index of rows for `gather` and `scatter` of whole rows."""
    return rows.unsqueeze(-1).expand(-1, -1, size)


def conserved(moieties: Tensor | None, pattern: Tensor, size: int) -> Conserved:
    """Check the conservation laws of a network and complete them by species that nothing changes.

    Args:
        moieties: L with L f(x) = 0 for all x, shape (moiety, species); None for none.
        pattern: entries of ∂f/∂x that can differ from zero, shape (2, nonzero).
        size: number of species.

    Raises:
        ValueError: L has a wrong shape or type, is not finite, or its rows depend on each other.

    >>> pattern = torch.tensor([[0, 1], [0, 0]])
    >>> laws = conserved(torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64), pattern, 3)
    >>> laws.constant.tolist(), laws.replaced(torch.tensor([[1.0, 5.0, 2.0]], dtype=torch.float64)).tolist()
    ([2], [[1, 2]])
    """
    L = torch.zeros(0, size, dtype=torch.float64, device=pattern.device) if moieties is None else moieties
    if L.dtype != torch.float64 or L.ndim != 2 or L.shape[1] != size or not bool(L.isfinite().all()):
        got = f"{L.dtype} of shape {tuple(L.shape)}"
        raise ValueError(f"`moieties` must be finite float64 of shape (moiety, {size}); got {got}.")
    quiet = sorted(set(range(size)) - set(pattern[0].tolist()))
    content = L.detach().cpu().numpy().tobytes()
    return _complete((L.shape[0], L.shape[1]), content, tuple(quiet), pattern.device)


@lru_cache(maxsize=64)
def _complete(
    shape: tuple[int, int], content: bytes, quiet: tuple[int, ...], device: torch.device
) -> Conserved:
    """Exact elimination; species that nothing changes are added where laws leave them free."""
    L = np.frombuffer(content).reshape(shape)
    pivots: dict[int, Sparse] = {}
    for number, row in enumerate(L.tolist()):
        if not _eliminate(pivots, {j: Fraction(value) for j, value in enumerate(row) if value}):
            raise ValueError(f"row {number} of `moieties` is a combination of others; leave it out.")
    constant = [j for j in quiet if _eliminate(pivots, {j: Fraction(1)})]
    full = torch.tensor(np.concatenate([L, np.eye(shape[1])[constant]]), device=device)
    return Conserved(full, torch.tensor(constant, dtype=torch.int64, device=device))


def _eliminate(pivots: dict[int, Sparse], row: Sparse) -> bool:
    """Add a law to those eliminated so far, by pivot and in their order; False if it follows from them."""
    for pivot, earlier in pivots.items():
        if pivot in row:
            times = row[pivot] / earlier[pivot]
            entries = {
                j: row.get(j, Fraction(0)) - times * earlier.get(j, Fraction(0)) for j in row | earlier
            }
            row = {j: value for j, value in entries.items() if value}
    if row:
        pivots[min(row)] = row
    return bool(row)


def feasible(laws: Conserved, x0: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
    """Non-negative concentrations with given totals, near a start.

    Where the totals are those of x0, this is x0. Else x0 is bounded by what totals allow of each species, b,
    and corrected by the smallest change relative to x0 + b. If that is negative somewhere, a linear program
    finds a point with all species as far from zero, relative to b, as can be.

    Args:
        laws: conservation laws.
        x0: start ≥ 0, shape (system, species).
        totals: T, shape (system, moiety).

    Returns:
        x, shape (system, species), and whether there is such a point, shape (system,).
    """
    x, possible = x0.clone(), torch.ones_like(x0[:, 0], dtype=torch.bool)
    slack = 4 * EPSILON * (laws.moieties.abs() * x0.unsqueeze(-2)).sum(-1)
    finite = totals.isfinite().all(-1)
    differs = ((totals - laws.totals(x0)).abs() > slack).any(-1) | ~finite
    possible[differs & ~finite] = False
    rows = torch.nonzero(differs & finite).flatten()
    if len(rows) == 0:
        return x, possible
    most = _most(laws.moieties, totals[rows])
    near = torch.minimum(x0[rows], most)
    point, good = _corrected(laws.moieties, near, near + most, totals[rows])
    x[rows[good]] = point[good]
    for k in torch.nonzero(~good).flatten().tolist():
        inside = _interior(laws.moieties, most[k], totals[rows[k]])
        possible[rows[k]] = inside is not None
        x[rows[k]] = x0[rows[k]] if inside is None else inside
    return x, possible


def _most(L: Tensor, totals: Tensor) -> Tensor:
    """How much of each species its scarcest moiety can hold; 1 where it has none; (system, species)."""
    share = torch.where(L != 0, totals.abs().unsqueeze(-1) / L.abs(), torch.inf)
    return share.amin(-2).nan_to_num(posinf=1.0) if len(L) else torch.ones(len(totals), L.shape[1]).to(L)


def _corrected(L: Tensor, x: Tensor, size: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
    """x plus the smallest change, relative to `size`, that gives the totals, and whether that is a solution.

    Args:
        L: laws, shape (moiety, species).
        x: shape (system, species).
        size: of changes, same shape.
        totals: shape (system, moiety).

    Returns:
        shapes (system, species) and (system,).
    """
    weighted = L * size.unsqueeze(-2)
    missing = (totals - (L * x.unsqueeze(-2)).sum(-1)).unsqueeze(-1)
    change = torch.linalg.pinv(weighted @ L.T, hermitian=True) @ missing
    point = x + (change.mT @ weighted).squeeze(-2)
    amount = (L.abs() * point.abs().unsqueeze(-2)).sum(-1)
    missed = (totals - (L * point.unsqueeze(-2)).sum(-1)).abs() > 1e3 * EPSILON * (totals.abs() + amount)
    return point, ~((point < 0).any(-1) | missed.any(-1))


def _interior(L: Tensor, most: Tensor, totals: Tensor) -> Tensor | None:
    """A point with the totals and all x ≥ τ b for the largest τ ≤ 1; None if there is none."""
    from scipy.optimize import linprog

    species, scale = L.shape[1], torch.where(totals != 0, totals.abs(), 1.0)
    equations = torch.cat([L / scale.unsqueeze(-1), torch.zeros_like(scale).unsqueeze(-1)], -1)
    above = torch.cat([-torch.eye(species, dtype=L.dtype), most.cpu().unsqueeze(-1)], -1)
    answer = linprog(
        np.append(np.zeros(species), -1.0),
        A_ub=above.numpy(),
        b_ub=np.zeros(species),
        A_eq=equations.cpu().numpy(),
        b_eq=(totals / scale).cpu().numpy(),
        bounds=[(0, None)] * species + [(0, 1)],
    )
    if answer.status != 0:
        return None
    x = torch.as_tensor(answer.x[:-1]).to(L)[None]
    point, good = _corrected(L, x, x, totals[None])
    return point[0] if bool(good) else None
