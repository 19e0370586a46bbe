"""A graph simulated with its nominal values: time courses, steady states, doses, scans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.equations.model import Equations
from multiscale.errors import DataError, nearest
from multiscale.graph import Graph
from multiscale.model.imported_course import imported_course
from multiscale.model.kinetics.settings import Values, read_settings
from multiscale.model.kinetics.system import TEMPERATURE, Kinetics
from multiscale.solver import Status
from multiscale.solver.events import Timed
from multiscale.solver.steady import steady_state
from multiscale.solver.time_course import time_course

__all__ = ["Trajectory", "simulate"]

Regime = Literal["time_course", "steady_state"]
Dose = tuple[str, float, float]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What a simulation of one or several contexts found.

    Args:
        times: s, shape (time,); one infinite time for steady states.
        species: names, in the order of the last axis of `x`.
        x: concentrations, µM, shape (context, time, species); NaN where a context was not solved.
        contexts: one row per context, one column per quantity that was varied (`NAME at start` for a
            concentration).
        status: how the simulation of each context ended.
        eigenvalue: of steady states, the largest real part of the Jacobian, 1/s (negative = stable), shape
            (context,); NaN of imported models; None for time courses.
    """

    times: Tensor
    species: list[str]
    x: Tensor
    contexts: pd.DataFrame
    status: list[Status]
    eigenvalue: Tensor | None
    _reactions: list[str]
    _fluxes: Callable[[], Tensor]

    @property
    def solved(self) -> bool:
        """Whether all contexts were solved."""
        return all(status.solved for status in self.status)

    def frame(self, long: bool = False) -> pd.DataFrame:
        """Concentrations as a table.

        Args:
            long: one row per context, time and species, with columns `species` and `concentration`; else one
                column per species.

        Returns:
            Columns: what varies between contexts, `time` (s; not for steady states), then concentrations, µM.
        """
        return self._table(self.x, self.species, "species", "concentration", long)

    def fluxes(self, long: bool = False) -> pd.DataFrame:
        """Net flux of every reaction, µM/s in the volume of its compartment, as a table like `frame`.

        Reactions at rapid equilibrium have none. Those of an imported model are in its amount per time.
        """
        return self._table(self._fluxes(), self._reactions, "reaction", "flux", long)

    def _table(self, values: Tensor, names: list[str], noun: str, quantity: str, long: bool) -> pd.DataFrame:
        count, times = values.shape[:2]
        table = self.contexts.loc[self.contexts.index.repeat(times)].reset_index(drop=True)
        if self.eigenvalue is None:
            table["time"] = np.tile(self.times.numpy(), count)
        keys = list(table.columns)
        numbers = pd.DataFrame(values.detach().flatten(0, 1).numpy(), columns=pd.Index(names))
        table = pd.concat([table, numbers], axis=1)
        return table.melt(keys, names, noun, quantity) if long else table


def simulate(
    graph: Graph,
    times: Values | None = None,
    *,
    set: Mapping[str, Values] | None = None,
    initial: Mapping[str, Values] | None = None,
    regime: Regime = "time_course",
    doses: Sequence[Dose] = (),
    clamps: Sequence[Dose] = (),
    temperature: float = TEMPERATURE,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    max_steps: int = 100_000,
) -> Trajectory:
    """Simulate a graph with the nominal values of its parameters.

    A graph with equations of its own (an imported model) is simulated by these, in its own units of time,
    amount and volume; `set` then takes any number of the model, and `temperature` is of no use.

    Args:
        graph: with reactions whose rate constants are named, or with equations.
        times: s, ascending, not before 0; the start is at 0. Not for steady states.

    Other args:
        set: value by parameterId (in its unit), or by species (µM): the concentration at time 0, which
            a constant input keeps. Several values are a scan: one context each; all scans have the same
            length and vary together.
        initial: as `set`, for species only, where a parameter has the same name.
        regime: `time_course`, or `steady_state`: where the start leads to.
        doses: (species, µM, time in s): so much is added.
        clamps: (constant species, µM, time in s): it is set to that from then on.
        temperature: at which energies become rate constants, K.
        rtol: relative tolerance of a step, or of a steady state.
        atol: absolute tolerance, µM.
        max_steps: most steps per context.

    Raises:
        GraphError: the graph is inconsistent or lacks reactions or rate constants.
        DataError: a name is unknown, a value is missing or wrong, or times are.

    A first-order decay of 1/s leaves exp(−1) after a second:

    >>> graph = Graph.from_tables(
    ...     "decay",
    ...     {"molecule": pd.DataFrame({"name": ["A"], "initial": ["1"]}),
    ...      "reaction": pd.DataFrame({"name": ["decay"], "k_f": ["k"], "source_or_sink": [True]})},
    ...     {"reactant": pd.DataFrame({"source": ["A"], "target": ["decay"]})},
    ...     pd.DataFrame({"parameterId": ["k"], "role": "k_off", "unit": "1/s", "nominalValue": [1.0]}),
    ... )
    >>> simulate(graph, [0.0, 1.0]).frame()["A"].round(4).tolist()
    [1.0, 0.3679]
    """
    requested = _times(times, regime, [*doses, *clamps])
    if not (rtol > 0 and atol > 0 and 200 < temperature < 400):
        raise DataError(
            "`rtol`, `atol` (µM) must be positive and `temperature` between 200 and 400 K; got"
            f" {rtol:g}, {atol:g}, {temperature:g}."
        )
    if graph.equations is not None:
        if doses or clamps:
            raise DataError(
                "an imported model has its own events and takes no `doses` or `clamps`; leave them out."
            )
        values = {**(set or {}), **(initial or {})}
        steady = regime == "steady_state"
        return _imported(graph.equations, requested, values, steady, (rtol, atol, max_steps))
    kinetics = Kinetics.from_graph(graph)
    _check_doses("dose", kinetics.species, doses)
    _check_doses("clamp", kinetics.inputs, clamps)
    settings = read_settings(graph, kinetics, set or {}, initial or {})
    p = kinetics.values(settings.parameters, temperature=temperature).expand(len(settings.contexts), -1)
    x0 = settings.start(kinetics)
    if regime == "steady_state":
        L, tight = kinetics.state_moieties, min(rtol, 1e-10)
        rest = steady_state(kinetics.system, kinetics.state(x0), p, moieties=L, rtol=tight)
        found = (rest.status <= Status.ROUNDING) | (rest.status == Status.UNSTABLE)
        x = torch.where(found[:, None, None], kinetics.concentrations(rest.x, p)[:, None], torch.nan)
        status, eigenvalue = rest.status, rest.eigenvalue
    else:
        switches = [(*dose, True) for dose in doses] + [(*clamp, False) for clamp in clamps]
        x, status = _integrate(kinetics, x0, p, requested, switches, (rtol, atol, max_steps))
        eigenvalue = None
    ended = [Status(int(number)) for number in status]
    at = torch.where(requested.isfinite(), requested, 0.0)
    return Trajectory(
        requested,
        kinetics.species,
        x,
        settings.contexts,
        ended,
        eigenvalue,
        kinetics.names,
        lambda: kinetics.fluxes(at, x, p[:, None]),
    )


def _imported(
    equations: Equations,
    times: Tensor,
    values: Mapping[str, Values],
    steady: bool,
    options: tuple[float, float, int],
) -> Trajectory:
    """Simulate an imported model by its own equations."""
    rtol, atol, max_steps = options
    numbers = {name: _several(name, value) for name, value in values.items()}
    course = imported_course(equations, times.numpy(), numbers, rtol=rtol, atol=atol, max_steps=max_steps)
    x, names = torch.from_numpy(course.x), list(equations.processes)
    return Trajectory(
        times,
        list(equations.species),
        x,
        course.contexts,
        course.status,
        torch.full((len(x),), torch.nan, dtype=torch.float64) if steady else None,
        names,
        lambda: torch.from_numpy(course.quantities(names)),
    )


def _several(name: str, value: Values) -> list[float]:
    """One number or several."""
    numbers = np.asarray(value, dtype=np.float64).reshape(-1)
    if not len(numbers) or not np.isfinite(numbers).all():
        raise DataError(f"`{name}` must be a finite number, or several for a scan; got {value!r}.")
    return numbers.tolist()


def _times(times: Values | None, regime: str, doses: Sequence[object]) -> Tensor:
    """Requested times, checked; infinity for a steady state."""
    if regime not in ("time_course", "steady_state"):
        raise DataError(f"`regime` = `{regime}`; {nearest(regime, ['time_course', 'steady_state'])}")
    if regime == "steady_state":
        if times is not None or doses:
            raise DataError(
                "a steady state has no `times`, `doses` or `clamps`; leave them out, or integrate."
            )
        return torch.tensor([torch.inf], dtype=torch.float64)
    found = torch.as_tensor([] if times is None else times, dtype=torch.float64).flatten()
    if len(found) == 0:
        raise DataError("`times` must hold at least one time, in s.")
    bad = found[~(found.isfinite() & (found >= 0))]
    if len(bad):
        raise DataError(f"`times` must be finite and not negative, in s; got {float(bad[0]):g}.")
    if bool((found.diff() < 0).any()):
        raise DataError("`times` must be ascending; sort them.")
    return found


def _check_doses(kind: str, known: Sequence[str], doses: Sequence[Dose]) -> None:
    what = "reaction touches such a species" if kind == "dose" else "constant species has this name"
    for name, value, time in doses:
        if name not in known:
            raise DataError(f"{kind} of `{name}`: no {what}; {nearest(name, known)}")
        if not (0 <= value < np.inf and 0 <= time < np.inf):
            raise DataError(
                f"{kind} of `{name}` must be finite and not negative, in µM and s; got {value:g} at {time:g}."
            )


def _integrate(
    kinetics: Kinetics,
    x0: Tensor,
    p: Tensor,
    times: Tensor,
    switches: Sequence[tuple[str, float, float, bool]],
    options: tuple[float, float, int],
) -> tuple[Tensor, Tensor]:
    """States at the times, and statuses; the times and amounts of doses and clamps are further constants."""
    numbers = p.new_tensor([number for _, value, time, _ in switches for number in (time, value)])
    system, constants, first = kinetics.extended(p, numbers.expand(len(p), -1))
    events = [_switch(kinetics, name, first + 2 * i, add) for i, (name, _, _, add) in enumerate(switches)]
    rtol, atol, max_steps = options
    course = time_course(
        system, kinetics.state(x0), constants, times, events=events, rtol=rtol, atol=atol, max_steps=max_steps
    )
    x = kinetics.concentrations(course.x, p[:, None])
    reached = course.solved[:, None] | (times <= course.t[:, None])
    return torch.where(reached[..., None], x, torch.nan), course.status


def _switch(kinetics: Kinetics, name: str, column: int, add: bool) -> Timed:
    """At the time in a column of p, add the concentration in the next column, or set an input to it."""
    given = torch.zeros(len(kinetics.species), dtype=torch.float64)
    given[kinetics.species.index(name)] = 1.0
    direction = kinetics.state(given)
    kept = torch.ones_like(direction) if add else 1.0 - direction
    return Timed(
        lambda p: p[:, column], lambda at: at.x * kept + at.p[:, column + 1 : column + 2] * direction
    )
