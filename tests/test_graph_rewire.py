"""Degree-preserving random graphs."""

from __future__ import annotations

import logging
from collections import Counter

import pandas as pd
import pytest
from random_graphs import random_graph

from multiscale.errors import GraphError
from multiscale.graph import Graph, check, energy_matrix, formula, pair_complexes, pair_units, rewire
from multiscale.graph.pairs import compositions

MANY = random_graph(5, molecules=40)


@pytest.mark.parametrize("seed", range(5))
def test_degrees_and_stoichiometries_are_kept(seed: int) -> None:
    new = rewire(MANY, seed)
    check(new)
    before, after = (_within(graph) for graph in (MANY, new))
    assert after["source"].tolist() != before["source"].tolist()
    assert Counter(after["source"]) == Counter(before["source"])
    assert after[["target", "stoichiometry"]].equals(before[["target", "stoichiometry"]])


def test_energies_nodes_and_other_edges_are_kept() -> None:
    new = rewire(MANY, 1)
    assert (energy_matrix(new)[0] == energy_matrix(MANY)[0]).all()
    assert all(new.edges[kind] is MANY.edges[kind] for kind in MANY.edges if kind != "subunit")
    assert new.nodes is MANY.nodes and new.parameters is MANY.parameters


def test_the_seed_decides() -> None:
    assert rewire(MANY, 7).hash() == rewire(MANY, 7).hash() != rewire(MANY, 8).hash()


def test_the_original_stays_as_it_is() -> None:
    before = MANY.hash()
    rewire(MANY, 3)
    assert MANY.hash() == before


def test_most_edges_move() -> None:
    moved = [(_within(rewire(MANY, seed))["source"] != _within(MANY)["source"]).mean() for seed in range(10)]
    assert sum(moved) / 10 > 0.8


def test_complexes_in_reactions_are_left_alone() -> None:
    assert compositions(rewire(MANY, 2))["C0", ""] == {"M0": 2}


@pytest.mark.parametrize("seed", range(20))
def test_no_two_complexes_become_the_same(seed: int) -> None:
    """Four complexes of two out of four molecules: some swaps would repeat one."""
    pairs = [("A", "B"), ("B", "C"), ("C", "D"), ("D", "A")]
    edges = pd.DataFrame([(m, "".join(pair)) for pair in pairs for m in pair], columns=["source", "target"])
    nodes = {
        "molecule": pd.DataFrame({"name": list("ABCD")}),
        "complex": pd.DataFrame({"name": ["".join(pair) for pair in pairs], "energy": "g"}),
    }
    energy = pd.DataFrame({"parameterId": ["g"], "role": "energy", "unit": "kcal/mol"})
    new = rewire(Graph.from_tables("ring", nodes, {"subunit": edges}, energy), seed)
    assert len({tuple(column) for column in formula(new).T.tolist()}) == 4


@pytest.mark.parametrize("seed", range(10))
def test_complexes_between_cells_keep_their_units(seed: int, small_graph: Graph) -> None:
    """Within the cell A:B and D:C exchange subunits; the complex with a ligand holds whatever A:B now is."""
    row = small_graph.nodes["complex"].loc[["A:B"]].rename(index={"A:B": "D:C"})
    extra = pd.DataFrame({"source": ["D", "C"], "target": "D:C", "stoichiometry": 1, "side": ""})
    nodes = {
        **small_graph.nodes,
        "molecule": pd.concat(
            [small_graph.nodes["molecule"], pd.DataFrame(index=pd.Index(["D"], name="name"))]
        ),
        "complex": pd.concat([small_graph.nodes["complex"], row]),
    }
    edges = {**small_graph.edges, "subunit": pd.concat([small_graph.edges["subunit"], extra])}
    graph = Graph.from_tables("pair", nodes, edges, small_graph.parameters, small_graph.card)
    new = rewire(graph, seed)
    check(new)
    assert pair_units(new).equals(pair_units(graph))
    parts = compositions(new)
    assert parts["L2:AB", "receiver"] == parts["A:B", ""]
    assert pair_complexes(new) == ["L2:AB"]


def test_a_graph_that_cannot_be_rewired_stays_the_same_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nodes = {
        "molecule": pd.DataFrame({"name": ["A"]}),
        "complex": pd.DataFrame({"name": ["A*"], "energy": "g"}),
    }
    energy = pd.DataFrame({"parameterId": ["g"], "role": "energy", "unit": "kcal/mol"})
    graph = Graph.from_tables(
        "one", nodes, {"subunit": pd.DataFrame({"source": ["A"], "target": "A*"})}, energy
    )
    with caplog.at_level(logging.WARNING, logger="multiscale"):
        assert rewire(graph, 0).equals(graph)
    assert "no subunits could be exchanged" in caplog.text


def test_other_relations_are_refused() -> None:
    with pytest.raises(GraphError, match="`relation` = `member` cannot be rewired"):
        rewire(MANY, 0, relation="member")  # type: ignore[arg-type]


def test_graphs_that_ship_can_be_rewired() -> None:
    from multiscale.content import names
    from multiscale.graph import read_graph

    for name in names("graphs"):
        graph = read_graph(name)
        binds = not {*graph.complexes} <= {*graph.edges["product"]["target"]}  # not by reactions alone
        relation = "subunit" if binds else "modifier"
        new = rewire(graph, 0, relation)
        check(new)
        assert pair_units(new).equals(pair_units(graph))
        few = len(graph.edges[relation]) < 5  # the states of one molecule: no other graph has these degrees
        assert new.equals(graph) == few


def cycles() -> Graph:
    """Four proteins with a modified form each; the input S starts a chain A → B → C → D, and A ⊣ C."""
    names = ["A", "B", "C", "D"]
    steps = [("S", "A"), ("A*", "B"), ("B*", "C"), ("C*", "D")]
    reactions = [f"on {name}" for _, name in steps] + ["off C"]
    return Graph.from_tables(
        "cycles",
        {
            "molecule": pd.DataFrame({"name": [*names, "S"], "constant": [False] * 4 + [True]}),
            "complex": pd.DataFrame({"name": [f"{name}*" for name in names]}),
            "reaction": pd.DataFrame({"name": reactions}),
        },
        {
            "subunit": pd.DataFrame({"source": names, "target": [f"{name}*" for name in names]}),
            "reactant": pd.DataFrame({"source": [*names, "C*"], "target": reactions}),
            "product": pd.DataFrame({"source": reactions, "target": [*(f"{name}*" for name in names), "C"]}),
            "modifier": pd.DataFrame({"source": [*(s for s, _ in steps), "A*"], "target": reactions}),
        },
    )


@pytest.mark.parametrize("seed", range(5))
def test_rewired_catalysts_keep_their_degrees_and_act_on_no_reaction_of_their_own(seed: int) -> None:
    graph = cycles()
    check(graph)
    new = rewire(graph, seed, "modifier")
    check(new)
    before, after = graph.edges["modifier"], new.edges["modifier"]
    assert sorted(before["source"]) == sorted(after["source"])
    assert before["target"].equals(after["target"]) and after["source"].iloc[0] == "S"
    assert not any(s[0] == t[-1] for s, t in zip(after["source"], after["target"], strict=True))
    assert all(new.edges[name].equals(graph.edges[name]) for name in ("subunit", "reactant", "product"))


def test_some_seed_moves_a_catalyst() -> None:
    graph = cycles()
    assert any(not rewire(graph, seed, "modifier").equals(graph) for seed in range(5))


def _within(graph: Graph) -> pd.DataFrame:
    edges = graph.edges["subunit"]
    return edges[edges["side"] == ""].reset_index(drop=True)
