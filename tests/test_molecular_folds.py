"""Cross-validation of molecular problems, their baselines, readings up to a limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multiscale.assays import BindingEnergy
from multiscale.assays.limited import limited
from multiscale.data import Readings
from multiscale.encoders import Features, FeatureSource
from multiscale.errors import AssayError, DataError
from multiscale.fit.molecular.baselines import average, nearest
from multiscale.fit.molecular.folds import cross_validate, fold_of
from multiscale.formats.variants import read_readings
from multiscale.graph import read_graph
from multiscale.model.molecular import MolecularProblem

KD = [10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4]


def problem(folder: Path) -> MolecularProblem:
    """Four drugs of two receptors, Kd in nM."""
    table = pd.DataFrame(
        {"drug": list("aabbccdd"), "receptor": ["x", "y"] * 4, "Kd": [10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4]}
    )
    table.to_csv(folder / "pairs.tsv", sep="\t", index=False)
    instrument = BindingEnergy(complex="bound", unit_of_value="nM", columns={"value": "Kd"})
    readings: Readings = read_readings(
        folder / "pairs.tsv", instrument, entities={"drug": "drug", "receptor": "receptor"}
    )
    encoders = {
        kind: Features(source=FeatureSource(entity=kind, kind="identity"), terms=("bind",), prior_sd=2.0)
        for kind in ("drug", "receptor")
    }
    return MolecularProblem(read_graph("pair_binding"), [readings], encoders)


def test_folds_keep_equal_keys_together_and_are_even() -> None:
    keys = np.repeat(np.arange(10), 3)
    fold = fold_of(list(keys), 5, seed=3)
    assert (np.bincount(fold) == 6).all()
    assert all(len(set(fold[keys == key])) == 1 for key in range(10))
    with pytest.raises(DataError, match="2 to 10"):
        fold_of(list(keys), 11)


def test_rows_are_predicted_by_fits_that_did_not_see_them(tmp_path: Path) -> None:
    whole, fold = problem(tmp_path), np.array([0, 1, 1, 0, 0, 1, 1, 0])
    options = {"starts": 1, "progress": False}
    found = cross_validate(whole, "pairs", fold, **options)
    assert found["drug"].tolist() == list("aabbccdd") and found["fold"].tolist() == fold.tolist()
    assert np.corrcoef(np.log(found["predicted"]), np.log(KD))[0, 1] > 0.7
    moved = whole.readings["pairs"]
    moved.arrays["y"][fold == 1] += 1.0  # unseen by the fit that predicts them
    again = cross_validate(whole, "pairs", fold, only=[1], **options)
    assert np.allclose(again["predicted"], found.loc[found["fold"] == 1, "predicted"], rtol=1e-6)


def test_expected_readings_up_to_a_limit_are_those_of_draws() -> None:
    drawn = np.random.default_rng(0).normal(2.0, 1.0, 400_000)
    low, high = np.exp(np.quantile(drawn, [0.05, 0.95]))
    table = pd.DataFrame({"predicted": [np.exp(2.0)], "lower": [low], "upper": [high]})
    found = limited(table, np.exp(2.5)).iloc[0]
    assert np.log(found["predicted"]) == pytest.approx(np.minimum(drawn, 2.5).mean(), abs=0.005)
    assert found["beyond"] == pytest.approx((drawn > 2.5).mean(), abs=0.003)
    assert found["upper"] == np.exp(2.5) and found["unlimited"] == np.exp(2.0)
    with pytest.raises(AssayError, match="positive"):
        limited(table, 0.0)


def test_averages_know_both_entities_and_neighbours_are_not_the_entity_itself() -> None:
    first, second = np.repeat(np.arange(30), 40), np.tile(np.arange(40), 30)
    y = 0.1 * first + 0.05 * second
    fitted = np.random.default_rng(0).random(len(y)) < 0.8
    assert np.abs(average(y, first, second, fitted) - y).max() < 0.2
    near = nearest(y, first, second, fitted, np.arange(30.0)[:, None], most=1)
    assert np.abs(near - y).max() < 0.6 and np.abs(near - y).min() > 0.09
