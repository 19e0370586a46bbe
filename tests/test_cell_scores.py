"""Scores agree with SciPy and with what is known of normal distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from multiscale.errors import DataError
from multiscale.fit.cells.scores import (
    compare,
    crps,
    energy_distance,
    entry_scores,
    median_distance,
    mmd,
    predictive_log_density,
    subsample,
    wasserstein,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_energy_distance_of_one_feature_is_the_square_of_scipys(rng) -> None:
    a, b = rng.normal(size=300), rng.gamma(2.0, size=170)
    assert energy_distance(a, b) == pytest.approx(stats.energy_distance(a, b) ** 2, rel=1e-12)


def test_energy_distance_of_shifted_normals_has_its_closed_form(rng) -> None:
    # |N(δ, 2)| has mean 2/√π exp(−δ²/4) + δ (2 Φ(δ/√2) − 1); the V-statistic adds E|X − X'|·2/n
    shift, n, same = 1.5, 2_000, 2 / np.sqrt(np.pi)
    across = same * np.exp(-(shift**2) / 4) + shift * (2 * stats.norm.cdf(shift / np.sqrt(2)) - 1)
    found = energy_distance(rng.normal(size=n), rng.normal(shift, size=n))
    assert found == pytest.approx(2 * across - 2 * same + 2 * same / n, rel=0.06)


def test_energy_distance_ignores_order_and_rotation(rng) -> None:
    a, b = rng.normal(size=(80, 3)), rng.normal(0.5, 2.0, size=(60, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = energy_distance(a[::-1] @ turn, b @ turn)
    assert turned == pytest.approx(energy_distance(a, b), rel=1e-10)
    assert energy_distance(a, a) == pytest.approx(0.0, abs=1e-12)


def test_wasserstein_of_every_feature_is_scipys(rng) -> None:
    a, b = rng.normal(size=(300, 3)).round(1), rng.normal(0.4, 2.0, size=(171, 3)).round(1)  # with ties
    expected = [stats.wasserstein_distance(a[:, j], b[:, j]) for j in range(3)]
    np.testing.assert_allclose(wasserstein(a, b), expected, rtol=1e-12)


def test_mmd_of_shifted_normals_has_its_closed_form(rng) -> None:
    # for N(0, 1) and N(δ, 1): E k = σ/√(σ² + 2) exp(−δ²/(2 (σ² + 2)))
    shift, sigma, n = 1.0, 0.8, 2_000
    level = sigma / np.sqrt(sigma**2 + 2)
    truth = 2 * level * (1 - np.exp(-(shift**2) / (2 * (sigma**2 + 2)))) + 2 * (1 - level) / n
    found = mmd(rng.normal(size=n), rng.normal(shift, size=n), bandwidth=sigma)
    assert found == pytest.approx(truth, rel=0.1)


def test_the_bandwidth_is_the_median_distance_unless_it_is_given(rng) -> None:
    a, b = rng.normal(size=(40, 2)), rng.normal(1.0, size=(50, 2))
    c = np.vstack([a, b])
    width = np.median([np.linalg.norm(p - q) for i, p in enumerate(c) for q in c[:i]])
    assert median_distance(c) == pytest.approx(width, rel=1e-12)
    assert mmd(a, b) == pytest.approx(mmd(a, b, bandwidth=float(width)), rel=1e-12)
    assert median_distance(np.array([0.0, 0, 0, 0, 5])) == 5.0  # most pairs are equal
    assert mmd(np.ones(4), np.ones(3)) == 0.0


def test_crps_of_many_draws_is_that_of_the_normal(rng) -> None:
    y = np.array([-1.0, 0.0, 2.5])
    draws = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    z = y  # of N(0, 1)
    truth = z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)
    np.testing.assert_allclose(crps(draws, y), truth, atol=1e-4)


def test_crps_is_its_definition_by_all_pairs(rng) -> None:
    draws, y = rng.poisson(3.0, size=(7, 4, 2)), rng.poisson(3.0, size=(4, 2))
    pairs = np.abs(draws[:, None] - draws[None]).mean((0, 1))
    np.testing.assert_allclose(crps(draws, y), np.abs(draws - y).mean(0) - pairs / 2, rtol=1e-12)
    np.testing.assert_allclose(crps(draws[:1], y), np.abs(draws[0] - y))


def test_entry_scores_are_those_of_numpy_and_scipy(rng) -> None:
    y = rng.poisson(5.0, size=(90, 2))
    mean = y + rng.gamma(2.0, size=y.shape)
    chosen = rng.random(y.shape) < 0.6
    table = entry_scores(y, mean, chosen, features=["P", "Q"])
    p, q = np.log1p(y[chosen[:, 1], 1]), np.log1p(mean[chosen[:, 1], 1])
    assert table["n"].tolist() == chosen.sum(0).tolist()
    assert table["rmse"]["Q"] == pytest.approx(np.sqrt(((p - q) ** 2).mean()), rel=1e-12)
    assert table["spearman"]["Q"] == pytest.approx(stats.spearmanr(p, q)[0], rel=1e-12)
    assert table["bias"]["P"] > 0


def test_entry_scores_say_nan_where_there_is_nothing_to_score() -> None:
    y = np.array([[1.0, 2.0], [3.0, 2.0]])
    table = entry_scores(y, y, np.array([[False, True], [False, True]]))
    assert table["n"].tolist() == [0, 2]
    np.testing.assert_array_equal(table["rmse"], [np.nan, 0.0])
    assert table["spearman"].isna().all()
    with pytest.raises(DataError, match="log1p=False"):
        entry_scores(-y, y)
    with pytest.raises(DataError, match=r"\(2, 2\), \(1, 2\)"):
        entry_scores(y, y[:1])


def test_the_density_of_a_mixture_of_draws_is_their_mean(rng) -> None:
    # y | z ~ N(z, 1), z ~ N(0, 1): y ~ N(0, 2)
    z = stats.norm.ppf((np.arange(5_000) + 0.5) / 5_000)[:, None]
    y = np.array([0.0, 1.0, -2.0])
    found = predictive_log_density(stats.norm.logpdf(y, z))
    np.testing.assert_allclose(found, stats.norm.logpdf(y, scale=np.sqrt(2)), atol=1e-4)
    assert predictive_log_density(np.array([[-2000.0], [-2000.0]])) == pytest.approx(-2000.0)


def test_a_comparison_counts_features_alike_and_judges_all_models_by_one_bandwidth(rng) -> None:
    a, b = rng.normal(size=(100, 2)), rng.normal(0.3, size=(100, 2))
    unit = np.array([1.0, 1000.0])
    scores = compare(a * unit, b * unit, scale=unit)
    assert scores["energy_distance"] == pytest.approx(energy_distance(a, b), rel=1e-9)
    assert scores["mmd"] == pytest.approx(mmd(a, b, bandwidth=median_distance(a)), rel=1e-9)
    assert scores["wasserstein"] == pytest.approx(wasserstein(a, b).mean(), rel=1e-9)


def test_a_subsample_holds_rows_once_in_order_and_by_seed() -> None:
    values = np.arange(50.0)[:, None]
    kept = subsample(values, 20, seed=1)
    assert len(np.unique(kept)) == 20 and (np.diff(kept[:, 0]) > 0).all()
    np.testing.assert_array_equal(kept, subsample(values, 20, seed=1))
    assert not np.array_equal(kept, subsample(values, 20, seed=2))


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3)), "got 2 and 3"),
        (np.zeros((0, 2)), np.zeros((2, 2)), r"got \(0, 2\)"),
        (np.array([[0.0, np.nan]]), np.zeros((2, 2)), "cell 0, feature 1 is nan"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(a, b, words: str) -> None:
    for distance in (energy_distance, mmd, wasserstein):
        with pytest.raises(DataError, match=words):
            distance(a, b)
    if "nan" not in words:
        return
    with pytest.raises(DataError, match="must be positive"):
        mmd(b, b, bandwidth=0.0)
