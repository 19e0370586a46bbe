"""The model: closed forms of the scales, exact gradients, what is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

import multiscale as ms
from multiscale.errors import DataError
from multiscale.fit.objective import Posterior
from multiscale.graph import without_complexes
from multiscale.model.pairs import pair_activities, pair_state
from multiscale.units import LN_STANDARD, MOLECULES_PER_UM_FL, kT


@pytest.fixture
def model(small_problem) -> ms.Model:
    return ms.Model(small_problem)


@pytest.fixture
def theta(model: ms.Model) -> torch.Tensor:
    return model.parameters.sample(3, torch.Generator().manual_seed(7), spread=0.5)


def test_orphan_loss_equals_the_closed_form_of_two_subunits(model: ms.Model, theta: torch.Tensor):
    """s_A = a + ρ c, s_B = b + ρ c, c = K a b: a quadratic in ρ c."""
    state = model.state(theta)
    supply = state.ln_supply.exp().numpy() / (MOLECULES_PER_UM_FL * 200.0)
    s_a, s_b = supply[..., 0], supply[..., 1]
    rho = state.values["loss"].exp().numpy()
    energy = state.values["energy"][:, :1].numpy()
    Kd = np.exp(energy / kT(model.problem.temperature) + LN_STANDARD)
    sum_ = s_a + s_b + Kd / rho
    bound = 2 * s_a * s_b / (sum_ + np.sqrt(sum_**2 - 4 * s_a * s_b)) / rho
    column = model.problem.network.species.index("A:B")
    np.testing.assert_allclose(state.ln_x[..., column].exp().numpy(), bound, rtol=1e-9)
    total = (s_a - rho * bound + bound) * MOLECULES_PER_UM_FL * 200.0
    np.testing.assert_allclose(state.ln_total[..., 0].exp().numpy(), total, rtol=1e-7)


def test_a_molecule_in_no_complex_has_the_copies_that_are_supplied(model: ms.Model, theta: torch.Tensor):
    state = model.state(theta)
    torch.testing.assert_close(state.ln_total[..., 2], state.ln_supply[..., 2], rtol=0, atol=1e-12)


def test_a_rarer_partner_lowers_the_copies_of_a_molecule(model: ms.Model):
    center = torch.zeros(1, model.parameters.size, dtype=torch.float64)
    values = {name: v[0].numpy() for name, v in model.parameters.unpack(center).items()}
    fewer = {**values, "level": values["level"].copy()}
    fewer["level"][:, 1] -= 3.0
    before, after = (model.state(model.parameters.pack(v)).ln_total[0, 0, 0] for v in (values, fewer))
    assert float(after) < float(before) - 0.3


def test_only_assembled_chains_are_read_on_the_surface(model: ms.Model, theta: torch.Tensor):
    state = model.state(theta)
    per_cell = MOLECULES_PER_UM_FL * 200.0
    column = model.problem.network.species.index("A:B")
    expected = state.ln_x[..., column] + np.log(per_cell)
    torch.testing.assert_close(state.ln_surface[..., 0], expected, rtol=0, atol=1e-12)


def test_gradient_of_the_posterior_equals_finite_differences(model: ms.Model, theta: torch.Tensor):
    posterior = Posterior(model)
    point = theta[:1].clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(posterior(point, torch.zeros(1, dtype=torch.int64)).sum(), point)
    for index in range(0, model.parameters.size, 3):
        step = torch.zeros_like(theta[:1])
        step[0, index] = 1e-5
        up, down = (float(posterior(theta[:1] + s, torch.zeros(1, dtype=torch.int64))) for s in (step, -step))
        assert float(gradient[0, index]) == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-3)


def test_starts_do_not_influence_each_other(model: ms.Model, theta: torch.Tensor):
    rows = torch.arange(3)
    together = Posterior(model)(theta, rows)
    alone = torch.cat([Posterior(model)(theta[k : k + 1], rows[:1]) for k in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)


def test_a_start_beyond_floating_point_gets_an_infinite_loss_and_disturbs_nobody(model, theta):
    wild = theta.clone()
    wild[1] = 1e6
    loss = Posterior(model)(wild, torch.arange(3))
    assert float(loss[1]) == np.inf
    torch.testing.assert_close(
        loss[[0, 2]], Posterior(model)(theta[[0, 2]], torch.arange(2)), rtol=1e-12, atol=0
    )


def test_predicted_affinity_is_the_energy_of_the_process(model: ms.Model, theta: torch.Tensor):
    state = model.state(theta)
    location = model.readings["affinities"].readout(state)
    torch.testing.assert_close(location[:, 0], state.values["energy"][:, 0], rtol=1e-12, atol=0)
    # The ligand dimer carries a factor one half, which the contact inherits from neither side.
    expected = state.values["energy"][:, 2] + kT(model.problem.temperature) * np.log(0.5)
    torch.testing.assert_close(location[:, 1], expected, rtol=1e-12, atol=0)


def test_pairs_obey_two_dimensional_mass_action_and_keep_the_totals(model: ms.Model, theta: torch.Tensor):
    state = model.state(theta)
    pairs = pair_state(model, state)
    assert pairs is not None
    h = state.values["confinement"].exp().numpy()[:, 0]
    per_cell, area = MOLECULES_PER_UM_FL * 200.0, 165.0
    species = model.problem.network.species
    dimers, receptors = (
        state.ln_x[..., species.index(n)].exp().numpy() * per_cell / area for n in ("L2", "A:B")
    )
    energy = state.values["energy"][:, 2].numpy() + kT(310.15) * np.log(0.5)
    K2D = np.exp(energy / kT(310.15) + LN_STANDARD) * MOLECULES_PER_UM_FL * 1e-3 * h
    bound = pairs.ln_x[..., 0].exp().numpy() * MOLECULES_PER_UM_FL * 1e-3 * h[:, None]
    sender, receiver = dimers.repeat(3, axis=1), np.tile(receptors, (1, 3))
    np.testing.assert_allclose((sender - bound) * (receiver - bound), K2D[:, None] * bound, rtol=1e-7)


def test_without_complexes_copies_are_what_is_supplied(small_problem, theta):
    bare = small_problem.with_graph(without_complexes(small_problem.graph), drop=("affinities",))
    model = ms.Model(bare)
    state = model.state(torch.zeros(1, model.parameters.size, dtype=torch.float64))
    torch.testing.assert_close(state.ln_total, state.ln_supply, rtol=0, atol=1e-12)


def test_an_energy_network_shifts_complexes_and_leaves_molecules_alone(small_problem):
    network = ms.DenseEnergy(2, (4,))
    features = pd.DataFrame(1.0, index=[*small_problem.network.complexes, "L2:AB"], columns=["f", "g"])
    problem = ms.Problem(small_problem.graph, small_problem.data, energy_network=network, features=features)
    model = ms.Model(problem)
    theta = model.parameters.sample(2, torch.Generator().manual_seed(0))
    state = model.state(theta)
    assert bool((state.g[:, :4] == 0).all())
    expected = state.values["energy"][:, 0]
    assert not torch.allclose(state.g[:, 4], expected)


def test_no_gene_in_common_is_refused(small_graph, small_adata):
    other = small_adata.copy()
    other.var_names = ["a1", "b1", "c1", "l1", "o1"]
    with pytest.raises(DataError, match="`rna`: no identifier of the graph is in the data"):
        ms.Problem(small_graph, ms.from_anndata(other, groupby="kind"))


def test_parts_that_do_not_add_up_are_refused(small_graph, small_adata, tmp_path):
    path = tmp_path / "wrong.tsv"
    path.write_text("complex\tparts\tvalue\tunit\nA:B\tA;L\t20\tnM\n")
    data = ms.from_anndata(small_adata, groupby="kind")
    data = data.join(ms.read_measurements(path, assay=ms.assays.Affinity(), name="affinities"))
    with pytest.raises(DataError, match="name parts that add up"):
        ms.Problem(small_graph, data)


def test_a_context_without_volume_is_refused_with_the_remedy(small_graph, small_adata):
    card = {key: value for key, value in small_graph.card.items() if key != "cell"}
    graph = dataclasses.replace(small_graph, card=card)
    with pytest.raises(DataError, match="`volume_fL` must be positive"):
        ms.Problem(graph, ms.from_anndata(small_adata, groupby="kind"))


def test_pathways_of_pairs_add_the_receivers_complexes_to_those_between_the_cells(model, theta):
    state = model.state(theta)
    pairs = pair_state(model, state)
    assert pairs is not None
    got = pair_activities(model, state, pairs)[..., 0]
    own = state.ln_x[:, [0, 1, 2] * 3, model.problem.network.species.index("A:B")]
    expected = own - own.mean(1, keepdim=True) + pairs.ln_x[..., 0] - pairs.ln_x[..., 0].mean(1, keepdim=True)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
