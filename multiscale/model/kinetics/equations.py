"""A graph with its nominal values as equations: what formats write and the compiled solver integrates.

Amounts are in µM·fL (zmol), time is in s. Names are those of the graph; the whole cell is called `cell`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from multiscale.equations.expression import Expression, number, symbol
from multiscale.equations.model import Compartment, Equations, Participant, Process
from multiscale.equations.values import with_values
from multiscale.errors import GraphError
from multiscale.graph import Graph, check, refuse_conditional_energies
from multiscale.graph.rates import Reaction, reactions_of
from multiscale.graph.volumes import flux_compartments, species_compartments, volumes
from multiscale.model.kinetics.binding_equations import binding_equations
from multiscale.model.kinetics.law_formulas import flux_formula, product
from multiscale.model.kinetics.lowering import CELL, UNITS, Lowering, power_unit
from multiscale.model.kinetics.species import refuse_incomplete
from multiscale.model.kinetics.system import TEMPERATURE

__all__ = ["graph_equations"]


def graph_equations(
    graph: Graph,
    values: Mapping[str, float] | None = None,
    temperature: float = TEMPERATURE,
    *,
    initial: Mapping[str, float] | None = None,
    k_on: float | None = None,
) -> Equations:
    """Turn a graph into equations; every rate law becomes a formula.

    Species names stand for concentrations in µM, as everywhere in the library. Constants that follow from
    energies, k_r = k_f/K and K, are quantities with assignments, so that they follow their parameters. A
    graph that has equations of its own gives these.

    A graph without reactions is a binding equilibrium: its complexes are made by reversible mass action
    whose rates are placeholders; see `binding_equations`.

    Args:
        graph: with reactions that name their rate constants, or with complexes that have energies.
        values: parameterId to value, in the unit of the table, in place of the nominal one.
        temperature: K.

    Other args:
        initial: concentrations at time 0 by species, µM, in place of those of the graph.
        k_on: forward rate constant of reactions at rapid equilibrium and of placeholders, in s and µM; None
            refuses the former, and takes `binding_equations.K_ON` for the latter.

    Raises:
        GraphError: the graph is inconsistent or lacks rate constants, or has reactions at rapid equilibrium
            and `k_on` is not given.
        DataError: a parameter has no value, or a name is unknown.

    >>> import pandas as pd
    >>> graph = Graph.from_tables(
    ...     "decay",
    ...     {"molecule": pd.DataFrame({"name": ["A"], "initial": ["1"]}),
    ...      "reaction": pd.DataFrame({"name": ["decay"], "k_f": ["k"], "source_or_sink": [True]})},
    ...     {"reactant": pd.DataFrame({"source": ["A"], "target": ["decay"]})},
    ...     pd.DataFrame({"parameterId": ["k"], "role": "k_off", "unit": "1/s", "nominalValue": [2.0]}),
    ... )
    >>> graph_equations(graph).processes["decay"].flux
    cell * (k * A)
    """
    check(graph)
    if graph.equations is not None:
        return with_values(graph.equations, {**(values or {}), **(initial or {})})
    refuse_conditional_energies(graph)
    if not len(graph.nodes["reaction"]) and len(graph.complexes):
        return binding_equations(graph, values, temperature, initial=initial, k_on=k_on)
    reactions = reactions_of(graph)
    refuse_incomplete(graph, reactions)
    _refuse_fast(graph, reactions, k_on)
    where = flux_compartments(graph, reactions)
    touched = {name for reaction in reactions for name in reaction.species}
    species = {name: c for name, c in species_compartments(graph).items() if name in touched}
    places = _places(graph, {*species.values(), *where.values()}, {*touched, *where})
    taken = [*species, *graph.nodes["reaction"].index, *(name for name, _ in places.values())]
    lowering = Lowering(graph, values or {}, temperature, taken)
    pools = lowering.species({name: places[c][0] for name, c in species.items()}, initial or {})
    processes = {r.name: _process(r, places[where[r.name]][0], lowering, k_on) for r in reactions}
    return lowering.equations(dict(places.values()), pools, processes)


def _places(graph: Graph, used: set[str], taken: set[str]) -> dict[str, tuple[str, Compartment]]:
    """Name and size of every compartment that is used.

    Where the volume of the cell is not known, only ratios of volumes are, and the cell counts as 1 fL;
    compartments that no reaction joins to others may lack even that.
    """
    found = {}
    for place, volume in volumes(graph, used).items():
        name = place or CELL
        while name in taken or (place == "" and name in used):
            name += "_compartment"
        taken = taken | {name}
        found[place] = (name, Compartment(1.0 if math.isnan(volume) else volume, unit=UNITS["volume"]))
    return found


def _process(reaction: Reaction, place: str, lowering: Lowering, k_on: float | None) -> Process:
    """A reaction whose flux is counted in a compartment."""
    if reaction.fast and k_on is not None:
        flux = _placeholder(reaction, lowering, k_on)
    else:
        flux = flux_formula(reaction, lowering.constants(reaction))
    read = [name for names in reaction.modifiers.values() for name in names]
    around = {*reaction.reactants, *reaction.products}
    return Process(
        flux=symbol(place) * flux,
        reactants=tuple(Participant(name, number(n)) for name, n in reaction.reactants.items()),
        products=tuple(Participant(name, number(n)) for name, n in reaction.products.items()),
        modifiers=tuple(name for name in dict.fromkeys(read) if name not in around),
        reversible=reaction.reversible,
    )


def _placeholder(reaction: Reaction, lowering: Lowering, k_on: float) -> Expression:
    """Flux of a reaction at rapid equilibrium with a stated forward rate constant."""
    forward = lowering.placeholder(k_on, sum(reaction.reactants.values()))
    given = {
        name: lowering.parameter(reaction.constants[name])
        for name in ("k_f", "k_r")
        if name in reaction.constants
    }
    if len(given) == 2:
        backward = forward * given["k_r"] / given["k_f"]
    else:
        backward = forward / lowering.equilibrium(reaction.change)
    unit = power_unit("uM", 1 - sum(reaction.products.values()))
    k_off = lowering.derived(f"k_r of {reaction.name}", backward, f"{unit}/s")
    return forward * product(reaction.reactants) - k_off * product(reaction.products)


def _refuse_fast(graph: Graph, reactions: list[Reaction], k_on: float | None) -> None:
    """Reactions at rapid equilibrium have no rate that equations could state."""
    quick = [reaction.name for reaction in reactions if reaction.fast]
    if quick and k_on is None:
        raise GraphError(
            f"reaction `{quick[0]}` is `fast`: it stays at equilibrium and has no rate, which equations need;"
            " give `k_on`, a rate constant (s, µM) large enough that other reactions are slow beside it.",
            graph.name,
        )
