"""Checks that the tables of an imported model say what its equations say."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from multiscale.equations.formula import formula
from multiscale.equations.model import Equations
from multiscale.graph.equation_view import modifiers_of, participants, start_text
from multiscale.graph.graph import Graph
from multiscale.graph.schema import MODEL_UNITS

__all__ = ["equation_problems"]

_REMEDY = "the equations say how the model runs: change them and make the graph again, or undo the edit."


def equation_problems(graph: Graph) -> Iterator[str]:
    """Sentences on every contradiction between tables and equations; names and notes are free."""
    if graph.equations is None:
        return
    if graph.card.get("units") != MODEL_UNITS:
        got = graph.card.get("units", "")
        yield f"card.toml: a graph with equations has `units` = `{MODEL_UNITS}`; got `{got}`."
    found = {
        "species": (set(graph.species), set(graph.equations.species)),
        "reaction": (set(graph.nodes["reaction"].index), set(graph.equations.processes)),
    }
    for kind, (tables, equations) in found.items():
        for name in sorted(tables ^ equations):
            where = "the tables" if name in tables else "equations.toml"
            yield f"nodes.tsv: {kind} `{name}` is only in {where}; {_REMEDY}"
    if all(tables == equations for tables, equations in found.values()):
        yield from _edges(graph, graph.equations)
        yield from _formulas(graph, graph.equations)
        yield from _starts(graph, graph.equations)
    yield from _values(graph, graph.equations)


def _edges(graph: Graph, equations: Equations) -> Iterator[str]:
    """Edges around reactions are those of the equations."""
    wanted: set[tuple[str, ...]] = set()
    for name, process in equations.processes.items():
        sides = participants(process)
        wanted |= {("reactant", s, name, str(n)) for s, n in sides["reactant"].items()}
        wanted |= {("product", name, s, str(n)) for s, n in sides["product"].items()}
        wanted |= {("modifier", s, name) for s in modifiers_of(equations, process)}
    stated = {("modifier", *row) for row in _rows(graph.edges["modifier"], ["source", "target"])}
    for relation in ("reactant", "product"):
        columns = ["source", "target", "stoichiometry"]
        stated |= {(relation, *row) for row in _rows(graph.edges[relation], columns)}
    for relation, source, target, *number in sorted(stated ^ wanted):
        where = "the tables" if (relation, source, target, *number) in stated else "equations.toml"
        times = f" ({number[0]})" if number else ""
        yield f"edges.tsv: `{source}` {relation} `{target}`{times} is only in {where}; {_REMEDY}"


def _rows(table: pd.DataFrame, columns: list[str]) -> list[tuple[str, ...]]:
    return list(zip(*(table[column].map(str) for column in columns), strict=True))


def _formulas(graph: Graph, equations: Equations) -> Iterator[str]:
    """The column `formula` is that of the equations."""
    for name, text in graph.nodes["reaction"]["formula"].items():
        flux = equations.processes[str(name)].flux
        if text != ("" if flux is None else formula(flux)):
            yield f"nodes.tsv: reaction `{name}`: `formula` = `{text}` differs from equations.toml; {_REMEDY}"


def _starts(graph: Graph, equations: Equations) -> Iterator[str]:
    for kind in ("molecule", "complex"):
        for name, text in graph.nodes[kind]["initial"].items():
            wanted = start_text(equations, str(name))
            if text != wanted:
                where = f"nodes.tsv: `{name}`: `initial` = `{text}`"
                yield f"{where}, but `{wanted}` in equations.toml; {_REMEDY}"


def _values(graph: Graph, equations: Equations) -> Iterator[str]:
    for name, value in graph.parameters["nominalValue"].items():
        if name in equations.parameters:
            wanted = None if name in equations.starts else equations.parameters[str(name)].value
            if wanted != value and not (wanted is None and math.isnan(value)):
                yield f"parameters.tsv: `{name}` is {value:g}, but {wanted} in equations.toml; {_REMEDY}"
