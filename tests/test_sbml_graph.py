"""Imported models as graphs: laws are recognised, tables and equations agree, files keep both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multiscale.equations.expression import number, symbols_of
from multiscale.equations.formula import formula, parse
from multiscale.equations.model import Compartment, Equations, Event, Parameter, Participant, Process, Species
from multiscale.equations.values import with_values
from multiscale.errors import DataError, GraphError
from multiscale.formats import exchange
from multiscale.formats.sbml.graph import equations_to_graph, read_sbml
from multiscale.formats.sbml.recognise import recognise
from multiscale.formats.sbml.write import graph_to_sbml, write_sbml
from multiscale.graph import check, from_hetero, from_networkx, read_graph, write_graph
from multiscale.model.imported import simulate_equations
from multiscale.model.kinetics.system import Kinetics
from multiscale.model.network import Network
from multiscale.model.simulate import simulate


def model(
    flux: str, reactants: dict[str, float], products: dict[str, float], modifiers: tuple[str, ...] = ()
) -> Equations:
    """One reaction `r` in a compartment `c`; every other name in the flux is a parameter."""
    names = [*reactants, *products, *modifiers]
    law = parse(flux)
    sides = [tuple(Participant(s, number(n)) for s, n in side.items()) for side in (reactants, products)]
    others = sorted(symbols_of([law]) - {*names, "c"})
    return Equations(
        {"c": Compartment(2.0)},
        {name: Species("c", 0.5 + i) for i, name in enumerate(dict.fromkeys(names))},
        {name: Parameter(0.3 + 0.2 * i) for i, name in enumerate(others)},
        {"r": Process(law, *sides, modifiers=modifiers)},
    )


A, AC = {"A": 1.0}, ({"A": 1.0}, {"C": 1.0})
RECOGNISED = [
    ("c * (kf * A * B - kr * C)", {"A": 1, "B": 1}, {"C": 1}, (), "mass_action", {"k_f": "kf", "k_r": "kr"}),
    ("k * A^2", {"A": 2}, {"C": 1}, (), "mass_action", {"k_f": "k"}),
    ("0.1 * A * M", *AC, ("M",), "mass_action", {"k_f": 0.1}),
    ("k", {}, {"C": 1}, (), "mass_action", {"k_f": "k"}),
    ("c * V * A / (Km + A)", *AC, (), "michaelis_menten", {"V_max": "V", "Km": "Km"}),
    ("k * E * (A / Km) / (1 + A / Km)", *AC, ("E",), "michaelis_menten", {"k_cat": "k", "Km": "Km"}),
    (
        *("k * E * A / (Km * (1 + I / Ki) + A)", *AC, ("E", "I")),
        *("competitive_inhibition", {"k_cat": "k", "Km": "Km", "K_i": "Ki"}),
    ),
    (
        *("k * E * A / ((Km + A) * (1 + I / Ki))", *AC, ("E", "I")),
        *("noncompetitive_inhibition", {"k_cat": "k", "Km": "Km", "K_i": "Ki"}),
    ),
    (
        *("V * A / (Km + A * (1 + I / Ki))", *AC, ("I",)),
        *("uncompetitive_inhibition", {"V_max": "V", "Km": "Km", "K_i": "Ki"}),
    ),
    ("V * X^n / (K^n + X^n)", {}, {"C": 1}, ("X",), "hill", {"k": "V", "K": "K", "n": "n"}),
    ("V / (1 + (X / K)^n)", {}, {"C": 1}, ("X",), "hill", {"k": "V", "K": "K", "n": "n"}),
    ("V * X^2 / (K^2 + X^2)", {}, {"C": 1}, ("X",), "hill", {"k": "V", "K": "K", "n": 2.0}),
    ("k * (A - C / K)", *AC, (), "transport", {"k": "k", "K": "K"}),
    (
        *("Vf * (A - C / Keq) / Ks / (1 + A / Ks + C / Kp)", *AC, ()),
        *("reversible_michaelis_menten", {"V_max": "Vf", "K_s": "Ks", "K_p": "Kp", "K_eq": "Keq"}),
    ),
    (
        "k * E * (A * B - C / Q) / (Ka * Kb * ((1 + A / Ka) * (1 + B / Kb) + (1 + C / Kc) - 1))",
        *({"A": 1, "B": 1}, {"C": 1}, ("E",)),
        *("modular", {"k_cat": "k", "K_eq": "Q", "Km:A": "Ka", "Km:B": "Kb", "Km:C": "Kc"}),
    ),
]


@pytest.mark.parametrize("case", RECOGNISED, ids=lambda case: f"{case[4]}: {case[0]}")
def test_a_law_is_recognised_with_its_constants(case: tuple):
    flux, reactants, products, modifiers, law, constants = case
    equations = model(flux, reactants, products, modifiers)
    found = recognise(equations, "r")
    assert found is not None and (found.law, found.constants) == (law, constants)
    table = equations_to_graph(equations, "one").nodes["reaction"]
    assert table[["law", "formula"]].iloc[0].tolist() == [law, formula(parse(flux))]


@pytest.mark.parametrize(
    ("flux", "reactants"),
    [
        ("k * A", {"A": 2.0}),  # a dimer that decays in first order
        ("k * A", {"A": 0.5}),
        ("k1 * k2 * A", A),  # no single parameter is its constant
        ("V * A / (Km - A)", A),
        ("V * A^n / (K + A^n)", A),  # K is a power of a concentration here
        ("k * A * exp(-C)", A),
        ("k * A * time", A),
        ("(k * A + k * C) / (Km + A)", A),
    ],
)
def test_what_is_no_law_of_the_list_stays_a_formula(flux: str, reactants: dict[str, float]):
    equations = model(flux, reactants, {"C": 1.0})
    assert recognise(equations, "r") is None
    assert equations_to_graph(equations, "one").nodes["reaction"].at["r", "law"] == "formula"


def imported() -> Equations:
    """Three laws, a rule, an event, a stoichiometry of a half."""
    one = model("c * V * A / (Km + A)", {"A": 1.0}, {"C": 0.5})
    decay = Process(parse("k * C * exp(-0.1 * A)"), (Participant("C", number(1.0)),))
    return replace(
        one,
        parameters={**one.parameters, "k": Parameter(0.2), "y": Parameter(None, constant=False)},
        processes={**one.processes, "decay": decay},
        assignments={"y": parse("A + 2 * C")},
        events=(Event("refill", parse("time > 2"), {"A": parse("A + 1")}),),
    )


def test_a_graph_shows_who_takes_part_and_holds_the_equations():
    graph = equations_to_graph(imported(), "small")
    assert graph.card["units"] == "model" and graph.nodes["molecule"]["kind"].tolist() == ["other", "other"]
    assert graph.edges["product"].iloc[0].tolist()[:3] == ["r", "C", 1]  # one half is not a whole number
    assert graph.parameters.loc[["V", "Km"], "role"].tolist() == ["rate_constant", "Km"]
    assert "y" not in graph.parameters.index
    assert graph.edges["modifier"][["source", "target"]].to_numpy().tolist() == [["A", "decay"]]


def test_files_and_other_programs_give_the_same_graph_back(tmp_path: Path):
    graph = equations_to_graph(imported(), "small")
    assert read_graph(write_graph(graph, tmp_path / "small")).equals(graph)
    assert from_networkx(graph.to_networkx()).equals(graph)
    assert from_hetero(graph.to_hetero()).equals(graph)
    assert exchange.unflatten(exchange.flatten(graph), "records").graph.equals(graph)
    path = write_sbml(graph, tmp_path / "small.xml")
    assert read_sbml(path).nodes["reaction"].equals(graph.nodes["reaction"])


def test_equations_are_part_of_a_graph():
    graph, other = (equations_to_graph(imported(), "small") for _ in range(2))
    assert graph.equals(other) and graph.hash() == other.hash()
    other = equations_to_graph(replace(imported(), events=()), "small")
    assert not graph.equals(other) and graph.hash() != other.hash()
    plain = replace(graph, equations=None)
    assert not plain.equals(graph)


def test_a_folder_that_is_written_over_loses_its_equations(tmp_path: Path):
    write_graph(equations_to_graph(imported(), "small"), tmp_path / "one")
    write_graph(read_graph("mapk_cascade"), tmp_path / "one", overwrite=True)
    assert read_graph(tmp_path / "one").equations is None


@pytest.mark.parametrize(
    ("kind", "row", "column", "value", "expected"),
    [
        ("molecule", "A", "initial", "7", "`A`: `initial` = `7`, but `0.5` in equations.toml"),
        ("parameters", "V", "nominalValue", 9.0, "`V` is 9, but 0.5 in equations.toml"),
        ("reaction", "r", "formula", "k", "`formula` = `k` differs from equations.toml"),
        ("reactant", 0, "stoichiometry", 2, "`A` reactant `r` (2) is only in the tables"),
    ],
)
def test_an_edit_that_contradicts_the_equations_is_an_error(
    kind: str, row: Any, column: str, value: Any, expected: str
):
    graph = equations_to_graph(imported(), "small")
    tables = {"parameters": graph.parameters, **graph.nodes, **graph.edges}
    tables[kind].loc[row, column] = value
    with pytest.raises(GraphError) as caught:
        check(graph)
    assert any(expected in problem for problem in caught.value.problems), caught.value.problems


def test_an_imported_graph_is_simulated_by_its_equations():
    equations = imported()
    graph, times = equations_to_graph(equations, "small"), [0.0, 1.0, 3.0]
    course = simulate(graph, times, rtol=1e-8, atol=1e-12)
    wanted = simulate_equations(equations, times)
    np.testing.assert_allclose(course.frame()[["A", "C"]], wanted[["A", "C"]], rtol=1e-6)
    x = course.frame().iloc[1]
    flux = course.fluxes().loc[1, "decay"]
    c = x["C"]
    assert flux == pytest.approx(equations.parameters["k"].value * c * np.exp(-0.1 * x["A"]))


def test_a_scan_changes_any_number_of_an_imported_model():
    graph = equations_to_graph(imported(), "small")
    scan = simulate(graph, [1.0], set={"V": [0.1, 0.9]}, initial={"A": 2.0}, rtol=1e-8, atol=1e-12)
    for row, V in zip(scan.frame().to_dict("records"), (0.1, 0.9), strict=True):
        alone = simulate_equations(with_values(imported(), {"V": V, "A": 2.0}), [1.0])
        assert row["V"] == V and row["A"] == pytest.approx(alone["A"][0], rel=1e-6)
    with pytest.raises(DataError, match="a rule gives it"):
        simulate(graph, [1.0], set={"y": 1.0})
    with pytest.raises(DataError, match="no `doses`"):
        simulate(graph, [1.0], doses=[("A", 1.0, 0.5)])


def test_regimes_that_need_laws_and_energies_refuse_an_imported_model():
    graph = equations_to_graph(imported(), "small")
    with pytest.raises(GraphError, match="imported model"):
        Kinetics.from_graph(graph)
    with pytest.raises(GraphError, match="imported model"):
        Network.from_graph(graph)


def test_a_formula_without_equations_is_an_error():
    graph = replace(equations_to_graph(imported(), "small"), equations=None)
    with pytest.raises(GraphError, match="`decay` has the law `formula`, but no equations are there"):
        check(graph)


def test_the_cascade_comes_back_as_mass_action(tmp_path: Path):
    graph = read_graph("mapk_cascade")
    path = tmp_path / "cascade.xml"
    path.write_text(graph_to_sbml(graph))
    back = read_sbml(path)
    assert back.nodes["reaction"]["law"].eq("mass_action").all()
    names = ["k_f", "k_r"]
    assert (
        back.nodes["reaction"][names].to_numpy().tolist()
        == graph.nodes["reaction"][names].to_numpy().tolist()
    )
