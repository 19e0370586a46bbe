"""Graphs as PyG `HeteroData` and networkx `MultiDiGraph`, and back without loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from multiscale.equations.model import Equations
from multiscale.errors import GraphError, nearest
from multiscale.graph.graph import Graph
from multiscale.graph.schema import NODE_TYPES, RELATIONS, Column, NodeType, Relation
from multiscale.graph.structure import edge_problems
from multiscale.graph.tables import DTYPES
from multiscale.graph.tsv import equations_text, read_equations_text

if TYPE_CHECKING:
    import networkx as nx
    from torch import Tensor
    from torch_geometric.data import HeteroData

__all__ = ["from_hetero", "from_networkx", "to_hetero", "to_networkx"]

_REMEDY = "use an object made by `Graph.{0}`, or `graph_from_edges` for a plain table of edges."


def to_hetero(graph: Graph, contexts: Mapping[str, Tensor] | None = None) -> HeteroData:
    """Graph as PyG `HeteroData`, the template over which operators send values of shape (node, context).

    Args:
        graph: what to convert.
        contexts: per node type, values of every node in every context, shape (node, context), stored as `x`.

    Returns:
        Per node type with nodes: `num_nodes`, `name` (list) and its attributes; per edge type (source type,
        relation, target type) with edges: `edge_index` (2, edge), `position` (row in the relation's table)
        and its attributes. Numbers, integers and flags are tensors (float64, int64, bool), text that is not
        all empty a list. `graph_name`, `card`, `parameters` and, of an imported model, `equations` hold the
        rest, so that `from_hetero` returns an equal graph.

    Raises:
        GraphError: an edge ends in no node, or `contexts` does not fit the nodes.
    """
    from torch_geometric.data import HeteroData

    data = HeteroData()
    data.graph_name, data.card = graph.name, copy.deepcopy(graph.card)
    data.parameters = graph.parameters.reset_index().to_dict("list")
    if graph.equations is not None:
        data.equations = equations_text(graph.equations)
    dangling = [p for p in edge_problems(graph) if "is not in nodes.tsv" in p]
    if dangling:
        raise GraphError(dangling, graph.name)
    for kind, table in graph.nodes.items():
        if len(table):
            data[kind].num_nodes = len(table)
            data[kind].name = table.index.tolist()
            _store(data[kind], table, NODE_TYPES[kind].columns)
    _store_edges(data, graph)
    _store_contexts(data, contexts or {})
    return data


def from_hetero(data: HeteroData) -> Graph:
    """Graph of a `HeteroData` that `to_hetero` made; values per context (`x`) are not part of it.

    Raises:
        GraphError: names, card or parameters are missing, or a type is unknown.
    """
    try:
        name, card, parameters = data.graph_name, data.card, data.parameters
        names = {kind: list(data[kind].name) for kind in data.node_types}
    except (AttributeError, KeyError) as error:
        raise GraphError(f"`data` is no converted graph ({error}); {_REMEDY.format('to_hetero')}") from None
    nodes = {
        kind: {"name": names[kind]} | _load(data[kind], _columns(NODE_TYPES, kind))
        for kind in data.node_types
    }
    parts: dict[str, list[pd.DataFrame]] = {}
    for source, relation, target in data.edge_types:
        store = data[source, relation, target]
        heads, tails = store.edge_index.tolist()
        ends = {"source": [names[source][i] for i in heads], "target": [names[target][i] for i in tails]}
        attributes = _load(store, _columns(RELATIONS, relation))
        parts.setdefault(relation, []).append(pd.DataFrame(ends | attributes, index=store.position.tolist()))
    edges = {relation: pd.concat(tables).sort_index() for relation, tables in parts.items()}
    tables = {kind: pd.DataFrame(columns) for kind, columns in nodes.items()}
    own = data.equations if "equations" in data else None
    return Graph.from_tables(name, tables, edges, pd.DataFrame(parameters), card, _equations(own))


def _equations(text: str | None) -> Equations | None:
    return None if text is None else read_equations_text(text, "equations")


def to_networkx(graph: Graph) -> nx.MultiDiGraph:
    """Graph as `MultiDiGraph`: attribute `type` on nodes and `relation` on edges, beside those of the tables.

    The key of an edge is its relation, with side, role or phenotype where these tell parallel edges apart.
    The graph attributes `card`, `parameters` and `equations` (of an imported model), and `position` on edges
    (row in the relation's table), let `from_networkx` return an equal graph.
    """
    import networkx as nx

    parameters = graph.parameters.reset_index().to_dict("list")
    network = nx.MultiDiGraph(name=graph.name, card=copy.deepcopy(graph.card), parameters=parameters)
    if graph.equations is not None:
        network.graph["equations"] = equations_text(graph.equations)
    for kind, table in graph.nodes.items():
        for name, row in zip(table.index, table.to_dict("records"), strict=True):
            network.add_node(name, **_attributes({"type": kind, **row}))
    for relation, table in graph.edges.items():
        for position, row in enumerate(table.to_dict("records")):
            source, target = row.pop("source"), row.pop("target")
            key = " ".join([relation, *(str(row[name]) for name in RELATIONS[relation].key if row[name])])
            row |= {"relation": relation, "position": position}
            network.add_edge(source, target, key, **_attributes(row))
    return network


def from_networkx(network: nx.MultiDiGraph) -> Graph:
    """Graph of a `MultiDiGraph` with `type` on nodes and `relation` on edges, as `to_networkx` makes.

    Raises:
        GraphError: a node without type, an edge without relation, or an unknown type, relation or attribute.
    """
    nodes = [{"name": name, **attributes} for name, attributes in network.nodes(data=True)]
    edges = [{"source": a, "target": b, **attributes} for a, b, attributes in network.edges(data=True)]
    for row in nodes:
        if "type" not in row:
            raise GraphError(f"node `{row['name']}` has no `type`; {_REMEDY.format('to_networkx')}")
    for row in edges:
        if "relation" not in row:
            edge = f"`{row['source']}` → `{row['target']}`"
            raise GraphError(f"edge {edge} has no `relation`; {_REMEDY.format('to_networkx')}")
    parameters = network.graph.get("parameters")
    return Graph.from_tables(
        str(network.graph.get("name") or "graph"),
        _by(nodes, "type"),
        _by(sorted(edges, key=lambda row: row.get("position", 0)), "relation"),
        None if parameters is None else pd.DataFrame(parameters),
        network.graph.get("card"),
        _equations(network.graph.get("equations")),
    )


def _attributes(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}


def _by(rows: list[dict[str, Any]], key: str) -> dict[str, pd.DataFrame]:
    """One table per value of a key."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        kept = {name: value for name, value in row.items() if name not in (key, "position")}
        groups.setdefault(row[key], []).append(kept)
    return {kind: pd.DataFrame(group) for kind, group in groups.items()}


def _columns(known: Mapping[str, NodeType] | Mapping[str, Relation], kind: str) -> tuple[Column, ...]:
    """Attributes of a node type or relation; none of an unknown one, which `Graph.from_tables` refuses."""
    return known[kind].columns if kind in known else ()


def _tensor(values: Sequence[Any]) -> Tensor:
    import torch

    return torch.tensor(values, dtype=torch.int64)


def _store(store: Any, table: pd.DataFrame, columns: Sequence[Column]) -> None:
    """Put the attributes of a table into a PyG storage."""
    import torch

    for column in columns:
        values = table[column.name]
        if column.dtype != "text":
            store[column.name] = torch.from_numpy(values.to_numpy(dtype=DTYPES[column.dtype], copy=True))
        elif (values != "").any():
            store[column.name] = values.tolist()


def _load(store: Any, columns: Sequence[Column]) -> dict[str, list[Any]]:
    """Attributes of a PyG storage as columns; those that are absent hold their defaults."""
    found = {column.name: store[column.name] for column in columns if column.name in store}
    return {name: values if isinstance(values, list) else values.tolist() for name, values in found.items()}


def _store_edges(data: HeteroData, graph: Graph) -> None:
    """Split the table of each relation by the types that its edges join."""
    position = {name: i for table in graph.nodes.values() for i, name in enumerate(table.index)}
    kinds = {name: kind for kind, table in graph.nodes.items() for name in table.index}
    for relation, table in graph.edges.items():
        groups: dict[tuple[str, str], list[int]] = {}
        for row, types in enumerate(zip(table["source"].map(kinds), table["target"].map(kinds), strict=True)):
            groups.setdefault(types, []).append(row)
        for (source, target), rows in groups.items():
            part = table.iloc[rows]
            store = data[source, relation, target]
            store.edge_index = _tensor(
                [[position[name] for name in part[end]] for end in ("source", "target")]
            )
            store.position = _tensor(rows)
            _store(store, part, RELATIONS[relation].columns)


def _store_contexts(data: HeteroData, contexts: Mapping[str, Tensor]) -> None:
    for kind, values in contexts.items():
        if kind not in data.node_types:
            raise GraphError(f"`contexts` names node type `{kind}`; {nearest(kind, data.node_types)}")
        if values.ndim != 2 or values.shape[0] != data[kind].num_nodes:
            raise GraphError(
                f"`contexts` of `{kind}` must have shape (node, context) for {data[kind].num_nodes} nodes, in"
                f" the order of `graph.nodes`; got {tuple(values.shape)}."
            )
        data[kind].x = values
