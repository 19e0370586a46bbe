"""Hidden readings of cells: what is hidden, what is said of it, and how it is judged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cell_cases import made_cells, modality
from scipy.stats import spearmanr

from multiscale.assays.channels import SurfaceProteins, Transcripts
from multiscale.data.cells import Cells
from multiscale.errors import ConfigError, DataError
from multiscale.fit.cells.baselines import METHODS, predict_features
from multiscale.fit.cells.heldout import (
    KINDS,
    baseline,
    hide,
    judge_hidden,
    measured,
    messages_near,
    overdispersed,
    principal_components,
    summarise_scores,
)
from multiscale.fit.cells.heldout_report import headline, report
from multiscale.fit.cells.heldout_trials import (
    MODELS,
    HeldOut,
    run,
    share_beaten,
    subunit_correlation,
    subunit_pairs,
    transcripts_of,
)
from multiscale.fit.tasks import complete
from multiscale.model.cells import CellProblem

RNA, PROTEINS = ["A", "B", "C", "L", "other"], ["A", "B", "C", "isotype"]


@pytest.fixture
def cells() -> Cells:
    """60 cells in two batches; the second lacks protein C, and everything follows one state."""
    rng = np.random.default_rng(3)
    z, batch = rng.normal(size=60), np.arange(60) % 2
    rna = rng.poisson(np.exp(2.0 + z[:, None] * np.array([1, 1, -1, 0, 0.5]) + 0.5 * batch[:, None]))
    protein = rng.poisson(np.exp(4.0 + z[:, None] * np.array([1, 1, -1, 0]) + batch[:, None]))
    lacking = np.zeros((60, 4), dtype=bool)
    lacking[batch == 1, 2] = True
    parts = [
        modality("rna", Transcripts(), rna, RNA),
        modality("protein", SurfaceProteins(), protein, PROTEINS, hidden=lacking),
    ]
    return made_cells(parts, batch)


def ln_counts(cells: Cells) -> np.ndarray:
    return np.log1p(cells.modalities["protein"].values(np.arange(len(cells))).astype(float))


def test_a_share_of_the_cells_of_every_batch_loses_all_its_readings(cells) -> None:
    hidden = hide(cells, "protein", "cells", 0, 0.2)
    there = measured(cells, "protein")
    rows = hidden.any(1)
    assert np.bincount(cells.batch.codes, weights=rows).tolist() == [6, 6]
    assert np.array_equal(hidden[rows], there[rows])


def test_single_readings_are_hidden_only_where_there_are_any(cells) -> None:
    hidden, there = hide(cells, "protein", "entries", 4, 0.3), measured(cells, "protein")
    assert not hidden[~there].any()
    assert hidden[there].mean() == pytest.approx(0.3, abs=0.1)


def test_successive_seeds_hide_each_feature_once(cells) -> None:
    parts = [hide(cells, "protein", "features", seed, 0.5, ["A", "B", "C"]) for seed in (0, 1)]
    assert np.array_equal(np.sum(parts, axis=0)[:, :3], measured(cells, "protein")[:, :3])
    assert not (parts[0] | parts[1])[:, 3].any()


def test_what_is_hidden_does_not_repeat_the_choices_of_a_baseline_of_that_seed(cells) -> None:
    hidden = hide(cells, "protein", "entries", 5, 0.5)
    same = np.random.default_rng(5).random(hidden.shape) < 0.5
    assert 0.2 < (hidden == same)[measured(cells, "protein")].mean() < 0.8


@pytest.mark.parametrize(("kind", "share"), [("cell", 0.1), ("cells", 1.0)])
def test_unknown_kinds_and_shares_are_refused(cells, kind: str, share: float) -> None:
    with pytest.raises(ConfigError, match=r"`(kind|share)`"):
        hide(cells, "protein", kind, 0, share)


def test_genes_that_vary_more_than_depth_explains_are_chosen() -> None:
    rng = np.random.default_rng(0)
    depth = rng.lognormal(0, 1, size=(300, 1))
    mean = 5 * depth * np.where(np.arange(20) == 7, rng.lognormal(0, 1, size=(300, 1)), 1.0)
    assert overdispersed(rng.poisson(mean), 1).tolist() == [7]


def test_components_do_not_tell_batches_apart(cells) -> None:
    scores = principal_components(cells, "rna", 2)
    for code in (0, 1):
        assert np.allclose(scores[cells.batch.codes == code].mean(0), 0, atol=1e-6)
    with pytest.raises(DataError, match="protein"):
        principal_components(cells, "protein", 2)


def test_the_mean_of_a_batch_is_that_of_its_visible_cells(cells) -> None:
    hidden = hide(cells, "protein", "cells", 1, 0.2)
    found = baseline("mean", "cells", cells, "protein", hidden, np.zeros((60, 1)))
    y, first = ln_counts(cells), cells.batch.codes == 0
    shown = first & ~hidden.any(1)
    assert np.allclose(found.expected[first & hidden.any(1)], y[shown].mean(0))


def test_features_of_one_batch_are_predicted_from_its_cells(cells) -> None:
    hidden, inputs = hide(cells, "protein", "cells", 1, 0.2), principal_components(cells, "rna", 2)
    found = baseline("ridge", "cells", cells, "protein", hidden, inputs)
    y, batch = ln_counts(cells)[:, [2]], cells.batch.codes
    known, new = (batch == 0) & ~hidden[:, 2], hidden[:, 2]
    mean = y[known].mean()
    own = predict_features("ridge", inputs[known], y[known] - mean, inputs[new]).expected + mean
    assert np.allclose(found.expected[new, 2], own[:, 0])


def test_no_baseline_reads_what_is_hidden(cells) -> None:
    hidden, inputs = hide(cells, "protein", "entries", 2, 0.2), principal_components(cells, "rna", 2)
    other = np.where(hidden, 1000, cells.modalities["protein"].values(np.arange(60)))
    parts = [
        cells.modalities["rna"],
        modality("protein", SurfaceProteins(), other, PROTEINS, hidden=~measured(cells, "protein")),
    ]
    changed = made_cells(parts, cells.batch.codes)
    for method in METHODS:
        first, second = (
            baseline(method, "entries", these, "protein", hidden, inputs) for these in (cells, changed)
        )
        assert np.array_equal(first.expected[hidden], second.expected[hidden])


def test_messages_rank_cells_by_a_protein_that_was_never_measured(cells) -> None:
    hidden = hide(cells, "protein", "features", 0, 0.5, ["A", "B"])
    genes = {"A": ["A"], "B": ["B"], "C": ["C"]}
    inputs = principal_components(cells, "rna", 1)
    expected, _ = messages_near(cells, "rna", "protein", hidden, genes, inputs)
    assert judge_hidden(cells, "protein", hidden, expected)["spearman"].min() > 0.7
    assert not expected[:, 3].any()


def test_scores_are_those_of_the_hidden_readings_of_every_batch(cells) -> None:
    hidden = hide(cells, "protein", "cells", 1, 0.5)
    expected = np.random.default_rng(1).normal(size=hidden.shape)
    table = judge_hidden(cells, "protein", hidden, expected, np.ones(hidden.shape))
    row = table[(table["batch"] == "batch2") & (table["feature"] == "B")].iloc[0]
    keep = hidden[:, 1] & (cells.batch.codes == 1)
    y = ln_counts(cells)[keep, 1]
    assert row["spearman"] == pytest.approx(spearmanr(y, expected[keep, 1])[0])
    assert row["rmse"] == pytest.approx(np.sqrt(((y - expected[keep, 1]) ** 2).mean()))
    assert row["crps"] == 1 and row["n"] == keep.sum()


def test_a_constant_prediction_ranks_nothing_and_few_readings_are_not_judged(cells) -> None:
    hidden = hide(cells, "protein", "cells", 1, 0.5)
    hidden[:, 1] &= np.cumsum(hidden[:, 1]) <= 5
    table = judge_hidden(cells, "protein", hidden, np.zeros(hidden.shape))
    assert (table["spearman"] == 0).all()
    assert "B" not in set(table["feature"])


def test_summaries_are_means_over_features_then_mean_and_sd_over_splits() -> None:
    tables = [pd.DataFrame({"rmse": [1.0, 3.0]}), pd.DataFrame({"rmse": [4.0, 4.0]})]
    found = summarise_scores(tables)
    assert found["rmse"] == 3.0 and found["rmse sd"] == pytest.approx(np.sqrt(2))


def test_transcripts_of_features_are_found_through_the_graph(cells, small_graph) -> None:
    found = transcripts_of(CellProblem(small_graph, cells), "protein", "rna")
    assert found == {name: [name] for name in "ABC"}


def test_subunits_of_one_complex_are_the_pairs(small_graph) -> None:
    assert subunit_pairs(small_graph) == [("A", "B")]


def test_correlation_of_subunits_does_not_count_differences_between_batches() -> None:
    x = np.array([[0.0, 0.0, 7.0], [1.0, 1.0, 7.0], [10.0, 11.0, 7.0], [11.0, 10.0, 7.0]])
    batch = np.array([0, 0, 1, 1])
    pairs = [("a", "b"), ("a", "constant"), ("a", "missing")]
    assert subunit_correlation(x, ["a", "b", "constant"], pairs, batch) == pytest.approx(0.0)
    assert subunit_correlation(x[:2], ["a", "b", "constant"], pairs, batch[:2]) == pytest.approx(1.0)


def test_share_of_controls_that_are_worse() -> None:
    assert share_beaten(1.0, [2.0, 3.0, 0.5, 4.0], "lower") == 0.75


def test_every_model_and_baseline_says_something_of_every_split(cells, small_graph) -> None:
    fit = {"max_epochs": 2, "batch_size": 64}
    shares = {"cells": 0.4, "entries": 0.5, "features": 0.5}
    options = {"latent": 2, "fit": fit, "draws": 5, "components": 2, "shares": shares}
    study = HeldOut(cells=cells, graph=small_graph, **options)
    trials = study.trials(1, 1)
    done = complete([study.task(trial) for trial in trials], progress=False)
    found = {trial: done[trial.name] for trial in trials}
    assert {trial.method for trial in found} > {*MODELS, "rewired 0"}
    text, scores = report(study, found)
    assert set(scores["kind"]) == set(KINDS)
    assert np.isfinite(scores["spearman"]).all()
    assert scores["rmse"].notna().eq(scores["kind"] != "features").all()
    assert "1 of 1" in text or "0 of 1" in text


@pytest.mark.parametrize(
    ("crps", "said"),
    [
        ([0.3, 0.4], "the graph is ahead; CRPS 0.350, ridge 0.450 (worse in 1 of 2 splits), no graph 0.900"),
        ([0.8, 0.8], "the graph does not help; CRPS 0.800, ridge 0.450 (worse in 0 of 2 splits), no graph"),
    ],
)
def test_first_line_says_whether_the_graph_is_ahead(crps: list[float], said: str) -> None:
    by = {"graph": crps, "ridge": [0.6, 0.3], "no graph": [0.9, 0.9], "rewired 0": [0.1, 0.1]}
    rows = [
        {"method": name, "seed": seed, "crps": value, "spearman": -value}
        for name, values in by.items()
        for seed, value in enumerate(values)
    ]
    assert said in headline(pd.DataFrame(rows), "cells")
    ranks = headline(pd.DataFrame(rows).drop(columns="crps"), "features")
    assert ("is ahead; rank correlation" in ranks) == ("is ahead" in said)


def test_a_trial_does_not_depend_on_what_it_hides(cells, small_graph) -> None:
    study = HeldOut(cells=cells, graph=small_graph, latent=2, fit={"max_epochs": 2}, draws=5, components=2)
    trial = next(t for t in study.trials(1, 0) if t.method == "graph" and t.kind == "cells")
    hidden = study.hidden(trial)
    other = np.where(hidden, 1000, cells.modalities["protein"].values(np.arange(60)))
    parts = [
        cells.modalities["rna"],
        modality("protein", SurfaceProteins(), other, PROTEINS, hidden=~measured(cells, "protein")),
    ]
    changed = HeldOut(**{**vars(study), "cells": made_cells(parts, cells.batch.codes)})
    first, second = (run(part, trial).arrays["expected"] for part in (study, changed))
    assert np.array_equal(first, second)
