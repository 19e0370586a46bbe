"""Checks of rate laws: every kind of problem is named with the reaction, the value and the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from small_kinetics import network

from multiscale.errors import GraphError
from multiscale.graph import Graph, check, from_hetero, from_networkx, read_graph, write_graph
from multiscale.graph.rates import needs_of, reactions_of

VALUES = {
    "k_1": (2.0, "1/s"),
    "k_2": (2.0, "1/(uM*s)"),
    "k_0": (1.0, "uM/s"),
    "K_1": (300.0, "nM"),
    "K_2": (1.0, "uM"),
    "n_1": (2.0, "1"),
    "q_1": (5.0, "uM"),
    "x_1": (0.1, "uM"),
}
SATURATED = {"law": "michaelis_menten", "constants": "k_cat=k_1;Km=K_1"}
MODULAR = {"law": "modular", "reversible": True, "constants": "V_max=k_0;Km:S=K_1;K_eq=q_1"}
HILL = {"law": "hill", "constants": "k=k_0;K=K_1;n=n_1"}


def conversion(columns: dict[str, Any], **roles: str) -> Graph:
    """S -> P with any columns, modifiers E and I where they have a role."""
    return network({"r": "S -> P"}, {"r": columns}, modifiers={"r": roles}, values=VALUES)


def problems(graph: Graph) -> list[str]:
    with pytest.raises(GraphError) as caught:
        check(graph)
    return caught.value.problems


@pytest.mark.parametrize(
    ("columns", "roles", "expected"),
    [
        (SATURATED | {"constants": "k_cat=k_1"}, {"E": "catalyst"}, "`michaelis_menten` needs `Km`"),
        (SATURATED | {"constants": "k_cat=k_1;Km=K_1;Ki=K_1"}, {"E": "catalyst"}, "has no constant `Ki`"),
        (SATURATED | {"constants": "k_cat=k_1;Km=k_1"}, {"E": "catalyst"}, "`Km` = `k_1` is not a parameter"),
        (SATURATED | {"constants": "k_cat=k_9;Km=K_1"}, {"E": "catalyst"}, "did you mean `k_"),
        (SATURATED | {"constants": "k_cat=k_1;Km"}, {"E": "catalyst"}, "`Km` is not `name=parameter`"),
        (SATURATED | {"constants": "Km=K_1;Km=K_2"}, {"E": "catalyst"}, "`Km` occurs twice"),
        (SATURATED | {"constants": "k_cat=k_2;Km=K_1"}, {"E": "catalyst"}, "it needs `1/s`"),
        (SATURATED, {}, "`michaelis_menten` has no constant `k_cat`; "),
        (SATURATED, {}, "needs `V_max`"),
        (SATURATED, {"E": "catalyst", "F": "catalyst"}, "has 2 modifiers of role catalyst, but"),
        (SATURATED, {"E": "catalyst", "I": "inhibitor"}, "has 1 modifiers of role inhibitor, but"),
        (SATURATED | {"k_f": "k_1"}, {"E": "catalyst"}, "has no constant `k_f`"),
        (SATURATED | {"reversible": True}, {"E": "catalyst"}, "`michaelis_menten` runs in one direction"),
        ({"law": "transport", "constants": "k=k_1"}, {}, "`transport` runs in both directions"),
        (MODULAR, {}, "needs `Km:P`"),
        (MODULAR, {}, "it needs `1`;"),
        (HILL, {"X": "activator"}, "has 2 reactants, inhibitors and activators"),
        ({"law": "michaelis"}, {}, "`law` = `michaelis` is not allowed; did you mean `michaelis_menten`?"),
        ({"k_f": "k_1", "fast": True}, {}, "is `fast`, but only a reversible mass-action reaction"),
        ({"k_f": "k_1"}, {"I": "inhibitor"}, "`mass_action` reads 0; correct its edges or name another law"),
        ({"k_f": "k_1"}, {"E": "catalyst"}, "it needs `1/(uM*s)`"),
    ],
)  # fmt: skip
def test_a_law_that_cannot_be_read_is_named(columns: dict[str, Any], roles: dict[str, str], expected: str):
    found = problems(conversion(columns, **roles))
    assert any(expected in sentence and "`r`" in sentence for sentence in found), found


def test_all_problems_of_all_reactions_come_at_once():
    columns = {"a": {"law": "hill"}, "b": {"law": "michaelis_menten"}, "c": {"k_f": "k_9"}}
    found = problems(network({"a": "A -> B", "b": "B -> C", "c": "C -> A"}, columns, values=VALUES))
    assert {name for name in "abc" if any(f"`{name}`" in sentence for sentence in found)} == {*"abc"}


def test_laws_with_all_they_need_pass():
    check(conversion(SATURATED, E="catalyst"))
    check(conversion(SATURATED | {"constants": "V_max=k_0;Km=K_1"}))
    check(conversion(HILL))
    check(conversion({"k_f": "k_2"}, E="catalyst"))


def test_a_reaction_without_rate_constants_may_be_drawn_with_any_modifier():
    check(conversion({}, E="catalyst", I="inhibitor"))


@pytest.mark.parametrize(
    ("initial", "expected"),
    [("-1", "must be zero or positive"), ("nan", "not a number or a parameter"), ("inf", "and finite"),
     ("x_2", "did you mean `x_1`"), ("K_1", "not a number or a parameter of role concentration")],
)  # fmt: skip
def test_a_wrong_start_is_named(initial: str, expected: str):
    graph = network({"r": "S -> P"}, values=VALUES, species={"S": {"initial": initial}})
    assert any(expected in sentence and "`S`" in sentence for sentence in problems(graph))
    graph.nodes["molecule"].loc["S", "initial"] = "x_1"
    check(graph)


def test_what_follows_from_energies_needs_them():
    columns = {"r": {"k_f": "k_2", "reversible": True}}
    graph = network({"r": "A + B -> AB"}, columns, values=VALUES, complexes={"AB": ("A + B", "")})
    [sentence] = problems(graph)
    assert "`k_r` is empty, so it follows from the energies, but complex `AB` has none" in sentence
    graph.nodes["reaction"].loc["r", "k_r"] = "k_1"
    check(graph)
    graph.nodes["reaction"].loc["r", ["k_f", "fast"]] = ["", True]
    assert "`k_f` is empty, so it follows from the energies" in problems(graph)[0]


def test_a_complex_without_energy_or_reaction_is_refused():
    graph = network({"r": "A -> B"}, values=VALUES, complexes={"AB": ("A + B", "")})
    assert "complex `AB` has no energy term" in problems(graph)[0]


@pytest.mark.parametrize("named", ["", "nucleus"])
def test_a_reaction_between_volumes_names_the_one_it_is_counted_in(named: str):
    graph = network(
        {"r": "A -> B"},
        {"r": {"k_f": "k_1", "compartment": named}},
        values=VALUES,
        species={"B": {"compartment": "nucleus"}},
        compartments={"nucleus": {"geometry": "volume", "volume_fraction": 0.1}},
    )
    if named:
        check(graph)
    else:
        assert "joins the whole cell, `nucleus`, which have different volumes" in problems(graph)[0]


def test_volumes_in_fL_need_that_of_the_cell():
    graph = network(
        {"r": "A -> B"},
        {"r": {"k_f": "k_1", "compartment": "nucleus"}},
        values=VALUES,
        species={"B": {"compartment": "nucleus"}},
        compartments={"nucleus": {"geometry": "volume", "volume_fL": 100.0}},
    )
    assert "add `volume_fL` under [cell]" in problems(graph)[0]
    graph.card["cell"] = {"volume_fL": 2000.0}
    check(graph)


def test_constants_of_single_species_carry_their_name(tmp_path):
    columns = {"law": "modular", "reversible": True, "constants": "V_max=k_0;Km:A:B=K_1;Km:C=K_2"}
    graph = network(
        {"r": "A:B -> C"}, {"r": columns}, values=VALUES, complexes={"A:B": ("A + B", ""), "C": ("A + B", "")}
    )
    graph.nodes["complex"]["energy"] = ["g_1", "g_1"]
    graph.parameters.loc["g_1"] = graph.parameters.loc["k_0"]
    graph.parameters.loc["g_1", ["role", "unit", "nominalValue"]] = ["energy", "kcal/mol", -1.0]
    check(graph)
    [reaction] = reactions_of(graph)
    given = {(need.constant.name, need.species): need.given(reaction) for need in needs_of(reaction)}
    assert given == {("k_cat", ""): "k_0", ("K_eq", ""): "", ("Km", "A:B"): "K_1", ("Km", "C"): "K_2"}
    write_graph(graph, tmp_path / "g")
    assert read_graph(tmp_path / "g").nodes["reaction"].loc["r", "constants"] == columns["constants"]


def test_columns_of_kinetics_survive_conversions():
    graph = network(
        {"r": "S -> P", "f": "P -> Q"},
        {"r": SATURATED, "f": {"k_f": "k_1", "k_r": "k_1", "reversible": True, "fast": True}},
        modifiers={"r": {"E": "catalyst"}},
        values=VALUES,
        species={"S": {"initial": "0.5"}, "E": {"initial": "x_1", "constant": True}},
    )
    check(graph)
    assert from_hetero(graph.to_hetero()).equals(graph)
    assert from_networkx(graph.to_networkx()).equals(graph)
