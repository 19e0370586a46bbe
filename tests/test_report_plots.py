"""Pictures say what the tables say."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import report_findings
from matplotlib.axes import Axes
from report_findings import MARKUP
from scipy.stats import norm

from multiscale.errors import DataError
from multiscale.graph import Graph
from multiscale.report import plots
from multiscale.report.estimates import RISE
from multiscale.report.judgement import fraction_inside, models
from multiscale.report.matrix import heat, informed


@pytest.fixture(name="graph")
def _graph() -> Graph:
    return report_findings.graph()


@pytest.fixture
def heldout() -> pd.DataFrame:
    measured = np.array([1.0, 2.0, 3.0, 4.0])
    columns = {"fold": 0, "context": "c", "molecule": MARKUP, "id": "e1", "measured": measured}
    touched = {"touched_by_graph": [True, True, False, False]}
    predicted = {"mean": measured + np.array([3.0, 3.0, 0.0, 0.0]), "fitted": measured + 1.0}
    return pd.DataFrame(columns | touched | predicted | {"lower": measured, "upper": measured + 2.0})


@pytest.fixture
def predictions() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    predicted = rng.normal(5.0, 2.0, 400)
    values = {"assay": MARKUP, "predicted": predicted, "measured": predicted + rng.normal(size=400)}
    return pd.DataFrame(values | {"lower": predicted - norm.ppf(0.95), "upper": predicted + norm.ppf(0.95)})


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def panel_titles(ax: Axes) -> list[str]:
    return [panel.get_title(loc="left") for panel in ax.child_axes if isinstance(panel, Axes)]


def test_network_names_every_linked_node_once_and_counts_the_others(graph: Graph) -> None:
    shown = texts(plots.network(graph))
    assert {"GENE", "A", "A:B", MARKUP.replace("$", r"\$")} <= set(shown)
    assert "a pathway with a name that is\nlonger than one line" in shown
    assert "alone" not in shown
    assert "not drawn: 1 nodes" in shown[-1]
    assert "alone" in texts(plots.network(graph, everything=True))


def test_network_colours_by_the_learned_value_and_leaves_the_others_hollow(graph: Graph) -> None:
    values = {"molecule": pd.DataFrame({"copies": [10.0, 1e5]}, index=["A", MARKUP])}
    ax = plots.network(graph, values)
    coloured = [c.get_array() for c in ax.collections if c.get_array() is not None]
    assert [sorted(array) for array in coloured if array is not None] == [[10.0, 1e5]]
    assert [text for text in texts(ax) if "copies" in text] == ["copies\n10 to 1e+05"]


def test_network_takes_anything_that_has_a_graph_and_values(graph: Graph) -> None:
    class Fit:
        @property
        def graph(self) -> Graph:
            return graph

        def node_values(self) -> dict[str, pd.DataFrame]:
            return {"complex": pd.DataFrame({"g": [-9.0]}, index=["A:B"])}

    assert "g\n−9 to −9" in texts(plots.network(Fit()))


def test_energies_stand_at_their_value_with_the_most_stable_on_top() -> None:
    table = pd.DataFrame({"complex": ["weak", "strong"], "g_kcal_per_mol": [-5.0, -12.0]})
    ax = plots.energies(table.assign(evidence=["measured", "obligate"]))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["weak", "strong"]
    lines = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in ax.lines]
    points = {(float(a), float(b)) for x, y in lines for a, b in zip(x, y, strict=True)}
    assert points == {(-5.0, 0.0), (-12.0, 1.0)}


def test_energies_draw_90_percent_intervals_before_and_after() -> None:
    table = pd.DataFrame({"complex": ["C"], "g_kcal_per_mol": [-5.0], "lower": [-6.0], "upper": [-4.5]})
    ax = plots.energies(table.assign(prior_mean=-8.0, prior_sd=3.0))
    before, after = [c.get_segments()[0][:, 0] for c in ax.collections]  # type: ignore[attr-defined]
    np.testing.assert_allclose(before, norm.interval(0.9, -8.0, 3.0))
    np.testing.assert_allclose(after, [-6.0, -4.5])


def test_calibration_counts_what_is_inside_its_interval(predictions: pd.DataFrame) -> None:
    inside = fraction_inside(predictions)
    assert inside == pytest.approx(0.9, abs=3 * np.sqrt(0.9 * 0.1 / 400))  # three standard errors
    title = panel_titles(plots.calibration(predictions))[0]
    assert title == f"{MARKUP[:33]}…\n{inside:.0%} of 400 inside"


def test_calibration_leaves_censored_measurements_out() -> None:
    values = {"assay": "a", "measured": [1.0, 9.0], "predicted": 1.0, "lower": 0.0, "upper": 2.0}
    table = pd.DataFrame(values | {"censoring": [0, 1]})
    assert panel_titles(plots.calibration(table)) == ["a\n100% of 1 inside"]


def test_calibration_without_intervals_says_so(predictions: pd.DataFrame) -> None:
    shown = plots.calibration(predictions.assign(assay="a").drop(columns=["lower", "upper"]))
    assert panel_titles(shown) == ["a\n400 measurements, no intervals"]


def test_controls_are_errors_on_touched_entries_with_the_fit_first(heldout: pd.DataFrame) -> None:
    rewirings = pd.DataFrame({"rmse_touched": [0.5, 1.5, 2.0, 2.5]})
    ax = plots.controls(heldout, rewirings)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "with the graph",
        "mean",
        "4 rewired graphs",
    ]
    assert [text for text in texts(ax) if text] == ["1.00", "3.00"]  # errors of touched entries only
    assert ax.get_title(loc="left") == "beats 3 of 4 rewired graphs"
    drawn = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections[1:]])
    assert sorted(drawn[:, 0]) == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]  # rewired graphs and models


def test_ends_of_intervals_are_no_models(heldout: pd.DataFrame) -> None:
    assert models(heldout) == ["fitted", "mean"]


def test_controls_without_any_row_are_an_error(heldout: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="nothing was held out"):
        plots.controls(heldout.iloc[:0])


def test_profile_draws_the_threshold_of_90_percent_and_the_prior() -> None:
    value = np.linspace(-3, 3, 31)
    table = pd.DataFrame(
        {"parameterId": "$k", "value": value, "rise": value**2 / 2, "prior_rise": value**2 / 8}
    )
    ax = plots.profile(table)
    posterior, prior, threshold = ax.lines
    np.testing.assert_allclose(np.asarray(posterior.get_ydata()), value**2 / 2)
    np.testing.assert_allclose(np.asarray(prior.get_ydata()), value**2 / 8)
    np.testing.assert_allclose(np.asarray(threshold.get_ydata()), norm.ppf(0.95) ** 2 / 2)  # chi2(1) = z²
    assert pytest.approx(1.3528, abs=1e-4) == RISE
    assert ax.get_title(loc="left") == r"\$k"


def test_profile_of_an_unknown_parameter_names_the_known_ones() -> None:
    table = pd.DataFrame({"parameterId": ["a", "b"], "value": 0.0, "rise": 0.0})
    with pytest.raises(DataError, match="Known: `a`, `b`"):
        plots.profile(table)


def test_waterfall_rises_from_zero_and_counts_failures() -> None:
    ax = plots.waterfall([12.0, 10.0, np.nan, 10.5])
    np.testing.assert_allclose(np.asarray(ax.lines[0].get_ydata()), [0.0, 0.5, 2.0])
    assert ax.get_title(loc="left") == "best 10.00; 1 of 4 starts failed"


def test_waterfall_names_every_reason_of_stopping_with_its_count() -> None:
    table = pd.DataFrame({"loss": [-1.0, 3.0, -0.5], "reason": ["flat", "$limit$", "flat"]})
    ax = plots.waterfall(table)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["flat (2)", r"\$limit\$ (1)"]
    assert ax.get_title(loc="left") == "best −1.00"


@pytest.mark.parametrize(
    "draw", [plots.energies, plots.calibration, plots.controls, plots.profile, plots.waterfall]
)
def test_a_missing_column_is_named(draw) -> None:
    with pytest.raises(DataError, match="`table` has no column"):
        draw(pd.DataFrame({"complexes": ["C"]}))


def test_no_finite_loss_is_an_error() -> None:
    with pytest.raises(DataError, match="no finite value"):
        plots.waterfall([np.nan])


def test_plots_draw_on_given_axes_and_open_no_figure(graph, heldout, predictions) -> None:
    _, axes = plt.subplots(1, 4)
    assert plots.network(graph, ax=axes[0]) is axes[0]
    assert plots.calibration(predictions, ax=axes[1]) is axes[1]
    assert plots.controls(heldout, ax=axes[2]) is axes[2]
    assert plots.waterfall([1.0], ax=axes[3]) is axes[3]
    assert len(plt.get_fignums()) == 1


def test_a_matrix_keeps_its_names_and_leaves_missing_cells_empty() -> None:
    ax = heat(pd.DataFrame({"x": [0.1, np.nan], "$y$": [0.3, 0.4]}, index=["a", MARKUP]), "fraction")
    values = ax.collections[0].get_array()
    assert values is not None and np.ma.getmaskarray(np.asanyarray(values)).sum() == 1
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", r"\$y\$"]


def test_information_is_drawn_once_per_parameter() -> None:
    table = pd.DataFrame({"role": ["energy", "energy", "loss"], "informationNats": [0.0, 1.0, 2.0]})
    drawn = np.concatenate([np.asarray(c.get_offsets()) for c in informed(table).collections])
    assert sorted(drawn[:, 0]) == [0.0, 1.0, 2.0]
