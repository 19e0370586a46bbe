"""The code blocks of README.md and docs/ run as they stand; what is stated in several files agrees."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from multiscale.version import __version__

ROOT = Path(__file__).parents[1]
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if path.exists()]
BLOCK = re.compile(r"(?P<slow><!-- slow -->\s*)?^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")


def blocks(page: Path) -> list[tuple[int, str, bool]]:
    """Line, code and slowness of every Python block of a page."""
    text = page.read_text(encoding="utf-8")
    found = BLOCK.finditer(text)
    return [(text.count("\n", 0, m.start("code")), m["code"], m["slow"] is not None) for m in found]


def run(page: Path, slow: bool) -> None:
    """Run the blocks of a page in one namespace; tracebacks point to the page's own lines."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, code, is_slow in blocks(page):
        if slow or not is_slow:
            exec(compile("\n" * line + code, str(page), "exec"), namespace)


SLOW_PAGES = [page for page in PAGES if any(is_slow for _, _, is_slow in blocks(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(page, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW_PAGES or PAGES[:1], ids=lambda page: page.name)
def test_all_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(page, slow=True)


def test_blocks_are_found_with_their_line_and_their_mark(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```python\na = 1\n```\n\n<!-- slow -->\n```python\nb = 2\n```\n\n```sh\nls\n```\n"
    )
    assert blocks(page) == [(3, "a = 1\n", False), (8, "b = 2\n", True)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_version_is_the_same_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation
    assert re.findall(r"^## (.*)$", changelog, re.MULTILINE)[0] == __version__
