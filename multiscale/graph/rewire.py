"""Random graphs with the degrees of a real one: the control for whether a prior network helps."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import gcd
from typing import Literal

import numpy as np
import pandas as pd

from multiscale.errors import GraphError, nearest
from multiscale.graph.graph import Graph
from multiscale.graph.pairs import pair_complexes, pair_units

__all__ = ["rewire"]

log = logging.getLogger("multiscale")

_ATTEMPTS = 20  # proposed swaps per edge; ten successful ones per edge mix a graph well (Milo et al. 2003)

Shape = tuple[tuple[str, int], ...]


def rewire(graph: Graph, seed: int, relation: Literal["subunit", "modifier"] = "subunit") -> Graph:
    """Exchange edges of a graph at random, keeping all degrees.

    `subunit`: two subunit edges swap their molecules: each complex keeps its number of subunits, their
    stoichiometries and its energy terms, each molecule the number of complexes it is in. No complex gets the
    same molecule twice, and none the composition of another one. Complexes between cells keep their units,
    whose content is the rewired one. Complexes that take part in reactions are left alone, because their
    reactions would no longer keep mass.

    `modifier`: two reactions exchange their catalysts (inhibitors, activators): each species acts on as many
    reactions as before, each reaction keeps what it changes and its constants. Constant inputs stay where
    they are. No species acts on a reaction of its own molecules, or twice on the same change.

    Args:
        graph: a checked graph; stays as it is.
        seed: the same seed gives the same graph.
        relation: which edges are exchanged.

    Returns:
        A graph of the same size; the same one, with a warning in the log, where no swap is possible.

    Raises:
        GraphError: another relation.

    Source: double edge swap of a bipartite graph; Maslov and Sneppen 2002, doi 10.1126/science.1065103.
    """
    if relation not in ("subunit", "modifier"):
        hint = nearest(relation, ["subunit", "modifier"])
        raise GraphError(f"`relation` = `{relation}` cannot be rewired; {hint}")
    edges = graph.edges[relation]
    new = _subunits(graph, seed) if relation == "subunit" else _modifiers(graph, seed)
    if new.equals(edges):
        log.warning(
            "graph `%s`: no %ss could be exchanged; the rewired graph is the same one.",
            graph.name,
            relation,
        )
    return replace(graph, edges={**graph.edges, relation: new})


def _subunits(graph: Graph, seed: int) -> pd.DataFrame:
    """Subunit edges with molecules exchanged."""
    units = pair_units(graph)
    edges = graph.edges["subunit"]
    fixed = _fixed(graph)
    movable = [i for i, target in enumerate(edges["target"]) if target not in fixed]
    swaps = _Swaps.of(edges, set(units["unit"]))
    rng = np.random.default_rng(seed)
    done = 0
    if len(movable) > 1:
        for a, b in rng.choice(movable, size=(_ATTEMPTS * len(movable), 2)).tolist():
            done += swaps.swap(a, b)
    return _expand_units(edges.assign(source=swaps.source), units) if done else edges


def _modifiers(graph: Graph, seed: int) -> pd.DataFrame:
    """Modifier edges with catalysts exchanged."""
    edges, rng = graph.edges["modifier"], np.random.default_rng(seed)
    source, role = edges["source"].tolist(), edges["role"].tolist()
    content, ends = _molecules(graph), _ends(graph)
    change = [ends[name] for name in edges["target"]]
    movable = [i for i, name in enumerate(source) if name not in _inputs(graph)]

    def allowed(position: int, species: str) -> bool:
        taken = {(source[i], change[i]) for i in range(len(source)) if i != position}
        own = {molecule for end in change[position] for name in end for molecule in content[name]}
        return not content[species] & own and (species, change[position]) not in taken

    if len(movable) < 2:
        return edges
    for a, b in rng.choice(movable, size=(_ATTEMPTS * len(movable), 2)).tolist():
        other = source[a] != source[b] and role[a] == role[b]
        if other and allowed(a, source[b]) and allowed(b, source[a]):
            source[a], source[b] = source[b], source[a]
    return edges.assign(source=source)


def _inputs(graph: Graph) -> set[str]:
    """Species that reactions do not change because the graph declares them constant."""
    tables = [graph.nodes[kind]["constant"] for kind in ("molecule", "complex")]
    return {str(name) for constant in tables for name in constant.index[constant]}


def _molecules(graph: Graph) -> dict[str, set[str]]:
    """Molecules that every species is made of."""
    content: dict[str, set[str]] = {name: set() for name in graph.complexes}
    content |= {name: {name} for name in graph.molecules}
    for molecule, name in graph.edges["subunit"][["source", "target"]].itertuples(index=False, name=None):
        content[name].add(molecule)
    return content


def _ends(graph: Graph) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """What every reaction consumes and makes."""
    consumed: dict[str, set[str]] = {name: set() for name in graph.nodes["reaction"].index}
    made: dict[str, set[str]] = {name: set() for name in consumed}
    ends = ["source", "target"]
    for species, name in graph.edges["reactant"][ends].itertuples(index=False, name=None):
        consumed[name].add(species)
    for name, species in graph.edges["product"][ends].itertuples(index=False, name=None):
        made[name].add(species)
    return {name: (frozenset(consumed[name]), frozenset(made[name])) for name in consumed}


@dataclass(frozen=True)
class _Swaps:
    """Subunit edges while they are being exchanged.

    Args:
        source: molecule of every edge.
        target: complex of every edge.
        parts: content of every complex.
        taken: compositions, up to a common factor, that no further complex may have.
    """

    source: list[str]
    target: list[str]
    parts: dict[str, dict[str, int]]
    taken: dict[Shape, int]

    @classmethod
    def of(cls, edges: pd.DataFrame, units: set[str]) -> _Swaps:
        source, target = edges["source"].tolist(), edges["target"].tolist()
        parts: dict[str, dict[str, int]] = {}
        for molecule, name, number in zip(source, target, edges["stoichiometry"].tolist(), strict=True):
            parts.setdefault(name, {})[molecule] = number
        taken: dict[Shape, int] = {
            _shape({unit: 1}): 1 for unit in units
        }  # free molecules that meet other cells
        for part in parts.values():
            taken[_shape(part)] = taken.get(_shape(part), 0) + 1
        return cls(source, target, parts, taken)

    def swap(self, a: int, b: int) -> bool:
        """Exchange the molecules of two edges, unless that would repeat an edge or a composition."""
        first, second = self.target[a], self.target[b]
        m, n = self.source[a], self.source[b]
        if first == second or m == n or n in self.parts[first] or m in self.parts[second]:
            return False
        one, two = _exchanged(self.parts[first], m, n), _exchanged(self.parts[second], n, m)
        old = [_shape(self.parts[first]), _shape(self.parts[second])]
        new = [_shape(one), _shape(two)]
        if new[0] == new[1] or any(self.taken.get(shape, 0) > old.count(shape) for shape in new):
            return False
        self.parts[first], self.parts[second] = one, two
        self.source[a], self.source[b] = n, m
        for shape, step in ((old[0], -1), (old[1], -1), (new[0], 1), (new[1], 1)):
            self.taken[shape] = self.taken.get(shape, 0) + step
        return True


def _fixed(graph: Graph) -> set[str]:
    """Complexes whose subunits stay: those between cells and those in reactions."""
    reacting = {*graph.edges["reactant"]["source"], *graph.edges["product"]["target"]}
    return reacting | set(pair_complexes(graph))


def _shape(part: Mapping[str, int]) -> Shape:
    common = gcd(*part.values())
    return tuple(sorted((molecule, number // common) for molecule, number in part.items()))


def _exchanged(part: Mapping[str, int], old: str, new: str) -> dict[str, int]:
    return {(new if molecule == old else molecule): number for molecule, number in part.items()}


def _expand_units(edges: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """Write the subunits of pair complexes anew where their unit is a complex, whose content has changed."""
    inside = edges.loc[edges["side"] == ""]
    content = {str(name): part for name, part in inside.groupby("target")}
    rows = [row for row in units.itertuples(index=False, name=None) if row[2] in content]
    renewed = {(name, side) for name, side, _, _ in rows}
    kept = [key not in renewed for key in zip(edges["target"], edges["side"], strict=True)]
    parts = [
        content[unit].assign(
            target=name,
            side=side,
            stoichiometry=content[unit]["stoichiometry"] * count,
            note="",
            reference="",
        )
        for name, side, unit, count in rows
    ]
    return pd.concat([edges.loc[kept], *parts], ignore_index=True)
