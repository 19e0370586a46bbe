"""Integration of one system after the other to the end or to the first condition that switches, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from multiscale.solver.hybrid.compiled import Kernel, allocating, copy, copy_rows, jit, set_system
from multiscale.solver.hybrid.crossing import first_crossing, has_switched, locate, switches
from multiscale.solver.hybrid.step import attempt, error_of, inside, linearise, prepare_inside, slope
from multiscale.solver.hybrid.tangent import prepare_tangents, tangent, tangent_error, tangents_inside
from multiscale.solver.hybrid.work import AT, DNEW, LAST, NEW, RIGHT, F, Work, set_directions, workspace
from multiscale.solver.rodas5p import RODAS5P
from multiscale.solver.status import Status

__all__ = ["Control", "Output", "Start", "advance_systems"]

_RUNNING = -1
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 6.0  # Hairer and Wanner 1996, section IV.8
_EPS = np.finfo(np.float64).eps
_ORDER = RODAS5P.order
_REACHED, _TOO_MANY = int(Status.CONVERGED), int(Status.TOO_MANY_STEPS)
_TOO_SMALL, _NOT_FINITE = int(Status.STEP_TOO_SMALL), int(Status.NOT_FINITE)


class Start(NamedTuple):
    """What is not changed; as in `State`."""

    p: np.ndarray
    dp: np.ndarray
    modes: np.ndarray
    t_end: np.ndarray
    times: np.ndarray
    offsets: np.ndarray


class Output(NamedTuple):
    """What is filled in, per system and per requested time.

    t, x, S and h are those of the start at first; `following` is the next requested time.
    """

    t: np.ndarray
    x: np.ndarray
    S: np.ndarray
    h: np.ndarray
    status: np.ndarray
    switched: np.ndarray
    x_out: np.ndarray
    S_out: np.ndarray
    steps: np.ndarray
    rejected: np.ndarray
    following: np.ndarray


class Control(NamedTuple):
    """Tolerances, the most attempts per system, the longest step, and whether errors of S count."""

    rtol: float
    atol: np.ndarray
    max_steps: int
    longest: float
    tangents: bool


@allocating
def advance_systems(
    kernel: Kernel, first: int, last: int, start: Start, to: Output, control: Control
) -> None:
    """Integrate systems `first` to `last` - 1."""
    work = workspace(kernel, start.dp.shape[1], start.dp.shape[2])
    for b in range(first, last):
        set_system(kernel, work.registers, start.p[b], start.modes[b])
        work.modes[:] = start.modes[b]
        set_directions(work, start.dp[b])
        to.status[b] = _advance(work, b, start, to, control)


@jit
def _advance(work: Work, b: int, start: Start, to: Output, control: Control) -> int:
    """Integrate one system; the status."""
    x, end = to.x[b], start.t_end[b]
    linearise(work, to.t[b], x)
    if not (_finite(work.vectors[F]) and _finite(x)):
        return _NOT_FINITE
    to.following[b] = start.offsets[b]
    _emit_reached(start, to, b)
    if _ended_by_switch(work, b, to):
        return _REACHED
    if not to.h[b] > 0.0:
        to.h[b] = max(_first_step(work, to.t[b], x, end, control), 16.0 * _EPS * abs(to.t[b]))
    while to.t[b] < end:
        if to.steps[b] + to.rejected[b] >= control.max_steps:
            return _TOO_MANY
        status = _step(work, b, start, to, control)
        if status != _RUNNING:
            return status
    return _REACHED


@jit
def _step(work: Work, b: int, start: Start, to: Output, control: Control) -> int:
    """Attempt a step of one system; a status if it ends there."""
    t, x, S, end = to.t[b], to.x[b], to.S[b], start.t_end[b]
    h, planned = _proposed(t, to.h[b], end, control.longest)
    good, size = _try(work, t, x, S, h, control)
    if not good:
        return _reject(to, b, h, size)
    after, crossed = end if planned else t + h, False
    theta = first_crossing(work, t, x, h) if len(work.modes) > 0 else 2.0
    if theta <= 1.0:
        after, crossed, tried = locate(work, t, x, after, t + theta * h, control.rtol, control.atol)
        to.rejected[b] += tried
        h = 0.5 * h if after == t else after - t
    else:
        grown = h * min(max(_SAFETY * max(size, 1e-10) ** (-1.0 / _ORDER), _SHRINK), _GROW)
        to.h[b] = max(to.h[b], grown) if planned and h < to.h[b] else grown
    if after == t:  # a step that the search tried was not accurate enough
        to.h[b] = h
        return _RUNNING if _passes(t, h) else _TOO_SMALL
    if S.shape[1] > 0 and (theta <= 1.0 or not control.tangents):
        tangent(work, t, x, S, h)
    _accept(work, b, start, to, h, after)
    return _REACHED if crossed and _ended_by_switch(work, b, to) else _RUNNING


@jit
def _reject(to: Output, b: int, h: float, size: float) -> int:
    """Shrink the step; a status if it falls below rounding."""
    to.rejected[b] += 1
    to.h[b] = h * _shrunk(size)
    return _RUNNING if _passes(to.t[b], to.h[b]) else _TOO_SMALL


@jit
def _passes(t: float, h: float) -> bool:
    """Whether a step is long enough for time to pass, with room for rounding."""
    return h >= 4.0 * _EPS * max(abs(t), 1e-300)


@jit
def _accept(work: Work, b: int, start: Start, to: Output, h: float, after: float) -> None:
    """Write what was requested inside the step, go to its end and linearise there."""
    _emit(work, start, to, b, h, after)
    to.t[b] = after
    copy(work.vectors[NEW], to.x[b])
    copy_rows(work.tangents[DNEW], to.S[b])
    to.steps[b] += 1
    linearise(work, after, to.x[b])


@jit
def _ended_by_switch(work: Work, b: int, to: Output) -> bool:
    """Note which conditions have switched where the system is now."""
    some = switches(work, to.t[b], to.x[b], work.G[LAST])
    for i in range(len(work.modes)):
        to.switched[b, i] = has_switched(work, work.G[LAST], i)
    return some


@jit
def _proposed(t: float, h: float, end: float, longest: float) -> tuple[float, bool]:
    """Size of the next step, and whether it ends at the end."""
    h, room = min(h, longest), end - t
    if room <= 1.0001 * h:
        return room, True
    return (0.5 * room if room < 2.0 * h else h), False


@jit
def _try(
    work: Work, t: float, x: np.ndarray, S: np.ndarray, h: float, control: Control
) -> tuple[bool, float]:
    """Try a step; whether it is accurate enough, and its error in units of the tolerance (or NaN)."""
    if not attempt(work, t, x, h):
        return False, np.nan
    size = error_of(work, x, control.rtol, control.atol)
    if size <= 1.0 and control.tangents and S.shape[1] > 0:
        tangent(work, t, x, S, h)
        size = max(size, tangent_error(work, S, control.rtol, control.atol))
    return size <= 1.0, size


@jit
def _shrunk(size: float) -> float:
    """Factor on the step after a rejection."""
    if not np.isfinite(size):
        return 0.25
    return min(max(_SAFETY * size ** (-1.0 / _ORDER), _SHRINK), _SAFETY)


@jit
def _emit_reached(start: Start, to: Output, b: int) -> None:
    """Write the state at requested times that are reached now."""
    out = to.following[b]
    while out < start.offsets[b + 1] and start.times[out] <= to.t[b]:
        copy(to.x[b], to.x_out[out])
        copy_rows(to.S[b], to.S_out[out])
        out += 1
    to.following[b] = out


@jit
def _emit(work: Work, start: Start, to: Output, b: int, h: float, after: float) -> None:
    """Write states at requested times up to the end of a step."""
    out, last = to.following[b], start.offsets[b + 1]
    if out == last or start.times[out] > after:
        return
    prepare_inside(work)
    prepare_tangents(work)
    while out < last and start.times[out] <= after:
        theta = (start.times[out] - to.t[b]) / h if start.times[out] < after else 1.0
        inside(work, to.x[b], theta, to.x_out[out])
        tangents_inside(work, to.S[b], theta, to.S_out[out])
        out += 1
    to.following[b] = out


@jit
def _first_step(work: Work, t: float, x: np.ndarray, end: float, control: Control) -> float:
    """A first step that is safe.

    Source: Hairer, Nørsett and Wanner 1993, Solving Ordinary Differential Equations I, section II.4.
    """
    n, vectors = len(x), work.vectors
    scale, f, moved, right = vectors[NEW], vectors[F], vectors[AT], vectors[RIGHT]
    for i in range(n):
        scale[i] = control.atol[i] + control.rtol * abs(x[i])
    d0, d1 = _rms(x, scale), _rms(f, scale)
    h0 = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1
    h0 = min(h0, end - t)
    for i in range(n):
        moved[i] = x[i] + h0 * f[i]
    slope(work, t + h0, moved, right)
    for i in range(n):
        right[i] -= f[i]
    d2 = _rms(right, scale) / h0
    most = max(d1, d2)
    h1 = max(1e-6, 1e-3 * h0) if most <= 1e-15 else (0.01 / most) ** (1.0 / _ORDER)
    first = min(100.0 * h0, h1)
    return first if np.isfinite(first) and first > 0.0 else h0


@jit
def _rms(value: np.ndarray, scale: np.ndarray) -> float:
    total = 0.0
    for i in range(len(value)):
        total += (value[i] / scale[i]) ** 2
    return np.sqrt(total / max(len(value), 1))


@jit
def _finite(value: np.ndarray) -> bool:
    result = True
    for i in range(len(value)):
        result = result and np.isfinite(value[i])
    return result
