"""A graph with learned values as flat attribute records, which every network format can hold, and back.

Records hold strings, booleans, integers and finite numbers. What has no place in a record (the card, the
parameters, settings of the fit) goes into one JSON document that travels as an attribute of the network.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from multiscale.errors import FormatError, nearest
from multiscale.formats import document
from multiscale.formats.values import Tables, checked, tables_of
from multiscale.graph import Graph
from multiscale.graph.schema import NODE_TYPES, RELATIONS, Column
from multiscale.graph.tsv import equations_text, file_texts, read_equations_text

__all__ = [
    "FORMAT_VERSION",
    "KEY",
    "Network",
    "Records",
    "flatten",
    "read_state",
    "restored",
    "state",
    "unflatten",
]

FORMAT_VERSION = 1
KEY = "multiscale"
"""Name of the network attribute that holds the JSON document."""

_TEXT = ("object", "str", "string", "category")

Scalar = str | bool | int | float
log = logging.getLogger("multiscale")


@dataclass(frozen=True)
class Network:
    """A graph, what was learned about it, and how.

    Args:
        graph: the graph.
        values: learned values, a table per node type (index: names) or relation (index: rows of its table).
        meta: version, units, seed, settings.
    """

    graph: Graph
    values: Tables = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Records:
    """The same as flat records.

    Args:
        nodes: attributes per node name; `type` is one of them.
        edges: source, target and attributes of every edge; `relation` is one of them.
        document: JSON text with everything else.
    """

    nodes: dict[str, dict[str, Scalar]]
    edges: list[tuple[str, str, dict[str, Scalar]]]
    document: str


def flatten(
    graph: Graph, values: Mapping[str, pd.DataFrame] | None = None, meta: Mapping[str, Any] | None = None
) -> Records:
    """Turn a graph with learned values into records; attributes without a value are left out.

    Args:
        graph: the graph.
        values: learned values, a table per node type (index: names) or relation (index: rows of its table).
        meta: settings that travel along, anything that JSON can say.

    Raises:
        FormatError: values of an unknown table or node, or under a name that the graph uses itself; an edge
            that ends in no node.
    """
    values = checked(graph, values)
    joined = {
        name: table.join(values[name]) if name in values else table for name, table in _stated(graph).items()
    }
    joined = _one_type_per_attribute(joined)
    nodes = {
        str(name): {"type": kind} | record
        for kind in graph.nodes
        for name, record in zip(joined[kind].index, _records(joined[kind]), strict=True)
    }
    edges = [
        (str(record.pop("source")), str(record.pop("target")), {"relation": relation} | record)
        for relation in graph.edges
        for record in _records(joined[relation])
    ]
    return Records(nodes, edges, document.to_json(state(graph, values, meta), indent=None))


def _stated(graph: Graph) -> Tables:
    """Tables of a graph without flags that no row raises: most networks have no constant inputs."""
    tables = {}
    for name, table in tables_of(graph).items():
        columns = NODE_TYPES[name].columns if name in NODE_TYPES else RELATIONS[name].columns
        idle = [c.name for c in columns if c.dtype == "flag" and not table[c.name].any()]
        tables[name] = table.drop(columns=idle)
    return tables


def unflatten(records: Records, where: str) -> Network:
    """Turn records back into the graph and the learned values they were made from.

    Attributes that neither the graph nor the document knows (other programs add their own) are passed over.

    Args:
        records: as `flatten` gives them.
        where: the file they were read from, for errors.

    Raises:
        FormatError: the document is damaged or too new, or a type or relation is unknown.
        GraphError: an attribute has a value of the wrong kind.
    """
    stated = read_state(records.document, where)
    nodes: dict[str, list[dict[str, Scalar]]] = {kind: [] for kind in NODE_TYPES}
    for name, record in records.nodes.items():
        _known(record.get("type"), "type", nodes, f"{where}, node `{name}`").append({"name": name} | record)
    edges: dict[str, list[dict[str, Scalar]]] = {relation: [] for relation in RELATIONS}
    for source, target, record in records.edges:
        place = f"{where}, edge `{source}` → `{target}`"
        ends: dict[str, Scalar] = {"source": source, "target": target}
        _known(record.get("relation"), "relation", edges, place).append(ends | record)
    graph = Graph.from_tables(
        stated["name"],
        {kind: _columns(found, ["name"], NODE_TYPES[kind].columns) for kind, found in nodes.items()},
        {
            kind: _columns(found, ["source", "target"], RELATIONS[kind].columns)
            for kind, found in edges.items()
        },
        stated["parameters"],
        stated["card"],
    )
    graph = replace(graph, card=stated["card"], equations=stated["equations"])  # in the order it was written
    return Network(graph, restored(graph, {**nodes, **edges}, stated["values"]), stated["meta"])


def _known(
    kind: Any, key: str, tables: dict[str, list[dict[str, Scalar]]], place: str
) -> list[dict[str, Scalar]]:
    if kind not in tables:
        raise FormatError(f"{place}: `{key}` is {kind!r}; {nearest(str(kind), tables)}")
    return tables[kind]


def _columns(records: list[dict[str, Scalar]], keys: list[str], columns: Sequence[Column]) -> pd.DataFrame:
    names = keys + [column.name for column in columns]
    return pd.DataFrame(records, columns=pd.Index(names, dtype=object), dtype=object)


def restored(
    graph: Graph, records: Mapping[str, list[dict[str, Any]]], dtypes: Mapping[str, Mapping[str, str]]
) -> Tables:
    """Tables of learned values as they were; rows without any value are left out.

    Args:
        graph: the graph.
        records: per node type or relation one record per row of its table, without what is missing.
        dtypes: per table and column, as `state` holds them.
    """
    tables = {}
    for name, columns in dtypes.items():
        table = pd.DataFrame(records[name], columns=pd.Index(columns, dtype=object), dtype=object)
        table = table.set_axis(tables_of(graph)[name].index, axis=0).dropna(how="all")
        tables[name] = pd.DataFrame({key: _column(table[key], dtype) for key, dtype in columns.items()})
    return tables


def _column(values: pd.Series, dtype: str) -> pd.Series:
    """Give values their dtype back; missing ones are '' among texts and NaN among numbers."""
    if dtype in _TEXT:
        return values.fillna("").astype(dtype)
    complete = values.notna().all()
    return values.astype(np.dtype(dtype)) if complete else values.astype(float)


def _one_type_per_attribute(tables: Tables) -> Tables:
    """Give an attribute of several tables one type, as most formats ask: number if all are, else text."""
    result = {name: table.copy() for name, table in tables.items()}
    for column in {column for table in tables.values() for column in table.columns}:
        having = [name for name, table in tables.items() if column in table and len(table)]
        kinds = {tables[name][column].dtype.kind for name in having}
        if len(kinds) > 1:
            wider = float if kinds <= set("iuf") else str
            for name in having:
                result[name][column] = result[name][column].astype(wider)
    return result


def _records(table: pd.DataFrame) -> list[dict[str, Scalar]]:
    """Rows as dictionaries of plain values without the missing ones."""
    records = [
        {str(column): value for column, value in row.items() if not _missing(value)}
        for row in table.astype(object).to_dict(orient="records")
    ]
    _leave_out_infinite(records)
    return [{key: _plain(value) for key, value in record.items()} for record in records]


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value == "" or value != value  # NaN differs from itself


def _leave_out_infinite(records: list[dict[str, Any]]) -> None:
    """Drop values that no network format can hold, and say so."""
    dropped: dict[str, int] = {}
    for record in records:
        for key in [k for k, v in record.items() if isinstance(v, (float, np.floating)) and np.isinf(v)]:
            del record[key]
            dropped[key] = dropped.get(key, 0) + 1
    for key, count in dropped.items():
        log.warning(
            "export: %d infinite values of `%s` are left out; network formats hold finite numbers.",
            count,
            key,
        )


def _plain(value: Any) -> Scalar:
    value = document.plain(value)
    return value if isinstance(value, (str, bool, int, float)) else str(value)


def state(
    graph: Graph, values: Mapping[str, pd.DataFrame] | None = None, meta: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What has no place in a record: name, card, parameters and equations (as text), dtypes, settings.

    Args:
        graph: the graph.
        values: learned values, of which the dtypes are kept.
        meta: settings that travel along.

    Raises:
        FormatError: a text of the parameters holds a carriage return, which tables do not keep.
    """
    parameters = file_texts(graph.nodes, graph.edges, graph.parameters, graph.card)["parameters.tsv"]
    if "\r" in parameters:
        raise FormatError(f"{graph.name}: a text of the parameters holds a carriage return; remove it.")
    return {
        "format_version": FORMAT_VERSION,
        "name": graph.name,
        "card": graph.card,
        "parameters": parameters,
        **({} if graph.equations is None else {"equations": equations_text(graph.equations)}),
        "values": {
            name: {str(column): str(dtype) for column, dtype in table.dtypes.items()}
            for name, table in (values or {}).items()
        },
        "meta": dict(meta or {}),
    }


def read_state(text: str, where: str) -> dict[str, Any]:
    """Read the JSON text of `state`; the parameters become a table of text, equations become such.

    Raises:
        FormatError: it is no such document, lacks a part, or is too new.
    """
    stated = document.parse(text, where, FORMAT_VERSION)
    missing = [key for key in ("name", "card", "parameters", "values", "meta") if key not in stated]
    if missing:
        raise FormatError(f"{where}: its document lacks `{missing[0]}`; export the network again.")
    table = pd.read_csv(io.StringIO(stated["parameters"]), sep="\t", dtype=str, keep_default_na=False)
    own = stated.get("equations")
    equations = None if own is None else read_equations_text(str(own), f"{where}, equations")
    return stated | {"parameters": table, "equations": equations}
