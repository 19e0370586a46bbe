"""A graph and its measurements as a parameter estimation problem, with the meaning that fits give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from multiscale.assays import Concentration
from multiscale.data import Data
from multiscale.equations.expression import symbol, symbols_of
from multiscale.equations.model import Equations
from multiscale.errors import FormatError
from multiscale.formats.petab.graph_conditions import GraphConditions
from multiscale.formats.petab.graph_parameters import graph_parameters
from multiscale.formats.petab.graph_readings import GraphReading
from multiscale.formats.petab.model import names_of, renamed
from multiscale.formats.petab.problem import Measurement, Observable, PetabParameter, PetabProblem, Phase
from multiscale.formats.petab.write_tables import identifier, new_identifiers
from multiscale.formats.sbml.elements import sbml_identifiers
from multiscale.graph import Graph
from multiscale.model import Problem
from multiscale.model.blocks import parameter_table
from multiscale.model.kinetics.dynamics import Dynamics
from multiscale.model.kinetics.equations import graph_equations
from multiscale.model.kinetics.own_constants import catalysed, own_constants
from multiscale.model.terms import TableTerm

__all__ = ["petab_from_graph"]

Names = dict[str, str]


def petab_from_graph(
    graph: Graph,
    data: Data,
    *,
    regime: str = "time_course",
    values: Mapping[str, float] | None = None,
    temperature: float = 310.15,
) -> PetabProblem:
    """State as a PEtab problem what a fit of a graph to concentrations asks.

    Contexts become experiments, interventions changes of conditions, `preequilibrate` the steady state
    before an experiment, concentrations measurements with their scales and noise as parameters. The
    likelihood is that of the fit, but for log-normal noise: PEtab's density is that of the value, the fit's
    that of its logarithm, so that PEtab's ln likelihood is lower by Σ ln value.

    Args:
        graph: with reactions, none of them at rapid equilibrium.
        data: tables of concentrations in groups or cells.
        regime: `time_course`, or `steady_state`: all are measured when nothing changes any more.
        values: by parameter, on the linear scale, in place of nominal values; those that a fit found.
        temperature: K.

    Raises:
        GraphError: the graph lacks rate constants, or has reactions at rapid equilibrium.
        DataError: graph and data do not fit, see `Problem`.
        FormatError: something that PEtab has no words for, by name.
    """
    if regime == "equilibrium":
        raise FormatError('`regime` = "equilibrium" has no equations of motion; use "steady_state".')
    problem = Problem(graph, data, regime=regime, temperature=temperature)
    dynamics = _dynamics(problem)
    table = parameter_table(problem, torch.device("cpu"))
    parameters = graph_parameters(problem, table, values or {})
    equations, names, targets = _model(problem, dynamics, parameters)
    _refuse_doubles(equations, parameters, names)
    contexts = [str(name) for name in problem.contexts.index]
    labels = new_identifiers(contexts, [])
    species = [symbol(names[name]) for name in dynamics.kinetics.species]
    taken = [*names_of(equations), *parameters]
    observables: dict[str, Observable] = {}
    measurements: list[Measurement] = []
    for term in problem.tables:
        reading = GraphReading(term, table, species, [*taken, *observables])
        observables |= reading.observables
        measurements += reading.measurements(labels, _times(problem, term))
    conditions = GraphConditions(dynamics, equations, names, targets, parameters, contexts)
    measured = {measurement.experiment for measurement in measurements}
    experiments = {name: conditions.phases(i) for i, name in enumerate(labels) if name in measured}
    used = _used(equations, observables, measurements, experiments)
    return PetabProblem(
        path=Path(),
        version=2,
        name=identifier(graph.name),
        equations=equations,
        parameters={name: parameter for name, parameter in parameters.items() if name in used},
        experiments=experiments,
        observables=observables,
        measurements=tuple(replace(m, row=i) for i, m in enumerate(measurements)),
    )


def _dynamics(problem: Problem) -> Dynamics:
    """Dynamics of a problem; what cannot be said in PEtab is refused."""
    if problem.counts or problem.supplied or problem.reads_levels:
        raise FormatError("counts of transcripts have no noise model in PEtab; leave them out.")
    for term in problem.tables:
        if not isinstance(term.table.assay, Concentration):
            kind = type(term.table.assay).__name__
            raise FormatError(f"`{term.name}`: only concentrations become PEtab measurements; got {kind}.")
        limits = term.entries["entry"][term.entries["censoring"] != 0].tolist()
        if limits:
            raise FormatError(
                f"`{term.name}`: {len(limits)} values are detection limits, the first is entry {limits[0]};"
                " PEtab has no word for these, leave them out."
            )
    assert problem.dynamics is not None  # the regime is a kinetic one
    return problem.dynamics


def _model(
    problem: Problem, dynamics: Dynamics, parameters: Mapping[str, PetabParameter]
) -> tuple[Equations, Names, Names]:
    """Equations whose names are identifiers, these by name in the graph, and what contexts set by parameter.

    A parameter that contexts set stays in the parameter table; the model reads a quantity of its own that
    every context sets, to this parameter or to something else.
    """
    graph, conditions = problem.graph, dynamics.conditions
    done = problem.data.contexts.interventions.table
    rates = done.loc[done["kind"].isin(["inhibit", "activate"]), "target"]
    own = {name for target in rates for name in catalysed(graph, str(target))}
    altered = own_constants(graph, own)[0] if own else graph
    nominal = {name: p.nominal for name, p in parameters.items() if name in altered.parameters.index}
    equations = graph_equations(altered, nominal, problem.temperature)
    names = sbml_identifiers(equations)
    set_by_contexts = [planned.target for planned in conditions.constants]
    shared = [name for name in dict.fromkeys(set_by_contexts) if name not in conditions.aliases]
    taken = [*names.values(), *parameters]
    here = dict(zip(shared, new_identifiers([f"{name}_here" for name in shared], taken), strict=True))
    targets = {name: here.get(name, names.get(name, name)) for name in set_by_contexts}
    names |= here
    return renamed(equations, names), names, targets


def _refuse_doubles(equations: Equations, parameters: Iterable[str], names: Names) -> None:
    """Parameters of the tables and other quantities of the model must not share names."""
    others = names_of(equations) - set(equations.parameters)
    for name in parameters:
        if name in others or f"{name}_parameter" in names:
            raise FormatError(f"parameter `{name}` is called like another quantity of the graph; rename one.")


def _times(problem: Problem, term: TableTerm) -> np.ndarray:
    """Time of every entry, s; infinite at steady state."""
    if problem.regime == "steady_state":
        return np.full(len(term.entries), np.inf)
    return problem.schedule.times[term.context, problem.schedule.positions(term)]


def _used(
    equations: Equations,
    observables: Mapping[str, Observable],
    measurements: Iterable[Measurement],
    experiments: Mapping[str, tuple[Phase, ...]],
) -> set[str]:
    """Names that the model has or that formulas of tables read."""
    formulas = [e for o in observables.values() for e in (o.formula, o.noise)]
    formulas += [e for m in measurements for e in (*m.overrides, *m.noise_overrides)]
    formulas += [e for phases in experiments.values() for phase in phases for e in phase.changes.values()]
    return names_of(equations) | symbols_of(formulas)
