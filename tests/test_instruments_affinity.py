"""Affinities: units, bounds, and noise of energies."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
import scipy.integrate
import scipy.stats
import torch
from instrument_cases import KD, moments, prepared, table
from torch import Tensor

from multiscale.assays import BindingEnergy
from multiscale.assays.density import logistic
from multiscale.errors import AssayError
from multiscale.units import delta_g_from_Kd, kT


def kd(**options: object) -> BindingEnergy:
    return BindingEnergy(**{"complex": "AB", "temperature": 300.0, **options})  # pyright: ignore[reportArgumentType]


def energies(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[None, :, None]


def noise(rows: int, sd: float) -> dict[str, Tensor]:
    return {"noise": torch.full((1, rows), math.log(sd), dtype=torch.float64)}


def test_expected_values_are_in_the_unit_of_the_file() -> None:
    made = kd(unit_of_value="nM")
    arrays = prepared(made, table(value=[250.0]))
    found = made.expected(arrays, energies(delta_g_from_Kd(0.25, 300.0)), {})
    assert found.item() == pytest.approx(250.0)
    assert made.observed(made.prepare(table(value=[250.0]), "t")).tolist() == pytest.approx([250.0])


def test_units_of_rows_are_read_and_bounds_are_not_observed() -> None:
    made = kd()
    arrays = made.prepare(KD, "t")
    wanted = [delta_g_from_Kd(x, 300.0) for x in (3.0, 10.0, 1e-4)]
    np.testing.assert_allclose(arrays["y"], wanted, rtol=1e-13)
    assert arrays["censoring"].tolist() == [0, 1, -1]
    np.testing.assert_allclose(made.observed(arrays), [3.0, np.nan, np.nan])


def test_density_of_a_Kd_is_that_of_its_logarithm() -> None:
    made = kd(unit_of_value="uM")
    arrays = prepared(made, table(value=[2.0]))
    found = made.log_density(arrays, energies(delta_g_from_Kd(3.0, 300.0)), noise(1, 0.4))
    wanted = scipy.stats.norm.logpdf(math.log(2.0), math.log(3.0), 0.4 / kT(300.0))
    assert found.item() == pytest.approx(wanted, rel=1e-12)


def test_a_bound_counts_with_the_probability_of_lying_beyond_it() -> None:
    made = kd(unit_of_value="uM")
    arrays = prepared(made, table(value=["> 10", "<10"]))
    mean = delta_g_from_Kd(20.0, 300.0)
    found = made.log_density(arrays, energies(mean, mean), noise(2, 0.5)).exp()
    z = kT(300.0) * math.log(2.0) / 0.5
    assert found[0].tolist() == pytest.approx([scipy.stats.norm.cdf(z), scipy.stats.norm.cdf(-z)])
    made = kd(unit_of_value="uM", noise="logistic")
    found = made.log_density(arrays, energies(mean, mean), noise(2, 0.5)).exp()
    assert found[0, 0].item() == pytest.approx(scipy.stats.logistic.cdf(z * math.pi / math.sqrt(3.0)))
    assert found.sum().item() == pytest.approx(1.0)


def test_logistic_density_is_normalised_and_has_its_standard_deviation() -> None:
    def density(y: float) -> float:
        return float(logistic(*torch.tensor([y, 1.0, 0.7], dtype=torch.float64)).exp())

    assert scipy.integrate.quad(density, -30, 30)[0] == pytest.approx(1.0)
    spread = scipy.integrate.quad(lambda y: (y - 1.0) ** 2 * density(y), -30, 30)[0]
    assert spread == pytest.approx(0.49)


@pytest.mark.parametrize("z", [-200.0, -10.0, 0.0, 5.0, 29.0, 31.0, 60.0])
def test_ln_of_the_normal_distribution_on_which_bounds_rest_has_two_right_derivatives(z: float) -> None:
    x = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    value = torch.special.log_ndtr(x)
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    hazard = math.exp(scipy.stats.norm.logpdf(z) - scipy.stats.norm.logcdf(z))
    assert value.item() == pytest.approx(scipy.stats.norm.logcdf(z), rel=1e-12, abs=1e-190)
    assert first.item() == pytest.approx(hazard, rel=1e-10, abs=1e-190)
    assert second.item() == pytest.approx(-hazard * (z + hazard), rel=1e-6, abs=1e-150)


@pytest.mark.parametrize("kind", ["normal", "logistic"])
def test_draws_have_the_moments_of_the_noise(kind: str) -> None:
    made = kd(quantity="energy", unit_of_value="kcal/mol", noise=kind, sd_column="sd")
    arrays = prepared(made, table(value=[-7.0, -8.0], sd=[0.3, 0.1]))
    many = energies(-7.0, -8.0).expand(100_000, -1, -1)
    known = {"noise": noise(2, 0.4)["noise"].expand(100_000, -1)}
    mean, sd = moments(made.draw(arrays, many, known, torch.Generator().manual_seed(5)))
    np.testing.assert_allclose(mean, [-7.0, -8.0], atol=0.01)
    np.testing.assert_allclose(sd, np.hypot([0.3, 0.1], 0.4), rtol=0.02)


def test_calls_and_values_that_mean_not_seen_are_bounds() -> None:
    calls = table(Kd=[2.0, np.nan], call=["binder", "none"])
    options = {"relation_column": "call", "relations": {"binder": "=", "none": ">"}, "limit": 20.0}
    made = kd(unit_of_value="uM", columns={"value": "Kd"}, **options)
    assert made.prepare(calls, "t")["censoring"].tolist() == [0, 1]
    made = kd(unit_of_value="nM", censored_at=10_000.0)
    arrays = made.prepare(table(value=[43.0, 10_000.0]), "t")
    assert arrays["censoring"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ({"value": [1.0]}, {}, "t.tsv: no unit: there is no column `unit`"),
        (
            {"value": [1.0], "unit": ["nm"], "id": ["A2G"]},
            {},
            "t.tsv, line 2: variant `A2G`: the unit is `nm`",
        ),
        ({"value": [-1.0]}, {"unit_of_value": "nM"}, "line 2: Kd must be positive; got -1"),
        ({"value": [None]}, {"unit_of_value": "nM"}, "line 2: `value` is blank; drop the row"),
        ({"value": [20.0]}, {"unit_of_value": "nM", "censored_at": 10.0}, "20, beyond `censored_at` = 10"),
        (
            {"value": ["1"], "call": ["no"]},
            {"unit_of_value": "nM", "relation_column": "call"},
            "`call` is `no`",
        ),
        ({"value": [1.0], "sd": [0.0]}, {"unit_of_value": "nM", "sd_column": "sd"}, "`sd` must be positive"),
    ],
)
def test_bad_tables_are_refused(data: dict[str, list], options: dict[str, object], message: str) -> None:
    with pytest.raises(AssayError, match=re.escape(message)):
        kd(**options).prepare(table(**data), "t.tsv")


def test_rows_may_state_their_temperature() -> None:
    data = pd.concat([KD.assign(T=310.15), KD.assign(T=np.nan)])
    found = kd(columns={"temperature": "T"}).prepare(data, "t")["kT"]
    np.testing.assert_allclose(found, [kT(310.15)] * 3 + [kT(300.0)] * 3)


def test_known_noise_is_no_parameter_and_counts_as_such() -> None:
    table = pd.DataFrame({"Kd": [1.0, 10.0]})
    options = {"complex": "c", "unit_of_value": "uM", "columns": {"value": "Kd"}, "noise_sd": 0.7}
    known, fitted = BindingEnergy(**options, noise_ln_sd=0.0), BindingEnergy(**options)
    numbers = known.prepare(table, "a.tsv")
    arrays = {name: torch.as_tensor(numbers[name]) for name in ("y", "censoring", "variance", "kT")}
    readouts = torch.tensor([[[-8.0], [-7.0]]], dtype=torch.float64)
    noise = {"noise": torch.full((1, 2), math.log(0.7), dtype=torch.float64)}
    assert known.unknowns(numbers) == [] != fitted.unknowns(numbers)
    ours = known.log_density(arrays, readouts, {})
    assert torch.allclose(ours, fitted.log_density(arrays, readouts, noise))
