"""Fitness and counts of selections: calibration, noise, and draws that match the noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from instrument_cases import COUNTS, FITNESS, moments, prepared, table, values
from torch import Tensor

from multiscale.assays import Fitness, Instrument, SelectionCounts
from multiscale.assays.density import student_t_of_variance

SELECTION = {"species": "bound", "of": "protein"}


def ln(*fractions: float) -> Tensor:
    """Readouts of rows, shape (1, row, 1)."""
    return torch.tensor(fractions, dtype=torch.float64).log()[None, :, None]


def fixed(rows: int, **named: float) -> dict[str, Tensor]:
    """Values of unknowns, the same in every row."""
    return {name: torch.full((1, rows), value, dtype=torch.float64) for name, value in named.items()}


def fitness(**options: object) -> Fitness:
    return Fitness(**{**SELECTION, **options})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("decreasing", "sign"), [(False, 1.0), (True, -1.0)])
def test_affine_calibration_is_baseline_plus_amplitude_times_fraction(decreasing: bool, sign: float) -> None:
    known = fixed(2, baseline=-1.0, amplitude=math.log(2.0), noise=0.0)
    found = fitness(decreasing=decreasing).expected({}, ln(0.25, 1.0), known)
    assert found[0].tolist() == pytest.approx([-1.0 + sign * 0.5, -1.0 + sign * 2.0])


def test_log_affine_calibration_is_log2_of_the_affine_one() -> None:
    known = fixed(2, amplitude=math.log(4.0), background=math.log(0.5), noise=0.0)
    found = fitness(calibration="log_affine", base=2).expected({}, ln(0.875, 0.0), known)
    assert found[0].tolist() == pytest.approx([2.0, -1.0])  # log2(4 · 0.875 + 0.5) = log2 4


def test_monotone_calibration_with_one_step_at_even_odds_is_affine() -> None:
    known = fixed(3, baseline=1.0, noise=0.0) | {"step 1": torch.full((1, 3), math.log(3.0))}
    found = fitness(calibration="monotone", midpoints=[0.0]).expected({}, ln(0.0, 0.5, 1.0), known)
    assert found[0].tolist() == pytest.approx([1.0, 2.5, 4.0])


def test_monotone_calibrations_grow_with_the_fraction() -> None:
    made = fitness(calibration="monotone")
    known = {name: value[:, :1] for name, value in values(made, FITNESS, starts=5).items()}
    readouts = torch.linspace(-30.0, 0.0, 200, dtype=torch.float64)[None, :, None]
    assert (made.expected({}, readouts, known).diff(dim=-1) > 0).all()


def test_variances_of_row_and_group_add_up() -> None:
    made = fitness(sd_column="sigma")
    known = fixed(3, baseline=0.0, amplitude=0.0, noise=math.log(0.4), row_sd=0.0)
    found = made.log_density(prepared(made, FITNESS), ln(0.5, 0.5, 0.5), known)
    sd = np.sqrt(np.array([0.1, 0.2, 0.3]) ** 2 + 0.16)
    np.testing.assert_allclose(found[0], scipy.stats.norm.logpdf(FITNESS["value"], 0.5, sd), rtol=1e-13)


def test_reads_add_their_poisson_variance_in_the_base_of_the_logarithm() -> None:
    variance = fitness(counts=True, base=2, columns=COUNTS).prepare(FITNESS, "t")["variance"]
    assert variance[1] == pytest.approx((1 / 20.5 + 1 / 0.5) / math.log(2.0) ** 2)


def test_poisson_variance_of_a_ratio_of_counts_is_that_of_simulated_reads() -> None:
    random = np.random.default_rng(3)
    before, after = random.poisson(400, 100_000), random.poisson(100, 100_000)
    variance = np.var(np.log((after + 0.5) / (before + 0.5)))
    assert variance == pytest.approx(1 / 400.5 + 1 / 100.5, rel=0.03)


def test_noise_may_depend_on_the_expected_reading() -> None:
    known = fixed(3, baseline=5.0, amplitude=0.0, noise=-1.0, noise_slope=0.5, noise_curvature=0.25)
    made = fitness(heteroscedastic=True)
    found = made.log_density(prepared(made, FITNESS), ln(0.0, 0.5, 1.0), known)
    sd = np.exp([-1.0 - 0.5 + 0.25, -1.0, -1.0 + 0.5 + 0.25])
    np.testing.assert_allclose(
        found[0], scipy.stats.norm.logpdf(FITNESS["value"], [5, 5.5, 6], sd), rtol=1e-12
    )


@pytest.mark.parametrize("degrees", [0.7, 3.0, 200.0])
def test_student_t_density_is_that_of_scipy(degrees: float) -> None:
    y = torch.linspace(-9.0, 9.0, 7, dtype=torch.float64)
    one = torch.ones_like(y)
    found = student_t_of_variance(y, one, 4.0 * one, math.log(degrees) * one)
    np.testing.assert_allclose(found, scipy.stats.t.logpdf(y, degrees, 1.0, 2.0), rtol=1e-12)


def draws(made: Instrument, data: dict[str, Tensor], readout: Tensor, known: dict[str, Tensor]) -> Tensor:
    """Many draws, shape (start, row)."""
    many = {name: value.expand(100_000, -1) for name, value in known.items()}
    return made.draw(data, readout.expand(100_000, -1, -1), many, torch.Generator().manual_seed(7))


def test_draws_have_the_moments_of_the_noise() -> None:
    made = fitness(sd_column="sigma", noise="student_t")
    known = fixed(3, baseline=1.0, amplitude=0.0, noise=math.log(0.4), row_sd=0.0, degrees=math.log(8.0))
    mean, sd = moments(draws(made, prepared(made, FITNESS), ln(0.5, 0.5, 0.5), known))
    scale = np.sqrt(np.array([0.1, 0.2, 0.3]) ** 2 + 0.16)
    np.testing.assert_allclose(mean, 1.5, atol=0.01)
    np.testing.assert_allclose(sd, scale * math.sqrt(8 / 6), rtol=0.02)


def test_rows_to_predict_are_drawn_with_the_sd_that_fitted_rows_stated() -> None:
    made = fitness(sd_column="sigma")
    unknown = made.unknowns(made.prepare(FITNESS, "t"))[-1]
    assert (unknown.name, unknown.labels) == ("row_sd", ("all",))
    assert unknown.mean == pytest.approx(math.log(0.1 * 0.2 * 0.3) / 3)
    known = fixed(1, baseline=0.0, amplitude=0.0, noise=-20.0, row_sd=math.log(0.3))
    data = prepared(made, table(other=[1]), measured=False)
    assert moments(draws(made, data, ln(0.5), known))[1][0] == pytest.approx(0.3, rel=0.02)


def counts(**options: object) -> SelectionCounts:
    return SelectionCounts(**{**SELECTION, "columns": COUNTS, **options})  # pyright: ignore[reportArgumentType]


def test_beta_binomial_probabilities_are_those_of_scipy() -> None:
    made = counts()
    known = fixed(3, baseline=-1.0, amplitude=0.0, concentration=math.log(5.0), reads=0.0)
    found = made.log_density(prepared(made, FITNESS), ln(0.2, 0.5, 1.0), known)
    share = 1 / (1 + np.exp(-np.array([-0.8, -0.5, 0.0])))
    total = FITNESS["before"] + FITNESS["after"]
    wanted = scipy.stats.betabinom.logpmf(FITNESS["after"], total, 5 * share, 5 * (1 - share))
    np.testing.assert_allclose(found[0], wanted, rtol=1e-12)


def test_negative_binomial_probabilities_are_those_of_scipy() -> None:
    made = counts(distribution="negative_binomial")
    known = fixed(3, baseline=-1.0, amplitude=0.0, concentration=math.log(5.0), reads=0.0)
    found = made.log_density(prepared(made, FITNESS), ln(0.2, 0.5, 1.0), known)
    mean = FITNESS["before"] * np.exp([-0.8, -0.5, 0.0])
    wanted = scipy.stats.nbinom.logpmf(FITNESS["after"], 5.0, 5.0 / (5.0 + mean))
    np.testing.assert_allclose(found[0], wanted, rtol=1e-12)


def test_drawn_counts_have_the_moments_of_their_distribution() -> None:
    # ln ratios of many reads: variance of the logit of a beta variate, about 1/(φ S (1 − S)) for large φ
    made, data = counts(), table(before=[500_000], after=[500_000])
    known = fixed(1, baseline=0.0, amplitude=0.0, concentration=math.log(400.0), reads=0.0)
    mean, sd = moments(draws(made, prepared(made, data), ln(0.0), known))
    assert mean[0] == pytest.approx(0.0, abs=0.01) and sd[0] == pytest.approx(math.sqrt(4 / 400), rel=0.02)
    lower = {**known, "baseline": known["baseline"] - math.log(3.0)}
    mean, sd = moments(draws(made, prepared(made, data), ln(0.0), lower))
    assert mean[0] == pytest.approx(-math.log(3.0), abs=0.01) and sd[0] == pytest.approx(
        math.sqrt(16 / 1200), rel=0.02
    )
    made = counts(distribution="negative_binomial")
    mean, sd = moments(draws(made, prepared(made, data), ln(0.0), known))
    assert mean[0] == pytest.approx(0.0, abs=0.01) and sd[0] == pytest.approx(math.sqrt(1 / 400), rel=0.02)


def test_no_read_before_selection_is_refused_where_it_is_taken_as_exact() -> None:
    bad = FITNESS.assign(before=[0, 1, 2])
    with pytest.raises(ValueError, match=r"t\.tsv, line 2: no read before selection"):
        counts(distribution="negative_binomial").prepare(bad, "t.tsv")
    assert np.isfinite(counts().prepare(bad, "t.tsv")["input"]).all()
