"""Moments at which conditions switch inside a step.

A condition has switched where its truth differs from the mode that the right-hand side was taken with; its G
is its g, with the sign that makes it positive there. Dense output says where to look first; what counts is
the state at the end of a step of the right size, which is repeated until the moment is known to rounding:
some condition has switched at the end that is found, and none at the number before.
"""

from __future__ import annotations

import numpy as np

from multiscale.equations.hybrid import ABOVE_OR_AT
from multiscale.solver.hybrid.compiled import ROOTS, copy, jit
from multiscale.solver.hybrid.step import attempt, error_of, inside, prepare_inside
from multiscale.solver.hybrid.work import HIGH, LAST, NEW, RIGHT, Work, outputs, registers, set_point

__all__ = ["first_crossing", "has_switched", "locate", "switches"]

_GRAIN = 1e-20  # shortest time that is resolved, relative to the step
_BISECTIONS, _TRIALS = 60, 100


@jit
def has_switched(work: Work, G: np.ndarray, i: int) -> bool:
    """Whether a condition with this G has switched: at G = 0 it depends on its kind and its mode."""
    return G[i] > 0.0 or (G[i] == 0.0 and (work.kernel.kinds[i] == ABOVE_OR_AT) != (work.modes[i] != 0.0))


@jit
def switches(work: Work, t: float, x: np.ndarray, G: np.ndarray) -> bool:
    """Fill in G of all conditions; whether any has switched."""
    set_point(work, ROOTS, t, x)
    values, places, modes = registers(work, ROOTS), outputs(work, ROOTS), work.modes
    some = False
    for i in range(len(modes)):
        g = values[places[i]]
        G[i] = -g if modes[i] != 0.0 else g
        some = some or has_switched(work, G, i)
    return some


@jit
def first_crossing(work: Work, t: float, x: np.ndarray, h: float) -> float:
    """Fraction of the last step after which some condition has switched, by dense output; 2 if none."""
    prepare_inside(work)
    state, low = work.vectors[RIGHT], 0.0
    switches(work, t, x, work.G[0])
    for sample in range(1, 5):
        high = 0.25 * sample
        inside(work, x, high, state)
        if switches(work, t + high * h, state, work.G[sample]):
            return _bisected(work, t, x, h, low, high)
        if sample > 1:
            peak = _peak(work, sample)
            if peak > 0.0:
                inside(work, x, peak, state)
                if switches(work, t + peak * h, state, work.G[LAST]):
                    return _bisected(work, t, x, h, max(peak - 0.25, 0.0), peak)
        low = high
    return 2.0


@jit
def _peak(work: Work, sample: int) -> float:
    """Where some G peaks near or above zero, by a parabola through three samples; −1 if none does."""
    for i in range(work.G.shape[1]):
        a, b, c = work.G[sample - 2, i], work.G[sample - 1, i], work.G[sample, i]
        curvature = a - 2.0 * b + c
        if curvature < 0.0:
            offset = 0.5 * (a - c) / curvature
            if abs(offset) < 1.0 and b - (a - c) ** 2 / (8.0 * curvature) > 0.25 * curvature:
                return 0.25 * (sample - 1 + offset)
    return -1.0


@jit
def _bisected(work: Work, t: float, x: np.ndarray, h: float, low: float, high: float) -> float:
    """Fraction at which some condition first has switched, by dense output."""
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if middle <= low or middle >= high:
            break
        inside(work, x, middle, work.vectors[RIGHT])
        if switches(work, t + middle * h, work.vectors[RIGHT], work.G[LAST]):
            high = middle
        else:
            low = middle
    return high


@jit
def locate(
    work: Work, t: float, x: np.ndarray, end: float, guess: float, rtol: float, atol: np.ndarray
) -> tuple[float, bool, int]:
    """Repeat a step from t with sizes that approach the moment of the first switch before its end.

    Returns:
        the time at which the step in `work` ends, t itself if a trial failed; whether some condition has
        switched there; and how many steps were tried.
    """
    low, high, previous, same, side, count = t, np.inf, t, 0, False, 0
    grain = _GRAIN * (end - t)
    switches(work, t, x, work.G[LAST])
    trial = min(max(guess, _after(t, grain)), end)
    for count in range(1, _TRIALS):
        if not (attempt(work, t, x, trial - t) and error_of(work, x, rtol, atol) <= 1.0):
            return t, False, count
        now = switches(work, trial, work.vectors[NEW], work.G[0])
        same, side = same + 1 if now == side else 0, now
        if now:
            high = trial
            copy(work.G[0], work.G[HIGH])
        else:
            low = trial
        if low >= end:
            return end, False, count
        if _after(low, grain) >= high:
            break
        following = _following(work, low, high, end, trial, previous, same, _after(low, grain) - low)
        if count % 3 == 0 and high < np.inf:
            following = low + 0.5 * (high - low)
        copy(work.G[0], work.G[LAST])
        previous, trial = trial, min(max(following, _after(low, grain)), end)
    if high == np.inf:
        return t, False, count
    if trial != high:
        attempt(work, t, x, high - t)
    return high, True, count


@jit
def _after(t: float, grain: float) -> float:
    """The next time that is tried after t; next to 0 numbers are too dense to try them all."""
    return max(np.nextafter(t, np.inf), t + grain)


@jit
def _following(
    work: Work, low: float, high: float, end: float, trial: float, previous: float, same: int, width: float
) -> float:
    """Next time to try: the secant's, the farther from the ends of the bracket, the longer only one moved."""
    first = np.inf
    for i in range(len(work.modes)):
        rise = (work.G[0, i] - work.G[LAST, i]) / (trial - previous)
        if rise > 0.0 and (high == np.inf or has_switched(work, work.G[HIGH], i)):
            first = min(first, trial - work.G[0, i] / rise)
    margin = width * 2.0 ** min(same, 50)
    if high == np.inf:
        return end if first == np.inf or same > 8 else max(first, low + margin)
    if first == np.inf or 2.0 * margin > high - low:
        return low + 0.5 * (high - low)
    return min(max(first, low + margin), high - margin)
