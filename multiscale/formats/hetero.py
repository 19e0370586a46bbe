"""PyG `HeteroData` with learned values, in memory and as one safetensors file. Reading it runs no code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from multiscale import atomic
from multiscale.errors import FormatError
from multiscale.formats import document
from multiscale.formats.exchange import KEY, Network, read_state, restored, state
from multiscale.formats.values import checked, tables_of
from multiscale.graph import Graph
from multiscale.graph.tsv import equations_text

if TYPE_CHECKING:
    from torch import Tensor
    from torch_geometric.data import HeteroData

__all__ = ["from_hetero", "read", "to_hetero", "write"]


def to_hetero(
    graph: Graph, values: Mapping[str, pd.DataFrame] | None = None, meta: Mapping[str, Any] | None = None
) -> HeteroData:
    """Turn a graph with learned values into `HeteroData`.

    To what `Graph.to_hetero` gives come, for node types with values, `x` (node, column; float64, NaN where a
    value is missing), `x_mask` (node, column; True where there is one) and `x_names`; for edges likewise
    `edge_attr`, `edge_attr_mask` and `edge_attr_names`. Learned texts are lists under the name of their
    column. `meta` holds the settings, `value_dtypes` what `from_hetero` needs.

    Args:
        graph: the graph.
        values: per node type a table indexed by node name, per relation a table indexed by row.
        meta: settings that travel along.

    Raises:
        FormatError: values do not fit the graph.
        GraphError: an edge ends in no node.
    """
    values = checked(graph, values)
    data = graph.to_hetero()
    stated = document.plain(state(graph, values, meta))
    data.meta, data.value_dtypes = stated["meta"], stated["values"]
    for kind in data.node_types:
        if kind in values:
            _store(data[kind], values[kind], graph.nodes[kind].index, "x")
    for edge_type in data.edge_types:
        if edge_type[1] in values:
            rows = pd.Index(data[edge_type].position.tolist())
            _store(data[edge_type], values[edge_type[1]], rows, "edge_attr")
    return data


def from_hetero(data: HeteroData) -> Network:
    """Graph, learned values and settings of a `HeteroData` that `to_hetero` made or `read` gave.

    Raises:
        GraphError: it is no converted graph.
    """
    from multiscale.graph.convert import from_hetero

    graph = from_hetero(data)
    records: dict[str, list[dict[str, Any]]] = {
        name: [{} for _ in range(len(table))] for name, table in tables_of(graph).items()
    }
    for kind in data.node_types:
        records[kind] = _records(data[kind], "x", data.value_dtypes.get(kind, {}), len(records[kind]))
    for edge_type in data.edge_types:
        rows = data[edge_type].position.tolist()
        dtypes = data.value_dtypes.get(edge_type[1], {})
        for row, record in zip(rows, _records(data[edge_type], "edge_attr", dtypes, len(rows)), strict=True):
            records[edge_type[1]][row] = record
    return Network(graph, restored(graph, records, data.value_dtypes), dict(data.meta))


def write(
    graph: Graph,
    path: str | Path,
    values: Mapping[str, pd.DataFrame] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a graph as the tensors of its `HeteroData` (.safetensors), atomically.

    Tensors are named `molecule.x`, `molecule|subunit|complex.edge_index`; names, texts, card, parameters and
    settings are JSON in the metadata of the file, under `multiscale`.

    Args:
        graph: the graph.
        path: file to write.
        values: per node type a table indexed by node name, per relation a table indexed by row.
        meta: settings that travel along.

    Raises:
        FormatError: values do not fit the graph.
        GraphError: an edge ends in no node.
    """
    from safetensors.torch import save

    data = to_hetero(graph, values, meta)
    tensors: dict[str, Tensor] = {}
    lists: dict[str, dict[str, Any]] = {}
    for name, store in _stores(data):
        lists[name] = {key: value for key, value in store.items() if not hasattr(value, "numpy")}
        tensors |= {
            f"{name}.{key}": value.contiguous() for key, value in store.items() if key not in lists[name]
        }
    stated = state(graph, checked(graph, values), meta) | {"stores": lists}
    content = save(tensors, metadata={KEY: document.to_json(stated, indent=None)})
    with atomic.replace(path) as temporary:
        temporary.write_bytes(content)


def read(path: str | Path) -> HeteroData:
    """Read back what `write` wrote; `from_hetero` makes a graph with values of it.

    Raises:
        FormatError: the file is missing, is not safetensors, is too new, or another program wrote it.
    """
    from torch_geometric.data import HeteroData

    tensors, text = _open(Path(path))
    stated = read_state(text, str(path))
    table = Graph.from_tables(stated["name"], {}, parameters=stated["parameters"]).parameters
    data = HeteroData()
    data.graph_name, data.card = stated["name"], stated["card"]
    data.parameters = table.reset_index().to_dict("list")
    if stated["equations"] is not None:
        data.equations = equations_text(stated["equations"])
    data.meta, data.value_dtypes = stated["meta"], stated["values"]
    for name, content in stated.get("stores", {}).items():
        store = data[_key(name)]  # also of types without texts: the order of types is the graph's
        for attribute, value in content.items():
            store[attribute] = value
    for name, tensor in tensors.items():
        place, _, attribute = name.rpartition(".")
        data[_key(place)][attribute] = tensor
    return data


def _open(path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors and document of a file."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise FormatError(f"{path}: not a safetensors file: {error}") from None
    if KEY not in metadata:
        raise FormatError(f"{path}: its metadata has no `{KEY}`, so it holds no graph of this library.")
    return tensors, metadata[KEY]


def _stores(data: HeteroData) -> Iterator[tuple[str, Any]]:
    """Names in a file and storages of all node and edge types."""
    yield from ((kind, data[kind]) for kind in data.node_types)
    yield from (("|".join(key), data[key]) for key in data.edge_types)


def _key(name: str) -> Any:
    """Node type, or edge type of three parts, of a name in a file."""
    return tuple(name.split("|")) if "|" in name else name


def _store(store: Any, table: pd.DataFrame, rows: pd.Index, key: str) -> None:
    """Put learned values into a PyG storage: numbers as one tensor, texts as lists."""
    import torch

    numbers = [str(column) for column in table if pd.api.types.is_numeric_dtype(table[column])]
    table = table.astype(dict.fromkeys(numbers, float)).reindex(rows)
    store[key] = torch.tensor(table[numbers].to_numpy(), dtype=torch.float64)
    store[f"{key}_mask"] = ~torch.isnan(store[key])
    store[f"{key}_names"] = numbers
    for column in table.columns.difference(numbers, sort=False):
        store[str(column)] = [
            "" if value != value or value is None else str(value) for value in table[column]
        ]


def _records(store: Any, key: str, names: Iterable[str], rows: int) -> list[dict[str, Any]]:
    """Learned values of a PyG storage as one record per row, without what is missing."""
    records: list[dict[str, Any]] = [{} for _ in range(rows)]
    for name in names:
        numeric = name in store[f"{key}_names"]
        column = store[key][:, store[f"{key}_names"].index(name)].tolist() if numeric else store[name]
        for record, value in zip(records, column, strict=True):
            if value == value and value != "":  # NaN differs from itself
                record[name] = value
    return records
