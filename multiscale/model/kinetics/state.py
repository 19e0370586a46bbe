"""States of kinetic regimes: starts of all contexts, one call of a solver, and what tables read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from multiscale.model.kinetics.changes import Slot
from multiscale.model.kinetics.dynamics import Dynamics
from multiscale.model.kinetics.starts import Setting, Settings
from multiscale.model.parameters import ParameterTable
from multiscale.model.problem import Problem
from multiscale.model.state import State
from multiscale.model.supply import Supply
from multiscale.physics.scales import ln_sum
from multiscale.solver import Status
from multiscale.solver.events import Timed
from multiscale.solver.options import Solver
from multiscale.solver.steady import steady_state
from multiscale.solver.system import Point
from multiscale.solver.time_course import time_course
from multiscale.units import MOLECULES_PER_UM_FL

__all__ = ["SteadyStates", "TimeCourses"]

STEADY_RTOL = 1e-10
"""Relative tolerance of steady states."""


class Solved(NamedTuple):
    """What a solver found: x (start, context, time, species), warm (start, context, size), status."""

    x: Tensor
    warm: Tensor
    status: Tensor


class KineticState(ABC):
    """Makes states of a kinetic regime.

    Args:
        problem: the checked problem.
        parameters: its parameters, on the device on which states live.
        solver: options of time courses.
    """

    twice_differentiable: bool

    def __init__(self, problem: Problem, parameters: ParameterTable, solver: Solver) -> None:
        dynamics = problem.dynamics
        assert isinstance(dynamics, Dynamics)
        self._problem, self._device, self._solver = problem, parameters.device, solver
        self._kinetics = dynamics.kinetics.to(self._device)
        self._moieties = self._kinetics.state_moieties
        self._settings = Settings(problem, dynamics, self._kinetics, parameters)
        self._before = torch.as_tensor(dynamics.before, device=self._device)
        self._sources = torch.unique(self._before[self._before >= 0])
        inputs = [name in self._kinetics.inputs for name in self._kinetics.species]
        self._inputs = torch.tensor(inputs, device=self._device)
        self._tables = _Tables(problem, dynamics, self._device)

    def __call__(self, values: dict[str, Tensor], g: Tensor, warm: Tensor | None = None) -> State:
        """Solve all contexts.

        Args:
            values: parameters per block.
            g: energies of all species, kcal/mol, (start, species).
            warm: states at rest of an earlier, similar state.
        """
        setting = self._settings(values, g)
        rest = self._rested(setting, warm)
        base, x0 = self._settings.started(setting, rest.x[:, :, 0])
        found = self._solved(setting, base, x0, warm)
        status = torch.maximum(found.status, rest.status)
        warm = torch.cat([found.warm, rest.warm], 1)
        return self._tables.state(values, g, setting.idle, found._replace(status=status, warm=warm))

    @abstractmethod
    def _solved(self, setting: Setting, base: Tensor, x0: Tensor, warm: Tensor | None) -> Solved:
        """Solve all contexts from their starts.

        Args:
            setting: constants.
            base: start to which clamps return, (start, context, species).
            x0: start.
            warm: of an earlier state.
        """

    def _rested(self, setting: Setting, warm: Tensor | None) -> Solved:
        """Start before interventions: from the rest of another context, where one is named."""
        sources, contexts = self._sources, self._before
        if len(sources) == 0:
            empty = setting.before.new_zeros(len(setting.before), 0, self._kinetics.system.size)
            status = torch.zeros(setting.before.shape[:2], dtype=torch.int64, device=self._device)
            return Solved(setting.before[:, :, None], empty, status)
        x0 = self._settings.started(setting, setting.before)[1][:, sources]
        last = None if warm is None else warm[:, -len(sources) :]
        found = self._at_rest(x0, setting.p[:, sources], last)
        position = torch.searchsorted(sources, contexts.clamp(min=0)).clamp(max=len(sources) - 1)
        carried = torch.where(self._inputs, setting.before, found.x[:, position, 0])
        rested = (contexts >= 0)[:, None]
        status = torch.where(rested[:, 0], found.status[:, position], Status.CONVERGED)
        return Solved(torch.where(rested, carried, setting.before)[:, :, None], found.warm, status)

    def _at_rest(self, x0: Tensor, p: Tensor, warm: Tensor | None) -> Solved:
        """Steady states of contexts, (start, context, 1, species)."""
        kinetics, shape = self._kinetics, x0.shape[:2]
        begin, p = (part.flatten(0, 1) for part in (kinetics.state(x0), p))
        rows = _legal(begin, p)
        near = begin.detach() if warm is None else warm.flatten(0, 1)
        near = torch.where(near.isfinite().all(-1, keepdim=True), near, begin.detach())
        near = near.clamp(min=0)  # rest may stand within −atol; a start may not
        status = torch.full_like(rows, Status.NOT_FINITE, dtype=torch.int64)
        where = rows.nonzero()[:, 0]
        x = torch.zeros(len(p), len(kinetics.species), dtype=p.dtype, device=p.device)
        rest = torch.full_like(begin, torch.nan).detach()
        if len(where):
            found = steady_state(
                kinetics.system,
                near[where],
                p[where],
                moieties=self._moieties,
                totals=begin[where] @ self._moieties.T,
                rtol=STEADY_RTOL,
            )
            status = status.index_copy(0, where, found.status)
            good = found.status <= Status.ROUNDING
            x = x.index_copy(0, where[good], kinetics.concentrations(found.x[good], p[where[good]]))
            rest = rest.index_copy(0, where[good], found.x[good].detach())
        return Solved(x.unflatten(0, shape)[:, :, None], rest.unflatten(0, shape), status.unflatten(0, shape))


class SteadyStates(KineticState):
    """Makes states of regime `steady_state`."""

    twice_differentiable = True

    def _solved(self, setting: Setting, base: Tensor, x0: Tensor, warm: Tensor | None) -> Solved:
        contexts = x0.shape[1]
        return self._at_rest(x0, setting.p, None if warm is None else warm[:, :contexts])


class TimeCourses(KineticState):
    """Makes states of regime `time_course`."""

    twice_differentiable = False

    def __init__(self, problem: Problem, parameters: ParameterTable, solver: Solver) -> None:
        super().__init__(problem, parameters, solver)
        kinetics, device, dynamics = self._kinetics, self._device, problem.dynamics
        assert isinstance(dynamics, Dynamics)
        position = {name: i for i, name in enumerate(kinetics.species)}
        contexts = len(problem.contexts)
        self._slots = [
            Slot(position[event.species], event.add, event.rows, contexts, device)
            for event in dynamics.conditions.events
        ]
        nothing = torch.zeros(1, len(kinetics.constants), dtype=torch.float64, device=device)
        extra = nothing.new_zeros(1, 2 * len(self._slots))
        self._system, _, self._first = kinetics.extended(nothing, extra)
        self._events = [self._event(slot, self._first + 2 * k) for k, slot in enumerate(self._slots)]
        self._times = torch.as_tensor(problem.schedule.times, device=device)

    def _event(self, slot: Slot, column: int) -> Timed:
        """At the time in a column of p, set or increase a species by the next column."""
        given = torch.zeros(len(self._kinetics.species), dtype=torch.float64, device=self._device)
        given[slot.species] = 1.0
        direction = self._kinetics.state(given)
        kept = torch.ones_like(direction) if slot.add else 1.0 - direction

        def reset(at: Point) -> Tensor:
            return at.x * kept + at.p[:, column + 1, None] * direction

        return Timed(lambda p: p[:, column], reset)

    def _solved(self, setting: Setting, base: Tensor, x0: Tensor, warm: Tensor | None) -> Solved:
        shape, kinetics, options = x0.shape[:2], self._kinetics, self._solver
        p = self._constants(setting, base)
        begin, p = kinetics.state(x0).flatten(0, 1), p.flatten(0, 1)
        times = self._times.expand(*shape, -1).flatten(0, 1)
        where = _legal(begin, setting.p.flatten(0, 1)).nonzero()[:, 0]
        status = torch.full((len(p),), int(Status.NOT_FINITE), dtype=torch.int64, device=p.device)
        x = torch.zeros(*times.shape, len(kinetics.species), dtype=p.dtype, device=p.device)
        if len(where):
            course = time_course(
                self._system,
                begin[where],
                p[where],
                times[where],
                events=self._events,
                rtol=options.rtol,
                atol=options.atol,
                max_steps=options.max_steps,
            )
            status = status.index_copy(0, where, course.status)
            good = course.solved
            found = kinetics.concentrations(course.x[good], self._without_events(p[where[good]])[:, None])
            x = x.index_copy(0, where[good], found)
        empty = x.new_zeros(shape[0], 0, kinetics.system.size)
        return Solved(x.unflatten(0, shape), empty, status.unflatten(0, shape))

    def _constants(self, setting: Setting, base: Tensor) -> Tensor:
        """Constants with times and amounts of events, (start, context, constant)."""
        p, extra = setting.p, []
        for slot in self._slots:
            amount = slot.amount(base[..., slot.species], setting.linear)
            extra += [slot.time.expand(amount.shape), amount]
        if not extra:
            return p
        return torch.cat([p[..., : self._first], torch.stack(extra, -1), p[..., self._first :]], -1)

    def _without_events(self, p: Tensor) -> Tensor:
        first, number = self._first, 2 * len(self._slots)
        return torch.cat([p[:, :first], p[:, first + number :]], 1)


class _Tables:
    """From concentrations of the species of a kinetic model to what tables and readings need.

    Args:
        problem: of a kinetic regime.
        dynamics: of the problem.
        device: where states live.
    """

    def __init__(self, problem: Problem, dynamics: Dynamics, device: torch.device) -> None:
        network, species = problem.network, dynamics.kinetics.species
        column = {name: i for i, name in enumerate(species)}
        self._column = torch.tensor([column.get(name, -1) for name in network.species], device=device)
        self._resolution, self._transcripts = problem.resolution, len(network.transcripts)
        self._supply = Supply(problem, column, device) if problem.supplied else None
        volume = torch.as_tensor(problem.volume_fL, device=device)
        self._per_cell = (MOLECULES_PER_UM_FL * volume).log()[:, None]
        self._crowding = torch.as_tensor(network.crowding, device=device)
        counts = np.asarray(network.formula, dtype=float)
        self._counts = torch.as_tensor(counts, device=device)
        self._surface = torch.as_tensor(counts * network.surface, device=device)
        self._visible = self._surface.any(1).nonzero()[:, 0]

    def state(self, values: dict[str, Tensor], g: Tensor, idle: Tensor, found: Solved) -> State:
        """The state of all contexts."""
        last = found.x[:, :, -1]
        known = torch.where(self._column >= 0, last[..., self._column.clamp(min=0)], idle[:, None])
        ln_x = known.clamp(min=self._resolution).log()  # the solver tells no less from zero
        in_cell = ln_x + self._crowding
        ln_surface = torch.full_like(in_cell[..., : len(self._counts)], -torch.inf)
        seen = ln_sum(in_cell, self._surface[self._visible])
        empty = in_cell[..., :0]
        return State(
            values=values,
            g=g,
            ln_level=values.get("level", empty),
            ln_supply=empty if self._supply is None else self._supply.ln_copies(values),
            ln_x=ln_x,
            ln_total=ln_sum(in_cell, self._counts) + self._per_cell,
            ln_surface=ln_surface.index_copy(2, self._visible, seen) + self._per_cell,
            x=found.x,
            warm=found.warm,
            status=found.status,
        )


def _legal(x0: Tensor, p: Tensor) -> Tensor:
    """Systems that a solver may be given; others fail without one."""
    return (x0.isfinite() & (x0 >= 0)).all(-1) & p.isfinite().all(-1)
