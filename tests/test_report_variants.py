"""Pictures and pages of fits of readings say what their tables say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection, QuadMesh
from report_findings import MARKUP, graph
from test_report import Page

from multiscale.errors import DataError
from multiscale.formats.exchange import Network
from multiscale.report import page, plots
from multiscale.report.findings import Findings
from multiscale.report.molecular_words import headline, sentences
from multiscale.report.scores import score
from multiscale.report.tables import MOST_ROWS
from multiscale.report.variants import families


def energies(labels: dict[str, float], term: str = "fold", **more: object) -> pd.DataFrame:
    """Energies of an encoder, with intervals of ±0.5 kcal/mol."""
    value = np.array(list(labels.values()))
    columns = {"encoder": "mutations", "family": "single", "term": term, "label": list(labels)}
    ends = {"estimate": value, "sd": 0.3, "lower": value - 0.5, "upper": value + 0.5}
    return pd.DataFrame(columns | ends | {"determinedBy": "data", "note": ""} | more)


@pytest.fixture(name="scan", scope="module")
def _scan() -> pd.DataFrame:
    """Positions 24 (A) and 26 (C); nothing was read at 25; one energy is open."""
    given = {"A24G": 1.0, "A24C": -2.0, "C26A": 0.5, "C26G": 3.0}
    return energies(given, determinedBy=["data", "both", "prior", "data"])


@pytest.fixture(name="predictions", scope="module")
def _predictions() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    split = np.array(["training"] * 400 + ["test"] * 40)
    fitted = rng.normal(size=440)
    observed = fitted + rng.normal(0, 0.3, 440)
    ends = {"lower": fitted - 0.5, "upper": fitted + 0.5}
    return pd.DataFrame(
        {"readings": "binding", "split": split, "observed": observed, "predicted": fitted} | ends
    )


def calibration() -> pd.DataFrame:
    """Two instruments: one read along fractions, one over four decades."""
    state = np.concatenate([np.linspace(0.1, 0.9, 9), np.geomspace(1e-4, 1.0, 9)])
    names = ["abundance"] * 9 + ["binding"] * 9
    measured = {"expected": 2 * state, "observed_mean": 2 * state + 0.1, "observed_sd": 0.2, "n": 10}
    return pd.DataFrame({"readings": names, "readout": state} | measured)


def metrics() -> pd.DataFrame:
    scores = {"n": [400, 40], "r2": [0.95, 0.93], "determination": 0.9, "spearman": 0.9, "rmse": 0.3}
    return pd.DataFrame(
        {"readings": "binding", "split": ["training", "test"]} | scores | {"coverage_90": [0.9, 0.85]}
    )


def mesh(ax: Axes) -> np.ma.MaskedArray:
    """Energies of the coloured cells, (letter, position), masked elsewhere."""
    (found,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    values = found.get_array()
    assert values is not None
    return np.ma.masked_array(values)


def marks(ax: Axes, label: str) -> set[tuple[float, float]]:
    """Position and letter of cells with a mark."""
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return set(zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True))


def panel(ax: Axes, number: int = 0) -> Axes:
    found = ax.child_axes[number]
    assert isinstance(found, Axes)
    return found


def test_heat_map_puts_every_energy_at_its_position_and_letter(scan: pd.DataFrame) -> None:
    ax = plots.mutations(scan)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["A", "C", "G"]
    drawn = {(int(x), int(y)): v for (y, x), v in np.ndenumerate(mesh(ax).filled(np.nan)) if np.isfinite(v)}
    assert drawn == {(0, 2): 1.0, (0, 1): -2.0, (2, 2): 3.0}
    assert [t.get_text() for t in ax.get_xticklabels()] == ["24"]


def test_heat_map_hatches_what_is_not_determined_and_dots_the_wild_type(scan: pd.DataFrame) -> None:
    ax = plots.mutations(scan)
    (hatched,) = [c for c in ax.collections if isinstance(c, PolyCollection) and c.get_hatch()]
    (cell,) = hatched.get_paths()
    assert cell.get_extents().bounds == (1.5, -0.5, 1.0, 1.0)  # C26A
    assert marks(ax, "wild type") == {(0.0, 0.0), (2.0, 1.0)}
    assert marks(ax, "not read") == {(1.0, 0.0), (1.0, 1.0), (1.0, 2.0)}  # position 25


def test_energies_that_only_a_combination_determines_are_hatched(scan: pd.DataFrame) -> None:
    tied = scan.assign(combination=["fold + bind", "", "", np.nan])
    assert mesh(plots.mutations(tied)).count() == 2  # A24C and C26G


def test_colours_are_centred_at_zero_and_say_their_unit(scan: pd.DataFrame) -> None:
    ax = plots.mutations(scan)
    (found,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    low, high = found.get_clim()
    assert low == -high == pytest.approx(-np.quantile([1.0, 2.0, 3.0], 0.98))
    colorbar = found.colorbar
    assert colorbar is not None
    assert colorbar.ax.get_ylabel() == "ΔΔG of fold, kcal/mol" and colorbar.extend == "max"


def test_heat_map_without_wild_type_has_no_dots() -> None:
    ax = plots.mutations(energies({"-2A": 0.1, "-2C": -0.1, "-1A": 0.3}))
    assert marks(ax, "wild type") == set()
    np.testing.assert_allclose(mesh(ax).filled(np.nan), [[0.1, 0.3], [-0.1, np.nan]])


def test_residues_are_sorted_by_the_class_of_their_side_chain() -> None:
    ax = plots.mutations(energies({f"A1{letter}": 1.0 for letter in "CDEFGHIKLMNPQRSTVWY"}))
    order = "".join(t.get_text() for t in ax.get_yticklabels())
    assert order.index("D") + 1 == order.index("E") and order.index("K") + 1 == order.index("R")
    assert len(order) == 20


def test_heat_map_of_several_terms_must_be_told_which(scan: pd.DataFrame) -> None:
    both = pd.concat([scan, scan.assign(term="bind", estimate=7.0)])
    with pytest.raises(DataError, match="term `fold`; encoder `mutations`, term `bind`"):
        plots.mutations(both)
    assert mesh(plots.mutations(both, "bind")).max() == 7.0
    with pytest.raises(DataError, match=r"`bund` has no single mutations.*`bind`"):
        plots.mutations(both, "bund")


def test_pairs_and_drugs_are_no_single_mutations(scan: pd.DataFrame) -> None:
    others = energies({"A24G:C26A": 1.0}, family="pair"), energies({"imatinib": 1.0}, encoder="drug")
    assert families(pd.concat([scan, *others])) == [("mutations", "single", "fold")]
    with pytest.raises(DataError, match="no energies of single mutations"):
        plots.mutations(pd.concat(others))


def test_widths_count_every_energy_by_what_determines_it(scan: pd.DataFrame) -> None:
    ax = panel(plots.widths(scan))
    assert ax.get_title(loc="left").endswith("2 of 4 determined by the data")
    heights = [sum(bar.get_height() for bar in bars) for bars in ax.containers]  # type: ignore[attr-defined]
    assert heights == [2, 1, 1]


def test_readout_draws_calibration_and_bins_and_takes_decades_as_factors() -> None:
    ax = plots.readout(calibration())
    assert [panel(ax, k).get_xscale() for k in (0, 1)] == ["linear", "log"]
    expected = panel(ax).lines[0]
    np.testing.assert_allclose(np.asarray(expected.get_ydata()), 2 * np.linspace(0.1, 0.9, 9))
    (dots,) = [c for c in panel(ax).collections if isinstance(c, PathCollection)]
    np.testing.assert_allclose(np.asarray(dots.get_offsets())[:, 1], 2 * np.linspace(0.1, 0.9, 9) + 0.1)
    assert panel(ax).get_title(loc="left") == "abundance\n90 rows"


def test_predicted_counts_many_points_in_hexagons_and_draws_few(predictions: pd.DataFrame) -> None:
    ax = plots.predicted(predictions)
    (hexagons,) = [c for c in panel(ax, 0).collections if isinstance(c, PolyCollection)]
    counts = hexagons.get_array()
    assert counts is not None and counts.sum() == 400
    (dots,) = [c for c in panel(ax, 1).collections if isinstance(c, PathCollection)]
    assert len(np.asarray(dots.get_offsets())) == 40


def test_scores_in_the_corner_are_those_of_all_rows_if_stated(predictions: pd.DataFrame) -> None:
    test = predictions[predictions["split"] == "test"]
    own, stated = plots.predicted(test), plots.predicted(test, metrics())
    r2 = np.corrcoef(test["observed"], test["predicted"])[0, 1] ** 2
    assert panel(own).texts[0].get_text().startswith(f"R² = {r2:.3f}\nn = 40\n90 % intervals hold")
    assert panel(stated).texts[0].get_text() == "R² = 0.930\nn = 40\n90 % intervals hold 85 %"


def test_rows_without_split_are_one_panel_with_their_unit(predictions: pd.DataFrame) -> None:
    ax = plots.predicted(predictions.drop(columns="split").assign(unit="nM"), metrics().drop(columns="split"))
    assert len(ax.child_axes) == 1
    assert panel(ax).get_xlabel() == "measured, nM" and panel(ax).get_title(loc="left") == "binding"


def test_bounds_are_not_drawn_and_do_not_count(predictions: pd.DataFrame) -> None:
    test = predictions[predictions["split"] == "test"].copy()
    test.iloc[:10, test.columns.get_loc("observed")] = np.nan  # type: ignore[index]
    assert "n = 30" in panel(plots.predicted(test)).texts[0].get_text()
    with pytest.raises(DataError, match="no row with a measured"):
        plots.predicted(test.iloc[:10])


def test_rows_that_do_not_vary_have_no_correlation() -> None:
    assert np.isnan(score(pd.DataFrame({"observed": [1.0, 1.0], "predicted": [1.0, 2.0]}))["r2"])


def tables(scan: pd.DataFrame, predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables of a fit of readings, with a name that tries to break out."""
    odd = energies({MARKUP: 9.0}, encoder=MARKUP, family=MARKUP, term=MARKUP)
    return {
        "energies": pd.concat([scan, odd], ignore_index=True),
        "readings": predictions.assign(variant=MARKUP),
        "metrics": metrics(),
        "calibration": calibration().assign(quantity=MARKUP),
        "parameters": pd.DataFrame({"parameterId": ["fold"], "nominalValue": -2.0, "role": "energy"}),
        "undetermined": pd.DataFrame({"parameterId": ["C26A"], "sentence": "only the prior says something"}),
    }


def findings(tables: dict[str, pd.DataFrame]) -> Findings:
    said = headline(tables), sentences(tables), ["`C26A` is not determined."]
    return Findings("scan", "Which mutations?", *said, Network(graph(), {}), tables, {"seed": 1})


@pytest.fixture(name="shown", scope="module")
def _shown(scan: pd.DataFrame, predictions: pd.DataFrame, tmp_path_factory) -> Page:
    path = tmp_path_factory.mktemp("report") / "report.html"
    page.write(findings(tables(scan, predictions)), path)
    return Page(path)


def test_page_of_a_scan_has_its_sections_in_order_and_loads_nothing(shown: Page) -> None:
    targets = [value for value in shown.all("href") if value.startswith("#") and "-" not in value]
    wanted = ["#scores", "#mutations", "#readouts", "#parameters", "#undetermined", "#about"]
    assert [target for target in targets if target in wanted] == wanted
    outside = [value for name in ("src", "href", "xlink:href") for value in shown.all(name)]
    assert all(value.startswith(("#", "data:image/png")) for value in outside)
    assert {"img", "iframe", "link"}.isdisjoint(tag for tag, _ in shown.tags)


def test_first_screen_of_a_scan_says_scores_and_what_is_determined(shown: Page) -> None:
    assert "Held-out rows are predicted with R² 0.93 (binding test)." in shown.text
    assert "The data determine 3 of 5 energies" in shown.text
    assert "Rows that were not fitted: predicted against measured." in shown.text
    assert "cannot say whether the graph matters" not in shown.text


def test_first_picture_is_of_the_rows_that_a_run_judged(
    scan: pd.DataFrame, predictions: pd.DataFrame
) -> None:
    known = tables(scan, predictions.assign(split=np.where(predictions["split"] == "test", "2", "0, 1")))
    judged = pd.DataFrame({"split": [2], "observed": 0.0, "predicted": 0.0})
    text = page.render(findings(known | {"predictions_binding": judged}))
    assert "Rows that were not fitted: predicted against measured." in text
    drawn = text[text.index('class="found-figure"') : text.index("</header>")]
    assert "binding 2" in drawn and "binding 0, 1" not in drawn


def test_tables_of_a_scan_are_whole_and_have_a_search(shown: Page, predictions: pd.DataFrame) -> None:
    found = shown.sheet("readings.tsv").drop(columns="variant")
    pd.testing.assert_frame_equal(found, predictions, check_dtype=False)
    assert list(shown.sheet("energies.tsv")["label"])[:4] == ["A24G", "A24C", "C26A", "C26G"]
    assert shown.all("placeholder").count("Find rows") == 1  # of predictions, the one long table


@pytest.mark.parametrize("missing", ["energies", "readings", "calibration"])
def test_any_table_of_a_scan_may_be_missing(
    missing: str, scan: pd.DataFrame, predictions: pd.DataFrame
) -> None:
    rest = {name: table for name, table in tables(scan, predictions).items() if name != missing}
    assert f'data-name="{missing}.tsv"' not in page.render(findings(rest))


def test_of_too_many_energies_the_page_holds_the_surest(
    scan: pd.DataFrame, predictions: pd.DataFrame
) -> None:
    many = energies({f"pair {k}": float(k) for k in range(MOST_ROWS + 5)}, family="pair")
    text = page.render(findings(tables(scan, predictions) | {"energies": many}))
    assert "20,005 energies" in text and "here the 20,000 surest" in text
    assert "<td" in text and ">pair 4<" not in text and ">pair 5<" in text


def test_sentences_name_the_largest_changes_and_the_coverage(
    scan: pd.DataFrame, predictions: pd.DataFrame
) -> None:
    said = sentences({"energies": scan, "metrics": metrics()})
    assert said[0] == (
        "Largest changes of `fold`, kcal/mol (90 % interval): `C26G` +3.00 (+2.50 to +3.50); "
        "`A24G` +1.00 (+0.50 to +1.50)."
    )
    assert said[1] == "90 % intervals of single measurements hold 85 % of 40 in `binding` test."


def test_headline_without_held_out_rows_says_so() -> None:
    said = headline({"metrics": metrics().head(1)})
    assert said.startswith("Fitted rows are met with R² 0.95 (`binding` training): nothing was held out")
