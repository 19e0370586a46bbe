"""Members of an ensemble: what weights and moved priors do, and that intervals hold what is true."""

import copy
import logging
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from cell_cases import batch_of, made_cells, modality
from cell_made import KNOCKED, counted_cells
from scipy import stats

import multiscale as ms
from multiscale.assays.channels.registry import make_channel
from multiscale.data.cells import Cells, InMemory
from multiscale.errors import ConfigError, DataError
from multiscale.fit.cells import CellResult
from multiscale.fit.cells.ensemble import bootstrap, rotation, spread
from multiscale.fit.cells.objective import Tally, loss
from multiscale.fit.checkpoint import Checkpoint
from multiscale.model.cells import CellModel, CellProblem, Parts

OPTIONS = {"max_epochs": 6, "batch_size": 32, "accelerator": "cpu", "progress": False}
MEMBERS = 4


@pytest.fixture(scope="module")
def fits():
    """The fit and its members, made once."""
    kept: dict[str, CellResult] = {}

    def made(graph) -> CellResult:
        if not kept:
            problem = CellProblem(graph, counted_cells(hidden=True), latent=2, amortised=False)
            kept["fit"] = ms.fit(problem, members=MEMBERS, **OPTIONS)
        return kept["fit"]

    return made


@pytest.fixture
def fit(fits, small_graph) -> CellResult:
    return fits(small_graph)


def bits(result: CellResult) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in result.model.state_dict().items()}


# Weights and priors


def test_weights_are_exponential_and_belong_to_cells_not_to_their_company():
    every = torch.arange(20_000)
    weight = bootstrap(3)(every)
    assert stats.kstest(weight.numpy(), "expon").pvalue > 0.01
    assert torch.equal(bootstrap(3)(every[[7, 5, 1]]), weight[[7, 5, 1]])
    assert not torch.equal(bootstrap(4)(every), weight)


def test_weights_multiply_the_bound_of_every_cell():
    density = torch.tensor([-3.0, -5.0, math.inf], dtype=torch.float64)
    kl = torch.tensor([[1.0], [0.5], [7.0]], dtype=torch.float64)
    parts = Parts({"rna": density}, kl, torch.tensor([False, False, True]))
    v = torch.tensor([2.0, 0.5, 9.0], dtype=torch.float64)
    options = {"kl_weight": 0.5, "total": 4, "cells": 10, "world": 1}
    found = loss(parts, torch.tensor(-6.0), weight=v, **options)
    assert float(found) == pytest.approx((2 * 3.5 + 0.5 * 5.25) / 4 + 0.6)
    batch = batch_of(counted_cells(3))
    tally = Tally.empty(["rna"], 1)
    tally.add(tally.of(parts, batch, v))
    assert tally.elbo == pytest.approx(-(2 * 4 + 0.5 * 5.5) / 2.5) and tally.failed == 1


def test_anchors_are_draws_from_the_priors(small_graph):
    problem = CellProblem(small_graph, counted_cells(24), latent=2, amortised=False)
    models = [CellModel(problem, dtype=torch.float64, anchor=seed) for seed in range(60)]
    plain = CellModel(problem, dtype=torch.float64)
    theta = torch.cat([model.graph_theta for model in models]).detach().numpy()
    assert stats.kstest(theta.ravel(), "norm").pvalue > 0.01
    for name in ("ln_total", "rna link", "protein scale"):
        prior = plain.shared.prior(name)
        moved = torch.stack([model.shared.prior(name).loc for model in models])
        z = ((moved - prior.loc) / prior.scale).numpy().ravel()
        assert stats.kstest(z, "norm").pvalue > 0.01
    one = models[0]
    one.log_prior().backward()
    assert one.graph_theta.grad is not None and float(one.graph_theta.grad.abs().max()) < 1e-12


def test_scales_of_a_member_begin_where_its_totals_put_them(small_graph):
    problem = CellProblem(small_graph, counted_cells(96), latent=2, amortised=False)
    batch, z = batch_of(problem.cells), torch.zeros(96, 2, dtype=torch.float64)
    models = [CellModel(problem, dtype=torch.float64, anchor=anchor) for anchor in (None, 1, 2)]
    for model in models:
        with torch.no_grad():  # of batches, which differ between members
            model.shared["total_batch"].zero_()
    first, *others = [m.signals(z, m.state(z, batch), batch)["protein"][0][:48, :2] for m in models]
    assert all(torch.allclose(first, other, atol=1e-6) for other in others)
    assert (models[1].shared["ln_total"] - models[0].shared["ln_total"]).abs().max() > 0.5


# Spread


def test_spread_is_that_of_students_interval_over_members():
    problem = CellProblem(None, counted_cells(24), latent=2)
    models = [CellModel(problem, dtype=torch.float64) for _ in range(4)]
    for i, model in enumerate(models):
        with torch.no_grad():
            model.shared["rna baseline"].fill_(float(i))
    table = models[0].table().join(spread(models[0], models[1:])).set_index("parameterId")
    sd, value, upper, lower = (
        float(table[name]["rna_baseline_A"]) for name in ("sd", "value", "upper", "lower")
    )
    assert sd == pytest.approx(1.0) and value == 0
    assert upper == pytest.approx(stats.t.ppf(0.95, 2)) and lower == -upper


def test_a_member_whose_latent_state_is_turned_is_no_other_member(small_graph):
    problem = CellProblem(small_graph, counted_cells(24), latent=2, amortised=False)
    one, other = (CellModel(problem, dtype=torch.float64) for _ in range(2))
    turn = torch.tensor([[math.cos(1.0), -math.sin(1.0)], [math.sin(1.0), math.cos(1.0)]])
    with torch.no_grad():
        for name in ("loading", "rna loading", "rna link", "protein loading", "protein head loading"):
            other.shared[name].copy_(other.shared[name] @ turn.double())
    assert torch.allclose(rotation(one, other), turn.double().T, atol=1e-9)
    assert spread(one, [other, one])["sd"].max() < 1e-6


# Fits


def test_the_first_member_is_the_fit_itself_and_the_others_are_not(fit):
    alone = ms.fit(fit.problem, **OPTIONS)
    assert bits(alone) == bits(fit) and alone.members == ()
    assert len(fit.members) == MEMBERS - 1
    assert len({bits(one)["shared.value_ln_total"] for one in (fit, *fit.members)}) == MEMBERS
    assert len({one.settings["seed"] for one in (fit, *fit.members)}) == MEMBERS


def test_parameters_have_intervals_around_their_values(fit):
    table = fit.parameters
    assert (table["lower"] < table["value"]).all() and (table["value"] < table["upper"]).all()
    assert (table["upper"] + table["lower"]).to_numpy() == pytest.approx(2 * table["value"].to_numpy())
    assert "sd" not in fit.members[0].parameters


def test_predictions_take_members_in_turn_and_none_without_draws(fit):
    some = {"contexts": ["cell1", "cell2"], "modalities": ["rna"]}
    alone = replace(fit, members=())
    assert fit.predict(**some, draws=0)["rna"].expected.equals(alone.predict(**some, draws=0)["rna"].expected)
    drawn = fit.sample(**some, draws=6, seed=1)["rna"]
    third = fit.members[2].sample(**some, draws=6, seed=1)["rna"]
    assert drawn.shape == third.shape == (6, 2, 6)
    means = fit.predict(**some, draws=30)["rna"].expected.to_numpy()
    each = [one.predict(**some, draws=30)["rna"].expected.to_numpy() for one in fit.members]
    assert np.allclose(means, np.mean(each, axis=0), rtol=0.5)
    knocked = fit.predict(intervention=KNOCKED.drop(columns="context"), draws=4)["protein"]
    assert knocked.upper is not None and knocked.upper.notna().all(axis=None)


def test_new_cells_are_those_of_members_in_turn(fit):
    count, turn = len(fit.members), 1
    raised = copy.deepcopy(fit.members[turn].model)
    with torch.no_grad():
        raised.shared["rna baseline"].add_(5.0)
    members = [replace(one, model=raised) if k == turn else one for k, one in enumerate(fit.members)]
    usual, other = (
        one.new_cells(20 * count, contexts=["control"], seed=2)["rna"]["more"].to_numpy().reshape(20, count)
        for one in (fit, replace(fit, members=tuple(members)))
    )
    changed = (usual != other).any(0)
    assert changed.tolist() == [k == turn for k in range(count)]
    assert other[:, turn].mean() > 20 * usual[:, turn].mean()


def test_intervals_of_expected_readings_are_wider_with_members(fit):
    ours, alone = (one.predict(draws=60)["protein"] for one in (fit, replace(fit, members=())))
    width = [
        float((np.log(p.expected_upper) - np.log(p.expected_lower)).mean().mean()) for p in (ours, alone)
    ]
    assert width[0] > 1.05 * width[1]


def test_members_are_saved_with_the_fit(fit, tmp_path):
    fit.save(tmp_path / "model")
    again = CellResult.load(tmp_path / "model", fit.problem)
    assert [bits(one) for one in again.members] == [bits(one) for one in fit.members]
    pd.testing.assert_frame_equal(again.parameters, fit.parameters)
    assert [one.settings["seed"] for one in again.members] == [one.settings["seed"] for one in fit.members]


def test_a_checkpoint_keeps_members_and_more_can_be_added(fit, tmp_path):
    few = ms.fit(fit.problem, members=3, checkpoint=Checkpoint(tmp_path), **OPTIONS)
    assert sorted(Checkpoint(tmp_path)) == ["cells", "cells-1", "cells-2"]
    more = ms.fit(fit.problem, members=MEMBERS, checkpoint=Checkpoint(tmp_path), **OPTIONS)
    assert [bits(one) for one in more.members] == [bits(one) for one in fit.members]
    assert bits(few.members[1]) == bits(more.members[1])


def test_numbers_of_members_without_a_spread_and_members_of_other_fits_are_refused(fit, small_problem):
    with pytest.raises(ConfigError, match="`members` must be 1, or at least 3"):
        ms.fit(fit.problem, members=2)
    with pytest.raises(DataError, match="`members` must be at least 1"):
        ms.fit(fit.problem, members=0)
    with pytest.raises(DataError, match="`members` is no option of a fit of contexts"):
        ms.fit(small_problem, members=3)


# Do they hold the truth?


def simulated(seed: int) -> tuple[Cells, np.ndarray, np.ndarray]:
    """Intensities of 4 markers, ln signal = b + W z + noise; b, and its sd were W and noise known."""
    rng = np.random.default_rng(seed)
    loading, level = rng.normal(size=(4, 1)), 8 + rng.normal(size=4)
    y = level + math.log(2 / 5) + rng.normal(size=(64, 1)) @ loading.T + 0.3 * rng.normal(size=(64, 4))
    part = modality("masses", make_channel("cytometry", {"transformed": True}), y, list("abcd"))
    exact = np.sqrt(((loading**2).sum(1) + 0.3**2) / 64)
    return made_cells([replace(part, source=InMemory(y))]), level, exact


@pytest.mark.slow
def test_intervals_of_baselines_hold_the_truth_and_are_as_wide_as_they_should_be():
    cells, level, exact = simulated(0)
    problem = CellProblem(None, cells, latent=1, amortised=False)
    options = {"max_epochs": 100, "batch_size": 64, "graph_rate": 0.05, "patience": 20}
    fit = ms.fit(problem, members=7, accelerator="cpu", progress=False, **options)
    table = fit.parameters.set_index("parameterId").loc[[f"masses_baseline_{name}" for name in "abcd"]]
    lower, upper, sd = (table[name].to_numpy(float) for name in ("lower", "upper", "sd"))
    assert ((lower <= level) & (level <= upper)).mean() >= 0.75
    assert 0.5 < np.median(sd / exact) < 2  # six members tell an sd to 30 %


@pytest.mark.parametrize(("patience", "said"), [(20, True), (100, False)])
def test_members_that_may_end_early_are_warned_of(patience, said, small_graph, caplog):
    problem = CellProblem(small_graph, counted_cells(20), latent=1)
    with caplog.at_level(logging.WARNING, logger="multiscale"):
        ms.fit(problem, members=3, max_epochs=1, patience=patience, accelerator="cpu", progress=False)
    assert ("intervals are too narrow; take 100" in caplog.text) is said
