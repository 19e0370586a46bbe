"""Pieces of a page: escaped text, figures as inline SVG, scripts that a security policy names by hash."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure, SubFigure

__all__ = ["data", "figure", "heading", "listing", "policy", "resource", "row", "script", "settings", "text"]

_PIXELS_PER_INCH = 96  # of CSS
_SHRINK = 0.7  # of its own width, below which a figure scrolls rather than shrinks


def text(words: str) -> str:
    """Escaped text; words between backticks are set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(words))


def heading(level: int, words: str) -> str:
    """A heading."""
    return f"<h{level}>{text(words)}</h{level}>"


def listing(sentences: list[str]) -> str:
    """A list of sentences."""
    return "<ul>\n" + "\n".join(f"<li>{text(sentence)}</li>" for sentence in sentences) + "\n</ul>"


def resource(name: str) -> str:
    """Text of a file that lies beside this one."""
    return files("multiscale.report").joinpath(name).read_text(encoding="utf-8")


def row(*figures: str) -> str:
    """Figures beside each other where the window is wide enough."""
    return '<div class="row">\n' + "\n".join(figures) + "\n</div>"


def figure(key: str, part: Figure | SubFigure, caption: str, alternative: str = "") -> str:
    """A figure of matplotlib with its caption; it is closed and lives on in the page.

    Args:
        key: unique on the page.
        part: the figure.
        caption: what is seen, and how to read it.
        alternative: what a reader who does not see it should know; the caption if ''.
    """
    whole = part.get_figure(root=True)
    width = whole.get_size_inches()[0] * _PIXELS_PER_INCH
    style = f"min-width: {_SHRINK * width:.0f}px; max-width: {width:.0f}px"
    label = escape((alternative or caption).replace("`", ""))
    drawing = f'<div class="drawing" style="{style}">\n{_svg(whole, key)}</div>'
    return (
        f'<figure>\n<div class="scroll" tabindex="0" role="img" aria-label="{label}">{drawing}</div>\n'
        f"<figcaption>{text(caption)}</figcaption>\n</figure>"
    )


def _svg(whole: Figure, key: str) -> str:
    """SVG of a figure; its black becomes the colour of the page's text, its ids are unique on the page."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": key, "savefig.dpi": 160}):
        whole.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(whole)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for attribute in ("width", "height"):  # the page gives the size
        svg = re.sub(rf'(<svg[^>]*?) {attribute}="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg", '<svg aria-hidden="true"', 1).replace("#000000", "currentColor")
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{key}-", svg)


def data(key: str, value: Any) -> str:
    """A value as JSON in an element that scripts read and browsers do not run.

    >>> data("names", ["</script>"])
    '<script type="application/json" id="names">["\\\\u003c/script>"]</script>'
    """
    words = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    safe = words.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'<script type="application/json" id="{key}">{safe}</script>'


def script(code: str) -> str:
    """Code that runs; it must not come from data."""
    return f"<script>{code.replace('</script', r'<' + chr(92) + '/script')}</script>"


def policy(page: str) -> str:
    """Security policy of a page: nothing from elsewhere, and of scripts only those that it holds now."""
    codes = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in codes]
    allowed = " ".join(f"'sha256-{code}'" for code in hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def settings(values: Mapping[str, Any]) -> str:
    """Nested settings as a list of terms; what belongs together stays together."""
    items = []
    for key, value in values.items():
        shown = settings(value) if isinstance(value, Mapping) and value else f"{text(_plain(value))}"
        items.append(f"<dt>{escape(str(key))}</dt><dd>{shown}</dd>")
    return "<dl>" + "\n".join(items) + "</dl>"


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    if value is None or value is pd.NA:
        return "–"
    if isinstance(value, Mapping):
        return "none"
    return str(value)
