"""The bounded trust-region search on problems whose minima are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from multiscale.fit.trust_region import Ended, Evaluation, Tolerances, _in_ball, begin, iterate, minimise


def squares(residuals, jacobian):
    def evaluate(x: np.ndarray) -> Evaluation:
        r, J = residuals(x), jacobian(x)
        value = (r**2).sum(1) / 2
        return Evaluation(value, np.einsum("sr,srp->sp", r, J), np.einsum("srp,srq->spq", J, J))

    return evaluate


def decay(x: np.ndarray) -> np.ndarray:
    t = np.linspace(0, 4, 9)
    return np.exp(x[:, :1]) * np.exp(-np.exp(x[:, 1:]) * t) - 2 * np.exp(-0.5 * t)


def decay_slope(x: np.ndarray) -> np.ndarray:
    t = np.linspace(0, 4, 9)
    y = np.exp(x[:, :1]) * np.exp(-np.exp(x[:, 1:]) * t)
    return np.stack([y, -y * np.exp(x[:, 1:]) * t], axis=2)


def test_an_exponential_decay_is_recovered_from_every_start():
    starts = np.random.default_rng(0).uniform(-3, 3, (20, 2))
    found = minimise(squares(decay, decay_slope), starts, np.full(2, -4.0), np.full(2, 4.0))
    assert np.allclose(found.x[found.at.value < 1e-8], np.log([2, 0.5]), atol=1e-5)
    assert (found.at.value < 1e-8).sum() >= 18


@pytest.mark.parametrize("bounds", [(-4, 0.0), (-0.5, 4), (-1, 0.3)])
def test_minima_on_bounds_are_those_of_scipy(bounds: tuple[float, float]):
    lower, upper = np.full(2, bounds[0], dtype=float), np.full(2, bounds[1], dtype=float)
    start = (lower + upper) / 2
    found = minimise(squares(decay, decay_slope), start[None], lower, upper)
    peer = least_squares(
        lambda x: decay(x[None])[0],
        start,
        lambda x: decay_slope(x[None])[0],  # type: ignore[arg-type]  (SciPy's own annotations know `str` only)
        (lower, upper),
    )
    assert found.at.value[0] <= peer.cost * (1 + 1e-6) + 1e-10
    assert ((found.x >= lower) & (found.x <= upper)).all()


def test_a_parameter_between_equal_bounds_stays():
    lower, upper = np.array([-4.0, 0.1]), np.array([4.0, 0.1])
    found = minimise(squares(decay, decay_slope), np.array([[0.0, 3.0]]), lower, upper)
    assert found.x[0, 1] == 0.1 and abs(found.at.gradient[0, 0]) < 1e-6


def test_points_without_value_are_stepped_away_from():
    def broken(x: np.ndarray) -> Evaluation:
        at = squares(decay, decay_slope)(x)
        return Evaluation(np.where(x[:, 0] > 1.0, np.inf, at.value), at.gradient, at.hessian)

    found = minimise(broken, np.array([[-3.0, -3.0], [3.0, 0.0]]), np.full(2, -4.0), np.full(2, 4.0))
    assert found.ended[1] == Ended.FAILED and found.at.value[0] < 1e-8


def test_a_search_goes_on_where_it_stood():
    evaluate, starts = squares(decay, decay_slope), np.array([[-2.0, 1.0], [1.5, -1.0]])
    lower, upper = np.full_like(starts, -4.0), np.full_like(starts, 4.0)
    whole = minimise(evaluate, starts, lower, upper)
    half = begin(evaluate, starts, lower, upper)
    for _ in range(3):
        half = iterate(half, evaluate, lower, upper, Tolerances())
    resumed = minimise(evaluate, starts, lower, upper, search=half)
    assert np.array_equal(whole.x, resumed.x) and whole.iteration == resumed.iteration


def test_steps_in_a_ball_solve_the_optimality_conditions():
    generator = np.random.default_rng(1)
    for radius in (1e-3, 0.1, 10.0):
        A = generator.normal(size=(4, 6))  # singular
        B, g = A.T @ A, generator.normal(size=6)
        s = _in_ball(g, B, radius)
        shift = -(B @ s + g) @ s / (s @ s)
        assert np.linalg.norm(s) <= radius * (1 + 1e-8)
        assert np.allclose(B @ s + shift * s, -g, atol=1e-7 * np.linalg.norm(g)) and shift >= -1e-9
