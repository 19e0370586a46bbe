"""Matrices of a graph: subunits per complex, energy terms per species, stoichiometry of reactions, cycles."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multiscale.errors import GraphError
from multiscale.graph.graph import Graph
from multiscale.graph.nullspace import Sparse, null_space
from multiscale.graph.schema import ENERGY_ROLES

__all__ = [
    "cycle_basis",
    "cycles",
    "energy_matrix",
    "energy_terms",
    "formula",
    "integer_matrix",
    "reaction_changes",
    "refuse_conditional_energies",
    "stoichiometric_matrix",
]

_TERM = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\*\s*([^\s;]+)\s*)?", re.ASCII)


def formula(graph: Graph) -> NDArray[np.int64]:
    """Subunits of every complex, both sides of a pair together.

    Args:
        graph: a checked graph.

    Returns:
        A, number of molecules m in complex j, shape (molecule, complex), in the order of `graph.molecules`
        and `graph.complexes`.

    Raises:
        GraphError: a subunit edge ends in no molecule or complex.

    Source: definition.

    >>> edge = pd.DataFrame({"source": ["A"], "target": ["AA"], "stoichiometry": [2]})
    >>> nodes = {"molecule": pd.DataFrame(index=["A"]), "complex": pd.DataFrame(index=["AA"])}
    >>> formula(Graph.from_tables("dimer", nodes, {"subunit": edge})).tolist()
    [[2]]
    """
    edges = graph.edges["subunit"]
    matrix = np.zeros((len(graph.molecules), len(graph.complexes)), dtype=np.int64)
    rows = graph.nodes["molecule"].index.get_indexer(pd.Index(edges["source"]))
    columns = graph.nodes["complex"].index.get_indexer(pd.Index(edges["target"]))
    if (rows < 0).any() or (columns < 0).any():
        raise GraphError("a subunit edge ends in no molecule or complex; `check` names it.", graph.name)
    np.add.at(matrix, (rows, columns), edges["stoichiometry"].to_numpy())
    return matrix


def energy_terms(text: str) -> dict[str, float]:
    """Read how often each energy term occurs: `term`, or `term*number`, separated by `;`.

    Raises:
        ValueError: the text does not have this form.

    >>> energy_terms("contact*2;fold")
    {'contact': 2.0, 'fold': 1.0}
    """
    counts: dict[str, float] = defaultdict(float)
    for part in text.split(";") if text.strip() else []:
        match = _TERM.fullmatch(part)
        if match is None:
            raise ValueError(f"`{part}` is not `term` or `term*number`")
        count = float(match[2] or 1)
        if not np.isfinite(count) or count == 0:
            raise ValueError(f"`{part}` has no finite number other than zero")
        counts[match[1]] += count
    return dict(counts)


def energy_matrix(graph: Graph) -> tuple[NDArray[np.float64], list[str]]:
    """How often each energy term occurs in each species: g = E θ.

    Args:
        graph: a checked graph.

    Returns:
        E of shape (species, term), species in the order of `graph.species`, free molecules with zero rows;
        and the names of the terms that occur, in the order of the parameters.

    Source: definition.
    """
    texts = graph.nodes["complex"]["energy"]
    counts = [energy_terms(text) for text in texts]
    used = {term for count in counts for term in count}
    terms = [term for term in graph.parameters.index if term in used]
    column = {term: i for i, term in enumerate(terms)}
    matrix = np.zeros((len(graph.species), len(terms)))
    for row, count in enumerate(counts, start=len(graph.molecules)):
        for term, number in count.items():
            matrix[row, column[term]] = number
    return matrix, terms


def refuse_conditional_energies(graph: Graph) -> None:
    """Refuse energies that depend on temperature or denaturant, where contexts have neither of their own.

    Raises:
        GraphError: a term of a complex has role entropy, heat_capacity or m_value; names complex, term, role.
    """
    _, terms = energy_matrix(graph)
    roles = graph.parameters["role"]
    conditional = [term for term in terms if roles[term] in ENERGY_ROLES[1:]]
    if not conditional:
        return
    term = conditional[0]
    texts = graph.nodes["complex"]["energy"]
    name = next(str(name) for name, text in texts.items() if term in energy_terms(text))
    raise GraphError(
        f"nodes.tsv: complex `{name}`: energy term `{term}` has role {roles[term]}, which acts at the"
        " temperature or denaturant of a single reading; contexts here have neither: leave it out, or fit it"
        " to readings.",
        graph.name,
    )


def reaction_changes(graph: Graph) -> dict[str, dict[str, int]]:
    """Net change of every species in every reaction, by reaction and species; catalysts cancel."""
    changes: dict[str, dict[str, int]] = {name: {} for name in graph.nodes["reaction"].index}
    for relation, reaction, species, sign in (("reactant", 2, 1, -1), ("product", 1, 2, 1)):
        for edge in graph.edges[relation][["source", "target", "stoichiometry"]].itertuples(name=None):
            change = changes[edge[reaction]]
            change[edge[species]] = change.get(edge[species], 0) + sign * int(edge[3])
    return {name: {s: n for s, n in change.items() if n} for name, change in changes.items()}


def stoichiometric_matrix(graph: Graph) -> NDArray[np.int64]:
    """Net change of every species per unit of every reaction: dx/dt = N v(x).

    Args:
        graph: a checked graph.

    Returns:
        N of shape (species, reaction), in the order of `graph.species` and the reaction table.

    Source: definition.
    """
    row = {name: i for i, name in enumerate(graph.species)}
    changes = reaction_changes(graph)
    matrix = np.zeros((len(row), len(changes)), dtype=np.int64)
    for column, change in enumerate(changes.values()):
        for species, number in change.items():
            matrix[row[species], column] = number
    return matrix


def cycles(graph: Graph) -> NDArray[np.int64]:
    """Integer basis of the cycles of reversible reactions: combinations that change nothing.

    Args:
        graph: a checked graph.

    Returns:
        C with N Cᵀ = 0, shape (cycle, reaction), zero for irreversible reactions; a negative entry runs
        backwards.
    """
    changes = reaction_changes(graph)
    order = {name: i for i, name in enumerate(changes)}
    reversible = graph.nodes["reaction"]["reversible"]
    names = [name for name in changes if reversible.at[name]]
    basis = cycle_basis([changes[name] for name in names])
    return integer_matrix([{order[names[i]]: n for i, n in vector.items()} for vector in basis], len(order))


def cycle_basis(changes: Sequence[dict[str, int]]) -> list[Sparse]:
    """Basis of the integer combinations of net changes that cancel; most of each runs forward."""
    rows: dict[str, Sparse] = defaultdict(dict)
    for i, change in enumerate(changes):
        for species, number in change.items():
            rows[species][i] = number
    basis = null_space(rows.values(), len(changes))
    return [{i: n if sum(v.values()) >= 0 else -n for i, n in sorted(v.items())} for v in basis]


def integer_matrix(vectors: list[Sparse], size: int) -> NDArray[np.int64]:
    """Sparse vectors as rows of a matrix, shape (vector, size)."""
    matrix = np.zeros((len(vectors), size), dtype=np.int64)
    for row, vector in enumerate(vectors):
        for column, value in vector.items():
            matrix[row, column] = value
    return matrix
