"""The steps on a tape repeated in plain PyTorch: the definition of what is differentiated, for autograd."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.func import jvp

from multiscale.solver.events import Event, Timed
from multiscale.solver.rosenbrock import DenseFactors, interpolate, step
from multiscale.solver.status import Status
from multiscale.solver.step_gradient import step_tangent
from multiscale.solver.system import Point
from multiscale.solver.tape import END, Emit, Jump, StepEntry, Tape
from multiscale.solver.task import Task

__all__ = ["replay"]

_NEWTON = 6  # quadratic convergence from nearby


def replay(task: Task, tape: Tape, x0: Tensor, p: Tensor, failed: Tensor, status: Tensor) -> Tensor:
    """Repeat the accepted steps from other initial states and constants.

    Step sizes are those of the tape, except that a step cut by an event or by the end reaches it again.
    Linear systems are dense and solved with pivoting, and every operation is one that autograd follows, twice
    if need be; a differentiable event time comes from Newton steps on the size of the step.

    Args:
        task: what was integrated.
        tape: its accepted steps.
        x0: initial states, shape (system, size).
        p: constants, shape (system, parameter).
        failed: what to return for systems that failed, shape (system, time, size).
        status: how the integrations ended, shape (system,).

    Returns:
        states at the requested times, shape (system, time, size).
    """
    task = replace(task, eliminate=DenseFactors.of(task.system.pattern, task.system.size), p=p)
    state = Point(task.t0, x0, p)
    out = [failed.detach()]
    for entry in tape:
        if isinstance(entry, Emit):
            out.append(_put(out[-1], entry.rows, entry.output, state.x[entry.rows]))
            continue
        here = Point(*(part[entry.rows] for part in state))
        if isinstance(entry, Jump):
            t, x = here.t, task.events[entry.event].reset(here)
        else:
            t, x, inside = _step(task, entry, here)
            k, output = entry.output
            out.append(_put(out[-1], entry.rows[k], output, inside))
        state = Point(state.t.index_copy(0, entry.rows, t), state.x.index_copy(0, entry.rows, x), p)
    return torch.where((status <= Status.ROUNDING)[:, None, None], out[-1], failed)


def _put(out: Tensor, rows: Tensor, output: Tensor, x: Tensor) -> Tensor:
    return out.index_put((rows, output), x)


def _step(task: Task, entry: StepEntry, here: Point) -> tuple[Tensor, Tensor, Tensor]:
    """Time and state after some steps, and the states at the requested times inside them."""
    h = _size(task, entry, here)
    stages, _ = step(task.method, task.system, task.eliminate, here, h)
    k, output = entry.output
    theta = (task.times[entry.rows[k], output] - here.t[k]) / h[k]
    inside = interpolate(task.method, here.x[k], stages.x[k], stages.u[:, k], theta)
    return here.t + h, stages.x, inside


def _size(task: Task, entry: StepEntry, here: Point) -> Tensor:
    """Step sizes: those of the tape, or what is left until an event or the end."""
    h = torch.where(entry.cut == END, task.times[entry.rows, -1] - here.t, entry.h)
    for event in sorted(set(entry.cut[entry.cut >= 0].tolist())):
        kind = task.events[event]
        if isinstance(kind, Timed):
            h = torch.where(entry.cut == event, kind.time(here.p) - here.t, h)
        else:
            k = (entry.cut == event).nonzero()[:, 0]
            h = h.index_copy(0, k, _root(task, kind, Point(*(part[k] for part in here)), entry.h[k]))
    return h


def _root(task: Task, event: Event, here: Point, h: Tensor) -> Tensor:
    """Size of the steps that end where a condition becomes true.

    Newton's method from the sizes on the tape. The last two steps are part of what autograd differentiates:
    each squares the error, so first and second derivatives are exact.
    """
    one, still = torch.ones_like(h), Point(*(torch.zeros_like(part) for part in here))
    for left in reversed(range(_NEWTON)):
        at = here if left < 2 else Point(*(part.detach() for part in here))
        stages, factors = step(task.method, task.system, task.eliminate, at, h)
        by_size, _ = step_tangent(task.method, task.system, factors, at, h, stages.u, still, one)
        end = (at.t + h, stages.x)
        moved = jvp(lambda t, x, p=at.p: event.guard(Point(t, x, p)), end, (one, by_size))
        h = h - moved[0] / moved[1]
    return h
