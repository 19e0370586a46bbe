"""Held-out judging: nothing leaks, baselines are what they claim, words follow numbers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import multiscale as ms
from multiscale.errors import DataError
from multiscale.fit.baselines import BASELINES, predict_held_out
from multiscale.fit.checkpoint import Saved
from multiscale.fit.evaluation import Evaluation, Settings, paired_bootstrap
from multiscale.fit.holdout import Split, cross_validate, subunit_digest
from multiscale.fit.words import headline
from multiscale.graph import rewire

BUDGET = Settings(folds=3, starts=1, seed=0, adam_steps=30, max_steps=60, accelerator="cpu")


def linear_entries(censored: bool = False) -> tuple[pd.DataFrame, np.ndarray]:
    """y = a_gene + 0.5 ln R + noise for 12 genes in 10 contexts."""
    generator = np.random.default_rng(4)
    frame = pd.DataFrame(
        [(f"g{g}", f"c{c}") for g in range(12) for c in range(10)], columns=["target", "context"]
    )
    level = generator.normal(0, 2, len(frame))
    gene = np.repeat(generator.normal(10, 1.5, 12), 10)
    y = gene + 0.5 * level + generator.normal(0, 0.1, len(frame))
    limit = 9.0 if censored else -np.inf
    return frame.assign(y=np.maximum(y, limit), censoring=-(y < limit).astype(int)), level


def test_the_mean_baseline_lies_between_the_means_of_its_gene_and_of_all_training_entries():
    entries, level = linear_entries()
    fold = np.tile(np.arange(5), 24)
    predicted = predict_held_out(BASELINES["mean"], entries, level, fold)
    training = entries[fold != 0]
    gene, every = training.loc[training["target"] == "g3", "y"].mean(), training["y"].mean()
    got = predicted[(fold == 0) & (entries["target"] == "g3")]
    assert (np.abs(got - gene) < 0.3 * abs(every - gene)).all()
    assert ((got - gene) * (every - gene) > 0).all()


def test_the_slope_baseline_finds_the_slope_that_made_the_data():
    entries, level = linear_entries()
    fold = np.tile(np.arange(5), 24)
    predicted = predict_held_out(BASELINES["slope"], entries, level, fold)
    within = predicted - pd.Series(predicted).groupby(entries["target"]).transform("mean").to_numpy()
    centred = level - pd.Series(level).groupby(entries["target"]).transform("mean").to_numpy()
    assert stats.linregress(centred, within)[0] == pytest.approx(0.5, abs=0.02)
    assert np.sqrt(np.mean((predicted - entries["y"]) ** 2)) < 0.2


def test_a_censored_baseline_predicts_below_the_limit_where_everything_was_below():
    entries, level = linear_entries(censored=True)
    fold = np.tile(np.arange(5), 24)
    predicted = predict_held_out(BASELINES["slope"], entries, level, fold)
    truth, _ = linear_entries()
    hidden = (entries["censoring"] == -1).to_numpy()
    assert np.mean(predicted[hidden]) < 9.0
    assert np.sqrt(np.mean((predicted[hidden] - truth["y"][hidden]) ** 2)) < 0.3


@pytest.mark.parametrize("name", BASELINES)
def test_no_baseline_sees_what_is_held_out(name: str):
    entries, level = linear_entries()
    fold = np.tile(np.arange(5), 24)
    before = predict_held_out(BASELINES[name], entries, level, fold)
    changed = entries.assign(y=entries["y"].where(fold != 2, entries["y"] + 50.0))
    after = predict_held_out(BASELINES[name], changed, level, fold)
    np.testing.assert_allclose(after[fold == 2], before[fold == 2], rtol=0, atol=1e-4)
    assert np.abs(after[fold != 2] - before[fold != 2]).max() > 1.0


def test_the_model_and_its_controls_do_not_see_what_is_held_out(small_problem):
    before = cross_validate(small_problem, "proteome", ("target", "context"), BUDGET, progress=False).table
    held = before["fold"] == 1
    table = small_problem.data.assays["proteome"]
    changed = table.entries.copy()
    exact = changed.index[changed["censoring"] == 0]
    changed.loc[exact[held], "y"] += 5.0
    data = dataclasses.replace(
        small_problem.data,
        assays={**small_problem.data.assays, "proteome": dataclasses.replace(table, entries=changed)},
    )
    problem = type(small_problem)(small_problem.graph, data)
    after = cross_validate(problem, "proteome", ("target", "context"), BUDGET, progress=False).table
    for model in ("fitted", "no_graph"):
        np.testing.assert_allclose(after[model][held], before[model][held], rtol=0, atol=1e-6)
    assert not np.allclose(after["fitted"][~held], before["fitted"][~held], atol=1e-3)


def test_intervals_of_held_out_values_are_wider_than_those_of_fitted_ones(small_problem):
    budget = dataclasses.replace(BUDGET, draws=200)
    table = cross_validate(small_problem, "proteome", ("target", "context"), budget, progress=False).table
    assert (table["lower"] < table["upper"]).all()
    fitted = ms.fit(small_problem, starts=2, accelerator="cpu", progress=False).predictions
    fitted = fitted[(fitted["assay"] == "proteome") & (fitted["censoring"] == 0)]
    assert (table["upper"] - table["lower"]).mean() > 1.1 * (fitted["upper"] - fitted["lower"]).mean()


def test_whole_units_are_held_out_together(small_problem):
    table = cross_validate(small_problem, "proteome", ("target",), BUDGET, progress=False).table
    assert (table.groupby("molecule")["fold"].nunique() == 1).all()
    assert table["fold"].nunique() == 3
    assert set(table.loc[table["touched_by_graph"], "molecule"]) == {"A", "B"}


def test_rewired_graphs_get_one_error_each(small_problem):
    evaluation = cross_validate(
        small_problem, "proteome", ("target", "context"), BUDGET, rewirings=2, progress=False
    )
    assert len(evaluation.rewired) == 2
    assert all(np.isfinite(evaluation.rewired))
    assert list(evaluation.controls()["seed"]) == [1, 2]
    assert list(evaluation.controls()["rmse_touched"]) == evaluation.rewired


def test_rewirings_that_are_the_same_graph_are_counted_once_and_said(small_problem, caplog):
    split = Split(small_problem, "proteome", ("target",), BUDGET, rewirings=3)
    nothing = {"predicted": np.zeros(len(split.fold))}
    done = {f"heldout.{name}": Saved(nothing) for name in ("fitted", "no_graph")}
    real, other = small_problem.graph, rewire(small_problem.graph, seed=1)
    edges = other.edges["subunit"].iloc[::-1]  # their order does not matter
    again = dataclasses.replace(other, edges={**other.edges, "subunit": edges})
    for k, graph in enumerate((real, other, again), start=1):
        done[f"heldout.rewiring-{k}"] = Saved(nothing, {"graph": subunit_digest(graph)})
    assert split.evaluation(done).distinct_rewirings == 1
    assert "only 1 of 3 rewirings" in caplog.text


def test_more_folds_than_units_are_refused(small_problem):
    with pytest.raises(DataError, match="only 4 units"):
        cross_validate(small_problem, "proteome", ("target",), dataclasses.replace(BUDGET, folds=20))


def evaluation(fitted: float, no_graph: float, rewired: float) -> Evaluation:
    """Twenty molecules with errors of the given size."""
    sign = np.where(np.arange(60) % 2, 1.0, -1.0)
    columns = {"fitted": fitted * sign, "no_graph": no_graph * sign} | {
        name: 3.0 * sign for name in BASELINES
    }
    table = pd.DataFrame(
        {
            "fold": np.arange(60) % 5,
            "context": [f"c{i % 3}" for i in range(60)],
            "molecule": [f"m{i // 3}" for i in range(60)],
            "measured": 0.0,
            "touched_by_graph": True,
            **columns,
        }
    )
    return Evaluation(("target", "context"), table, [rewired] * 20)


def test_the_first_line_says_that_the_graph_helps_only_if_interval_and_rewirings_agree():
    assert headline({"heldout": evaluation(1.0, 2.0, 1.5)}).startswith("The graph helps")
    for other in (evaluation(2.0, 1.0, 3.0), evaluation(1.0, 2.0, 0.9)):
        assert not headline({"heldout": other}).startswith("The graph helps")


def test_the_first_line_names_a_simpler_model_that_is_better():
    table = evaluation(1.0, 2.0, 1.5)
    better = dataclasses.replace(table, table=table.table.assign(mean=0.5))
    assert "`mean` with 0.50" in headline({"heldout": better})


def test_paired_bootstrap_of_equal_models_is_zero_and_of_better_ones_negative():
    table = evaluation(1.0, 2.0, 1.0).table
    assert paired_bootstrap(table, "fitted", "fitted") == (0.0, 0.0, 0.0)
    difference, lower, upper = paired_bootstrap(table, "fitted", "no_graph")
    assert difference == pytest.approx(-1.0)
    assert lower <= difference <= upper < 0
