"""Many hybrid systems of one model, integrated side by side until their ends or their first switches."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from multiscale.solver.hybrid.compiled import Compiled, plain
from multiscale.solver.hybrid.loop import Control, Output, Start, advance_systems

__all__ = ["Advance", "State", "advance"]

log = logging.getLogger("multiscale")


def _no_times() -> np.ndarray:
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class State:
    """Where B systems are; n states, P parameters, A active ones, q directions, M conditions.

    Args:
        t: time, (B,).
        x: states, (B, n).
        S: their derivatives along the directions, (B, n, q); q = 0 for none.
        p: parameters, (B, P).
        dp: derivatives of the active parameters along the directions, (B, A, q).
        modes: truth values of the conditions that the right-hand side is taken with, (B, M).
        h: first step, (B,); 0 = choose.
        t_end: where to stop, (B,).
        times: requested times of all systems, each ascending and in (t, t_end], (T,).
        offsets: those of system b are `offsets[b]:offsets[b + 1]`, (B + 1,); None = there are none.
    """

    t: np.ndarray
    x: np.ndarray
    S: np.ndarray
    p: np.ndarray
    dp: np.ndarray
    modes: np.ndarray
    h: np.ndarray
    t_end: np.ndarray
    times: np.ndarray = field(default_factory=_no_times)
    offsets: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Advance:
    """Where B systems came to.

    Args:
        status: `Status` numbers, (B,); 0 = it reached its end, or a condition switched.
        switched: which conditions differ from their modes at t, (B, M).
        t, x, S: as in `State`; of a system that failed, after its last step.
        h: suggestion for the next step if nothing changes, (B,).
        x_out: states at the requested times up to t, NaN later, (T, n).
        S_out: their derivatives, (T, n, q).
        steps: accepted steps, (B,).
        rejected: attempts that were not, (B,).
    """

    status: np.ndarray
    switched: np.ndarray
    t: np.ndarray
    x: np.ndarray
    S: np.ndarray
    h: np.ndarray
    x_out: np.ndarray
    S_out: np.ndarray
    steps: np.ndarray
    rejected: np.ndarray


def advance(
    compiled: Compiled,
    state: State,
    *,
    rtol: float = 1e-8,
    atol: float | np.ndarray = 1e-12,
    max_steps: int = 100_000,
    threads: int | None = None,
    longest: float = np.inf,
    control_sensitivities: bool = False,
) -> Advance:
    """Integrate each system to its end or to the first moment at which a condition switches.

    A system whose conditions differ from its modes at the start stays there. Derivatives are those of the
    accepted steps, with their sizes held constant. Requested times are read from dense output of order 4.

    Args:
        compiled: the model.
        state: where the systems are.

    Other args:
        rtol: relative tolerance of a step.
        atol: absolute tolerance, one for all or shape (n,).
        max_steps: most attempts per system.
        threads: how many at once; None = one per core.
        longest: longest step, in time.
        control_sensitivities: whether the errors of S, in the same tolerances, bound the steps too.
    """
    start, to = _start(state), _output(compiled, state)
    size = compiled.kernel.states
    tolerance = np.array(np.broadcast_to(atol, (size,)), dtype=np.float64, order="C")
    control = Control(float(rtol), tolerance, int(max_steps), float(longest), bool(control_sensitivities))
    systems, workers = len(to.t), threads or _cores()
    _announce()
    chunks = np.linspace(0, systems, min(systems, 4 * workers if workers > 1 else 1) + 1).astype(int).tolist()

    def work(k: int) -> None:
        advance_systems(compiled.kernel, chunks[k], chunks[k + 1], start, to, control)

    if len(chunks) == 2:
        work(0)
    elif len(chunks) > 2:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(len(chunks) - 1)))
    return Advance(to.status, to.switched, to.t, to.x, to.S, to.h, to.x_out, to.S_out, to.steps, to.rejected)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _announce() -> None:
    """Say why the first simulation of an installation takes long."""
    cache = advance_systems.stats.cache_path
    if cache is None or not any(Path(cache).glob("*advance_systems*.nbi")):
        log.info("compiling the solver, once for this installation: about a minute")


def _start(state: State) -> Start:
    offsets = np.zeros(len(state.t) + 1) if state.offsets is None else state.offsets
    return Start(
        plain(state.p, np.float64),
        plain(state.dp, np.float64),
        plain(state.modes, np.float64),
        plain(state.t_end, np.float64),
        plain(state.times, np.float64),
        plain(offsets, np.int64),
    )


def _output(compiled: Compiled, state: State) -> Output:
    """Copies of what moves, and room for what is found."""
    systems, q, times = len(state.t), state.S.shape[2], len(state.times)
    n, conditions = compiled.kernel.states, len(compiled.kernel.kinds)
    return Output(
        np.array(state.t, dtype=np.float64),
        np.array(state.x, dtype=np.float64, order="C"),
        np.array(state.S, dtype=np.float64, order="C"),
        np.array(state.h, dtype=np.float64),
        np.zeros(systems, dtype=np.int64),
        np.zeros((systems, conditions), dtype=np.bool_),
        np.full((times, n), np.nan),
        np.full((times, n, q), np.nan),
        np.zeros(systems, dtype=np.int64),
        np.zeros(systems, dtype=np.int64),
        np.zeros(systems, dtype=np.int64),
    )
