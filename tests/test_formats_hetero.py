"""`HeteroData` with learned values: in memory, on disk, and under PyTorch Geometric's own layers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from random_graphs import random_graph
from safetensors.torch import load_file, save_file
from torch_geometric.nn import HeteroConv, SAGEConv

from multiscale import formats
from multiscale.errors import FormatError
from multiscale.formats import hetero
from multiscale.graph import Graph


@pytest.fixture
def graph() -> Graph:
    return random_graph(3, note="<b>µ")


@pytest.fixture
def values(graph: Graph) -> dict[str, pd.DataFrame]:
    """Values of every node type, with gaps, a text, a flag, an infinity, and of edges of mixed node types."""
    numbers = {
        kind: pd.DataFrame({"level": 1.0 / np.arange(3, 3 + len(table))}, index=table.index)
        for kind, table in graph.nodes.items()
    }
    numbers["complex"] = numbers["complex"].iloc[1:].assign(lower=-np.inf, remark="tight", flag=True)
    numbers["member"] = pd.DataFrame({"share": [0.25, np.nan, 0.5], "why": ["", "w", ""]}, index=[9, 0, 4])
    return numbers


def test_values_stand_in_x_with_names_and_a_mask(graph, values) -> None:
    data = hetero.to_hetero(graph, values, {"seed": 1})
    store = data["complex"]
    assert store.x.dtype == torch.float64
    assert store.x_names == ["level", "lower", "flag"]
    assert store.x[1].tolist() == [1 / 4, -np.inf, 1.0]
    assert store.x[0].isnan().all()
    assert store.x_mask.tolist() == [[i > 0] * 3 for i in range(len(store.name))]
    assert store.remark[:2] == ["", "tight"]
    assert data.meta == {"seed": 1}
    assert data.validate()


def test_edge_values_follow_their_edges_through_the_split_by_node_types(graph, values) -> None:
    data = hetero.to_hetero(graph, values)
    for key in data.edge_types:
        if key[1] == "member":
            wanted = values["member"]["share"].reindex(data[key].position.tolist())
            np.testing.assert_array_equal(data[key].edge_attr[:, 0].numpy(), wanted.to_numpy())
            assert data[key].edge_attr_names == ["share"]


def test_a_file_gives_the_graph_and_its_values_back(graph, values, tmp_path: Path) -> None:
    formats.export(graph, tmp_path / "n.safetensors", values, {"seed": 1, "loss": float("nan")})
    data = hetero.read(tmp_path / "n.safetensors")
    assert data.validate()
    network = hetero.from_hetero(data)
    assert network.graph.equals(graph)
    assert network.graph.hash() == graph.hash()
    assert network.meta == {"seed": 1, "loss": None}
    for name, table in values.items():
        table = table.sort_index() if name == "member" else table
        pd.testing.assert_frame_equal(
            network.values[name], table, check_names=False, check_index_type=False, check_exact=True
        )


def test_what_is_read_equals_what_is_in_memory(graph, values, tmp_path: Path) -> None:
    hetero.write(graph, tmp_path / "n.safetensors", values)
    data, back = hetero.to_hetero(graph, values), hetero.read(tmp_path / "n.safetensors")
    assert back.node_types == data.node_types
    assert back.edge_types == data.edge_types
    for key in [*data.node_types, *data.edge_types]:
        assert set(back[key].keys()) == set(data[key].keys())
        for name, value in data[key].items():
            same = torch.is_tensor(value) and torch.equal(value.nan_to_num(), back[key][name].nan_to_num())
            assert same or value == back[key][name]


def test_safetensors_itself_reads_the_tensors(graph, values, tmp_path: Path) -> None:
    hetero.write(graph, tmp_path / "n.safetensors", values)
    tensors = load_file(tmp_path / "n.safetensors")
    assert tensors["molecule.x"][:, 0].tolist() == values["molecule"]["level"].tolist()
    edges = graph.edges["subunit"]
    wanted = [graph.molecules.index(name) for name in edges["source"]]
    assert tensors["molecule|subunit|complex.edge_index"][0].tolist() == wanted
    assert tensors["molecule|subunit|complex.stoichiometry"].tolist() == edges["stoichiometry"].tolist()


def test_pyg_layers_run_on_what_was_read(graph, tmp_path: Path) -> None:
    values = {
        kind: pd.DataFrame({"level": np.ones(len(table)), "sd": 0.5}, index=table.index)
        for kind, table in graph.nodes.items()
    }
    hetero.write(graph, tmp_path / "n.safetensors", values)
    data = hetero.read(tmp_path / "n.safetensors")
    layers = HeteroConv({key: SAGEConv((2, 2), 4) for key in data.edge_types}).double()
    out = layers(data.x_dict, data.edge_index_dict)
    assert out["complex"].shape == (len(graph.complexes), 4)
    assert all(torch.isfinite(x).all() for x in out.values())


def test_sums_of_pyg_over_the_subunits_are_those_of_the_table(graph, values, tmp_path: Path) -> None:
    """A SAGE layer with unit weights adds up the values of the neighbours."""
    hetero.write(graph, tmp_path / "n.safetensors", values)
    data = hetero.read(tmp_path / "n.safetensors")
    layer = SAGEConv((1, 1), 1, aggr="sum", root_weight=False, bias=False).double()
    torch.nn.init.ones_(layer.lin_l.weight)
    x = (data["molecule"].x, data["complex"].x[:, :1].nan_to_num())
    out = layer(x, data["molecule", "subunit", "complex"].edge_index)[:, 0].detach().numpy()
    edges = graph.edges["subunit"]
    levels = values["molecule"]["level"].reindex(edges["source"]).to_numpy()
    wanted = pd.Series(levels).groupby(edges["target"].to_numpy()).sum().reindex(graph.complexes)
    np.testing.assert_allclose(out, wanted.to_numpy(), rtol=1e-14)


def test_a_newer_file_and_files_of_others_are_refused(graph, tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    with pytest.raises(FormatError, match="no such file"):
        hetero.read(path)
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(FormatError, match="not a safetensors file"):
        hetero.read(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(FormatError, match="holds no graph"):
        hetero.read(path)
    save_file({"weight": torch.zeros(2)}, path, {"multiscale": json.dumps({"format_version": 99})})
    with pytest.raises(FormatError, match="`format_version` 99 is newer than 1"):
        hetero.read(path)


def test_a_graph_without_values_comes_back(graph, tmp_path: Path) -> None:
    hetero.write(graph, tmp_path / "n.safetensors")
    data = hetero.read(tmp_path / "n.safetensors")
    assert "x" not in data["molecule"]
    assert hetero.from_hetero(data).graph.equals(graph)
    assert hetero.from_hetero(data).values == {}
