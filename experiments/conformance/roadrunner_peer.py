"""The observables of a PEtab problem as libRoadRunner gives them, at tight tolerances.

For every phase of every experiment a copy of the SBML file gets the numbers of the phase as starting values;
the formulas of the observables are evaluated on the states that come back. Before a phase that follows −inf
the model runs until its states have stopped changing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import libsbml
import numpy as np
import roadrunner  # type: ignore[import-not-found]

from multiscale.equations.expression import TIME, Expression, number, substitute
from multiscale.fit.petab.plan import phases_of
from multiscale.fit.petab.values import Later, Starts, Values, quantities
from multiscale.formats.petab.problem import PetabProblem, Phase

RTOL, ATOL = 1e-12, 1e-14
STILL = 1e-12  # relative change over a tenfold time, at which a model is at rest
LONGEST = 1e12

Numbers = dict[str, float]


def peer_readings(problem: PetabProblem) -> np.ndarray:
    """Every measurement as libRoadRunner has it at the nominal parameters, shape (row,)."""
    y = np.full(len(problem.measurements), np.nan)
    for name in dict.fromkeys(m.experiment for m in problem.measurements):
        rows = [i for i, m in enumerate(problem.measurements) if m.experiment == name]
        phases = phases_of(problem, name)
        values: Values = Starts(problem, phases[0])
        states: Numbers = {}
        for k, phase in enumerate(phases):
            if k:
                values = Later(problem.equations, values, phase, ())
            end = phases[k + 1].time if k + 1 < len(phases) else math.inf
            here = [i for i in rows if phase.time <= problem.measurements[i].time < end]
            states = run_phase(problem, phase, values, states, here, y)
    return y


def run_phase(
    problem: PetabProblem, phase: Phase, values: Values, states: Numbers, rows: Sequence[int], y: np.ndarray
) -> Numbers:
    """Simulate a phase, fill in its measurements, and return the states at its end."""
    changed = {name: nominal(problem, values, name) for name in phase.changes}
    numbers = {name: nominal(problem, values, name) for name in constants(problem)} | states | changed
    runner = roadrunner.RoadRunner(with_numbers(problem, numbers))
    runner.integrator.relative_tolerance, runner.integrator.absolute_tolerance = RTOL, ATOL
    runner.integrator.maximum_num_steps = 1_000_000
    names = sorted({*problem.equations.species, *problem.equations.rates} | moving(problem))
    if phase.time == -math.inf:
        return rest(problem, runner, names)
    times = sorted({problem.measurements[i].time for i in rows})
    found = course(problem, runner, names, phase.time, times)
    for i in rows:
        y[i] = reading(problem, values, i, found[problem.measurements[i].time])
    return {}


def nominal(problem: PetabProblem, values: Values, name: str) -> float:
    """Number that a quantity has at the nominal parameters."""
    return evaluated(values.value(name), {n: p.nominal for n, p in problem.parameters.items()})


def evaluated(e: Expression, numbers: Mapping[str, float], time: float = 0.0) -> float:
    """Value of an expression."""

    def value(node: Expression) -> Expression | None:
        if node is TIME:
            return number(time)
        return None if node.name is None else number(numbers[node.name])

    result = substitute([e], value)[0].value
    return math.nan if result is None else result


def constants(problem: PetabProblem) -> list[str]:
    """Quantities of the model that tables set."""
    model = quantities(problem.equations)
    return [name for name in problem.parameters if name in model]


def moving(problem: PetabProblem) -> set[str]:
    """Quantities that rules give or events set."""
    equations = problem.equations
    return {*equations.assignments, *(n for event in equations.events for n in event.assignments)}


def with_numbers(problem: PetabProblem, numbers: Mapping[str, float]) -> str:
    """SBML text of the model with starting values."""
    document = libsbml.readSBMLFromFile(str(problem.model_path))
    model = document.getModel()
    for name, value in numbers.items():
        model.removeInitialAssignment(name)
        element = model.getElementBySId(name)
        if isinstance(element, libsbml.Species):
            if problem.equations.species[name].only_amount:
                element.setInitialAmount(value)
            else:
                element.unsetInitialAmount()
                element.setInitialConcentration(value)
        elif isinstance(element, libsbml.Compartment):
            element.setSize(value)
        elif isinstance(element, libsbml.Parameter):
            element.setValue(value)
    return libsbml.writeSBMLToString(document)


def selection(problem: PetabProblem, names: Sequence[str]) -> list[str]:
    """What libRoadRunner calls the quantities."""
    species = problem.equations.species
    return [name if name not in species or species[name].only_amount else f"[{name}]" for name in names]


def course(
    problem: PetabProblem,
    runner: roadrunner.RoadRunner,
    names: Sequence[str],
    start: float,
    times: Sequence[float],
) -> dict[float, Numbers]:
    """States at times."""
    runner.timeCourseSelections = selection(problem, names)
    asked = [start, *(time for time in times if time > start)]
    if len(asked) == 1:
        table = np.array([[runner[item] for item in runner.timeCourseSelections]])
    else:
        table = np.array(runner.simulate(times=asked) if len(asked) > 2 else runner.simulate(*asked, 2))
    return {time: dict(zip(names, row, strict=True)) for time, row in zip(asked, table, strict=True)}


def rest(problem: PetabProblem, runner: roadrunner.RoadRunner, names: Sequence[str]) -> Numbers:
    """States when nothing changes any more, of what a later phase can start from."""
    runner.timeCourseSelections = selection(problem, names)
    begin, end, before = 0.0, 1e3, np.full(len(names), np.inf)
    while end <= LONGEST:
        after = np.array(runner.simulate(begin, end, 2))[-1]
        if np.all(np.abs(after - before) <= STILL * np.abs(after) + 1e-14):
            break
        begin, end, before = end, 10.0 * end, after
    ruled = problem.equations.assignments
    return {name: value for name, value in zip(names, after.tolist(), strict=True) if name not in ruled}


def reading(problem: PetabProblem, values: Values, i: int, states: Numbers) -> float:
    """Observable of a measurement."""
    row = problem.measurements[i]
    observable = problem.observables[row.observable]
    known = {n: p.nominal for n, p in problem.parameters.items()}
    inputs = dict(zip(observable.placeholders, (evaluated(e, known) for e in row.overrides), strict=True))
    table = _Lazy(problem, values, {**states, **inputs})
    return evaluated(observable.formula, table, row.time)


class _Lazy(dict):
    """States and placeholders; what is neither is looked up among the numbers of the phase."""

    def __init__(self, problem: PetabProblem, values: Values, known: Numbers) -> None:
        super().__init__(known)
        self._problem, self._values = problem, values

    def __missing__(self, name: str) -> float:
        return nominal(self._problem, self._values, name)
