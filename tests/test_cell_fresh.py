"""Cells that nobody measured, drawn from a fit, and intervals of the parameters of its graph."""

import numpy as np
import pytest
from cell_made import KNOCKED, counted_cells

import multiscale as ms
from multiscale.errors import DataError
from multiscale.fit.cells import CellResult
from multiscale.fit.cells.information import graph_intervals, posterior_sd
from multiscale.model.cells import CellProblem


@pytest.fixture(scope="module")
def kept() -> dict[str, CellResult]:
    """The fit, made once."""
    return {}


@pytest.fixture
def result(kept, small_graph) -> CellResult:
    if not kept:
        problem = CellProblem(small_graph, counted_cells(), latent=2)
        kept["fit"] = ms.fit(problem, max_epochs=12, batch_size=32, accelerator="cpu", progress=False)
    return kept["fit"]


def test_new_cells_are_distributed_as_draws_of_the_cells_that_they_are_like(result):
    some = {"contexts": ["control"], "condition": "control"}
    new = result.new_cells(4000, **some)["protein"].to_numpy()
    old = result.sample(**some, draws=80)["protein"].reshape(-1, 3)
    levels = [0.1, 0.5, 0.9]
    assert np.allclose(np.quantile(new, levels, axis=0), np.quantile(old, levels, axis=0), rtol=0.1, atol=1)


def test_new_cells_that_are_like_one_cell_differ(result):
    new = result.new_cells(50, contexts=["cell0"], latent="posterior")["rna"]
    assert len(new) == 50 and new.nunique().min() > 3


def test_latent_states_from_the_prior_forget_the_cell(result):
    one, other = (
        result.new_cells(3000, contexts=[name], condition="control", batch="batch1", latent="prior")
        for name in ("cell1", "cell5")
    )
    assert np.allclose(one["protein"].mean(), other["protein"].mean(), rtol=0.1)


def test_a_condition_and_its_intervention_give_the_same_new_cells(result):
    options = {"contexts": ["control"], "seed": 3}
    one = result.new_cells(20, condition="knocked", **options)["protein"]
    two = result.new_cells(20, intervention=KNOCKED.drop(columns="context"), **options)["protein"]
    assert one.equals(two)
    assert one["A"].mean() < 0.5 * result.new_cells(20, condition="control", **options)["protein"]["A"].mean()


def test_a_new_batch_lies_between_those_of_the_fit(result):
    low, new, high = np.sort(
        [
            np.log(result.new_cells(4000, batch=name, new_batches="mean")["rna"].mean().mean())
            for name in ("batch1", "elsewhere", "batch2")
        ]
    )
    assert high - low < 0.5 and low <= new <= high


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 0}, "`count` must be 1 or more; got 0"),
        ({"count": 1, "batch": "elsewhere"}, "`batch` is `elsewhere`"),
        ({"count": 1, "latent": "guess"}, "`latent` is `guess`"),
        ({"count": 1, "contexts": ["cellar"]}, "`cellar` is no cell"),
    ],
)
def test_new_cells_that_cannot_be_drawn_are_refused(result, options, said):
    with pytest.raises(DataError, match=said):
        result.new_cells(**options)


# Intervals of the parameters of the graph


def test_intervals_lie_within_those_of_the_prior_and_around_the_value(result):
    table = graph_intervals(result, most=20, draws=2)
    assert (table["sd_ratio"] <= 1 + 1e-12).all() and (table["sd_ratio"] > 0).all()
    assert ((table["lower"] < table["value"]) & (table["value"] < table["upper"])).all()


def test_scores_of_a_straight_line_give_the_posterior_of_linear_regression():
    rng = np.random.default_rng(0)
    design, noise, prior = rng.normal(size=(40_000, 2)) @ [[1.0, 0.5], [0.0, 1.0]], 0.5, np.array([2.0, 0.1])
    scores = design * rng.normal(size=(len(design), 1)) / noise
    exact = np.linalg.inv(np.diag(prior**-2) + 0.01 * design.T @ design / noise**2)
    assert np.allclose(posterior_sd(scores, prior, 0.01), np.sqrt(np.diag(exact)), rtol=0.03)


def test_a_fit_without_a_graph_has_no_intervals():
    problem = CellProblem(None, counted_cells(24), latent=2)
    with pytest.raises(DataError, match="no parameters of a graph"):
        graph_intervals(ms.fit(problem, max_epochs=1, batch_size=32, accelerator="cpu", progress=False))
