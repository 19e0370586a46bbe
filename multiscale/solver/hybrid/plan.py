"""What runs are to do: periods with parameters, resets and requested times, and all of them as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from multiscale.equations.hybrid import HybridSystem, Sparse
from multiscale.errors import DataError

__all__ = ["Period", "Plan", "Reset", "Run"]


@dataclass(frozen=True, eq=False)
class Reset:
    """New values of states at the start of a period.

    Args:
        targets: positions of the states, (target,).
        reset: as in `HybridEvent`. values: new values of the targets, then their derivative by t; patterns:
            by x, by active p. It reads states and parameters at the end of the period before, and the time
            of the start; in the first period the states of the model's start and the period's own parameters.
    """

    targets: np.ndarray
    reset: Sparse


@dataclass(frozen=True, eq=False)
class Period:
    """A stretch of time with the same parameters; it ends with the start of the next, or at its last time.

    Args:
        start: −inf: it starts at time 0, and the next period once the system is at rest.
        p: parameters, (P,).
        dp: derivatives of the active ones by what derivatives are wanted by, (A, q).
        resets: applied at the start, all at once.
        times: requested, ascending, from the start to that of the next period; inf, which can only be the
            last, is the steady state, and the only time that can be requested of a period from −inf.
    """

    start: float
    p: np.ndarray
    dp: np.ndarray
    resets: tuple[Reset, ...] = ()
    times: np.ndarray | Sequence[float] = ()


@dataclass(frozen=True, eq=False)
class Run:
    """Periods one after the other; the state is handed on."""

    periods: tuple[Period, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """Periods of all runs, one after the other; outputs are the requested times of all periods.

    Args:
        first: those of run r are `first[r]:first[r + 1]`, (run + 1,).
        is_last: whether each is the last of its run, (period,).
        begin: time at which it begins, (period,).
        limit: time of its end, as far as that is known, (period,).
        rests: whether it has to come to rest, (period,).
        p: (period, P).
        dp: (period, A, q).
        group: number of its list of resets in `resets`, (period,).
        resets: the different lists; the first is empty.
        times: requested times of all periods, (output,).
        ends: those of period k are `ends[k]:ends[k + 1]`, (period + 1,).
        finite: the finite ones among them are `ends[k]:finite[k]`, (period,).
    """

    first: np.ndarray
    is_last: np.ndarray
    begin: np.ndarray
    limit: np.ndarray
    rests: np.ndarray
    p: np.ndarray
    dp: np.ndarray
    group: np.ndarray
    resets: list[tuple[Reset, ...]]
    times: np.ndarray
    ends: np.ndarray
    finite: np.ndarray

    @classmethod
    def of(cls, system: HybridSystem, runs: Sequence[Run], sensitivities: bool) -> Plan:
        """Collect the periods of runs.

        Raises:
            DataError: a period does not fit the model or its neighbours.
        """
        periods = [period for run in runs for period in run.periods]
        first = np.concatenate([[0], np.cumsum([len(run.periods) for run in runs], dtype=np.int64)])
        p, dp = _stacked(system, periods, sensitivities)
        if p is None or dp is None or (np.diff(first) == 0).any():
            _refuse(system, runs, sensitivities)
        is_last = np.zeros(len(periods), dtype=bool)
        is_last[first[1:] - 1] = True
        start = np.array([period.start for period in periods], dtype=np.float64)
        listed = [np.asarray(period.times, dtype=np.float64) for period in periods]
        times = np.concatenate([np.zeros(0), *listed])
        ends = np.concatenate([[0], np.cumsum([len(some) for some in listed])])
        if not _in_order(start, is_last, times, ends):
            _refuse(system, runs, sensitivities)
        steady = np.zeros(len(periods), dtype=bool)
        filled = ends[1:] > ends[:-1]
        steady[filled] = np.isinf(times[ends[1:][filled] - 1])
        finite = ends[1:] - steady
        begin = np.where(np.isinf(start), 0.0, start)
        rests = steady | np.isinf(start)
        limit = np.where(is_last | rests, begin, np.append(start[1:], 0.0))
        known = (finite > ends[:-1]) & (is_last | rests)
        limit[known] = times[finite[known] - 1]
        group, resets = _groups(periods)
        return cls(first, is_last, begin, limit, rests, p, dp, group, resets, times, ends, finite)

    def with_resets(self, periods: np.ndarray) -> Iterator[tuple[tuple[Reset, ...], np.ndarray]]:
        """Lists of resets that some periods begin with, and which of these periods do."""
        groups = self.group[periods]
        for number in np.unique(groups[groups > 0]):
            yield self.resets[number], np.flatnonzero(groups == number)


def _stacked(
    system: HybridSystem, periods: Sequence[Period], sensitivities: bool
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Parameters of all periods and their derivatives; None where they do not fit."""
    K, P, A = len(periods), len(system.parameters), len(system.active)
    try:
        p = np.array([period.p for period in periods], dtype=np.float64)
        dp = (
            np.array([period.dp for period in periods], dtype=np.float64)
            if sensitivities
            else np.zeros((K, A, 0))
        )
    except ValueError:  # of different shapes
        return None, None
    fits = p.shape == (K, P) and dp.ndim == 3 and dp.shape[:2] == (K, A)
    return (p, dp) if fits else (None, None)


def _in_order(start: np.ndarray, is_last: np.ndarray, times: np.ndarray, ends: np.ndarray) -> bool:
    """Whether periods, and the times of each, follow each other."""
    of = np.repeat(np.arange(len(start)), np.diff(ends))
    following = np.where(is_last, np.inf, np.append(start[1:], np.inf))
    begin = np.where(np.isinf(start), np.inf, start)
    ascending = (times[1:] > times[:-1]) | (of[1:] != of[:-1])
    ordered = (start < following).all() and np.isfinite(start[1:][~is_last[:-1]]).all()
    inside = (times >= begin[of]) & ((times <= following[of]) | (times == np.inf))
    return bool(ordered and not np.isnan(start).any() and ascending.all() and inside.all())


def _groups(periods: Sequence[Period]) -> tuple[np.ndarray, list[tuple[Reset, ...]]]:
    """Number of the list of resets of every period, and the different lists."""
    known: dict[tuple[int, ...], int] = {(): 0}
    resets: list[tuple[Reset, ...]] = [()]
    group = np.zeros(len(periods), dtype=np.int64)
    for k, period in enumerate(periods):
        if period.resets:
            key = tuple(id(reset) for reset in period.resets)
            if key not in known:
                known[key] = len(resets)
                resets.append(period.resets)
            group[k] = known[key]
    return group, resets


def _refuse(system: HybridSystem, runs: Sequence[Run], sensitivities: bool) -> NoReturn:
    """Say what is wrong with runs."""
    for number, run in enumerate(runs):
        _check(system, run, number, sensitivities)
    raise DataError("`runs` must all have derivatives by the same number of directions; got `dp` of several.")


def _check(system: HybridSystem, run: Run, number: int, sensitivities: bool) -> None:
    """Refuse a run with periods that do not fit, by name."""
    if not run.periods:
        raise DataError(f"`runs[{number}]` must have at least one period; got none.")
    P, A, before = len(system.parameters), len(system.active), -np.inf
    following = [*(period.start for period in run.periods[1:]), np.inf]
    for k, (period, after) in enumerate(zip(run.periods, following, strict=True)):
        where = f"runs[{number}].periods[{k}]"
        if np.shape(period.p) != (P,):
            raise DataError(f"`{where}.p` must have shape ({P},); got {np.shape(period.p)}.")
        if sensitivities and (np.ndim(period.dp) != 2 or np.shape(period.dp)[0] != A):
            raise DataError(f"`{where}.dp` must have shape ({A}, directions); got {np.shape(period.dp)}.")
        if np.isnan(period.start) or period.start == np.inf or (k and not period.start > before):
            raise DataError(
                f"`{where}.start` must be finite and later than {before:g}; got {period.start:g}."
            )
        _check_times(period, where, after)
        before = period.start


def _check_times(period: Period, where: str, after: float) -> None:
    times = np.asarray(period.times, dtype=np.float64)
    if not len(times):
        return
    if period.start == -np.inf and not (len(times) == 1 and times[0] == np.inf):
        text = f"`{where}.times` must be only inf, since it starts at -inf; got {times.tolist()}"
        raise DataError(f"{text}: list them in a later period.")
    steps = (times[1:] > times[:-1]).all() and times[0] >= period.start
    if not (steps and ((times <= after) | (times == np.inf)).all()):
        got = times.tolist()
        raise DataError(
            f"`{where}.times` must ascend from {period.start:g} to {after:g} or be inf; got {got}."
        )
