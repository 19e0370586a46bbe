"""Graphs as PyG HeteroData and networkx MultiDiGraph, and back."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, SimpleConv

from multiscale.errors import GraphError
from multiscale.graph import Graph, formula, from_hetero, from_networkx
from multiscale.passing.operators import Pooling

TEXT = st.text(max_size=20).filter(lambda text: not set(text) & set("\t\r\n"))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), note=TEXT)
def test_both_conversions_lose_nothing(seed: int, note: str) -> None:
    graph = random_graph(seed, note=note)
    for back in (from_hetero(graph.to_hetero()), from_networkx(graph.to_networkx())):
        assert back.equals(graph) and back.hash() == graph.hash()


def test_a_copy_on_another_device_converts_back(small_graph: Graph) -> None:
    data = small_graph.to_hetero().clone().to("cpu")
    assert from_hetero(data).equals(small_graph)


def test_hetero_data_is_what_pyg_expects(small_graph: Graph) -> None:
    data = small_graph.to_hetero()
    assert data.validate(raise_on_error=True)
    assert set(data.node_types) == {"molecule", "complex", "pathway"}
    edge_types = {
        ("molecule", "subunit", "complex"),
        ("molecule", "encodes", "molecule"),
        ("complex", "member", "pathway"),
    }
    assert set(data.edge_types) == edge_types
    subunit = data["molecule", "subunit", "complex"]
    assert subunit.edge_index.dtype == torch.int64 and subunit.edge_index.shape == (2, 6)
    assert subunit.stoichiometry.tolist() == [1, 1, 2, 2, 1, 1]
    assert data["complex"].num_nodes == 3 and data["complex"].statistical_factor.dtype == torch.float64


def test_messages_over_the_subunit_edges_are_the_formula(small_graph: Graph) -> None:
    """One PyG pass over (molecule, subunit, complex), weighted by stoichiometry, is Aᵀ x."""
    x = torch.rand(8, 5, dtype=torch.float64)
    data = small_graph.to_hetero({"molecule": x, "complex": torch.zeros(3, 5, dtype=torch.float64)})
    edge, other = ("molecule", "subunit", "complex"), ("molecule", "encodes", "molecule")
    layer = HeteroConv({edge: SimpleConv(aggr="sum"), other: SimpleConv(aggr="sum")}, aggr="sum")
    weights = {edge: data[edge].stoichiometry.double()}
    out = layer(data.x_dict, data.edge_index_dict, edge_weight_dict=weights)
    torch.testing.assert_close(out["complex"], torch.as_tensor(formula(small_graph).T).double() @ x)


def test_pathways_pool_over_the_member_edges(small_graph: Graph) -> None:
    ln_x = torch.randn(3, 4, dtype=torch.float64)
    edges = small_graph.to_hetero()["complex", "member", "pathway"]
    weight = edges.sign * edges.weight
    activity = Pooling()((ln_x, torch.zeros(1, 4)), edges.edge_index, weight)
    expected = (ln_x - ln_x.mean(1, keepdim=True))[[0, 2]].sum(0)
    torch.testing.assert_close(activity[0], expected)


def test_values_per_context_are_stored_as_x(small_graph: Graph) -> None:
    x = torch.arange(16.0).reshape(8, 2)
    data = small_graph.to_hetero({"molecule": x})
    assert data["molecule"].x is x and data.x_dict == {"molecule": x}
    assert from_hetero(data).equals(small_graph)


def test_contexts_that_do_not_fit_the_nodes_are_refused(small_graph: Graph) -> None:
    with pytest.raises(GraphError, match=r"shape \(node, context\) for 8 nodes.*got \(3, 2\)"):
        small_graph.to_hetero({"molecule": torch.zeros(3, 2)})
    with pytest.raises(GraphError, match="`molecules`; did you mean"):
        small_graph.to_hetero({"molecules": torch.zeros(8, 2)})


def test_a_dangling_edge_cannot_become_an_index(small_graph: Graph) -> None:
    small_graph.edges["subunit"].loc[0, "source"] = "X"
    with pytest.raises(GraphError, match=r"`X` is not in nodes\.tsv"):
        small_graph.to_hetero()


def test_hetero_data_of_other_origin_is_refused() -> None:
    with pytest.raises(GraphError, match=r"use an object made by `Graph\.to_hetero`"):
        from_hetero(HeteroData())


def test_changing_a_conversion_leaves_the_graph_alone(small_graph: Graph) -> None:
    before = small_graph.hash()
    data, network = small_graph.to_hetero(), small_graph.to_networkx()
    data["molecule", "subunit", "complex"].stoichiometry += 1
    data.card["compartments"].clear()
    network.graph["card"]["compartments"].clear()
    network.nodes["A"]["kind"] = "gene"
    assert small_graph.hash() == before
    assert not from_networkx(network).equals(small_graph)


def test_networkx_algorithms_see_the_graph(small_graph: Graph) -> None:
    network = small_graph.to_networkx()
    assert network.number_of_nodes() == 12 and network.number_of_edges() == 12
    assert nx.ancestors(network, "L2:AB") == {"A", "B", "L", "A.rna", "B.rna", "L.rna"}
    assert dict(network["A"]["L2:AB"]).keys() == {"subunit receiver"}
    assert network.in_degree("A:B", weight="stoichiometry") == 2


def test_a_network_survives_node_link_json_of_networkx(small_graph: Graph) -> None:
    """Another program's text format in between: attributes are plain Python values."""
    text = json.dumps(nx.node_link_data(small_graph.to_networkx(), edges="edges"))
    assert from_networkx(nx.node_link_graph(json.loads(text), edges="edges")).equals(small_graph)


def test_a_network_made_by_hand_becomes_a_graph() -> None:
    network = nx.MultiDiGraph(name="hand")
    network.add_node("A", type="molecule")
    network.add_node("P", type="pathway")
    network.add_edge("A", "P", relation="member", weight=0.5)
    graph = from_networkx(network)
    assert graph.name == "hand"
    assert graph.edges["member"][["weight", "sign"]].to_numpy().tolist() == [[0.5, 1]]
    network.add_edge("A", "P")
    with pytest.raises(GraphError, match="`A` → `P` has no `relation`"):
        from_networkx(network)
    network.add_node("B")
    with pytest.raises(GraphError, match="`B` has no `type`"):
        from_networkx(network)


def test_ten_thousand_nodes_convert_without_loss(tmp_path: Path) -> None:
    graph = random_graph(0, molecules=5000)
    assert from_hetero(graph.to_hetero()).equals(graph)
    assert from_networkx(graph.to_networkx()).equals(graph)
