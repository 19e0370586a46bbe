"""From a start to a steady state: pseudo-transient continuation that ends in Newton's method.

One step solves (σ − J) Δ = f and L Δ = T − L x. Conservation laws are solved first: species D follow from
the others I, on which W = σ − (J_II + J_ID E) remains to be solved (`Reduced`). With σ = 1/δ it is a
linearised implicit Euler step of length δ, with σ = 0 a Newton step. A second solve with the same factors,
Δ' of f(x + Δ) − σ Δ, tells how nonlinear the step was: Θ = |Δ'| / |Δ|, in relative changes of x, does
not depend on units or stiffness (P. Deuflhard, Newton Methods for Nonlinear Problems,
2004, doi:10.1007/978-3-642-23899-4). Small Θ lengthens δ, large Θ rejects the step, and so do concentrations
below −atol and non-finite values.

A step of σ below a real positive eigenvalue of J_II + J_ID E would walk against a growing direction; the
determinant of W then has another sign than for σ → ∞. Such steps are rejected, so that a system leaves an
unstable state towards the side on which it started. A system that starts at rest stays there.

All systems of a batch have their own δ and leave the batch when they are done. Each is computed by operations
that treat matrices one by one, so that none depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from multiscale.solver.conserved import Conserved
from multiscale.solver.system import Point, System, dense

__all__ = ["Linear", "Tolerance", "continuation", "equilibrate", "fastest", "linearise"]

EPSILON = torch.finfo(torch.float64).eps


class Rules(NamedTuple):
    """Numbers of the method."""

    contraction: float = 0.5
    """Largest Θ of a step that counts; Newton's method converges where Θ stays below 1/2."""
    wanted: float = 0.25
    """Θ at which δ stays as it is."""
    growth: float = 10.0
    """Most by which δ grows in one step, and by which it shrinks at a rejection."""
    near: float = 1e-3
    """Relative change of x in a step of wanted Θ, below which Newton's method is tried."""
    rounding: float = 16 * EPSILON
    """Rate relative to the fluxes |J| |x| behind it, up to which it is rounding error."""


RULES = Rules()


class Tolerance(NamedTuple):
    """Error rtol |x| + atol that a concentration may have."""

    rtol: float
    atol: float

    def of(self, x: Tensor) -> Tensor:
        """Error granted to each concentration."""
        return self.rtol * x.abs() + self.atol


class _Lanes(NamedTuple):
    """The systems that are not done, one row each."""

    system: Tensor  # positions in the batch
    point: Point
    totals: Tensor
    shift: Tensor  # σ = 1/δ
    newton: Tensor  # whether the next step ignores σ

    def only(self, rows: Tensor) -> _Lanes:
        point = Point(*(part[rows] for part in self.point))
        return _Lanes(self.system[rows], point, self.totals[rows], self.shift[rows], self.newton[rows])


class _Step(NamedTuple):
    """What a step found, per system."""

    x: Tensor  # where it leads
    size: Tensor  # largest relative change of a concentration
    contraction: Tensor  # Θ
    tiny: Tensor  # no concentration moves by more than its tolerance
    resting: Tensor  # rates before the step are rounding errors
    taken: Tensor  # whether the step counts


class Linear(NamedTuple):
    """The equations of a batch at one point each."""

    laws: Conserved
    rate: Tensor  # f, shape (system, species)
    jacobian: Tensor  # J, shape (system, species, species)
    rows: Tensor  # D, shape (system, moiety)
    remainder: Tensor  # f in rows I and T − L x in rows D, shape (system, species)

    def matrix(self) -> Tensor:
        """−J in rows I and L in rows D."""
        return self.laws.matrix(self.jacobian, self.rows)


def linearise(system: System, laws: Conserved, at: Point, totals: Tensor) -> Linear:
    """f, its Jacobian and what is left to balance, with laws in the rows of the most abundant species."""
    rate, rows = system.rate(at), laws.replaced(at.x.detach())
    jacobian = dense(system.pattern, system.jacobian(at), system.size)
    return Linear(laws, rate, jacobian, rows, laws.remainder(rate, at.x, totals, rows))


def _at_rest(here: Linear, x: Tensor) -> Tensor:
    """Whether every remainder is the rounding error of the fluxes behind it, shape (system,)."""
    size = x.abs().unsqueeze(-2)
    fluxes = (here.jacobian.abs() * size).sum(-1)
    fluxes = fluxes.scatter(1, here.rows, (here.laws.moieties.abs() * size).sum(-1))
    return (here.remainder.abs() <= RULES.rounding * fluxes).all(-1)


def equilibrate(matrix: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Divide rows by their largest term |W_ij| s_j, so that pivoting compares like with like.

    Returns:
        the scaled matrix and the factors of its rows; those of empty rows are 1.
    """
    if not matrix.shape[-1]:  # laws leave nothing to change
        return matrix, torch.ones_like(size)
    largest = (matrix.abs() * size.unsqueeze(-2)).amax(-1)
    factor = 1 / torch.where(largest > 0, largest, 1.0)
    return matrix * factor.unsqueeze(-1), factor


def continuation(
    system: System,
    laws: Conserved,
    start: Point,
    totals: Tensor,
    tolerance: Tolerance,
    max_steps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Follow every system to where it rests.

    Args:
        system: dx/dt = f, at fixed time.
        laws: its conservation laws.
        start: one row per system, x ≥ 0.
        totals: of the laws, shape (system, moiety).
        tolerance: error that x may have.
        max_steps: steps granted to each system, counting rejected ones.

    Returns:
        x, finite, shape (system, species); whether the system has come to rest and steps taken, (system,).
    """
    x, settled = start.x.clone(), torch.zeros_like(start.t, dtype=torch.bool)
    steps = torch.zeros_like(start.t, dtype=torch.int64)
    rate = fastest(system, start)
    lanes = _Lanes(torch.arange(len(x), device=x.device), start, totals, rate, torch.zeros_like(settled))
    for _ in range(max_steps):
        if len(lanes.system) == 0:
            break
        step = _attempt(system, laws, lanes, tolerance)
        lanes, done = _advance(lanes, step, EPSILON * rate[lanes.system])
        steps[lanes.system] += 1
        x[lanes.system] = lanes.point.x
        settled[lanes.system] = done
        lanes = lanes.only(~done)
    return x, settled, steps


def fastest(system: System, at: Point) -> Tensor:
    """Largest entry of J, 1/s; 1 where there is none, as then every length of a step is right."""
    values = system.jacobian(at).abs()
    largest = values.amax(-1) if values.shape[-1] else torch.zeros_like(at.t)
    return torch.where(largest.isfinite() & (largest > 0), largest, 1.0)


def _attempt(system: System, laws: Conserved, lanes: _Lanes, tolerance: Tolerance) -> _Step:
    """One step of every system, and whether it counts."""
    at, shift = lanes.point, torch.where(lanes.newton, 0.0, lanes.shift)
    here = linearise(system, laws, at, lanes.totals)
    solve, regular, sign = _factorise(here, shift, at.x.abs() + tolerance.atol)
    change = solve(here.remainder)
    trial = at.x + change
    behind = system.rate(at._replace(x=trial)) - shift.unsqueeze(-1) * change
    ahead = laws.remainder(behind, trial, lanes.totals, here.rows)
    weight = torch.maximum(at.x.abs(), trial.abs()) + tolerance.atol
    size, left = (_largest(part, weight) for part in (change, solve(ahead)))
    contraction = torch.where(left > tolerance.rtol, left / size, 0.0 * left)  # less is rounding
    resting = _at_rest(here, at.x)
    tiny = (change.abs() <= tolerance.of(at.x)).all(-1)
    forward = sign > 0  # as for σ → ∞
    sound = regular & trial.isfinite().all(-1) & ahead.isfinite().all(-1) & (trial >= -tolerance.atol).all(-1)
    calm = (contraction <= RULES.contraction) | (tiny & resting) | (tiny & lanes.newton)
    stays = ~resting | (size <= RULES.near)  # at rest, a long step follows nothing but rounding errors
    return _Step(trial, size, contraction, tiny, resting, sound & calm & stays & (forward | resting))


def _largest(change: Tensor, weight: Tensor) -> Tensor:
    """Largest relative change; none where nothing changes, even if the weight is zero."""
    return torch.where(change == 0, 0.0, change.abs() / weight).amax(-1)


def _factorise(
    here: Linear, shift: Tensor, size: Tensor
) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor]:
    """A solver for W, whether W is regular to rounding, and the sign of its determinant.

    In a network of modifications about half of the species follow from the others.
    """
    reduced = here.laws.reduced(here.jacobian, here.rows)
    size = torch.where(size > 0, size, 1.0).gather(1, reduced.kept)
    matrix = -reduced.jacobian
    matrix.diagonal(dim1=-2, dim2=-1).add_(shift.unsqueeze(-1))
    scaled, factor = equilibrate(matrix, size)
    finite = scaled.isfinite().all(-1).all(-1)
    scaled = torch.where(finite[:, None, None], scaled * size.unsqueeze(-2), 0.0)
    lower_upper, pivots, _ = torch.linalg.lu_factor_ex(scaled)
    diagonal = lower_upper.diagonal(dim1=-2, dim2=-1)
    regular = finite & (diagonal.abs() > matrix.shape[-1] * EPSILON).all(-1)
    place = torch.arange(1, matrix.shape[-1] + 1, device=matrix.device)
    sign = diagonal.sign().prod(-1) * torch.where((pivots != place).sum(-1) % 2 == 0, 1.0, -1.0)

    def solve(right: Tensor) -> Tensor:
        mine, moved = reduced.right(right)
        change = torch.linalg.lu_solve(lower_upper, pivots, (mine * factor).unsqueeze(-1)).squeeze(-1) * size
        return reduced.full(change, moved)

    return solve, regular, sign


def _advance(lanes: _Lanes, step: _Step, least: Tensor) -> tuple[_Lanes, Tensor]:
    """Systems after the step, and which of them are done.

    A system is done when a Newton step moves nothing by more than its tolerance, or when no Newton step
    counts because of rounding: rates are rounding errors already, or the step is small and yet does not
    contract.
    """
    x = torch.where(step.taken.unsqueeze(-1), step.x, lanes.point.x)
    blurred = ~step.taken & (step.resting | (step.size <= EPSILON**0.5))
    done = lanes.newton & ((step.taken & step.tiny) | blurred)
    factor = (step.contraction / RULES.wanted).clamp(1 / RULES.growth, RULES.growth)
    factor = torch.where(step.taken, factor, RULES.growth)
    shift = torch.where(lanes.newton, lanes.shift, torch.maximum(lanes.shift * factor, least))
    near = (step.contraction <= RULES.wanted) & (step.size <= RULES.near) | (shift <= least)
    newton = (step.taken & (lanes.newton | near)) | step.resting
    return lanes._replace(point=lanes.point._replace(x=x), shift=shift, newton=newton), done
