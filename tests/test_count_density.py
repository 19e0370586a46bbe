"""Density of counts entry by entry: against SciPy, mpmath, its readable twin, and finite differences."""

from __future__ import annotations

from collections.abc import Sequence

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from multiscale.assays.channels.count_density import (
    TABULATED,
    count_coefficient,
    count_log_density,
    draw_counts,
)
from multiscale.assays.noise import negative_binomial

COUNTS = [0, 1, 2, 3, TABULATED - 1, TABULATED, TABULATED + 1, 40, 300, 20_000]


def grid(*axes: Sequence[float]) -> list[Tensor]:
    """All combinations, float64, each of shape (entry, 1)."""
    parts = torch.meshgrid(*[torch.tensor(axis, dtype=torch.float64) for axis in axes], indexing="ij")
    return [part.reshape(-1, 1) for part in parts]


def entries(seed: int = 0, cells: int = 7, features: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Counts, half of them 0 and some beyond the table, ln means and ln dispersions, float64."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4 * TABULATED, (cells, features), generator=generator).double()
    y[torch.rand(y.shape, generator=generator) < 0.5] = 0.0
    ln_mean = torch.randn(y.shape, generator=generator, dtype=torch.float64) + 1.0
    return y, ln_mean, torch.randn(features, generator=generator, dtype=torch.float64)


def test_density_is_that_of_scipy() -> None:
    y, mean, r = grid(COUNTS, [1e-6, 0.1, 3.0, 1e3], [0.01, 1.0, 7.0, 500.0])
    expected = scipy.stats.nbinom.logpmf(y.numpy(), r.numpy(), (r / (r + mean)).numpy())
    found = count_log_density(y, mean.log(), r.log())
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-9, atol=1e-10)  # the accuracy of SciPy


@pytest.mark.parametrize("ln_r", [-30.0, -3.0, 0.7, 8.0, 25.0, 60.0])
@pytest.mark.parametrize("count", COUNTS)
def test_coefficient_and_its_derivative_are_those_of_mpmath(count: int, ln_r: float) -> None:
    at = torch.tensor([ln_r], dtype=torch.float64, requires_grad=True)
    found = count_coefficient(torch.tensor([[float(count)]]), at)
    found.sum().backward()
    with mpmath.workdps(80):
        r = mpmath.exp(mpmath.mpf(ln_r))
        value = mpmath.loggamma(count + r) - mpmath.loggamma(r) - mpmath.loggamma(count + 1) - count * ln_r
        slope = r * (mpmath.digamma(count + r) - mpmath.digamma(r)) - count
    assert at.grad is not None
    assert float(found.detach()) == pytest.approx(float(value), rel=1e-13, abs=1e-13 * (1 + count))
    assert float(at.grad) == pytest.approx(float(slope), rel=1e-11, abs=1e-13 * (1 + count))


@pytest.mark.parametrize(("mean", "r"), [(0.2, 0.3), (5.0, 2.0), (30.0, 1e6)])
def test_probabilities_sum_to_one(mean: float, r: float) -> None:
    y = torch.arange(600.0, dtype=torch.float64).unsqueeze(1)
    ln_mean = torch.full_like(y, mean).log()
    assert float(count_log_density(y, ln_mean, torch.tensor([r]).double().log()).exp().sum()) == (
        pytest.approx(1.0, abs=1e-12)
    )


def test_counts_of_huge_dispersion_are_poisson() -> None:
    y, mean = grid(COUNTS, [1e-3, 1.0, 50.0, 2e4])
    for ln_r in (40.0, 80.0, 300.0):
        found = count_log_density(y, mean.log(), torch.tensor([ln_r], dtype=torch.float64))
        expected = scipy.stats.poisson.logpmf(y.numpy(), mean.numpy())
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tiny_and_huge_means_give_finite_densities_and_gradients(dtype: torch.dtype) -> None:
    y = torch.tensor([[0.0, 2.0, 0.0, 2.0]], dtype=dtype)
    ln_mean = torch.tensor([[-300.0, -300.0, 150.0, 150.0]], dtype=dtype, requires_grad=True)
    ln_r = torch.zeros(4, dtype=dtype, requires_grad=True)
    found = count_log_density(y, ln_mean, ln_r)
    found.sum().backward()
    assert ln_mean.grad is not None and ln_r.grad is not None
    # geometric: y ln m where m is tiny, −ln m where it is huge
    torch.testing.assert_close(found.detach(), torch.tensor([[0.0, -600.0, -150.0, -150.0]], dtype=dtype))
    torch.testing.assert_close(ln_mean.grad, torch.tensor([[0.0, 2.0, -1.0, -1.0]], dtype=dtype))
    assert torch.isfinite(ln_r.grad).all()


def test_a_mean_of_zero_gives_zeros_and_nothing_else() -> None:
    y = torch.tensor([[0.0, 1.0]])
    ln_mean = torch.full((1, 2), -torch.inf, dtype=torch.float64)
    assert count_log_density(y, ln_mean, torch.zeros(2).double()).tolist() == [[0.0, -torch.inf]]


@pytest.mark.parametrize("shared", [True, False])
def test_gradients_are_those_of_finite_differences(shared: bool) -> None:
    y, ln_mean, ln_r = entries()
    ln_r = ln_r if shared else ln_r + 0.1 * ln_mean
    weight = torch.linspace(-1.0, 2.0, y.numel(), dtype=torch.float64).reshape(y.shape)
    inputs = ln_mean.requires_grad_(), ln_r.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda m, r: count_log_density(y, m, r) * weight, inputs)
    assert torch.autograd.gradcheck(lambda r: count_coefficient(y, r) * weight, inputs[1])


def test_density_and_gradients_are_those_of_the_readable_twin() -> None:
    y, ln_mean, ln_r = entries(1, 40, 30)
    found = []
    for density in (count_log_density, negative_binomial):
        inputs = ln_mean.clone().requires_grad_(), ln_r.clone().requires_grad_()
        value = density(y, *inputs)
        found.append((value.detach(), *torch.autograd.grad((value * ln_mean).sum(), inputs)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-11, atol=1e-11)


def test_a_dispersion_per_entry_gives_the_same_as_one_per_feature() -> None:
    y, ln_mean, ln_r = entries(2)
    each = ln_r.expand(y.shape)
    torch.testing.assert_close(count_log_density(y, ln_mean, each), count_log_density(y, ln_mean, ln_r))
    torch.testing.assert_close(count_coefficient(y, each), count_coefficient(y, ln_r))


def test_single_precision_is_close_to_double_precision() -> None:
    y, ln_mean, ln_r = entries(3, 200, 40)
    y[:20] *= 100.0
    ln_r[:10] += 10.0
    found = []
    for dtype in (torch.float32, torch.float64):
        inputs = [x.float().to(dtype).requires_grad_() for x in (ln_mean, ln_r)]  # the same numbers
        value = count_log_density(y.float(), *inputs)
        assert value.dtype == dtype
        found.append([part.detach().double() for part in (value, *torch.autograd.grad(value.sum(), inputs))])
    torch.testing.assert_close(found[0][:2], found[1][:2], rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(found[0][2], found[1][2], rtol=2e-5, atol=2e-3)  # a sum over cells


def test_no_counts_at_all_are_no_special_case() -> None:
    y, ln_r = torch.zeros(3, 2), torch.zeros(2, dtype=torch.float64, requires_grad=True)
    value = count_log_density(y, torch.zeros(3, 2, dtype=torch.float64), ln_r)
    value.sum().backward()
    torch.testing.assert_close(value.detach(), torch.full((3, 2), 0.5, dtype=torch.float64).log())
    assert ln_r.grad is not None and ln_r.grad.tolist() == pytest.approx([3 * (0.5 - np.log(2.0))] * 2)


def test_drawn_counts_have_the_mean_and_the_variance_of_the_distribution() -> None:
    ln_mean = torch.full((40_000, 2), np.log(6.0), dtype=torch.float64)
    r = torch.tensor([1.5, 1e9], dtype=torch.float64)
    drawn = draw_counts(ln_mean, r.log(), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(drawn.mean(0), [6.0, 6.0], rtol=0.03)
    np.testing.assert_allclose(drawn.var(0), (6.0 + 36.0 / r).numpy(), rtol=0.05)
