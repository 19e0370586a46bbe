"""Simulated measurements follow the distributions that their likelihoods state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats

import multiscale as ms
from multiscale.assays import Copies
from multiscale.data import CountMatrix, MeasurementTable
from multiscale.errors import AssayError, DataError
from multiscale.model import Model
from multiscale.model.parameters import Block, ParameterTable
from multiscale.model.synthetic import draw_prior, synthesise


@pytest.fixture
def model(small_problem):
    """The model of the small problem."""
    return Model(small_problem)


@pytest.fixture
def truth(small_problem):
    """Levels as counted, all else at its prior mean."""
    return near_data(small_problem)


def counts_of(problem: ms.Problem, name: str = "rna") -> CountMatrix:
    assay = problem.data.assays[name]
    assert isinstance(assay, CountMatrix)
    return assay


def table_of(problem: ms.Problem, name: str = "proteome") -> MeasurementTable:
    assay = problem.data.assays[name]
    assert isinstance(assay, MeasurementTable)
    return assay


def near_data(problem: ms.Problem) -> torch.Tensor:
    """Levels as counted, all else at its prior mean."""
    return torch.zeros(1, Model(problem).parameters.size, dtype=torch.float64)


def with_limits(problem: ms.Problem, side: int) -> ms.Problem:
    """The problem with a limit for every reading of the proteome, half an sd from what is expected."""
    table, model = table_of(problem), Model(problem)
    expected = model.readings["proteome"].location(model.state(near_data(problem)))[0].numpy()
    shift = np.resize([-0.25, 0.25], len(expected))
    entries = table.entries.assign(y=expected + shift, censoring=side)
    data = replace(problem.data, assays=problem.data.assays | {"proteome": replace(table, entries=entries)})
    return ms.Problem(problem.graph, data)


def repeated(problem: ms.Problem, times: int) -> ms.Problem:
    """The problem with every cell and every reading measured many times over."""
    counts, assays = counts_of(problem), dict(problem.data.assays)
    rows = pd.concat([counts.rows] * times, ignore_index=True)
    assays["rna"] = replace(counts, values=sparse.vstack([counts.values] * times, format="csr"), rows=rows)
    for name in ("proteome", "affinities"):
        table = table_of(problem, name)
        entries = pd.concat([table.entries] * times, ignore_index=True).rename_axis("entry")
        assays[name] = replace(table, entries=entries)
    return ms.Problem(problem.graph, replace(problem.data, assays=assays))


def test_counts_have_the_negative_binomial_distribution_of_their_level_and_size(small_problem):
    problem = repeated(small_problem, 50)
    model, theta = Model(problem), near_data(problem)
    state = model.state(theta)
    counts = counts_of(synthesise(problem, theta, seed=1).problem)
    for context, group in counts.rows.groupby("context").indices.items():
        row = list(problem.contexts.index).index(context)
        for feature, drawn in enumerate(counts.values.toarray()[group].T):
            mean = 3000.0 * float(state.ln_level[0, row, feature].exp())
            r = float(state.values["rna dispersion"][0, feature].exp())
            assert chance_of_counts(drawn, mean, r) > 1e-3


def chance_of_counts(drawn: np.ndarray, mean: float, r: float) -> float:
    """Chance of a larger chi-square against the negative binomial distribution, tails taken together."""
    expected = stats.nbinom(r, r / (r + mean))
    edges = np.unique(expected.ppf(np.arange(0.05, 1.0, 0.05)))
    below = np.append(expected.cdf(edges), 1.0)
    observed = np.bincount(np.searchsorted(edges, drawn), minlength=len(below))
    return float(stats.chisquare(observed, np.diff(below, prepend=0.0) * len(drawn)).pvalue)


def test_readings_of_tables_are_normal_around_their_location(small_problem):
    problem = repeated(small_problem, 200)
    model, theta = Model(problem), near_data(problem)
    state = model.state(theta)
    simulated = synthesise(problem, theta, seed=2).problem
    for name, reading in model.readings.items():
        exact = (reading.term.entries["censoring"] == 0).to_numpy()
        y = table_of(simulated, name).entries["y"].to_numpy()
        z = (y - reading.location(state)[0].numpy()) / reading.noise(state)[0].numpy()
        assert stats.kstest(z[exact], "norm").pvalue > 0.01
        assert 0.005 < stats.chi2.cdf((z[exact] ** 2).sum(), exact.sum()) < 0.995


@pytest.mark.parametrize("side", [-1, 1])
def test_readings_beyond_a_limit_are_censored_as_often_as_the_normal_distribution_says(small_problem, side):
    problem = repeated(with_limits(small_problem, side), 300)
    model, theta = Model(problem), near_data(problem)
    state, reading = model.state(theta), model.readings["proteome"]
    limit = reading.term.entries["y"].to_numpy()
    z = (limit - reading.location(state)[0].numpy()) / reading.noise(state)[0].numpy()
    entries = table_of(synthesise(problem, theta, seed=3).problem).entries
    censored = (entries["censoring"] == side).to_numpy().reshape(300, -1).sum(0)
    for number, chance in zip(censored, stats.norm.cdf(-side * z), strict=False):
        assert stats.binomtest(int(number), 300, chance).pvalue > 1e-3
    assert 0.1 < censored.mean() / 300 < 0.9


@pytest.mark.parametrize("side", [-1, 1])
def test_a_censored_reading_keeps_its_limit_and_an_exact_one_lies_on_this_side_of_it(
    small_problem, truth, side
):
    problem = with_limits(small_problem, side)
    limit = table_of(problem).entries["y"].to_numpy()
    entries = table_of(synthesise(problem, truth, seed=3).problem).entries
    censored = (entries["censoring"] == side).to_numpy()
    assert censored.any()
    assert not censored.all()
    assert (entries["y"].to_numpy()[censored] == limit[censored]).all()
    assert (side * (entries["y"].to_numpy() - limit)[~censored] <= 0).all()
    assert set(entries["censoring"]) == {0, side}


def test_an_exact_reading_stays_exact_below_the_limit_of_its_assay(small_problem, model, truth):
    values = {name: value[0].numpy() for name, value in model.parameters.unpack(truth).items()}
    few = model.parameters.pack(values | {"translation_mean": np.array([5.0])})
    before, after = table_of(small_problem), table_of(synthesise(small_problem, few).problem)
    exact = (before.entries["censoring"] == 0).to_numpy()
    assert isinstance(after.assay, Copies)
    assert (after.entries["y"][exact] < np.log(after.assay.limit)).all()
    assert (after.entries["censoring"][exact] == 0).all()


def test_the_same_seed_draws_the_same_and_another_seed_draws_otherwise(small_problem):
    first, again, other = (synthesise(small_problem, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.theta, again.theta)
    ours, theirs = (counts_of(item.problem).values.toarray() for item in (first, again))
    np.testing.assert_array_equal(ours, theirs)
    pd.testing.assert_frame_equal(table_of(first.problem).entries, table_of(again.problem).entries)
    assert not torch.equal(first.theta, other.theta)
    assert not table_of(first.problem).entries.equals(table_of(other.problem).entries)


def test_the_global_random_states_are_untouched(small_problem):
    torch.manual_seed(8)
    np.random.seed(8)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(8)
    np.random.seed(8)
    synthesise(small_problem, seed=4)
    assert (torch.rand(1), np.random.rand()) == expected


def test_graph_contexts_and_design_stay_and_the_data_say_that_they_are_simulated(small_problem):
    simulated = synthesise(small_problem, seed=5).problem
    assert simulated.graph is small_problem.graph
    assert simulated.priors == small_problem.priors
    pd.testing.assert_frame_equal(simulated.contexts, small_problem.contexts)
    pd.testing.assert_frame_equal(simulated.pairs, small_problem.pairs)
    np.testing.assert_array_equal(simulated.volume_fL, small_problem.volume_fL)
    columns = ["context", "target", "readout", "source"]
    pd.testing.assert_frame_equal(
        table_of(simulated).entries[columns], table_of(small_problem).entries[columns]
    )
    assert simulated.data.provenance["rna"]["simulated"] is True
    assert simulated.data.provenance["rna"]["groupby"] == "kind"


def test_theta_in_the_coordinates_of_the_new_problem_is_the_same_truth(small_problem, model):
    theta = model.parameters.sample(1, torch.Generator().manual_seed(6))
    simulated = synthesise(small_problem, theta, seed=6)
    before, after = model.parameters.flat(theta), Model(simulated.problem).parameters.flat(simulated.theta)
    np.testing.assert_allclose(after.numpy(), before.numpy(), atol=1e-10)


def test_cells_that_were_not_observed_stay_so(small_problem, truth):
    mask = np.ones((120, 4), dtype=bool)
    mask[::2, 1] = False
    masked = replace(counts_of(small_problem).select(list("ABCL")), mask=mask)
    data = replace(small_problem.data, assays=small_problem.data.assays | {"rna": masked})
    counts = counts_of(synthesise(ms.Problem(small_problem.graph, data), truth).problem)
    assert (counts.values.toarray()[~mask] == 0).all()
    assert (counts.values.toarray()[mask] > 0).any()
    np.testing.assert_array_equal(counts.mask, mask)


def test_draws_from_the_prior_are_normal_and_truncated_to_their_bounds():
    count = 4000
    free = Block(name="free", labels=["x"] * count, mean=np.full(count, 3.0), sd=np.full(count, 2.0))
    ends = {"lower": np.full(count, -1.0), "upper": np.full(count, 0.5)}
    bounded = replace(free, name="bounded", center=np.zeros(count), **ends)
    table = ParameterTable([free, bounded])
    values = table.unpack(draw_prior(table, np.random.default_rng(0)))
    assert stats.kstest(values["free"][0], stats.norm(3.0, 2.0).cdf).pvalue > 0.01
    expected = stats.truncnorm((-1.0 - 3.0) / 2.0, (0.5 - 3.0) / 2.0, 3.0, 2.0)
    assert stats.kstest(values["bounded"][0], expected.cdf).pvalue > 0.01


def test_a_flat_prior_is_refused(small_problem):
    block = Block(name="loose", labels=["a", "b"], mean=np.zeros(2), sd=np.array([1.0, np.inf]))
    with pytest.raises(DataError, match="`loose b` has a flat prior"):
        draw_prior(ParameterTable([block]), np.random.default_rng(0))


def test_theta_of_another_shape_is_refused(small_problem, truth):
    with pytest.raises(DataError, match=r"shape \(1, \d+\); got \(1, 2\)"):
        synthesise(small_problem, truth[:, :2])


def test_a_truth_without_an_equilibrium_is_refused(small_problem, model, truth):
    values = {name: value[0].numpy() for name, value in model.parameters.unpack(truth).items()}
    wild = model.parameters.pack(values | {"translation_mean": np.array([900.0])})
    with pytest.raises(DataError, match="equilibrium in context `x` has no solution"):
        synthesise(small_problem, wild)


class Other(Copies):
    """Copies with a likelihood of their own."""

    def log_prob(self, y, location, sd, censoring):
        """Not the normal one."""
        return -(y - location).abs() / sd


def test_a_likelihood_that_is_not_normal_is_refused(small_problem, truth):
    table = replace(table_of(small_problem), assay=Other())
    data = replace(small_problem.data, assays=small_problem.data.assays | {"proteome": table})
    with pytest.raises(AssayError, match="`proteome`: Other has a likelihood of its own"):
        synthesise(ms.Problem(small_problem.graph, data), truth)


def test_an_energy_network_and_its_features_stay(small_problem):
    network = small_problem.network
    features = pd.DataFrame({"size": np.arange(3.0)}, index=network.complexes + network.pair_complexes)
    problem = ms.Problem(
        small_problem.graph,
        small_problem.data,
        energy_network=ms.DenseEnergy(1, hidden=(2,)),
        features=features,
    )
    simulated = synthesise(problem, seed=7).problem
    assert simulated.energy_network is problem.energy_network
    assert simulated.features is not None
    assert problem.features is not None
    assert torch.equal(simulated.features, problem.features)
