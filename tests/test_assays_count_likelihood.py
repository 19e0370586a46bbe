from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from multiscale.assays import CountLikelihood, Counts, count_likelihood
from multiscale.assays.count_likelihood import exceedances, negative_binomial_matrix

STARTS, ROWS, GROUPS, FEATURES = 3, 40, 4, 5


@pytest.fixture
def case() -> dict[str, Tensor]:
    """Counts of four groups of cells that differ in size, with a feature nobody shows."""
    random = np.random.default_rng(0)
    counts = random.poisson(random.gamma(0.5, 4.0, (ROWS, FEATURES)))
    counts[:, 3] = 0
    return {
        "counts": torch.from_numpy(counts.astype(float)),
        "ln_size": torch.from_numpy(random.normal(7.0, 0.5, ROWS)),
        "group": torch.from_numpy(random.integers(0, GROUPS, ROWS)),
        "ln_rate": torch.from_numpy(random.normal(-6.0, 1.0, (STARTS, GROUPS, FEATURES))),
        "ln_dispersion": torch.from_numpy(random.normal(0.5, 1.0, (STARTS, FEATURES))),
    }


def reference(case: dict[str, Tensor]) -> np.ndarray:
    """Log probability of every entry from scipy, shape (start, row, feature)."""
    mean = torch.exp(case["ln_rate"][:, case["group"]] + case["ln_size"].unsqueeze(1)).numpy()
    r = case["ln_dispersion"].exp().unsqueeze(1).numpy()
    return scipy.stats.nbinom.logpmf(case["counts"].numpy(), r, r / (r + mean))


def test_matrix_likelihood_equals_scipy(case) -> None:
    np.testing.assert_allclose(negative_binomial_matrix(**case), reference(case).sum(1), rtol=1e-12)


def test_assay_and_function_agree(case) -> None:
    torch.testing.assert_close(Counts().log_prob(**case), negative_binomial_matrix(**case), rtol=0, atol=0)


def test_masked_entries_do_not_count(case) -> None:
    mask = torch.rand(ROWS, FEATURES, generator=torch.Generator().manual_seed(1)) > 0.3
    found = negative_binomial_matrix(**case, mask=mask)
    np.testing.assert_allclose(found, (reference(case) * mask.numpy()).sum(1), rtol=1e-12)


def test_nothing_observed_is_certain_whatever_the_parameters(case) -> None:
    found = negative_binomial_matrix(**case, mask=torch.zeros(ROWS, FEATURES, dtype=torch.bool))
    assert torch.equal(found, torch.zeros(STARTS, FEATURES, dtype=torch.float64))


def test_blocks_of_rows_change_nothing(case, monkeypatch) -> None:
    whole = negative_binomial_matrix(**case)
    monkeypatch.setattr(count_likelihood, "BLOCK", 1)
    torch.testing.assert_close(negative_binomial_matrix(**case), whole, rtol=1e-14, atol=0)


def test_starts_do_not_see_each_other(case) -> None:
    whole = negative_binomial_matrix(**case)
    one = {**case, "ln_rate": case["ln_rate"][1:2], "ln_dispersion": case["ln_dispersion"][1:2]}
    torch.testing.assert_close(negative_binomial_matrix(**one), whole[1:2], rtol=1e-14, atol=0)


@pytest.mark.parametrize("masked", [False, True])
def test_gradient_equals_finite_differences(case, masked: bool) -> None:
    mask = case["counts"] < 8 if masked else None
    likelihood = CountLikelihood(case["counts"], case["ln_size"], case["group"], GROUPS, mask)
    rate, dispersion = case["ln_rate"].requires_grad_(), case["ln_dispersion"].requires_grad_()
    assert torch.autograd.gradcheck(likelihood, (rate, dispersion), rtol=1e-6)
    assert torch.autograd.gradgradcheck(likelihood, (rate, dispersion), rtol=1e-6)


def test_counts_beyond_the_table_use_the_gamma_function(case, monkeypatch) -> None:
    table = negative_binomial_matrix(**case)
    monkeypatch.setattr(count_likelihood, "TABULATED", 3)
    likelihood = CountLikelihood(case["counts"], case["ln_size"], case["group"], GROUPS)
    torch.testing.assert_close(likelihood(case["ln_rate"], case["ln_dispersion"]), table, rtol=1e-12, atol=0)
    rate, dispersion = case["ln_rate"].requires_grad_(), case["ln_dispersion"].requires_grad_()
    assert torch.autograd.gradcheck(likelihood, (rate, dispersion), rtol=1e-6)
    assert torch.autograd.gradgradcheck(likelihood, (rate, dispersion), rtol=1e-6)


def test_a_count_of_a_million_equals_scipy() -> None:
    y, ln_mean, ln_r = torch.tensor([[1e6]]), torch.tensor([[[13.5]]]), torch.tensor([[1.2]])
    zero = torch.zeros(1, dtype=torch.int64)
    found = negative_binomial_matrix(y, zero, zero, ln_mean.double(), ln_r.double())
    r, mean = np.exp(float(ln_r)), np.exp(13.5)
    assert float(found) == pytest.approx(scipy.stats.nbinom.logpmf(1e6, r, r / (r + mean)), rel=1e-7)


@pytest.mark.parametrize("ln_r", [20.0, 40.0, 200.0])
def test_dispersion_without_bound_is_the_poisson_distribution(case, ln_r: float) -> None:
    case["ln_dispersion"] = torch.full((STARTS, FEATURES), ln_r, dtype=torch.float64).requires_grad_()
    found = negative_binomial_matrix(**case)
    mean = torch.exp(case["ln_rate"][:, case["group"]] + case["ln_size"].unsqueeze(1))
    poisson = scipy.stats.poisson.logpmf(case["counts"].numpy(), mean.numpy()).sum(1)
    np.testing.assert_allclose(found.detach(), poisson, rtol=2e-5 if ln_r == 20.0 else 1e-12)
    (gradient,) = torch.autograd.grad(found.sum(), case["ln_dispersion"])
    assert float(gradient.abs().max()) < 1e-3


def test_maximum_is_at_the_mean_when_cells_have_one_size() -> None:
    counts = torch.tensor([[2.0], [4.0], [9.0]], dtype=torch.float64)
    zero = torch.zeros(3, dtype=torch.int64)
    rate = torch.tensor([[[5.0]]], dtype=torch.float64).log().requires_grad_()
    likelihood = CountLikelihood(counts, zero, zero, 1)
    (gradient,) = torch.autograd.grad(likelihood(rate, torch.zeros(1, 1, dtype=torch.float64)).sum(), rate)
    assert gradient.item() == pytest.approx(0.0, abs=1e-14)


def test_exceedances_count_cells_above_every_k() -> None:
    counts = np.random.default_rng(2).poisson(3.0, (30, 4))
    k, feature, rows = (item.numpy() for item in exceedances(torch.from_numpy(counts)))
    expected = [(counts[:, f] > j).sum() for f, j in zip(feature, k, strict=True)]
    assert rows.tolist() == expected
    assert len(k) == counts.max(axis=0).sum()


def test_likelihood_can_move_to_another_type_of_device(case) -> None:
    likelihood = CountLikelihood(case["counts"], case["ln_size"], case["group"], GROUPS).to("meta")
    assert {buffer.device.type for buffer in likelihood.buffers()} == {"meta"}
