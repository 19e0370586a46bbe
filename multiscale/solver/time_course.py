"""Stiff time courses of a batch of systems, with exact gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from multiscale.solver.adjoint import adjoint, tangents
from multiscale.solver.events import Event, Timed
from multiscale.solver.integrate import Integration
from multiscale.solver.replay import replay
from multiscale.solver.rosenbrock import RODAS5P, DenseFactors, Eliminate, Factorised
from multiscale.solver.sparse import Elimination
from multiscale.solver.status import Status
from multiscale.solver.system import System
from multiscale.solver.tape import Tape
from multiscale.solver.task import Task

__all__ = ["TimeCourse", "sensitivities", "time_course"]

Gradient = Literal["adjoint", "forward", "autograd"]
_SMALL = 2e7
"""Most systems × size³ for which dense elimination with pivoting is quicker than the one on the pattern: the
first costs so many multiplications, the second some hundred calls whatever the size."""

_analysed: WeakKeyDictionary[System, Eliminate] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class TimeCourse:
    """States at the requested times, and how each integration ended.

    Args:
        x: concentrations, µM, shape (system, time, size). Of a system that failed, times it did not reach
            hold the last state before, and pass on no gradient.
        status: `Status` numbers, shape (system,).
        t: time reached, s, shape (system,).
        steps: accepted steps, shape (system,).
        rejected: attempts that were not accepted, shape (system,).
        segments: into how many segments the byte budget cut the tape; 1 = no step was repeated.
    """

    x: Tensor
    status: Tensor
    t: Tensor
    steps: Tensor
    rejected: Tensor
    segments: int

    @property
    def solved(self) -> Tensor:
        """Whether each system was integrated to its last time, shape (system,)."""
        return self.status <= Status.ROUNDING


def time_course(
    system: System,
    x0: Tensor,
    p: Tensor,
    times: Tensor,
    *,
    t0: float | Tensor = 0.0,
    events: Sequence[Timed | Event] = (),
    rtol: float = 1e-6,
    atol: float | Tensor = 1e-8,
    nonnegative: bool | Tensor = True,
    max_steps: int = 100_000,
    lanes: int | None = None,
    gradient: Gradient = "adjoint",
    memory: int = 2**30,
) -> TimeCourse:
    """Integrate dx/dt = f(t, x, p) for a batch of systems by Rodas5P, an order-5 Rosenbrock method.

    Every system has its own step size, events and status. Requested times are read from dense output of order
    4, the last one and times of events are hit exactly.

    Args:
        system: f and its derivatives, such as `Reactions`.
        x0: initial states, µM, shape (system, size).
        p: constants, shape (system, parameter).
        times: requested times, s, ascending, not before `t0`, shape (time,) or (system, time). At the time of
            an event the state after it is returned.
        t0: start, s, one for all or shape (system,).
        events: discontinuities; at one moment they act in this order.

    Other args:
        rtol: relative tolerance of a step.
        atol: absolute tolerance, µM, one for all or shape (size,).
        nonnegative: which state variables may not fall below −atol: all, none, or shape (size,).
        max_steps: most attempts per system.
        lanes: most systems under way at once, the others wait in a queue; None = all.
        gradient: `adjoint` = one backward run over the accepted steps, whatever the number of parameters;
            `forward` = one tangent per entry of x0 and p that needs a gradient; `autograd` = PyTorch through
            the repeated steps, slow, the reference, and the only one that can be differentiated twice.
        memory: bytes for the states of accepted steps; beyond it, segments are integrated again.

    Raises:
        ValueError: shapes do not fit, a tolerance is not positive, or times are not ascending.

    Source: Steinebach 2023, doi 10.1007/s10543-023-00967-x; Hairer and Wanner 1996, section IV.7.

    >>> from multiscale.passing.reactions import Reactions
    >>> from multiscale.physics.mass_action import mass_action
    >>> decay = Reactions.build(1, 1, [(mass_action(1), [2, 0], {0: -1.0})])
    >>> k = torch.ones(1, 1, dtype=torch.float64)
    >>> course = time_course(decay, k, k, torch.tensor([1.0], dtype=torch.float64), rtol=1e-9)
    >>> round(float(course.x), 7)
    0.3678794
    """
    task = _task(system, x0, p, times, t0, events, rtol, atol, nonnegative, max_steps, lanes)
    if gradient not in ("adjoint", "forward", "autograd"):
        raise ValueError(f"`gradient` must be `adjoint`, `forward` or `autograd`; got {gradient!r}.")
    needed = torch.is_grad_enabled() and (x0.requires_grad or p.requires_grad)
    with torch.no_grad():
        tape = Tape(x0, memory) if needed else None
        done = Integration(task, x0.detach(), tape).run()
    if tape is not None:
        tape.keep(done.status <= Status.ROUNDING)
    x = done.out
    if tape is not None and gradient == "autograd":
        x = replay(task, tape, x0, p, done.out, done.status)
    elif tape is not None:
        x = _Differentiable.apply(x0, p, _Run(task, tape, done.out, done.status, gradient))
        assert isinstance(x, Tensor)
    return TimeCourse(x, done.status, done.t, done.steps, done.rejected, tape.segments if tape else 1)


def sensitivities(
    system: System, x0: Tensor, p: Tensor, times: Tensor, dx0: Tensor, dp: Tensor, **options: Any
) -> tuple[TimeCourse, Tensor]:
    """Integrate, and carry derivatives along several directions of initial states and constants.

    Args:
        system: see `time_course`, also for the next three.
        x0: initial states.
        p: constants.
        times: requested times.
        dx0: directions, shape (direction, system, size).
        dp: shape (direction, system, parameter).
        options: of `time_course`.

    Returns:
        the time course, and derivatives of its x, (direction, system, time, size); zero where it failed.
    """
    memory = options.pop("memory", 2**30)
    with torch.no_grad():
        task = _task(system, x0, p, times, **{**_DEFAULTS, **options})
        tape = Tape(x0, memory)
        done = Integration(task, x0.detach(), tape).run()
        slopes = tangents(task, tape, dx0, dp)
    solved = (done.status <= Status.ROUNDING)[:, None, None]
    course = TimeCourse(done.out, done.status, done.t, done.steps, done.rejected, tape.segments)
    return course, torch.where(solved, slopes, 0.0)


_DEFAULTS: dict[str, Any] = {
    "t0": 0.0,
    "events": (),
    "rtol": 1e-6,
    "atol": 1e-8,
    "nonnegative": True,
    "max_steps": 100_000,
    "lanes": None,
}


def _task(
    system: System,
    x0: Tensor,
    p: Tensor,
    times: Tensor,
    t0: float | Tensor,
    events: Sequence[Timed | Event],
    rtol: float,
    atol: float | Tensor,
    nonnegative: bool | Tensor,
    max_steps: int,
    lanes: int | None,
) -> Task:
    """Check the arguments and bring them into their full shapes."""
    systems = len(x0)
    if x0.shape != (systems, system.size) or p.shape != (systems, system.parameters) or systems == 0:
        raise ValueError(
            f"`x0` and `p` must have shapes (system, {system.size}) and (system, {system.parameters}); got "
            f"{tuple(x0.shape)} and {tuple(p.shape)}."
        )
    like = x0.detach()
    start = torch.as_tensor(t0, dtype=like.dtype, device=like.device).expand(systems)
    times = torch.as_tensor(times, dtype=like.dtype, device=like.device).detach()
    if times.ndim not in (1, 2) or times.shape[-1] == 0 or (times.ndim == 2 and len(times) != systems):
        raise ValueError(
            f"`times` must have shape (time,) or ({systems}, time), with at least one; got "
            f"{tuple(times.shape)}."
        )
    times = times.expand(systems, -1)
    if not bool((times.diff(dim=1) >= 0).all() and (times[:, 0] >= start).all() and times.isfinite().all()):
        raise ValueError("`times` must be finite, ascending and not before `t0`; sort them.")
    tolerance = torch.as_tensor(atol, dtype=like.dtype, device=like.device).expand(system.size)
    if not (rtol > 0 and bool((tolerance > 0).all())):
        raise ValueError(f"`rtol` and `atol` must be positive; got {rtol} and {atol}.")
    allowed = torch.as_tensor(nonnegative, dtype=torch.bool, device=like.device).expand(system.size)
    return Task(
        RODAS5P,
        system,
        _elimination(system),
        p.detach(),
        start.clone(),
        times,
        tuple(events),
        rtol,
        tolerance,
        allowed,
        max_steps,
        lanes or systems,
    )


def _elimination(system: System) -> Eliminate:
    """Linear algebra of a system: on its pattern, which is analysed once, or dense where that is quicker."""
    if system not in _analysed:
        _analysed[system] = _Choice(system)
    return _analysed[system]


class _Choice:
    """Dense elimination for few or small systems, else elimination on the pattern."""

    def __init__(self, system: System) -> None:
        self._work, self._dense = system.size**3, DenseFactors.of(system.pattern, system.size)
        self._pattern, self._size = system.pattern, system.size
        self._sparse: Eliminate | None = None

    def __call__(self, shift: Tensor, jacobian: Tensor) -> Factorised:
        if len(shift) * self._work <= _SMALL:
            return self._dense(shift, jacobian)
        if self._sparse is None:
            self._sparse = Elimination(self._pattern, self._size).factorise
        return self._sparse(shift, jacobian)


@dataclass(frozen=True, eq=False)
class _Run:
    task: Task
    tape: Tape
    out: Tensor
    status: Tensor
    gradient: Gradient


class _Differentiable(torch.autograd.Function):
    """States at the requested times as a function of x0 and p."""

    @staticmethod
    def forward(ctx: FunctionCtx, x0: Tensor, p: Tensor, run: _Run) -> Tensor:
        ctx.run = run  # pyright: ignore[reportAttributeAccessIssue]
        return run.out.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        run: _Run = ctx.run
        with torch.no_grad():
            seed = torch.where((run.status <= Status.ROUNDING)[:, None, None], grad, 0.0)
            if run.gradient == "adjoint":
                x_bar, p_bar = adjoint(run.task, run.tape, seed)
            else:
                x_bar, p_bar = _by_tangents(run.task, run.tape, seed, ctx.needs_input_grad[:2])
        return *_once(x_bar, p_bar, grad), None


def _by_tangents(task: Task, tape: Tape, seed: Tensor, needed: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
    """The gradient from one tangent per entry of x0 and of p, where it is needed, else zeros."""
    systems, size, parameters = len(seed), task.system.size, task.system.parameters
    unit = torch.eye(size + parameters, dtype=seed.dtype, device=seed.device)[:, None].expand(-1, systems, -1)
    wanted = torch.tensor([needed[0]] * size + [needed[1]] * parameters, device=seed.device)
    slopes = tangents(task, tape, unit[wanted, :, :size], unit[wanted, :, size:])
    gradient = seed.new_zeros(systems, size + parameters)
    gradient[:, wanted] = (slopes * seed).sum((2, 3)).T
    return gradient[:, :size], gradient[:, size:]


def _once(x_bar: Tensor, p_bar: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Let a second differentiation fail loudly instead of giving part of the truth."""
    if not (torch.is_grad_enabled() and grad.requires_grad):
        return x_bar, p_bar
    first, second = _NotTwice.apply(x_bar, p_bar, grad)  # pyright: ignore[reportGeneralTypeIssues]
    return first, second


class _NotTwice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x_bar: Tensor, p_bar: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        return x_bar.clone(), p_bar.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise NotImplementedError(
            'second derivatives of a time course need `gradient="autograd"`; the adjoint gives first ones.'
        )
