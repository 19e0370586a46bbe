"""Which simulations a problem needs: parameters of every phase, and each simulation once.

Experiments that differ only in what no equation reads share a simulation, and so do all starts where no
unknown parameter enters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from multiscale.equations.expression import ZERO, Expression, symbols_of
from multiscale.equations.flatten import Flat, flatten
from multiscale.equations.hybrid import HybridSystem, Sparse
from multiscale.equations.program import Program
from multiscale.equations.roles import roles_of
from multiscale.errors import FormatError
from multiscale.fit.petab.changes import AFTER, Jump, jump, varying, with_states, written_names
from multiscale.fit.petab.mapping import Mapping
from multiscale.fit.petab.values import Later, Starts, Values, quantities, reads
from multiscale.formats.petab.problem import Measurement, PetabProblem, Phase

__all__ = ["Plan", "Stage", "Template", "plan"]


@dataclass(frozen=True, eq=False)
class Stage:
    """A phase of a simulation.

    Args:
        start: its time; −inf = until nothing changes any more.
        formulas: number of the formula of every parameter, shape (P,).
        jump: what happens to the states first; None = nothing.
        times: at which measurements are made, ascending.
        entries: entry of the slopes, row and column of all derivatives of active parameters, shape (3,
        nonzero).
    """

    start: float
    formulas: np.ndarray
    jump: Jump | None
    times: np.ndarray
    entries: np.ndarray


@dataclass(frozen=True, eq=False)
class Template:
    """A simulation.

    Args:
        experiments: names of those that need it.
        stages: in order of time.
        columns: unknowns that it depends on, shape (k,).
        first: position of its first time among those of all simulations.
    """

    experiments: tuple[str, ...]
    stages: tuple[Stage, ...]
    columns: np.ndarray
    first: int


@dataclass(frozen=True, eq=False)
class Plan:
    """All that does not depend on the values of the unknowns.

    Args:
        flat: the model.
        mapping: from the unknowns to all numbers.
        templates: simulations.
        slots: formulas of the parameters per phase of every experiment, shape (slot, P).
        slot: phase of every measurement, shape (row,).
        template: simulation of every measurement, shape (row,).
        point: its time among those of all simulations, shape (row,).
        overrides: formulas of the placeholders of every measurement.
        points: how many times there are in all simulations.
    """

    flat: Flat
    mapping: Mapping
    templates: tuple[Template, ...]
    slots: np.ndarray
    slot: np.ndarray
    template: np.ndarray
    point: np.ndarray
    overrides: tuple[tuple[int, ...], ...]
    points: int


class _Pool:
    """Formulas by number, each once."""

    def __init__(self) -> None:
        self.formulas: list[Expression] = []
        self._places: dict[int, int] = {}

    def __call__(self, e: Expression) -> int:
        place = self._places.setdefault(id(e), len(self.formulas))
        if place == len(self.formulas):
            self.formulas.append(e)
        return place


def plan(problem: PetabProblem) -> Plan:
    """Prepare the simulations of a problem.

    Raises:
        FormatError: a measurement has no phase, or a name no value.
    """
    return _Planner(problem).plan()


def phases_of(problem: PetabProblem, experiment: str) -> tuple[Phase, ...]:
    """Phases of an experiment; one that only equilibrates goes on at time 0, as does a model without any."""
    phases = problem.experiments.get(experiment, ())
    if not phases:
        return (Phase(0.0),)
    return (*phases, Phase(0.0)) if phases[-1].time == -math.inf else phases


class _Planner:
    """Steps from a problem to a plan."""

    def __init__(self, problem: PetabProblem) -> None:
        self.problem = problem
        self.equations = with_states(problem)
        self.vary = varying(problem.equations) | set(self.equations.rates)
        used = dict.fromkeys(m.experiment for m in problem.measurements)
        self.phases = {name: phases_of(problem, name) for name in used}
        self.values = {name: self._values(phases) for name, phases in self.phases.items()}
        self.flat = self._flat()
        self.pool = _Pool()
        self.jumps: dict[tuple, Jump | None] = {}

    def _values(self, phases: Sequence[Phase]) -> list[Values]:
        values: list[Values] = [Starts(self.problem, phases[0])]
        for phase in phases[1:]:
            values.append(Later(self.equations, values[-1], phase, self.vary))
        return values

    def _flat(self) -> Flat:
        """Model in which all that tables set is a parameter, and what depends on unknowns has derivatives."""
        known = quantities(self.equations)
        beyond = [name for name in self._tabled() if name not in known] + written_names(self.problem)
        first = (phases[0].changes for phases in self.phases.values())
        self.free = {*self.problem.parameters, *(name for changes in first for name in changes)} & known
        names = roles_of(self.equations, self.free, beyond).parameters
        active = [n for n in names if any(self._depends(every, n) for every in self.values.values())]
        return flatten(self.equations, free=sorted(self.free), active=active, extra=beyond)

    def _depends(self, every: Sequence[Values], name: str) -> bool:
        """Whether a parameter of the flat model depends on unknowns in some phase of an experiment."""
        return any(symbols_of([self._number(every, k, name)]) for k in range(len(every)))

    def _tabled(self) -> list[str]:
        changed = (n for phases in self.phases.values() for phase in phases for n in phase.changes)
        return list(dict.fromkeys((*self.problem.parameters, *changed)))

    def plan(self) -> Plan:
        system = self.flat.system
        names, slots, offsets = system.parameters, [], {}
        for name, every in self.values.items():
            offsets[name] = len(slots)
            slots += [[self.pool(self._number(every, k, n)) for n in names] for k in range(len(every))]
        table = np.array(slots, dtype=np.int64).reshape(len(slots), len(names))
        rows = self.problem.measurements
        phase = np.array([self._phase(m) for m in rows], dtype=np.int64)
        overrides = tuple(
            self._overrides(m, self.values[m.experiment][k]) for m, k in zip(rows, phase, strict=True)
        )
        mapping = Mapping([self.problem.parameters[n] for n in self.problem.estimated], self.pool.formulas)
        slot = np.array([offsets[m.experiment] for m in rows], dtype=np.int64) + phase
        return self._templates(table, offsets, mapping, phase, slot, overrides)

    def _number(self, every: Sequence[Values], k: int, name: str) -> Expression:
        """Formula of a parameter of the flat model in phase k."""
        if name.startswith(AFTER):
            target = name.removeprefix(AFTER)
            following = every[k + 1] if k + 1 < len(every) else None
            return following.value(target) if following and target in following.changes else ZERO
        species = self.equations.species.get(name)
        if species is None or name in self.free or species.start is None:
            return every[k].value(name)
        return every[k].stated(name, species.start_is_amount)

    def _phase(self, row: Measurement) -> int:
        """Phase that a measurement falls into."""
        starts = [phase.time for phase in self.phases[row.experiment]]
        reached = [k for k, start in enumerate(starts) if start <= row.time]
        if not reached or starts[reached[-1]] == -math.inf:
            raise FormatError(
                f"{self.problem.path}: measurement {row.row} of `{row.observable}` is at time {row.time:g}, "
                f"before `{row.experiment}` starts; give the experiment an earlier start"
            )
        return reached[-1]

    def _overrides(self, row: Measurement, values: Values) -> tuple[int, ...]:
        return tuple(self.pool(values.resolve(e)) for e in (*row.overrides, *row.noise_overrides))

    def _templates(
        self,
        table: np.ndarray,
        offsets: dict[str, int],
        mapping: Mapping,
        phase: np.ndarray,
        slot: np.ndarray,
        overrides: tuple[tuple[int, ...], ...],
    ) -> Plan:
        """Group experiments by what the equations see of them, and collect times."""
        jumps = {name: self._jumps(phases) for name, phases in self.phases.items()}
        used = _used(self.flat.system, [j for every in jumps.values() for j in every if j is not None])
        groups: dict[tuple, list[str]] = {}
        for name, phases in self.phases.items():
            seen = table[offsets[name] : offsets[name] + len(phases), used]
            key = (tuple(p.time for p in phases), seen.tobytes(), tuple(map(id, jumps[name])))
            groups.setdefault(key, []).append(name)
        times = self._times(phase)
        templates: list[Template] = []
        for names in groups.values():
            made = self._template(names, table[offsets[names[0]] :], jumps[names[0]], times, mapping, used)
            before = templates[-1].first + _count(templates[-1]) if templates else 0
            templates.append(Template(made.experiments, made.stages, made.columns, before))
        template, point = self._points(templates, phase)
        count = templates[-1].first + _count(templates[-1]) if templates else 0
        return Plan(self.flat, mapping, tuple(templates), table, slot, template, point, overrides, count)

    def _jumps(self, phases: Sequence[Phase]) -> list[Jump | None]:
        """Jumps at the starts of phases; phases that say the same share one."""
        found: list[Jump | None] = [None]
        for phase in phases[1:]:
            stateful = ((n, id(e) if reads(e, self.vary) else 0) for n, e in phase.changes.items())
            key = tuple(sorted(stateful))
            if key not in self.jumps:
                self.jumps[key] = jump(self.flat, phase, self.vary)
            found.append(self.jumps[key])
        return found

    def _times(self, phase: np.ndarray) -> dict[tuple[str, int], set[float]]:
        """Times of measurements by experiment and phase."""
        times: dict[tuple[str, int], set[float]] = {}
        for row, k in zip(self.problem.measurements, phase.tolist(), strict=True):
            times.setdefault((row.experiment, k), set()).add(row.time)
        return times

    def _template(
        self,
        names: list[str],
        slots: np.ndarray,
        jumps: list[Jump | None],
        times: dict[tuple[str, int], set[float]],
        mapping: Mapping,
        used: np.ndarray,
    ) -> Template:
        """Simulation of experiments that the equations cannot tell apart."""
        active = self.flat.system.active
        rows = np.flatnonzero(np.isin(active, used))
        found = [_entries(mapping, slots[k, active[rows]], rows) for k in range(len(jumps))]
        columns = np.unique(np.concatenate([entries[2] for entries in found]))
        stages = []
        for k, (start, entries) in enumerate(zip(self.phases[names[0]], found, strict=True)):
            asked = sorted(set().union(*(times.get((name, k), set()) for name in names)))
            entries[2] = np.searchsorted(columns, entries[2])
            stages.append(Stage(start.time, slots[k], jumps[k], np.array(asked, dtype=float), entries))
        return Template(tuple(names), tuple(stages), columns, 0)

    def _points(self, templates: list[Template], phase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Simulation and time of every measurement."""
        home = {name: k for k, made in enumerate(templates) for name in made.experiments}
        rows = self.problem.measurements
        template = np.array([home[row.experiment] for row in rows], dtype=np.int64)
        point = np.empty(len(rows), dtype=np.int64)
        for i, row in enumerate(rows):
            made = templates[template[i]]
            earlier = sum(len(stage.times) for stage in made.stages[: phase[i]])
            point[i] = made.first + earlier + np.searchsorted(made.stages[phase[i]].times, row.time)
        return template, point


def _count(template: Template) -> int:
    return sum(len(stage.times) for stage in template.stages)


def _entries(mapping: Mapping, formulas: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Entries of slopes, active parameters and unknowns of derivatives of parameters, (3, nonzero)."""
    first, last = mapping.ends[formulas], mapping.ends[formulas + 1]
    entries = np.concatenate(
        [np.arange(a, b) for a, b in zip(first, last, strict=True)] or [np.zeros(0, int)]
    )
    owners = np.repeat(rows, last - first)
    return np.array([entries, owners, mapping.pattern[1, entries.astype(np.int64)]], dtype=np.int64)


def _used(system: HybridSystem, jumps: Iterable[Jump]) -> np.ndarray:
    """Positions of the parameters that some equation reads."""
    first = 1 + len(system.states)
    read: set[int] = set()
    for program in _programs(system, jumps):
        read |= set(program.code[:, 1:].ravel().tolist()) | set(program.outputs.tolist())
    return np.array([k for k in range(len(system.parameters)) if first + k in read], dtype=np.int64)


def _programs(system: HybridSystem, jumps: Iterable[Jump]) -> Iterable[Program]:
    """All programs of a simulation."""
    sparse: list[Sparse] = [system.start, system.rate, system.linear, system.roots, *(j.reset for j in jumps)]
    for event in system.events:
        sparse += [event.reset] if event.delay is None else [event.reset, event.delay]
        yield event.trigger
        if event.priority is not None:
            yield event.priority
    yield from (part.program for part in sparse)
