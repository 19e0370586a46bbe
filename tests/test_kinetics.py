"""A graph as kinetics: rates as written by hand, amounts that are conserved, detailed balance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_kinetics import binding, network

from multiscale.errors import GraphError
from multiscale.graph import read_graph
from multiscale.model.kinetics.system import Kinetics
from multiscale.solver.status import Status
from multiscale.solver.steady import steady_state
from multiscale.solver.system import Point
from multiscale.solver.time_course import time_course
from multiscale.units import delta_g_from_Kd, kT

T = 310.15
LAWS = {
    "michaelis_menten": ("k_cat=k_1;Km=K_1", {"E": "catalyst"}, lambda s, e, i: 2 * e * s / (0.5 + s)),
    "competitive_inhibition": (
        "k_cat=k_1;Km=K_1;K_i=K_i",
        {"E": "catalyst", "I": "inhibitor"},
        lambda s, e, i: 2 * e * s / (0.5 * (1 + i / 4) + s),
    ),
    "noncompetitive_inhibition": (
        "k_cat=k_1;Km=K_1;K_i=K_i",
        {"E": "catalyst", "I": "inhibitor"},
        lambda s, e, i: 2 * e * s / ((0.5 + s) * (1 + i / 4)),
    ),
    "uncompetitive_inhibition": (
        "k_cat=k_1;Km=K_1;K_i=K_i",
        {"E": "catalyst", "I": "inhibitor"},
        lambda s, e, i: 2 * e * s / (0.5 + s * (1 + i / 4)),
    ),
    "reversible_michaelis_menten": (
        "k_cat=k_1;K_s=K_1;K_p=K_2;K_eq=q_1",
        {"E": "catalyst"},
        lambda s, e, i: 2 * e * (s - 3 / 5) / 0.5 / (1 + s / 0.5 + 3 / 0.25),
    ),
    "modular": (
        "k_cat=k_1;Km:S=K_1;Km:P=K_2;K_eq=q_1",
        {"E": "catalyst"},
        lambda s, e, i: 2 * e * (s / 0.5) * (1 - 3 / (5 * s)) / (1 + s / 0.5 + 3 / 0.25),
    ),
}
VALUES = {
    "k_1": (2.0, "1/s"),
    "K_1": (500.0, "nM"),
    "K_2": (0.25, "uM"),
    "K_i": (4.0, "uM"),
    "q_1": (5.0, "1"),
}


def nominal(graph) -> dict[str, torch.Tensor]:
    values = graph.parameters["nominalValue"].to_dict()
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def rate(graph, **x: float) -> dict[str, float]:
    """dx/dt of every species at given concentrations."""
    kinetics = Kinetics.from_graph(graph)
    state = torch.tensor([x[name] for name in kinetics.species], dtype=torch.float64)
    here = Point(torch.zeros((), dtype=torch.float64), state, kinetics.values(nominal(graph), temperature=T))
    return dict(zip(kinetics.species, kinetics.reactions.rate(here).tolist(), strict=True))


def test_mass_action_counts_stoichiometry_and_catalysts():
    graph = network(
        {"r": "2 A + B -> C"},
        {"r": {"k_f": "k_f", "k_r": "k_r", "reversible": True, "source_or_sink": True}},
        modifiers={"r": {"E": "catalyst"}},
        values={"k_f": (2.0, "1/(uM^3*s)"), "k_r": (3.0, "1/(uM*s)")},
    )
    v = 0.5 * (2.0 * 1.5**2 * 0.7 - 3.0 * 0.2)
    found = rate(graph, A=1.5, B=0.7, C=0.2, E=0.5)
    assert found == pytest.approx({"A": -2 * v, "B": -v, "C": v, "E": 0.0})


@pytest.mark.parametrize("law", LAWS)
def test_an_enzyme_law_is_the_formula_of_its_page_whatever_the_unit_of_its_constants(law: str):
    constants, roles, formula = LAWS[law]
    reversible = law in ("reversible_michaelis_menten", "modular")
    columns = {"r": {"law": law, "constants": constants, "reversible": reversible}}
    graph = network({"r": "S -> P"}, columns, modifiers={"r": roles}, values=VALUES)
    v = formula(0.8, 0.1, 6.0)
    found = rate(graph, S=0.8, P=3.0, E=0.1, I=6.0)
    assert (found["S"], found["P"]) == pytest.approx((-v, v), rel=1e-12)


def test_without_a_catalyst_the_largest_flux_takes_the_place_of_enzyme_times_turnover():
    for law in ("michaelis_menten", "reversible_michaelis_menten"):
        constants = LAWS[law][0].replace("k_cat", "V_max")
        columns = {"r": {"law": law, "constants": constants, "reversible": law != "michaelis_menten"}}
        graph = network({"r": "S -> P"}, columns, values=VALUES | {"k_1": (2.0, "uM/s")})
        assert rate(graph, S=0.8, P=3.0)["P"] == pytest.approx(LAWS[law][2](0.8, 1.0, 0.0), rel=1e-12)


@pytest.mark.parametrize(("role", "share"), [("activator", 9 / 10), ("inhibitor", 1 / 10)])
def test_hill_activates_or_represses_as_its_modifier_does(role: str, share: float):
    columns = {"r": {"law": "hill", "constants": "k=k_1;K=K_1;n=n_1", "source_or_sink": True}}
    values = {"k_1": (2.0, "uM/s"), "K_1": (1.0, "uM"), "n_1": (2.0, "1")}
    graph = network({"r": "-> P"}, columns, modifiers={"r": {"X": role}}, values=values)
    assert rate(graph, P=0.0, X=3.0)["P"] == pytest.approx(2.0 * share)


def test_a_promoter_is_transcribed_with_its_activator_and_without_its_repressor():
    columns = {"r": {"law": "promoter", "constants": "k=k_1;K:A=K_1;K:R=K_2", "source_or_sink": True}}
    values = {"k_1": (2.0, "uM/s"), "K_1": (1.0, "uM"), "K_2": (0.5, "uM")}
    roles = {"r": {"A": "activator", "R": "inhibitor"}}
    graph = network({"r": "-> P"}, columns, modifiers=roles, values=values)
    assert rate(graph, P=0.0, A=3.0, R=2.0)["P"] == pytest.approx(2.0 * (3 / 4) * (1 / 5))


def test_transport_between_volumes_conserves_amount_and_ends_at_equal_concentrations():
    graph = network(
        {"enter": "outside -> inside"},
        {"enter": {"law": "transport", "reversible": True, "constants": "k=k_1"}},
        values={"k_1": (0.5, "1/s"), "g_inside": (0.0, "kcal/mol")},
        species={"outside": {"initial": "3"}, "inside": {"compartment": "nucleus"}},
        complexes={"inside": ("outside", "g_inside")},
        compartments={"nucleus": {"geometry": "volume", "volume_fraction": 0.25}},
    )
    found = rate(graph, outside=3.0, inside=1.0)
    assert found == pytest.approx({"outside": -1.0, "inside": 4.0})  # k (3 − 1), times 4 in a quarter
    kinetics = Kinetics.from_graph(graph)
    assert kinetics.moieties.tolist() == [[1.0, 0.25]]
    p, x0 = kinetics.values(nominal(graph))[None], kinetics.initial(nominal(graph))[None]
    rest = steady_state(kinetics.system, x0, p, moieties=kinetics.state_moieties)
    assert rest.x[0].tolist() == pytest.approx([2.4, 2.4])  # 3 V / (V + V/4)


def test_the_flux_of_a_reaction_is_counted_in_the_compartment_that_it_names():
    graph = network(
        {"r": "A + B -> AB"},
        {"r": {"k_f": "k_f", "compartment": "membrane"}},
        values={"k_f": (2.0, "1/(uM*s)")},
        complexes={"AB": ("A + B", "")},
        species={"AB": {"compartment": "membrane"}},
        compartments={"membrane": {"geometry": "membrane", "volume_fraction": 0.1}},
    )
    assert rate(graph, A=1.0, B=3.0, AB=0.0) == pytest.approx({"A": -0.6, "B": -0.6, "AB": 6.0})
    with pytest.raises(GraphError, match="name in `compartment` the one in which its flux is counted"):
        graph.nodes["reaction"]["compartment"] = ""
        Kinetics.from_graph(graph)


def test_backward_rates_follow_from_energies_and_statistical_factors():
    graph = network(
        {"dimerise": "2 A -> AA"},
        {"dimerise": {"k_f": "k_f", "reversible": True}},
        values={"k_f": (2.0, "1/(uM*s)"), "g_AA": (delta_g_from_Kd(0.5, T), "kcal/mol")},
        complexes={"AA": ("2 A", "g_AA")},
        species={"AA": {"statistical_factor": 0.5}},
    )
    values = Kinetics.from_graph(graph).values(nominal(graph), temperature=T)
    assert values.tolist() == pytest.approx([2.0, 2.0 * 0.5 / 0.5])  # k_f Kd, and ω = ½ halves the weight


def test_energies_of_a_network_take_the_place_of_energy_terms():
    graph = cycle({})
    kinetics = Kinetics.from_graph(graph)
    g = torch.tensor([[0.0, -2.0, 1.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
    p = kinetics.values(nominal(graph), g, T)
    assert p.shape == (2, 6)
    step = p[0, kinetics.constants.index("k_ab")] / p[0, kinetics.constants.index("k_r of ab")]
    assert float(step) == pytest.approx(math.exp(2.0 / kT(T)))


def cycle(columns):
    """Three states of one molecule, each pair joined by a reaction whose backward rate the energies give."""
    names = ("ab", "bc", "ca")
    return network(
        {"ab": "A -> B", "bc": "B -> C", "ca": "C -> A"},
        {name: {"k_f": f"k_{name}", "reversible": True} for name in names},
        values={"k_ab": (1.0, "1/s"), "k_bc": (20.0, "1/s"), "k_ca": (3.0, "1/s")}
        | {"g_B": (-0.7, "kcal/mol"), "g_C": (1.1, "kcal/mol")},
        complexes={"B": ("A", "g_B"), "C": ("A", "g_C")},
        species={"A": {"initial": "1"}} | columns,
    )


def test_a_cycle_with_energies_has_no_flux_at_rest():
    graph = cycle({})
    kinetics = Kinetics.from_graph(graph)
    p, x0 = kinetics.values(nominal(graph), temperature=T)[None], kinetics.initial(nominal(graph))[None]
    rest = steady_state(kinetics.system, x0, p, moieties=kinetics.state_moieties)
    assert rest.status.tolist() == [Status.CONVERGED]
    fluxes = kinetics.fluxes(torch.zeros(1, dtype=torch.float64), rest.x, p)
    assert float(fluxes.abs().max()) < 1e-14
    weights = np.exp([0.0, 0.7 / kT(T), -1.1 / kT(T)])
    np.testing.assert_allclose(rest.x[0].numpy(), weights / weights.sum(), rtol=1e-12)


def test_a_constant_species_stays_and_is_a_moiety_of_its_own():
    graph = cycle({"A": {"initial": "1", "constant": True}})
    kinetics = Kinetics.from_graph(graph)
    assert kinetics.inputs == ["A"]
    assert kinetics.moieties.tolist() == [[1.0, 0.0, 0.0]]
    assert rate(graph, A=2.0, B=1.0, C=1.0)["A"] == 0.0


def test_the_cascade_conserves_three_kinases_and_four_enzymes():
    kinetics = Kinetics.from_graph(read_graph("mapk_cascade"))
    totals = [
        {name for name, n in zip(kinetics.species, row, strict=True) if n}
        for row in kinetics.moieties.tolist()
    ]
    assert len(totals) == 7
    assert {"E1", "KKK:E1"} in totals
    assert {"KPase", "K-P:KPase", "K-PP:KPase"} in totals
    x = torch.rand(22, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p = kinetics.values(nominal(read_graph("mapk_cascade")))
    f = kinetics.reactions.rate(Point(torch.zeros((), dtype=torch.float64), x, p))
    assert float((kinetics.moieties @ f).abs().max()) < 1e-12 * float(f.abs().max())


def test_the_cascade_is_as_steep_as_published():
    graph = read_graph("mapk_cascade")
    kinetics = Kinetics.from_graph(graph)
    inputs = torch.logspace(-6, -3, 61, dtype=torch.float64)
    parameters = nominal(graph) | {"E1_total": inputs}
    p = kinetics.values(parameters).expand(len(inputs), -1)
    rest = steady_state(kinetics.system, kinetics.initial(parameters), p, moieties=kinetics.state_moieties)
    assert bool((rest.status <= Status.ROUNDING).all())
    active = rest.x[:, kinetics.species.index("K-PP")].numpy()
    low, high = (np.interp(share * active[-1], active, inputs.log().numpy()) for share in (0.1, 0.9))
    assert (
        4.0 < math.log(81.0) / (high - low) < 5.0
    )  # Huang and Ferrell 1996, abstract: Hill coefficient 4 to 5


def test_a_fast_reaction_is_the_limit_of_ever_faster_ones():
    times = torch.tensor([20.0, 100.0], dtype=torch.float64)
    found = {}
    for name, graph in {"fast": binding(True), 1e2: binding(False, 1e2), 1e4: binding(False, 1e4)}.items():
        kinetics = Kinetics.from_graph(graph)
        p, x0 = kinetics.values(nominal(graph))[None], kinetics.initial(nominal(graph))[None]
        course = time_course(kinetics.system, kinetics.state(x0), p, times, rtol=1e-8, atol=1e-11)
        x = kinetics.concentrations(course.x, p[:, None])[0]
        found[name] = x[:, [kinetics.species.index(s) for s in ("E", "S", "ES", "P")]]
    slow, slower = (float((found[k] - found["fast"]).abs().max()) for k in (1e4, 1e2))
    assert slow < 1e-5 and 50 < slower / slow < 200  # the error falls as 1/k_on


def test_conserved_totals_hold_through_rapid_equilibria():
    graph = binding(True)
    kinetics = Kinetics.from_graph(graph)
    assert kinetics.system.size == 3 and kinetics.names == ["turn"]
    p, x = kinetics.values(nominal(graph)), kinetics.initial(nominal(graph))
    at = Point(torch.zeros((), dtype=torch.float64), kinetics.state(x), p)
    change = kinetics.system.rate(at)
    assert float(change.abs().max()) > 0
    assert kinetics.state_moieties.shape == (2, 3)
    assert float((kinetics.state_moieties @ change).abs().max()) < 1e-16


@pytest.mark.parametrize("fast", [False, True])
def test_rates_are_differentiable_in_every_parameter(fast: bool):
    graph = binding(fast)
    kinetics = Kinetics.from_graph(graph)
    names = kinetics.parameters

    def dxdt(*values: torch.Tensor) -> torch.Tensor:
        p = kinetics.values(dict(zip(names, values, strict=True)))
        state = kinetics.state(torch.tensor([0.3, 1.0, 0.2, 0.1], dtype=torch.float64))
        return kinetics.concentrations(state, p).sum() + p.sum()

    leaves = [nominal(graph)[name].requires_grad_() for name in names]
    assert torch.autograd.gradcheck(dxdt, leaves)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"k_f": ""}, "`turn` has no `k_f`"),
        ({"fast": True}, "`turn` is `fast`, but only a reversible mass-action reaction"),
        ({"law": "hill"}, "`hill` needs `K`"),
        ({"constants": "Km=k_on"}, "`mass_action` has no constant `Km`"),
        ({"constants": "Km"}, "`Km` is not `name=parameter`"),
    ],
)
def test_a_reaction_that_cannot_be_simulated_is_named(change: dict, expected: str):
    graph = binding(False)
    for column, value in change.items():
        graph.nodes["reaction"].loc["turn", column] = value
    with pytest.raises(GraphError) as caught:
        Kinetics.from_graph(graph)
    assert any(expected in sentence for sentence in caught.value.problems), caught.value.problems


def test_a_complex_between_cells_takes_part_in_no_reaction(small_graph):
    reaction = network({"r": "A -> B"}, {"r": {"k_f": "k_f"}}, values={"k_f": (1.0, "1/s")}).nodes["reaction"]
    small_graph.nodes["reaction"] = reaction.assign(k_f="", reversible=True, fast=True, source_or_sink=True)
    reactant = small_graph.edges["reactant"]
    reactant.loc[0] = {"source": "L2:AB", "target": "r", "stoichiometry": 1, "note": "", "reference": ""}
    with pytest.raises(GraphError, match="a complex between two cells"):
        Kinetics.from_graph(small_graph)


def test_every_number_of_the_cascade_has_its_reference():
    graph = read_graph("mapk_cascade")
    assert (graph.parameters["doi"] == "10.1073/pnas.93.19.10078").all()
    assert (graph.parameters["reference"] != "").all() and (graph.parameters["estimate"] == 0).all()
    values = graph.parameters["nominalValue"]
    assert {values[f"a{i}"] for i in range(1, 11)} == {1000.0}
    assert {values[f"{k}{i}"] for k in "dk" for i in range(1, 11)} == {150.0}
    assert graph.card["sources"][0]["doi"] == graph.parameters["doi"].iloc[0]
