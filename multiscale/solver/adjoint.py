"""Exact derivatives of an integration: the adjoint and the tangents of the steps on a tape.

The tape is the definition of what is differentiated: the accepted steps, with their sizes held constant,
except that a step cut by an event or by the last requested time ends there whatever the parameters are. So
time is carried like a state: a later event moves the start of every step behind it, and with it what dense
output reads.

A step that ends where the guard g of an event becomes zero has the size h with g(t + h, Φ_h(x)) = 0, hence
dh = −(g_t dt + g_x Φ_x dx + g_θ dθ) / (g_t + g_x Φ_h), with Φ_h the derivative of the step by its size. For
an exact integration Φ_h = f⁻ and this is the jump S = R_x + (f⁺ − R_x f⁻ − R_t) g_x / (g_t + g_x f⁻) of the
state.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multiscale.solver.events import Event, Timed, gradient_of, jacobian_of
from multiscale.solver.rosenbrock import Factorised, Stages, interpolate, interpolation_slope, step
from multiscale.solver.step_gradient import step_adjoint, step_tangent
from multiscale.solver.system import Point
from multiscale.solver.tape import END, HELD, Emit, Entry, Jump, StepEntry, Tape
from multiscale.solver.task import Task

__all__ = ["adjoint", "advance", "tangents"]


def advance(task: Task, entry: Entry, states: Tensor) -> Tensor:
    """Repeat an entry of a tape: states of all systems after it."""
    if isinstance(entry, Emit):
        return states
    assert entry.x is not None
    if isinstance(entry, Jump):
        new = task.events[entry.event].reset(task.at(entry.rows, entry.t, entry.x))
    else:
        new = _repeat(task, entry)[1].x
    return states.index_copy(0, entry.rows, new)


def _repeat(task: Task, entry: StepEntry) -> tuple[Point, Stages, Factorised]:
    assert entry.x is not None
    at = task.at(entry.rows, entry.t, entry.x)
    return at, *step(task.method, task.system, task.eliminate, at, entry.h)


def adjoint(task: Task, tape: Tape, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of a function of the requested states, by initial states and constants.

    Args:
        task: what was integrated.
        tape: its accepted steps.
        grad: gradient by the states at the requested times, (system, time, size).

    Returns:
        gradients by x0, (system, size), and by p, (system, parameter).
    """
    bar = Point(torch.zeros_like(task.t0), torch.zeros_like(grad[:, 0]), torch.zeros_like(task.p))
    for entry in tape.backwards(lambda entry, states: advance(task, entry, states)):
        rows = entry.rows
        if isinstance(entry, Emit):
            bar.x.index_add_(0, rows, grad[rows, entry.output])
            continue
        here = Point(*(part[rows] for part in bar))
        if isinstance(entry, Jump):
            back = _jump_adjoint(task, entry, here)
        else:
            back = _step_adjoint(task, entry, here, grad)
        for part, value in zip(bar, back, strict=True):
            part[rows] = value
    return bar.x, bar.p


def _jump_adjoint(task: Task, entry: Jump, bar: Point) -> Point:
    assert entry.x is not None
    at = task.at(entry.rows, entry.t, entry.x)
    back = gradient_of(task.events[entry.event].reset, at, bar.x)
    return Point(bar.t + back.t, back.x, bar.p + back.p)


def _step_adjoint(task: Task, entry: StepEntry, bar: Point, grad: Tensor) -> Point:
    """Gradient by the start of some steps, of what follows from their ends and of the times inside them."""
    at, stages, factors = _repeat(task, entry)
    t_out, h_out, x_out, new_out, u_out = _output_adjoint(task, entry, at, stages, grad)
    end = Point(bar.t, bar.x + new_out, bar.p)
    end = _root_adjoint(task, entry, at, stages, factors, end, h_out, u_out)
    back = step_adjoint(task.method, task.system, factors, at, entry.h, stages.u, end.x, u_out)
    p_bar, t_bar = end.p + back.at.p, t_out + back.at.t
    h_bar = back.h + h_out + end.t
    planned = (entry.cut == END) | _timed(task, entry)
    # A held step moves its end with its start; one with a planned end loses what its start gains.
    t_bar = t_bar + torch.where(planned, end.t - h_bar, end.t)
    for event, kind in enumerate(task.events):
        mine = entry.cut == event
        if isinstance(kind, Timed) and bool(mine.any()):
            p_bar = p_bar + _pull_time(kind, at.p, torch.where(mine, h_bar, 0.0))
    return Point(t_bar, back.at.x + x_out, p_bar)


def _timed(task: Task, entry: StepEntry) -> Tensor:
    """Whether each step was cut by an event of known time."""
    known = torch.tensor([isinstance(e, Timed) for e in task.events] or [False], device=entry.cut.device)
    return (entry.cut >= 0) & known[entry.cut.clamp(min=0)]


def _root_adjoint(
    task: Task,
    entry: StepEntry,
    at: Point,
    stages: Stages,
    factors: Factorised,
    end: Point,
    h_out: Tensor,
    u_out: Tensor,
) -> Point:
    """Account for steps whose size is set by a condition: their gradient by size goes onto the condition."""
    found = (entry.cut >= 0) & ~_timed(task, entry)
    if not bool(found.any()):
        return end
    one, still = torch.ones_like(entry.h), Point(*(torch.zeros_like(part) for part in at))
    by_size, u_by_size = step_tangent(task.method, task.system, factors, at, entry.h, stages.u, still, one)
    gain = end.t + h_out + (end.x * by_size).sum(1) + (u_out * u_by_size).sum((0, 2))
    t_bar, x_bar, p_bar = end
    for event in sorted(set(entry.cut[found].tolist())):
        mine = entry.cut == event
        slope = _guard_slope(task, event, entry, at, stages)
        rate = slope.t + (slope.x * by_size).sum(1)
        weight = torch.where(mine, -gain / torch.where(mine, rate, 1.0), 0.0)
        t_bar = t_bar + weight * slope.t
        x_bar, p_bar = x_bar + weight[:, None] * slope.x, p_bar + weight[:, None] * slope.p
    return Point(t_bar, x_bar, p_bar)


def _guard_slope(task: Task, event: int, entry: StepEntry, at: Point, stages: Stages) -> Point:
    kind = task.events[event]
    assert isinstance(kind, Event)
    return gradient_of(kind.guard, Point(at.t + entry.h, stages.x, at.p), torch.ones_like(at.t))


def _pull_time(kind: Timed, p: Tensor, seed: Tensor) -> Tensor:
    """Gradient of seed · time(p); a time that never comes has none."""
    still = Point(torch.zeros_like(seed), p[:, :0], p)
    return gradient_of(lambda at: kind.time(at.p), still, seed).p


def _output_adjoint(
    task: Task, entry: StepEntry, at: Point, stages: Stages, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradient by t, h, start, end and stages of steps, of what dense output read inside them."""
    k, output = entry.output
    t_bar, h_bar = torch.zeros_like(at.t), torch.zeros_like(entry.h)
    x_bar, new_bar, u_bar = torch.zeros_like(at.x), torch.zeros_like(stages.x), torch.zeros_like(stages.u)
    if not len(k):
        return t_bar, h_bar, x_bar, new_bar, u_bar
    seed, h = grad[entry.rows[k], output], entry.h[k]
    theta = (task.times[entry.rows[k], output] - at.t[k]) / h
    slope = interpolation_slope(task.method, at.x[k], stages.x[k], stages.u[:, k], theta)
    theta_bar, s = (slope * seed).sum(1), theta[:, None]
    t_bar.index_add_(0, k, -theta_bar / h)
    h_bar.index_add_(0, k, -theta_bar * theta / h)
    x_bar.index_add_(0, k, (1 - s) * seed)
    new_bar.index_add_(0, k, s * seed)
    powers = torch.stack([s * (1 - s) * s**i for i in range(3)]) * seed
    u_bar.index_add_(1, k, torch.tensordot(seed.new_tensor(task.method.dense).T, powers, 1))
    return t_bar, h_bar, x_bar, new_bar, u_bar


def tangents(task: Task, tape: Tape, dx0: Tensor, dp: Tensor) -> Tensor:
    """Derivatives of the requested states along directions of initial states and constants.

    Args:
        task: what was integrated.
        tape: its accepted steps.
        dx0: (direction, system, size).
        dp: (direction, system, parameter).

    Returns:
        (direction, system, time, size).
    """
    d = Point(dx0.new_zeros(dx0.shape[:2]), dx0.clone(), dp)
    out = dx0.new_zeros(*dx0.shape[:2], task.times.shape[1], dx0.shape[2])
    for entry in tape.forwards(lambda entry, states: advance(task, entry, states)):
        rows = entry.rows
        along = Point(*(part[:, rows] for part in d))
        if isinstance(entry, Emit):
            out[:, rows, entry.output] = along.x
        elif isinstance(entry, Jump):
            d.x[:, rows] = _jump_tangent(task, entry, along)
        else:
            d.t[:, rows], d.x[:, rows] = _step_tangent(task, entry, along, out)
    return out


def _jump_tangent(task: Task, entry: Jump, along: Point) -> Tensor:
    assert entry.x is not None
    at = task.at(entry.rows, entry.t, entry.x)
    rows = jacobian_of(task.events[entry.event].reset, at, entry.x.shape[1])
    return torch.stack([_dot(row, along) for row in rows], -1)


def _dot(slope: Point, along: Point) -> Tensor:
    return slope.t * along.t + (slope.x * along.x).sum(-1) + (slope.p * along.p).sum(-1)


def _step_tangent(task: Task, entry: StepEntry, along: Point, out: Tensor) -> tuple[Tensor, Tensor]:
    """Derivative of time and state at the end of some steps; those of times inside them are filled in."""
    at, stages, factors = _repeat(task, entry)
    dh = _size_tangent(task, entry, at, stages, factors, along)
    dnew, du = step_tangent(task.method, task.system, factors, at, entry.h, stages.u, along, dh)
    k, output = entry.output
    if len(k):
        h = entry.h[k]
        theta = (task.times[entry.rows[k], output] - at.t[k]) / h
        moved = -(along.t[:, k] + theta * dh[:, k]) / h
        slope = interpolation_slope(task.method, at.x[k], stages.x[k], stages.u[:, k], theta)
        linear = interpolate(task.method, along.x[:, k], dnew[:, k], du[:, :, k], theta)
        out[:, entry.rows[k], output] = linear + slope * moved.unsqueeze(-1)
    return along.t + dh, dnew


def _size_tangent(
    task: Task, entry: StepEntry, at: Point, stages: Stages, factors: Factorised, along: Point
) -> Tensor:
    """How the sizes of steps change: not at all, or so that the end stays where it has to be."""
    dh = torch.where(entry.cut == END, -along.t, torch.zeros_like(along.t))
    for event in sorted(set(entry.cut[entry.cut > HELD].tolist()) - {END}):
        mine, kind = entry.cut == event, task.events[event]
        if isinstance(kind, Timed):
            slope = _pull_time(kind, at.p, torch.where(mine, 1.0, torch.zeros_like(at.t)))
            moved = (slope * along.p).sum(-1) - along.t
        else:
            moved = _root_tangent(task, event, entry, at, stages, factors, along)
        dh = torch.where(mine, moved, dh)
    return dh


def _root_tangent(
    task: Task, event: int, entry: StepEntry, at: Point, stages: Stages, factors: Factorised, along: Point
) -> Tensor:
    slope = _guard_slope(task, event, entry, at, stages)
    arguments = (task.method, task.system, factors, at, entry.h, stages.u)
    held, _ = step_tangent(*arguments, along, torch.zeros_like(along.t))
    still = Point(*(torch.zeros_like(part) for part in at))
    by_size, _ = step_tangent(*arguments, still, torch.ones_like(entry.h))
    rate = slope.t + (slope.x * by_size).sum(-1)
    mine = entry.cut == event
    return -_dot(slope, Point(along.t, held, along.p)) / torch.where(mine, rate, 1.0)
