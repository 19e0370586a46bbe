"""Fits of the molecular scale: exact curvature, closed forms, recovered energies, honest intervals."""

import numpy as np
import pandas as pd
import pytest
import torch
from molecular_cases import graph_of
from molecular_scans import ALPHABET, Scaled, measured, scan, three_state_scan, truth, variants

import multiscale as ms
from multiscale.assays import Quantity
from multiscale.data import Sequences
from multiscale.encoders import Additive, Network
from multiscale.errors import DataError, FormatError
from multiscale.fit.checkpoint import Checkpoint
from multiscale.fit.curvature import hessian, minimise
from multiscale.fit.molecular import posterior as posterior_file
from multiscale.fit.molecular.evidence import settle
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.molecular.result import MolecularResult
from multiscale.model.molecular import MolecularModel, MolecularProblem

OPTIONS = {"accelerator": "cpu", "progress": False, "starts": 2, "adam_steps": 30, "max_steps": 60}


@pytest.fixture(scope="module")
def scanned() -> tuple[MolecularProblem, torch.Tensor, MolecularResult]:
    problem, theta = three_state_scan(positions=8, rows=400)
    return problem, theta, ms.fit(problem, **OPTIONS)


def written_out(model: MolecularModel, theta: torch.Tensor) -> torch.Tensor:
    """The loss by plain automatic differentiation."""
    flat = model.parameters.flat(theta[None])
    total = model.parameters.log_prior(theta[None]).sum()
    for part in model.instruments.values():
        total = total + part.log_density(part.scalars_of(flat)).sum()
    return -total


def test_value_gradient_and_hessian_equal_plain_automatic_differentiation(monkeypatch):
    monkeypatch.setattr(posterior_file, "CHUNK", 17)
    problem, theta = three_state_scan(positions=3, rows=40)
    model = MolecularModel(problem)
    posterior = MolecularPosterior(model)
    point = (theta + 0.1).requires_grad_(True)
    ours, plain = posterior(point[None])[0], written_out(model, point)
    torch.testing.assert_close(ours, plain, rtol=1e-13, atol=1e-11)
    gradients = (torch.autograd.grad(value, point)[0] for value in (ours, plain))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-9)
    exact = torch.autograd.functional.hessian(lambda t: written_out(model, t), point.detach())
    torch.testing.assert_close(hessian(posterior, point[None]), exact, rtol=1e-9, atol=1e-7)


def test_the_convex_hessian_is_positive_definite_where_the_exact_one_is_not():
    problem, theta = three_state_scan(positions=3, rows=60)
    posterior = MolecularPosterior(MolecularModel(problem))
    far = theta[None] + 1.0
    assert torch.linalg.eigvalsh(posterior.hessian(far))[0] < 0
    assert torch.linalg.eigvalsh(posterior.convex_hessian(far))[0] > 0


def test_rows_that_stand_for_all_are_weighed_up():
    problem, theta = three_state_scan(positions=3, rows=60)
    model = MolecularModel(problem)
    rows = {name: torch.arange(0, 60, 2) for name in model.instruments}
    part = MolecularPosterior(model, rows).terms(theta[None])
    weighed = MolecularPosterior(model, rows, weigh=True).terms(theta[None])
    for name in rows:
        torch.testing.assert_close(weighed[name], 2 * part[name])


@pytest.fixture
def linear() -> MolecularProblem:
    """Energies of one complex read directly, with known noise: a linear model with normal priors."""
    graph = graph_of({"protein": 1.0, "ligand": 1.0}, {"pair": ("protein;ligand", "bind")}, {"bind": -1.0})
    instrument = Scaled(quantity=Quantity("energy", "pair"), exact=True, sd=0.3)
    readings = scan("affinity", instrument.quantity, variants(5, 60, 0), instrument)
    encoder = Additive(molecule="protein", terms=("bind",), prior_sd=0.7, mean_sd=0.0)
    problem = MolecularProblem(graph, readings, {"mutations": encoder})
    return measured(problem, truth(MolecularModel(problem), 0), 0)


def test_a_linear_model_has_the_posterior_of_ridge_regression(linear: MolecularProblem):
    result = ms.fit(linear, **OPTIONS)
    readings = linear.readings["affinity"]
    X = np.ones((len(readings), 26))
    codes = readings.sequences["protein"].codes
    X[:, 1:] = (codes[:, :, None] == np.arange(1, len(ALPHABET))).reshape(len(codes), -1)
    prior_mean, prior_sd = np.r_[-1.0, np.zeros(25)], np.r_[3.0, np.full(25, 0.7)]
    covariance = np.linalg.inv(X.T @ X / 0.3**2 + np.diag(prior_sd**-2.0))
    mean = covariance @ (X.T @ readings.arrays["y"] / 0.3**2 + prior_mean / prior_sd**2)
    np.testing.assert_allclose(result.flat[0].numpy(), mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(result.parameters["sd"], np.sqrt(np.diag(covariance)), rtol=1e-8)


def test_the_common_mean_of_mutations_has_the_prior_that_was_given(linear: MolecularProblem):
    readings = linear.readings["affinity"]
    encoder = Additive(molecule="protein", terms=("bind",), prior_sd=0.7, mean=0.9, mean_sd=0.3)
    result = ms.fit(MolecularProblem(linear.graph, readings, {"mutations": encoder}), **OPTIONS)
    codes = readings.sequences["protein"].codes
    single = (codes[:, :, None] == np.arange(1, len(ALPHABET))).reshape(len(codes), -1)
    X = np.column_stack([np.ones(len(codes)), single, single.sum(1)])
    prior_mean, prior_sd = np.r_[-1.0, np.zeros(25), 0.9], np.r_[3.0, np.full(25, 0.7), 0.3]
    precision = X.T @ X / 0.3**2 + np.diag(prior_sd**-2.0)
    mean = np.linalg.solve(precision, X.T @ readings.arrays["y"] / 0.3**2 + prior_mean / prior_sd**2)
    np.testing.assert_allclose(result.flat[0].numpy(), mean, rtol=0, atol=1e-8)


def test_intervals_of_rows_are_those_of_ridge_regression(linear: MolecularProblem):
    result = ms.fit(linear, **OPTIONS)
    table, known = result.predict("affinity", draws=4000), result.uncertainty
    assert known is not None
    part = result.model.instruments["affinity"]
    sd = known.of_rows(part, torch.arange(part.rows))[:, 0, 0].sqrt().numpy()
    np.testing.assert_allclose(table["fit_upper"] - table["predicted"], 1.645 * sd, rtol=0.02)
    half = (table["upper"] - table["lower"]) / 2
    np.testing.assert_allclose(half.mean(), (1.645 * np.sqrt(sd**2 + 0.3**2)).mean(), rtol=0.02)


def test_the_profile_of_a_linear_model_is_the_parabola_of_its_standard_deviation(linear: MolecularProblem):
    result = ms.fit(linear, **OPTIONS)
    name = result.model.parameters.identifiers[1]
    profile, known = result.profile(name, points=5), result.parameters.iloc[1]
    z = (profile["value"] - known["nominalValue"]) / known["sd"]
    np.testing.assert_allclose(z, [-3.0, -1.5, 0.0, 1.5, 3.0], atol=1e-6)
    np.testing.assert_allclose(profile["rise"], z**2 / 2, atol=1e-3)
    with pytest.raises(DataError, match="no parameter is called `nothing`"):
        result.profile("nothing")


def test_energies_of_a_scan_are_recovered_within_their_intervals(scanned):
    problem, theta, result = scanned
    true = MolecularModel(problem).parameters.flat(theta[None])[0].numpy()
    errors = (result.flat[0].numpy() - true) / result.parameters["sd"].to_numpy()
    assert np.mean(np.abs(errors) < 1.645) > 0.75
    energies = result.energies
    near = energies.merge(pd.DataFrame({"label": energies["label"].unique()}))
    assert np.corrcoef(near["estimate"], true[2:82])[0, 1] > 0.9
    assert set(energies["term"]) == {"fold", "bind"}


def test_ninety_percent_intervals_cover_ninety_percent_of_true_values():
    inside, outside = [], []
    for seed in range(4):
        problem, theta = three_state_scan(positions=4, rows=150, seed=seed)
        result = ms.fit(problem, **OPTIONS | {"starts": 1}, seed=seed)
        assert result.uncertainty is not None
        flat = result.model.parameters.flat(theta[None])[0].numpy()
        lower, upper = result.uncertainty.laplace.ends()
        inside.append((flat >= lower) & (flat <= upper))
        fresh = measured(problem, theta, seed + 100)
        outside += [result.evaluate(r)["coverage_90"] for r in fresh.readings.values()]
    assert 0.80 < np.mean(inside) < 0.97
    assert 0.85 < np.mean(outside) < 0.95


def test_the_learned_width_is_the_scatter_of_the_true_energies():
    problem, theta = three_state_scan(positions=20, rows=700, prior_sd="learned", sd=1.5)
    model = MolecularModel(problem)
    true = model.parameters.flat(theta[None])[0]
    optimum, _ = minimise(MolecularPosterior(model), theta[None])
    settled = settle(model, optimum.theta)
    for name, where in model.learned.items():
        assert settled.model.widths[name] == pytest.approx(float(true[where].square().mean().sqrt()), rel=0.2)
    assert settled.evidence == sorted(settled.evidence)
    assert not settled.unsupported


def test_a_learned_width_is_where_the_evidence_of_a_linear_model_is_largest(linear: MolecularProblem):
    encoder = Additive(molecule="protein", terms=("bind",), prior_sd="learned", mean_sd=0.0)
    problem = MolecularProblem(linear.graph, list(linear.readings.values()), {"mutations": encoder})
    result = ms.fit(problem, **OPTIONS)
    (width,) = result.model.widths.values()
    codes, y = (
        problem.readings["affinity"].sequences["protein"].codes,
        problem.readings["affinity"].arrays["y"],
    )
    X = (codes[:, :, None] == np.arange(1, len(ALPHABET))).reshape(len(codes), -1).astype(float)

    def ln_evidence(sd: float) -> float:
        C = sd**2 * X @ X.T + 9.0 + 0.09 * np.eye(len(y))
        return -0.5 * (np.linalg.slogdet(C)[1] + (y + 1.0) @ np.linalg.solve(C, y + 1.0))

    grid = width * np.exp(np.linspace(-0.3, 0.3, 121))
    assert width == pytest.approx(grid[np.argmax([ln_evidence(sd) for sd in grid])], rel=0.03)


def test_a_family_that_the_data_do_not_support_is_named(linear: MolecularProblem):
    encoder = Additive(molecule="protein", terms=("bind",), prior_sd="learned", mean_sd=0.0)
    problem = MolecularProblem(linear.graph, list(linear.readings.values()), {"mutations": encoder})
    flat = measured(problem, torch.zeros(26, dtype=torch.float64), 0)
    flat.readings["affinity"].arrays["y"][:] = -1.0
    said = ms.fit(flat, **OPTIONS).undetermined()
    assert any("do not support `mutations single bind`" in sentence for sentence in said)


def test_noise_is_that_of_rows_which_other_parameters_leave_over():
    found, joint = [], []
    for seed in range(3):
        problem, _ = three_state_scan(positions=6, rows=100, seed=seed)
        result = ms.fit(problem, **OPTIONS | {"starts": 1})
        model = result.model
        mode = minimise(MolecularPosterior(model), result.theta)[0].theta
        for flat, into in ((result.flat, found), (model.parameters.flat(mode), joint)):
            into += [float(flat[0, model.parameters.slices()[f"{n} noise"]].exp()) for n in model.instruments]
    assert np.mean(found) == pytest.approx(0.05, rel=0.06)
    assert np.mean(joint) < 0.93 * np.mean(found)


def test_only_the_sum_of_two_energies_is_named_where_no_other_is_seen():
    """Most molecules are neither folded nor bound: p ∝ exp(−(ΔG_fold + ΔG_bind)/kT)."""
    sequences = variants(3, 60, 0)
    graph = graph_of(
        {"protein": None, "ligand!": 1e6},
        {"folded": ("protein", "fold"), "bound": ("protein;ligand", "fold;bind")},
        {"fold": (4.0, 0.1, "energy"), "bind": (-3.5, 0.1, "energy")},
    )
    readings = scan("binding", Quantity("fraction", "bound", "protein"), sequences)
    encoder = Additive(molecule="protein", terms=("fold", "bind"), mean_sd=0.0)
    problem = MolecularProblem(graph, readings, {"mutations": encoder})
    theta = truth(MolecularModel(problem), 0, 0.3)
    result = ms.fit(measured(problem, theta, 0), **OPTIONS)
    tied = result.energies[result.energies["combination"] != ""]
    assert set(tied["combination"]) == {"fold + bind"} and len(tied) > 4
    assert tied["note"].str.startswith("only fold + bind is determined").all()
    assert any("only fold + bind is determined" in sentence for sentence in result.undetermined())


def test_rows_to_predict_need_no_measurement(scanned):
    _, _, result = scanned
    readings = result.problem.readings["binding"]
    unmeasured = readings.take(np.arange(5))
    unmeasured.arrays["y"][:] = np.nan
    table = result.predict(unmeasured)
    assert list(table.columns) == ["variant", "predicted", "lower", "upper", "fit_lower", "fit_upper"]
    fitted = result.predict("binding").iloc[:5]
    np.testing.assert_allclose(table["predicted"], fitted["predicted"])
    assert (table["lower"] < table["fit_lower"]).all() and (table["fit_upper"] < table["upper"]).all()


def test_unknown_readings_are_refused_by_name(scanned):
    _, _, result = scanned
    other = scan(
        "activity", Quantity("fraction", "bound", "protein"), Sequences(np.zeros((1, 8), np.int8), ALPHABET)
    )
    with pytest.raises(DataError, match=r"`abundance`, `binding`; got `activity`"):
        result.predict(other)


def test_tables_hold_energies_predictions_and_calibration(scanned):
    _, _, result = scanned
    tables = result.tables()
    assert {"parameters", "energies", "readings", "calibration", "scores", "starts"} <= set(tables)
    scores = tables["scores"].set_index("readings")
    assert (scores["r2"] > 0.8).all() and scores["coverage_90"].between(0.8, 0.98).all()
    curve = tables["calibration"].query("readings == 'abundance'")
    np.testing.assert_allclose(curve["expected"], 0.1 + 0.9 * curve["readout"], atol=0.03)


def test_a_saved_fit_predicts_the_same(scanned, tmp_path):
    problem, _, result = scanned
    result.save(tmp_path / "saved")
    loaded = MolecularResult.load(tmp_path / "saved", problem)
    pd.testing.assert_frame_equal(loaded.predict("binding"), result.predict("binding"))
    other, _ = three_state_scan(positions=3, rows=40)
    with pytest.raises(FormatError, match="another `parameters`"):
        MolecularResult.load(tmp_path / "saved", other)


def test_a_fit_goes_on_to_the_same_numbers_after_it_was_stopped(tmp_path):
    problem, _ = three_state_scan(positions=3, rows=60, prior_sd="learned")
    whole = ms.fit(problem, **OPTIONS)
    stopped = Checkpoint(tmp_path)

    class Killed(Exception):
        pass

    def put(name, *rest, count=[0]):  # noqa: B006 (counts calls)
        count[0] += 1
        Checkpoint.put(stopped, name, *rest)
        if count[0] == 4:
            raise Killed

    stopped.put = put  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Killed):
        ms.fit(problem, **OPTIONS, checkpoint=stopped, save_every_s=0.0)
    for _ in range(2):  # carried on, then found finished
        again = ms.fit(problem, **OPTIONS, checkpoint=Checkpoint(tmp_path), save_every_s=0.0)
        assert again.model.widths == whole.model.widths
        torch.testing.assert_close(again.theta, whole.theta, rtol=0, atol=0)
    assert [*Checkpoint(tmp_path)] == ["fit", "fit-model"]


def test_minibatches_come_near_the_mode():
    problem, _ = three_state_scan(positions=3, rows=150)
    exact = ms.fit(problem, **OPTIONS)
    rough = ms.fit(problem, **OPTIONS, method="minibatch", batch_size=100, max_epochs=30)
    r2 = rough.evaluate("binding", intervals=False)["r2"]
    assert r2 > exact.evaluate("binding", intervals=False)["r2"] - 0.02


def test_options_out_of_range_are_refused(linear: MolecularProblem):
    with pytest.raises(DataError, match="`method` must be auto, newton, minibatch; got `bfgs`"):
        ms.fit(linear, method="bfgs")
    with pytest.raises(DataError, match="`batch_size` must be at least 1; got 0"):
        ms.fit(linear, batch_size=0)


def test_a_network_is_trained_held_and_found_again(tmp_path):
    problem, _ = three_state_scan(positions=4, rows=200)
    options = {"hidden": 8, "epochs": 25, "batch_size": 32, "learning_rate": 0.01}
    network = Network(molecule="protein", terms=("fold", "bind"), **options)
    asked = MolecularProblem(problem.graph, list(problem.readings.values()), {"network": network})
    result = ms.fit(asked, **OPTIONS, checkpoint=Checkpoint(tmp_path / "run"))
    assert result.evaluate("abundance", intervals=False)["r2"] > 0.7
    result.save(tmp_path / "saved")
    again = MolecularProblem(problem.graph, list(problem.readings.values()), {"network": network})
    loaded = MolecularResult.load(tmp_path / "saved", again)
    pd.testing.assert_frame_equal(loaded.predict("binding"), result.predict("binding"))
    third = MolecularProblem(problem.graph, list(problem.readings.values()), {"network": network})
    resumed = ms.fit(third, **OPTIONS, checkpoint=Checkpoint(tmp_path / "run"))
    pd.testing.assert_frame_equal(resumed.predict("binding"), result.predict("binding"))


def test_variants_by_features_hold_energies_and_what_was_read(scanned):
    _, _, result = scanned
    data = result.to_anndata(list(result.problem.readings))
    table = result.energies[result.energies["term"] == "fold"].set_index("label")
    label = table.index[3]
    assert data[label, "fold"].X[0, 0] == table.at[label, "estimate"]
    assert data[label, "fold"].layers["upper"][0, 0] == table.at[label, "upper"]
    name = next(iter(result.problem.readings))
    assert {f"{name} measured", f"{name} predicted"} <= set(data.var_names)
