"""Trust-region search within bounds for many starts at once, on an approximate Hessian.

Per start the step s minimises the model m(s) = gᵀs + ½ sᵀHs within a ball of the space scaled by the distance
to the bounds that the gradient points at; steps that would leave the bounds are shortened or reflected. All
starts advance together, so that each iteration is one batch of evaluations.

Source: Coleman and Li 1996, SIAM J. Optim. 6:418, doi 10.1137/0806023; Branch, Coleman and Li 1999, SIAM J.
Sci. Comput. 21:1, doi 10.1137/S1064827595289108. With Fisher information as H as in Fröhlich and Sorger 2022,
PLoS Comput. Biol. 18:e1010322, doi 10.1371/journal.pcbi.1010322. H lacks the curvature of the residuals; what
gradients say of it is collected as in Dennis, Gay and Welsch 1981, and used where it foretells changes
better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np

__all__ = ["Ended", "Evaluate", "Evaluation", "Search", "Tolerances", "begin", "iterate", "minimise"]

_SHRINK, _GROW = 0.25, 2.0
_POOR, _GOOD = 0.25, 0.75


class Ended(IntEnum):
    """How the search from one start stands."""

    RUNNING = 0
    FLAT = 1
    SMALL_STEP = 2
    STATIONARY = 3
    OUT_OF_STEPS = 4
    FAILED = 5

    @property
    def text(self) -> str:
        """Sentence for reports."""
        return _TEXTS[self]


_TEXTS = {
    Ended.RUNNING: "still running",
    Ended.FLAT: "converged: the objective no longer changes",
    Ended.SMALL_STEP: "converged: steps have become too small to matter",
    Ended.STATIONARY: "converged: the gradient vanishes within the bounds",
    Ended.OUT_OF_STEPS: "stopped after the maximal number of iterations",
    Ended.FAILED: "the objective could not be evaluated at the start",
}


@dataclass(frozen=True)
class Evaluation:
    """Objective at many points; a point that cannot be evaluated has the value +inf.

    Args:
        value: what is minimised, shape (point,).
        gradient: shape (point, parameter).
        hessian: positive semidefinite approximation, shape (point, parameter, parameter).
    """

    value: np.ndarray
    gradient: np.ndarray
    hessian: np.ndarray


Evaluate = Callable[[np.ndarray], Evaluation]
"""Evaluates points of shape (point, parameter)."""


@dataclass(frozen=True)
class Tolerances:
    """When a search ends.

    Args:
        value: relative and absolute change of the objective that counts as none, three times in a row.
        step: length of a step, relative to 1 + that of the point.
        gradient: largest entry of the scaled gradient.
        iterations: most iterations.
    """

    value: float = 1e-7
    step: float = 1e-9
    gradient: float = 1e-6
    iterations: int = 500


@dataclass
class Search:
    """State of the search from many starts; arrays are all that a checkpoint needs.

    Args:
        x: points, shape (start, parameter).
        at: objective there.
        radius: of the trust region in scaled space, shape (start,).
        calm: how many iterations in a row changed nothing, shape (start,).
        ended: `Ended` as integers, shape (start,).
        rest: secant approximation of what the Hessian has beyond H, shape (start, parameter, parameter).
        corrected: whether the next step uses H + rest, shape (start,).
        iteration: how many were made.
        trace: best value after every iteration, list of (start,).
    """

    x: np.ndarray
    at: Evaluation
    radius: np.ndarray
    calm: np.ndarray
    ended: np.ndarray
    rest: np.ndarray
    corrected: np.ndarray
    iteration: int = 0
    trace: list[np.ndarray] = field(default_factory=list)


def begin(evaluate: Evaluate, x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Search:
    """Evaluate the starts; bounds have the shape of x, equal ones keep a parameter as it is."""
    x = _inside(np.array(x, dtype=np.float64), lower, upper)
    at = evaluate(x)
    ended = np.where(np.isfinite(at.value), Ended.RUNNING, Ended.FAILED).astype(np.int64)
    scale, _ = _scaling(x, at.gradient, lower, upper)
    length = np.linalg.norm(np.divide(x, scale, out=np.zeros_like(x), where=scale > 0), axis=1)
    radius = np.where(length > 0, length, 1.0)
    calm, corrected = np.zeros(len(x), dtype=np.int64), np.zeros(len(x), dtype=bool)
    return Search(x, at, radius, calm, ended, np.zeros_like(at.hessian), corrected, 0, [at.value.copy()])


def iterate(
    search: Search, evaluate: Evaluate, lower: np.ndarray, upper: np.ndarray, tolerances: Tolerances
) -> Search:
    """Make one step of every start that still runs."""
    running = np.flatnonzero(search.ended == Ended.RUNNING)
    steps, predicted, lengths = _steps(search, running, lower, upper)
    new = evaluate(search.x[running] + steps)
    old = search.at.value[running]
    change = np.where(np.isfinite(new.value), new.value - old, np.inf)
    ratio = np.divide(change, predicted, out=np.full_like(change, -1.0), where=predicted < 0)
    accepted = (change < 0) & (ratio > 0)
    radius = search.radius[running]
    radius = np.where(ratio < _POOR, _SHRINK * np.minimum(radius, lengths), radius)
    radius = np.where((ratio > _GOOD) & (lengths > 0.9 * radius), _GROW * radius, radius)
    radius = np.where(np.isfinite(new.value), radius, _SHRINK * np.minimum(search.radius[running], lengths))
    search.radius[running] = radius
    _learn(search, running, steps, change, accepted, new)
    moved = running[accepted]
    search.x[moved] += steps[accepted]
    for mine, its in zip(_parts(search.at), _parts(new), strict=True):
        mine[moved] = its[accepted]
    still = np.abs(np.where(accepted, change, 0.0)) <= tolerances.value * (1 + np.abs(old))
    search.calm[running] = np.where(
        accepted, np.where(still, search.calm[running] + 1, 0), search.calm[running]
    )
    _end(search, running, steps, lower, upper, tolerances)
    search.trace.append(search.at.value.copy())
    return replace(search, iteration=search.iteration + 1)


def minimise(
    evaluate: Evaluate,
    x: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    tolerances: Tolerances | None = None,
    after: Callable[[Search], None] | None = None,
    search: Search | None = None,
) -> Search:
    """Search from many starts until all have ended.

    Args:
        evaluate: the objective.
        x: starts, shape (start, parameter).
        lower, upper: bounds, shape (parameter,) or (start, parameter).
        tolerances: when a start ends.
        after: called after every iteration, for progress and checkpoints.
        search: where to go on; None = begin.

    Rosenbrock's valley, with Gauss and Newton's Hessian:

    >>> def valley(x):
    ...     r = np.stack([10 * (x[:, 1] - x[:, 0] ** 2), 1 - x[:, 0]], 1)
    ...     J = np.zeros((len(x), 2, 2)); J[:, 0, 0] = -20 * x[:, 0]; J[:, 0, 1] = 10; J[:, 1, 0] = -1
    ...     g, H = np.einsum("sr,srp->sp", r, J), np.einsum("srp,srq->spq", J, J)
    ...     return Evaluation((r**2).sum(1) / 2, g, H)
    >>> minimise(valley, np.array([[-1.2, 1.0]]), np.full(2, -2.0), np.full(2, 2.0)).x.round(6).tolist()
    [[1.0, 1.0]]
    """
    tolerances = tolerances or Tolerances()
    lower, upper = (np.broadcast_to(bound, np.shape(x)) for bound in (lower, upper))
    search = search or begin(evaluate, x, lower, upper)
    while (search.ended == Ended.RUNNING).any():
        search = iterate(search, evaluate, lower, upper, tolerances)
        if after is not None:
            after(search)
    return search


def _learn(
    search: Search,
    running: np.ndarray,
    steps: np.ndarray,
    change: np.ndarray,
    accepted: np.ndarray,
    new: Evaluation,
) -> None:
    """Choose the model that foretold the last change better, and update the secant part of the Hessian."""
    for row, i in enumerate(running):
        if not np.isfinite(change[row]):
            continue
        s, g, A = steps[row], search.at.gradient[i], search.rest[i]
        plain = float(g @ s + s @ search.at.hessian[i] @ s / 2)
        other = plain + float(s @ A @ s) / 2
        if A.any():
            search.corrected[i] = abs(change[row] - other) < abs(change[row] - plain)
        if accepted[row]:
            search.rest[i] = _secant(A, s, new.gradient[row] - g, new.hessian[row])
            search.corrected[i] |= not A.any()


def _secant(A: np.ndarray, s: np.ndarray, y: np.ndarray, H: np.ndarray) -> np.ndarray:
    """A such that (H + A) s = y, the change of the gradient, changed as little as possible.

    Source: Dennis, Gay and Welsch 1981, ACM Trans. Math. Softw. 7:348, doi 10.1145/355958.355965.
    """
    along = float(y @ s)
    if along <= 0:
        return A
    seen, known = y - H @ s, A @ s
    size = abs(float(s @ known))
    A = A * (min(1.0, abs(float(s @ seen)) / size) if size > 0 else 1.0)
    missing = seen - A @ s
    return (
        A
        + (np.outer(missing, y) + np.outer(y, missing)) / along
        - float(missing @ s) * np.outer(y, y) / along**2
    )


def _parts(at: Evaluation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return at.value, at.gradient, at.hessian


def _inside(x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Move points strictly between the bounds, by at most a share 1e-9 of their distance."""
    gap = np.where(np.isfinite(upper - lower), upper - lower, 1.0)
    margin = 1e-9 * gap
    return np.where(gap > 0, np.minimum(np.maximum(x, lower + margin), upper - margin), lower)


def _scaling(
    x: np.ndarray, g: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """√v and dv/dx of Coleman and Li: the distance to the bound that −g points at, 1 where there is none."""
    up, down = (g < 0) & np.isfinite(upper), (g >= 0) & np.isfinite(lower)
    v = np.where(up, upper - x, np.where(down, x - lower, 1.0))
    slope = np.where(up, -1.0, np.where(down, 1.0, 0.0))
    return np.sqrt(np.maximum(v, 0.0)), slope


def _steps(
    search: Search, running: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step, predicted change and length in scaled space of every running start."""
    found = [_step(search, i, lower[i], upper[i]) for i in running]
    steps, predicted, lengths = (np.array(part) for part in zip(*found, strict=True))
    return steps.reshape(len(running), -1), predicted, lengths


def _step(search: Search, i: int, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, float, float]:
    x, g = search.x[i], search.at.gradient[i]
    H = search.at.hessian[i] + (search.rest[i] if search.corrected[i] else 0.0)
    free = upper > lower
    scale, slope = _scaling(x, g, lower, upper)
    scale = np.where(free, scale, 0.0)
    g_scaled, B = scale * g, scale[:, None] * H * scale + np.diag(np.where(free, g * slope, 0.0))
    proposal = _in_ball(g_scaled, B, search.radius[i])
    theta = max(0.95, 1 - float(np.linalg.norm(g_scaled)))  # keeps points strictly inside
    best, lowest = np.zeros_like(x), 0.0
    for candidate in _candidates(x, proposal, g_scaled, B, scale, search.radius[i], (lower, upper), theta):
        value = float(g_scaled @ candidate + candidate @ B @ candidate / 2)
        if value < lowest:
            best, lowest = candidate, value
    return scale * best, lowest, float(np.linalg.norm(best))


def _candidates(
    x: np.ndarray,
    proposal: np.ndarray,
    g: np.ndarray,
    B: np.ndarray,
    scale: np.ndarray,
    radius: float,
    bounds: tuple[np.ndarray, np.ndarray],
    theta: float,
) -> list[np.ndarray]:
    """The step where it stays inside; else it shortened, reflected at the bounds, and a gradient step."""
    reach, hit = _reach(x, scale * proposal, *bounds)
    if reach > 1.0:
        return [proposal]
    shortened = theta * reach * proposal
    at_bound = x + reach * scale * proposal
    mirrored = np.where(hit, -proposal, proposal)
    room = min(_reach(at_bound, scale * mirrored, *bounds)[0], _in_radius(reach * proposal, mirrored, radius))
    reflected = reach * proposal + theta * _line(g + B @ (reach * proposal), B, mirrored, room) * mirrored
    steepest = -g
    length = float(np.linalg.norm(steepest))
    room = min(_reach(x, scale * steepest, *bounds)[0] * theta, radius / length if length else 0.0)
    # The reflected point starts on the bound itself: move it inside with the rest.
    return [shortened, theta * reflected, _line(g, B, steepest, room) * steepest]


def _reach(x: np.ndarray, s: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[float, np.ndarray]:
    """Multiple of s at which x + s leaves the bounds, and which bounds it leaves there."""
    distance = np.where(s > 0, upper - x, np.where(s < 0, lower - x, np.inf))
    with np.errstate(over="ignore"):  # a tiny step reaches no bound
        multiple = np.divide(distance, s, out=np.full_like(s, np.inf), where=s != 0)
    reach = float(max(multiple.min(initial=np.inf), 0.0))
    return reach, multiple <= reach


def _in_radius(start: np.ndarray, direction: np.ndarray, radius: float) -> float:
    """Largest multiple t ≥ 0 with |start + t direction| ≤ radius."""
    a, b = float(direction @ direction), float(start @ direction)
    c = float(start @ start) - radius**2
    return (-b + np.sqrt(max(b * b - a * c, 0.0))) / a if a > 0 else 0.0


def _line(g: np.ndarray, B: np.ndarray, direction: np.ndarray, room: float) -> float:
    """Minimum of the model along a direction, between 0 and room."""
    slope, bend = float(g @ direction), float(direction @ B @ direction)
    if slope >= 0:
        return 0.0
    return min(-slope / bend, room) if bend > 0 else room


def _in_ball(g: np.ndarray, B: np.ndarray, radius: float) -> np.ndarray:
    """Minimiser of gᵀs + ½ sᵀBs with |s| ≤ radius, from the eigenvalues of B.

    Source: Moré and Sorensen 1983, SIAM J. Sci. Stat. Comput. 4:553, doi 10.1137/0904038.
    """
    values, vectors = np.linalg.eigh((B + B.T) / 2)
    c = vectors.T @ g
    floor = max(float(np.abs(values).max()), np.finfo(np.float64).tiny) * np.finfo(np.float64).eps * len(g)
    shift = max(0.0, floor - float(values[0]))
    if np.linalg.norm(c / (values + shift)) > radius:
        shift = _shift(values, c, radius, shift)
    return vectors @ (-c / (values + shift))


def _shift(values: np.ndarray, c: np.ndarray, radius: float, least: float) -> float:
    """λ with |c/(values + λ)| = radius by Newton's method on 1/|s|, from below, where it cannot overshoot."""
    shift = max(least, float((np.abs(c) / radius - values).max()))
    for _ in range(100):
        s = c / (values + shift)
        length = float(np.linalg.norm(s))
        if length <= radius * (1 + 1e-10):
            break
        shift += (length / radius - 1) * length**2 / float((s * s / (values + shift)).sum())
    return shift


def _end(
    search: Search,
    running: np.ndarray,
    steps: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    tolerances: Tolerances,
) -> None:
    """Say which starts have ended, and how."""
    x, g = search.x[running], search.at.gradient[running]
    scale, _ = _scaling(x, g, lower[running], upper[running])
    scale = np.where(upper[running] > lower[running], scale, 0.0)
    small = np.linalg.norm(steps, axis=1) <= tolerances.step * (1 + np.linalg.norm(x, axis=1))
    ended = np.full(len(running), int(Ended.RUNNING))
    if search.iteration + 1 >= tolerances.iterations:
        ended[:] = Ended.OUT_OF_STEPS
    ended[small] = Ended.SMALL_STEP
    ended[search.calm[running] >= 3] = Ended.FLAT
    ended[(np.abs(scale * scale * g) <= tolerances.gradient).all(1)] = Ended.STATIONARY
    search.ended[running] = ended
