"""What happens at one moment: events are triggered, wait, and set states, in the order that SBML prescribes.

At one moment there is a pool of events to be executed. As long as the pool has one, the one with the
highest priority is executed; then all triggers are looked at again: events that became true join the pool,
events that are not persistent and became false leave it, wherever in time they wait. Events with the same
priority, or none, are executed in random order.

Derivatives. The moment depends on the parameters, by dτ, and so does the state that is found at it, by
D = S + f dτ. A reset x⁺ = R(τ, x, p) makes D⁺ = R_x D + R_t dτ + R_p dp of it. What an event computed when it
was triggered keeps the derivatives of that time, and its delay d adds d_x D + d_t dτ + d_p dp to dτ.

Source: SBML Level 3 Version 2 Core, section 4.12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from multiscale.equations.hybrid import HybridSystem, Sparse
from multiscale.equations.machine import evaluate
from multiscale.solver.hybrid.evaluation import Place, joined, multiply, parts_of, true_at
from multiscale.solver.status import Status

__all__ = ["Jumps", "Moment", "Pending", "resolution"]

_CASCADE = 1000  # events executed at one moment; more never end
_EPS = float(np.finfo(np.float64).eps)


def resolution(t: np.ndarray) -> np.ndarray:
    """Times that differ by no more than this are the same moment: a few units of rounding."""
    return 8 * _EPS * np.abs(t)


class Pending(NamedTuple):
    """An event that was triggered and not yet executed."""

    time: float
    """When it is to be executed."""
    event: int
    """Its number."""
    dtau: np.ndarray
    """Derivative of that time, (q,)."""
    new: np.ndarray | None
    """Values that it sets, (target,); None = those of the time of execution."""
    slopes: np.ndarray | None
    """Their derivatives, (target, q)."""


@dataclass(eq=False)
class Moment:
    """Runs at the moments, one per run, at which something happens to them.

    Args:
        z: inputs of programs, (run, input); states and truth values are changed in place.
        D: derivative of the state that is found at the moment, (run, n, q).
        dtau: derivative of the moment, (run, q).
        dp: derivative of the active parameters, (run, A, q).
        g: values of conditions, (run, condition).
        truth: of triggers when they were last looked at, (run, event).
        pools: events that wait, per run.
        ties: how often chance has decided so far, (run,).
        acted: whether an event was executed, (run,).
        status: (run,).
        blamed: event to be named where the status is not CONVERGED, −1 = none, (run,).
    """

    z: np.ndarray
    D: np.ndarray
    dtau: np.ndarray
    dp: np.ndarray
    g: np.ndarray
    truth: np.ndarray
    pools: list[list[Pending]]
    ties: np.ndarray
    acted: np.ndarray
    status: np.ndarray
    blamed: np.ndarray

    @classmethod
    def of(
        cls,
        z: np.ndarray,
        S: np.ndarray,
        dp: np.ndarray,
        truth: np.ndarray,
        pools: list[list[Pending]],
        ties: np.ndarray,
    ) -> Moment:
        """Runs before anything happens, at moments that do not depend on parameters."""
        runs, q = len(z), S.shape[2]
        good, nobody = np.zeros(runs, dtype=np.int64), np.full(runs, -1)
        acted, g = np.zeros(runs, dtype=bool), np.full((runs, 0), np.nan)
        return cls(
            z, S.copy(), np.zeros((runs, q)), dp, g, truth.copy(), pools, ties.copy(), acted, good, nobody
        )

    def fail(self, rows: np.ndarray, status: Status, event: int) -> None:
        """Record that runs cannot go on, because of an event."""
        self.status[rows], self.blamed[rows] = status, event


class Jumps:
    """Events of a system.

    Args:
        system: the system.
        seed: of the random order of events with the same priority. The n-th tie of a run is decided in the
            same way in every run.
    """

    def __init__(self, system: HybridSystem, seed: int) -> None:
        self.system, self.seed, self.place = system, seed, Place.of(system)
        self.triggers = joined([event.trigger for event in system.events], system.inputs)
        ranked = [i for i, event in enumerate(system.events) if event.priority is not None]
        self._priorities = joined([p for e in system.events if (p := e.priority) is not None], system.inputs)
        self._rank = {event: position for position, event in enumerate(ranked)}

    def act(self, at: Moment) -> None:
        """Let all events act that are triggered or due, and those that they trigger."""
        if not self.system.events:
            return
        rows, chosen = np.arange(len(at.z)), list[Pending]()
        for _ in range(_CASCADE):
            self._trigger(at, rows)
            rows, chosen = self._choose(at, rows)
            if not len(rows):
                return
            self._execute(at, rows, chosen)
        for k, pending in enumerate(chosen):
            at.fail(rows[k : k + 1], Status.NOT_CONVERGED, pending.event)

    def _trigger(self, at: Moment, rows: np.ndarray) -> None:
        """Look at all triggers: queue what became true, forget what became false and does not persist."""
        now = evaluate(self.triggers, at.z[rows]) != 0.0
        before = at.truth[rows]
        at.truth[rows] = now
        for row, event in zip(*np.nonzero(before & ~now), strict=True):
            if not self.system.events[event].persistent:
                pool = at.pools[rows[row]]
                pool[:] = [pending for pending in pool if pending.event != event]
        rising = now & ~before
        for event in np.flatnonzero(rising.any(axis=0)):
            self._queue(at, rows[rising[:, event]], int(event))

    def _queue(self, at: Moment, rows: np.ndarray, number: int) -> None:
        """Let an event wait that was triggered."""
        event = self.system.events[number]
        when, dtau = at.z[rows, 0], at.dtau[rows]
        if event.delay is not None:
            delay, slope = self._along(event.delay, at, rows)
            when, dtau = when + delay[:, 0], dtau + slope[:, 0]
            at.fail(rows[~(delay[:, 0] >= 0.0)], Status.NOT_FINITE, number)
        values = self._along(event.reset, at, rows) if event.values_from_trigger else None
        for k, row in enumerate(rows):
            new, slopes = (None, None) if values is None else (values[0][k], values[1][k])
            at.pools[row].append(Pending(float(when[k]), number, dtau[k], new, slopes))

    def _along(self, part: Sparse, at: Moment, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values of a formula, (run, value), and their total derivatives at the moment, (run, value, q)."""
        count = part.values // 2
        values, (by_x, by_p) = parts_of(part, at.z[rows])
        slopes = values[:, count:, None] * at.dtau[rows, None, :] if at.dtau.shape[1] else 0.0
        slopes = slopes + multiply(part.patterns[0], by_x, at.D[rows], count)
        slopes += multiply(part.patterns[1], by_p, at.dp[rows], count)
        return values[:, :count], slopes

    def _choose(self, at: Moment, rows: np.ndarray) -> tuple[np.ndarray, list[Pending]]:
        """Take the next event out of every pool that has one to be executed now."""
        due, several = dict[int, list[Pending]](), list[int]()
        rows = rows[at.status[rows] == Status.CONVERGED]
        latest = at.z[rows, 0] + resolution(at.z[rows, 0])
        for row, last in zip(rows.tolist(), latest.tolist(), strict=True):
            due[row] = [pending for pending in at.pools[row] if pending.time <= last]
            if len(due[row]) > 1:
                several.append(row)
        if several:
            priorities = evaluate(self._priorities, at.z[several])
            for row, priority in zip(several, priorities, strict=True):
                due[row] = [self._first(at, row, due[row], priority)]
        chosen = {row: candidates[0] for row, candidates in due.items() if candidates}
        for row, pending in chosen.items():
            pool = at.pools[row]
            pool[:] = [other for other in pool if other is not pending]
        return np.array(list(chosen), dtype=np.int64), list(chosen.values())

    def _first(self, at: Moment, row: int, due: list[Pending], priority: np.ndarray) -> Pending:
        """The event with the highest priority; chance decides among several, and those that have none."""
        ranks = [priority[self._rank[p.event]] if p.event in self._rank else None for p in due]
        highest = max((rank for rank in ranks if rank is not None), default=None)
        first = [pending for pending, rank in zip(due, ranks, strict=True) if rank is None or rank == highest]
        if len(first) == 1:
            return first[0]
        at.ties[row] += 1
        chance = np.random.default_rng((self.seed, int(at.ties[row])))
        return first[int(chance.integers(len(first)))]

    def _execute(self, at: Moment, rows: np.ndarray, chosen: list[Pending]) -> None:
        """Set the states that the events set, and look at the conditions again."""
        numbers = np.array([pending.event for pending in chosen])
        for number in np.unique(numbers):
            which = np.flatnonzero(numbers == number)
            event, mine = self.system.events[number], rows[which]
            if event.values_from_trigger:
                new = np.array([chosen[k].new for k in which])
                slopes = np.array([chosen[k].slopes for k in which])
            else:
                new, slopes = self._along(event.reset, at, mine)
            self.assign(at, mine, event.targets, new, slopes)
        at.acted[rows] = True
        self.look(at, rows)

    def assign(
        self, at: Moment, rows: np.ndarray, targets: np.ndarray, new: np.ndarray, slopes: np.ndarray
    ) -> None:
        """Set states: new values (run, target) and their derivatives (run, target, q)."""
        at.z[rows[:, None], self.place.x.start + targets] = new
        at.D[rows[:, None], targets] = slopes

    def look(self, at: Moment, rows: np.ndarray) -> None:
        """Find the truth of conditions again whose g has changed.

        Where g is as it was, the truth is kept: at a crossing g is 0 only to rounding.
        """
        if not len(self.system.kinds):
            return
        g = parts_of(self.system.roots, at.z[rows]).values
        truth = true_at(self.system.kinds, g)
        old = at.z[rows, self.place.modes]
        at.z[rows, self.place.modes] = np.where(g == at.g[rows], old, truth)
        at.g[rows] = g
