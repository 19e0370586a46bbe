from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from multiscale.assays.noise import censored_normal, log_normal, negative_binomial, normal, student_t

Y = torch.tensor([-1.3, 0.0, 0.4, 7.5], dtype=torch.float64)
MEAN = torch.tensor([[0.2], [-3.0], [6.0]], dtype=torch.float64)
SD = torch.tensor([[0.5], [2.0], [11.0]], dtype=torch.float64)


def float64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_normal_equals_scipy() -> None:
    expected = scipy.stats.norm.logpdf(Y, MEAN, SD)
    np.testing.assert_allclose(normal(Y, MEAN, SD), expected, rtol=1e-13, atol=1e-13)


def test_student_t_equals_scipy() -> None:
    degrees = torch.tensor([[1.0], [3.5], [200.0]], dtype=torch.float64)
    expected = scipy.stats.t.logpdf(Y, degrees, MEAN, SD)
    np.testing.assert_allclose(student_t(Y, MEAN, SD, degrees), expected, rtol=1e-11)


def test_log_normal_equals_scipy() -> None:
    y = Y.exp()
    expected = scipy.stats.lognorm.logpdf(y, SD, scale=MEAN.exp())
    np.testing.assert_allclose(log_normal(y, MEAN, SD), expected, rtol=1e-12, atol=1e-12)


def test_negative_binomial_equals_scipy() -> None:
    y = float64(0, 1, 5, 300)
    ln_mean, ln_r = torch.tensor([[-4.0], [0.5], [6.0]], dtype=torch.float64), float64(-2.0, 0.0, 1.0, 4.0)
    r, mean = ln_r.exp(), ln_mean.exp()
    expected = scipy.stats.nbinom.logpmf(y, r, r / (r + mean))
    np.testing.assert_allclose(negative_binomial(y, ln_mean, ln_r), expected, rtol=1e-11)


def test_negative_binomial_sums_to_one() -> None:
    y = torch.arange(2000, dtype=torch.float64)
    total = negative_binomial(y, float64(2.0), float64(0.3)).exp().sum()
    assert float(total) == pytest.approx(1.0, abs=1e-12)


def test_variance_of_counts_is_mean_plus_mean_squared_over_dispersion() -> None:
    y = torch.arange(3000, dtype=torch.float64)
    p = negative_binomial(y, float64(4.0).log(), float64(2.0).log()).exp()
    mean = float((p * y).sum())
    assert (mean, float((p * y**2).sum()) - mean**2) == pytest.approx((4.0, 4.0 + 16.0 / 2.0), rel=1e-10)


def test_large_dispersion_is_the_poisson_distribution() -> None:
    y = float64(0, 3, 20)
    expected = scipy.stats.poisson.logpmf(y, 4.0)
    # The variance exceeds that of Poisson by a relative mean/r, here 4e-6.
    np.testing.assert_allclose(
        negative_binomial(y, float64(4.0).log(), float64(1e6).log()), expected, rtol=1e-4
    )


def test_censored_normal_equals_scipy_on_each_side() -> None:
    y, mean, sd = float64(1.0, 1.0, 1.0), float64(0.3), float64(0.7)
    found = censored_normal(y, mean, sd, torch.tensor([0, -1, 1]))
    expected = [
        f(1.0, 0.3, 0.7) for f in (scipy.stats.norm.logpdf, scipy.stats.norm.logcdf, scipy.stats.norm.logsf)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("z", [5.0, 0.0, -3.0, -10.0, -30.0, -300.0])
@pytest.mark.parametrize("side", [-1, 1])
def test_censored_normal_and_its_gradient_are_right_far_in_the_tail(z: float, side: int) -> None:
    mean = float64(0.0).requires_grad_()
    value = censored_normal(float64(-side * z), mean, float64(1.0), torch.tensor([side]))
    (gradient,) = torch.autograd.grad(value.sum(), mean)
    with mpmath.workdps(60):
        ln_tail = mpmath.log(mpmath.ncdf(mpmath.mpf(z)))
        hazard = mpmath.npdf(z) / mpmath.ncdf(z)
    assert value.item() == pytest.approx(float(ln_tail), rel=1e-12)
    assert gradient.item() == pytest.approx(side * float(hazard), rel=1e-11)


def test_a_bound_that_holds_by_far_costs_nothing_and_pulls_nowhere() -> None:
    mean = float64(-1e3).requires_grad_()
    value = censored_normal(float64(0.0), mean, float64(1.0), torch.tensor([-1]))
    (gradient,) = torch.autograd.grad(value.sum(), mean)
    assert (value.item(), gradient.item()) == (0.0, 0.0)


def test_censored_normal_broadcasts_starts_over_entries() -> None:
    y, censoring = float64(0.0, 1.0, 2.0), torch.tensor([0, 1, -1])
    location = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = censored_normal(y, location, float64(0.4), censoring)
    alone = [censored_normal(y[i], location[:, i], float64(0.4), censoring[i]) for i in range(3)]
    torch.testing.assert_close(whole, torch.stack(alone, dim=1), rtol=0, atol=0)


def test_exact_entries_keep_finite_gradients_beside_censored_ones() -> None:
    mean, sd = float64(-50.0, 50.0).requires_grad_(), float64(0.1, 0.1).requires_grad_()
    value = censored_normal(float64(50.0, -50.0), mean, sd, torch.tensor([0, 1])).sum()
    gradients = torch.autograd.grad(value, (mean, sd))
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


@pytest.mark.parametrize("function", [normal, log_normal, negative_binomial])
def test_gradients_of_densities_equal_finite_differences(function) -> None:
    y = float64(1.0, 3.0, 8.0)
    first, second = float64(0.3, 0.9, 2.2).requires_grad_(), float64(0.5, 1.5, 0.7).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: function(y, a, b), (first, second))


def test_gradients_of_censored_normal_and_student_t_equal_finite_differences() -> None:
    y, censoring = float64(1.0, 3.0, 8.0), torch.tensor([0, -1, 1])
    mean, sd = float64(0.3, 4.9, 6.2).requires_grad_(), float64(0.5, 1.5, 0.7).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: censored_normal(y, a, b, censoring), (mean, sd))
    assert torch.autograd.gradcheck(lambda a, b: student_t(y, a, b, float64(4.0)), (mean, sd))
