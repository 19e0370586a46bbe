"""Bokeh's picture of a network before there is anything in it, and the code that draws it in a browser."""

from __future__ import annotations

import json
import re
from typing import Any

from multiscale.report import html

__all__ = ["item", "scripts"]

_EDGES = ("xs", "ys", "colour", "alpha", "width", "dash")
_NODES = (
    *("x", "y", "marker", "size", "fill", "line", "line_width", "alpha"),
    *("shown", "ink", "paper", "behind", "font", "tip", "align", "offset"),
)
"""Columns that `network.js` fills."""

_TIP = (
    '<div style="margin: -5px; padding: 8px 11px; max-width: 360px; white-space: pre-line; font-size: 13px; '
    'line-height: 1.45; color: var(--ink); background: var(--tint)">@tip</div>'
)
"""Bokeh escapes what it puts for `@tip`."""


def scripts() -> list[str]:
    """The library, and the few lines that connect it with the controls."""
    from bokeh.resources import Resources

    library = Resources(mode="inline", components=["bokeh"]).js_raw  # what follows it sets a level of logging
    return [library[0], html.resource("network.js")]


def item(target: str) -> dict[str, Any]:
    """Bokeh's model of the empty picture, to be drawn into the element of that id.

    Identifiers count from 1, so that a page is the same every time.
    """
    from bokeh.embed import json_item

    words = json.dumps(json_item(_picture(), target))  # type: ignore[arg-type]
    known: dict[str, str] = {}
    return json.loads(re.sub(r'"p(\d+)"', lambda m: known.setdefault(m[0], f'"p{len(known) + 1}"'), words))


def _picture() -> Any:
    from bokeh.models import ColumnDataSource, HoverTool, PanTool, TapTool, WheelZoomTool

    nodes = ColumnDataSource({key: [] for key in _NODES}, name="nodes")
    edges = ColumnDataSource({key: [] for key in _EDGES}, name="edges")
    picture = _frame()
    lines = {f"line_{key}": column for key, column in zip(("color", *_EDGES[3:]), _EDGES[2:], strict=True)}
    picture.multi_line("xs", "ys", source=edges, **lines)
    dots = picture.scatter("x", "y", source=nodes, **_DOT)
    picture.text("x", "y", source=nodes, **_label())
    wheel = WheelZoomTool(modifiers={"ctrl": True})  # without the key, the wheel scrolls the page
    hover = HoverTool(renderers=[dots], tooltips=_TIP)
    picture.add_tools(PanTool(), wheel, TapTool(renderers=[dots]), hover)
    picture.toolbar.active_scroll = wheel
    return picture


def _frame() -> Any:
    """A figure without axes, as large as the element it is drawn into."""
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    picture = figure(
        sizing_mode="stretch_both",
        min_height=200,
        toolbar_location=None,
        tools=[],
        x_range=Range1d(start=0, end=1),
        y_range=Range1d(start=1, end=0),
        background_fill_alpha=0.0,
        border_fill_alpha=0.0,
        outline_line_color=None,
        min_border=0,
    )
    picture.axis.visible = False
    picture.grid.visible = False
    return picture


_DOT = {
    "marker": "marker",
    "size": "size",
    "fill_color": "fill",
    "line_color": "line",
    "line_width": "line_width",
    **{f"{part}_alpha": "alpha" for part in ("fill", "line", "nonselection_fill", "nonselection_line")},
}


def _label() -> dict[str, Any]:
    from bokeh.core.properties import value

    return {
        "text": "shown",
        "x_offset": "offset",
        "text_align": "align",
        "text_baseline": "middle",
        "text_color": "ink",
        "text_font": value("system-ui"),
        "text_font_size": "font",
        "text_alpha": "alpha",
        "nonselection_text_alpha": "alpha",
        "background_fill_color": "paper",
        "background_fill_alpha": "behind",
    }
