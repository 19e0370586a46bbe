"""Results: repeatable, written to the promised keys and formats, honest about what is open."""

import anndata
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch

import multiscale as ms
from multiscale.errors import DataError
from multiscale.formats import weights

QUICK = {"starts": 4, "seed": 3, "adam_steps": 40, "max_steps": 150, "accelerator": "cpu", "progress": False}


@pytest.fixture
def result(small_problem) -> ms.Result:
    return ms.fit(small_problem, **QUICK)


def test_the_same_seed_gives_the_same_bits(small_problem, result: ms.Result):
    again = ms.fit(small_problem, **QUICK)
    assert torch.equal(result.optimum.theta, again.optimum.theta)
    assert not torch.equal(result.optimum.theta, ms.fit(small_problem, **{**QUICK, "seed": 4}).optimum.theta)


def test_the_fit_is_at_least_as_good_as_any_point_tried(result: ms.Result):
    from multiscale.fit.objective import Posterior

    tried = result.model.parameters.sample(50, torch.Generator().manual_seed(1), spread=0.2)
    loss = Posterior(result.model)(tried, torch.arange(50))
    assert float(result.optimum.loss.min()) < float(loss.min())


def test_energies_that_were_measured_follow_the_measurement(result: ms.Result):
    table = result.energies.set_index("complex")
    expected = ms.units.delta_g_from_Kd(0.020)
    assert table.loc["A:B", "g_kcal_per_mol"] == pytest.approx(expected, abs=0.3)
    assert np.isnan(table["Kd_uM"]["L2:AB"])


def test_predictions_of_a_well_determined_table_are_close(result: ms.Result):
    location = result.model.readings["proteome"].location(result.state)[0]
    exact = result.model.readings["proteome"].censoring == 0
    error = (location - result.model.readings["proteome"].y)[exact]
    assert float((error**2).mean().sqrt()) < 0.3


def test_anndata_gets_the_promised_keys_and_survives_a_round_trip(result, small_adata, tmp_path):
    result.write_anndata(small_adata)
    small_adata.write_h5ad(tmp_path / "r.h5ad")
    back = anndata.read_h5ad(tmp_path / "r.h5ad")
    assert back.obsm["X_multiscale"].shape == (120, 4)
    assert list(pd.DataFrame(back.obsm["multiscale_complex"]).columns) == ["A:B", "L2"]
    assert list(pd.DataFrame(back.obsm["multiscale_pathway"]).columns) == ["signal"]
    assert back.varm["X_multiscale"].shape[0] == back.n_vars
    assert {"graph_hash", "multiscale", "settings", "units"} <= set(back.uns["multiscale"])


def test_every_cell_gets_the_state_of_its_group(result, small_adata):
    result.write_anndata(small_adata)
    copies = result.copies()
    column = list(copies.columns).index("A")
    got = np.asarray(small_adata.obsm["X_multiscale"])[45, column]
    assert got == pytest.approx(copies.loc["y", "A"], rel=1e-6)


def test_graphml_is_read_by_networkx_with_learned_values(result, tmp_path):
    result.export(tmp_path / "network.graphml")
    graph = nx.read_graphml(tmp_path / "network.graphml")
    assert graph.nodes["A:B"]["g_kcal_per_mol"] == pytest.approx(
        result.energies.set_index("complex").loc["A:B", "g_kcal_per_mol"]
    )


def test_exported_parameters_are_all_of_them_with_fitted_values(result: ms.Result, tmp_path):
    result.export(tmp_path / "parameters.tsv")
    table = pd.read_csv(tmp_path / "parameters.tsv", sep="\t").set_index("parameterId")
    assert len(table) == result.model.parameters.size
    fitted = result.parameters.set_index("parameterId")["nominalValue"]
    np.testing.assert_allclose(table["nominalValue"], fitted, rtol=1e-12)
    assert {"lower", "upper", "determinedBy"} <= set(table.columns)


def test_a_loaded_result_is_the_one_that_was_saved(result: ms.Result, small_problem, tmp_path):
    result.save(tmp_path / "model")
    again = ms.Result.load(tmp_path / "model", small_problem)
    pd.testing.assert_frame_equal(again.parameters, result.parameters)
    assert again.optimum.reasons == result.optimum.reasons
    with pytest.raises(ms.MultiscaleError, match="another `graph_hash`"):
        ms.Result.load(tmp_path / "model", small_problem.with_graph(ms.rewire(small_problem.graph, seed=2)))


def test_a_saved_model_holds_parameters_and_refuses_to_be_overwritten(result, tmp_path):
    result.save(tmp_path / "model")
    saved = weights.load(tmp_path / "model")
    np.testing.assert_array_equal(saved.arrays["theta"], result.optimum.theta.numpy())
    assert saved.meta["graph_hash"] == result.problem.graph.hash()
    with pytest.raises(ms.MultiscaleError, match="not empty"):
        result.save(tmp_path / "model")


def test_parameters_are_a_petab_table_with_unique_identifiers(result: ms.Result):
    table = result.parameters
    assert table["parameterId"].is_unique
    assert table["parameterId"].str.fullmatch(r"[A-Za-z_]\w*").all()
    assert table.loc[table["parameterScale"] == "log", "nominalValue"].gt(0).all()


def test_what_is_not_determined_is_said(result: ms.Result):
    text = " ".join(result.undetermined())
    assert "Only the ratio of two values of translation factor is determined" in text
    assert "`A with B`" in text
    assert "L2" in text


def test_pairs_are_listed_for_every_sender_and_receiver(result: ms.Result):
    assert result.pair_state is not None
    frame = result.pair_state.frame()
    assert len(frame) == 9
    assert frame["occupancy"].between(0, 1).all()


def test_report_and_plot_come_from_the_result(result, tmp_path):
    result.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "Nothing was held out" in text
    assert ms.pl.network(result).get_figure() is not None


@pytest.mark.parametrize("option", [{"starts": 0}, {"accelerator": "tpu"}])
def test_options_out_of_range_are_refused(small_problem, option: dict):
    with pytest.raises(DataError, match=f"`{next(iter(option))}`"):
        ms.fit(small_problem, **{**QUICK, **option})


def test_fit_stays_a_function_after_its_package_was_imported():
    import multiscale.fit

    assert callable(multiscale.fit)
    assert callable(ms.fit)


def test_per_cell_contexts_are_fitted_too(small_graph, small_adata):
    cells = small_adata[:6].copy()
    cells.obs["cell"] = cells.obs_names
    problem = ms.Problem(small_graph, ms.from_anndata(cells, groupby="cell"))
    result = ms.fit(problem, **{**QUICK, "starts": 2, "max_steps": 30})
    assert isinstance(result.copies(), pd.DataFrame)
    assert list(result.copies().index) == list(small_adata.obs_names[:6])
