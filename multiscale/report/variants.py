"""Pictures of energies per mutation: heat maps of position and residue, and how wide the intervals are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.ticker import FixedLocator

from multiscale.errors import DataError, nearest
from multiscale.report.drawing import AMBER, BLUE, GREY, bare, new_axes, panels, plain, require

__all__ = ["families", "mutations", "widths"]

_NAME = re.compile(r"(?P<wild>[^\d-]?)(?P<position>-?\d+)(?P<letter>\D)")
_CLASSES = "GAVILMPCFWYSTNQHKRDE*-"  # residues of similar side chains beside each other
_CELL = 0.145  # inches per position and residue
_MANY = 2000  # cells; more are drawn as pixels, so that pages stay small
_BEYOND = 0.98  # share of the energies that the colours span; single extreme ones would pale all others
_STEPS = 30  # of a histogram

_KINDS = {"data": ("the data", BLUE), "both": ("data and prior", AMBER), "prior": ("the prior", GREY)}
"""What determines an energy, in words, and its colour."""


def families(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Encoder, family and term of energies that are of single mutations, in the order of the table."""
    require(table, ["encoder", "family", "term", "label"])
    keys = ["encoder", "family", "term"]
    first = table.drop_duplicates(keys)
    single = first["label"].astype(str).map(lambda name: _NAME.fullmatch(name) is not None)
    return [(str(a), str(b), str(c)) for a, b, c in first.loc[single, keys].itertuples(index=False)]


def mutations(
    table: pd.DataFrame, term: str | None = None, encoder: str | None = None, ax: Axes | None = None
) -> Axes:
    """Heat map of one energy term, position × residue: blue lowers the energy, red raises it.

    The wild type's letter has a dot. Hatched cells are mutations whose energy the data do not determine, or
    only together with that of another term; those with a cross were not read. Colours reach to the 98 %
    quantile of the determined energies; where some lie beyond, the colour bar has a pointed end.

    Args:
        table: energies: columns `encoder`, `family`, `term`, `label` (`A24G`, or `24G` without a wild type),
            `estimate` (kcal/mol); optional `determinedBy` (`prior`: not determined by the data) and
            `combination` (what alone is determined, '' if it is the energy itself).
        term: which energy term; may be left out if there is one only.
        encoder: which encoder; may be left out if one only has the term.
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: a column is missing, the table has no single mutations, or it is unclear which are meant.
    """
    part = _chosen(table, term, encoder)
    grid = _Grid.of(part)
    count, rows = len(grid.positions), len(grid.letters)
    ax = new_axes(ax, (1.7 + _CELL * max(count, 8), 0.9 + _CELL * rows))
    edges = np.arange(count + 1) - 0.5, np.arange(rows + 1) - 0.5
    top = grid.reach()
    mesh = ax.pcolormesh(
        *edges,
        np.ma.masked_array(grid.values, ~grid.determined),
        norm=Normalize(-top, top),
        cmap="RdBu_r",
        rasterized=grid.values.size > _MANY,
    )
    _hatch(ax, edges, np.isfinite(grid.values) & ~grid.determined)
    _mark(ax, grid.is_wild, "o", "wild type", color="#000000", markersize=2.2)
    _mark(ax, np.isnan(grid.values) & ~grid.is_wild, "x", "not read", color=GREY, markersize=1.8)
    _name_cells(ax, grid)
    _colour_bar(ax, mesh, f"ΔΔG of `{part['term'].iloc[0]}`, kcal/mol".replace("`", ""), grid.beyond(top))
    return ax


@dataclass(frozen=True, eq=False)
class _Grid:
    """Energies of single mutations, shape (letter, position); NaN where there is none."""

    positions: list[int]
    letters: list[str]
    wild: list[str]
    values: np.ndarray
    determined: np.ndarray

    @classmethod
    def of(cls, part: pd.DataFrame) -> _Grid:
        """Lay out a table whose labels all name a mutation; positions that nobody read stay empty."""
        named = part["label"].astype(str).str.extract(_NAME)
        number = named["position"].astype(int)
        positions = list(range(int(number.min()), int(number.max()) + 1))
        wild = dict(zip(number, named["wild"], strict=True))
        letters = _ordered({*named["letter"], *filter(None, wild.values())})
        place = named["letter"].map(letters.index).to_numpy(), (number - positions[0]).to_numpy()
        values = np.full((len(letters), len(positions)), np.nan)
        values[place] = part["estimate"].to_numpy(float)
        determined = np.zeros(values.shape, dtype=bool)
        determined[place] = _determined(part)
        return cls(positions, letters, [wild.get(p, "") for p in positions], values, determined)

    @property
    def is_wild(self) -> np.ndarray:
        """Cells of the wild type, shape (letter, position)."""
        return np.array(self.letters)[:, None] == np.array(self.wild)[None, :]

    def reach(self) -> float:
        """Energy of the strongest colour, kcal/mol."""
        size = np.abs(self.values[self.determined])
        return float(np.nanquantile(size, _BEYOND)) or 1.0 if size.size else 1.0

    def beyond(self, top: float) -> str:
        """Which ends of the colours stand for energies beyond them, in the words of matplotlib."""
        known = self.values[self.determined]
        below, above = bool((known < -top).any()), bool((known > top).any())
        return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(
            (below, above), "both"
        )


def _determined(part: pd.DataFrame) -> np.ndarray:
    """Which energies the data determine, each for itself; all if nothing is said."""
    known = part["estimate"].notna()
    if "determinedBy" in part:
        known &= part["determinedBy"].astype(str) != "prior"
    if "combination" in part:
        known &= part["combination"].fillna("") == ""
    return known.to_numpy(bool)


def _chosen(table: pd.DataFrame, term: str | None, encoder: str | None) -> pd.DataFrame:
    """Energies of the single mutations of one encoder and one term."""
    require(table, ["encoder", "family", "term", "label", "estimate"])
    found = families(table)
    if not found:
        raise DataError("`table` has no energies of single mutations, labelled such as `A24G`.")
    for name, value, place in (("term", term, 2), ("encoder", encoder, 0)):
        known = list(dict.fromkeys(key[place] for key in found))
        if value is not None and value not in known:
            raise DataError(f"`{name}` = `{value}` has no single mutations; {nearest(value, known)}")
        found = [key for key in found if value is None or key[place] == value]
    if len(found) != 1:
        said = "; ".join(f"encoder `{e}`, term `{t}`" for e, _, t in found)
        raise DataError(f"`term` and `encoder` must say which energies to draw; there are {said or 'none'}.")
    key = dict(zip(["encoder", "family", "term"], found[0], strict=True))
    return table[np.logical_and.reduce([table[name].astype(str) == value for name, value in key.items()])]


def _ordered(letters: set[str]) -> list[str]:
    """Residues by the class of their side chain; letters of another alphabet as they sort."""
    return (
        sorted(letters, key=_CLASSES.index)
        if letters <= set(_CLASSES) and len(letters) > 5
        else sorted(letters)
    )


def _mark(ax: Axes, where: np.ndarray, marker: str, label: str, **style: Any) -> None:
    """A mark in some cells."""
    row, column = np.nonzero(where)
    ax.plot(column, row, marker, linestyle="none", label=label, **style)


def _hatch(ax: Axes, edges: tuple[np.ndarray, np.ndarray], where: np.ndarray) -> None:
    """Grey, hatched cells; both colours opaque, for a pattern of SVG has one opacity."""
    if where.any():
        with rc_context({"hatch.linewidth": 0.5}):
            ax.pcolor(
                *edges,
                np.ma.masked_array(np.zeros(where.shape), ~where),
                cmap=ListedColormap(["#d3d3d3"]),
                hatch="//////",
                edgecolor="#757575",
                linewidth=0.0,
                label="not determined",
            )


def _name_cells(ax: Axes, grid: _Grid) -> None:
    """Residues on the left; numbers below, with the wild type where there is one."""
    ax.set_yticks(range(len(grid.letters)), plain(grid.letters), fontsize=7, family="monospace")
    round_ = [x for x, number in enumerate(grid.positions) if number % 10 == 0 or x == 0]
    round_ = [x for x in round_ if x == 0 or x > 3]  # the first number needs room
    ax.set_xticks(round_, [str(grid.positions[x]) for x in round_], fontsize=7)
    ax.xaxis.set_minor_locator(FixedLocator([x for x, n in enumerate(grid.positions) if n % 5 == 0]))
    if any(grid.wild):
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 6, "family": "monospace"}
        for x, letter in enumerate(plain(grid.wild)):
            place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            ax.annotate(letter, (x, 1.0), (0, 2), **place, **style)
    ax.set_xlabel("position", fontsize=8)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.spines[:].set_visible(False)


def _colour_bar(ax: Axes, mesh, label: str, beyond: str) -> None:
    whole = ax.get_figure(root=True)
    if whole is not None:
        bar = whole.colorbar(mesh, ax=ax, fraction=0.02, pad=0.01, aspect=16, extend=beyond)
        bar.set_label(plain([label])[0], fontsize=8)
        bar.ax.tick_params(labelsize=7)


def widths(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Widths of the 90 % intervals of all energies, one panel per encoder, family and term.

    Bars are stacked by what determines the energies; the title says how many the data determine.

    Args:
        table: energies: columns `encoder`, `family`, `term`, `lower`, `upper` (kcal/mol), `determinedBy`.
        ax: axes whose place the panels take; new ones if None.

    Returns:
        the axes that hold the panels (`ax.child_axes`).

    Raises:
        DataError: a column is missing, or no energy has an interval.
    """
    require(table, ["encoder", "family", "term", "lower", "upper", "determinedBy"])
    table = table.assign(width=(table["upper"] - table["lower"]).astype(float))
    table = table[np.isfinite(table["width"])]
    if table.empty:
        raise DataError("`table` has no energy with an interval.")
    parts = list(table.groupby(["encoder", "family", "term"], sort=False))
    ax, places = panels(ax, len(parts), (3.0, 2.5))
    for (key, part), place in zip(parts, places, strict=True):
        _draw_widths(place, [str(word) for word in key], part)
    places[0].legend(frameon=False, fontsize=7, title="determined by", title_fontsize=7)
    return ax


def _draw_widths(ax: Axes, key: list[str], part: pd.DataFrame) -> None:
    """One panel: stacked bars."""
    by = part["determinedBy"].astype(str)
    edges = np.linspace(0.0, float(part["width"].max()) * 1.02, _STEPS + 1)
    ax.hist(
        [part.loc[by == kind, "width"] for kind in _KINDS],
        bins=edges.tolist(),
        stacked=True,
        color=[colour for _, colour in _KINDS.values()],
        label=[words for words, _ in _KINDS.values()],
    )
    said = f"{int((by == 'data').sum()):,} of {len(part):,} determined by the data"
    ax.set_title(plain([" ".join(filter(None, key))], 34)[0] + f"\n{said}", fontsize=8, loc="left")
    ax.set_xlabel("width of the 90 % interval, kcal/mol", fontsize=8)
    ax.set_ylabel("energies", fontsize=8)
    ax.tick_params(labelsize=7)
    bare(ax)
