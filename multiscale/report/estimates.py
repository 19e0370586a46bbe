"""Pictures of what was estimated: energies with intervals and priors, profiles, where the starts ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy.stats import chi2, norm

from multiscale.errors import DataError, nearest
from multiscale.report.drawing import AMBER, BLUE, GREY, bare, new_axes, plain, require

__all__ = ["RISE", "energies", "parameters", "profile", "waterfall"]

RISE = float(chi2.ppf(0.90, 1) / 2)
"""Rise of −ln posterior at the ends of a 90 % interval of one parameter, 1.3528 (Wilks' theorem)."""

_SDS = float(norm.ppf(0.95))  # standard deviations to either end of a 90 % interval of a normal density


def energies(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Energy of every complex with its 90 % interval, and what was assumed before.

    Args:
        table: columns `complex` and `g_kcal_per_mol`; optional `lower` and `upper` (ends of the interval),
            `prior_mean` and `prior_sd`, all in kcal/mol, and `evidence`: complexes whose evidence is not
            `measured` are drawn hollow.
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: a column is missing.
    """
    require(table, ["complex", "g_kcal_per_mol"])
    table = table.sort_values("g_kcal_per_mol", ascending=False, kind="stable").reset_index(drop=True)
    ax = new_axes(ax, (5.4, 1.1 + 0.19 * len(table)))
    rows, g = np.arange(len(table)), table["g_kcal_per_mol"].to_numpy(float)
    if {"prior_mean", "prior_sd"} <= set(table.columns):
        mean, reach = table["prior_mean"].to_numpy(float), _SDS * table["prior_sd"].to_numpy(float)
        ax.hlines(rows, mean - reach, mean + reach, color=GREY, alpha=0.3, linewidth=6, label="before: 90 %")
    if {"lower", "upper"} <= set(table.columns):
        ends = table["lower"].to_numpy(float), table["upper"].to_numpy(float)
        ax.hlines(rows, *ends, color=BLUE, linewidth=1.6, label="after: 90 %")
    _draw_energies(ax, table, g, rows)
    ax.set_yticks(rows, plain(table["complex"]), fontsize=8)
    ax.set_ylim(-0.8, len(table) - 0.2)
    ax.set_xlabel("energy of formation from free subunits, kcal/mol\n(standard state 1 M; lower is tighter)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8)
    return bare(ax)


def _draw_energies(ax: Axes, table: pd.DataFrame, g: np.ndarray, rows: np.ndarray) -> None:
    """Full dots where an affinity was measured, hollow ones elsewhere."""
    known = np.ones(len(table), dtype=bool)
    if "evidence" in table.columns:
        known = (table["evidence"] == "measured").to_numpy(bool)
    style: dict[str, Any] = {"markeredgecolor": BLUE, "markersize": 4.5, "linestyle": "none", "marker": "o"}
    ax.plot(g[known], rows[known], markerfacecolor=BLUE, label="with a measured affinity", **style)
    if not known.all():
        ax.plot(g[~known], rows[~known], markerfacecolor="none", label="no measured affinity", **style)


def parameters(starts: pd.DataFrame, bounds: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Where every start ended in every parameter, the best ones dark: a spread says what is not determined.

    Args:
        starts: column `loss` (negative log posterior) and one column per parameter, in its own scale.
        bounds: index: those parameters; columns `lower` and `upper`.
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: a column is missing, or no loss is finite.
    """
    require(starts, ["loss", *map(str, bounds.index)])
    require(bounds, ["lower", "upper"])
    finite = starts[np.isfinite(starts["loss"].astype(float))].sort_values("loss", ascending=False)
    if finite.empty:
        raise DataError("`starts` has no finite `loss`; no start ended well.")
    ax = new_axes(ax, (5.4, 1.1 + 0.19 * len(bounds)))
    rows = np.arange(len(bounds))
    ax.hlines(rows, bounds["lower"], bounds["upper"], color=GREY, alpha=0.3, linewidth=5)
    rise = finite["loss"].to_numpy(float) - float(finite["loss"].min())
    for values, above in zip(finite[list(bounds.index)].to_numpy(float), rise, strict=True):
        alike = above <= RISE
        ax.plot(values, rows, "-o" if alike else "-", color=BLUE if alike else GREY, markersize=3,
                linewidth=0.9, alpha=0.9 if alike else 0.25)  # fmt: skip
    ax.set_yticks(rows, plain(bounds.index), fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel("value on the scale of estimation; grey: bounds")
    ax.set_title(
        f"{int((rise <= RISE).sum())} of {len(starts)} starts as good as the best", fontsize=9, loc="left"
    )
    return bare(ax)


def profile(table: pd.DataFrame, parameter: str | None = None, ax: Axes | None = None) -> Axes:
    """How much worse the posterior gets when one parameter is held and all others are fitted again.

    Values below the dotted line are inside the 90 % interval. The dashed curve is the parameter's own prior:
    where both agree, the data said nothing.

    Args:
        table: columns `parameterId`, `value` (on the parameter's scale), `rise` (−ln posterior above the
            best), optional `prior_rise`.
        parameter: which one; may be left out if the table holds one only.
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: a column is missing, or it is unclear which parameter is meant.

    Source: Raue et al. 2009, doi:10.1093/bioinformatics/btp358.
    """
    require(table, ["parameterId", "value", "rise"])
    known = list(dict.fromkeys(map(str, table["parameterId"])))
    if parameter is None and len(known) == 1:
        parameter = known[0]
    if parameter not in known:
        raise DataError(f"`parameter` must be one of the table; got {parameter!r}; {nearest('', known)}")
    part = table[table["parameterId"] == parameter].sort_values("value")
    ax = new_axes(ax, (4.0, 3.0))
    ax.plot(part["value"], part["rise"], "-", color=BLUE, linewidth=1.8, label="posterior")
    if "prior_rise" in part.columns:
        ax.plot(part["value"], part["prior_rise"], "--", color=GREY, label="its own prior")
    ax.axhline(RISE, color=AMBER, linestyle=":", label="90 %")
    ax.set_ylim(-0.1, max(2.5 * RISE, 1.1 * min(float(part["rise"].max()), 6.0)))
    ax.set_xlabel("value", fontsize=8)
    ax.set_ylabel("rise of −ln posterior", fontsize=8)
    ax.tick_params(labelsize=8)
    ax.set_title(plain([parameter], 32)[0], fontsize=9, loc="left")
    return bare(ax)


def waterfall(starts: Any, ax: Axes | None = None) -> Axes:
    """Where every start ended: losses in rising order, above the best; a plateau at 0 says that starts agree.

    Args:
        starts: table with a column `loss` (negative log posterior) and optional `reason` (why the start
            stopped), or losses alone; those that are not finite are counted, not drawn.
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: no loss is finite.
    """
    table = starts if isinstance(starts, pd.DataFrame) else pd.DataFrame({"loss": np.asarray(starts, float)})
    require(table, ["loss"])
    finite = table[np.isfinite(table["loss"].astype(float))].sort_values("loss", kind="stable")
    if finite.empty:
        raise DataError("`losses` has no finite value; no start ended well.")
    ax = new_axes(ax, (5.0, 3.0))
    best, place = float(finite["loss"].iloc[0]), np.arange(1, len(finite) + 1)
    rise = finite["loss"].to_numpy(float) - best
    ax.plot(place, rise, "-", color=GREY, linewidth=1)
    _draw_starts(ax, finite, place, rise)
    ax.set_yscale("symlog", linthresh=1.0)  # linear up to 1, where starts count as equal
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(bottom=-0.3)
    ax.set_xlim(left=0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="start, best first", ylabel="loss above the best")
    failed = len(table) - len(finite)
    words = f"best {best:.2f}".replace("-", "−") + (
        f"; {failed} of {len(table)} starts failed" if failed else ""
    )
    ax.set_title(words, fontsize=9, loc="left")
    return bare(ax)


def _draw_starts(ax: Axes, finite: pd.DataFrame, place: np.ndarray, rise: np.ndarray) -> None:
    """One kind of dot per reason of stopping."""
    if "reason" not in finite.columns:
        ax.plot(place, rise, "o", color=BLUE, markersize=4)
        return
    reasons = finite["reason"].astype(str).to_numpy()
    looks = [
        ("o", BLUE, BLUE),
        ("o", AMBER, "none"),
        ("s", GREY, "none"),
        ("^", BLUE, "none"),
        ("x", AMBER, "none"),
    ]
    for number, reason in enumerate(dict.fromkeys(reasons)):
        marker, edge, face = looks[number % len(looks)]
        chosen = reasons == reason
        label = f"{plain([reason])[0]} ({chosen.sum()})"
        ax.plot(
            place[chosen],
            rise[chosen],
            marker,
            markeredgecolor=edge,
            markerfacecolor=face,
            markersize=5,
            label=label,
        )
    ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.08))
