"""Tables of a page: the first rows to read, all rows to sort and to download."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from multiscale.report.html import text

__all__ = ["HEADS", "MOST_ROWS", "ROWS", "number", "table"]

ROWS = 30
"""Rows that are shown until a reader asks for all."""

MOST_ROWS = 20_000
"""Rows that a page holds of one table; more would make it too large to open."""

HEADS = {
    "parameterId": "parameter",
    "parameterName": "meaning",
    "parameterScale": "scale",
    "nominalValue": "estimate",
    "objectivePriorType": "prior",
    "objectivePriorParameters": "prior's parameters",
    "priorMean": "prior mean",
    "priorSd": "prior sd",
    "prior_mean": "prior mean",
    "prior_sd": "prior sd",
    "lower": "90 % from",
    "upper": "to",
    "informationNats": "information, nats",
    "information_nats": "information, nats",
    "determinedBy": "determined by",
    "spreadOverStarts": "spread over starts",
    "g_kcal_per_mol": "g, kcal/mol",
    "Kd_uM": "Kd, µM",
    "Kd_lower_uM": "Kd 90 % from",
    "Kd_upper_uM": "Kd to",
    "between_cells": "between cells",
    "concentration_uM": "concentration, µM",
    "bound_fraction": "bound fraction",
    "bound_lower": "90 % from",
    "bound_upper": "to",
    "occupancy_lower": "90 % from",
    "occupancy_upper": "to",
    "rmse_touched": "held-out error",
    "touched_by_graph": "graph can influence it",
    "prior_rise": "rise of its prior",
    "combination_sd": "sd of combination",
    "r2": "R²",
    "rmse": "RMSE",
    "coverage_90": "inside 90 % interval",
    "observed": "measured",
    "observed_mean": "measured, mean",
    "observed_sd": "measured, sd",
}
"""Column names as people read them; other names are shown with spaces for underscores."""


def table(key: str, frame: pd.DataFrame, caption: str, columns: Sequence[str] | None = None) -> str:
    """The first rows of a table, with all of it inside for a script that shows, sorts and saves it.

    Args:
        key: name of the file that a reader downloads, without suffix; unique on the page.
        frame: the table, without its index.
        caption: what it holds.
        columns: which columns are shown, in this order; all if None. The download has all.

    Of a table with more than `MOST_ROWS` rows the page holds the first ones, and says so.
    """
    if len(frame) > MOST_ROWS:
        caption += f"; here the first {MOST_ROWS:,} of {len(frame):,} rows, all are in the files of the run"
        frame = frame.head(MOST_ROWS)
    shown = [name for name in (frame.columns if columns is None else columns) if name in frame.columns]
    places = [list(frame.columns).index(name) for name in shown]
    kinds = [_kind(frame[name]) for name in shown]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(HEADS.get(str(name), str(name).replace("_", " ")))}</th>'
        for name, kind in zip(shown, kinds, strict=True)
    )
    rows = "\n".join(_row(row, kinds) for row in frame[shown].head(ROWS).itertuples(index=False, name=None))
    label = escape(caption.replace("`", ""))
    return (
        f'<div class="sheet" data-name="{escape(key)}.tsv" data-columns="{" ".join(map(str, places))}" '
        f'data-kinds="{"".join(kind[0] for kind in kinds)}">\n'
        f'<div class="table" tabindex="0" role="region" aria-label="{label}">\n<table>\n'
        f"<caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n"
        f'</div>\n<p class="actions">{_actions(frame)}</p>\n'
        f'<script type="text/plain" class="rows">{_packed(frame)}</script>\n</div>'
    )


def _kind(column: pd.Series) -> str:
    kinds = {"b": "boolean", "i": "number", "u": "number", "f": "number"}
    return kinds.get(column.dtype.kind, "words")


def _row(row: tuple[Any, ...], kinds: list[str]) -> str:
    cells = (f'<td class="{kind}">{_cell(value)}</td>' for value, kind in zip(row, kinds, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _cell(value: Any) -> str:
    """Four significant digits for numbers, yes and no for booleans, a dash for what is missing."""
    if value is None or value is pd.NA or value == "" or value != value:  # NaN differs from itself
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, float, np.number)):
        return number(float(value))
    return escape(str(value))


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """A number in four significant digits, as people write it.

    >>> number(-1.23456), number(1234567.0), number(2.5e-9)
    ('−1.235', '1235000', '2.5×10⁻⁹')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    rounded = float(f"{value:.3e}")
    if rounded and not 1e-4 <= abs(rounded) < 1e7:
        mantissa, exponent = f"{rounded:.3e}".split("e")
        shown = f"{float(mantissa):g}×10{str(int(exponent)).translate(_RAISED)}"
    else:
        shown = np.format_float_positional(rounded, trim="-")
    return shown.replace("-", "−")


_FIND = '<input type="search" class="find" placeholder="Find rows" aria-label="Find rows that hold a text"> '


def _actions(frame: pd.DataFrame) -> str:
    rows = f"{len(frame):,} row{'s' * (len(frame) != 1)}"
    more = f'{_FIND}<button type="button" class="all">Show all {rows}</button> ' if len(frame) > ROWS else ""
    return f'{more}<button type="button" class="download">Download TSV</button> <span>{rows}</span>'


def _packed(frame: pd.DataFrame) -> str:
    """All rows as tab-separated text, compressed, in letters that no parser of HTML can take for markup."""
    words = frame.to_csv(sep="\t", index=False, lineterminator="\n")
    return base64.b64encode(zlib.compress(words.encode("utf-8"), 9)).decode("ascii")
