"""Damped Newton method for binding equilibria that share a formula: the readable definition, on any device.

The multipliers λ minimise the convex dual f(λ) = Σ_j x_j − Σ_m T_m λ_m with ln x_j = ln w_j + Σ_m A_mj λ_m.
Its gradient is the error of the mass balance, A x − T, and its Hessian is H = A diag(x) Aᵀ. Since λ are
logarithms, concentrations stay positive and may span any number of decades. The formula A has shape
(molecule, species), all else (system, molecule) or (system, species).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from multiscale.solver.status import Status

__all__ = ["RULES", "Rules", "factorise", "is_feasible", "newton", "substitute"]

EPSILON = torch.finfo(torch.float64).eps


class Rules(NamedTuple):
    """Numbers of the method, shared with the compiled twin."""

    residual: float = 1e-13
    """Relative error of the mass balance that counts as balanced."""
    rounding: float = 8 * EPSILON
    """The same per unit of max(1, |λ|, |ln w|): exp() of a number of that size cannot be more exact."""
    settled: float = 1e-7
    """Change of ln x after which the next, quadratically smaller one would be below rounding. Also the error
    of ln x, rounding over smallest pivot, from which on a solution is reported as `Status.ROUNDING`."""
    polish: int = 2
    """Steps granted to a balanced system to settle, which rounding prevents if it is ill-conditioned."""
    safe: float = 0.1
    """Change of ln x within which the Hessian changes by 10 % at most, so that no line search is needed."""
    dominant: float = 0.1
    """Accuracy of the dominant-species start, in ln x; Newton's method does the rest."""
    warm: float = 1.0
    """A given start is kept if every balance is within this of its total, in ln."""
    short: float = 0.25
    """A step is lengthened if more than this fraction of the slope of f is left at its end."""
    long: float = -0.5
    """A step is shortened if f rises at its end by more than this fraction of the slope."""
    trials: int = 30
    """Evaluations that one line search may take."""
    furthest: float = 700.0
    """Largest change of ln x in one step, the range of float64; only infeasible totals ask for more."""


RULES = Rules()


class _Systems(NamedTuple):
    """What a batch is given; `bound` is ln of twice the most of a species that its molecules allow."""

    formula: Tensor
    ln_weight: Tensor
    totals: Tensor
    ln_totals: Tensor
    bound: Tensor

    def only(self, index: Tensor) -> _Systems:
        """The systems of an index or mask."""
        return _Systems(self.formula, *(part[index] for part in self[1:]))

    def state(self, multipliers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ln x, x and the balance A x."""
        ln_x = self.ln_weight + multipliers @ self.formula
        x = ln_x.exp()
        return ln_x, x, x @ self.formula.T


def newton(
    formula: Tensor, ln_weight: Tensor, totals: Tensor, start: Tensor, max_steps: int
) -> tuple[Tensor, Tensor]:
    """Multipliers at which every system balances.

    Args:
        formula: A, subunits of each molecule in each species, float64, shape (molecule, species).
        ln_weight: ln w, shape (system, species).
        totals: T ≥ 0, shape (system, molecule). Where T = 0, the molecule vanishes with all its species.
        start: λ to begin with where it is close, shape (system, molecule); NaN for none.
        max_steps: Newton steps granted to each system.

    Returns:
        λ, −inf where T = 0, shape (system, molecule), and `Status` numbers, shape (system,).
    """
    systems = _prepare(formula, ln_weight, totals)
    current = _start(systems, start)
    multipliers = current.clone()
    status = torch.full_like(totals[:, 0], Status.NOT_CONVERGED, dtype=torch.int64)
    index, polished = torch.arange(len(totals), device=totals.device), torch.zeros_like(status)
    change, pivot = torch.full_like(totals[:, 0], math.inf), torch.ones_like(totals[:, 0])
    for _ in range(max_steps + 1):
        ln_x, x, balance = systems.state(current)
        balanced = _is_balanced(systems, current, balance)
        done = balanced & ((change <= RULES.settled) | (polished == RULES.polish))
        blurred = RULES.settled * pivot[done] < EPSILON
        status[index[done]] = torch.where(blurred, Status.ROUNDING, Status.CONVERGED)
        multipliers[index] = current
        index, systems, polished = index[~done], systems.only(~done), (polished + balanced)[~done]
        if len(index) == 0:
            break
        current, change, pivot = _step(systems, current[~done], ln_x[~done], x[~done], balance[~done])
    return multipliers.masked_fill(totals == 0, -math.inf), status


def _prepare(formula: Tensor, ln_weight: Tensor, totals: Tensor) -> _Systems:
    """Give vanishing species weight zero, so that absent molecules drop out of every sum."""
    vanishing = (totals == 0).to(formula) @ formula > 0
    ln_totals = totals.log()
    most = (ln_totals.unsqueeze(-1) - formula.log()).masked_fill(formula == 0, math.inf).amin(1)
    bound = (most + math.log(2)).masked_fill(vanishing, math.inf)
    return _Systems(formula, ln_weight.masked_fill(vanishing, -math.inf), totals, ln_totals, bound)


def _is_balanced(systems: _Systems, multipliers: Tensor, balance: Tensor) -> Tensor:
    """Whether the residual is at the tolerance, or at the rounding error of the exponents if larger."""
    size = torch.maximum(multipliers.abs().amax(-1), _finite(systems.ln_weight).abs().amax(-1)).clamp(min=1)
    error = (balance - systems.totals).abs() / torch.where(systems.totals > 0, systems.totals, 1.0)
    return error.amax(-1) <= (RULES.rounding * size).clamp(min=RULES.residual)


def _step(
    systems: _Systems, multipliers: Tensor, ln_x: Tensor, x: Tensor, balance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """New multipliers, largest change of ln x if the step is not damped, smallest pivot of the scaled H."""
    remainder = systems.totals - balance
    factor = factorise(systems.formula, x)
    direction = substitute(factor, remainder)
    length = _step_length(systems, multipliers, ln_x, remainder, direction)
    pivot = factor[0].diagonal(dim1=-2, dim2=-1).amin(-1).square()
    return multipliers + length * direction, (direction @ systems.formula).abs().amax(-1), pivot


def _step_length(
    systems: _Systems, multipliers: Tensor, ln_x: Tensor, remainder: Tensor, direction: Tensor
) -> Tensor:
    """Length near the minimum of f along the direction, with every species below its bound.

    f is convex, so its slope along the direction brackets the minimum. Unlike f, it loses no digits there.
    """
    change = direction @ systems.formula
    largest = change.abs().amax(-1, keepdim=True)
    room = (systems.bound - ln_x).clamp(min=1.0)
    high = torch.where(change > 0, room / change, RULES.furthest / largest).amin(-1, keepdim=True)
    low, length = torch.zeros_like(high), high.clamp(max=1.0)
    slope = (remainder * direction).sum(-1, keepdim=True)
    searching = largest > RULES.safe
    for _ in range(RULES.trials):
        balance = systems.state(multipliers + length * direction)[2]
        ratio = ((systems.totals - balance) * direction).sum(-1, keepdim=True) / slope
        short, long = ratio > RULES.short, ratio < RULES.long
        searching = searching & (long | (short & (length < 0.8 * high)))
        if not searching.any():
            break
        low, high = torch.where(short, length, low), torch.where(long, length, high)
        middle = torch.where(low > 0, torch.minimum(2 * low, (low + high) / 2), high / 2)
        length = torch.where(searching, middle, length)
    return length


def factorise(formula: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cholesky factor of the Jacobi-scaled Hessian, D^-½ A diag(x) Aᵀ D^-½ with D the diagonal of H.

    Rounding can spoil a pivot only where almost all of a molecule is bound. The exact pivot is at least what
    the species made of that molecule alone contribute to the diagonal, which is therefore its floor. A
    molecule without such a species may have a row that depends on earlier ones (subunits that occur only
    together, absent molecules); that row is left out.

    Args:
        formula: A, shape (molecule, species).
        x: concentrations, shape (system, species).

    Returns:
        Lower factor, shape (system, molecule, molecule); D^-½, shape (system, molecule); 1 for rows that are
        kept, else 0, shape (system, molecule).
    """
    alone = formula * ((formula > 0).sum(0) == 1)
    hessian = (x.unsqueeze(-2) * formula) @ formula.T
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
    floor = (x @ (alone * alone).T) * scale * scale
    rest = hessian * scale.unsqueeze(-1) * scale.unsqueeze(-2)
    columns, kept = [], []
    for k in range(len(formula)):
        pivot = torch.maximum(rest[:, k, k], floor[:, k])
        keep = (floor[:, k] > 0) | (pivot > len(formula) * EPSILON)
        root = torch.where(keep, pivot, 1.0).sqrt()
        below = torch.where(keep, 1 / root, 0.0).unsqueeze(-1) * rest[:, k + 1 :, k]
        column = torch.cat([torch.zeros_like(rest[:, :k, k]), root.unsqueeze(-1), below], -1)
        columns.append(column)
        kept.append(keep)
        rest = rest - column.unsqueeze(-1) * column.unsqueeze(-2)
    keep = torch.stack(kept, -1)
    identity = torch.eye(len(formula), dtype=x.dtype, device=x.device)
    return torch.where(keep.unsqueeze(-1), torch.stack(columns, -1), identity), scale, keep.to(x)


def substitute(factor: tuple[Tensor, Tensor, Tensor], right: Tensor) -> Tensor:
    """Solve H y = right, both of shape (system, molecule); y is zero in rows that were left out."""
    lower, scale, keep = factor
    return torch.cholesky_solve((right * scale * keep).unsqueeze(-1), lower).squeeze(-1) * scale * keep


def _start(systems: _Systems, start: Tensor) -> Tensor:
    """The given multipliers where they nearly balance, else those of the dominant-species equilibrium."""
    given = start.masked_fill(systems.totals == 0, 0.0)
    ln_x, _, balance = systems.state(given)
    off = (balance.log() - systems.ln_totals).masked_fill(systems.totals == 0, 0.0).abs()
    warm = (ln_x <= systems.bound + RULES.warm).all(-1) & (off <= RULES.warm).all(-1)
    given[~warm] = _cold_start(systems.only(~warm))
    return given


def _cold_start(systems: _Systems) -> Tensor:
    """Multipliers of the dominant-species equilibrium: the most abundant species of a molecule is its total.

    Begins with everything free and shifts the molecule that is furthest off, again and again. Sums become
    maxima, so nothing overflows, and limiting molecules are used up first, which Newton steps find slowly.
    """
    multipliers = _all_free(systems)
    rows = torch.arange(len(multipliers), device=multipliers.device)
    for _ in range(2 * len(systems.formula)):
        ln_x = systems.ln_weight + multipliers @ systems.formula
        top, species = (ln_x.unsqueeze(-2) + systems.formula.log()).max(-1)
        excess = (top - systems.ln_totals).masked_fill(top == -math.inf, 0.0)
        size, worst = excess.abs().max(-1)
        if not (size > RULES.dominant).any():
            break
        shift = excess[rows, worst] / systems.formula[worst, species[rows, worst]]
        multipliers[rows, worst] -= torch.where(size > RULES.dominant, shift, 0.0)
    above = (systems.ln_weight + multipliers @ systems.formula - systems.bound) / systems.formula.sum(0)
    return multipliers - _finite(above).amax(-1, keepdim=True).clamp(min=0.0)


def _all_free(systems: _Systems) -> Tensor:
    """Multipliers at which the species made of one molecule alone can hold its total; 0 if there is none."""
    alone = (systems.formula > 0) & ((systems.formula > 0).sum(0) == 1)
    per_subunit = systems.ln_totals.unsqueeze(-1) - systems.formula.log() - systems.ln_weight.unsqueeze(-2)
    usable = alone & per_subunit.isfinite()
    multipliers = torch.where(usable, per_subunit / systems.formula, math.inf).amin(-1)
    return _finite(multipliers)


def _finite(values: Tensor) -> Tensor:
    """Values with 0 in place of infinities."""
    return values.masked_fill(values.isinf(), 0.0)


def is_feasible(formula: np.ndarray, totals: np.ndarray) -> bool:
    """Whether some x ≥ 0 gives A x = T, to the relative error that counts as balanced.

    Args:
        formula: A, shape (molecule, species).
        totals: T ≥ 0, shape (molecule,).

    A dimer cannot hold unequal totals:

    >>> dimer = np.array([[1.0], [1.0]])
    >>> is_feasible(dimer, np.array([2.0, 2.0])), is_feasible(dimer, np.array([2.0, 3.0]))
    (True, False)
    """
    from scipy.optimize import nnls

    present = totals > 0
    possible = formula[present][:, ~(formula[~present] > 0).any(0)]
    if not possible.any():
        return not present.any()
    alone = possible[:, (possible > 0).sum(0) == 1]
    if alone.any(1).all():  # every molecule has a form of its own that takes whatever total is left
        return True
    with np.errstate(over="ignore"):
        relative = possible / totals[present, None]
    if not np.isfinite(relative).all():  # totals near the smallest number there is prove nothing
        return True
    try:
        residual = nnls(relative, np.ones(len(possible)))[1]
    except RuntimeError:  # gave up, which proves nothing
        return True
    return bool(residual <= RULES.residual)
