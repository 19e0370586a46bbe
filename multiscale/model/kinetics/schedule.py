"""When every context is read: the times that its measurements state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiscale.errors import DataError
from multiscale.model.terms import TableTerm

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """Times at which the states of contexts are needed.

    Args:
        times: s, ascending, a context's last one repeated to equal length; 0 where no measurement of it
            states a time; shape (context, time). One time in regimes without time.
        count: how many of them a context has, shape (context,).
    """

    times: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, terms: Sequence[TableTerm], contexts: pd.Index, regime: str) -> Schedule:
        """Collect the times of all tables.

        Raises:
            DataError: a time is stated in a regime without time, or a context has none where one is needed.
        """
        if regime != "time_course":
            _refuse_times(terms, regime)
            return cls(np.zeros((len(contexts), 1)), np.ones(len(contexts), dtype=np.int64))
        stated: list[set[float]] = [set() for _ in contexts]
        for term in terms:
            for context, time in zip(term.context.tolist(), _times(term).tolist(), strict=True):
                if not np.isnan(time):
                    stated[context].add(time)
        _refuse_timeless(terms, contexts, stated)
        each = [sorted(times) or [0.0] for times in stated]
        longest = max(len(times) for times in each)
        padded = np.array([times + times[-1:] * (longest - len(times)) for times in each])
        return cls(padded, np.array([len(times) for times in each]))

    def positions(self, term: TableTerm) -> np.ndarray:
        """Position of every entry's time; of those without one the last, shape (entry,)."""
        last = np.full(len(term.entries), self.times.shape[1] - 1)
        time = _times(term)
        known = np.flatnonzero(~np.isnan(time))
        for row in known.tolist():
            last[row] = int(np.searchsorted(self.times[term.context[row]], time[row]))
        return last


def _times(term: TableTerm) -> np.ndarray:
    """Time of every entry, s, NaN where it states none."""
    entries = term.entries
    return entries["time"].to_numpy(float) if "time" in entries else np.full(len(entries), np.nan)


def _refuse_times(terms: Sequence[TableTerm], regime: str) -> None:
    for term in terms:
        stated = _times(term)[~np.isnan(_times(term))]
        if len(stated):
            raise DataError(
                f"`{term.name}` states a `time`, {stated[0]:g} s, but the regime is `{regime}`; leave it"
                ' blank, or use regime = "time_course".'
            )


def _refuse_timeless(terms: Sequence[TableTerm], contexts: pd.Index, stated: Sequence[set[float]]) -> None:
    for term in terms:
        if "time" not in term.entries:
            continue
        for context, time in zip(term.context.tolist(), _times(term).tolist(), strict=True):
            if np.isnan(time) and not stated[context]:
                raise DataError(
                    f"`{term.name}`: no measurement of context `{contexts[context]}` states a `time`, so it"
                    ' has no last one; fill in the column, or use regime = "steady_state".'
                )
