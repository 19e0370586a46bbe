"""Observables and their noise at every measurement, with derivatives by the unknown parameters.

y(θ) = h(t, x(θ), p(θ), e(θ)) with states x, parameters p and what the measurement puts in place of
placeholders e; dy/dθ = h_x S + h_p p' + h_e e', S = dx/dθ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from multiscale.equations.expression import substitute, symbol
from multiscale.equations.flatten import Flat
from multiscale.equations.hybrid import Sparse
from multiscale.equations.machine import Code, code_of, registers_of, run
from multiscale.fit.petab.mapping import Mapped
from multiscale.fit.petab.plan import Plan
from multiscale.formats.petab.problem import Observable, PetabProblem

__all__ = ["Read", "Readings"]


@dataclass(frozen=True)
class Read:
    """What measurements would be.

    Args:
        y: observables, shape (row,).
        sigma: noise, shape (row,).
        dy, dsigma: their derivatives by the unknowns, shape (row, q); empty without derivatives.
    """

    y: np.ndarray
    sigma: np.ndarray
    dy: np.ndarray
    dsigma: np.ndarray


class _Rows(NamedTuple):
    """Measurements of one observable.

    Args:
        place: among all measurements.
        time: of each.
        point: its time among those of all simulations.
        slot: its phase.
        extra: formulas of its placeholders, (row, placeholder).
        template: its simulation.
    """

    place: np.ndarray
    time: np.ndarray
    point: np.ndarray
    slot: np.ndarray
    extra: np.ndarray
    template: np.ndarray


class _Unknowns(NamedTuple):
    """Where derivatives come from.

    Args:
        slots: formulas of the parameters of every phase, (slot, P).
        active: positions of the parameters with derivatives.
        ends: last entry of the slopes of each formula.
        unknown: unknown that each entry is a derivative by.
        columns: unknowns of the sensitivities of each simulation, (template, q), −1 = none.
    """

    slots: np.ndarray
    active: np.ndarray
    ends: np.ndarray
    unknown: np.ndarray
    columns: np.ndarray


class Readings:
    """Observables of a problem, compiled.

    Args:
        problem: with the observables and measurements.
        plan: its simulations.
    """

    def __init__(self, problem: PetabProblem, plan: Plan) -> None:
        self.rows = len(problem.measurements)
        self.unknowns = len(problem.estimated)
        names = dict.fromkeys(m.observable for m in problem.measurements)
        self._sources = _Unknowns(
            plan.slots,
            np.asarray(plan.flat.system.active, dtype=np.int64),
            plan.mapping.ends,
            np.ascontiguousarray(plan.mapping.pattern[1]),
            _columns(plan),
        )
        self._groups = [
            (_program(plan.flat, problem.observables[name]), _rows(problem, plan, name)) for name in names
        ]

    @property
    def width(self) -> int:
        """Columns of the sensitivities."""
        return self._sources.columns.shape[1]

    def read(self, mapped: Mapped, start: int, x: np.ndarray) -> Read:
        """Evaluate all measurements for one start.

        Args:
            mapped: numbers of all starts.
            start: which one.
            x: states at all points, shape (point, n).
        """
        both = np.full((2, self.rows), np.nan)
        for sparse, rows in self._groups:
            _values(code_of(sparse.program), rows, self._sources.slots, mapped.values[start], x, both)
        nothing = np.zeros((0, 0))
        return Read(both[0], both[1], nothing, nothing)

    def derive(self, mapped: Mapped, start: int, x: np.ndarray, s: np.ndarray) -> Read:
        """Evaluate all measurements and their derivatives for one start.

        Args:
            mapped, start, x: as in `read`.
            s: sensitivities at all points, shape (point, n, q).
        """
        both = np.full((2, self.rows), np.nan)
        slopes = np.zeros((2, self.rows, self.unknowns))
        for sparse, rows in self._groups:
            code, patterns = code_of(sparse.program), _plain(sparse.patterns)
            state = (mapped.values[start], mapped.slopes[start])
            _slopes(code, patterns, rows, self._sources, state, x, s, both, slopes)
        return Read(both[0], both[1], slopes[0], slopes[1])


def _columns(plan: Plan) -> np.ndarray:
    """Unknowns of the sensitivities of each simulation, −1 = none."""
    width = max((len(template.columns) for template in plan.templates), default=0)
    columns = np.full((len(plan.templates), width), -1, dtype=np.int64)
    for row, template in zip(columns, plan.templates, strict=True):
        row[: len(template.columns)] = template.columns
    return columns


def _program(flat: Flat, observable: Observable) -> Sparse:
    """Program of an observable and its noise, which reads placeholders after the parameters."""
    names = (*observable.placeholders, *observable.noise_placeholders)
    own = {name: symbol(f"p:{name}") for name in names}
    roots = substitute([observable.formula, observable.noise], lambda e: own.get(e.name or ""))
    return flat.sparse([flat.inline(root) for root in roots], list(own.values()))


def _rows(problem: PetabProblem, plan: Plan, name: str) -> _Rows:
    place = np.array([i for i, m in enumerate(problem.measurements) if m.observable == name], dtype=np.int64)
    times = np.array([problem.measurements[i].time for i in place], dtype=float)
    observable = problem.observables[name]
    count = len(observable.placeholders) + len(observable.noise_placeholders)
    extra = np.array([plan.overrides[i] for i in place], dtype=np.int64).reshape(len(place), count)
    return _Rows(place, times, plan.point[place], plan.slot[place], extra, plan.template[place])


def _plain(patterns: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.ascontiguousarray(pattern, dtype=np.int64).reshape(2, -1) for pattern in patterns)


@njit(cache=True, nogil=True, error_model="numpy")
def _load(
    registers: np.ndarray, rows: _Rows, i: int, slots: np.ndarray, values: np.ndarray, x: np.ndarray
) -> None:
    """Write the inputs of a measurement into registers: time, states, parameters, placeholders."""
    states, parameters = x.shape[1], slots.shape[1]
    registers[0] = rows.time[i]
    for k in range(states):
        registers[1 + k] = x[rows.point[i], k]
    for k in range(parameters):
        registers[1 + states + k] = values[slots[rows.slot[i], k]]
    for k in range(rows.extra.shape[1]):
        registers[1 + states + parameters + k] = values[rows.extra[i, k]]


@njit(cache=True, nogil=True, error_model="numpy")
def _values(
    code: Code, rows: _Rows, slots: np.ndarray, values: np.ndarray, x: np.ndarray, both: np.ndarray
) -> None:
    registers = registers_of(code)
    for i in range(len(rows.place)):
        _load(registers, rows, i, slots, values, x)
        run(code.code, registers)
        for k in range(2):
            both[k, rows.place[i]] = registers[code.outputs[k]]


@njit(cache=True, nogil=True, error_model="numpy")
def _slopes(
    code: Code,
    patterns: tuple[np.ndarray, ...],
    rows: _Rows,
    sources: _Unknowns,
    state: tuple[np.ndarray, np.ndarray],
    x: np.ndarray,
    s: np.ndarray,
    both: np.ndarray,
    slopes: np.ndarray,
) -> None:
    values, given = state
    by_x, by_p, by_extra = patterns
    registers = registers_of(code)
    columns = sources.columns
    for i in range(len(rows.place)):
        place = rows.place[i]
        _load(registers, rows, i, sources.slots, values, x)
        run(code.code, registers)
        for k in range(2):
            both[k, place] = registers[code.outputs[k]]
        entry = 2
        for k in range(by_x.shape[1]):
            factor, row = registers[code.outputs[entry]], slopes[by_x[0, k], place]
            entry += 1
            for c in range(columns.shape[1]):
                if columns[rows.template[i], c] >= 0:
                    row[columns[rows.template[i], c]] += factor * s[rows.point[i], by_x[1, k], c]
        for k in range(by_p.shape[1]):
            formula = sources.slots[rows.slot[i], sources.active[by_p[1, k]]]
            _add(slopes[by_p[0, k], place], registers[code.outputs[entry]], formula, sources, given)
            entry += 1
        for k in range(by_extra.shape[1]):
            formula = rows.extra[i, by_extra[1, k]]
            _add(slopes[by_extra[0, k], place], registers[code.outputs[entry]], formula, sources, given)
            entry += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _add(row: np.ndarray, factor: Any, formula: Any, sources: _Unknowns, given: np.ndarray) -> None:
    """Add a factor times the derivatives of a formula of the unknowns."""
    for e in range(sources.ends[formula], sources.ends[formula + 1]):
        row[sources.unknown[e]] += factor * given[e]
