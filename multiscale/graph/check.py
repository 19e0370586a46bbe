"""Checks of a graph: one error that lists every problem found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from multiscale.errors import GraphError, nearest
from multiscale.graph.card import card_problems
from multiscale.graph.equation_checks import equation_problems
from multiscale.graph.graph import Graph
from multiscale.graph.parameters import parameter_problems
from multiscale.graph.rate_checks import start_problems
from multiscale.graph.reactions import reaction_problems
from multiscale.graph.schema import NODE_TYPES, PARAMETER_COLUMNS, RELATIONS, Column
from multiscale.graph.structure import complex_problems, edge_problems, name_problems, pair_problems
from multiscale.graph.tables import DTYPES

__all__ = ["check", "problems_of"]


def check(graph: Graph) -> None:
    """Check that a graph is consistent.

    Args:
        graph: any graph, also one whose tables were edited.

    Raises:
        GraphError: lists every problem, one sentence each, with the file, the node or key, the value and the
            remedy: dangling edges, complexes without subunits or energy terms, wrong stoichiometries, names
            used twice, parameters whose value or unit does not fit their role, references to parameters or
            compartments that do not exist, pair complexes whose sides are not species, reactions that make or
            destroy mass without being declared, rate constants that violate detailed balance around a cycle,
            and tables that contradict the equations of an imported model.
    """
    problems = problems_of(graph)
    if problems:
        raise GraphError(problems, graph.name)


def problems_of(graph: Graph) -> list[str]:
    """Everything that is wrong with a graph, one sentence each."""
    malformed = list(_form(graph))
    if malformed:
        return malformed
    local = [
        *_values(graph),
        *name_problems(graph),
        *edge_problems(graph),
        *complex_problems(graph),
        *start_problems(graph),
        *parameter_problems(graph),
        *card_problems(graph),
        *equation_problems(graph),
    ]
    numbers = [
        number
        for table in graph.edges.values()
        if "stoichiometry" in table
        for number in table["stoichiometry"]
    ]
    countable = all(number > 0 for number in numbers)  # what follows divides by stoichiometries
    return [*local, *pair_problems(graph), *reaction_problems(graph)] if countable else local


def _tables(graph: Graph) -> Iterator[tuple[str, str, pd.DataFrame, tuple[Column, ...]]]:
    """File, kind, table and columns of everything in a graph."""
    for kind, node_type in NODE_TYPES.items():
        yield "nodes.tsv", kind, graph.nodes[kind], node_type.columns
    for kind, relation in RELATIONS.items():
        yield "edges.tsv", kind, graph.edges[kind], relation.columns
    yield "parameters.tsv", "parameter", graph.parameters, PARAMETER_COLUMNS


def _form(graph: Graph) -> Iterator[str]:
    """Types, relations, columns and dtypes of tables that were made or edited by hand."""
    for kind in graph.nodes.keys() - NODE_TYPES.keys():
        yield f"nodes.tsv: unknown node type `{kind}`; {nearest(kind, NODE_TYPES)}"
    for kind in graph.edges.keys() - RELATIONS.keys():
        yield f"edges.tsv: unknown relation `{kind}`; {nearest(kind, RELATIONS)}"
    missing = [kind for kind in NODE_TYPES if kind not in graph.nodes]
    missing += [kind for kind in RELATIONS if kind not in graph.edges]
    for kind in missing:
        yield f"table `{kind}` is missing; use `Graph.from_tables`."
    if not missing:
        for file, kind, table, columns in _tables(graph):
            yield from _columns(file, kind, table, columns)


def _columns(file: str, kind: str, table: pd.DataFrame, columns: tuple[Column, ...]) -> Iterator[str]:
    """Columns that should not be there, or are not, and their dtypes."""
    ends = ["source", "target"] if file == "edges.tsv" else []
    wanted = [*ends, *(column.name for column in columns)]
    for name in table.columns:
        if name not in wanted:
            yield f"{file}: unknown attribute `{name}` of `{kind}`; {nearest(str(name), wanted)}"
    for name in wanted:
        if name not in table.columns:
            yield f"{file}: attribute `{name}` of `{kind}` is missing; use `Graph.from_tables`."
    for column in columns:
        if column.name in table.columns:
            yield from _dtype(file, kind, table, column)


def _dtype(file: str, kind: str, table: pd.DataFrame, column: Column) -> Iterator[str]:
    values = pd.Series(table[column.name])
    if column.dtype == "text":
        for i, value in enumerate(values):
            if not isinstance(value, str):
                yield f"{file}: {_row(kind, table, i)}: `{column.name}` must be text; got {value!r}."
        return
    if column.dtype == "integer" and pd.api.types.is_float_dtype(values):
        for i, value in enumerate(values):
            if value != np.rint(value):
                yield f"{file}: {_row(kind, table, i)}: `{column.name}` must be a whole number; got {value}."
    if str(values.dtype) != DTYPES[column.dtype]:
        yield (
            f"{file}: `{column.name}` of `{kind}` must have dtype {DTYPES[column.dtype]}; got {values.dtype};"
            " use `Graph.from_tables`."
        )


def _row(kind: str, table: pd.DataFrame, i: int) -> str:
    """Name of a row for messages."""
    if kind in RELATIONS:
        return f"`{table['source'].iloc[i]}` {kind} `{table['target'].iloc[i]}`"
    return f"`{table.index[i]}`"


def _values(graph: Graph) -> Iterator[str]:
    """Allowed values of every column, ranges of numbers, and text that a file cannot hold."""
    for file, kind, table, columns in _tables(graph):
        for column in columns:
            values = pd.Series(table[column.name])
            for value in values.unique():
                wrong = _wrong(value, column)
                if wrong:
                    rows = np.flatnonzero(((values == value) | (values.isna() & (value != value))).to_numpy())
                    for i in rows.tolist():
                        yield f"{file}: {_row(kind, table, i)}: `{column.name}` {wrong}"


def _wrong(value: object, column: Column) -> str:
    """What is wrong with a value of a column, or ''."""
    if column.choices and value not in column.choices:
        return (
            f"= `{value}` is not allowed; {nearest(str(value), [str(choice) for choice in column.choices])}"
        )
    if isinstance(value, str):
        return "holds a tab or line break; remove it." if any(c in value for c in "\t\n\r") else ""
    number = float(str(value)) if column.dtype in ("number", "integer") else 0.0
    if column.name == "stoichiometry" and number < 1:
        return f"must be a positive whole number; got {value}."
    if column.name == "statistical_factor" and not 0 < number < np.inf:
        return f"must be positive and finite; got {value}."
    if column.name == "weight" and not 0 <= number < np.inf:
        return f"must be zero or positive and finite; got {value}."
    return ""
