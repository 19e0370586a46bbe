"""A graph with equations of its own simulated by them: scans of values, time courses, steady states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiscale.equations.flatten import Flat, flatten
from multiscale.equations.machine import evaluate
from multiscale.equations.model import Equations
from multiscale.equations.values import with_values
from multiscale.errors import DataError, nearest
from multiscale.solver.hybrid.runs import Period, Run, simulate
from multiscale.solver.status import Status

__all__ = ["ImportedCourse", "imported_course"]


@dataclass(frozen=True, eq=False)
class ImportedCourse:
    """States of a model in one or several contexts.

    Args:
        x: what the names of the species stand for, shape (context, time, species); NaN where not reached.
        contexts: one row per context, one column per quantity that was varied.
        status: how each context ended.
    """

    x: np.ndarray
    contexts: pd.DataFrame
    status: list[Status]
    _flat: Flat
    _p: np.ndarray
    _times: np.ndarray
    _states: np.ndarray

    def quantities(self, names: Sequence[str]) -> np.ndarray:
        """Values of species, reactions (their flux, amount per time) and others, (context, time, name)."""
        program = self._flat.program([self._flat.quantity(name) for name in names])
        shape = self._states.shape[:2]
        times = np.broadcast_to(np.where(np.isfinite(self._times), self._times, 0.0)[:, None], (*shape, 1))
        p = np.broadcast_to(self._p[:, None], (*shape, self._p.shape[-1]))
        return evaluate(program, np.concatenate([times, self._states, p], axis=-1))


def imported_course(
    equations: Equations,
    times: np.ndarray,
    values: Mapping[str, Sequence[float]],
    *,
    rtol: float,
    atol: float,
    max_steps: int,
) -> ImportedCourse:
    """Simulate a model, once per context.

    Args:
        equations: of the model.
        times: in its unit of time, ascending; one infinite time for a steady state.
        values: numbers by name, one or one per context, in place of those of the model; see `with_values`.
        rtol, atol, max_steps: of the solver.

    Raises:
        DataError: a name is unknown, or scans differ in length.
        FormatError: the model cannot be simulated.
    """
    contexts = _contexts(values)
    first = {name: float(numbers[0]) for name, numbers in values.items()}
    flat = flatten(with_values(equations, first), free=tuple(values), active=())
    p = np.tile(flat.system.values, (len(contexts), 1))
    for name, numbers in values.items():
        if name not in flat.system.parameters:
            known = nearest(name, flat.system.parameters)
            raise DataError(f"`{name}` cannot be set: a rule or the model's start gives it; {known}")
        p[:, flat.system.parameters.index(name)] = numbers
    runs = [Run((Period(0.0, row, np.zeros((0, 0)), times=times),)) for row in p]
    found = simulate(flat.system, runs, rtol=rtol, atol=atol, max_steps=max_steps)
    states = np.stack([outcome.x[0] for outcome in found])
    course = ImportedCourse(states, contexts, [outcome.status for outcome in found], flat, p, times, states)
    x = course.quantities(list(equations.species))
    return ImportedCourse(x, contexts, course.status, flat, p, times, states)


def _contexts(values: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """One row per context; what has several values is a column."""
    scans = {name: list(numbers) for name, numbers in values.items() if len(numbers) > 1}
    sizes = {len(numbers) for numbers in scans.values()}
    if len(sizes) > 1:
        listed = ", ".join(f"`{name}` has {len(numbers)}" for name, numbers in scans.items())
        raise DataError(f"scans must have the same number of values; {listed}.")
    return pd.DataFrame(scans, index=pd.RangeIndex(max(sizes, default=1)))
