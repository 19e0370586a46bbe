"""The page holds everything, loads nothing, and runs nothing that comes from data."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import report_findings
from report_findings import MARKUP

from multiscale.errors import OutputError
from multiscale.report import page
from multiscale.report.learned import quantities
from multiscale.report.tables import ROWS, number


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser sees them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.scripts: list[tuple[dict[str, str], str]] = []
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        self._inside = tag
        if tag == "script":
            self.scripts.append((attributes, ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, before = self.scripts.pop()
            self.scripts.append((attributes, before + data))
        elif self._inside != "style":
            self.text += data

    def all(self, name: str) -> list[str]:
        """Values of an attribute, in the order of the page."""
        return [attributes[name] for _, attributes in self.tags if name in attributes]

    def sheet(self, name: str) -> pd.DataFrame:
        """The table that a reader downloads under a name."""
        packed = [text for attributes, text in self.scripts if attributes.get("class") == "rows"]
        text = zlib.decompress(base64.b64decode(packed[self.all("data-name").index(name)])).decode("utf-8")
        return pd.read_csv(io.StringIO(text), sep="\t", float_precision="round_trip", keep_default_na=True)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Page:
    path = tmp_path_factory.mktemp("report") / "report.html"
    page.write(report_findings.findings(), path)
    return Page(path)


def test_markup_in_names_is_shown_and_never_becomes_markup(shown: Page) -> None:
    assert {"iframe", "object", "link", "b"}.isdisjoint(tag for tag, _ in shown.tags)
    assert not [name for _, attributes in shown.tags for name in attributes if name.startswith("on")]
    whole = shown.text.replace("−", "-")
    assert whole.count("</script><script>alert(1)</script>") >= 30
    assert not [text for _, text in shown.scripts if text.startswith("alert")]


def test_the_first_screen_says_what_was_asked_and_found(shown: Page) -> None:
    order = [
        shown.text.index(words) for words in ("Is </script>", "The graph helps.", "Because of", "was learned")
    ]
    assert order == sorted(order)
    tags = [tag for tag, _ in shown.tags]
    assert tags.index("h1") < tags.index("figure") < tags.index("main")
    assert "beats 2 of 3 rewired graphs" in shown.text
    assert "with the graph" in shown.text and "RMSE, ln copies" in shown.text


def test_the_page_loads_nothing_from_elsewhere(shown: Page) -> None:
    targets = [value for name in ("src", "href", "xlink:href", "action") for value in shown.all(name)]
    assert targets
    assert all(target.startswith(("#", "data:image/png")) for target in targets)
    assert not re.search(r"url\((?!#)|@import", "".join(shown.all("style")))


def test_the_policy_allows_the_scripts_of_the_page_and_no_other(shown: Page) -> None:
    policy = next(value for value in shown.all("content") if "default-src" in value)
    codes = [text for attributes, text in shown.scripts if not attributes]
    hashes = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in codes]
    assert re.findall(r"sha256-([^']+)", policy) == hashes
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]


def test_ids_are_unique_and_every_reference_leads_to_one(shown: Page) -> None:
    ids = shown.all("id")
    assert len(ids) == len(set(ids))
    used = [value for name in ("href", "xlink:href") for value in shown.all(name) if value.startswith("#")]
    everything = [value for _, attributes in shown.tags for value in attributes.values()]
    used += [found for value in everything for found in re.findall(r"url\((#[^)]*)\)", value)]
    used += [f"#{value}" for name in ("aria-labelledby", "for", "list") for value in shown.all(name)]
    assert {target.removeprefix("#") for target in used} <= set(ids)


def test_headings_descend_in_order_and_figures_have_words(shown: Page) -> None:
    levels = [int(tag[1]) for tag, _ in shown.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and set(levels[1:]) == {2}
    drawn = [attributes for _, attributes in shown.tags if attributes.get("role") == "img"]
    assert drawn and all(attributes["aria-label"] for attributes in drawn)


@pytest.mark.parametrize("name", ["parameters", "predictions", "heldout", "sources", "profiles"])
def test_a_downloaded_table_is_the_whole_table(shown: Page, name: str) -> None:
    table = report_findings.tables()[name]
    found = shown.sheet(f"{name}.tsv")
    if name == "parameters":  # the page puts the most informed ones first
        table = table.sort_values("informationNats", ascending=False, ignore_index=True)
    pd.testing.assert_frame_equal(found, table, check_dtype=False)


def test_long_tables_show_their_first_rows_and_offer_the_rest(shown: Page) -> None:
    assert len(report_findings.tables()["predictions"]) > ROWS
    assert "Show all 40 rows" in shown.text
    assert "Show all 3 rows" not in shown.text


def test_the_network_to_explore_has_every_node_and_what_was_learned(shown: Page) -> None:
    content = json.loads(next(text for a, text in shown.scripts if a.get("id") == "network-content"))
    assert {node["name"] for node in content["nodes"]} == {
        *("g", "A", MARKUP, "alone", "A:B"),
        "a pathway with a name that is longer than one line",
    }
    complex_ = next(node for node in content["nodes"] if node["name"] == "A:B")
    assert ["energy g, kcal/mol", "−9", "−9.5 to −8.25"] in complex_["values"]
    assert [colour["name"] for colour in content["colours"] if "uncertainty of energy" in colour["name"]]
    assert [edge[2] for edge in content["edges"]].count(1) == 1  # the negative one is dashed


def test_bokeh_gets_no_data_and_so_no_name_from_data(shown: Page) -> None:
    item = next(text for a, text in shown.scripts if a.get("id") == "network-item")
    assert "alert" not in item and "GENE" not in item


def test_uncertainty_is_the_width_of_the_interval_and_a_ratio_for_factors() -> None:
    found = {item.name: item for item in quantities(report_findings.findings())}
    assert found["energy g, kcal/mol"].uncertainty.value["A:B"] == pytest.approx(1.25)
    table = pd.DataFrame({"Kd_uM": [1e-3, 1e3], "Kd_lower_uM": [1e-4, 1e2], "Kd_upper_uM": [1e-3, 1e5]})
    network = report_findings.findings().network
    values = {"molecule": table.set_axis(["A", MARKUP])}
    findings = dataclasses.replace(
        report_findings.findings(), network=dataclasses.replace(network, values=values)
    )
    factor = {item.name: item for item in quantities(findings)}["Kd, µM"].uncertainty
    assert dict(factor.value.dropna()) == pytest.approx({"A": 10.0, MARKUP: 1000.0})


def test_a_section_without_its_table_is_left_out_and_what_matters_is_said(tmp_path: Path) -> None:
    bare = dataclasses.replace(report_findings.findings(), tables={}, undetermined=[], sentences=[])
    page.write(bare, tmp_path / "report.html")
    shown = Page(tmp_path / "report.html")
    assert shown.all("href") == ["#network", "#about"]
    assert "cannot say whether the graph matters" in shown.text


@pytest.mark.parametrize("missing", sorted(report_findings.tables()))
def test_any_table_may_be_missing(missing: str) -> None:
    tables = {name: table for name, table in report_findings.tables().items() if name != missing}
    text = page.render(dataclasses.replace(report_findings.findings(), tables=tables))
    assert f'data-name="{missing}.tsv"' not in text


def test_parameters_without_intervals_are_shown_and_said_to_have_none() -> None:
    tables = report_findings.tables()
    tables["parameters"] = tables["parameters"][["parameterId", "nominalValue"]]
    text = page.render(dataclasses.replace(report_findings.findings(), tables=tables))
    assert "No intervals were computed" in text


def test_the_same_findings_give_the_same_page(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        page.write(report_findings.findings(), tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_figures_of_a_page_are_closed() -> None:
    page.render(report_findings.findings())
    assert plt.get_fignums() == []


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        page.write(report_findings.findings(), tmp_path / "none" / "report.html")


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0"), (-0.00012345, "−0.0001234"), (12345.6, "12350"), (float("nan"), "–"), (float("-inf"), "−∞")],
)
def test_numbers_have_four_significant_digits(value: float, words: str) -> None:
    assert number(value) == words
