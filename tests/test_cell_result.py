"""What a fit of cells gives: states, predictions and counterfactuals, tables, AnnData keys, saved folders."""

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from cell_made import KNOCKED, PROTEINS, RNA, counted_cells

import multiscale as ms
from multiscale.data import Interventions
from multiscale.data.cells import Codes
from multiscale.data.cells.registry import Registry
from multiscale.errors import ConfigError, DataError, FormatError
from multiscale.fit.cells import CellResult
from multiscale.fit.cells.judged import scores
from multiscale.formats.anndata import write_h5ad
from multiscale.model.cells import CellProblem

OPTIONS = {"max_epochs": 12, "batch_size": 32, "accelerator": "cpu", "progress": False}
KNOCK = KNOCKED.drop(columns="context")


@pytest.fixture(scope="module")
def fits():
    """Fits by whether encoder networks give the posteriors, made once each."""
    kept: dict[bool, CellResult] = {}

    def made(graph, amortised: bool) -> CellResult:
        if amortised not in kept:
            cells = counted_cells(hidden=True)
            problem = CellProblem(graph, cells, latent=2, hidden=16, amortised=amortised)
            kept[amortised] = ms.fit(problem, **OPTIONS)
        return kept[amortised]

    return made


@pytest.fixture
def free(fits, small_graph) -> CellResult:
    return fits(small_graph, False)


@pytest.fixture
def networks(fits, small_graph) -> CellResult:
    return fits(small_graph, True)


def adata_of(result: CellResult) -> anndata.AnnData:
    cells = result.problem.cells
    values = cells.modalities["rna"].values(np.arange(len(cells)))
    return anndata.AnnData(values, obs=pd.DataFrame(index=cells.obs.index), var=pd.DataFrame(index=RNA))


# States


def test_complexes_obey_the_law_of_mass_action_in_every_cell(free):
    x, table = free.concentrations, free.parameters.set_index("parameterId")["value"]
    kT = 0.0019872041 * free.problem.temperature
    expected = np.log(x["A"]) + np.log(x["B"]) - np.log(1e6) - table["g_AB"] / kT
    assert np.allclose(np.log(free.complexes["A:B"]), expected, atol=1e-6)


def test_pathways_are_relative_to_their_mean_over_cells(free):
    assert np.allclose(free.pathways.mean(), 0, atol=1e-12)
    ln = np.log(free.complexes["A:B"])
    assert np.allclose(free.pathways["signal"], ln - ln.mean())


def test_states_come_in_parts_that_make_the_whole(free):
    parts = list(free.stream(size=40))
    assert [len(part.latent) for part in parts] == [40, 40, 16]
    assert np.allclose(pd.concat([part.totals for part in parts]), free.totals, rtol=1e-9)
    assert list(free.latent.index[:2]) == ["cell0", "cell1"]
    assert 0 <= free.active_units <= 2


def test_loadings_are_slopes_of_the_signal(free):
    shared = free.model.shared
    own = shared["rna loading"].detach().numpy()
    assert np.allclose(free.loadings["rna"].loc[["other", "more"]], own, rtol=1e-4)
    linked = (shared["loading"].detach().numpy() + shared["rna link"].detach().numpy())[:1]
    assert np.allclose(free.loadings["rna"].loc[["A"]], linked, rtol=1e-4)


# Predictions


def test_an_intervention_that_was_fitted_as_a_condition_predicts_the_same(free):
    one = free.predict(contexts=["control"], condition="knocked")["protein"]
    two = free.predict(contexts=["control"], intervention=KNOCK)["protein"]
    three = free.predict(contexts=["control"], intervention=Interventions(KNOCKED))["protein"]
    assert one.expected.equals(two.expected)
    assert one.upper is not None and one.upper.equals(three.upper)


def test_nine_tenths_fewer_molecules_are_nine_tenths_fewer_copies(free):
    now, then = free.states(contexts=["control"]), free.states(contexts=["control"], condition="knocked")
    assert np.allclose(then.totals["C"], now.totals["C"])
    assert (then.totals["A"] < 0.2 * now.totals["A"]).all()  # and fewer of them are assembled
    assert then.latent.equals(now.latent)


def test_interventions_add_to_a_condition(free):
    both = pd.DataFrame({"kind": ["knock_down"], "target": ["C"], "value": ["1"]})
    some = {"contexts": ["cell0", "cell1"], "condition": "knocked"}
    changed = free.states(**some, intervention=both).totals
    assert np.allclose(changed["A"], free.states(**some).totals["A"])
    assert np.allclose(changed["C"], 0)


def test_nine_in_ten_new_readings_lie_in_the_interval(free):
    new, said = free.sample(draws=20, seed=5)["rna"], free.predict()["rna"]
    inside = ((new >= said.lower.to_numpy()) & (new <= said.upper.to_numpy())).mean()
    assert 0.88 < inside < 0.98  # counts are discrete: the ends are included
    assert (said.expected_lower <= said.expected_upper).all(axis=None)
    assert np.allclose(new.mean(0).mean(0), said.expected.mean(), rtol=0.1)


def test_cells_that_were_not_measured_are_predicted_too(free):
    said = free.predict(modalities=["protein"], draws=0)["protein"]
    assert list(said.expected) == PROTEINS
    assert said.expected.notna().all(axis=None)
    assert said.lower is None


def test_predictions_do_not_depend_on_the_company_of_a_cell(free):
    whole = free.predict(draws=10)["protein"].expected
    some = free.predict(contexts=["cell60", "cell3"], draws=10)["protein"].expected
    assert np.allclose(whole.loc[["cell60", "cell3"]], some, rtol=1e-5)


def test_other_cells_are_predicted_by_networks_with_a_batch_never_seen(networks):
    others = counted_cells(10, seed=4)
    again = networks.predict(networks.problem.cells, draws=0)["rna"].expected
    assert np.allclose(again, networks.predict(draws=0)["rna"].expected)
    assert networks.predict(others, draws=5)["protein"].upper is not None
    new = replace(others, batch=Codes(("elsewhere",), 0 * others.batch.codes))
    with pytest.raises(DataError, match="elsewhere"):
        networks.predict(new)
    said = networks.predict(new, draws=0, new_batches="mean")["rna"].expected
    assert said.notna().all(axis=None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"condition": "nothing"}, "`condition` is `nothing`, which the fit does not know"),
        ({"contexts": ["cell0", "cellar"]}, "`contexts`: `cellar` is no cell"),
        ({"modalities": ["dna"]}, "`modalities`: `dna` is unknown; did you mean `rna`"),
        ({"draws": -1}, "`draws` must be 0 or more"),
        ({"intervention": KNOCK.assign(target="Z")}, "`target` is `Z`"),
        ({"intervention": KNOCK[:0]}, "`intervention` has no row"),
    ],
)
def test_what_cannot_be_predicted_is_refused(free, options, said):
    with pytest.raises(DataError, match=said):
        free.predict(**options)


def test_other_cells_need_networks(free):
    with pytest.raises(DataError, match="no encoder networks for others"):
        free.predict(counted_cells(5))


def test_a_control_without_a_graph_has_no_physical_state():
    problem = CellProblem(None, counted_cells(24), latent=2)
    result = ms.fit(problem, **{**OPTIONS, "max_epochs": 1})
    assert result.totals.shape == (24, 0) and result.complexes.shape == (24, 0)
    assert result.predict(draws=2)["rna"].upper is not None
    with pytest.raises(DataError, match="this fit has none"):
        result.predict(intervention=KNOCK)


# Scores and tables


def test_scores_of_hidden_readings_are_those_of_readings_that_had_no_effect(free):
    table = free.scores()
    assert table.loc[("protein", "hidden"), "entries"] == 16
    assert table.loc[("protein", "shown"), "entries"] == 64 * 3 - 16
    assert table.loc[("rna", "shown"), "correlation"] > 0.5
    expected, cells = free.predict(draws=0)["rna"].expected.to_numpy(), free.problem.cells
    y = cells.modalities["rna"].values(np.arange(len(cells)))
    r2 = 1 - ((y - expected) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()
    assert table.loc[("rna", "shown"), "r2"] == pytest.approx(r2, rel=1e-4)
    assert scores(free._reader(None, ["cell0"], "refuse"), 0).index.get_level_values(0).tolist() == ["rna"]


def test_history_and_tables_say_how_training_went(free):
    assert list(free.history.index) == list(range(1, 13))
    assert free.history["watched_elbo"].iloc[-1] > free.history["watched_elbo"].iloc[0]
    names = {"elbo", "kl", "log_density rna", "log_density protein", "active_units", "kl_weight", "seconds"}
    assert names <= set(free.history)
    assert {"history", "parameters", "scores", "loadings rna"} <= set(free.tables())
    assert free.settings["stopped"] == "stopped after 12 epochs"


def test_options_of_other_fits_are_refused_by_name(free, small_problem):
    with pytest.raises(DataError, match="`starts` is no option of a fit of single cells"):
        ms.fit(free.problem, starts=3)
    with pytest.raises(DataError, match="`patience` is no option of a fit of contexts"):
        ms.fit(small_problem, patience=3)
    with pytest.raises(ConfigError, match="`batch_size` must be a multiple of 8"):
        ms.fit(free.problem, batch_size=100)


# AnnData and folders


def test_states_are_written_under_the_keys_that_users_expect(free, tmp_path):
    adata = adata_of(free)
    assert free.write_anndata(adata) is None
    assert np.allclose(adata.obsm["X_multiscale"], free.latent)
    assert list(adata.obsm["multiscale_complex"]) == ["A:B", "L2"]
    assert list(adata.obsm["multiscale_molecule"]) == ["A", "B", "C", "L"]
    assert list(adata.obsm["multiscale_pathway"]) == ["signal"]
    assert np.allclose(adata.varm["X_multiscale"], free.loadings["rna"])
    assert adata.uns["multiscale"]["graph_hash"] == free.graph.hash()  # pyright: ignore[reportOptionalMemberAccess]
    write_h5ad(adata, tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert np.allclose(again.obsm["multiscale_complex"], free.complexes)


def test_a_copy_is_written_and_cells_that_were_not_fitted_get_nan(free):
    adata = adata_of(free)[::-1].copy()
    adata.obs_names = ["stranger", *adata.obs_names[1:]]
    copied = free.write_anndata(adata, key_added="found", copy=True)
    assert "X_found" not in adata.obsm and copied is not None
    assert np.isnan(copied.obsm["X_found"][0]).all()
    assert np.allclose(copied.obsm["X_found"][1], free.latent.loc["cell94"])
    adata.obs_names = [f"other{i}" for i in range(len(adata))]
    with pytest.raises(DataError, match="none of the fitted cells"):
        free.write_anndata(adata)


@pytest.mark.parametrize("kind", ["free", "networks"])
def test_a_saved_fit_comes_back_bit_for_bit(kind, request, tmp_path):
    result = request.getfixturevalue(kind)
    result.save(tmp_path / "model")
    again = CellResult.load(tmp_path / "model", result.problem)
    ours, theirs = result.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert again.latent.equals(result.latent)
    assert np.allclose(again.history, result.history, rtol=1e-6)
    assert again.settings["max_epochs"] == 12
    assert Registry.from_json(result.registry.to_json()) == result.registry


def test_a_saved_fit_of_something_else_is_refused(free, tmp_path):
    free.save(tmp_path / "model")
    problem = free.problem
    fewer = problem.with_cells(problem.cells.only("rna", ["A", "B"]))
    for other, what in (
        (CellProblem(problem.graph, problem.cells, latent=3, hidden=16, amortised=False), "latent"),
        (problem.with_graph(None), "graph_hash"),
        (fewer, "features of rna"),
    ):
        with pytest.raises(FormatError, match=f"another `{what}`"):
            CellResult.load(tmp_path / "model", other)
    (tmp_path / "model" / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(FormatError, match="copy the whole folder again"):
        CellResult.load(tmp_path / "model", problem)


def test_networks_in_bfloat16_learn_what_float32_learns(networks):
    mixed = ms.fit(networks.problem, **OPTIONS, precision="bf16-mixed")
    last = [float(r.history["watched_elbo"].max()) for r in (networks, mixed)]
    assert last[0] == pytest.approx(last[1], abs=0.3)
    assert last[0] != last[1]
    assert mixed.latent.shape == (96, 2)


# Readings beside predictions


def test_compare_puts_every_reading_beside_its_prediction(free):
    table = free.compare(modalities=["protein"], draws=20)
    cells = free.problem.cells
    part = cells.modalities["protein"]
    assert len(table) == len(cells) * len(PROTEINS)
    measured = np.repeat(part.rows >= 0, len(PROTEINS))
    assert (table["observed"].notna() == measured).all()
    expected = free.predict(modalities=["protein"], draws=20)["protein"].expected
    assert np.array_equal(table["predicted"], expected.to_numpy().ravel())
    assert table["hidden"].sum() == part.hidden.sum()
    assert ((table["lower"] <= table["upper"]) & (table["drawn"] >= 0)).all()


def test_what_cells_problem_and_result_are_fits_on_a_few_lines(free):
    assert repr(free.problem.cells).splitlines()[2] == "    protein: SurfaceProteins, 64 cells × 3 features"
    assert repr(free.problem).startswith("graph `small`, equilibrium; 96 cells, 2 latent dimensions")
    assert "latent dimensions active; " in repr(free).splitlines()[-1]
    assert repr(free.problem.graph).startswith("graph `small`: ")


# Response


def test_means_per_condition_stand_beside_those_that_were_measured(free):
    table = free.response("protein", draws=8)
    cells = free.problem.cells
    assert list(table["feature"].unique()) == PROTEINS
    assert list(table["condition"].unique()) == list(cells.condition.names)
    there = np.arange(len(cells)) % 3 > 0
    values = cells.modalities["protein"].values(np.arange(len(cells)))
    for k, name in enumerate(cells.condition.names):
        own = table[table["condition"] == name]
        measured = values[there & (cells.condition.codes == k)]
        assert own["observed"].to_numpy() == pytest.approx(measured.mean(0))
        drawn = free.sample(contexts=[name], modalities=["protein"], draws=8)["protein"].mean(1)
        assert own["predicted"].to_numpy() == pytest.approx(np.median(drawn, axis=0))
        assert own["upper"].to_numpy() == pytest.approx(np.quantile(drawn, 0.95, axis=0))


def test_response_by_dose_falls_with_what_is_taken_away(free):
    shares = [0.2, 0.6, 0.95]
    doses = {share: KNOCK.assign(kind="knock_down", value=share) for share in shares}
    names = free.problem.cells.obs.index[:10].tolist()
    table = free.response("protein", doses, contexts=names, draws=40)
    assert "observed" not in table and list(table["dose"].unique()) == shares
    gone = KNOCK["target"].iloc[0]
    assert gone in PROTEINS
    falling = table[table["feature"] == gone].set_index("dose")["predicted"]
    assert (falling.diff().dropna() < 0).all()
    labels = free.response("protein", {"without A": KNOCK}, contexts=names, draws=2)
    assert list(labels["condition"].unique()) == ["without A"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"modality": "proteins"}, "did you mean `protein`"),
        ({"modality": "protein", "interventions": {}}, "`interventions` is empty"),
        ({"modality": "protein", "contexts": ["nobody"]}, "`nobody` is no cell"),
    ],
)
def test_response_names_what_is_wrong(free, options, said):
    with pytest.raises(DataError, match=said):
        free.response(**options)
