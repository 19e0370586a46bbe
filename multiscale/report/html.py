"""One page in one file: text, figures as inline SVG, tables; no script, nothing from elsewhere."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure, SubFigure

from multiscale import atomic

__all__ = ["write_page"]

_PIXELS_PER_INCH = 96  # of CSS
_READABLE = 760  # pixels below which a figure scrolls rather than shrinks

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<p class="title">{title}</p>
<h1>{headline}</h1>
</header>
{body}
</main>
<footer>
{footer}
</footer>
</body>
</html>
"""


def write_page(
    path: str | Path,
    *,
    title: str,
    headline: str,
    paragraphs: Sequence[str] = (),
    figures: Iterable[tuple[str, Figure | SubFigure]] = (),
    tables: Iterable[tuple[str, pd.DataFrame]] = (),
    footer: Mapping[str, Any] | None = None,
) -> None:
    """Write a report, atomically. All text is escaped; words between backticks are set as code.

    Args:
        path: file to write.
        title: what the page is about.
        headline: what was found, in one plain sentence, even if it is that nothing was.
        paragraphs: more of it.
        figures: caption and figure; the figures are closed, they live on in the page.
        tables: caption and table, shown without its index.
        footer: settings, versions, sources; mappings may be nested.
    """
    parts = [f"<p>{_text(paragraph)}</p>" for paragraph in paragraphs]
    parts += [_figure(number, caption, figure) for number, (caption, figure) in enumerate(figures)]
    parts += [_table(caption, table) for caption, table in tables]
    page = _PAGE.format(
        title=escape(title),
        headline=_text(headline),
        style=files("multiscale.report").joinpath("page.css").read_text(encoding="utf-8"),
        body="\n".join(parts),
        footer=_settings(footer or {}),
    )
    with atomic.replace(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def _text(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _figure(number: int, caption: str, part: Figure | SubFigure) -> str:
    figure = part.get_figure(root=True)
    width = figure.get_size_inches()[0] * _PIXELS_PER_INCH
    style = f"min-width: {min(width, _READABLE):.0f}px; max-width: {width:.0f}px"
    drawing = f'<div class="drawing" style="{style}">\n{_svg(figure, f"f{number}-")}</div>'
    return (
        f'<figure>\n<figcaption>{_text(caption)}</figcaption>\n<div class="scroll">{drawing}</div>\n</figure>'
    )


def _svg(figure: Figure, prefix: str) -> str:
    """SVG of a figure; its black becomes the colour of the page's text, its ids are unique on the page."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix, "savefig.dpi": 200}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'(<svg[^>]*?) width="[^"]*"',
        r"\1",
        re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1),
        count=1,
    )
    svg = svg.replace("#000000", "currentColor")
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)


def _table(caption: str, table: pd.DataFrame) -> str:
    columns = [str(name) for name in table.columns]
    number = [dtype.kind in "iuf" for dtype in table.dtypes]
    css = [' class="number"' if is_number else "" for is_number in number]
    head = "".join(f'<th scope="col"{c}>{escape(name)}</th>' for name, c in zip(columns, css, strict=True))
    rows = [
        "<tr>" + "".join(f"<td{c}>{_cell(value)}</td>" for value, c in zip(row, css, strict=True)) + "</tr>"
        for row in table.itertuples(index=False, name=None)
    ]
    body = "\n".join(rows)
    return (
        f'<section>\n<h2>{_text(caption)}</h2>\n<div class="scroll table" tabindex="0">\n<table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n</section>"
    )


def _cell(value: Any) -> str:
    """Four significant digits for fractions, yes and no for booleans, a dash for what is missing."""
    if value is None or value is pd.NA or (isinstance(value, (float, np.floating)) and math.isnan(value)):
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, float, np.number)):
        return (f"{value}" if isinstance(value, (int, np.integer)) else f"{value:.4g}").replace("-", "−")
    return escape(str(value))


def _settings(content: Mapping[str, Any]) -> str:
    rows = [f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in _flat(content)]
    return "<dl>\n" + "\n".join(rows) + "\n</dl>" if rows else ""


def _flat(content: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Nested mappings as rows: `settings, starts` → `32`."""
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        name = f"{above}, {key}" if above else str(key)
        rows += _flat(value, name) if isinstance(value, Mapping) else [(name, str(value))]
    return rows
