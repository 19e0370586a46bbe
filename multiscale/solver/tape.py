"""What an integration did, in order: enough to repeat it, and to run it backwards.

The tape keeps, of every accepted step, its time, size and start: one state per step. When the states reach
half of the byte budget, those of the segment that is complete are given up and a snapshot of all systems is
kept; the segment is repeated from there when it is needed. Repeating never decides anything again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

__all__ = ["END", "HELD", "Emit", "Entry", "Jump", "StepEntry", "Tape"]

HELD = -2
"""The size of a step was chosen by error control and counts as a constant."""
END = -1
"""A step was cut by the last requested time; 0 or more: by the event of that number."""


@dataclass(frozen=True, eq=False)
class StepEntry:
    """Accepted steps of some systems.

    Args:
        rows: which systems, (row,).
        t: start of the step, (row,).
        h: size, (row,).
        cut: what set the size, `HELD`, `END` or the number of an event, (row,).
        output: row of this entry and position among the requested times, of times inside steps, (2, output).
        x: state at the start, (row, size); None when given up.
    """

    rows: Tensor
    t: Tensor
    h: Tensor
    cut: Tensor
    output: Tensor
    x: Tensor | None


@dataclass(frozen=True, eq=False)
class Jump:
    """The reset of one event in some systems, at times t from states x."""

    rows: Tensor
    t: Tensor
    event: int
    x: Tensor | None


@dataclass(frozen=True, eq=False)
class Emit:
    """Requested times that are reached exactly: systems and positions among these times, (output,)."""

    rows: Tensor
    output: Tensor


Entry = StepEntry | Jump | Emit


@dataclass
class _Segment:
    start: Tensor
    entries: list[Entry] = field(default_factory=list)


class Tape:
    """Entries in order, in segments.

    Args:
        x0: initial states, shape (system, size).
        memory: most bytes for states; more are used only if one snapshot per segment needs more.
    """

    def __init__(self, x0: Tensor, memory: int) -> None:
        self._limit, self._held = memory // 2, 0
        self._segments = [_Segment(x0.clone())]

    def record(self, entry: Entry, states: Callable[[], Tensor]) -> None:
        """Add an entry; `states` gives the present states of all systems, before it."""
        x = None if isinstance(entry, Emit) else entry.x
        if x is not None:
            size = x.numel() * x.element_size()
            if self._held and self._held + size > self._limit:
                self._close(states())
            self._held += size
        self._segments[-1].entries.append(entry)

    def _close(self, states: Tensor) -> None:
        done = self._segments[-1]
        done.entries[:] = [e if isinstance(e, Emit) else replace(e, x=None) for e in done.entries]
        self._segments.append(_Segment(states.clone()))
        self._held = 0

    def keep(self, systems: Tensor) -> None:
        """Forget the entries of all other systems, such as failed ones, which pass on no gradient.

        Args:
            systems: which to keep, (system,) bool.
        """
        if bool(systems.all()):
            return
        for segment in self._segments:
            kept = (_part(entry, systems[entry.rows]) for entry in segment.entries)
            segment.entries = [entry for entry in kept if len(entry.rows)]

    @property
    def segments(self) -> int:
        """Number of segments; all but the last are repeated before they are run backwards."""
        return len(self._segments)

    def __iter__(self) -> Iterator[Entry]:
        """Entries from the first to the last; states may be missing."""
        return (entry for segment in self._segments for entry in segment.entries)

    def backwards(self, advance: Callable[[Entry, Tensor], Tensor]) -> Iterator[Entry]:
        """Entries from the last to the first, with their states.

        Args:
            advance: repeats an entry: of it and the states of all systems, the states after it.
        """
        for number, segment in reversed(list(enumerate(self._segments))):
            entries = segment.entries
            if number < len(self._segments) - 1:
                entries = _repeat(segment, advance)
            yield from reversed(entries)

    def forwards(self, advance: Callable[[Entry, Tensor], Tensor]) -> Iterator[Entry]:
        """Entries from the first to the last, with their states."""
        for number, segment in enumerate(self._segments):
            last = number == len(self._segments) - 1
            yield from segment.entries if last else _repeat(segment, advance)


def _part(entry: Entry, kept: Tensor) -> Entry:
    """Some rows of an entry."""
    if bool(kept.all()):
        return entry
    if isinstance(entry, Emit):
        return Emit(entry.rows[kept], entry.output[kept])
    x = None if entry.x is None else entry.x[kept]
    if isinstance(entry, Jump):
        return replace(entry, rows=entry.rows[kept], t=entry.t[kept], x=x)
    row, output = entry.output[:, kept[entry.output[0]]]
    new = torch.stack([(kept.cumsum(0) - 1)[row], output])
    parts = {name: getattr(entry, name)[kept] for name in ("rows", "t", "h", "cut")}
    return StepEntry(**parts, output=new, x=x)


def _repeat(segment: _Segment, advance: Callable[[Entry, Tensor], Tensor]) -> list[Entry]:
    states, entries = segment.start.clone(), []
    for entry in segment.entries:
        if isinstance(entry, Emit):
            entries.append(entry)
            continue
        known = replace(entry, x=states[entry.rows])
        states = advance(known, states)
        entries.append(known)
    return entries
