"""Checks of reactions: their laws, mass, detailed balance of given rate constants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np

from multiscale.graph.graph import Graph
from multiscale.graph.pairs import compositions
from multiscale.graph.rate_checks import rate_problems
from multiscale.graph.stoichiometry import cycle_basis, reaction_changes

__all__ = ["reaction_problems"]

_ROUNDING = 0.01  # of ln K per reaction: published rate constants carry two or three digits

Change = dict[str, int]


def reaction_problems(graph: Graph) -> Iterator[str]:
    """Sentences on everything wrong with the reactions; needs positive stoichiometries."""
    table = graph.nodes["reaction"]
    involved = {*graph.edges["reactant"]["target"], *graph.edges["product"]["source"]}
    if table.index.has_duplicates or not involved <= set(table.index):  # reported with names and edges
        return
    yield from rate_problems(graph)
    if graph.equations is not None:  # whose reactions may be anything; the equations say what they do
        return
    for name in table.index:
        if name not in involved:
            yield f"nodes.tsv: reaction `{name}` has neither reactants nor products; add edges or remove it."
    yield from _mass(graph)
    yield from _detailed_balance(graph)


def _mass(graph: Graph) -> Iterator[str]:
    """Undeclared reactions keep mass, each for itself and all together."""
    declared = graph.nodes["reaction"]["source_or_sink"]
    changes = {name: c for name, c in _molecule_changes(graph).items() if c and not declared.at[name]}
    open_ended = {name for name, change in changes.items() if len({n > 0 for n in change.values()}) == 1}
    for name in sorted(open_ended):
        verb = "makes" if min(changes[name].values()) > 0 else "destroys"
        content = _sum({molecule: abs(n) for molecule, n in changes[name].items()})
        remedy = "correct its edges or set `source_or_sink` to true in nodes.tsv."
        yield f"edges.tsv: reaction `{name}` {verb} {content}; {remedy}"
    yield from _joint_mass({name: change for name, change in changes.items() if name not in open_ended})


def _molecule_changes(graph: Graph) -> dict[str, Change]:
    """Net change of every molecule, free or bound, in every reaction; zero ones left out."""
    content: dict[str, Change] = {name: {name: 1} for name in graph.molecules}
    for (complex_name, _), part in compositions(graph).items():
        whole = content.setdefault(complex_name, {})
        for molecule, number in part.items():
            whole[molecule] = whole.get(molecule, 0) + number
    totals: dict[str, Change] = {}
    for name, change in reaction_changes(graph).items():
        total: Change = {}
        for species, number in change.items():
            for molecule, subunits in content.get(species, {species: 1}).items():
                total[molecule] = total.get(molecule, 0) + number * subunits
        totals[name] = {molecule: n for molecule, n in total.items() if n}
    return totals


def _joint_mass(changes: Mapping[str, Change]) -> Iterator[str]:
    """Find reactions that together make mass from nothing.

    By Farkas' lemma either positive molecular masses exist that every reaction keeps, or some combination of
    reactions (in either direction) only makes molecules. Source: Gevorgyan et al. 2008, doi
    10.1093/bioinformatics/btn425.
    """
    if all(sum(change.values()) == 0 for change in changes.values()):  # equal masses are such masses
        return
    combination = _production(changes)
    made: dict[str, Fraction] = {}
    for name, factor in combination.items():
        for molecule, number in changes[name].items():
            made[molecule] = made.get(molecule, Fraction(0)) + factor * number
    made = {molecule: number for molecule, number in made.items() if number}
    if made and min(made.values()) > 0:  # exact, whatever the rounding of the linear programme
        yield (
            f"edges.tsv: reactions {_signed_sum(combination)} together make {_sum(made)} from nothing;"
            " correct their stoichiometry or set `source_or_sink` to true for one of them in nodes.tsv."
        )


def _production(changes: Mapping[str, Change]) -> dict[str, Fraction]:
    """Smallest combination of reactions that makes molecules and consumes none, empty where there is none."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, hstack

    row = {molecule: i for i, molecule in enumerate(dict.fromkeys(m for c in changes.values() for m in c))}
    entries = [(float(n), row[m], j) for j, change in enumerate(changes.values()) for m, n in change.items()]
    values, rows, columns = (np.array(part) for part in zip(*entries, strict=True))
    S = csr_array((values, (rows, columns)), shape=(len(row), len(changes)))
    both = hstack([S, -S], format="csr")  # forward and backward shares are non-negative unknowns
    total = np.asarray(both.sum(axis=0)).reshape(1, -1)
    ones, zeros = np.ones(2 * len(changes)), np.zeros(len(row))
    solution = linprog(ones, A_ub=-both, b_ub=zeros, A_eq=total, b_eq=[1.0])
    if solution.status != 0:
        return {}
    factors = solution.x[: len(changes)] - solution.x[len(changes) :]
    scale = np.abs(factors[np.abs(factors) > 1e-9]).min()  # a vertex: small rationals, zeros up to rounding
    exact = [Fraction(float(factor) / scale).limit_denominator(60) for factor in factors]
    return {name: factor for name, factor in zip(changes, exact, strict=True) if factor}


def _detailed_balance(graph: Graph) -> Iterator[str]:
    """Given rate constants cancel around every cycle: Σ_r c_r ln(k_f/k_r)_r = 0 (Wegscheider 1901)."""
    ln_K = _given_ln_K(graph)
    changes = reaction_changes(graph)
    names = [name for name in changes if name in ln_K]
    for cycle in cycle_basis([changes[name] for name in names]):
        steps = {names[i]: Fraction(number) for i, number in cycle.items()}
        excess = math.fsum(float(number) * ln_K[name] for name, number in steps.items())
        if abs(excess) > _ROUNDING * sum(abs(number) for number in cycle.values()):
            equations = "; ".join(f"`{name}`: {_equation(graph, name, n < 0)}" for name, n in steps.items())
            yield (
                f"parameters.tsv: around the cycle {_signed_sum(steps)} the given k_f/k_r multiply to"
                f" {math.exp(excess):.4g} instead of 1 ({equations}); correct one or leave its `k_r` empty."
            )


def _given_ln_K(graph: Graph) -> dict[str, float]:
    """ln(k_f/k_r) of the reversible mass-action reactions for which both are given."""
    value = graph.parameters["nominalValue"].to_dict()
    table = graph.nodes["reaction"][["k_f", "k_r", "reversible", "law"]]
    given = {
        name: (value.get(k_f, math.nan), value.get(k_r, math.nan))
        for name, k_f, k_r, reversible, law in table.itertuples(name=None)
        if reversible and law == "mass_action"
    }
    return {name: math.log(f) - math.log(r) for name, (f, r) in given.items() if f > 0 and r > 0}


def _equation(graph: Graph, name: str, backwards: bool) -> str:
    """A reaction in plain notation, in the direction in which a cycle runs through it."""
    sides = []
    for relation, species, reaction in (("reactant", "source", "target"), ("product", "target", "source")):
        table = graph.edges[relation]
        part = table.loc[table[reaction] == name]
        sides.append(_sum(dict(zip(part[species], part["stoichiometry"], strict=True))))
    return " → ".join(reversed(sides) if backwards else sides)


def _sum(amounts: Mapping[str, int | Fraction]) -> str:
    return " + ".join(f"{n} {name}" if n != 1 else name for name, n in amounts.items()) or "nothing"


def _signed_sum(factors: Mapping[str, Fraction]) -> str:
    parts = [
        f"{'−' if f < 0 else '+'} {f'{abs(f)} ' if abs(f) != 1 else ''}`{name}`"
        for name, f in factors.items()
    ]
    return " ".join(parts).removeprefix("+ ")
