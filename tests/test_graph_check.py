"""Checks of a graph: every kind of problem is found, named and given a remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from random_graphs import random_graph

from multiscale.errors import GraphError
from multiscale.graph import Graph, check

Change = Callable[[Graph], Any]


def problems(graph: Graph) -> list[str]:
    with pytest.raises(GraphError) as caught:
        check(graph)
    return caught.value.problems


def kinetic(
    reactions: list[str], rates: dict[str, tuple[float, float]] | None = None, **columns: Any
) -> Graph:
    """Reversible reactions written as in `2 A + B -> C`, with forward and backward rate constants."""
    reactants, products = [], []
    for i, equation in enumerate(reactions):
        for side, rows in zip(equation.split("->"), (reactants, products), strict=True):
            for term in filter(None, map(str.strip, side.split("+"))):
                number, name = term.split() if " " in term else ("1", term)
                rows.append((name, f"r{i}", int(number)))
    names = sorted({name for name, _, _ in reactants + products})
    order = {f"r{i}": sum(n for _, r, n in reactants if r == f"r{i}") for i in range(len(reactions))}
    back = {f"r{i}": sum(n for _, r, n in products if r == f"r{i}") for i in range(len(reactions))}
    unit = {0: "uM/s", 1: "1/s", 2: "1/(uM*s)", 3: "1/(uM^2*s)"}
    parameters = [
        {"parameterId": f"{k}_{r}", "role": "rate_constant", "unit": unit[n[r]], "nominalValue": value}
        for r, pair in (rates or {}).items()
        for k, n, value in zip(("kf", "kr"), (order, back), pair, strict=True)
    ]
    table = pd.DataFrame({"name": list(order), "reversible": True} | columns)
    table["k_f"] = [f"kf_{r}" if rates and r in rates else "" for r in order]
    table["k_r"] = [f"kr_{r}" if rates and r in rates else "" for r in order]
    return Graph.from_tables(
        "kinetic",
        {"molecule": pd.DataFrame({"name": names}), "reaction": table},
        {
            "reactant": pd.DataFrame(reactants, columns=["source", "target", "stoichiometry"]),
            "product": pd.DataFrame(products, columns=["target", "source", "stoichiometry"]),
        },
        pd.DataFrame(parameters) if parameters else None,
    )


def setting(table: str, row: object, column: str | list[str], value: object) -> Change:
    """Change one cell of the nodes, edges or parameters of a graph."""

    def change(graph: Graph) -> None:
        tables = {**graph.nodes, **graph.edges, "parameters": graph.parameters}
        tables[table].loc[row, column] = value  # type: ignore[index]

    return change


@pytest.mark.parametrize("seed", range(5))
def test_consistent_graphs_pass(seed: int, small_graph: Graph) -> None:
    check(random_graph(seed))
    check(small_graph)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (setting("subunit", 0, "source", "X"), ["`X` subunit `A:B`: source `X` is not in nodes.tsv"]),
        (setting("subunit", 0, "source", "signal"), ["source must be a molecule", "`signal` is a pathway"]),
        (setting("subunit", 1, "source", "A"), ["`A` subunit `A:B` occurs twice"]),
        (setting("subunit", 0, "stoichiometry", -2), ["positive whole number; got -2"]),
        (setting("subunit", 0, "stoichiometry", 0), ["positive whole number; got 0"]),
        (setting("subunit", 0, "side", "left"), ["`side` = `left` is not allowed", "`receiver`"]),
        (setting("subunit", 3, "side", ""), ["pair complex `L2:AB` has subunits without a side"]),
        (setting("subunit", 5, "stoichiometry", 2), ["side `receiver`", "`L2:AB` (A + 2 B) is not a whole"]),
        (setting("subunit", [4, 5], "side", "sender"), ["`L2:AB` has no subunit on side `receiver`"]),
        (setting("encodes", 0, "source", "A"), ["`A` encodes `A`: it encodes itself"]),
        (setting("member", 0, "weight", -1.0), ["`weight` must be zero or positive", "got -1.0"]),
        (setting("member", 0, "weight", np.nan), ["`weight` must be zero or positive", "got nan"]),
        (setting("member", 0, "sign", 0), ["`sign` = `0` is not allowed"]),
        (setting("molecule", "A", "kind", "protien"), ["`kind` = `protien`", "did you mean `protein`"]),
        (setting("molecule", "A", "compartment", "surfac"), ["did you mean `surface`"]),
        (setting("molecule", "A", "note", "a\tb"), ["`note` holds a tab"]),
        (setting("complex", "A:B", "energy", ""), ["`A:B` has no energy term"]),
        (setting("complex", "A:B", "energy", "g_ABC"), ["`g_ABC` is not a parameter of role energy"]),
        (setting("complex", "A:B", "energy", "rho_AB"), ["`rho_AB` is not a parameter of role energy"]),
        (setting("complex", "A:B", "energy", "g_AB,g_LL"), ["`g_AB,g_LL`", "separate terms by `;`"]),
        (setting("complex", "A:B", "energy", "g_AB*0"), ["no finite number other than zero"]),
        (setting("complex", "A:B", "orphan", "g_AB"), ["`g_AB` is not a parameter of role loss", "`rho_AB`"]),
        (setting("complex", "A:B", "statistical_factor", 0.0), ["must be positive and finite; got 0.0"]),
        (setting("complex", "L2:AB", "compartment", "surface"), ["must lie in a compartment", "`surface`"]),
        (setting("parameters", "g_AB", "unit", "kJ/mol"), ["`g_AB`", "`kJ/mol` does not fit role energy"]),
        (setting("parameters", "g_AB", "role", "enrgy"), ["`role` = `enrgy`", "did you mean `energy`"]),
        (setting("parameters", "g_AB", "estimate", 2), ["`estimate` = `2` is not allowed"]),
        (setting("parameters", "g_AB", "lowerBound", 20.0), ["lowerBound 20 must not exceed upperBound 10"]),
        (setting("parameters", "g_AB", "nominalValue", -50.0), ["-50 lies outside its bounds"]),
        (setting("parameters", "g_AB", "nominalValue", np.inf), ["nominalValue must be finite"]),
        (setting("parameters", "g_AB", ["nominalValue", "estimate"], [np.nan, 0]), ["no nominalValue"]),
        (setting("parameters", "g_AB", "objectivePriorParameters", "-10"), ["two numbers separated by `;`"]),
        (setting("parameters", "g_AB", "objectivePriorParameters", "0;0"), ["a width and must be positive"]),
        (setting("parameters", "g_AB", "objectivePriorParameters", "0;inf"), ["must be finite"]),
        (setting("parameters", "g_AB", "objectivePriorType", ""), ["without an objectivePriorType"]),
        (setting("parameters", "g_AB", "objectivePriorType", "uniform"), []),
        (setting("parameters", "rho_AB", ["nominalValue", "upperBound"], [2.0, 9.0]), ["at most 1; got 2"]),
        (setting("parameters", "h_contact", ["nominalValue", "lowerBound"], [0.0, 0.0]), ["positive, in nm"]),
    ],
)  # fmt: skip
def test_a_problem_is_named_with_value_and_remedy(
    small_graph: Graph, change: Change, expected: list[str]
) -> None:
    change(small_graph)
    if expected:
        found = problems(small_graph)
        assert any(all(part in sentence for part in expected) for sentence in found), found
    else:
        check(small_graph)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("licence", "", "`licence` is missing"),
        ("licence", "do what you want", "SPDX"),
        ("licence", 3, "`licence` must be text; got 3"),
        ("titel", "x", "unknown key `titel`; did you mean `title`"),
        ("name", "other", "`name` is `other` but the graph is called `small`"),
        ("format_version", 0, "`format_version` must be from 1"),
        ("sources", {"title": "x"}, "`sources` must be a list"),
        ("sources", ["x"], "sections [[sources]]"),
        ("cell", {"volume_fL": -1}, "`cell.volume_fL` must be positive; got -1"),
        ("description", None, "`description` must be text"),
        ("compartments", [], "`compartments` must be a section"),
        ("compartments", {"surface": 1}, "must be a section [compartments.surface]"),
        ("compartments", {"surface": {"geometry": "plane"}}, "`plane`"),
        ("compartments", {"surface": {"geometry": "volume", "volume_fraction": 2}}, "at most 1; got 2"),
        ("compartments", {"surface": {"geometry": "contact"}}, "contact `surface` has no `confinement`"),
        ("compartments", {"surface": {"geometry": "contact", "confinement": "g_AB"}}, "`g_AB` is not a"),
        ("compartments", {"surface": {"geometry": "soluble"}}, "soluble `surface` has no `volume_fL`"),
        ("compartments", {"surface": {"geometry": "volume", "volum": 1}}, "`compartments.surface.volum`"),
    ],
)  # fmt: skip
def test_a_wrong_card_is_refused(small_graph: Graph, key: str, value: object, expected: str) -> None:
    small_graph.card[key] = value
    assert any(expected in sentence for sentence in problems(small_graph)), problems(small_graph)


def test_names_are_used_once_over_all_types(small_graph: Graph) -> None:
    pathways = pd.DataFrame({"name": ["signal", "A", "x;y", " z"]})
    graph = Graph.from_tables("small", {**small_graph.nodes, "pathway": pathways}, small_graph.edges)
    found = [sentence for sentence in problems(graph) if sentence.startswith("nodes.tsv: name")]
    assert "name `A` is used 2 times (molecule, pathway)" in found[0]
    assert "'x;y'" in found[1] and "' z'" in found[2]


def test_a_complex_needs_subunits(small_graph: Graph) -> None:
    edges = {**small_graph.edges, "subunit": small_graph.edges["subunit"].iloc[2:]}
    assert "nodes.tsv: complex `A:B` has no subunits; add `subunit` edges or remove it." in problems(
        replace(small_graph, edges=edges)
    )


@pytest.mark.parametrize("unit", ["pM", "nM", "uM", "M"])
@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_dissociation_constant_is_positive(unit: str, value: float) -> None:
    table = pd.DataFrame({"parameterId": ["Kd_1"], "role": ["Kd"], "unit": [unit], "nominalValue": [value]})
    [sentence] = problems(Graph.from_tables("Kd", {}, {}, table))
    assert (
        sentence
        == f"parameters.tsv: `Kd_1`: nominalValue of a Kd must be positive, in {unit}; got {value:g}."
    )


def test_identifiers_of_parameters_are_those_of_petab() -> None:
    table = pd.DataFrame({"parameterId": ["1a", "a", "a"], "role": "weight", "nominalValue": 1.0})
    found = problems(Graph.from_tables("ids", {}, {}, table))
    assert "`a` occurs twice" in found[0] and "`1a`: parameterId must have only letters" in found[1]


def test_a_side_that_fits_two_species_is_ambiguous(small_graph: Graph) -> None:
    row = small_graph.nodes["complex"].loc[["A:B"]].rename(index={"A:B": "isomer"})
    subunits = small_graph.edges["subunit"]
    nodes = {**small_graph.nodes, "complex": pd.concat([small_graph.nodes["complex"], row])}
    edges = {**small_graph.edges, "subunit": pd.concat([subunits, subunits.iloc[:2].assign(target="isomer")])}
    [sentence] = problems(replace(small_graph, nodes=nodes, edges=edges))
    assert "(A + B) fits `A:B`, `isomer` equally well; keep one" in sentence


def test_a_species_meets_other_cells_in_one_compartment(small_graph: Graph) -> None:
    small_graph.card["compartments"]["medium"] = {"geometry": "soluble", "volume_fL": 1000.0}
    row = (
        small_graph.nodes["complex"]
        .loc[["L2:AB"]]
        .rename(index={"L2:AB": "AB:L2"})
        .assign(compartment="medium")
    )
    swapped = (
        small_graph.edges["subunit"].iloc[3:].assign(target="AB:L2", side=["receiver", "sender", "sender"])
    )
    nodes = {**small_graph.nodes, "complex": pd.concat([small_graph.nodes["complex"], row])}
    edges = {**small_graph.edges, "subunit": pd.concat([small_graph.edges["subunit"], swapped])}
    found = problems(replace(small_graph, nodes=nodes, edges=edges))
    assert found[0] == (
        "nodes.tsv: `L2` meets other cells in several compartments: `contact` (L2:AB), `medium` (AB:L2);"
        " put them in one."
    )


def test_tables_edited_by_hand_are_checked_for_their_form(small_graph: Graph) -> None:
    small_graph.edges["subunit"]["stoichiometry"] = [1.5, 1, 2, 2, 1, 1]
    small_graph.nodes["complex"].drop(columns="note", inplace=True)
    small_graph.nodes["pathway"]["colour"] = "red"
    del small_graph.edges["drives"]
    assert problems(small_graph) == ["table `drives` is missing; use `Graph.from_tables`."]
    small_graph.edges["drives"] = Graph.from_tables("empty", {}).edges["drives"]
    found = problems(small_graph)
    assert "edges.tsv: `A` subunit `A:B`: `stoichiometry` must be a whole number; got 1.5." in found
    assert any("`note` of `complex` is missing" in sentence for sentence in found)
    assert any("unknown attribute `colour` of `pathway`" in sentence for sentence in found)


@pytest.mark.parametrize(
    ("reactions", "expected"),
    [
        (["-> A"], "reaction `r0` makes A;"),
        (["A ->"], "reaction `r0` destroys A;"),
        (["A -> 2 A"], "reaction `r0` makes A;"),
        (["A + B -> 3 A + B"], "reaction `r0` makes 2 A;"),
        (["A -> A + B"], "reaction `r0` makes B;"),
        (["A -> B", "B -> 2 C", "2 C -> 2 A"], "from nothing"),
        (["A -> B", "A -> 2 B"], "`r1` together make B from nothing"),
    ],
)
def test_reactions_that_make_mass_from_nothing_are_named(reactions: list[str], expected: str) -> None:
    graph = kinetic(reactions)
    assert any(expected in sentence and "source_or_sink" in sentence for sentence in problems(graph))
    check(kinetic(reactions, source_or_sink=True))


@pytest.mark.parametrize(
    "reactions", [["A -> B"], ["A -> 2 B", "2 B -> A"], ["2 A + B -> C", "C -> D", "D -> B + 2 A"]]
)
def test_reactions_with_some_positive_masses_pass(reactions: list[str]) -> None:
    check(kinetic(reactions))


def test_a_complex_weighs_as_much_as_its_subunits(small_graph: Graph) -> None:
    edges = {
        **small_graph.edges,
        "reactant": pd.DataFrame({"source": ["A", "B", "C"], "target": "bind"}),
        "product": pd.DataFrame({"source": ["bind"], "target": ["A:B"]}),
    }
    nodes = {**small_graph.nodes, "reaction": pd.DataFrame({"name": ["bind"]})}
    graph = Graph.from_tables("small", nodes, edges, small_graph.parameters, small_graph.card)
    assert "reaction `bind` destroys C;" in problems(graph)[0]
    check(replace(graph, edges={**graph.edges, "reactant": graph.edges["reactant"].iloc[:2]}))


def test_a_cycle_that_violates_detailed_balance_is_spelled_out() -> None:
    rates = {"r0": (2.0, 1.0), "r1": (3.0, 1.0), "r2": (60.0, 1.0)}
    [sentence] = problems(kinetic(["A -> B", "B -> C", "A -> C"], rates))
    assert "`r0` + `r1` − `r2`" in sentence
    assert "multiply to 0.1 instead of 1 (`r0`: A → B; `r1`: B → C; `r2`: C → A)" in sentence


def test_detailed_balance_allows_for_three_digits_and_missing_constants() -> None:
    reactions = ["A + B -> C", "C -> D", "A + B -> D"]
    check(kinetic(reactions, {"r0": (2.0, 1.0), "r1": (3.33, 1.0), "r2": (6.67, 1.0)}))
    check(kinetic(reactions, {"r0": (2.0, 1.0), "r2": (60.0, 1.0)}))
    assert len(problems(kinetic(reactions, {"r0": (2.0, 1.0), "r1": (3.33, 1.0), "r2": (7.0, 1.0)}))) == 1


def test_rate_constants_have_the_unit_of_their_reaction() -> None:
    graph = kinetic(["A + B -> C"], {"r0": (2.0, 1.0)})
    graph.parameters.loc["kf_r0", "unit"] = "1/s"
    [sentence] = problems(graph)
    assert "`kf_r0` has unit `1/s`, but as `k_f`" in sentence and "it needs `1/(uM*s)`" in sentence
    graph.nodes["reaction"].loc["r0", ["k_f", "reversible"]] = ["kfr0", False]
    found = problems(graph)
    assert "`r0` is not reversible but has a `k_r`" in found[0]
    assert "did you mean `kf_r0`" in found[1]


def test_many_dangling_edges_are_all_listed() -> None:
    names = [f"M{i}" for i in range(3000)]
    edges = pd.DataFrame({"source": [f"X{i}" for i in range(3000)], "target": names})
    graph = Graph.from_tables("many", {"molecule": pd.DataFrame({"name": names})}, {"encodes": edges})
    assert len(problems(graph)) == 3000
