"""Pictures of cells say what the tables and the AnnData say."""

from __future__ import annotations

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import StepPatch

from multiscale.errors import DataError
from multiscale.formats import anndata as written
from multiscale.report import plots
from multiscale.report.cell_groups import contrasts
from multiscale.report.cells import find


@pytest.fixture
def adata(small_adata, small_graph) -> anndata.AnnData:
    """Results of 120 cells of three types; A:B is four times as high in type y, one pathway follows it."""
    rng = np.random.default_rng(0)
    names, kind = small_adata.obs_names, small_adata.obs["kind"].to_numpy()
    high = np.where(kind == "y", 4.0, 1.0)
    complexes = pd.DataFrame({"A:B": 0.01 * high, "L2": rng.gamma(2.0, size=120), "L2:AB": 0.0}, names)
    written.write(
        small_adata,
        molecules=pd.DataFrame({"A": 1000.0 * high, "B": 1000.0}, names),
        complexes=complexes,
        pathways=pd.DataFrame({"signal": np.log(high)}, names),
        meta={"units": {"concentration": "uM", "copies": "copies per cell"}},
    )
    small_adata.obsm["X_umap"] = rng.normal(size=(120, 2))
    return small_adata


def children(ax: Axes) -> list[Axes]:
    return [child for child in ax.child_axes if isinstance(child, Axes)]


def titles(ax: Axes) -> list[str]:
    return [child.get_title(loc="left") for child in children(ax)]


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_embedding_shows_the_pathways_unless_others_are_named(adata) -> None:
    assert titles(plots.embedding(adata)) == ["signal"]
    named = plots.embedding(adata, ["A:B", "A", "kind", "other"], basis="X_umap")
    assert titles(named) == ["A:B", "A", "kind", "other"]


def test_embedding_colours_every_cell_by_its_own_value(adata) -> None:
    panel = children(plots.embedding(adata, "A:B"))[0]
    dots = panel.collections[-1]
    place, values = np.asarray(dots.get_offsets()), np.asarray(dots.get_array())
    own = {
        tuple(xy): v
        for xy, v in zip(adata.obsm["X_umap"], adata.obsm["multiscale_complex"]["A:B"], strict=True)
    }
    assert [own[tuple(xy)] for xy in place] == values.tolist()


def test_activities_diverge_from_zero_and_wide_levels_go_by_factors(adata) -> None:
    adata.obsm["multiscale_complex"]["L2"] = np.geomspace(1e-3, 1e3, 120)
    pathway, level = children(plots.embedding(adata, ["signal", "L2"]))
    assert np.sum(pathway.collections[-1].get_clim()) == 0.0
    assert isinstance(level.collections[-1].norm, LogNorm)
    assert [child.get_ylabel() for child in children(level)] == ["µM"]


def test_embedding_greys_cells_without_a_value_and_names_groups_once(adata) -> None:
    adata.obs["score"] = np.r_[np.nan, np.arange(119.0)]
    score, kind = children(plots.embedding(adata, ["score", "kind"]))
    assert [len(np.asarray(part.get_offsets())) for part in score.collections] == [1, 119]
    assert sorted(texts(kind)) == ["x", "y", "z"]


def test_embedding_finds_names_that_hdf5_could_not_hold(adata) -> None:
    adata.obsm["multiscale_complex"] = adata.obsm["multiscale_complex"].rename(columns={"L2": "L|2"})
    assert find(adata, "L/2").kind == "complex"
    adata.obsm["multiscale_molecule"] = pd.DataFrame(
        {"M": 2.0}, adata.obs_names
    )  # as a fit of cells writes them
    assert find(adata, "M").kind == "molecule" and find(adata, "M").unit == "copies per cell"
    with pytest.raises(DataError, match="did you mean `signal`"):
        plots.embedding(adata, "signals")
    with pytest.raises(DataError, match="no embedding `tsne`"):
        plots.embedding(adata, "signal", basis="tsne")
    del adata.obsm["multiscale_pathway"], adata.obsm["multiscale_complex"]
    with pytest.raises(DataError, match="write_anndata"):
        plots.embedding(adata)


def test_contrasts_are_log2_ratios_and_pathways_have_their_unit(adata) -> None:
    table = contrasts(adata, "kind", "y")["contrast"]
    assert table["A:B"] == pytest.approx(2.0)
    assert table["signal"] == pytest.approx(2.0)
    assert table["B"] == pytest.approx(0.0)
    assert np.isnan(table["L2:AB"])  # none anywhere
    assert contrasts(adata, "kind", "x", reference="y")["contrast"]["A"] == pytest.approx(-2.0)


def test_group_colours_nodes_by_their_contrast_and_draws_the_most_different(adata, small_graph) -> None:
    ax = plots.group(small_graph, adata, "kind", "y")
    assert {"A:B", "L2", "signal", "y against other cells"} <= set(texts(ax))
    coloured = np.concatenate(
        [np.asarray(c.get_array()) for c in ax.collections if c.get_array() is not None]
    )
    assert sorted(coloured.round(6))[-3:] == [2.0, 2.0, 2.0]  # A, A:B, signal
    fewer = plots.group(small_graph, adata, "kind", "y", most=1)
    assert "L2" not in texts(fewer) and "1 of 3 complexes" in texts(fewer)[-1]


def test_group_refuses_what_is_not_there(adata, small_graph) -> None:
    with pytest.raises(DataError, match="no column `knd`; did you mean `kind`"):
        plots.group(small_graph, adata, "knd", "y")
    with pytest.raises(DataError, match="no group `w`"):
        plots.group(small_graph, adata, "kind", "w")
    with pytest.raises(DataError, match="nothing was written"):
        plots.group(small_graph, adata, "kind", "y", key="other")
    adata.obs["one"] = "a"
    with pytest.raises(DataError, match="all cells are `a`"):
        plots.group(small_graph, adata, "one", "a")


@pytest.fixture
def doses() -> pd.DataFrame:
    dose = np.array([0.0, 0.1, 1.0, 10.0])
    rows = pd.DataFrame({"feature": "F", "dose": dose, "predicted": dose / (1 + dose), "dose_unit": "µM"})
    return rows.assign(
        lower=rows["predicted"] - 0.1, upper=rows["predicted"] + 0.1, observed=rows["predicted"]
    )


def test_response_to_doses_has_a_line_a_band_dots_and_a_place_for_dose_zero(doses) -> None:
    panel = children(plots.response(doses))[0]
    line, dots = panel.lines[0], panel.lines[1]
    np.testing.assert_allclose(np.asarray(line.get_ydata()), doses["predicted"])
    np.testing.assert_allclose(np.asarray(dots.get_xdata()), doses["dose"])
    assert len(panel.collections) == 1  # the band
    assert panel.get_xscale() == "symlog" and panel.get_xlabel() == "dose, µM"
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0", "0.1", "1", "10"]


def test_response_to_perturbations_has_a_row_each_and_hollow_marks_for_new_ones() -> None:
    table = pd.DataFrame(
        {"feature": "F", "condition": ["a", "b"], "predicted": [1.0, 2.0], "held_out": [False, True]}
    )
    panel = children(plots.response(table.assign(lower=0.5, upper=2.5)))[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["a", "b"]
    seen, new = panel.lines[:2]
    assert np.asarray(seen.get_xdata()).tolist() == [1.0] and np.asarray(new.get_xdata()).tolist() == [2.0]
    assert new.get_markerfacecolor() == "white" and seen.get_markerfacecolor() != "white"


def test_response_gives_every_group_a_colour_and_refuses_tables_without_x(doses) -> None:
    both = pd.concat([doses.assign(group="p"), doses.assign(group="q")])
    panel = children(plots.response(both))[0]
    assert panel.lines[0].get_color() != panel.lines[2].get_color()
    with pytest.raises(DataError, match="no column `condition`"):
        plots.response(doses.drop(columns="dose"))
    with pytest.raises(DataError, match="no row"):
        plots.response(doses.iloc[:0])


@pytest.fixture
def readings() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    parts = []
    for number in range(15):
        y = rng.poisson(3.0, 300)
        drawn = y[::-1] + (5 if number == 7 else 0)
        parts.append(
            pd.DataFrame({"modality": "rna", "feature": f"f{number}", "observed": y, "drawn": drawn})
        )
    y = rng.normal(size=300)
    parts.append(pd.DataFrame({"modality": "phospho", "feature": "p", "observed": y, "drawn": y}))
    return pd.concat(parts, ignore_index=True).assign(lower=-np.inf, upper=np.inf)


def test_checks_draw_a_panel_per_modality_worst_feature_first(readings) -> None:
    ax = plots.checks(readings)
    assert titles(ax) == ["rna\n12 of 15 features, worst first", "phospho"]
    assert children(ax)[0].get_yticklabels()[0].get_text() == "f7"
    assert texts(children(ax)[1])[0] == "100 %"
    assert children(ax)[0].get_xlabel() == "counts" and children(ax)[1].get_xlabel() == "reading"


def test_checks_draw_shares_of_cells_as_tall_as_their_highest_bin(readings) -> None:
    panel = children(plots.checks(readings, features=["p"]))[0]
    measured, drawn = (patch.get_data()[0] for patch in panel.patches if isinstance(patch, StepPatch))
    np.testing.assert_allclose(measured, drawn)
    assert measured.min() == pytest.approx(-0.85)


def test_checks_of_expected_readings_say_so_and_unknown_features_are_refused(readings) -> None:
    table = readings.rename(columns={"drawn": "predicted"}).drop(columns=["lower", "upper"])
    legend = children(plots.checks(table))[0].get_legend()
    assert legend is not None
    assert "expected (readings scatter more)" in [text.get_text() for text in legend.get_texts()]
    with pytest.raises(DataError, match="no measured feature `q`"):
        plots.checks(readings, features=["q"])
    with pytest.raises(DataError, match="no row with a measured"):
        plots.checks(readings.assign(observed=np.nan))


@pytest.fixture
def history() -> pd.DataFrame:
    epoch = np.arange(1.0, 31.0)
    elbo = -100 - 50 / epoch
    columns = {"elbo": elbo, "kl": 5.0, "log_density rna": elbo + 5, "kl_weight": np.minimum(1, epoch / 10)}
    watched = {"watched_elbo": -np.abs(epoch - 20) - 110, "active_units": 4.0, "rate": 0.5 ** (epoch // 12)}
    return pd.DataFrame({"epoch": epoch} | columns | watched).set_index("epoch")


def test_training_has_a_panel_per_part_and_marks_the_epoch_that_was_kept(history) -> None:
    ax = plots.training(history)
    assert titles(ax) == [
        *("evidence lower bound", "KL of posterior and prior", "log density, rna"),
        *("active latent units", "learning rate"),
    ]
    lines = {line.get_label(): line for line in children(ax)[0].lines}
    assert np.asarray(lines["kept"].get_xdata()).tolist() == [20.0, 20.0]
    np.testing.assert_allclose(np.asarray(lines["watched cells"].get_ydata()), history["watched_elbo"])


def test_training_takes_a_bare_history_and_refuses_one_without_parts(history) -> None:
    assert titles(plots.training(pd.DataFrame({"epoch": [1, 2], "loss": [3.0, 2.0]}))) == ["loss"]
    with pytest.raises(DataError, match="`elbo`"):
        plots.training(history[["kl_weight"]])


def test_pictures_of_cells_draw_into_given_axes_and_open_no_figure(adata, doses, readings, history) -> None:
    for draw, table in (
        (plots.embedding, adata),
        (plots.response, doses),
        (plots.checks, readings),
        (plots.training, history),
    ):
        figure, ax = plt.subplots()
        before = len(plt.get_fignums())
        assert draw(table, ax=ax) is ax
        figure.canvas.draw()
        assert len(plt.get_fignums()) == before
