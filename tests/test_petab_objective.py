"""Likelihoods, gradients and information of PEtab problems."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from multiscale.errors import DataError
from multiscale.fit.petab.likelihood import Likelihood
from multiscale.fit.petab.objective import Objective
from multiscale.formats.petab.read import read_petab


@pytest.fixture(scope="module")
def cases(shared: Path):
    return shared / "conformance" / "petab_test_suite"


def objective(cases: Path, version: str, number: str) -> Objective:
    return Objective(read_petab(cases / version / "sbml" / number / f"_{number}.yaml"))


@pytest.mark.parametrize("scale", ["lin", "log", "log10"])
@pytest.mark.parametrize("kind", ["normal", "laplace"])
def test_a_density_of_measurements_integrates_to_one(scale: str, kind: str):
    m = np.linspace(-30.0, 60.0, 100_001) if scale == "lin" else np.geomspace(1e-12, 1e12, 100_001)
    fits = Likelihood(m, [scale] * len(m), [kind] * len(m)).fits(np.full_like(m, 3.0), np.full_like(m, 0.3))
    assert np.trapezoid(np.exp(fits.llh), m) == pytest.approx(1.0, abs=1e-5)


def test_normal_and_laplace_densities_are_those_of_scipy():
    fits = Likelihood([1.0, 1.0], ["lin", "lin"], ["normal", "laplace"]).fits(
        np.array([3.0, 3.0]), np.full(2, 0.7)
    )
    assert fits.llh == pytest.approx(
        [stats.norm.logpdf(1, 3, 0.7), stats.laplace.logpdf(1, 3, 0.7)], rel=1e-12
    )


@pytest.mark.parametrize(
    ("version", "number"),
    [("v1.0.0", n) for n in ("0005", "0009", "0012", "0015", "0016", "0018")]
    + [("v2.0.0", n) for n in ("0007", "0016", "0021", "0022", "0026", "0028", "0031", "0032")],
)
def test_the_gradient_is_that_of_finite_differences(cases: Path, version: str, number: str):
    problem = objective(cases, version, number)
    theta, step = problem.nominal + 0.01, 1e-5
    steps = step * np.eye(len(theta))
    found = problem.gradient(theta)
    difference = (problem.value(theta + steps).llh - problem.value(theta - steps).llh) / (2 * step)
    expected = found.gradient[0] - found.prior_gradient[0]
    assert expected == pytest.approx(difference, rel=1e-5, abs=1e-4)


def test_many_starts_are_as_one_after_the_other(cases: Path):
    problem = objective(cases, "v1.0.0", "0009")
    theta = problem.nominal + np.array([[0.0, 0.0, 0.0], [0.1, 0.2, 0.3], [0.3, 0.1, 0.2]])
    together = problem.gradient(theta)
    alone = [problem.gradient(row) for row in theta]
    assert together.llh == pytest.approx([one.llh[0] for one in alone], rel=1e-12)
    assert together.fisher == pytest.approx(np.array([one.fisher[0] for one in alone]), rel=1e-10)


def test_a_start_that_fails_says_in_which_experiment_and_leaves_the_others(cases: Path):
    problem = objective(cases, "v1.0.0", "0001")
    theta = np.array([problem.nominal, np.full(len(problem.names), np.nan)])
    found = problem.value(theta)
    assert np.isfinite(found.llh[0]) and found.llh[1] == -np.inf
    assert "experiment" in found.message[1] and not found.message[0]


def test_theta_of_another_length_is_refused(cases: Path):
    with pytest.raises(DataError, match="one column per estimated parameter"):
        objective(cases, "v1.0.0", "0001").value(np.zeros((2, 1)))
