"""Progress of many runs of one model: which leg each is on, and what happens at the end of a leg.

All runs advance together. Compiled code integrates each to the end of its leg: the end of a period, a
waiting event, the next look whether it is at rest, or a condition that switches. What happens there happens
at once to all runs that have arrived at the same kind of place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from multiscale.equations.hybrid import ABOVE_OR_AT
from multiscale.solver.hybrid.compiled import Compiled
from multiscale.solver.hybrid.evaluation import Place, inputs_of, multiply, parts_of, start_of, true_at
from multiscale.solver.hybrid.flow import Advance, State, advance
from multiscale.solver.hybrid.jumps import Jumps, Moment, Pending, resolution
from multiscale.solver.hybrid.plan import Plan, Run
from multiscale.solver.hybrid.rest import first_horizon, next_switch, settle
from multiscale.solver.hybrid.timing import carried_over, time_crossing
from multiscale.solver.status import Status

__all__ = ["Course", "Options", "Outcome"]

_STALLED = 100  # stops one after the other between which hardly any time passes
_HARDLY = 1e-10  # relative to the time
_GROWTH = 10.0  # of the time from the start to the next look whether a run is at rest
_LOOKS = 60  # before a run counts as never resting
_RESTING_STEPS = 20_000  # most steps to rest
_REST = 0.1  # tolerances of the steady state relative to those of steps
_FINEST = 1e-11  # relative tolerance of the steady state, above rounding of the linear algebra
_RUNNING = -1


class Options(NamedTuple):
    """Arguments of `runs.simulate`; atol has shape (n,)."""

    rtol: float
    atol: np.ndarray
    max_steps: int
    threads: int | None
    sensitivities: bool
    seed: int
    control_sensitivities: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """Result of a run; NaN where it was not reached.

    Args:
        status: of the run.
        message: what went wrong, when and where; '' if nothing did.
        x: states at the requested times, per period (time, n).
        S: their derivatives, per period (time, n, q).
    """

    status: Status
    message: str
    x: list[np.ndarray]
    S: list[np.ndarray]


class _Leg(NamedTuple):
    """Where runs go next, (run,) each; inputs of programs at the start, (run, input); outputs on the way, and
    where those of each run begin, (run + 1,)."""

    rows: np.ndarray
    end: np.ndarray
    due: np.ndarray
    resting: np.ndarray
    start: np.ndarray
    outputs: np.ndarray
    offsets: np.ndarray


class Course:
    """Runs of one model under way.

    Args:
        compiled: the model.
        runs: what is to be done.
        options: how.

    Raises:
        DataError: a period does not fit the model or its neighbours.
    """

    def __init__(self, compiled: Compiled, runs: Sequence[Run], options: Options) -> None:
        self.compiled, self.system, self.options = compiled, compiled.system, options
        self.plan = plan = Plan.of(self.system, runs, options.sensitivities)
        self.jumps, self.place = Jumps(self.system, options.seed), Place.of(self.system)
        self._waits = any(event.delay is not None for event in self.system.events)
        self.period = plan.first[:-1].copy()
        self.t, self.p, self.dp = plan.begin[self.period], plan.p[self.period], plan.dp[self.period]
        self.x, self.S = start_of(self.system, self.t, self.p, self.dp)
        count, times, (n, q) = len(runs), len(plan.times), self.S.shape[1:]
        self.modes = np.zeros((count, len(self.system.kinds)))
        truth = np.array([event.initially_true for event in self.system.events], dtype=bool)
        self.truth = np.tile(truth, (count, 1))
        self.pools: list[list[Pending]] = [[] for _ in runs]
        self.next = plan.ends[self.period]
        self.h, self.horizon = np.zeros(count), np.zeros(count)
        self.ties, self.stalled, self.looks, self.steps = np.zeros((4, count), dtype=np.int64)
        self.stops = np.zeros(count, dtype=np.int64)
        self.status, self.messages = np.full(count, _RUNNING), [""] * count
        self.x_out, self.S_out = np.full((times, n), np.nan), np.full((times, n, q), np.nan)

    def run(self) -> list[Outcome]:
        """Go through all periods of all runs."""
        with np.errstate(all="ignore"):  # what is not finite becomes a status
            self._begin(np.arange(len(self.t)), None)
            while len(rows := np.flatnonzero(self.status == _RUNNING)):
                leg = self._leg(rows)
                self._arrive(leg, self._advance(leg))
        return [self._outcome(k) for k in range(len(self.t))]

    def _outcome(self, run: int) -> Outcome:
        first, last = self.plan.first[run : run + 2]
        ends = self.plan.ends[first : last + 1].tolist()
        slices = [slice(a, b) for a, b in pairwise(ends)]
        x, S = [self.x_out[part] for part in slices], [self.S_out[part] for part in slices]
        return Outcome(Status(self.status[run]), self.messages[run], x, S)

    def _inputs(self, rows: np.ndarray) -> np.ndarray:
        return inputs_of(self.t[rows], self.x[rows], self.p[rows], self.modes[rows])

    def _fail(self, rows: np.ndarray, status: Status, where: str = "") -> None:
        """End runs that cannot go on."""
        self.status[rows] = status
        for row in rows:
            self.messages[row] = f"{status.text} (at time {self.t[row]:.6g}{where})"

    # Periods

    def _begin(self, rows: np.ndarray, switched: np.ndarray | None) -> None:
        """Start a period: resets, then events, then what is requested at its start.

        Args:
            rows: runs; `period` is new, what is known of the state is from before.
            switched: conditions that switched just now, (run, condition); None in the first period.
        """
        period = self.period[rows]
        moment = self._moment(rows)
        modes = moment.z[:, self.place.modes]
        if switched is not None:
            modes[switched] = 1.0 - modes[switched]
            moment.g = parts_of(self.system.roots, moment.z).values
        moment.z[:, 0] = self.plan.begin[period]
        self._reset(rows, moment)
        self.p[rows], self.dp[rows] = self.plan.p[period], self.plan.dp[period]
        moment.z[:, self.place.p], moment.dp = self.plan.p[period], self.plan.dp[period]
        if switched is None:
            moment.g = parts_of(self.system.roots, moment.z).values
            modes[:] = true_at(self.system.kinds, moment.g)
        else:
            self.jumps.look(moment, np.arange(len(rows)))
        self.jumps.act(moment)
        for array in (self.h, self.horizon, self.looks, self.stalled, self.steps, self.stops):
            array[rows] = 0
        self.next[rows] = self.plan.ends[period]
        self._take(rows, moment, moment.D)
        self._emit(rows)
        self._finish(rows)

    def _reset(self, rows: np.ndarray, moment: Moment) -> None:
        """Apply the resets of periods; all read what was before."""
        before, D = moment.z.copy(), moment.D.copy()
        for resets, some in self.plan.with_resets(self.period[rows]):
            for one in resets:
                values, (by_x, by_p) = parts_of(one.reset, before[some])
                count = len(one.targets)
                slopes = multiply(one.reset.patterns[0], by_x, D[some], count)
                slopes += multiply(one.reset.patterns[1], by_p, moment.dp[some], count)
                self.jumps.assign(moment, some, one.targets, values[:, :count], slopes)

    def _finish(self, rows: np.ndarray) -> None:
        """Let runs leave that have nothing left to do."""
        rows = rows[self.status[rows] == _RUNNING]
        period = self.period[rows]
        over = (self.next[rows] == self.plan.finite[period]) & ~self.plan.rests[period]
        self.status[rows[over & self.plan.is_last[period]]] = Status.CONVERGED

    def _change(self, rows: np.ndarray, switched: np.ndarray) -> None:
        """Go on to the next period."""
        if len(rows):
            self.period[rows] += 1
            self._begin(rows, switched)

    # Legs

    def _leg(self, rows: np.ndarray) -> _Leg:
        """Where runs go next, and which outputs are on the way."""
        plan, period, following = self.plan, self.period[rows], self.next[rows]
        resting = plan.rests[period] & (following == plan.finite[period])
        self._first_look(rows[resting & (self.horizon[rows] == 0.0)])
        due = np.full(len(rows), np.inf)
        if self._waits:
            due[:] = [min((event.time for event in self.pools[row]), default=np.inf) for row in rows]
        end = np.minimum(np.where(resting, self.horizon[rows], plan.limit[period]), due)
        size = plan.finite[period] - following
        for k in np.flatnonzero(due == end):
            size[k] = np.searchsorted(plan.times[following[k] : plan.finite[period[k]]], end[k], "right")
        offsets = np.concatenate([[0], np.cumsum(size)])
        outputs = np.arange(offsets[-1]) + np.repeat(following - offsets[:-1], size)
        return _Leg(rows, end, due, resting, self._inputs(rows), outputs, offsets)

    def _first_look(self, rows: np.ndarray) -> None:
        """Choose when to look for the first time whether runs are at rest."""
        if len(rows):
            f = parts_of(self.system.rate, self._inputs(rows)).values
            elapsed = self.t[rows] - self.plan.begin[self.period[rows]]
            self.horizon[rows] = self.t[rows] + np.maximum(first_horizon(f, self.x[rows]), elapsed)

    def _advance(self, leg: _Leg) -> Advance:
        """Integrate towards the ends of legs, and note where that led."""
        rows, options = leg.rows, self.options
        p, dp = (self.p, self.dp) if len(rows) == len(self.t) else (self.p[rows], self.dp[rows])
        moved = (self.t[rows], self.x[rows], self.S[rows])
        times = self.plan.times[leg.outputs]
        state = State(*moved, p, dp, self.modes[rows], self.h[rows], leg.end, times, leg.offsets)
        found = advance(
            self.compiled,
            state,
            rtol=options.rtol,
            atol=options.atol,
            max_steps=options.max_steps,
            threads=options.threads,
            control_sensitivities=options.control_sensitivities,
        )
        written = times <= np.repeat(found.t, np.diff(leg.offsets))
        self.x_out[leg.outputs[written]] = found.x_out[written]
        self.S_out[leg.outputs[written]] = found.S_out[written]
        self.next[rows] += np.diff(np.concatenate([[0], np.cumsum(written)])[leg.offsets])
        passed = found.t - moved[0] > _HARDLY * np.abs(found.t)
        self.stalled[rows] = np.where(passed, 0, self.stalled[rows] + 1)
        self.steps[rows] += found.steps
        self.t[rows], self.x[rows], self.S[rows], self.h[rows] = found.t, found.x, found.S, found.h
        return found

    def _arrive(self, leg: _Leg, found: Advance) -> None:
        """Let happen what happens where legs ended."""
        rows, plan, period = leg.rows, self.plan, self.period[leg.rows]
        good = found.status == Status.CONVERGED
        for status in np.unique(found.status[~good]):
            self._fail(rows[found.status == status], Status(status))
        here = good & (leg.end - found.t <= resolution(leg.end))
        self.t[rows[here]] = leg.end[here]
        over = here & (leg.end == plan.limit[period]) & ~plan.rests[period] & ~plan.is_last[period]
        jumps = good & ~over & (found.switched.any(axis=1) | (here & (leg.due == leg.end)))
        stuck = jumps & (self.stalled[rows] > _STALLED)
        self._fail(rows[stuck], Status.STEP_TOO_SMALL, ", conditions switch to and fro")
        self.stops[rows] += jumps
        often = jumps & ~stuck & (self.stops[rows] > self.options.max_steps)
        self._fail(rows[often], Status.TOO_MANY_STEPS, ", conditions switch too often")
        stuck |= often
        jumps &= ~stuck
        self._jump(rows[jumps], found.switched[jumps], leg.start[jumps])
        self._look(rows[here & leg.resting & ~jumps & ~stuck])
        self._finish(rows[here & ~over & ~leg.resting])
        self._change(rows[over], found.switched[over])

    def _emit(self, rows: np.ndarray) -> None:
        """Write the state at the requested times that are now, also over what was before."""
        rows, plan = rows[self.status[rows] == _RUNNING], self.plan
        if not len(plan.times):
            return
        first, last = plan.ends[self.period[rows]], plan.finite[self.period[rows]]
        earliest, latest = self.t[rows] - resolution(self.t[rows]), self.t[rows] + resolution(self.t[rows])
        back = self.next[rows] - 1
        while (now := (back >= first) & (plan.times[back] >= earliest)).any():
            self._write(rows[now], back[now])
            back = back - now
        ahead = self.next[rows]
        while (now := (ahead < last) & (plan.times[np.minimum(ahead, len(plan.times) - 1)] <= latest)).any():
            self._write(rows[now], ahead[now])
            ahead = ahead + now
        self.next[rows] = ahead

    def _write(self, rows: np.ndarray, outputs: np.ndarray) -> None:
        self.x_out[outputs], self.S_out[outputs] = self.x[rows], self.S[rows]

    # Events and conditions

    def _moment(self, rows: np.ndarray) -> Moment:
        """Runs where they are now, with nothing having happened yet."""
        return Moment.of(
            self._inputs(rows),
            self.S[rows],
            self.dp[rows],
            self.truth[rows],
            [self.pools[row] for row in rows],
            self.ties[rows],
        )

    def _take(self, rows: np.ndarray, moment: Moment, S: np.ndarray) -> None:
        """Go on from what a moment left."""
        self.t[rows], self.x[rows], self.S[rows] = moment.z[:, 0], moment.z[:, self.place.x], S
        self.modes[rows], self.truth[rows] = moment.z[:, self.place.modes], moment.truth
        self.ties[rows] = moment.ties
        for k in np.flatnonzero(moment.status):
            event = int(moment.blamed[k])
            where = f", event `{self.system.events[event].name}`" if event >= 0 else ""
            self._fail(rows[k : k + 1], Status(moment.status[k]), where)

    def _jump(self, rows: np.ndarray, switched: np.ndarray, earlier: np.ndarray) -> None:
        """Let conditions switch and events act; `earlier` are inputs of programs at the last stop."""
        if not len(rows):
            return
        moment = self._moment(rows)
        before = parts_of(self.system.rate, moment.z).values
        grazing = time_crossing(self.system, moment, switched, before, earlier)
        for k in np.flatnonzero(~switched.any(axis=1)):
            moment.dtau[k] = min(self.pools[rows[k]], key=lambda event: event.time).dtau
        moment.D += before[:, :, None] * moment.dtau[:, None, :]
        modes = moment.z[:, self.place.modes]
        at_once = (modes == 0.0) == (self.system.kinds == ABOVE_OR_AT)
        modes[switched] = 1.0 - modes[switched]
        self.jumps.act(moment)
        after = parts_of(self.system.rate, moment.z).values
        S, quiet = carried_over(self.S[rows], moment, before, after)
        moment.status[grazing & ~quiet & (moment.status == Status.CONVERGED)] = Status.GRAZING_EVENT
        self._take(rows, moment, S)
        self.h[rows[~quiet]] = 0.0
        # a condition like x > 1 is not yet true at the moment itself: what is requested there is from before
        self._emit(rows[(switched & at_once).any(axis=1) | ~switched.any(axis=1)])
        self._finish(rows)

    # Rest

    def _look(self, rows: np.ndarray) -> None:
        """Look whether runs are at rest; those that are go on to the next period."""
        if not len(rows):
            return
        elapsed, z = self.t[rows] - self.plan.begin[self.period[rows]], self._inputs(rows)
        rtol, atol = max(_REST * self.options.rtol, _FINEST), _REST * self.options.atol
        settled = settle(self.system, z, self.S[rows], self.dp[rows], elapsed, rtol, atol)
        switch = next_switch(self.system, z)
        waiting = np.isfinite(switch) | np.array([len(self.pools[row]) > 0 for row in rows])
        rested = settled.rested & ~waiting
        moving = rows[~rested]
        self.looks[moving] += 1
        later = np.where(np.isfinite(switch), switch + 0.01 * np.abs(switch), -np.inf)[~rested]
        grown = self.plan.begin[self.period[moving]] + _GROWTH * elapsed[~rested]
        self.horizon[moving] = np.maximum(grown, later)
        lost = (self.looks[moving] > _LOOKS) | (self.steps[moving] > _RESTING_STEPS)
        self._fail(moving[lost], Status.NO_STEADY_STATE)
        self._rest(rows[rested], settled.x[rested], settled.S[rested])

    def _rest(self, rows: np.ndarray, x: np.ndarray, S: np.ndarray) -> None:
        """Steady states are what was requested at infinity; go on to the next period."""
        self.x[rows], self.S[rows] = x, S
        period = self.period[rows]
        last, end = self.plan.finite[period], self.plan.ends[period + 1]
        steady = last < end
        self._write(rows[steady], last[steady])
        over = self.plan.is_last[period]
        self.status[rows[over]] = Status.CONVERGED
        going = rows[~over]
        self._change(going, np.zeros((len(going), len(self.system.kinds)), dtype=bool))
