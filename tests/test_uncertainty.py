"""Intervals: Laplace's approximation, draws, profiles, and what is not determined."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

import multiscale as ms
from multiscale.errors import DataError
from multiscale.fit.audit import information, refit_without
from multiscale.fit.curvature import hessian, minimise
from multiscale.fit.degrees import used_degrees
from multiscale.fit.identify import sentences, undetermined
from multiscale.fit.laplace import Laplace, laplace
from multiscale.fit.objective import Posterior
from multiscale.fit.optimise import evaluate
from multiscale.fit.propagate import bound_fraction
from multiscale.model.parameters import Block, ParameterTable

QUICK = {"starts": 4, "seed": 3, "adam_steps": 40, "max_steps": 150, "accelerator": "cpu", "progress": False}


@pytest.fixture(scope="module")
def make_result():
    """Fit once per module: the fixture of the problem is made anew for every test."""
    kept: dict[str, ms.Result] = {}

    def make(problem: ms.Problem) -> ms.Result:
        return kept.setdefault("result", ms.fit(problem, **QUICK))

    return make


@pytest.fixture
def result(small_problem, make_result) -> ms.Result:
    return make_result(small_problem)


def block(name: str, count: int, scale: str = "ln", sd: float = 2.0, **bounds) -> Block:
    labels = [f"m{k}" for k in range(count)]
    return Block(name=name, labels=labels, mean=np.zeros(count), sd=np.full(count, sd), scale=scale, **bounds)


class Linear:
    """y = Σ of two parameters + noise of sd 0.1, with normal priors: everything is known in closed form."""

    def __init__(self, parameters: ParameterTable, design: np.ndarray) -> None:
        self.model = self
        self.parameters, self.design = parameters, torch.as_tensor(design, dtype=torch.float64)

    def __call__(self, theta: Tensor, rows: Tensor) -> Tensor:
        z = (self.parameters.flat(theta) @ self.design.T - 1.0) / 0.1
        return 0.5 * z.square().sum(1) - self.parameters.log_prior(theta)


def conjugate(design: np.ndarray, sd: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and covariance of a linear model with normal noise and prior (textbook formula)."""
    covariance = np.linalg.inv(design.T @ design / 0.1**2 + np.eye(design.shape[1]) / sd**2)
    return covariance @ design.T @ np.ones(len(design)) / 0.1**2, covariance


def approximation(design: np.ndarray, blocks: list[Block]) -> Laplace:
    parameters = ParameterTable(blocks)
    mean, _ = conjugate(design)
    ends = np.cumsum([0, *(len(b) for b in blocks)])
    values = {b.name: mean[i:j] for b, i, j in zip(blocks, ends, ends[1:], strict=False)}
    return laplace(Linear(parameters, design), parameters.pack(values))  # pyright: ignore[reportArgumentType]


def test_laplace_is_exact_for_a_linear_model_with_normal_noise():
    design = np.array([[1.0, 0.5], [0.2, -1.0], [0.3, 0.3]])
    near = approximation(design, [block("a", 2, "lin")])
    mean, covariance = conjugate(design)
    np.testing.assert_allclose(near.value_sd(), np.sqrt(covariance.diagonal()), rtol=1e-9)
    lower, upper = near.ends()
    np.testing.assert_allclose(lower, stats.norm.ppf(0.05, mean, np.sqrt(covariance.diagonal())), rtol=1e-9)
    np.testing.assert_allclose(upper, stats.norm.ppf(0.95, mean, np.sqrt(covariance.diagonal())), rtol=1e-9)


def test_draws_have_the_covariance_and_leave_the_global_random_state_alone():
    near = approximation(np.array([[1.0, 1.0]]), [block("a", 2, "lin")])
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    draws = near.draws(20000, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_allclose(np.cov(draws.T.numpy()), near.covariance.numpy(), atol=0.02)
    assert torch.equal(draws, near.draws(20000, seed=1))


def test_the_number_of_determined_directions_is_that_of_the_eigenvalues():
    design = np.array([[1.0, 1.0]])
    near = approximation(design, [block("a", 2, "lin")])
    eigenvalue = 2 / 0.1**2  # of the data, against 1/4 of the prior
    assert near.effective_parameters() == pytest.approx(eigenvalue / (eigenvalue + 0.25), rel=1e-9)


def test_the_sd_of_a_bounded_parameter_is_that_of_quadrature():
    bounded = block("loss", 1, sd=1.0, lower=np.full(1, -3.0), upper=np.full(1, 0.5))
    parameters = ParameterTable([bounded])
    point, one = torch.full((1, 1), 0.4).double(), torch.ones(1).double()
    near = Laplace(parameters, point, torch.full((1, 1, 1), 0.5).double(), one)

    def value(z: float) -> float:
        theta = torch.tensor([[0.4 + np.sqrt(2.0) * z]], dtype=torch.float64)
        return float(parameters.flat(theta))

    moments = [integrate.quad(lambda z, k=k: value(z) ** k * stats.norm.pdf(z), -7, 7)[0] for k in (1, 2)]
    assert near.value_sd()[0] == pytest.approx(np.sqrt(moments[1] - moments[0] ** 2), rel=1e-4)
    lower, upper = near.ends()
    assert -3.0 < lower[0] < upper[0] < 0.5


def test_without_data_the_interval_is_that_of_the_prior():
    bounded = block("loss", 1, sd=1.0, lower=np.full(1, -3.0), upper=np.full(1, 0.5))
    parameters = ParameterTable([bounded])
    mode = -parameters._center[None] / parameters._width
    near = Laplace(parameters, mode, parameters.prior_precision(mode).diag()[None], torch.ones(1).double())
    lower, upper = near.ends()
    np.testing.assert_allclose([lower[0], upper[0]], stats.truncnorm.ppf([0.05, 0.95], -3.0, 0.5), rtol=1e-9)
    assert near.frame()["informationNats"][0] == pytest.approx(0.0, abs=1e-4)


def test_what_only_acts_as_a_product_is_named_as_one():
    near = approximation(np.array([[1.0, 0.0, 1.0, 0.0]]), [block("factor", 2), block("scale", 2)])
    table = undetermined(near).set_index("name")
    assert table.loc["factor m0", "partner"] == "scale m0"
    assert table.loc["factor m0", "combination"] == "product"
    _, covariance = conjugate(np.array([[1.0, 1.0]]))
    assert table.loc["factor m0", "combination_sd"] == pytest.approx(np.sqrt(covariance.sum()), rel=1e-6)
    assert table.loc["factor m1", "combination"] == ""
    said = sentences(undetermined(near))
    assert said[0].startswith("Only the product of factor and scale is determined")
    assert "`m0`" in said[0] and "`m1`" not in said[0]
    assert any("hardly move 1 value of factor from the prior: `m1`" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("scale", "sign", "word"), [("ln", -1, "ratio"), ("lin", 1, "sum"), ("lin", -1, "difference")]
)
def test_ratios_sums_and_differences_are_called_so(scale: str, sign: float, word: str):
    near = approximation(np.array([[1.0, sign]]), [block("a", 1, scale), block("b", 1, scale)])
    assert undetermined(near)["combination"].tolist() == [word, word]


def test_nothing_is_said_where_everything_is_determined():
    table = undetermined(approximation(np.eye(2), [block("a", 2)]))
    assert table.empty
    assert sentences(table) == []


def test_a_point_that_is_no_minimum_has_no_intervals(result: ms.Result):
    off = result.model.parameters.sample(1, torch.Generator().manual_seed(0), spread=30.0)
    with pytest.raises(DataError, match="has not reached one"):
        laplace(Posterior(result.model), off)


def test_the_fit_ends_where_the_gradient_vanishes(result: ms.Result):
    _, gradient = evaluate(result.posterior, result.theta, torch.zeros(1, dtype=torch.int64))
    assert float(gradient.abs().max()) < 1e-3
    assert result.laplace is not None


def test_a_profile_is_what_another_optimiser_finds(result: ms.Result):
    from scipy.optimize import minimize

    table = result.profile("g_contact", points=5)
    index, posterior = result.model.parameters.identifiers.index("g_contact"), result.posterior
    best = float(evaluate(posterior, result.theta, torch.zeros(1, dtype=torch.int64))[0])
    assert result.laplace is not None
    held = float(result.theta[0, index] - 3.0 * result.laplace.main.sd[0, index])  # where the profile begins

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.as_tensor(np.insert(free, index, held))[None]
        value, gradient = evaluate(posterior, theta, torch.zeros(1, dtype=torch.int64))
        return float(value), np.delete(gradient[0].numpy(), index)

    first = np.delete(result.theta[0].numpy(), index)
    expected = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-13})
    assert table["rise"].iloc[0] == pytest.approx(expected.fun - best, abs=1e-3)
    assert table["rise"].iloc[2] == pytest.approx(0.0, abs=1e-8)
    assert min(table["rise"].iloc[0], table["rise"].iloc[4]) > 1.0


def test_profiles_of_unknown_parameters_are_refused(result: ms.Result):
    with pytest.raises(DataError, match="did you mean `g_contact`"):
        result.profile("g_contct")


def test_intervals_of_energies_from_draws_agree_with_those_of_the_parameters(result: ms.Result):
    drawn = result.energies.set_index("complex")[["lower", "upper"]].T["A:B"]
    ends = result.parameters.set_index("parameterId")[["lower", "upper"]].T["g_AB"]
    np.testing.assert_allclose(drawn, ends, atol=0.1)


def test_tables_have_a_value_inside_every_interval(result: ms.Result):
    tables = result.tables()
    for name, value in (("energies", "g_kcal_per_mol"), ("complexes", "concentration_uM")):
        table = tables[name]
        assert table[value].between(table["lower"], table["upper"]).all()
    pairs = tables["pairs"]
    assert pairs["occupancy"].between(pairs["occupancy_lower"], pairs["occupancy_upper"]).mean() > 0.9
    assert tables["predictions"]["assay"].unique().tolist() == ["proteome", "affinities", "rna"]


def test_the_bound_fraction_is_that_of_the_subunit_which_is_used_up(result: ms.Result):
    x = result.concentrations()
    expected = np.maximum(x["A:B"] / (x["A:B"] + x["A"]), x["A:B"] / (x["A:B"] + x["B"]))
    column = result.problem.network.complexes.index("A:B")
    np.testing.assert_allclose(bound_fraction(result.model, result.state)[0, :, column], expected, rtol=1e-12)


def test_predicted_counts_have_the_spread_of_the_negative_binomial(result: ms.Result):
    table = result.predictions[result.predictions["assay"] == "rna"]
    row = table[(table["context"] == "x") & (table["target"] == "A")].iloc[0]
    r = float(result.state.values["rna dispersion"][0, 0].exp())
    sd = np.sqrt(row["predicted"] + row["predicted"] ** 2 / (40 * r))  # 40 cells of equal size
    assert row["upper"] - row["lower"] == pytest.approx(2 * 1.645 * np.sqrt(2) * sd, rel=0.25)


def test_without_intervals_the_tables_are_there_all_the_same(small_problem):
    bare = ms.fit(small_problem, **QUICK, draws=0)
    tables = bare.tables()
    assert "lower" not in tables["energies"] and len(tables["energies"]) == 3
    assert "lower" not in tables["complexes"]


def test_the_assay_that_measured_an_energy_is_the_one_that_informs_it(result: ms.Result, small_problem):
    theta, used = result.theta.numpy(), result.posterior.used
    assert used is not None and result.laplace is not None
    without = {
        name: refit_without(small_problem, theta, used.numpy(), name) for name in ("affinities", "proteome")
    }
    table = information(result.parameters, result.laplace.main.value_sd(), without).query(
        "parameterId == 'g_contact'"
    )
    gained = dict(zip(table["assay"], table["information_nats"], strict=True))
    assert gained["affinities"] > 0.5
    assert gained["proteome"] == pytest.approx(0.0, abs=0.02)
    index = result.model.parameters.identifiers.index("g_contact")
    assert without["affinities"]["sd"][index] == pytest.approx(3.0, rel=1e-3)  # of the prior, kcal/mol


def two_modes() -> Laplace:
    parameters = ParameterTable([block("a", 2, "lin", sd=1.0)])
    theta = torch.tensor([[0.0, 1.0], [3.0, 1.5]], dtype=torch.float64)
    precision = torch.stack([torch.eye(2), 4.0 * torch.eye(2)]).double()
    return Laplace(parameters, theta, precision, torch.tensor([0.7, 0.3]).double())


def test_intervals_of_two_modes_are_those_of_the_mixture():
    near = two_modes()
    lower, upper = near.ends()
    for k in range(2):
        for end, expected in ((lower[k], 0.05), (upper[k], 0.95)):
            parts = stats.norm.cdf(end, near.theta[:, k].numpy(), near.sd[:, k].numpy())
            assert float(near.weights.numpy() @ parts) == pytest.approx(expected, abs=1e-12)


def test_draws_of_two_modes_have_their_moments():
    near = two_modes()
    draws = near.draws(40000, seed=2)
    np.testing.assert_allclose(draws.mean(0), near.weights @ near.theta, atol=0.03)
    np.testing.assert_allclose(np.cov(draws.T.numpy()), near.covariance.numpy(), atol=0.05)
    np.testing.assert_allclose(near.value_sd(), draws.std(0), rtol=0.02)


def test_readings_used_up_are_the_trace_of_the_hat_matrix(result: ms.Result):
    theta, model = result.theta, result.model
    precision = hessian(Posterior(model), theta, 0, model.parameters.local())
    noise, others = model.parameters.slices()["proteome noise"], torch.ones(theta.shape[1], dtype=torch.bool)
    others[noise] = False
    moves = 1e-5 * torch.eye(theta.shape[1], dtype=torch.float64)[others]
    reading = model.readings["proteome"]
    with torch.no_grad():
        ends = [reading.location(model.state(theta + sign * moves)) for sign in (1, -1)]
        sd = reading.noise(model.state(theta))[0]
    slope = ((ends[0] - ends[1]) / 2e-5).numpy()
    hat = slope.T @ np.linalg.inv(precision[others][:, others].numpy()) @ slope / sd.numpy() ** 2
    exact = reading.censoring.numpy() == 0
    used = used_degrees(model, theta, precision)[0, noise]
    assert hat.diagonal()[exact].sum() <= float(used) * (1 + 1e-4)
    assert float(used) <= hat.diagonal().sum() * (1 + 1e-4)  # a censored reading counts for less than one


def test_noise_is_larger_than_at_the_joint_optimum(result: ms.Result):
    where = result.model.parameters.slices()["proteome noise"]
    joint, _ = minimise(Posterior(result.model), result.theta, local=result.model.parameters.local())
    assert float(result.theta[0, where]) > float(joint.theta[0, where]) + 0.1


def test_starts_in_one_basin_count_as_one_mode(result: ms.Result):
    evidence = result.optimum.evidence
    assert evidence is not None
    assert 1 <= int(evidence.isfinite().sum()) <= 3
    assert result.optimum.best == int(evidence.argmax())
