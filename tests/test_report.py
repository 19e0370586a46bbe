"""Pictures say what the tables say; the page holds everything, and nothing in it can run."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from multiscale.errors import DataError
from multiscale.graph import Graph
from multiscale.report import html, plots

MARKUP = "<script>alert(1)</script>&$x_1$"


@pytest.fixture
def graph() -> Graph:
    molecules = {"name": ["g", "A", MARKUP, "alone"], "identifier": ["GENE", "A", "B", "C"]}
    return Graph.from_tables(
        "small",
        {
            "molecule": pd.DataFrame(molecules),
            "complex": pd.DataFrame({"name": ["A:B"]}),
            "pathway": pd.DataFrame({"name": ["a pathway with a name that is longer than one line"]}),
        },
        {
            "encodes": pd.DataFrame({"source": ["g"], "target": ["A"]}),
            "subunit": pd.DataFrame({"source": ["A", MARKUP], "target": ["A:B", "A:B"]}),
            "member": pd.DataFrame(
                {
                    "source": ["A:B"],
                    "target": ["a pathway with a name that is longer than one line"],
                    "sign": [-1],
                }
            ),
        },
    )


@pytest.fixture
def heldout() -> pd.DataFrame:
    measured = np.array([1.0, 2.0, 3.0, 4.0])
    columns = {"fold": 0, "context": "c", "molecule": MARKUP, "id": "e1", "measured": measured}
    touched = {"touched_by_graph": [True, True, False, False]}
    models = {"fitted": measured + 1.0, "mean": measured + np.array([3.0, 3.0, 0.0, 0.0])}
    return pd.DataFrame(columns | touched | models)


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_network_names_every_linked_node_once_and_counts_the_others(graph) -> None:
    shown = texts(plots.network(graph))
    assert {"GENE", "A", "A:B", MARKUP.replace("$", r"\$")} <= set(shown)
    assert "a pathway with a name that is\nlonger than one line" in shown
    assert "alone" not in shown
    assert "not drawn: 1 nodes" in shown[-1]
    assert "alone" in texts(plots.network(graph, everything=True))


def test_network_colours_by_the_learned_value_and_leaves_the_others_hollow(graph) -> None:
    values = {"molecule": pd.DataFrame({"copies": [10.0, 1e5]}, index=["A", MARKUP])}
    ax = plots.network(graph, values)
    coloured = [c.get_array() for c in ax.collections if c.get_array() is not None]
    assert [sorted(array) for array in coloured if array is not None] == [[10.0, 1e5]]
    assert [text for text in texts(ax) if "copies" in text] == ["copies\n10 to 1e+05"]


def test_network_takes_anything_that_has_a_graph_and_values(graph) -> None:
    class Fit:
        @property
        def graph(self) -> Graph:
            return graph

        def node_values(self) -> dict[str, pd.DataFrame]:
            return {"complex": pd.DataFrame({"g": [-9.0]}, index=["A:B"])}

    assert "g\n−9 to −9" in texts(plots.network(Fit()))


def test_energies_stand_at_their_value_with_the_most_stable_on_top() -> None:
    table = pd.DataFrame({"complex": ["weak", "strong"], "g_kcal_per_mol": [-5.0, -12.0]})
    ax = plots.energies(
        table.assign(prior_mean=-8.0, prior_sd=3.0, sd=0.1, evidence=["measured", "obligate"])
    )
    assert [label.get_text() for label in ax.get_yticklabels()] == ["weak", "strong"]
    lines = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in ax.lines]
    points = {(float(a), float(b)) for x, y in lines for a, b in zip(x, y, strict=True)}
    assert points == {(-5.0, 0.0), (-12.0, 1.0)}


def test_heldout_draws_one_panel_per_model_with_its_error(heldout) -> None:
    panels = plots.heldout(heldout).child_axes
    titles = [panel.get_title(loc="left") for panel in panels if isinstance(panel, Axes)]
    assert titles[0] == "fitted\nRMSE 1.00, 1.00 where the graph touches"
    assert titles[1] == "mean\nRMSE 2.12, 3.00 where the graph touches"  # sqrt(18 / 4)


def test_errors_are_root_mean_squares_of_all_and_of_touched_entries(heldout) -> None:
    every, touched = plots.errors(heldout).lines
    np.testing.assert_allclose(np.asarray(every.get_xdata()), [1.0, np.sqrt(4.5)])
    np.testing.assert_allclose(np.asarray(touched.get_xdata()), [1.0, 3.0])


def test_waterfall_rises_from_zero_and_counts_failures() -> None:
    ax = plots.waterfall([12.0, 10.0, np.nan, 10.5])
    np.testing.assert_allclose(np.asarray(ax.lines[0].get_ydata()), [0.0, 0.5, 2.0])
    assert ax.get_title(loc="left") == "best 10.00; 1 of 4 starts failed"


@pytest.mark.parametrize("draw", [plots.energies, plots.heldout, plots.errors])
def test_a_missing_column_is_named(draw) -> None:
    with pytest.raises(DataError, match="`table` has no column"):
        draw(pd.DataFrame({"complexes": ["C"]}))


def test_no_finite_loss_is_an_error() -> None:
    with pytest.raises(DataError, match="no finite value"):
        plots.waterfall([np.nan])


def test_plots_draw_on_given_axes_and_open_no_figure(graph, heldout) -> None:
    _, axes = plt.subplots(1, 4)
    assert plots.network(graph, ax=axes[0]) is axes[0]
    assert plots.heldout(heldout, ax=axes[1]) is axes[1]
    assert plots.errors(heldout, ax=axes[2]) is axes[2]
    assert plots.waterfall([1.0], ax=axes[3]) is axes[3]
    assert len(plt.get_fignums()) == 1


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser sees them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(graph, heldout, tmp_path: Path) -> Page:
    html.write_page(
        tmp_path / "report.html",
        title=MARKUP,
        headline=f"The graph does not help: {MARKUP}",
        paragraphs=[f"`{MARKUP}` and more"],
        figures=[(MARKUP, plots.network(graph).figure), ("errors", plots.errors(heldout).figure)],
        tables=[(MARKUP, heldout.assign(gap=[np.nan, -1.23456, 1e-9, 2.0]))],
        footer={MARKUP: {"seed": 1, "name": MARKUP}},
    )
    return Page(tmp_path / "report.html")


def test_markup_in_names_is_shown_and_never_becomes_markup(page: Page) -> None:
    assert {"script", "iframe", "object", "link"}.isdisjoint(page.tags)
    assert page.text.count("<script>alert(1)</script>") == 14
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_the_page_loads_nothing_from_elsewhere(page: Page) -> None:
    targets = [
        value or "" for name, value in page.attributes if name in ("src", "href", "xlink:href", "action")
    ]
    assert targets
    assert all(target.startswith(("#", "data:image/png")) for target in targets)
    policies = [value or "" for name, value in page.attributes if name == "content"]
    assert any("default-src 'none'" in policy for policy in policies)


def test_ids_are_unique_and_every_reference_leads_to_one(page: Page) -> None:
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = [v or "" for n, v in page.attributes if n in ("href", "xlink:href") and (v or "").startswith("#")]
    used += [found for _, value in page.attributes for found in re.findall(r"url\((#[^)]*)\)", value or "")]
    assert {target.removeprefix("#") for target in used} <= {str(item) for item in ids}


def test_the_headline_is_the_first_heading_and_numbers_are_short(page: Page) -> None:
    assert page.tags.index("h1") < page.tags.index("figure")
    for shown in ("The graph does not help", "−1.235", "1e−09", "–", "yes", "no", "seed"):
        assert shown in page.text


def test_figures_of_a_page_are_closed(page: Page) -> None:
    assert plt.get_fignums() == []


def test_the_same_content_gives_the_same_page(tmp_path: Path) -> None:
    for name in ("a", "b"):
        figures = [("losses", plots.waterfall([3.0, 1.0, 2.0]).figure)]
        html.write_page(tmp_path / name, title="t", headline="h", figures=figures)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
