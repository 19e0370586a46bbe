"""A browser opens the page: nothing complains, the network answers, nothing is wider than a phone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
import report_findings
from browser import Browser
from report_findings import MARKUP

from multiscale.report import page

FIND = """
(() => {
  const input = document.querySelector("#network-search");
  input.value = %s;
  input.dispatchEvent(new Event("change"));
  return document.querySelector("#network-details h3")?.textContent ?? "";
})()
"""

PLACE = """
(() => {
  document.querySelector(".stage").scrollIntoView({ behavior: "instant", block: "center" });
  const view = [...Bokeh.index][0] ?? Object.values(Bokeh.index)[0];
  const nodes = view.model.renderers.map((r) => r.data_source).find((source) => source.name === "nodes");
  const box = document.querySelector("#network-canvas").getBoundingClientRect();
  const i = nodes.data.tip.findIndex((tip) => tip.startsWith("A:B"));
  const { x_scale, y_scale } = view.frame;
  return [box.x + x_scale.compute(nodes.data.x[i]), box.y + y_scale.compute(nodes.data.y[i])];
})()
"""

COLOUR = """
(() => {
  const choice = document.querySelector("#network-colour");
  choice.selectedIndex = 1;
  choice.dispatchEvent(new Event("change"));
})()
"""

TOOLTIP = """
new Promise((done) => setTimeout(() => {
  const roots = (root) => [...root.querySelectorAll("*")].flatMap((e) =>
    e.shadowRoot ? [e.shadowRoot, ...roots(e.shadowRoot)] : []);
  const texts = () => roots(document).map((root) => root.textContent);
  done(texts().some((text) => text.includes("g, kcal/mol: −9 (90 %: −9.5 to −8.25)")));
}, 250))
"""

ROWS = """
(async () => {
  const sheet = document.querySelector('[data-name="predictions.tsv"]');
  sheet.querySelector(".all").click();
  await new Promise((done) => setTimeout(done, 300));
  return sheet.querySelectorAll("tbody tr").length;
})()
"""

FOUND = """
(async () => {
  const sheet = document.querySelector('[data-name="predictions.tsv"]'), find = sheet.querySelector(".find");
  find.value = " 13.5";  // the lower end of one row and the upper end of another
  find.dispatchEvent(new Event("input"));
  await new Promise((done) => setTimeout(done, 300));
  return [...sheet.querySelectorAll("tbody tr")].map((row) => row.textContent).join("|");
})()
"""


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    program = browser.find()
    if program is None:
        pytest.skip("no chromium or chrome is installed, so no browser can open the page")
    with contextlib.closing(Browser(program)) as opened:
        yield opened


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    page.write(report_findings.findings(), path)
    return path


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_page_opens_without_complaint_and_draws(
    window, path, width: int, height: int, dark: bool
) -> None:
    window.open(path, width, height, dark)
    assert window.complaints() == []
    assert (
        window.evaluate("document.querySelector('#network-canvas').dataset.drawn") == "5"
    )  # not the lone one
    assert window.evaluate("document.documentElement.scrollWidth") == width


def test_the_network_answers_to_search_filter_colour_and_mouse(window, path) -> None:
    window.open(path, 1280, 800)
    x, y = window.evaluate(PLACE)
    for step in (-30, -10, 0):
        window.mouse("mouseMoved", x + step, y)
    assert window.evaluate(TOOLTIP)
    assert window.evaluate(FIND % '"a:b"') == "A:B"
    assert window.evaluate(FIND % repr(MARKUP[:20]).replace("'", '"')) == MARKUP
    drawn = "document.querySelector('#network-canvas').dataset.drawn"
    window.evaluate("document.querySelector('#network-tools fieldset input').click()")
    assert window.evaluate(drawn) == "4"
    legend = "document.querySelector('#network-middle').textContent"
    before = window.evaluate(legend)
    window.evaluate(COLOUR)
    assert window.evaluate(legend) != before
    assert window.complaints() == []


def test_all_rows_of_a_table_appear_when_asked_for(window, path) -> None:
    window.open(path, 1280, 800)
    assert window.evaluate(ROWS) == 40


def test_rows_of_a_table_are_found_by_a_text(window, path) -> None:
    window.open(path, 1280, 800)
    found = window.evaluate(FOUND).split("|")
    assert len(found) == 2 and all("13.5" in row for row in found)


def test_what_is_injected_into_the_page_does_not_run(window, path) -> None:
    window.open(path, 1280, 800)
    window.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    assert window.evaluate("new Promise((done) => setTimeout(() => done(window.ran ?? 0), 200))") == 0
