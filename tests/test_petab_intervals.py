"""Intervals from Fisher information and from profiles, on objectives whose intervals are known."""

from __future__ import annotations

import numpy as np
import pytest

from multiscale.fit.petab.intervals import fisher_intervals, observed_information, profile_intervals
from multiscale.fit.trust_region import Evaluation

RISE = 1.3527717270  # half of the 90 % quantile of chi-squared with one degree of freedom
H = np.array([[4.0, 1.0], [1.0, 2.0]])
WIDE = np.full(2, -50.0), np.full(2, 50.0)


def quadratic(x: np.ndarray) -> Evaluation:
    d = x - np.array([1.0, -2.0])
    return Evaluation(np.einsum("sp,pq,sq->s", d, H, d) / 2, d @ H, np.tile(H, (len(x), 1, 1)))


def test_profiles_of_a_quadratic_are_its_marginal_intervals():
    _, low, high = profile_intervals(quadratic, np.array([1.0, -2.0]), 0.0, H, *WIDE)
    best, reach = np.array([1.0, -2.0]), np.sqrt(2 * RISE * np.diag(np.linalg.inv(H)))
    assert np.allclose(low, best - reach, rtol=0.01)
    assert np.allclose(high, best + reach, rtol=0.01)


def test_fisher_standard_deviations_are_those_of_the_inverse():
    fisher = fisher_intervals(np.array([1.0, -2.0]), H, *WIDE)
    assert np.allclose(fisher.sd, np.sqrt(np.diag(np.linalg.inv(H)))) and not fisher.undetermined.any()


def test_parameters_that_only_their_sum_determines_are_named():
    flat = np.array([[3.0, 3.0, 0.0], [3.0, 3.0, 0.0], [0.0, 0.0, 1.0]])
    fisher = fisher_intervals(np.zeros(3), flat, np.full(3, -5.0), np.full(3, 5.0))
    assert fisher.undetermined.tolist() == [True, True, False] and np.isinf(fisher.sd[:2]).all()
    assert np.allclose(np.abs(fisher.flat), [[2**-0.5, 2**-0.5, 0]])


def test_a_parameter_on_its_bound_is_flagged_and_does_not_widen_others():
    lower, upper = np.array([1.0, -50.0]), np.array([5.0, 50.0])
    fisher = fisher_intervals(np.array([1.0, -2.0]), H, lower, upper)
    assert fisher.at_bound.tolist() == [True, False] and fisher.sd[1] == pytest.approx(2**-0.5)


def test_a_profile_that_levels_off_is_open_on_that_side():
    def saturating(x: np.ndarray) -> Evaluation:  # rises to 1 on the right, without limit on the left
        e = np.exp(-x[:, 0])
        value, slope = (1 - e) ** 2, 2 * (1 - e) * e
        return Evaluation(value, slope[:, None], 2 * (e**2)[:, None, None])

    hessian = saturating(np.zeros((1, 1))).hessian[0]
    table, low, high = profile_intervals(
        saturating, np.zeros(1), 0.0, hessian, np.array([-9.0]), np.array([9.0])
    )
    assert np.isinf(high[0]) and low[0] == pytest.approx(-np.log(1 + np.sqrt(RISE)), abs=0.01)
    assert table["value"].max() == 9.0


def test_observed_information_is_the_hessian_of_a_function_that_bends():
    def bent(x: np.ndarray) -> Evaluation:  # 2 a² + a b + b² + a³
        a, b = x.T
        gradient = np.stack([4 * a + b + 3 * a**2, a + 2 * b], axis=1)
        return Evaluation(2 * a**2 + a * b + b**2 + a**3, gradient, np.tile(np.eye(2), (len(x), 1, 1)))

    found = observed_information(bent, np.array([0.5, 0.2]), np.eye(2), *WIDE)
    assert np.allclose(found, [[4 + 6 * 0.5, 1], [1, 2]], atol=1e-6)
