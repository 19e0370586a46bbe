"""The report of a fit: one HTML file that opens offline in any browser."""

from __future__ import annotations

from html import escape
from pathlib import Path

from multiscale import atomic
from multiscale.report import canvas, html, interactive
from multiscale.report.cell_page import cells
from multiscale.report.checks import checks, primary
from multiscale.report.findings import Findings
from multiscale.report.molecular import molecular
from multiscale.report.sections import Section, learned

__all__ = ["render", "write"]

_SHORT = 110  # letters of a verdict that can be read at a glance


def write(findings: Findings, path: str | Path) -> None:
    """Write the report page, atomically: text, figures, the network to explore, all tables to download.

    The page loads nothing, and its security policy forbids it to; all text from `findings` is escaped. The
    same findings give the same bytes.

    Args:
        findings: what was found.
        path: file to write.

    Raises:
        OutputError: the folder of `path` does not exist.
    """
    page = render(findings)
    with atomic.replace(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def render(findings: Findings) -> str:
    """The page as text."""
    network = interactive.network(findings)
    sections = [
        Section("network", "The network", [network] if network else []),
        *cells(findings),
        *molecular(findings),
        *learned(findings),
        *checks(findings),
    ]
    sections = [section for section in sections if section.parts]
    codes = [*canvas.scripts(), html.resource("page.js")] if network else [html.resource("page.js")]
    body = "\n".join(
        [
            _first(findings),
            _contents(sections),
            "<main>",
            *map(_section, sections),
            "</main>",
            *map(html.script, codes),
        ]
    )
    return _PAGE.format(
        policy=html.policy(body), title=escape(findings.title), style=html.resource("page.css"), body=body
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _first(findings: Findings) -> str:
    """First screen: what was asked, what was found, how sure, and whether the graph mattered."""
    verdict, facts = _verdict(findings.headline)
    question = f'<p class="question">{html.text(findings.question)}</p>' if findings.question else ""
    return (
        f'<header class="first">\n<p class="title">{html.text(findings.title)}</p>\n{question}\n'
        f'<div class="found-text">\n<h1>{html.text(verdict)}</h1>\n'
        + (f'<p class="facts">{html.text(facts)}</p>\n' if facts else "")
        + (html.listing(findings.sentences) if findings.sentences else "")
        + f'\n</div>\n<div class="found-figure">{primary(findings)}</div>\n</header>'
    )


def _verdict(headline: str) -> tuple[str, str]:
    """A headline in the part to read at a glance and the rest.

    >>> _verdict("The graph helps: the error is 1.2 with it and 1.8 without.")
    ('The graph helps.', 'The error is 1.2 with it and 1.8 without.')
    """
    head, colon, rest = headline.partition(": ")
    if not colon or len(head) > _SHORT:
        return headline, ""
    return head.rstrip(".") + ".", rest[:1].upper() + rest[1:]


def _contents(sections: list[Section]) -> str:
    links = "\n".join(f'<li><a href="#{s.key}">{html.text(s.title)}</a></li>' for s in sections)
    return f'<nav aria-label="Contents">\n<ol>\n{links}\n</ol>\n</nav>'


def _section(section: Section) -> str:
    parts = "\n".join(section.parts)
    return (
        f'<section id="{section.key}" aria-labelledby="{section.key}-title">\n'
        f'<h2 id="{section.key}-title">{html.text(section.title)}</h2>\n{parts}\n</section>'
    )
