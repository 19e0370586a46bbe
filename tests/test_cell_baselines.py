"""Baselines recover what they can in made-up cells, and choose inside the training cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from multiscale.errors import ConfigError, DataError
from multiscale.fit.cells.baselines import METHODS, impute, predict_features
from multiscale.fit.cells.condition_baselines import GROUP_METHODS, predict_group


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def linear(rng: np.random.Generator, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (800, 6) and three readings that are linear in them."""
    x = rng.normal(size=(800, 6))
    return x, 2.0 + x @ rng.normal(size=(6, 3)) + noise * rng.normal(size=(800, 3))


def test_ridge_is_the_textbook_formula_with_the_penalty_that_it_chose(rng) -> None:
    x, y = linear(rng)
    found = predict_features("ridge", x[:500], y[:500], x[500:])
    centred = x[:500] - x[:500].mean(0)
    gram = centred.T @ centred / 500
    penalty = found.setting * (centred**2).mean() * np.eye(6)
    weights = np.linalg.solve(gram + penalty, centred.T @ (y[:500] - y[:500].mean(0)) / 500)
    expected = y[:500].mean(0) + (x[500:] - x[:500].mean(0)) @ weights
    np.testing.assert_allclose(found.expected, expected, rtol=1e-9)


def test_ridge_draws_scatter_like_the_noise_and_the_mean_like_the_readings(rng) -> None:
    x, y = linear(rng, noise=0.3)
    ridge = predict_features("ridge", x[:500], y[:500], x[500:], draws=50, seed=1)
    assert (ridge.draws - ridge.expected).std() == pytest.approx(0.3, rel=0.1)
    mean = predict_features("mean", x[:500], y[:500], x[500:], draws=50, seed=1)
    np.testing.assert_allclose(mean.expected, np.tile(y[:500].mean(0), (300, 1)))
    np.testing.assert_allclose(mean.draws.std((0, 1)), y[:500].std(0), rtol=0.05)


def test_penalty_grows_with_noise_and_useless_inputs(rng) -> None:
    x = rng.normal(size=(60, 40))
    clean = predict_features("ridge", x, x[:, :2], x[:5])
    noise = predict_features("ridge", x, rng.normal(size=(60, 2)), x[:5])
    assert clean.setting < 0.1 < noise.setting


def test_neighbours_are_those_of_brute_force_and_draws_are_readings_of_them(rng) -> None:
    x, y = linear(rng)
    found = predict_features("neighbours", x[:500], y[:500], x[500:510], draws=30)
    k = int(found.setting)
    for cell in range(10):
        near = np.argsort(np.linalg.norm(x[:500] - x[500 + cell], axis=1))[:k]
        np.testing.assert_allclose(found.expected[cell], y[near].mean(0), rtol=1e-9)
        assert {tuple(row) for row in found.draws[:, cell]} <= {tuple(row) for row in y[near]}


def test_number_of_neighbours_is_large_for_noise_and_small_for_smooth_readings(rng) -> None:
    x = rng.uniform(size=(600, 1))
    smooth = predict_features("neighbours", x, np.sin(20 * x), x[:2])
    noise = predict_features("neighbours", x, rng.normal(size=(600, 1)), x[:2])
    assert smooth.setting <= 5 and noise.setting >= 20


def test_feature_draws_keep_the_correlation_of_a_cell(rng) -> None:
    shared = rng.normal(size=(500, 1))
    x, y = rng.normal(size=(500, 2)), shared + 0.1 * rng.normal(size=(500, 2))
    for method in METHODS:
        drawn = predict_features(method, x, y, x[:100], draws=5).draws.reshape(-1, 2)
        assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.9


def factor(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Eight features of two factors, and a tenth of the entries hidden."""
    loadings = rng.normal(size=(2, 8)) * np.arange(1, 9)
    y = rng.normal(size=(500, 2)) @ loadings + 0.2 * rng.normal(size=(500, 8)) + 4.0
    return y, rng.random(y.shape) < 0.1


def errors(rng: np.random.Generator, **options) -> dict[str, float]:
    y, hidden = factor(rng)
    scale = y.std(0)
    said = {name: impute(name, np.where(hidden, np.nan, y), hidden, **options).expected for name in METHODS}
    return {name: float(np.sqrt((((e - y) / scale)[hidden] ** 2).mean())) for name, e in said.items()}


def test_entries_are_imputed_without_being_read_and_far_better_than_by_the_mean(rng) -> None:
    found = errors(rng)
    assert found["mean"] == pytest.approx(1.0, rel=0.1)
    assert found["ridge"] < 0.6
    assert found["neighbours"] < 0.6


def test_ridge_of_entries_is_the_regression_on_all_other_columns(rng) -> None:
    y, _ = factor(rng)
    hidden = np.zeros(y.shape, dtype=bool)
    hidden[7, 2] = True
    found = impute("ridge", y, hidden)
    z = (y - y.mean(0)) / y.std(0)
    others = np.delete(z, 2, axis=1)
    rows = np.arange(500) != 7
    gram = others[rows].T @ others[rows] / 500 + found.setting * np.eye(7)
    weights = np.linalg.solve(gram, others[rows].T @ z[rows, 2] / 500)
    expected = y[rows, 2].mean() + y[rows, 2].std() * (others[7] @ weights)
    assert found.expected[7, 2] == pytest.approx(expected, rel=0.02)


def test_inputs_beside_the_table_help_where_it_is_not_enough(rng) -> None:
    x, y = linear(rng)
    hidden = rng.random(y.shape) < 0.3
    for method, share in (("ridge", 0.4), ("neighbours", 0.7)):
        alone, both = impute(method, y, hidden), impute(method, y, hidden, inputs=x)
        assert np.abs(both.expected - y)[hidden].mean() < share * np.abs(alone.expected - y)[hidden].mean()


@pytest.mark.parametrize("method", METHODS)
def test_draws_of_entries_hold_the_reading_as_often_as_they_say(method: str, rng) -> None:
    y, hidden = factor(rng)
    low, high = np.quantile(impute(method, y, hidden, draws=200, seed=2).draws, [0.05, 0.95], axis=0)
    assert ((low <= y) & (y <= high))[hidden].mean() == pytest.approx(0.9, abs=0.06)


def crossed(rng: np.random.Generator) -> tuple[np.ndarray, pd.DataFrame]:
    """Cells of two donors under doses 0, 1, 2, 3; means additive, linear in dose, four features."""
    labels = pd.DataFrame({"condition": np.repeat(list("abcd"), 300), "donor": np.tile(["p", "q"], 600)})
    dose = labels["condition"].map(dict(zip("abcd", range(4), strict=True))).to_numpy(float)
    mean = dose[:, None] * [1.0, -0.5, 0.0, 2.0] + (labels["donor"] == "q").to_numpy()[:, None] * 3.0
    return mean + rng.normal(size=(1200, 4)), labels


DOSES = pd.DataFrame({"dose": [0.0, 1.0, 2.0, 3.0]}, index=list("abcd"))


def left_out(values: np.ndarray, labels: pd.DataFrame, drop: pd.Series) -> tuple:
    return values[~drop], labels[~drop], values[(labels["condition"] == "d") & (labels["donor"] == "q")]


def test_additive_effects_predict_a_combination_exactly_from_three_others(rng) -> None:
    values, labels = crossed(rng)
    kept = labels["condition"].isin(["a", "d"])
    values, labels = values[kept], labels[kept]
    drop = (labels["condition"] == "d") & (labels["donor"] == "q")
    train, names, _ = left_out(values, labels, drop)
    found = predict_group("additive", train, names, "d", "q")
    aq, dp, ap = (train[(names["condition"] + names["donor"]) == key].mean(0) for key in ("aq", "dp", "ap"))
    np.testing.assert_allclose(found.expected, aq + dp - ap, rtol=1e-9)
    np.testing.assert_allclose(found.cells.std(0), 1.0, rtol=0.1)


def test_ridge_on_doses_extrapolates_to_a_dose_that_was_never_seen(rng) -> None:
    values, labels = crossed(rng)
    train, names, truth = left_out(values, labels, labels["condition"] == "d")
    found = predict_group("ridge", train, names, "d", "q", descriptors=DOSES)
    np.testing.assert_allclose(found.expected, truth.mean(0), atol=0.35)
    blind = predict_group("additive", train, names, "d", "q")
    assert np.abs(blind.expected - truth.mean(0)).max() > 2.0  # the mean effect of the doses that were seen


def test_nearest_condition_takes_its_cells_of_the_same_donor(rng) -> None:
    values, labels = crossed(rng)
    train, names, _ = left_out(values, labels, labels["condition"] == "d")
    found = predict_group("nearest_condition", train, names, "d", "q", descriptors=DOSES, count=50)
    own = train[(names["condition"] == "c") & (names["donor"] == "q")]
    assert {tuple(cell) for cell in found.cells} <= {tuple(cell) for cell in own}
    np.testing.assert_allclose(found.expected, own.mean(0), rtol=1e-9)


def test_a_condition_seen_in_other_donors_is_its_own_nearest(rng) -> None:
    values, labels = crossed(rng)
    train, names, _ = left_out(values, labels, labels["donor"] == "q")
    found = predict_group("nearest_condition", train, names, "d", "q")
    np.testing.assert_allclose(found.expected, train[names["condition"] == "d"].mean(0), rtol=1e-9)


def test_the_mean_weighs_groups_alike_however_many_cells_they_have(rng) -> None:
    values = np.concatenate([np.zeros((900, 1)), np.ones((100, 1))])
    labels = pd.DataFrame({"condition": ["a"] * 900 + ["b"] * 100})
    found = predict_group("mean", values, labels, "c", count=4000)
    assert found.expected[0] == pytest.approx(0.5)
    assert found.cells.mean() == pytest.approx(0.5, abs=0.03)


def test_neighbouring_conditions_are_as_many_as_predict_left_out_ones_best(rng) -> None:
    names = [f"c{i}" for i in range(30)]
    doses = pd.DataFrame({"dose": np.arange(30.0)}, index=names)
    labels = pd.DataFrame({"condition": np.repeat(names[:-1], 20)})
    flat = predict_group("neighbours", rng.normal(size=(580, 2)), labels, "c29", descriptors=doses)
    slope = np.repeat(np.arange(29.0), 20)[:, None] + 0.01 * rng.normal(size=(580, 2))
    steep = predict_group("neighbours", slope, labels, "c29", descriptors=doses)
    assert steep.setting <= 3 < flat.setting


@pytest.mark.parametrize("method", GROUP_METHODS)
def test_the_same_seed_draws_the_same_cells(method: str, rng) -> None:
    values, labels = crossed(rng)
    train, names, _ = left_out(values, labels, labels["condition"] == "d")
    drawn = [
        predict_group(method, train, names, "d", "q", descriptors=DOSES, seed=s).cells for s in (1, 1, 2)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2]) and drawn[0].shape == (1000, 4)


def test_wrong_requests_of_baselines_are_refused(rng) -> None:
    x, y = linear(rng)
    values, labels = crossed(rng)
    with pytest.raises(ConfigError, match="did you mean `ridge`"):
        predict_features("rigde", x, y, x)
    with pytest.raises(DataError, match="shapes do not fit"):
        predict_features("ridge", x, y[:5], x)
    with pytest.raises(DataError, match="not finite"):
        impute("mean", y, np.zeros(y.shape, dtype=bool), inputs=x * np.nan)
    with pytest.raises(DataError, match="feature 1 has fewer than two visible"):
        impute("mean", y, np.arange(3)[None] == np.ones((800, 1)))
    with pytest.raises(DataError, match="is in the training cells"):
        predict_group("mean", values, labels, "d", "q")
    with pytest.raises(DataError, match="without `descriptors`"):
        predict_group("nearest_condition", values, labels, "e", "q")
    with pytest.raises(DataError, match="no row for condition `e`"):
        predict_group("ridge", values, labels, "e", "q", descriptors=DOSES)
