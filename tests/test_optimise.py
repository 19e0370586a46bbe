"""Optimisers: known minima, scipy as the judge, starts that do not disturb each other."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, rosen

from multiscale.fit.optimise import REASONS, adam, lbfgs


def rosenbrock(theta: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return (100 * (theta[:, 1:] - theta[:, :-1] ** 2) ** 2 + (1 - theta[:, :-1]) ** 2).sum(1)


def starts(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_lbfgs_reaches_the_minimum_of_rosenbrock_from_every_start():
    optimum = lbfgs(rosenbrock, starts(8, 2), max_steps=300, gradient_tolerance=1e-8, change_tolerance=0.0)
    torch.testing.assert_close(optimum.theta, torch.ones(8, 2, dtype=torch.float64), rtol=0, atol=1e-6)
    assert set(optimum.reasons) <= set(REASONS[:3])


def test_lbfgs_needs_no_more_than_twice_the_steps_of_scipy():
    start = starts(1, 10)
    ours = lbfgs(rosenbrock, start, max_steps=500, gradient_tolerance=1e-5, change_tolerance=0.0)
    theirs = minimize(rosen, start[0].numpy(), method="L-BFGS-B", options={"maxcor": 20, "gtol": 1e-5})
    assert float(ours.loss[0]) == pytest.approx(theirs.fun, abs=1e-6) or float(ours.loss[0]) < theirs.fun
    assert int(ours.steps[0]) <= 2 * theirs.nit


def test_a_start_without_a_finite_loss_does_not_disturb_the_others():
    def broken(theta: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return torch.where(rows == 1, torch.nan, rosenbrock(theta, rows))

    point = starts(3, 2)
    alone = lbfgs(rosenbrock, point[[0, 2]], max_steps=60)
    together = lbfgs(broken, point, max_steps=60)
    torch.testing.assert_close(together.theta[[0, 2]], alone.theta, rtol=1e-12, atol=1e-12)
    assert not bool(together.loss[1].isfinite())
    assert together.best != 1


def test_adam_returns_the_best_point_it_saw():
    seen: list[float] = []
    theta = adam(rosenbrock, starts(4, 2), steps=200, progress=lambda _, loss: seen.append(float(loss.min())))
    final = float(rosenbrock(theta, torch.arange(4)).min())
    assert final == pytest.approx(seen[-1])
    assert np.all(np.diff(seen) <= 0)
