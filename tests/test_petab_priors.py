"""Priors of PEtab: against its test suite, its library, and themselves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from petab.v1.priors import Prior as PetabPrior

from multiscale.formats.petab import Prior, read_petab

KINDS = [
    Prior("uniform", (2.0, 8.0)),
    Prior("normal", (4.0, 2.0), lower=1.0, upper=6.0),
    Prior("laplace", (3.0, 5.0), lower=1.0),
    Prior("cauchy", (3.0, 5.0), upper=9.0),
    Prior("chisquare", (4.0,)),
    Prior("exponential", (3.0,), lower=1.0),
    Prior("gamma", (3.0, 5.0)),
    Prior("rayleigh", (3.0,), upper=7.0),
    Prior("log-normal", (1.0, 0.7), lower=0.5),
    Prior("log-laplace", (1.0, 0.3)),
    Prior("log-uniform", (1.0, 9.0), lower=2.0),
    Prior("normal", (0.5, 0.3), "log10", 1.0, 20.0),
    Prior("laplace", (0.5, 0.3), "log"),
    Prior("uniform", (0.0, 1.0), "log10"),
]


@pytest.mark.parametrize("case", ["0024", "0025"])
def test_densities_are_those_of_the_petab_test_suite(case: str, shared: Path):
    folder = shared / "conformance" / "petab_test_suite" / "v2.0.0" / "sbml" / case
    wanted = yaml.safe_load((folder / f"_{case}_solution.yaml").read_text())["log_prior"]
    parameters = read_petab(folder / f"_{case}.yaml").parameters
    for name, value in wanted.items():
        prior = parameters[name].prior
        assert prior is not None
        assert float(prior.log_density(parameters[name].nominal)) == pytest.approx(value, abs=1e-13)


@pytest.mark.parametrize("kind", ["normal", "laplace", "logNormal", "logLaplace"])
def test_densities_within_bounds_are_those_of_the_petab_library(kind: str):
    theirs = PetabPrior(kind, (0.5, 0.4), (0.3, 4.0))
    names = {"logNormal": "log-normal", "logLaplace": "log-laplace"}
    ours = Prior(names.get(kind, kind), (0.5, 0.4), lower=0.3, upper=4.0)
    values = np.array([0.4, 1.0, 3.0])
    np.testing.assert_allclose(ours.log_density(values), -theirs.neglogprior(values), rtol=1e-13)


def test_a_prior_on_the_scale_of_a_parameter_is_a_density_there():
    theirs = PetabPrior("parameterScaleNormal", (0.5, 0.4), (0.3, 4.0), "log10")
    ours = Prior("normal", (0.5, 0.4), "log10", 0.3, 4.0)
    values = np.array(
        [0.4, 1.0, 3.0]
    )  # the library's is a density of the parameter, |d log10 x/dx| = 1/(x ln 10)
    expected = -theirs.neglogprior(values) + np.log(values * math.log(10.0))
    np.testing.assert_allclose(ours.log_density(values), expected, rtol=1e-12)


@pytest.mark.parametrize("prior", KINDS, ids=lambda prior: f"{prior.kind} {prior.scale}")
def test_the_density_integrates_to_one(prior: Prior):
    u = np.linspace(-40.0, 40.0, 400_001) if prior.scale != "lin" else np.linspace(-50.0, 50.0, 400_001)
    if prior.scale == "lin":
        value, width = np.sinh(u / 2), np.cosh(u / 2) / 2
    else:
        value, width = (
            (np.exp(u) if prior.scale == "log" else 10.0 ** (u / 2)),
            1.0 if prior.scale == "log" else 0.5,
        )
    total = np.trapezoid(np.exp(prior.log_density(value)) * width, u)
    assert total == pytest.approx(1.0, abs=2e-4)


@pytest.mark.parametrize("prior", KINDS, ids=lambda prior: f"{prior.kind} {prior.scale}")
def test_derivatives_are_those_of_the_density(prior: Prior):
    value, step = 5.3, 1e-5
    up, down = prior.log_density(value + step), prior.log_density(value - step)
    assert float(prior.gradient(value)) == pytest.approx(float(up - down) / (2 * step), abs=1e-8)
    slopes = prior.gradient(value + step) - prior.gradient(value - step)
    assert float(prior.curvature(value)) == pytest.approx(float(slopes) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("prior", KINDS, ids=lambda prior: f"{prior.kind} {prior.scale}")
def test_samples_lie_within_the_bounds_and_have_the_density(prior: Prior):
    sample = prior.sample(np.random.default_rng(1), 20_000)
    assert np.isfinite(prior.log_density(sample)).all()
    low, high = float(prior.quantile(0.3)), float(prior.quantile(0.6))
    assert np.mean((sample > low) & (sample < high)) == pytest.approx(0.3, abs=0.015)
    grid = np.linspace(low, high, 20_001)
    by_scale = {"lin": 1.0, "log": 1 / grid, "log10": 1 / (grid * math.log(10.0))}[prior.scale]
    mass = np.trapezoid(np.exp(prior.log_density(grid)) * by_scale, grid)
    assert mass == pytest.approx(0.3, abs=1e-6)


def test_outside_of_bounds_and_domain_the_density_is_zero():
    assert float(Prior("normal", (0.0, 1.0), lower=-1.0).log_density(-1.5)) == -math.inf
    assert float(Prior("gamma", (2.0, 1.0)).log_density(-0.5)) == -math.inf
    assert float(Prior("log-normal", (0.0, 1.0)).log_density(0.0)) == -math.inf
    assert float(Prior("exponential", (2.0,)).log_density(0.0)) == pytest.approx(-math.log(2.0))


@pytest.mark.parametrize(
    ("kind", "parameters", "bounds", "message"),
    [
        ("beta", (1.0, 1.0), (), "unknown prior `beta`"),
        ("gamma", (1.0,), (), "needs 2 parameters; got 1"),
        ("normal", (0.0, 0.0), (), "must be positive"),
        ("normal", (math.nan, 1.0), (), "must be finite"),
        ("uniform", (2.0, 1.0), (), "in ascending order"),
        ("uniform", (0.0, 1.0), (2.0, 3.0), "gives no probability to the bounds"),
    ],
)
def test_what_is_no_distribution_is_refused(kind, parameters, bounds, message):
    with pytest.raises(ValueError, match=message):
        Prior(kind, parameters, "lin", *bounds)
