"""Steady states f(x) = 0 with given conserved totals, their stability and their derivatives.

Value. Conservation laws L x = T replace dependent equations (`conserved`), and `continuation` leads from the
start to rest; systems that it does not bring to rest are integrated over growing horizons and tried again.

Rank. The matrix of the solution, M = −J in rows I and L in rows D, is inverted after scaling. Rounding errors
of the fluxes, ε |M| |x|, move x by y = M⁻¹ ε |M| |x|. A system is `SINGULAR` where M is singular to rounding
(zero rates that add a law), or where moving x by y, or by the last Newton step, changes M by more than a
hundredth in the direction that M resolves worst: folds, where two solutions meet, and losses that vanish with
what is lost.

Gradient. Let F(x, p, T) be f in rows I and T − L x in rows D. Two Newton steps x ← x + M⁻¹ F from the
converged, constant x are recorded by autograd. At displaced (p, T) + h the constant x is off by O(h), so
after one step it is off by O(h²) and after two by O(h⁴): first, second and third derivatives are exact. They
are those of the branch that was reached, dx = M⁻¹ (∂f/∂p dp in rows I, dT in rows D).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from multiscale.solver.conserved import Conserved, conserved, feasible
from multiscale.solver.continuation import Linear, Tolerance, continuation, equilibrate, fastest, linearise
from multiscale.solver.status import Status
from multiscale.solver.system import Point, System, dense

__all__ = ["SteadyState", "steady_state"]

EPSILON = torch.finfo(torch.float64).eps
_HORIZONS = (1e3, 1e6, 1e9, 1e12, 1e15)  # of the fallback, in units of the shortest time scale, in turn
_STEPS = 20_000  # granted to each integration of the fallback
_RESOLVED = 0.01  # relative change of M within the uncertainty of x, up to which M counts as known


class SteadyState(NamedTuple):
    """Result of `steady_state`, one row per system."""

    x: Tensor
    """Concentrations, µM, shape (system, species); finite, but not balanced where nothing was found."""
    status: Tensor
    """Numbers of `Status`, shape (system,). An `UNSTABLE` x is a steady state, with a gradient."""
    eigenvalue: Tensor
    """Largest real part of the Jacobian on the class of states with the same totals, 1/s, shape (system,).
    Negative where perturbations fade; −∞ where totals leave nothing to perturb, ∞ where nothing was found."""
    residual: Tensor
    """Largest |dx/dt|, µM/s, shape (system,); ∞ where it is not finite."""
    steps: Tensor
    """Steps of the continuation, shape (system,)."""


def steady_state(
    system: System,
    x0: Tensor,
    p: Tensor,
    *,
    moieties: Tensor | None = None,
    totals: Tensor | None = None,
    t: float | Tensor = 0.0,
    rtol: float = 1e-10,
    atol: float = 1e-12,
    max_steps: int = 200,
    fallback: bool = True,
) -> SteadyState:
    """Where a system comes to rest: f(x) = 0 and L x = T.

    Of several steady states, the one is taken that is reached from `x0`; a start that already is at rest
    stays, even if it is unstable.

    Args:
        system: dx/dt = f(t, x, p), differentiable by autograd where derivatives are wanted.
        x0: start ≥ 0, µM, shape (system, species).
        p: constants, shape (system, parameter) or (parameter,).
        moieties: L with L f(x) = 0 for all x and independent rows, shape (moiety, species). Species whose
            rate is always zero need none: they keep their value.
        totals: T, shape (system, moiety); by default L x0.
        t: time at which f is taken, s, shape () or (system,).
        rtol: relative error of x.
        atol: absolute error of x, µM; inside, concentrations down to −atol are allowed.
        max_steps: steps of the continuation granted to each system.
        fallback: whether to integrate systems that the continuation does not bring to rest.

    Returns:
        `SteadyState`; x is differentiable by `p`, `totals` and `x0` up to third derivatives. Systems without
        a result have x that no gradient passes through and do not touch others.

    Raises:
        ValueError: an argument has a wrong shape, or `x0` is negative or not finite.

    Source: C. T. Kelley and D. E. Keyes, SIAM J. Numer. Anal. 35:508, 1998, doi:10.1137/S0036142996304796
    (pseudo-transient continuation).

    A ⇌ B with k_f = 1/s, k_r = 3/s and 4 µM in total rests at 3 µM and 1 µM, and relaxes with 4/s.

    >>> from multiscale.passing.reactions import Reactions
    >>> from multiscale.physics.mass_action import mass_action
    >>> rows = [(mass_action(1), [3, 0], {0: -1.0, 1: 1.0}), (mass_action(1), [4, 1], {0: 1.0, 1: -1.0})]
    >>> x0, k, L = (torch.tensor(v, dtype=torch.float64) for v in ([[4.0, 0.0]], [[1.0, 3.0]], [[1.0, 1.0]]))
    >>> rest = steady_state(Reactions.build(2, 2, rows), x0, k, moieties=L)
    >>> [round(value, 12) for value in rest.x[0].tolist()], round(float(rest.eigenvalue), 12)
    ([3.0, 1.0], -4.0)
    """
    laws = conserved(moieties, system.pattern, system.size)
    at, total = _arguments(system, laws, x0, p, t, totals)
    tolerance = Tolerance(min(max(rtol, 16 * EPSILON), EPSILON**0.5), atol)
    with torch.no_grad():
        found = _find(system, laws, _detached(at), total.detach(), tolerance, max_steps, fallback)
    rows = torch.nonzero((found.status <= Status.ROUNDING) | (found.status == Status.UNSTABLE)).flatten()
    if not torch.is_grad_enabled() or len(rows) == 0 or not (at.p.requires_grad or total.requires_grad):
        return found
    here = Point(at.t[rows], found.x[rows], at.p[rows])
    attached = _attach(system, laws, here, total[rows])
    return found._replace(x=found.x.index_copy(0, rows, attached))


def _arguments(
    system: System, laws: Conserved, x0: Tensor, p: Tensor, t: float | Tensor, totals: Tensor | None
) -> tuple[Point, Tensor]:
    """Checked start and totals, one row per system."""
    if x0.dtype != torch.float64 or x0.ndim != 2 or x0.shape[1] != system.size:
        got = f"{x0.dtype} of shape {tuple(x0.shape)}"
        raise ValueError(f"`x0` must be float64 of shape (system, {system.size}); got {got}.")
    if not bool((x0.isfinite() & (x0 >= 0)).all()):
        wrong = float(x0[~(x0.isfinite() & (x0 >= 0))][0])
        raise ValueError(f"`x0` must be finite and not negative; got {wrong}. Start from concentrations.")
    count, given = len(x0), len(laws.moieties) - len(laws.constant)
    if p.shape not in ((system.parameters,), (count, system.parameters)):
        got = tuple(p.shape)
        raise ValueError(f"`p` must have shape ({count}, {system.parameters}), a row per system; got {got}.")
    own = laws.totals(x0)
    if totals is not None:
        if totals.shape not in ((given,), (count, given)):
            got = tuple(totals.shape)
            raise ValueError(f"`totals` must have shape ({count}, {given}) as `moieties` say; got {got}.")
        own = torch.cat([totals.expand(count, given), own[:, given:]], -1)
    time = torch.as_tensor(t, dtype=x0.dtype, device=x0.device).expand(count)
    return Point(time, x0, p.expand(count, -1)), own


def _detached(at: Point) -> Point:
    return Point(*(part.detach() for part in at))


def _find(
    system: System,
    laws: Conserved,
    at: Point,
    totals: Tensor,
    tolerance: Tolerance,
    max_steps: int,
    fallback: bool,
) -> SteadyState:
    """Values and statuses, without history."""
    start, possible = feasible(laws, at.x, totals)
    at = at._replace(x=start)
    finite = system.rate(at).isfinite().all(-1) & system.jacobian(at).isfinite().all(-1)
    rows = torch.nonzero(possible & finite).flatten()
    here, mine = Point(*(part[rows] for part in at)), totals[rows]
    x, rest, steps = continuation(system, laws, here, mine, tolerance, max_steps)
    found = _judge(system, laws, here._replace(x=x), mine, tolerance, rest, steps)
    if fallback:
        found = _integrate(system, laws, here, mine, tolerance, max_steps, found)
    status = torch.where(possible, Status.NOT_FINITE, Status.INFEASIBLE)
    nothing = torch.full_like(at.t, torch.inf)
    every = SteadyState(start, status, nothing, nothing, torch.zeros_like(status))
    return SteadyState(*(a.index_copy(0, rows, b) for a, b in zip(every, found, strict=True)))


def _judge(
    system: System,
    laws: Conserved,
    at: Point,
    totals: Tensor,
    tolerance: Tolerance,
    rest: Tensor,
    steps: Tensor,
) -> SteadyState:
    """What the ends of a continuation are: balanced or not, isolated or not, stable or not."""
    here = linearise(system, laws, at, totals)
    finite = here.rate.isfinite().all(-1) & here.jacobian.isfinite().all(-1).all(-1)
    here = here._replace(
        jacobian=torch.where(finite[:, None, None], here.jacobian, 0.0),
        remainder=torch.where(finite.unsqueeze(-1), here.remainder, 0.0),
    )
    granted = tolerance.of(at.x).unsqueeze(-2)
    balanced = (here.remainder.abs() <= (here.matrix().abs() * granted).sum(-1)).all(-1)
    balanced &= (here.rate.abs() <= (here.jacobian.abs() * granted).sum(-1)).all(-1)
    exact, isolated = _uncertainty(system, at, here, tolerance)
    eigenvalue, unstable = _stability(here)
    status = torch.where(exact, Status.CONVERGED, Status.ROUNDING)
    status = torch.where(unstable, Status.UNSTABLE, status)
    status = torch.where(isolated, status, Status.SINGULAR)
    steady = rest & finite & balanced
    return SteadyState(
        at.x,
        torch.where(steady, status, Status.NO_STEADY_STATE),
        torch.where(steady, eigenvalue, torch.inf),
        torch.where(finite, here.rate.abs().amax(-1), torch.inf),
        steps,
    )


def _uncertainty(system: System, at: Point, here: Linear, tolerance: Tolerance) -> tuple[Tensor, Tensor]:
    """Whether x is known within its tolerance, and whether M is known to be regular."""
    matrix = here.matrix()
    size = at.x.abs() + tolerance.atol
    size = torch.where(size > 0, size, 1.0).unsqueeze(-1)
    scaled, factor = equilibrate(matrix, size.squeeze(-1))
    scaled = scaled * size.mT
    inverse, info = torch.linalg.inv_ex(scaled)
    inverse = torch.where((info == 0)[:, None, None] & inverse.isfinite(), inverse, 0.0)
    worst = inverse.abs().sum(-1).amax(-1) * scaled.abs().sum(-1).amax(-1)
    regular = (info == 0) & (worst * matrix.shape[-1] * EPSILON < 1)
    rounding = (EPSILON * factor * (matrix.abs() * at.x.abs().unsqueeze(-2)).sum(-1)).unsqueeze(-1)
    spread = inverse.abs() @ rounding
    row = spread.argmax(1, keepdim=True).expand(-1, -1, matrix.shape[-1])
    shift = inverse @ (rounding * inverse.gather(1, row).sign().mT)  # of all signs, those that move x most
    last = inverse @ (factor * here.remainder).unsqueeze(-1)
    for move in (shift, last):
        moved = at._replace(x=at.x + (size * move).squeeze(-1))
        other = here._replace(jacobian=dense(system.pattern, system.jacobian(moved), system.size))
        change = inverse @ ((other.matrix() - matrix) * factor.unsqueeze(-1) * size.mT)
        regular = regular & (change.abs().sum(-1).amax(-1) <= _RESOLVED)
    error = (size * torch.maximum(spread, last.abs())).squeeze(-1)
    return (error <= tolerance.of(at.x)).all(-1), regular


def _stability(here: Linear) -> tuple[Tensor, Tensor]:
    """Largest real part of the reduced Jacobian, and whether it is positive beyond rounding."""
    reduced = here.laws.reduced(here.jacobian, here.rows).jacobian
    if reduced.shape[-1] == 0:
        none = reduced.new_full(reduced.shape[:1], -torch.inf)
        return none, none > 0
    values = torch.linalg.eigvals(reduced)
    largest = values.real.amax(-1)
    return largest, largest > 16 * reduced.shape[-1] * EPSILON * values.abs().amax(-1)


def _integrate(
    system: System,
    laws: Conserved,
    at: Point,
    totals: Tensor,
    tolerance: Tolerance,
    max_steps: int,
    found: SteadyState,
) -> SteadyState:
    """Integrate systems without a steady state over growing horizons, and try again from where they are."""
    from multiscale.solver.time_course import time_course

    rows = torch.nonzero(found.status == Status.NO_STEADY_STATE).flatten()
    x = at.x[rows]
    for horizon in _HORIZONS:
        if len(rows) == 0:
            break
        here, mine = Point(at.t[rows], x, at.p[rows]), totals[rows]
        duration = horizon / fastest(system, here)
        times = (here.t + duration).unsqueeze(-1)
        course = time_course(system, x, here.p, times, t0=here.t, atol=tolerance.atol, max_steps=_STEPS)
        ok = course.status <= Status.ROUNDING
        rows, here, mine = rows[ok], Point(here.t[ok], course.x[ok, 0], here.p[ok]), mine[ok]
        x, rest, steps = continuation(system, laws, here, mine, tolerance, max_steps)
        new = _judge(system, laws, here._replace(x=x), mine, tolerance, rest, found.steps[rows] + steps)
        found = SteadyState(*(a.index_copy(0, rows, b) for a, b in zip(found, new, strict=True)))
        left = new.status == Status.NO_STEADY_STATE
        rows, x = rows[left], here.x[left]
    return found


def _attach(system: System, laws: Conserved, at: Point, totals: Tensor) -> Tensor:
    """The same x with its derivatives: two recorded Newton steps, whose values are rounding errors."""
    x = at.x
    for _ in range(2):
        here = linearise(system, laws, at._replace(x=x), totals)
        matrix = here.matrix()
        size = torch.where(at.x == 0, 1.0, at.x.abs())
        factor = equilibrate(matrix.detach(), size)[1]
        scaled = matrix * factor.unsqueeze(-1) * size.unsqueeze(-2)
        x = x + torch.linalg.solve(scaled, (factor * here.remainder).unsqueeze(-1)).squeeze(-1) * size
    return at.x + (x - x.detach())
