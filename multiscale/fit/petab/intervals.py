"""Intervals of fitted parameters: from the observed information, and from profiles of the objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2

from multiscale.fit.trust_region import Evaluate, Tolerances, minimise

__all__ = ["LEVEL", "Fisher", "fisher_intervals", "observed_information", "profile_intervals"]

LEVEL = 0.9
"""Share of intervals that should hold the truth."""

_RISE = float(chi2.ppf(LEVEL, 1)) / 2  # of the negative log posterior at the ends of a profile interval
_CLOSE = 0.02
_ROUNDS = 12
_MOVE = 1e-4  # on the scale of estimation, where differences of gradients are good to about 1e-4
_TOLERANCES = Tolerances(value=1e-6, iterations=200)


@dataclass(frozen=True)
class Fisher:
    """Local uncertainty at an optimum.

    Args:
        sd: standard deviation per parameter on the estimation scale, inf where the data do not determine it.
        undetermined: whether a parameter takes part in a direction along which the objective is flat.
        flat: those directions, unit vectors on scaled parameters, shape (direction, parameter).
        at_bound: whether a parameter ended on a bound.
    """

    sd: np.ndarray
    undetermined: np.ndarray
    flat: np.ndarray
    at_bound: np.ndarray


def observed_information(
    evaluate: Evaluate, x: np.ndarray, hessian: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Hessian of the objective at an optimum, by central differences of its exact gradient.

    The expected information leaves out the curvature of the model, which decides about directions that the
    data determine poorly. Rows of parameters on a bound keep the expected information.

    Args:
        evaluate: negative log posterior.
        x: optimum, shape (parameter,).
        hessian: expected information there, shape (parameter, parameter).
        lower, upper: bounds, shape (parameter,).
    """
    free = np.flatnonzero(~_at_bound(x, lower, upper) & (upper > lower))
    if not len(free):
        return hessian
    moves = np.zeros((len(free), len(x)))
    moves[np.arange(len(free)), free] = np.minimum(_MOVE, np.minimum(upper - x, x - lower)[free] / 2)
    ends = evaluate(np.concatenate([x + moves, x - moves]))
    if not np.isfinite(ends.value).all():
        return hessian
    rise = ends.gradient[: len(free)] - ends.gradient[len(free) :]
    slopes = rise[:, free] / (2 * moves[np.arange(len(free)), free])[:, None]
    found = hessian.copy()
    found[np.ix_(free, free)] = (slopes + slopes.T) / 2
    return found


def fisher_intervals(x: np.ndarray, hessian: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Fisher:
    """Standard deviations from the inverse information.

    A direction counts as flat where moving along it through the whole width of the bounds would change the
    objective by less than the rise at the end of an interval.

    Args:
        x: optimum on the estimation scale, shape (parameter,).
        hessian: information of data and priors, shape (parameter, parameter).
        lower, upper: bounds.
    """
    width = np.where(np.isfinite(upper - lower), upper - lower, 1.0)
    at_bound = _at_bound(x, lower, upper)
    free = ~at_bound & (width > 0)
    H = (width[:, None] * hessian * width)[np.ix_(free, free)]
    values, vectors = np.linalg.eigh(H) if free.any() else (np.zeros(0), np.zeros((0, 0)))
    open_ended = values / 2 < _RISE
    sd, undetermined = np.full(len(x), np.inf), np.zeros(len(x), dtype=bool)
    known = vectors[:, ~open_ended] ** 2 @ (1 / values[~open_ended])
    takes_part = (vectors[:, open_ended] ** 2 > 1e-4).any(1)
    sd[free] = np.where(takes_part, np.inf, np.sqrt(known)) * width[free]
    undetermined[free] = takes_part
    flat = np.zeros((int(open_ended.sum()), len(x)))
    flat[:, free] = vectors[:, open_ended].T
    return Fisher(sd, undetermined, flat, at_bound)


def _at_bound(x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    width = np.where(np.isfinite(upper - lower), upper - lower, 1.0)
    return (x - lower < 1e-4 * width) | (upper - x < 1e-4 * width)


def profile_intervals(
    evaluate: Evaluate,
    x: np.ndarray,
    value: float,
    hessian: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Move each parameter until the objective, all others fitted again, has risen by χ²₁(0.9)/2.

    Both sides of all parameters are one batch. A side that reaches its bound before that is open: the end is
    infinite.

    Args:
        evaluate: negative log posterior.
        x: optimum, shape (parameter,).
        value: the objective there.
        hessian: there.
        lower, upper: bounds, shape (parameter,).
        progress: called with the number of finished sides and of all sides.

    Returns:
        table with columns `parameter` (its position), `value`, `rise`; lower ends, upper ends.

    Source: Raue et al. 2009, Bioinformatics 25:1923, doi 10.1093/bioinformatics/btp358.
    """
    count = len(x)
    sides = [_Side(j, sign, x, hessian, lower, upper) for j in range(count) for sign in (-1, 1)]
    points = [(j, float(x[j]), 0.0) for j in range(count)]
    for _ in range(_ROUNDS):
        going = [side for side in sides if not side.done]
        if not going:
            break
        fixed_lower, fixed_upper = np.tile(lower, (len(going), 1)), np.tile(upper, (len(going), 1))
        begin = np.stack([side.proposal() for side in going])
        for row, side in enumerate(going):
            fixed_lower[row, side.j] = fixed_upper[row, side.j] = begin[row, side.j]
        found = minimise(evaluate, begin, fixed_lower, fixed_upper, _TOLERANCES)
        for row, side in enumerate(going):
            rise = float(found.at.value[row]) - value
            side.saw(found.x[row], rise)
            points.append((side.j, float(begin[row, side.j]), rise))
        if progress is not None:
            progress(sum(side.done for side in sides), len(sides))
    ends = np.array([side.end for side in sides]).reshape(count, 2)
    table = pd.DataFrame(points, columns=["parameter", "value", "rise"])
    return table.sort_values(["parameter", "value"], ignore_index=True), ends[:, 0], ends[:, 1]


class _Side:
    """One side of one profile: where it has been, and where it goes next."""

    def __init__(
        self, j: int, sign: int, x: np.ndarray, hessian: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> None:
        self.j, self.sign = j, sign
        self.bound = float((lower if sign < 0 else upper)[j])
        self._near, self._rise_near, self._begin = x.copy(), 0.0, float(x[j])
        self._far: tuple[float, float] | None = None
        others = (np.arange(len(x)) != j) & ~_at_bound(x, lower, upper)  # those cannot follow
        self._follow = np.zeros(len(x))
        self._follow[j] = 1.0
        self._follow[others] = -np.linalg.pinv(hessian[np.ix_(others, others)]) @ hessian[others, j]
        bend = float(self._follow @ hessian @ self._follow)
        width = abs(float(upper[j] - lower[j]))
        self._step = min(np.sqrt(_RISE / bend / 2), width) if bend > 0 else width / 10  # half of the way
        self._lower, self._upper = lower, upper
        self._target = self._clipped(float(x[j]) + sign * self._step)
        self.end = sign * np.inf
        self.done = width == 0 or self._target == float(x[j])

    def proposal(self) -> np.ndarray:
        """Point to search from next: the parameter moved, the others following linearly."""
        step = self._target - self._near[self.j]
        moved = np.clip(self._near + step * self._follow, self._lower, self._upper)
        moved[self.j] = self._target
        return moved

    def saw(self, x: np.ndarray, rise: float) -> None:
        """Take the re-fitted objective at the target into account."""
        here = self._target
        if abs(rise - _RISE) < _CLOSE:
            self.end, self.done = here, True
        elif rise < _RISE:
            self._near, self._rise_near = x, rise
            if here == self.bound:
                self.done = True
        else:
            self._far = (here, rise)
        if not self.done:
            self._target = self._next()

    def _next(self) -> float:
        near = float(self._near[self.j])
        if self._far is None:
            gone = abs(near - self._begin)
            missing = gone * (np.sqrt(_RISE / self._rise_near) - 1) if self._rise_near > 0 else 0.0
            self._step = min(max(1.2 * missing, 1.5 * self._step), 4 * self._step)
            return self._clipped(near + self.sign * self._step)
        far, rise = self._far
        low, high = np.sqrt(max(self._rise_near, 0.0)), np.sqrt(rise) if np.isfinite(rise) else np.inf
        share = (np.sqrt(_RISE) - low) / (high - low) if np.isfinite(high) else 0.5
        self.end = near + (far - near) * share  # the best estimate if rounds run out
        return near + (far - near) * min(max(share, 0.1), 0.9)

    def _clipped(self, value: float) -> float:
        return max(value, self.bound) if self.sign < 0 else min(value, self.bound)
