"""Integration of a batch: every system has its own step size, events and status, and leaves when it is done.

All systems that are under way attempt one step per round. A step is accepted if its error estimate is small
enough, all values are finite and no concentration falls below −atol; nothing is clipped. Where the condition
of an event becomes true inside a step, the step is repeated with sizes that approach the moment until the
size is known to rounding: the end of that step lies on the event exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multiscale.solver.events import Timed
from multiscale.solver.rosenbrock import Stages, interpolate, step
from multiscale.solver.status import Status
from multiscale.solver.system import Point
from multiscale.solver.tape import END, HELD, Emit, Jump, StepEntry, Tape
from multiscale.solver.task import Task
from multiscale.solver.watch import Watch

__all__ = ["Integration"]

_RUNNING = -1
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 6.0  # Hairer and Wanner 1996, section IV.8
_EPS = torch.finfo(torch.float64).eps
_CASCADE = 100  # events that set each other off at one moment


class Integration:
    """Progress of all systems of a task.

    Args:
        task: what is to be integrated.
        x0: initial states, (system, size).
        tape: where accepted steps are recorded, or None.

    Attributes:
        t: time reached, (system,).
        x: state there, (system, size).
        out: states at the requested times, (system, time, size); where a system failed, the last state
            reached.
        status: (system,).
        steps: accepted steps, (system,).
        rejected: attempts that were not, (system,).
    """

    def __init__(self, task: Task, x0: Tensor, tape: Tape | None) -> None:
        self.task, self.tape = task, tape
        systems, _ = x0.shape
        self.t, self.x = task.t0.clone(), x0.clone()
        self.h = torch.zeros_like(self.t)
        self.out = x0[:, None].repeat(1, task.times.shape[1], 1)
        self.steps = torch.zeros(systems, dtype=torch.int64, device=x0.device)
        self.rejected, self.emitted = self.steps.clone(), self.steps.clone()
        self.status = torch.full_like(self.steps, _RUNNING)
        self.watch = Watch(task)
        self._end, self._next, self._rounds = task.times[:, -1], task.times[:, 0].clone(), 0
        self._when = self._known_times()

    def _known_times(self) -> Tensor:
        """When each event acts, (system, event); infinity = not at a known time, or before the start."""
        never = torch.full_like(self.t, torch.inf)
        columns = [e.time(self.task.p) if isinstance(e, Timed) else never for e in self.task.events]
        when = torch.stack(columns or [never], 1)
        return torch.where(when < self.t[:, None], torch.inf, when)

    def run(self) -> Integration:
        """Integrate every system to its last requested time, or until it fails."""
        waiting = torch.arange(len(self.t), device=self.t.device)
        active, waiting = self._enter(waiting[:0], waiting)
        while len(active):
            self._round(active)
            active = active[self.status[active] == _RUNNING]
            active, waiting = self._enter(active, waiting)
        self._fill((self.status != Status.CONVERGED).nonzero()[:, 0])
        return self

    def _enter(self, active: Tensor, waiting: Tensor) -> tuple[Tensor, Tensor]:
        """Fill free lanes from the queue."""
        free = self.task.lanes - len(active)
        while len(waiting) and free > 0:
            new, waiting = waiting[:free], waiting[free:]
            self._begin(new)
            active = torch.cat([active, new[self.status[new] == _RUNNING]])
            free = self.task.lanes - len(active)
        return active, waiting

    def _begin(self, rows: Tensor) -> None:
        """First step sizes, conditions that are true already, events and times at the start itself."""
        finite = torch.isfinite(self.task.system.rate(self._point(rows))).all(1) & torch.isfinite(
            self.x[rows]
        ).all(1)
        self.status[rows[~finite]] = Status.NOT_FINITE
        rows = rows[finite]
        self.watch.look(rows, self.t[rows], self.x[rows])
        self._timed(rows)
        self._arrive(rows)
        self.h[rows] = self._first_step(rows)

    def _point(self, rows: Tensor) -> Point:
        return self.task.at(rows, self.t[rows], self.x[rows])

    def _round(self, rows: Tensor) -> None:
        """One attempt of every active system."""
        task = self.task
        h, cut = self._propose(rows)
        at = self._point(rows)
        stages, factors = step(task.method, task.system, task.eliminate, at, h)
        size = self._error(at.x, stages)
        bad = ~torch.isfinite(stages.x).all(1) | factors.singular
        negative = ((stages.x < -task.atol) & task.nonnegative).any(1)
        good = ~bad & ~negative & (size <= 1)
        done, cut = self.watch.ends(rows, at, h, stages, good, cut) if self.watch.guards else (good, cut)
        self._accept(rows, at, h, stages, done, cut, size)
        if not bool(good.all()):
            self._reject(rows, h, ~good, torch.where(bad | negative, torch.inf, size))
        self._rounds += 1
        if self._rounds >= task.max_steps:  # no system can have more attempts than there were rounds
            count = self.steps[rows] + self.rejected[rows]
            running = self.status[rows] == _RUNNING
            self.status[rows[running & (count >= task.max_steps)]] = Status.TOO_MANY_STEPS

    def _propose(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Step sizes, cut where an event or the end comes first, and what cut them."""
        stop, event = self._when[rows].min(1)
        end = self._end[rows]
        last = end < stop
        room = torch.where(last, end, stop) - self.t[rows]
        searched = self.watch.search[rows] != HELD
        h = torch.where(searched, self.watch.trial[rows], self.h[rows])
        near = (room <= 1.0001 * h) & ~searched
        h = torch.where(near, room, torch.where((room < 2 * h) & ~searched, room / 2, h))
        cut = torch.where(near, torch.where(last, END, event), HELD)
        return h, cut

    def _error(self, x: Tensor, stages: Stages) -> Tensor:
        """Root mean square of the error estimate in units of the tolerance, (system,)."""
        scale = self.task.atol + self.task.rtol * torch.maximum(x.abs(), stages.x.abs())
        return (stages.error / scale).square().mean(1).sqrt()

    def _accept(
        self, rows: Tensor, at: Point, h: Tensor, stages: Stages, done: Tensor, cut: Tensor, size: Tensor
    ) -> None:
        """Advance the systems whose step is done; emit requested times inside it; let events act."""
        k = done.nonzero()[:, 0]
        if not len(k):
            return
        rows, h, cut, size = rows[k], h[k], cut[k], size[k]
        t, x, new, u = at.t[k], at.x[k], stages.x[k], stages.u[:, k]
        exact = torch.where(
            cut >= 0, self._when[rows].gather(1, cut.clamp(min=0)[:, None])[:, 0], self._end[rows]
        )
        planned = (cut != HELD) & torch.isfinite(exact)
        after = torch.where(planned, exact, t + h)
        output = self._inside(rows, t, h, after, x, new, u)
        if self.tape is not None:
            self.tape.record(StepEntry(rows, t, h, cut, output, x), lambda: self.x)
        self.t[rows], self.x[rows] = after, new
        self.steps[rows] += 1
        grown = (_SAFETY * size.clamp(min=1e-10) ** (-1 / self.task.method.order)).clamp(_SHRINK, _GROW)
        self.h[rows] = torch.where(
            planned & (h < self.h[rows]), torch.maximum(self.h[rows], h * grown), h * grown
        )
        self.watch.search[rows] = HELD
        self._follow(rows, cut)
        self._arrive(rows)

    def _inside(
        self, rows: Tensor, t: Tensor, h: Tensor, after: Tensor, x: Tensor, new: Tensor, u: Tensor
    ) -> Tensor:
        """Fill in the requested times inside the steps by dense output; which they are, (2, output)."""
        if not bool((self._next[rows] < after).any()):
            return self.emitted.new_zeros(2, 0)
        times = self.task.times[rows]
        position = torch.arange(times.shape[1], device=times.device)
        wanted = (position >= self.emitted[rows, None]) & (times < after[:, None])
        k, output = wanted.nonzero(as_tuple=True)
        theta = (times[k, output] - t[k]) / h[k]
        self.out[rows[k], output] = interpolate(self.task.method, x[k], new[k], u[:, k], theta)
        self._count(rows, wanted)
        return torch.stack([k, output])

    def _count(self, rows: Tensor, emitted: Tensor) -> None:
        """Remember how many requested times were emitted, and which is the next."""
        self.emitted[rows] += emitted.sum(1)
        following = self.emitted[rows, None].clamp(max=self.task.times.shape[1] - 1)
        self._next[rows] = self.task.times[rows].gather(1, following)[:, 0]

    def _follow(self, rows: Tensor, cut: Tensor) -> None:
        """Let the events act that ended these steps, and follow conditions."""
        for event in self.watch.guards:
            self._fire(rows[cut == event], event)
        self._timed(rows)
        self.watch.follow(rows, cut, self.t[rows], self.x[rows])
        self.status[rows[self.watch.grazed[rows]]] = Status.GRAZING_EVENT

    def _timed(self, rows: Tensor) -> None:
        """Let timed events act whose time has come."""
        for event, kind in enumerate(self.task.events):
            if isinstance(kind, Timed):
                due = rows[self._when[rows, event] <= self.t[rows]]
                self._when[due, event] = torch.inf
                self._fire(due, event)

    def _fire(self, rows: Tensor, event: int, depth: int = 0) -> None:
        """Reset some systems, then let conditions act that became true by it."""
        if not len(rows):
            return
        if depth > _CASCADE:
            self.status[rows] = Status.NOT_CONVERGED
            return
        t, before, watch = self.t[rows], self.x[rows], self.watch
        if self.tape is not None:
            self.tape.record(Jump(rows, t, event, before), lambda: self.x)
        self.x[rows] = after = self.task.events[event].reset(self._point(rows))
        if event in watch.guards:
            watch.true[rows, event] = True
        for other in watch.guards:
            was, now = watch.value(other, rows, t, before), watch.value(other, rows, t, after)
            true = watch.true[rows, other]
            watch.true[rows, other] = (now >= 0) | (true & (now >= was))
            self._fire(rows[~true & (now >= 0)], other, depth + 1)
        self.h[rows] = self._first_step(rows)

    def _arrive(self, rows: Tensor) -> None:
        """Emit requested times that are reached exactly, and let systems leave that have no more."""
        if not bool((self._next[rows] <= self.t[rows]).any()):
            return
        times = self.task.times[rows]
        position = torch.arange(times.shape[1], device=times.device)
        here = (position >= self.emitted[rows, None]) & (times <= self.t[rows, None])
        k, output = here.nonzero(as_tuple=True)
        if len(k):
            self.out[rows[k], output] = self.x[rows[k]]
            self._count(rows, here)
            if self.tape is not None:
                self.tape.record(Emit(rows[k], output), lambda: self.x)
        left = rows[(self.emitted[rows] == times.shape[1]) & (self.status[rows] == _RUNNING)]
        self.status[left] = Status.CONVERGED

    def _reject(self, rows: Tensor, h: Tensor, wrong: Tensor, size: Tensor) -> None:
        """Smaller steps where one was rejected; a step below rounding ends the system."""
        self.watch.search[rows[wrong]] = HELD
        shrunk = h * torch.where(
            torch.isfinite(size),
            (_SAFETY * size ** (-1 / self.task.method.order)).clamp(_SHRINK, _SAFETY),
            0.25,
        )
        tiny = wrong & (shrunk < 4 * _EPS * torch.maximum(self.t[rows].abs(), shrunk.new_tensor(1e-300)))
        self.h[rows[wrong]] = shrunk[wrong]
        self.rejected[rows[wrong]] += 1
        self.status[rows[tiny]] = Status.STEP_TOO_SMALL

    def _fill(self, rows: Tensor) -> None:
        """Give failed systems finite values at the times they never reached."""
        late = torch.arange(self.out.shape[1], device=rows.device) >= self.emitted[rows, None]
        filled = torch.where(late.unsqueeze(-1), self.x[rows, None], self.out[rows])
        self.out[rows] = torch.where(torch.isfinite(filled), filled, 0.0)

    def _first_step(self, rows: Tensor) -> Tensor:
        """A first step that is safe (Hairer, Nørsett and Wanner 1993, section II.4), (system,)."""
        at, system, order = self._point(rows), self.task.system, self.task.method.order
        scale = self.task.atol + self.task.rtol * at.x.abs()
        slope = system.rate(at)
        d0, d1 = (_rms(part / scale) for part in (at.x, slope))
        small = (d0 < 1e-5) | (d1 < 1e-5)
        h0 = torch.where(small, 1e-6, 0.01 * d0 / d1.clamp(min=1e-300))
        h0 = torch.minimum(h0, (self._end[rows] - at.t).clamp(min=1e-300))
        moved = Point(at.t + h0, at.x + h0[:, None] * slope, at.p)
        d2 = _rms((system.rate(moved) - slope) / scale) / h0
        most = torch.maximum(d1, d2)
        h1 = torch.where(most <= 1e-15, torch.maximum(1e-6 + 0 * h0, 1e-3 * h0), (0.01 / most) ** (1 / order))
        first = torch.minimum(100 * h0, h1)
        return torch.where(torch.isfinite(first) & (first > 0), first, h0)


def _rms(value: Tensor) -> Tensor:
    return value.square().mean(-1).sqrt()
