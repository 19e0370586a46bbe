"""Learned values as tables: each in its place in the graph, under a name of its own, of plain dtypes."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from multiscale.errors import FormatError, nearest
from multiscale.graph import Graph

__all__ = ["RESERVED", "Tables", "checked", "tables_of"]

Tables = dict[str, pd.DataFrame]

RESERVED = {
    *("name", "type", "relation", "source", "target", "id", "key"),
    *("interaction", "value", "parent"),  # cytoscape: word of an edge, id for networkx, enclosing node
    *("x", "x_names", "x_mask", "edge_attr", "edge_attr_names", "edge_attr_mask"),  # PyG
    *("edge_index", "num_nodes", "position"),
}
"""Names that some format keeps for itself; refused in all, so that what one format holds, all hold."""


def checked(graph: Graph, values: Mapping[str, pd.DataFrame] | None) -> Tables:
    """Learned values that have a place in a graph, of plain dtypes.

    Nullable numbers and flags with missing values become float with NaN.

    Args:
        graph: the graph.
        values: a table per node type (index: names) or relation (index: rows of its table).

    Raises:
        FormatError: an edge that ends in no node, an unknown table or node, a row or column that occurs
            twice, or a column name that is taken; the message lists the nearest known names.
    """
    _check_ends(graph)
    places = tables_of(graph)
    for name, table in (values or {}).items():
        if name not in places:
            raise FormatError(f"`values`: no node type or relation `{name}`; {nearest(name, places)}")
        _check_rows(name, table, places[name])
        _check_columns(name, table, places[name])
    return {
        name: pd.DataFrame({str(column): _plain_dtype(table[column]) for column in table}, index=table.index)
        for name, table in (values or {}).items()
    }


def tables_of(graph: Graph) -> Tables:
    """Tables of all node types and relations."""
    return {**graph.nodes, **graph.edges}


def _check_ends(graph: Graph) -> None:
    """Refuse edges that end in no node: most formats would make one up."""
    names = {name for table in graph.nodes.values() for name in table.index if name != ""}
    for relation, table in graph.edges.items():
        for end in ("source", "target"):
            odd = [str(name) for name in table[end] if name not in names]
            if odd:
                raise FormatError(
                    f"relation {relation}: {end} `{odd[0]}` is no node of the graph; {nearest(odd[0], names)}"
                )


def _check_rows(name: str, table: pd.DataFrame, place: pd.DataFrame) -> None:
    unknown = [str(item) for item in table.index if item not in place.index]
    if unknown:
        raise FormatError(
            f"`values[{name}]`: no `{unknown[0]}`; {nearest(unknown[0], map(str, place.index))}"
        )
    repeated = table.index[table.index.duplicated()]
    if len(repeated):
        raise FormatError(f"`values[{name}]`: `{repeated[0]}` occurs twice; give one row for each.")


def _check_columns(name: str, table: pd.DataFrame, place: pd.DataFrame) -> None:
    taken = [column for column in table.columns if column in place.columns or str(column) in RESERVED]
    if taken:
        raise FormatError(
            f"`values[{name}]`: the graph has its own attribute `{taken[0]}`; rename the column."
        )
    repeated = table.columns[table.columns.map(str).duplicated()]
    if len(repeated):
        raise FormatError(f"`values[{name}]`: column `{repeated[0]}` occurs twice; rename one of them.")


def _plain_dtype(column: pd.Series) -> pd.Series:
    """A column of numpy's dtype: numbers and flags as such, as float where some are missing.

    Concerns pandas' nullable dtypes and objects; other columns stay as they are.
    """
    known = column.dropna().infer_objects()
    nullable = pd.api.types.is_extension_array_dtype(known.dtype) or column.dtype == object
    if not nullable or not len(known) or not pd.api.types.is_numeric_dtype(known.dtype):
        return column
    dtype = getattr(known.dtype, "numpy_dtype", known.dtype)
    return column.astype(dtype) if len(known) == len(column) else column.astype("Float64").astype(float)
