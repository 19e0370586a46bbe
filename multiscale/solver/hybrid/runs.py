"""Whole experiments: runs through periods with parameters and resets of their own, to times or to rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from multiscale.equations.hybrid import HybridSystem
from multiscale.solver.hybrid.compiled import Compiled, compile_system
from multiscale.solver.hybrid.course import Course, Options, Outcome
from multiscale.solver.hybrid.plan import Period, Reset, Run

__all__ = ["Outcome", "Period", "Reset", "Run", "simulate"]

_BATCH = 2**25  # numbers that the arrays of one batch of runs hold


def simulate(
    system: HybridSystem | Compiled,
    runs: Sequence[Run],
    *,
    rtol: float = 1e-8,
    atol: float | np.ndarray = 1e-12,
    max_steps: int = 100_000,
    threads: int | None = None,
    sensitivities: bool = False,
    seed: int = 0,
    control_sensitivities: bool = False,
) -> list[Outcome]:
    """Integrate runs of one model, each from the model's start through its periods.

    At a time at which something happens, the state after it is returned.

    Args:
        system: the model.
        runs: what is to be simulated.

    Other args:
        rtol: relative tolerance of a step; steady states are found to a tenth of it.
        atol: absolute tolerance, () or (n,).
        max_steps: attempted steps per run between two stops, and stops per period.
        threads: that integrate; None = one per core.
        sensitivities: whether to compute derivatives; otherwise S has q = 0.
        seed: of the random order of simultaneous events that have the same priority, or none.
        control_sensitivities: whether errors of S, in the same tolerances, bound the steps too.

    Returns:
        One outcome per run.

    Raises:
        DataError: a period does not fit the model or its neighbours.
    """
    compiled = system if isinstance(system, Compiled) else compile_system(system)
    tolerance = np.broadcast_to(np.asarray(atol, dtype=np.float64), (len(compiled.system.states),)).copy()
    options = Options(rtol, tolerance, max_steps, threads, sensitivities, seed, control_sensitivities)
    outcomes: list[Outcome] = []
    for batch in _batches(compiled.system, runs, sensitivities):
        outcomes += Course(compiled, batch, options).run()
    return outcomes


def _batches(system: HybridSystem, runs: Sequence[Run], sensitivities: bool) -> Iterator[Sequence[Run]]:
    """Runs in portions that fit into memory."""
    n, P, A = len(system.states), len(system.parameters), len(system.active)
    size, first = 0, 0
    for k, run in enumerate(runs):
        q = np.shape(run.periods[0].dp)[-1] if sensitivities and run.periods else 0
        periods, outputs = len(run.periods), sum(len(period.times) for period in run.periods)
        size += (periods + 2) * (P + A * q) + (outputs + 3) * n * (1 + q)
        if size > _BATCH or k == len(runs) - 1:
            yield runs[first : k + 1]
            size, first = 0, k + 1
