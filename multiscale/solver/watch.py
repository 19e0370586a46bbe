"""Conditions of events during an integration: which are true, and in which step one becomes true.

Where a condition becomes true inside a step, the step is repeated with sizes that approach the moment until
the size is known to rounding, so that the end of a step lies on the event exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multiscale.solver.events import Event, gradient_of
from multiscale.solver.rosenbrock import Stages, interpolate
from multiscale.solver.system import Point
from multiscale.solver.tape import HELD
from multiscale.solver.task import Task

__all__ = ["Watch"]

_EPS = torch.finfo(torch.float64).eps
_SAMPLES = (0.25, 0.5, 0.75, 1.0)  # where in a step conditions are looked at
_GRAZING = 1e-7  # slope of a condition relative to its mean slope in the step
_REFINEMENTS = 50


class Watch:
    """The conditions of all systems of a task.

    Args:
        task: what is integrated.

    Attributes:
        guards: numbers of the events that have conditions.
        true: whether each condition was true when it was last looked at, (system, event).
        search: event whose moment is searched, `HELD` if none, (system,).
        trial: size of the step that the search tries next, (system,).
        grazed: whether a condition was touched without being crossed, (system,).
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.guards = [i for i, event in enumerate(task.events) if isinstance(event, Event)]
        systems, device = len(task.t0), task.t0.device
        self.true = torch.zeros(systems, len(task.events), dtype=torch.bool, device=device)
        self.search = torch.full((systems,), HELD, dtype=torch.int64, device=device)
        self.trial = torch.zeros_like(task.t0)
        self.grazed = torch.zeros(systems, dtype=torch.bool, device=device)
        self._bracket = torch.zeros(systems, 6, dtype=task.t0.dtype, device=device)  # see `_refine`

    def value(self, event: int, rows: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """Guard of an event, not negative where the condition is true, (row,)."""
        kind = self.task.events[event]
        assert isinstance(kind, Event)
        return kind.guard(self.task.at(rows, t, x))

    def look(self, rows: Tensor, t: Tensor, x: Tensor) -> None:
        """Remember which conditions are true."""
        for event in self.guards:
            self.true[rows, event] = self.value(event, rows, t, x) >= 0

    def follow(self, rows: Tensor, cut: Tensor, t: Tensor, x: Tensor) -> None:
        """After steps that end at t in x: conditions that are false again may become true again."""
        for event in self.guards:
            k = (cut != event).nonzero()[:, 0]
            self.true[rows[k], event] &= self.value(event, rows[k], t[k], x[k]) >= 0

    def ends(
        self, rows: Tensor, at: Point, h: Tensor, stages: Stages, good: Tensor, cut: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Which good steps are done: not those in which a condition becomes true before the end.

        Returns:
            whether each step is done, and what set its size.
        """
        done, cut = good.clone(), cut.clone()
        searching = self.search[rows] != HELD
        for k in (good & searching).nonzero()[:, 0].tolist():
            done[k], cut[k] = self._refine(rows[k : k + 1], at, h, stages.x, k)
        fresh = (good & ~searching).nonzero()[:, 0]
        if len(fresh):
            crossed = self._crossings(
                rows[fresh], Point(*(part[fresh] for part in at)), h[fresh], stages, fresh
            )
            done[fresh[crossed]] = False
        return done, cut

    def _crossings(self, rows: Tensor, at: Point, h: Tensor, stages: Stages, k: Tensor) -> Tensor:
        """Find the first condition that becomes true in each step and begin the search for its moment."""
        new, u = stages.x[k], stages.u[:, k]

        def value(event: int, theta: Tensor) -> Tensor:
            inside = interpolate(self.task.method, at.x, new, u, theta)
            return self.value(event, rows, at.t + theta * h, torch.where((theta == 1)[:, None], new, inside))

        first = torch.full_like(h, torch.inf)
        for event in self.guards:
            low, high = torch.zeros_like(h), torch.full_like(h, torch.inf)
            for sample in _SAMPLES:
                theta = torch.full_like(h, sample)
                true = value(event, theta) >= 0
                high = torch.where(torch.isinf(high) & true, theta, high)
                low = torch.where(torch.isinf(high), theta, low)
            found = torch.isfinite(high) & ~self.true[rows, event]
            if not bool(found.any()):
                continue
            limit = torch.where(found, high, 1.0)
            low, high = torch.where(found, low, 0.0), limit  # the value at 1 is that of the step itself
            for _ in range(_REFINEMENTS):
                middle = (low + high) / 2
                true = value(event, middle) >= 0
                low, high = torch.where(true, low, middle), torch.where(true, middle, high)
            earlier = found & (high < first)
            first = torch.where(earlier, high, first)
            self.search[rows[earlier]] = event
            start = self.value(event, rows, at.t, at.x)
            bracket = torch.stack([0 * h, limit * h, 0 * h, start, 0 * h, (limit == 1).to(h)], 1)
            self._bracket[rows[earlier]] = bracket[earlier]
        crossed = torch.isfinite(first)
        self.trial[rows[crossed]] = (first * h)[crossed]
        return crossed

    def _refine(self, row: Tensor, at: Point, h: Tensor, new: Tensor, k: int) -> tuple[bool, int]:
        """One step of the search for the moment of an event: secants, kept within the bracket.

        Dense output only said where to look; what counts is the state at the end of a step of the right size.
        The bracket holds the sizes between which it lies, the last size and value, how many were tried and
        whether the condition was seen to be true at the upper end.

        Returns:
            whether the step that was tried ends on the event (or the event turned out not to happen), and
            what set its size.
        """
        event, size = int(self.search[row]), float(h[k])
        low, high, last_h, last_g, count, seen = self._bracket[row][0].tolist()
        t, x = at.t[k : k + 1] + size, new[k : k + 1]
        g = float(self.value(event, row, t, x))
        low, high, seen = (size, high, seen) if g < 0 else (low, size, 1.0)
        secant = size - g * (size - last_h) / (g - last_g) if g != last_g else size
        following = secant if low <= secant <= high else (low + high) / 2
        resolution = 2 * _EPS * max(abs(float(t)), abs(size))
        if g == 0 or abs(following - size) <= resolution or count >= _REFINEMENTS:
            if not seen:
                return True, HELD
            self._check_crossing(row, at, size, t, x, event, k)
            return True, event
        self._bracket[row] = self._bracket.new_tensor([low, high, size, g, count + 1, seen])
        self.trial[row] = following
        return False, HELD

    def _check_crossing(
        self, row: Tensor, at: Point, size: float, t: Tensor, x: Tensor, event: int, k: int
    ) -> None:
        """A condition that is only touched has no moment that could be differentiated: a status."""
        kind = self.task.events[event]
        assert isinstance(kind, Event)
        end = self.task.at(row, t, x)
        slope = gradient_of(kind.guard, end, torch.ones_like(t))
        rate = slope.t + (slope.x * self.task.system.rate(end)).sum(1)
        before = self.value(event, row, at.t[k : k + 1], at.x[k : k + 1])
        if abs(float(rate)) * size <= _GRAZING * abs(float(before)):
            self.grazed[row] = True
