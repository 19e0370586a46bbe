"""Second derivatives of the loss, and Newton's method with them."""

import numpy as np
import pytest
import torch
from scipy.optimize import rosen, rosen_hess
from torch import Tensor

from multiscale.fit.curvature import descend, hessian, minimise
from multiscale.fit.objective import Posterior
from multiscale.fit.optimise import evaluate
from multiscale.model import Model


def rosenbrock(theta: Tensor, rows: Tensor) -> Tensor:
    return (100 * (theta[:, 1:] - theta[:, :-1] ** 2) ** 2 + (1 - theta[:, :-1]) ** 2).sum(1)


def test_the_hessian_is_that_of_scipy():
    theta = torch.tensor([[-1.2, 0.7, 1.1, 0.3]], dtype=torch.float64)
    np.testing.assert_allclose(hessian(rosenbrock, theta).numpy(), rosen_hess(theta[0].numpy()), rtol=1e-13)


def test_probing_all_contexts_at_once_gives_the_same_hessian(small_problem):
    model = Model(small_problem)
    theta = model.parameters.sample(1, torch.Generator().manual_seed(2), spread=0.5)
    local = model.parameters.local()
    assert sum(block.numel() for block in local) > 0
    full, probed = (hessian(Posterior(model), theta, 0, blocks) for blocks in ((), local))
    np.testing.assert_allclose(probed.numpy(), full.numpy(), rtol=1e-9, atol=1e-9)


def test_the_hessian_of_the_posterior_is_the_difference_of_its_gradients(small_problem):
    model = Model(small_problem)
    theta = model.parameters.sample(1, torch.Generator().manual_seed(2), spread=0.5)
    size, step = theta.shape[1], 1e-4
    moves = step * torch.eye(size, dtype=torch.float64)
    ends = [
        evaluate(Posterior(model), theta + sign * moves, torch.zeros(size, dtype=torch.int64))[1]
        for sign in (1, -1)
    ]
    expected = (ends[0] - ends[1]) / (2 * step)
    found = hessian(Posterior(model), theta, 0, model.parameters.local())
    np.testing.assert_allclose(
        found.numpy(), expected.numpy(), rtol=1e-6, atol=1e-5 * float(found.abs().max())
    )


def test_newton_finds_the_minimum_that_scipy_knows():
    start = torch.tensor([[-1.2, 1.0, 0.5]], dtype=torch.float64)
    found, _ = minimise(rosenbrock, start)
    np.testing.assert_allclose(found.theta[0].numpy(), np.ones(3), rtol=1e-5)
    assert float(found.loss[0]) == pytest.approx(rosen(np.ones(3)), abs=1e-9)
    assert found.reasons == ["gradient below tolerance"]


def test_newton_leaves_a_saddle():
    def double_well(theta: Tensor, rows: Tensor) -> Tensor:
        return theta[:, 0] ** 2 - theta[:, 1] ** 2 + 0.25 * theta[:, 1] ** 4  # minima at (0, ±√2), value −1

    found, _ = minimise(double_well, torch.zeros(1, 2, dtype=torch.float64))
    assert float(found.loss[0]) == pytest.approx(-1.0, abs=1e-8)


def test_a_badly_scaled_problem_is_solved_in_scaled_coordinates():
    lengths = torch.logspace(-4, 4, 5, dtype=torch.float64)

    def stretched(theta: Tensor, rows: Tensor) -> Tensor:
        return rosenbrock(theta / lengths, rows)

    found = descend(stretched, 0.5 * lengths[None], (), torch.zeros(5, dtype=torch.float64))
    np.testing.assert_allclose((found.theta[0] / lengths).numpy(), np.ones(5), rtol=1e-4)
