"""The model of single cells: evidence, gradients, missing and hidden readings, totals that come back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from cell_cases import batch_of, made_cells, modality
from scipy import stats
from small_kinetics import network
from torch import Tensor

from multiscale.assays.channels.registry import make_channel
from multiscale.data import Interventions
from multiscale.data.cells import Cells
from multiscale.data.cells.source import InMemory
from multiscale.graph import Graph
from multiscale.model.cells import CellModel, CellProblem, Parts

COFACTOR, NOISE, BASELINE = 5.0, 0.3, 12.0
RNA, PROTEINS = ["A", "B", "C", "L", "other"], ["A", "C", "isotype"]


def linear_problem() -> tuple[CellProblem, np.ndarray]:
    """Intensities so high that asinh is a logarithm: y = ln I + ln(2/c) is linear and normal in z."""
    rng = np.random.default_rng(3)
    loading = np.array([[0.8, 0.3], [-0.4, 0.6], [0.6, 0.0]])  # columns are orthogonal: a diagonal posterior
    z = rng.normal(size=(40, 2))
    y = BASELINE + math.log(2 / COFACTOR) + z @ loading.T + NOISE * rng.normal(size=(40, 3))
    channel = make_channel("cytometry", {"transformed": True})
    cells = made_cells([modality("masses", channel, y, ["u", "v", "w"])])
    return CellProblem(None, cells, latent=2, amortised=False), loading


def linear_model() -> tuple[CellModel, Tensor, Tensor]:
    """The model with known parameters; mean and precision of the exact posteriors."""
    problem, loading = linear_problem()
    model = CellModel(problem, dtype=torch.float64)
    with torch.no_grad():
        model.shared["masses loading"].copy_(torch.as_tensor(loading))
        model.shared["masses baseline"].fill_(BASELINE)
        model.shared["masses relative_sd"].fill_(math.log(NOISE))
    y = batch_of(problem.cells).values["masses"] - BASELINE - math.log(2 / COFACTOR)
    precision = torch.as_tensor(1 + (loading**2).sum(0) / NOISE**2)
    return model, y @ torch.as_tensor(loading) / NOISE**2 / precision, precision


def log_evidence(model: CellModel) -> np.ndarray:
    """ln N(y; b + ln(2/c), W Wᵀ + σ² I) of every cell."""
    loading = model.shared["masses loading"].detach()
    covariance = loading @ loading.T + NOISE**2 * torch.eye(3, dtype=torch.float64)
    mean = torch.full((3,), BASELINE + math.log(2 / COFACTOR), dtype=torch.float64)
    y = batch_of(model.problem.cells).values["masses"]
    return torch.distributions.MultivariateNormal(mean, covariance).log_prob(y).numpy()


def bound(model: CellModel) -> np.ndarray:
    """ELBO of every cell; the expectation over two latent dimensions by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    batch, total = batch_of(model.problem.cells), torch.zeros(40, dtype=torch.float64)
    for i in range(5):
        for j in range(5):
            noise = torch.tensor([[nodes[i], nodes[j]]]).expand(40, 2)
            density = model.parts(batch, noise).log_density["masses"]
            total = total + weights[i] * weights[j] / (2 * math.pi) * density
    return (total - model.parts(batch, torch.zeros(40, 2)).kl.sum(1)).detach().numpy()


def set_posterior(model: CellModel, mean: Tensor, sd: Tensor) -> None:
    with torch.no_grad():
        model.get_parameter("posterior.mean").copy_(mean)
        model.get_parameter("posterior.ln_sd").copy_(sd.log().expand_as(mean))


def test_the_bound_is_the_exact_evidence_where_the_posterior_is_exact():
    model, mean, precision = linear_model()
    set_posterior(model, mean, precision**-0.5)
    assert np.allclose(bound(model), log_evidence(model), rtol=0, atol=1e-6)


def test_the_bound_lies_below_the_evidence_by_the_divergence_of_another_posterior():
    model, mean, precision = linear_model()
    sd = precision**-0.5
    set_posterior(model, mean + 0.1, 1.5 * sd)
    exact = torch.distributions.Normal(mean, sd)
    other = torch.distributions.Normal(mean + 0.1, 1.5 * sd)
    gap = torch.distributions.kl_divergence(other, exact).sum(1).numpy()
    assert np.allclose(log_evidence(model) - bound(model), gap, rtol=1e-5)


def joint_cells(count: int = 24, seed: int = 0, missing: bool = False) -> Cells:
    """Transcripts and proteins of cells in two batches and two conditions; in one B is knocked down."""
    rng = np.random.default_rng(seed)
    rna = modality("rna", make_channel("transcripts", {}), rng.poisson(5.0, (count, 5)).astype(float), RNA)
    tags = rng.poisson(20.0, (count, 3)).astype(float)
    rows = np.where(np.arange(count) % 3 == 0, -1, np.arange(count)) if missing else None
    protein = modality("protein", make_channel("surface_proteins", {}), tags, PROTEINS, rows)
    down = {"context": ["down"], "kind": ["knock_down"], "target": ["B"], "value": ["0.9"]}
    return made_cells(
        [rna, protein],
        batch=np.arange(count) % 2,
        condition=(np.arange(count) // 2) % 2,
        conditions=("control", "down"),
        interventions=Interventions(pd.DataFrame(down)),
    )


def joint_model(graph: Graph | None, cells: Cells | None = None, amortised: bool = True) -> CellModel:
    problem = CellProblem(graph, cells or joint_cells(), latent=2, amortised=amortised, hidden=6, layers=1)
    model = CellModel(problem, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value += 0.1 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
    return model


def noise_of(count: int, seed: int = 2) -> Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def objective(model: CellModel, parts: Parts) -> Tensor:
    density = torch.stack(list(parts.log_density.values())).sum()
    return density - parts.kl.sum() + model.log_prior()


@pytest.mark.parametrize("amortised", [True, False])
def test_gradients_of_every_group_are_those_of_finite_differences(small_graph, amortised):
    cells = joint_cells(missing=True)
    model, batch, noise = joint_model(small_graph, cells, amortised), batch_of(cells), noise_of(24)
    objective(model, model.parts(batch, noise)).backward()
    generator = torch.Generator().manual_seed(4)
    for name, value in model.named_parameters():
        direction = torch.randn(value.shape, generator=generator, dtype=value.dtype)
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                value += step * direction
                ends.append(float(objective(model, model.parts(batch, noise))))
                value -= step * direction
        assert value.grad is not None
        assert float((value.grad * direction).sum()) == pytest.approx(
            (ends[0] - ends[1]) / 2e-5, rel=2e-5, abs=2e-5
        ), name


def test_a_missing_modality_changes_nothing_of_the_others(small_graph):
    cells = joint_cells()
    model, batch, noise = joint_model(small_graph, cells, amortised=False), batch_of(cells), noise_of(24)
    whole = model.parts(batch, noise)
    gone = torch.arange(24) % 3 == 0
    batch.observed["protein"][gone] = False
    batch.values["protein"][gone] = torch.nan
    part = model.parts(batch, noise)
    assert torch.equal(part.log_density["rna"], whole.log_density["rna"]) and torch.equal(part.kl, whole.kl)
    assert (part.log_density["protein"][gone] == 0).all()
    assert torch.equal(part.log_density["protein"][~gone], whole.log_density["protein"][~gone])


def test_a_cell_that_nothing_measured_has_the_prior_as_posterior(small_graph):
    model = joint_model(small_graph)
    batch = batch_of(model.problem.cells)
    for name in batch.observed:
        batch.observed[name][5] = False
    mean, ln_sd = model.encode(batch)
    assert mean[5].tolist() == ln_sd[5].tolist() == [0.0, 0.0] and (ln_sd[6] < 0).all()


def test_hidden_entries_do_not_matter(small_graph):
    hidden = np.random.default_rng(5).random((24, 3)) < 0.4
    cells = joint_cells().hide("protein", hidden)
    model, batch, noise = joint_model(small_graph, cells), batch_of(cells), noise_of(24)
    first = model.parts(batch, noise)
    batch.values["protein"][torch.as_tensor(hidden)] = torch.nan
    second = model.parts(batch, noise)
    assert torch.equal(first.log_density["protein"], second.log_density["protein"])
    assert torch.equal(first.kl, second.kl) and bool(second.kl.isfinite().all())
    batch.hidden.clear()
    assert not torch.equal(first.kl, model.parts(batch_of(joint_cells()), noise).kl)


def test_a_modality_of_which_all_is_hidden_is_as_good_as_missing(small_graph):
    model = joint_model(small_graph)
    batch, missing = batch_of(model.problem.cells), batch_of(model.problem.cells)
    batch.hidden["protein"] = (torch.arange(24) < 4)[:, None].expand(24, 3)
    missing.observed["protein"][:4] = False
    first, second = (model.parts(one, noise_of(24)) for one in (batch, missing))
    assert torch.equal(first.kl, second.kl)
    assert torch.equal(first.log_density["protein"], second.log_density["protein"])


@pytest.mark.parametrize("amortised", [True, False])
def test_permuting_cells_permutes_results(small_graph, amortised):
    model, noise = joint_model(small_graph, amortised=amortised), noise_of(24)
    order = np.random.default_rng(6).permutation(24)[:17]
    whole = model.parts(batch_of(model.problem.cells), noise)
    part = model.parts(batch_of(model.problem.cells, order), noise[order])
    for name, density in part.log_density.items():
        assert torch.allclose(density, whole.log_density[name][order], rtol=1e-9)
    assert torch.allclose(part.kl, whole.kl[order], rtol=1e-12)


def test_signals_of_the_graph_depend_on_the_latent_state_through_totals_alone(small_graph):
    model = joint_model(small_graph)
    batch, z = batch_of(model.problem.cells), noise_of(24).requires_grad_(True)
    with torch.no_grad():
        model.shared["loading"].zero_()
    ln_signal, heads = model.signals(z, model.state(z, batch), batch)["protein"]
    for i in range(2):
        for value in (ln_signal[:, i], heads[:, i, 0] - z @ model.shared["protein head loading"][i, 0]):
            assert torch.equal(torch.autograd.grad(value.sum(), z, retain_graph=True)[0], torch.zeros(24, 2))
    assert torch.autograd.grad(ln_signal[:, 2].sum(), z)[0].abs().min() > 0


def test_odds_of_background_follow_the_signal_and_the_latent_state(small_graph):
    model = joint_model(small_graph)
    batch, z = batch_of(model.problem.cells), noise_of(24)
    shared = {name: model.shared[name].detach() for name in model.shared.groups}
    ln_signal, heads = model.signals(z, model.state(z, batch), batch)["protein"]
    own = shared["protein head"][:, 0] + z @ shared["protein head loading"][:, 0].T
    typical = model.shared.constant("protein typical")[:2]
    own[:, :2] += shared["protein head slope"][:, 0] * torch.log1p((ln_signal[:, :2] - typical).exp())
    assert torch.allclose(heads[..., 0], own, rtol=1e-12)


def test_a_transcript_of_the_graph_reads_the_loadings_of_its_molecule_and_a_link(small_graph):
    model = joint_model(small_graph)
    batch, z = batch_of(model.problem.cells), noise_of(24)
    shared = {name: model.shared[name].detach() for name in model.shared.groups}
    found = model.signals(z, model.state(z, batch), batch)["rna"][0][:, 2]
    slope = shared["loading"][2] + shared["rna link"][2]
    expected = shared["rna baseline"][2] + z @ slope + shared["rna batch"][batch.batch, 2]
    assert torch.allclose(found, expected, rtol=1e-12)


def test_totals_are_baseline_loadings_and_the_shift_of_the_batch(small_graph):
    model, z = joint_model(small_graph), noise_of(2)
    found = model.totals(z, torch.tensor([1, -1]))
    plain = model.shared["ln_total"] + z @ model.shared["loading"].T
    assert torch.allclose(found[0], plain[0] + model.shared["total_batch"][1])
    assert torch.equal(found[1], plain[1])


def test_a_knock_down_lowers_the_complex_and_leaves_totals_of_others_supplied(small_graph):
    model = joint_model(small_graph)
    batch = batch_of(model.problem.cells, np.zeros(2, dtype=np.int64))
    batch = batch._replace(condition=torch.tensor([0, 1]))
    state = model.state(torch.zeros(2, 2, dtype=torch.float64), batch)
    assert state is not None and model.physics is not None
    complex_ = state.ln_x[:, model.physics.species.index("A:B")]
    assert complex_[1] < complex_[0] - 1
    assert torch.allclose(state.ln_total[0, 2], state.ln_total[1, 2], rtol=1e-12)


def test_cells_that_fail_are_told_and_give_no_gradient(small_graph):
    model = joint_model(small_graph, amortised=False)
    with torch.no_grad():
        model.get_parameter("posterior.mean")[3] = 1e5
    parts = model.parts(batch_of(model.problem.cells), noise_of(24))
    assert parts.failed.nonzero()[:, 0].tolist() == [3]
    assert all(density[3].item() == 0 for density in parts.log_density.values())
    torch.stack(list(parts.log_density.values())).sum().backward()
    assert all(bool(value.grad.isfinite().all()) for value in model.parameters() if value.grad is not None)


def test_log_prior_is_the_sum_over_the_table_of_all_parameters(small_graph):
    model = joint_model(small_graph)
    table = model.table(everything=True)
    own = table[~table["role"].isin(["energy", "loss", "confinement"])]
    expected = stats.norm.logpdf(own["value"], own["priorMean"], own["priorSd"]).sum()
    assert model.physics is not None
    graph = model.physics.parameters.log_prior(model.graph_theta)
    assert float((model.log_prior() - graph[0]).detach()) == pytest.approx(expected, rel=1e-12)
    assert len(own) == sum(value.numel() for value in model.shared.parameters())


def test_the_table_names_values_with_unit_and_role(small_graph):
    model = joint_model(small_graph)
    table = model.table().set_index("parameterId")
    assert table.at["ln_total_A", "unit"] == "copies" and table.at["ln_total_A", "parameterScale"] == "log"
    assert table.at["ln_total_A", "value"] == pytest.approx(float(model.shared["ln_total"][0].detach()))
    assert table.at["loading_C_z2", "priorSd"] == pytest.approx(1 / math.sqrt(2))
    assert table.at["protein_scale_A", "role"] == "calibration"
    assert table.at["g_AB", "role"] == "energy" and table.at["g_AB", "priorMean"] == -10
    assert "rna_loading_other_z1" not in table.index and table.index.is_unique


def test_a_seed_gives_the_same_start_and_leaves_the_global_random_state_alone(small_graph):
    problem = CellProblem(small_graph, joint_cells(), latent=2, amortised=True, hidden=6)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    first, second = (CellModel(problem, seed=1).state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    again = CellModel(problem, seed=2)
    again.load_state_dict(first)
    assert all(torch.equal(first[name], value) for name, value in again.state_dict().items())


def test_a_model_of_other_cells_with_the_same_weights_reads_them_alike(small_graph):
    model = joint_model(small_graph)
    other = CellModel(model.problem.with_cells(joint_cells(seed=9)), dtype=torch.float64)
    other.load_state_dict(model.state_dict())
    batch = batch_of(model.problem.cells)
    first, second = (m.parts(batch, noise_of(24)) for m in (model, other))
    assert torch.equal(first.kl, second.kl)
    assert all(torch.equal(value, second.log_density[name]) for name, value in first.log_density.items())
    assert torch.equal(model.log_prior(), other.log_prior())


def test_networks_in_single_precision_agree_with_double(small_graph):
    problem = CellProblem(small_graph, joint_cells(), latent=2, amortised=True, hidden=6)
    single, double = CellModel(problem, dtype=torch.float32), CellModel(problem, dtype=torch.float64)
    batch = batch_of(problem.cells)
    found = [float(objective(m, m.parts(batch, noise_of(24))).detach()) for m in (single, double)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    kinds = [single.shared[name].dtype for name in ("loading", "rna link")]
    assert kinds == [torch.float64, torch.float32]


def test_means_of_draws_are_expected_readings(small_graph):
    model = joint_model(small_graph, amortised=False)
    index = np.repeat(np.arange(2), 4000)
    batch = batch_of(model.problem.cells, index)
    z = noise_of(2)[index]
    state = model.state(z, batch)
    drawn = model.draw(batch, z, state, torch.Generator().manual_seed(0))
    for name, expected in model.expected(batch, z, state).items():
        for cell in range(2):
            rows = drawn[name][index == cell]
            error = rows.std(0) / math.sqrt(len(rows))
            assert ((rows.mean(0) - expected[4000 * cell]).abs() < 5 * error).all()


def test_training_begins_near_the_mean_of_the_readings(small_graph):
    problem = CellProblem(small_graph, joint_cells(400), latent=2, amortised=False)
    model = CellModel(problem, dtype=torch.float64)
    batch = batch_of(problem.cells)
    z = model.encode(batch)[0]
    expected = model.expected(batch, z, model.state(z, batch))["rna"].mean(0)
    assert torch.allclose(expected.detach(), batch.values["rna"].mean(0), rtol=0.1)


def test_latent_states_and_loadings_begin_where_they_explain_the_readings():
    problem, _ = linear_problem()
    model = CellModel(problem, dtype=torch.float64)
    batch = batch_of(problem.cells)
    z, y = model.encode(batch)[0].detach(), batch.values["masses"]
    left = y - y.mean(0) - z @ model.shared["masses loading"].detach().T
    assert (left.var(0) < NOISE**2).all() and (y.var(0) > 4 * NOISE**2).all()
    assert torch.allclose(z.T @ z / 40, torch.eye(2, dtype=torch.float64), atol=1e-9)


def synthetic(graph: Graph, count: int) -> tuple[Cells, Tensor]:
    """Cells drawn from the model itself, and their true ln totals."""
    rng = np.random.default_rng(7)
    part = modality(
        "protein", make_channel("surface_proteins", {}), rng.poisson(200.0, (count, 3)) * 1.0, ["A", "C", "L"]
    )
    model = CellModel(CellProblem(graph, made_cells([part]), latent=2, amortised=False), dtype=torch.float64)
    with torch.no_grad():
        model.shared["protein head"].fill_(-6.0)
        model.shared["protein dispersion"].fill_(math.log(30.0))
        model.shared["protein background"].fill_(math.log(5.0))
        model.shared["loading"].copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-0.7, 0.7]]))
        model.shared["protein scale"].copy_(torch.tensor([-5.0, -5.0, -5.0]))
        z = torch.as_tensor(rng.normal(size=(count, 2)))
        batch = batch_of(model.problem.cells)
        drawn = model.draw(batch, z, model.state(z, batch), torch.Generator().manual_seed(1))["protein"]
        totals = model.totals(z, batch.batch)
    return made_cells([replace(part, source=InMemory(drawn.numpy()))]), totals


def test_totals_of_synthetic_cells_come_back(small_graph):
    cells, truth = synthetic(small_graph, 100)
    model = CellModel(CellProblem(small_graph, cells, latent=2, amortised=False), dtype=torch.float64)
    batch, generator = batch_of(cells), torch.Generator().manual_seed(0)
    descent = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        noise = torch.randn(100, 2, generator=generator, dtype=torch.float64)
        loss = -objective(model, model.parts(batch, noise)) / 100
        descent.zero_grad()
        loss.backward()
        descent.step()
    found = model.totals(model.encode(batch)[0], batch.batch).detach().numpy()
    for molecule in (0, 2, 3):  # B is read through A alone
        assert np.corrcoef(found[:, molecule], truth[:, molecule].numpy())[0, 1] > 0.95


def switch() -> Graph:
    """A kinase K turns S into pS, which decays back to S: pS = S_total k_1 K / (k_1 K + k_2) at rest."""
    graph = network(
        {"on": "S -> pS", "off": "pS -> S"},
        {"on": {"k_f": "k_1"}, "off": {"k_f": "k_2"}},
        modifiers={"on": {"K": "catalyst"}},
        values={"k_1": (0.3, "1/(uM*s)"), "k_2": (0.1, "1/s")},
        complexes={"pS": ("S", "")},
        species={"S": {"initial": "2"}, "K": {"initial": "0.5"}},
    )
    return replace(graph, parameters=graph.parameters.assign(estimate=0))


def test_markers_read_the_steady_state_of_every_cell():
    rng = np.random.default_rng(8)
    cells = made_cells(
        [modality("masses", make_channel("cytometry", {}), rng.lognormal(3, 1, (20, 2)), ["pS", "S"])]
    )
    problem = CellProblem(switch(), cells, regime="steady_state", latent=2, amortised=False)
    model = CellModel(problem, dtype=torch.float64)
    batch, z = batch_of(cells), noise_of(20)
    with torch.no_grad():
        model.shared["loading"].copy_(torch.as_tensor(rng.normal(size=(len(problem.molecules), 2))))
    state = model.state(z, batch)
    assert state is not None and bool(state.solved.all())
    total = dict(zip(problem.molecules, model.totals(z, batch.batch).exp().T, strict=True))
    on = 0.3 * 0.5 * total["K"]
    signal = model.signals(z, state, batch)["masses"][0] - model.shared["masses scale"]
    share = torch.stack([on / (on + 0.1), 0.1 / (on + 0.1)], 1)
    assert torch.allclose(signal.exp(), 2 * total["S"][:, None] * share, rtol=1e-7)
    objective(model, model.parts(batch, noise_of(20))).backward()
    slope = model.shared["loading"].grad
    assert slope is not None and bool((slope != 0).all())
