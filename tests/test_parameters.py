"""The parameter table: packing, bounds, priors."""

import numpy as np
import pytest
import torch
from scipy import stats

from multiscale.model.parameters import Block, ParameterTable, petab_id


def table() -> ParameterTable:
    energy = Block(name="energy", labels=["a", "b"], mean=np.array([-8.0, -11.0]), sd=np.array([3.0, 2.0]))
    loss = Block(
        name="loss",
        labels=["rho"],
        mean=np.log([0.3]),
        sd=np.ones(1),
        lower=np.log([0.01]),
        upper=np.zeros(1),
        scale="ln",
    )
    level = Block(name="level", labels=list("wxyz"), mean=np.zeros(4), sd=np.full(4, np.inf), shape=(2, 2))
    return ParameterTable([energy, loss, level])


def test_packing_undoes_unpacking():
    parameters = table()
    values = {"energy": np.array([-7.0, -12.5]), "loss": np.log([0.8]), "level": np.array([[1.0, 2], [3, 4]])}
    unpacked = parameters.unpack(parameters.pack(values))
    for name, value in values.items():
        np.testing.assert_allclose(unpacked[name][0].numpy(), value, rtol=1e-13)


def test_priors_are_the_densities_of_scipy_and_flat_ones_are_silent():
    parameters = table()
    theta = parameters.pack(
        {"energy": np.array([-7.0, -12.5]), "loss": np.log([0.8]), "level": np.ones((2, 2))}
    )
    low, high = (np.log(0.01) - np.log(0.3)), -np.log(0.3)
    expected = stats.norm.logpdf([-7.0, -12.5], [-8.0, -11.0], [3.0, 2.0]).sum()
    quantile = stats.truncnorm.cdf(np.log(0.8), low, high, loc=np.log(0.3), scale=1.0)
    expected += stats.norm.logpdf(stats.norm.ppf(quantile))
    assert float(parameters.log_prior(theta)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("mean", [-1.2, 3.0, -9.0])
def test_a_standard_normal_coordinate_gives_the_truncated_prior_of_scipy(mean: float):
    bounds = {"lower": np.full(1, -4.6), "upper": np.zeros(1), "center": np.full(1, -1.0)}
    parameters = ParameterTable(
        [Block(name="a", labels=["a"], mean=np.full(1, mean), sd=np.ones(1), **bounds)]
    )
    z = np.linspace(-4, 4, 25)
    theta = torch.as_tensor(z - float(parameters._center))[:, None]
    expected = stats.truncnorm.ppf(stats.norm.cdf(z), -4.6 - mean, -mean, loc=mean)
    np.testing.assert_allclose(parameters.flat(theta)[:, 0].numpy(), expected, rtol=1e-7, atol=1e-9)
    assert torch.autograd.gradgradcheck(lambda t: parameters.flat(t).sum(), theta.requires_grad_())


def test_the_prior_sd_of_a_bounded_parameter_is_that_of_scipy():
    low, high = (np.log(0.01) - np.log(0.3)), -np.log(0.3)
    expected = stats.truncnorm.std(low, high)
    np.testing.assert_allclose(table().prior_sd[:3], np.array([3.0, 2.0, expected]), rtol=1e-12)
    assert np.isinf(table().prior_sd[3:]).all()


def test_bounds_hold_for_any_theta():
    parameters = table()
    extreme = parameters.unpack(torch.full((1, parameters.size), 30.0, dtype=torch.float64))
    assert np.log(0.01) < float(extreme["loss"][0, 0]) <= 0.0


def test_a_value_on_its_bound_cannot_be_packed():
    with pytest.raises(ValueError, match="`loss` must lie strictly between its bounds"):
        table().pack({"energy": np.zeros(2), "loss": np.zeros(1), "level": np.zeros((2, 2))})


def test_the_table_writes_petab_columns_in_linear_units():
    frame = table().frame(
        table().pack({"energy": np.zeros(2), "loss": np.log([0.8]), "level": np.zeros((2, 2))})[0]
    )
    row = frame.set_index("parameterId").loc["loss_rho"].to_dict()
    assert row["parameterScale"] == "log"
    assert row["nominalValue"] == pytest.approx(0.8)
    assert (row["lowerBound"], row["upperBound"]) == pytest.approx((0.01, 1.0))


def test_sampling_is_repeatable_and_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    draws = [table().sample(3, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "expected"), [("CD4", "CD4"), ("HLA-DRA in T cell", "HLA_DRA_in_T_cell"), ("2x", "p_2x")]
)
def test_identifiers_are_valid_in_petab(name: str, expected: str):
    assert petab_id(name) == expected
