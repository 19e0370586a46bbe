"""Time courses of equations that a file states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from multiscale.equations.flatten import Flat, flatten
from multiscale.equations.machine import evaluate
from multiscale.equations.model import Equations
from multiscale.errors import DataError, nearest
from multiscale.solver.hybrid.runs import Period, Run, simulate

__all__ = ["simulate_equations"]


def simulate_equations(
    equations: Equations,
    times: Sequence[float] | np.ndarray,
    outputs: Mapping[str, bool | None] | Sequence[str] = (),
    *,
    rtol: float = 1e-8,
    atol: float = 1e-12,
    max_steps: int = 100_000,
) -> pd.DataFrame:
    """Simulate a model from its start at time 0.

    Args:
        equations: the model.
        times: ascending, not negative; where an event happens at one of them, the values are those after it.
        outputs: names of species, compartments, parameters, stoichiometries and reactions (their flux). A
            mapping says of a species whether its amount (True), its concentration (False) or what its name
            stands for (None) is wanted. Empty = all species, as what their names stand for.
        rtol: relative tolerance of the states.
        atol: absolute tolerance of the states, in their units.
        max_steps: between two events.

    Returns:
        A column `time`, then one per output (the model may have a quantity called `time`, too). NaN where the
        solver did not arrive; `attrs["status"]` is its `Status`, `attrs["message"]` says where and why.

    Raises:
        DataError: an output is unknown, or times are not ascending.
        FormatError: the model cannot be simulated.

    >>> from multiscale.equations.expression import symbol
    >>> from multiscale.equations.model import Parameter
    >>> decay = Equations(parameters={"x": Parameter(2.0, constant=False)}, rates={"x": -symbol("x")})
    >>> round(float(simulate_equations(decay, [0, 1], ["x"])["x"][1]), 6)  # 2 / e
    0.735759
    """
    wanted = dict(outputs) if isinstance(outputs, Mapping) else dict.fromkeys(outputs or equations.species)
    _check_outputs(equations, wanted)
    flat = flatten(equations, active=())
    at = np.asarray(times, dtype=np.float64)
    system = flat.system
    period = Period(0.0, system.values, np.zeros((0, 0)), times=at)
    (outcome,) = simulate(
        system, [Run((period,))], rtol=rtol, atol=atol, max_steps=max_steps, threads=1, sensitivities=False
    )
    values = _outputs(flat, wanted, at, outcome.x[0])
    table = pd.DataFrame(values, columns=list(wanted))
    table.insert(0, "time", at, allow_duplicates=True)
    table.attrs.update(status=outcome.status, message=outcome.message)
    return table


def _check_outputs(equations: Equations, outputs: Mapping[str, bool | None]) -> None:
    kinds = (equations.species, equations.compartments, equations.parameters, equations.processes)
    sides = (
        part for process in equations.processes.values() for part in process.reactants + process.products
    )
    known = {name for kind in kinds for name in kind} | {part.name for part in sides if part.name}
    for name in outputs:
        if name not in known:
            raise DataError(f"`outputs` must be names of the model; got `{name}`; {nearest(name, known)}")


def _outputs(flat: Flat, wanted: Mapping[str, bool | None], times: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values of the outputs, (time, output), at states (time, n)."""
    roots = [flat.quantity(name, amount) for name, amount in wanted.items()]
    p = np.broadcast_to(flat.system.values, (len(times), len(flat.system.values)))
    return evaluate(flat.program(roots), np.concatenate([times[:, None], x, p], axis=1))
