"""States of molecules against closed forms: shares, depletion, allostery, temperature, denaturant."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from molecular_cases import graph_of, readings_of, three_states

from multiscale.assays import Quantity
from multiscale.errors import DataError, GraphError
from multiscale.model.molecular import MolecularModel, MolecularProblem
from multiscale.model.molecular.derivatives import row_derivatives
from multiscale.units import delta_g_from_Kd, kT

T = 310.15


def read(graph, readings, **values: float) -> np.ndarray:
    """What is read where parameters have these values, else their prior means."""
    model = MolecularModel(MolecularProblem(graph, readings, temperature=T))
    theta = torch.zeros(1, model.parameters.size, dtype=torch.float64)
    flat = model.parameters.flat(theta)
    for block, where in zip(model.parameters.blocks, model.parameters.slices().values(), strict=True):
        for i, label in enumerate(block.labels):
            flat[0, where.start + i] = values.get(label, flat[0, where.start + i])
    rows = model.instruments[readings.name]
    return rows.readouts(rows.scalars_of(flat))[0, :, 0].numpy()


def test_three_states_share_a_molecule_as_their_boltzmann_weights():
    found = read(three_states(), readings_of(Quantity("fraction", "bound", "protein")), fold=-1.3, bind=0.4)
    fold, bind = -1.3 / kT(T), 0.4 / kT(T)
    assert math.exp(found[0]) == pytest.approx(1 / (1 + math.exp(bind) * (1 + math.exp(fold))), rel=1e-14)


def test_without_ligand_only_folding_is_left():
    given = readings_of(Quantity("fraction", "folded + bound", "protein"), ligand=0.0)
    found = read(three_states(), given, fold=-1.3)
    assert math.exp(found[0]) == pytest.approx(1 / (1 + math.exp(-1.3 / kT(T))), rel=1e-14)


def test_half_is_bound_where_free_ligand_equals_Kd():
    graph = graph_of({"P": None, "L!": 5.0}, {"PL": ("P;L", "bind")}, {"bind": delta_g_from_Kd(5.0, T)})
    assert read(graph, readings_of(Quantity("fraction", "PL", "P")))[0] == pytest.approx(
        math.log(0.5), abs=1e-13
    )


def test_a_ligand_in_limited_supply_is_depleted():
    graph = graph_of({"P": 2.0, "L": 3.0}, {"PL": ("P;L", "bind")}, {"bind": delta_g_from_Kd(0.7, T)})
    b = 2.0 + 3.0 + 0.7
    expected = (b - math.sqrt(b * b - 24.0)) / 2
    found = read(graph, readings_of(Quantity("concentration", "PL")))
    assert math.exp(found[0]) == pytest.approx(expected, rel=1e-12)


def test_a_homodimer_counts_twice_in_a_fraction():
    graph = graph_of({"P": 2.0}, {"PP": ("P;P", "pair")}, {"pair": delta_g_from_Kd(1.0, T)})
    free = (-1 + math.sqrt(1 + 8 * 2.0)) / 4
    found = read(graph, readings_of(Quantity("fraction", "PP", "P")))
    assert math.exp(found[0]) == pytest.approx(1 - free / 2.0, rel=1e-12)


def test_allostery_of_monod_wyman_and_changeux_is_a_graph_of_states():
    states = {"R": ("P", "relax")}
    for n, factor in ((1, "L"), (2, "L;L")):
        states[f"T{n}"] = (f"P;{factor}", f"tense*{n}")
        states[f"R{n}"] = (f"P;{factor}", f"relax;loose*{n}")
    energies = {"relax": 2.0, "tense": delta_g_from_Kd(100.0, T), "loose": delta_g_from_Kd(1.0, T)}
    graph = graph_of({"P": None, "L!": 4.0}, states, energies)
    graph.nodes["complex"].loc[["T1", "R1"], "statistical_factor"] = 2.0  # either of two sites
    found = read(graph, readings_of(Quantity("fraction", "R + R1 + R2", "P")))
    ratio = math.exp(2.0 / kT(T)) * ((1 + 4 / 100.0) / (1 + 4 / 1.0)) ** 2
    assert math.exp(found[0]) == pytest.approx(1 / (1 + ratio), rel=1e-13)


def test_energies_change_with_temperature_as_gibbs_and_helmholtz_say():
    graph = graph_of(
        {"P": None},
        {"folded": ("P", "fold;fold_S;fold_C")},
        {"fold": -5.0, "fold_S": (-0.2, 0.1, "entropy"), "fold_C": (-1.5, 1.0, "heat_capacity")},
    )
    hot = 330.0
    found = read(graph, readings_of(Quantity("energy", "folded"), temperature=hot))
    enthalpy = -5.0 - T * 0.2 - 1.5 * (hot - T)
    entropy = -0.2 - 1.5 * math.log(hot / T)
    assert found[0] == pytest.approx(enthalpy - hot * entropy, rel=1e-13)


def test_a_denaturant_unfolds_half_where_it_outweighs_the_stability():
    graph = graph_of({"P": None}, {"folded": ("P", "fold;m*-1")}, {"fold": -4.0, "m": (1.6, 1.0, "m_value")})
    found = read(graph, readings_of(Quantity("fraction", "folded", "P"), 3, denaturant=[0.0, 2.5, 5.0]))
    assert found[1] == pytest.approx(math.log(0.5), abs=1e-13)
    assert found[0] > found[1] > found[2]


def test_the_state_before_is_read_at_the_conditions_before():
    graph = graph_of({"P": 1.0, "L": 0.0}, {"PL": ("P;L", "bind")}, {"bind": delta_g_from_Kd(0.1, T)})
    both = {"P": 0.9, "P_previous": 1.0, "L": 0.6, "L_previous": 0.3}
    before = read(graph, readings_of(Quantity("concentration", "PL", "@previous"), 1, "signal", None, **both))
    alone = read(graph, readings_of(Quantity("concentration", "PL"), P=1.0, L=0.3))
    assert before[0] == pytest.approx(alone[0], rel=1e-14)


@pytest.mark.parametrize(
    ("quantity", "conditions", "message"),
    [
        (Quantity("fraction", "boud", "protein"), {}, "bound"),
        (Quantity("fraction", "bound", "ligand"), {}, "no molecule of limited amount"),
        (Quantity("fraction", "ligand + bound", "protein"), {}, "holds no `protein`"),
        (Quantity("concentration", "bound"), {}, "concentration of `protein` is needed"),
        (Quantity("energy", "bound"), {"ligands": 1.0}, "`ligands` is neither"),
        (Quantity("energy", "bound"), {"ligand": -1.0}, "not negative"),
        (Quantity("energy", "bound"), {"temperature": 25.0}, "must be in K"),
    ],
)
def test_readings_that_do_not_fit_the_graph_are_refused(quantity, conditions, message):
    with pytest.raises(DataError, match=message):
        MolecularProblem(three_states(), readings_of(quantity, **conditions))


def test_estimated_concentrations_are_refused():
    graph = three_states()
    graph.nodes["molecule"].loc["ligand", "initial"] = "fold"
    with pytest.raises(GraphError):
        MolecularProblem(graph, readings_of(Quantity("fraction", "bound", "protein")))


def test_second_derivatives_exist_where_nothing_is_bound():
    model = MolecularModel(
        MolecularProblem(
            three_states(), readings_of(Quantity("fraction", "folded", "protein"), 2, ligand=[0.0, 1.0])
        )
    )
    rows = model.instruments["signal"]
    u = torch.tensor([[[-1.0, -2.0], [-1.0, -2.0]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda u: rows.log_density(u), u)


@pytest.mark.parametrize("convex", [False, True])
@pytest.mark.parametrize(
    ("graph", "quantity"),
    [
        (three_states(), Quantity("fraction", "folded + bound", "protein")),
        (three_states(), Quantity("energy", "bound")),
        (
            graph_of({"P": 2.0, "L": 3.0}, {"PL": ("P;L", "bind")}, {"bind": -8.0}),
            Quantity("concentration", "PL"),
        ),
    ],
)
def test_derivatives_of_rows_are_those_of_automatic_differentiation(graph, quantity, convex):
    model = MolecularModel(MolecularProblem(graph, readings_of(quantity, 2), temperature=T))
    rows = model.instruments["signal"]
    u = torch.linspace(-2.0, -1.0, 2 * len(rows.scalars), dtype=torch.float64).reshape(1, 2, -1)
    first, second = row_derivatives(rows, u, convex=convex)
    for i in range(2):
        chosen = torch.tensor([i])

        def density(point: torch.Tensor, chosen=chosen) -> torch.Tensor:
            return rows.log_density(point[None, None], chosen).sum()

        expected = torch.autograd.functional.jacobian(density, u[0, i])
        assert isinstance(expected, torch.Tensor)
        assert torch.allclose(first[i], expected, rtol=1e-9, atol=1e-12)
        exact = torch.autograd.functional.hessian(density, u[0, i])
        assert isinstance(exact, torch.Tensor)
        if not convex:
            assert torch.allclose(second[i], exact, rtol=1e-8, atol=1e-11)
        else:
            assert bool((torch.linalg.eigvalsh(second[i]) <= 1e-12).all())
