"""Formula, energy terms, stoichiometric matrix, conserved moieties, cycles, units of pair complexes."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from random_graphs import random_graph
from scipy.linalg import null_space

from multiscale.errors import GraphError
from multiscale.graph import (
    Graph,
    conserved_moieties,
    cycles,
    energy_matrix,
    formula,
    pair_complexes,
    pair_units,
    stoichiometric_matrix,
    without_complexes,
)
from multiscale.graph.stoichiometry import energy_terms


def isomers(edges: list[tuple[str, str]], reversible: bool = True) -> Graph:
    """Molecules that turn into each other, one reaction per edge."""
    names = [f"r{i}" for i in range(len(edges))]
    return Graph.from_tables(
        "isomers",
        {
            "molecule": pd.DataFrame({"name": sorted({name for edge in edges for name in edge})}),
            "reaction": pd.DataFrame({"name": names, "reversible": reversible}),
        },
        {
            "reactant": pd.DataFrame({"source": [a for a, _ in edges], "target": names}),
            "product": pd.DataFrame({"source": names, "target": [b for _, b in edges]}),
        },
    )


def test_formula_counts_subunits_of_both_sides(small_graph: Graph) -> None:
    A = formula(small_graph)
    assert A.dtype == np.int64 and A.shape == (8, 3)
    assert A[:4].tolist() == [[1, 0, 1], [1, 0, 1], [0, 0, 0], [0, 2, 2]]
    assert not A[4:].any()


def test_energy_terms_add_up_and_molecules_have_none(small_graph: Graph) -> None:
    E, terms = energy_matrix(small_graph)
    assert terms == ["g_AB", "g_LL", "g_contact"] and E.dtype == np.float64
    assert not E[:8].any()
    assert E[8:].tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("a", {"a": 1}),
        ("a*2", {"a": 2}),
        (" a ; b*-0.5 ;a*3", {"a": 4, "b": -0.5}),
        ("", {}),
        ("a*1e2", {"a": 100}),
    ],
)
def test_energy_terms_are_read(text: str, terms: dict[str, float]) -> None:
    assert energy_terms(text) == terms


@pytest.mark.parametrize("text", ["a;", "2*a", "a b", "a**2", "a*x", "a*inf", "a*0", "é"])
def test_malformed_energy_terms_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        energy_terms(text)


def test_michaelis_menten_conserves_enzyme_and_substrate() -> None:
    """E + S ⇌ ES → E + P: columns binding and catalysis, rows E, S, P, ES."""
    N = np.array([[-1, 1], [-1, 0], [0, 1], [1, -1]])
    assert conserved_moieties(N).tolist() == [[1, 0, 0, 1], [0, 1, 1, 1]]


def test_a_phosphorylation_cycle_with_explicit_nucleotides_has_three_moieties() -> None:
    """B + ATP → Bp + ADP and Bp → B + Pi keep adenosine, protein and phosphate (ATP has one more)."""
    N = np.array([[-1, 1], [1, -1], [-1, 0], [1, 0], [0, 1]])
    assert sorted(conserved_moieties(N).tolist()) == [[0, 0, 1, 1, 0], [0, 1, 1, 0, 1], [1, 1, 0, 0, 0]]


def test_moieties_of_a_binding_network_are_its_formula(small_graph: Graph) -> None:
    """Every complex forms from its molecules: the totals are those of the molecules."""
    A = formula(without_complexes(small_graph, pair_complexes(small_graph)))[:4]
    N = np.vstack([-A, np.eye(2, dtype=np.int64)])
    totals = np.hstack([np.eye(4, dtype=np.int64), A])
    assert sorted(conserved_moieties(N).tolist()) == sorted(totals.tolist())


@pytest.mark.parametrize("seed", range(30))
def test_moieties_span_the_left_null_space(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(3, 12, size=2)
    N = rng.integers(-2, 3, size=shape) * (rng.random(shape) < 0.35)
    L = conserved_moieties(N)
    assert not (L @ N).any()
    assert len(L) == null_space(N.T.astype(float)).shape[1]
    assert np.linalg.matrix_rank(np.vstack([L, N.T])) == len(N)  # independent, as N spans the rest


@pytest.mark.parametrize("seed", range(20))
def test_moieties_are_non_negative_where_every_reaction_keeps_mass(seed: int) -> None:
    """Reactions that join and split species of known composition conserve as many non-negative totals."""
    rng = np.random.default_rng(seed)
    content = np.vstack([np.eye(3, dtype=int), np.eye(3, dtype=int)[0] + rng.integers(0, 2, size=(6, 3))])
    changes = [n for n in rng.integers(-2, 3, size=(4000, 9)) if not (n @ content).any() and n.any()]
    N = np.array(changes[: rng.integers(1, 7)]).T
    L = conserved_moieties(N)
    assert (L >= 0).all() and not (L @ N).any()
    assert len(L) == 9 - np.linalg.matrix_rank(N)


def test_moieties_are_non_negative_even_where_minimal_ones_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A + B ⇌ C + D at random keeps the number of molecules, which can be added to any other moiety."""
    monkeypatch.setattr("multiscale.graph.moieties._CANDIDATES", 1)
    rng = np.random.default_rng(0)
    N = np.array([rng.permutation([-1, -1, 1, 1, *[0] * 8]) for _ in range(5)]).T
    L = conserved_moieties(N)
    assert (L >= 0).all() and not (L @ N).any()
    assert len(L) == len(N) - np.linalg.matrix_rank(N) == np.linalg.matrix_rank(L)


def test_a_dangling_subunit_is_not_counted_elsewhere(small_graph: Graph) -> None:
    small_graph.edges["subunit"].loc[0, "source"] = "X"
    with pytest.raises(GraphError, match="ends in no molecule or complex"):
        formula(small_graph)


def test_moieties_need_integers_and_stay_exact_for_large_ones() -> None:
    assert conserved_moieties(np.array([[3**20], [-(2**30)]])).tolist() == [[2**30, 3**20]]
    with pytest.raises(GraphError, match="matrix of integers"):
        conserved_moieties(np.array([[0.5]]))  # type: ignore[arg-type]
    assert conserved_moieties(np.zeros((2, 0), dtype=int)).tolist() == [[1, 0], [0, 1]]


def test_stoichiometric_matrix_cancels_catalysts() -> None:
    graph = random_graph(3)
    N = stoichiometric_matrix(graph)
    assert N.shape == (len(graph.species), 3)
    column = dict(zip(graph.species, N.T[0].tolist(), strict=True))
    assert {name: number for name, number in column.items() if number} == {"M0": -2, "C0": 1}
    both = isomers([("A", "B")])
    both.edges["product"].loc[0, "target"] = "A"
    assert not stoichiometric_matrix(both).any()


@pytest.mark.parametrize("seed", range(10))
def test_cycles_are_as_many_as_those_of_the_graph_of_isomers(seed: int) -> None:
    network = nx.gnm_random_graph(9, 14, seed=seed)
    graph = isomers([(f"X{a}", f"X{b}") for a, b in network.edges])
    C = cycles(graph)
    assert len(C) == len(nx.cycle_basis(network)) == np.linalg.matrix_rank(C)
    assert not (stoichiometric_matrix(graph) @ C.T).any()


def test_irreversible_reactions_are_in_no_cycle() -> None:
    edges = [("A", "B"), ("B", "C"), ("A", "C")]
    assert cycles(isomers(edges)).tolist() == [[1, 1, -1]]
    assert cycles(isomers(edges, reversible=False)).shape == (0, 3)
    graph = isomers(edges)
    graph.nodes["reaction"].loc["r1", "reversible"] = False
    assert len(cycles(graph)) == 0


def test_units_of_a_pair_are_species_of_the_cells(small_graph: Graph) -> None:
    rows = pair_units(small_graph).itertuples(index=False, name=None)
    assert list(rows) == [("L2:AB", "sender", "L2", 1), ("L2:AB", "receiver", "A:B", 1)]
    assert pair_complexes(small_graph) == ["L2:AB"]


def test_units_are_free_molecules_where_no_complex_fits(small_graph: Graph) -> None:
    small_graph.edges["subunit"].loc[3, "stoichiometry"] = 3
    assert pair_units(small_graph).iloc[0].tolist() == ["L2:AB", "sender", "L", 3]
    small_graph.edges["subunit"].loc[5, "stoichiometry"] = 2
    with pytest.raises(GraphError, match=r"\(A \+ 2 B\) is not a whole multiple"):
        pair_units(small_graph)


def test_a_graph_without_pairs_has_no_units(small_graph: Graph) -> None:
    units = pair_units(without_complexes(small_graph))
    assert units.empty and list(units.columns) == ["complex", "side", "unit", "count"]


def test_graphs_without_complexes_keep_their_other_edges(small_graph: Graph) -> None:
    bare = without_complexes(small_graph)
    assert bare.complexes == [] and bare.edges["subunit"].empty and bare.edges["member"].empty
    assert bare.edges["encodes"].equals(small_graph.edges["encodes"])
    assert without_complexes(small_graph, ["L2:AB"]).complexes == ["A:B", "L2"]
