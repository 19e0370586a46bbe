"""Complexes between two cells: which species of a cell meet in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import gcd

import pandas as pd

from multiscale.errors import GraphError
from multiscale.graph.graph import Graph

__all__ = ["compositions", "pair_complexes", "pair_units"]

Composition = tuple[tuple[str, int], ...]


def pair_complexes(graph: Graph) -> list[str]:
    """Names of the complexes whose subunits come from a sender and a receiver."""
    edges = graph.edges["subunit"]
    between = set(edges.loc[edges["side"] != "", "target"])
    return [name for name in graph.complexes if name in between]


def compositions(graph: Graph) -> dict[tuple[str, str], dict[str, int]]:
    """Subunits per complex and side ('' within a cell)."""
    parts: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for source, target, number, side in _subunits(graph):
        part = parts[target, side]
        part[source] = part.get(source, 0) + number
    return dict(parts)


def pair_units(graph: Graph) -> pd.DataFrame:
    """Species of a cell that meet in every pair complex.

    On each side the subunits are a whole multiple of the formula of exactly one species of a cell, its unit;
    where several species fit, the one with the smallest multiple.

    Args:
        graph: a checked graph.

    Returns:
        Columns `complex`, `side` (sender, receiver), `unit` (a molecule or a complex within a cell), `count`.

    Raises:
        GraphError: a side matches no species, or two equally well.

    >>> edges = {"subunit": pd.DataFrame(
    ...     {"source": ["L", "R"], "target": "LR", "stoichiometry": [3, 1], "side": ["sender", "receiver"]})}
    >>> nodes = {"molecule": pd.DataFrame(index=["L", "R"]), "complex": pd.DataFrame(index=["LR"])}
    >>> pair_units(Graph.from_tables("pair", nodes, edges))["count"].tolist()
    [3, 1]
    """
    rows, problems = matched_units(graph)
    if problems:
        raise GraphError(problems, graph.name)
    return pd.DataFrame(rows, columns=pd.Index(["complex", "side", "unit", "count"]))


def matched_units(graph: Graph) -> tuple[list[tuple[str, str, str, int]], list[str]]:
    """Rows of `pair_units`, and a sentence for every side that has no unit."""
    parts = compositions(graph)
    within = {target: part for (target, side), part in parts.items() if side == ""}
    species = _by_shape({name: {name: 1} for name in graph.molecules} | within)
    rows: list[tuple[str, str, str, int]] = []
    problems: list[str] = []
    for name in pair_complexes(graph):
        for side in ("sender", "receiver"):
            part = parts.get((name, side))
            if part is None:
                problems.append(f"edges.tsv: pair complex `{name}` has no subunit on side `{side}`; add one.")
                continue
            units, count = _smallest_multiple(part, species)
            if len(units) == 1:
                rows.append((name, side, units[0], count))
            else:
                problems.append(_no_unit(name, side, part, units))
    return rows, problems


def _smallest_multiple(
    part: Mapping[str, int], species: dict[Composition, list[tuple[int, str]]]
) -> tuple[list[str], int]:
    """Species of which a composition is the smallest whole multiple, and that multiple."""
    shape, size = _shape(part)
    fitting = [(size // unit, name) for unit, name in species.get(shape, []) if size % unit == 0]
    count = min((k for k, _ in fitting), default=0)
    return [name for k, name in fitting if k == count], count


def _no_unit(name: str, side: str, part: Mapping[str, int], units: list[str]) -> str:
    content = " + ".join(f"{n} {m}" if n > 1 else m for m, n in part.items())
    if units:
        listed = ", ".join(f"`{unit}`" for unit in units)
        return (
            f"edges.tsv: side `{side}` of pair complex `{name}` ({content}) fits {listed} equally well;"
            " keep one of these species."
        )
    return (
        f"edges.tsv: side `{side}` of pair complex `{name}` ({content}) is not a whole multiple of a molecule"
        " or complex within a cell; add that complex or correct the subunits."
    )


def _by_shape(species: Mapping[str, Mapping[str, int]]) -> dict[Composition, list[tuple[int, str]]]:
    """Species by composition divided by its greatest common divisor, with that divisor."""
    shapes: dict[Composition, list[tuple[int, str]]] = defaultdict(list)
    for name, part in species.items():
        shape, size = _shape(part)
        shapes[shape].append((size, name))
    return shapes


def _shape(part: Mapping[str, int]) -> tuple[Composition, int]:
    size = gcd(*part.values())
    return tuple(sorted((molecule, number // size) for molecule, number in part.items())), size


def _subunits(graph: Graph) -> list[tuple[str, str, int, str]]:
    edges = graph.edges["subunit"]
    columns = (edges[name].tolist() for name in ("source", "target", "stoichiometry", "side"))
    return list(zip(*columns, strict=True))
