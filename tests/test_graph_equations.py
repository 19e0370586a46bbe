"""A graph lowered to equations runs as the graph does, whatever its laws, volumes and energies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_kinetics import binding, network

from multiscale.equations.expression import symbol
from multiscale.errors import DataError, GraphError
from multiscale.graph import Graph, read_graph
from multiscale.model.imported import simulate_equations
from multiscale.model.kinetics.binding_equations import K_ON
from multiscale.model.kinetics.equations import graph_equations
from multiscale.model.network import Network
from multiscale.model.simulate import simulate
from multiscale.physics.energy import ln_weight
from multiscale.solver import equilibrium
from multiscale.units import delta_g_from_Kd

T = 310.15
TIMES = [0.0, 0.3, 2.0]
VALUES = {
    "k_1": (2.0, "1/s"),
    "K_1": (500.0, "nM"),
    "K_2": (0.25, "uM"),
    "K_i": (4.0, "uM"),
    "q_1": (5.0, "1"),
}
STARTS = {"S": {"initial": "0.8"}, "E": {"initial": "0.1"}, "I": {"initial": "6"}, "X": {"initial": "3"}}
ENZYME, BOTH = {"E": "catalyst"}, {"E": "catalyst", "I": "inhibitor"}


def enzyme(law: str, constants: str, roles: dict[str, str], reversible: bool = False) -> Graph:
    columns = {"r": {"law": law, "constants": constants, "reversible": reversible}}
    return network({"r": "S -> P"}, columns, modifiers={"r": roles}, values=VALUES, species=STARTS)


def factor(law: str, constants: str, roles: dict[str, str]) -> Graph:
    columns = {"r": {"law": law, "constants": constants, "source_or_sink": True}}
    values = {"k_1": (2.0, "uM/s"), "K_1": (1.0, "uM"), "K_2": (0.5, "uM"), "n_1": (2.5, "1")}
    return network({"r": "-> P"}, columns, modifiers={"r": roles}, values=values, species=STARTS)


GRAPHS = {
    "mass action": lambda: network(
        {"r": "2 A + B -> C"},
        {"r": {"k_f": "k_f", "k_r": "k_r", "reversible": True, "source_or_sink": True}},
        modifiers={"r": {"E": "catalyst"}},
        values={"k_f": (2.0, "1/(uM^3*s)"), "k_r": (3.0, "1/(uM*s)"), "x_A": (1500.0, "nM")},
        species={"A": {"initial": "x_A"}, "B": {"initial": "0.7", "constant": True}, "E": {"initial": "0.5"}},
    ),
    "michaelis_menten": lambda: enzyme("michaelis_menten", "k_cat=k_1;Km=K_1", ENZYME),
    "competitive": lambda: enzyme("competitive_inhibition", "k_cat=k_1;Km=K_1;K_i=K_i", BOTH),
    "noncompetitive": lambda: enzyme("noncompetitive_inhibition", "k_cat=k_1;Km=K_1;K_i=K_i", BOTH),
    "uncompetitive": lambda: enzyme("uncompetitive_inhibition", "k_cat=k_1;Km=K_1;K_i=K_i", BOTH),
    "reversible": lambda: enzyme(
        "reversible_michaelis_menten", "k_cat=k_1;K_s=K_1;K_p=K_2;K_eq=q_1", ENZYME, True
    ),
    "modular": lambda: enzyme("modular", "k_cat=k_1;Km:S=K_1;Km:P=K_2;K_eq=q_1", ENZYME, True),
    "hill": lambda: factor("hill", "k=k_1;K=K_1;n=n_1", {"X": "activator"}),
    "repression": lambda: factor("hill", "k=k_1;K=K_1;n=n_1", {"X": "inhibitor"}),
    "promoter": lambda: factor("promoter", "k=k_1;K:X=K_1;K:I=K_2", {"X": "activator", "I": "inhibitor"}),
    "transport": lambda: network(
        {"enter": "outside -> inside"},
        {"enter": {"law": "transport", "reversible": True, "constants": "k=k_1"}},
        values={"k_1": (0.5, "1/s"), "g_inside": (-0.4, "kcal/mol")},
        species={"outside": {"initial": "3"}, "inside": {"compartment": "nucleus"}},
        complexes={"inside": ("outside", "g_inside")},
        compartments={"nucleus": {"geometry": "volume", "volume_fraction": 0.25}},
    ),
    "energies": lambda: network(
        {"dimerise": "2 A -> AA"},
        {"dimerise": {"k_f": "k_f", "reversible": True}},
        values={"k_f": (2.0, "1/(uM*s)"), "g_AA": (delta_g_from_Kd(0.5, T), "kcal/mol")},
        complexes={"AA": ("2 A", "g_AA")},
        species={"A": {"initial": "1"}, "AA": {"statistical_factor": 0.5}},
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_every_law_runs_the_same_as_formula(name: str):
    graph = GRAPHS[name]()
    wanted = simulate(graph, TIMES, rtol=1e-8, atol=1e-12).frame().set_index("time")
    found = simulate_equations(graph_equations(graph), TIMES, rtol=1e-8, atol=1e-12).set_index("time")
    assert wanted.iloc[-1].to_numpy() != pytest.approx(wanted.iloc[0].to_numpy(), rel=1e-3)
    np.testing.assert_allclose(found[wanted.columns], wanted, rtol=1e-6, atol=1e-12)


def test_the_cascade_runs_the_same_as_formulas():
    graph, times = read_graph("mapk_cascade"), [0.0, 1.0, 10.0]
    wanted = simulate(graph, times, rtol=1e-8, atol=1e-12).frame()
    found = simulate_equations(graph_equations(graph), times, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found[wanted.columns], wanted, rtol=1e-6, atol=1e-12)


def test_values_and_starts_take_the_place_of_nominal_ones():
    graph = GRAPHS["mass action"]()
    equations = graph_equations(graph, {"x_A": 700.0}, initial={"C": 0.2})
    start = simulate_equations(equations, [0.0])
    assert start[["A", "C"]].iloc[0].tolist() == pytest.approx([0.7, 0.2])
    with pytest.raises(DataError, match="no parameter `x_B`; did you mean `x_A`"):
        graph_equations(graph, {"x_B": 1.0})


def test_a_parameter_with_the_name_of_a_species_is_called_otherwise():
    graph = network({"r": "k -> B"}, {"r": {"k_f": "k"}}, values={"k": (2.0, "1/s")})
    equations = graph_equations(graph)
    assert equations.processes["r"].flux is symbol("cell") * (symbol("k_parameter") * symbol("k"))


def test_without_a_value_nothing_is_lowered():
    graph = GRAPHS["energies"]()
    graph.parameters.loc["k_f", "nominalValue"] = math.nan
    with pytest.raises(DataError, match="no value is given for `k_f`"):
        graph_equations(graph)


def test_a_reaction_at_rapid_equilibrium_needs_a_stated_rate_and_nears_it_when_that_is_large():
    graph = binding(True)
    with pytest.raises(GraphError, match=r"reaction `bind` is `fast`(.|\n)*give `k_on`"):
        graph_equations(graph)
    wanted = simulate(graph, [20.0, 100.0], rtol=1e-9, atol=1e-13).frame()
    errors = []
    for k_on in (1e2, 1e4):
        found = simulate_equations(graph_equations(graph, k_on=k_on), [20.0, 100.0])
        errors.append(float((found["P"] - wanted["P"]).abs().max()))
    assert errors[1] < 1e-5 and 50 < errors[0] / errors[1] < 200  # first order in 1/k_on


def settled(graph: Graph, totals: dict[str, float]) -> dict[str, float]:
    """Concentrations at rest of the binding that the equations of a graph state."""
    equations = graph_equations(graph, initial=totals)
    table = simulate_equations(equations, [math.inf], rtol=1e-9, atol=1e-16)
    return {str(name): float(table[name].iloc[0]) for name in table}


def balanced(graph: Graph, totals: dict[str, float]) -> dict[str, float]:
    """The same from the equilibrium solver."""
    import torch

    net = Network.from_graph(graph)
    theta = torch.tensor(graph.parameters["nominalValue"].reindex(net.terms).to_numpy())
    within = len(net.species)
    g = torch.from_numpy(net.term_counts[:within]) @ theta
    size = torch.from_numpy(net.formula.sum(0).astype(float))
    ln_omega = torch.from_numpy(np.log(net.statistical_factor[:within]))
    weight = ln_weight(g, size, ln_omega, T) + (1 - size) * torch.from_numpy(net.crowding)
    total = torch.tensor([totals.get(name, 0.0) for name in net.molecules], dtype=torch.float64)
    found = equilibrium(net.formula, weight, total)
    return dict(zip(net.species, found.x.tolist(), strict=True))


def test_binding_without_reactions_settles_at_the_equilibrium():
    graph = network(
        {},
        values={
            n: (delta_g_from_Kd(Kd, T), "kcal/mol")
            for n, Kd in {"g_AB": 0.5, "g_ABB": 0.01, "g_AA": 2.0}.items()
        },
        complexes={"AB": ("A + B", "g_AB"), "ABB": ("A + 2 B", "g_ABB"), "AA": ("2 A", "g_AA")},
        species={"AB": {"compartment": "spot", "statistical_factor": 2.0}},
        compartments={"spot": {"geometry": "volume", "volume_fraction": 0.1}},
    )
    totals = {"A": 1.0, "B": 1.5}
    found, wanted = settled(graph, totals), balanced(graph, totals)
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=1e-6)


def test_a_complex_is_made_of_two_species_where_two_are_all_of_it():
    graph = read_graph("pbmc_surface")
    equations = graph_equations(graph)
    made = {
        name: {p.species: p.stoichiometry.value for p in process.reactants}
        for name, process in equations.processes.items()
    }
    assert made["binding of LCK:CD8A:CD8B"] == {"LCK:CD8A": 1.0, "CD8B": 1.0}
    assert made["binding of CD74(3)"] == {"CD74": 3.0}
    assert equations.parameters["placeholder_k_on"].value == K_ON
    assert not any(name in made for name in ("binding of CD40L:CD40", "binding of CD4:HLA-DR"))


def test_the_complexes_of_blood_cells_settle_at_their_equilibrium():
    graph = read_graph("pbmc_surface")
    totals = {
        name: 0.05 for name in ("CD3E", "CD3D", "CD3G", "LCK", "CD4", "CD8A", "CD8B", "HLA-DRA", "HLA-DRB1")
    }
    found, wanted = settled(graph, totals), balanced(graph, totals)
    inside = [name for name, value in wanted.items() if value > 1e-9 and name in found]
    assert len(inside) > 10
    assert [found[n] for n in inside] == pytest.approx([wanted[n] for n in inside], rel=1e-6)
