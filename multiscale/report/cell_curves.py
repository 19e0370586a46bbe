"""Pictures of responses to doses and perturbations, and of how a fit of cells went."""

from __future__ import annotations

import textwrap

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from multiscale.errors import DataError
from multiscale.report.drawing import AMBER, BLUE, GREY, panels, plain, require

__all__ = ["response", "training"]

_FEATURES = 12  # panels
_BELOW = 0.1  # share of the first epochs that do not set the range of an axis


def response(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Response of features to a dose or to perturbations: predicted with intervals, and measured.

    With doses: line and band are the prediction and its interval, dots and bars what was measured. With
    conditions: one row each. Conditions that the fit never saw are hollow.

    Args:
        table: columns `feature`, `predicted`, and either `dose` (numbers) or `condition`; optional `lower`
            and `upper` (interval of the prediction), `observed`, `observed_lower`, `observed_upper`, `group`
            (such as a donor or cell type: a colour each), `held_out` (bool), and `unit` and `dose_unit`
            (labels). The first twelve features are drawn.
        ax: axes whose place the panels take, one per feature; new ones if None.

    Returns:
        the axes that hold the panels (`ax.child_axes`).

    Raises:
        DataError: a column is missing, or the table has no row.
    """
    require(table, ["feature", "predicted"])
    dosed = "dose" in table
    require(table, [] if dosed else ["condition"])
    if table.empty:
        raise DataError("`table` has no row; there is nothing to draw.")
    features = list(dict.fromkeys(table["feature"]))[:_FEATURES]
    rows = 1 if dosed else table.groupby("feature", sort=False).size().max()
    ax, places = panels(ax, len(features), (3.0, 2.5 if dosed else max(2.2, 1.1 + 0.2 * rows)))
    groups = list(dict.fromkeys(table["group"].astype(str))) if "group" in table else [""]
    for place, feature in zip(places, features, strict=True):
        part = table[table["feature"] == feature]
        _draw_doses(place, part, groups) if dosed else _draw_conditions(place, part, groups)
        place.set_title(plain([feature], 34)[0], fontsize=9, loc="left")
        place.tick_params(labelsize=7)
    _key(places[0], groups, "observed" in table, "held_out" in table and bool(table["held_out"].any()))
    return ax


def _colour(number: int, count: int) -> str:
    """Amber for a single prediction; one colour of the cycle for each of several groups."""
    cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    return AMBER if count == 1 else cycle[number % len(cycle)]


def _draw_doses(ax: Axes, part: pd.DataFrame, groups: list[str]) -> None:
    """Lines over doses; dose 0 stands left of the smallest one on an axis that goes by factors."""
    for number, name in enumerate(groups):
        rows = _of(part, name).sort_values("dose", kind="stable")
        colour = _colour(number, len(groups))
        dose = rows["dose"].to_numpy(float)
        ax.plot(dose, rows["predicted"], color=colour, linewidth=1.4, zorder=2)
        if {"lower", "upper"} <= set(rows):
            ax.fill_between(dose, rows["lower"].to_numpy(float), rows["upper"].to_numpy(float), color=colour,
                            alpha=0.2, linewidth=0, zorder=1)  # fmt: skip
        _measured(ax, dose, rows, BLUE if len(groups) == 1 else colour, across=False)
    _dose_axis(ax, part["dose"].to_numpy(float))
    ax.set_xlabel("dose" + _unit(part, "dose_unit"), fontsize=8)
    ax.set_ylabel("response" + _unit(part, "unit"), fontsize=8)


def _dose_axis(ax: Axes, dose: np.ndarray) -> None:
    positive = dose[dose > 0]
    if not len(positive) or positive.max() < 10 * positive.min():
        return
    if (dose == 0).any():
        smallest = float(positive.min())
        ax.set_xscale("symlog", linthresh=smallest, linscale=0.6)
        ax.set_xlim(-0.15 * smallest, 1.5 * positive.max())
        decades = 10.0 ** np.arange(np.ceil(np.log10(smallest)), np.floor(np.log10(positive.max())) + 1)
        ax.set_xticks([0.0, *decades], ["0", *(f"{d:g}" for d in decades)])
        ax.set_xticks([], minor=True)
    else:
        ax.set_xscale("log")


def _draw_conditions(ax: Axes, part: pd.DataFrame, groups: list[str]) -> None:
    """One row per condition, in the order of the table, from the top."""
    names = list(dict.fromkeys(part["condition"].astype(str)))
    shift = np.linspace(-0.22, 0.22, len(groups)) if len(groups) > 1 else [0.0]
    for number, name in enumerate(groups):
        rows = _of(part, name)
        y = np.array([names.index(c) for c in rows["condition"].astype(str)]) + shift[number]
        colour = _colour(number, len(groups))
        if {"lower", "upper"} <= set(rows):
            ax.hlines(y, rows["lower"], rows["upper"], color=colour, linewidth=4, alpha=0.35, zorder=1)
        new = rows["held_out"].to_numpy(bool) if "held_out" in rows else np.zeros(len(rows), dtype=bool)
        for which, face in ((~new, colour), (new, "white")):
            ax.plot(rows["predicted"][which], y[which], "D", markersize=4.2, markerfacecolor=face,
                    markeredgecolor=colour, linestyle="none", zorder=2)  # fmt: skip
        _measured(ax, y, rows, BLUE if len(groups) == 1 else colour, across=True)
    labels = ["\n".join(textwrap.wrap(name, 18)[:2]) or name for name in plain(names, 36)]
    ax.set_yticks(range(len(names)), labels, fontsize=7, linespacing=0.9)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlabel("response" + _unit(part, "unit"), fontsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid(axis="y", color=GREY, alpha=0.15, linewidth=0.6)


def _measured(ax: Axes, place: np.ndarray, rows: pd.DataFrame, colour: str, across: bool) -> None:
    """Dots and bars of measurements; `across`: along the horizontal axis."""
    if "observed" not in rows:
        return
    seen = rows["observed"].to_numpy(float)
    if {"observed_lower", "observed_upper"} <= set(rows):
        low, high = rows["observed_lower"].to_numpy(float), rows["observed_upper"].to_numpy(float)
        (ax.hlines if across else ax.vlines)(place, low, high, color=colour, linewidth=0.9, zorder=3)
    x, y = (seen, place) if across else (place, seen)
    ax.plot(x, y, "o", color=colour, markersize=3.6, linestyle="none", zorder=4)


def _of(part: pd.DataFrame, group: str) -> pd.DataFrame:
    return part[part["group"].astype(str) == group] if "group" in part else part


def _unit(part: pd.DataFrame, column: str) -> str:
    said = part[column].dropna().astype(str).unique() if column in part else []
    return f", {plain([said[0]])[0]}" if len(said) == 1 and said[0] not in ("", "1") else ""


def _key(ax: Axes, groups: list[str], measured: bool, new: bool) -> None:
    """What stands for what, in the first panel."""
    if len(groups) > 1:
        for number, name in enumerate(groups):
            ax.plot([], [], color=_colour(number, len(groups)), linewidth=2, label=plain([name], 20)[0])
    else:
        ax.plot([], [], "-", color=AMBER, linewidth=2, label="predicted, interval")
    if measured:
        ax.plot([], [], "o", color=BLUE if len(groups) == 1 else GREY, markersize=3.6, label="measured")
    if new:
        edge = AMBER if len(groups) == 1 else GREY
        ax.plot(
            [],
            [],
            "D",
            markersize=4.2,
            markerfacecolor="white",
            markeredgecolor=edge,
            label="never seen by the fit",
        )
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.13), ncols=3, frameon=False, fontsize=7, borderaxespad=0)


def training(history: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """How the parts of the objective went over the epochs: training cells (line), watched cells (dashed).

    The dotted line is the epoch whose parameters were kept: the best bound of the watched cells, once the KL
    term counts in full (shaded before). Epochs that lie below the range of an axis are the first ones.

    Args:
        history: columns `elbo` or `loss`, `kl`, `log_density <modality>`, all nats per cell, the same with
            `watched_` before (cells set aside), optional `kl_weight`, `active_units`, `rate`; index or column
            `epoch`.
        ax: axes whose place the panels take, one per part; new ones if None.

    Returns:
        the axes that hold the panels (`ax.child_axes`).

    Raises:
        DataError: there is no epoch, or none of these columns.
    """
    table = history.reset_index() if "epoch" not in history.columns else history
    parts = _parts(table)
    if table.empty or not parts:
        raise DataError(
            "`history` must have an epoch and columns such as `elbo`, `kl`, `log_density <modality>`."
        )
    epoch = table["epoch"].to_numpy(float) if "epoch" in table else np.arange(1.0, len(table) + 1)
    ax, places = panels(ax, len(parts), (3.0, 2.3))
    for place, (column, title, unit) in zip(places, parts.values(), strict=True):
        _draw_part(place, table, epoch, column)
        place.set_title(title, fontsize=9, loc="left")
        place.set_xlabel("epoch", fontsize=8)
        place.set_ylabel(unit, fontsize=8)
        place.tick_params(labelsize=7)
        place.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _marks(place, table, epoch)
    places[0].legend(loc="lower left", bbox_to_anchor=(0, 1.13), ncols=4, frameon=False, fontsize=7)
    return ax


def _parts(table: pd.DataFrame) -> dict[str, tuple[str, str, str]]:
    """Column, title and unit of every panel, in their order."""
    nats = "nats per cell"
    known = {
        "elbo": ("elbo", "evidence lower bound", nats),
        "loss": ("loss", "loss", nats),
        "kl": ("kl", "KL of posterior and prior", nats),
    }
    known |= {
        name: (name, plain([f"log density, {name.removeprefix('log_density ')}"], 36)[0], nats)
        for name in map(str, table.columns)
        if name.startswith("log_density ")
    }
    known |= {
        "active_units": ("active_units", "active latent units", "units"),
        "rate": ("rate", "learning rate", "of the first"),
    }
    found = {name: part for name, part in known.items() if name in table}
    return {name: part for name, part in found.items() if not (name == "loss" and "elbo" in found)}


def _draw_part(ax: Axes, table: pd.DataFrame, epoch: np.ndarray, column: str) -> None:
    shown = []
    for name, colour, style, label in (
        (column, BLUE, "-", "training cells"),
        (f"watched_{column}", AMBER, "--", "watched cells"),
    ):
        if name in table:
            values = table[name].to_numpy(float)
            drawn = "steps-mid" if column in ("rate", "active_units") else "default"
            ax.plot(epoch, values, color=colour, linestyle=style, linewidth=1.4, label=label, drawstyle=drawn)
            shown.append(values[int(_BELOW * len(values)) :])
    late = np.concatenate(shown)
    late = late[np.isfinite(late)]
    if column == "rate":
        _factors(ax, table[column].to_numpy(float))
    elif column == "active_units":
        ax.set_ylim(0, 1.15 * max(late.max(initial=0.0), 1.0))
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    elif len(late) and np.ptp(late) > 0:
        margin = 0.08 * np.ptp(late)
        ax.set_ylim(late.min() - margin, late.max() + margin)


def _factors(ax: Axes, rates: np.ndarray) -> None:
    """An axis that goes by factors, with ticks at the rates that there were."""
    ticks = np.unique(rates)[::-1][:6]
    ax.set_yscale("log")
    ax.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
    ax.set_yticks([], minor=True)


def _marks(ax: Axes, table: pd.DataFrame, epoch: np.ndarray) -> None:
    """Warm-up of the KL term, and the epoch that was kept."""
    full = (
        table["kl_weight"].to_numpy(float) >= 1 if "kl_weight" in table else np.ones(len(epoch), dtype=bool)
    )
    if not full.all():
        ends = epoch[full][0] if full.any() else epoch[-1]
        ax.axvspan(epoch[0], ends, color=GREY, alpha=0.12, linewidth=0, label="KL term warms up")
    if "watched_elbo" in table and full.any() and table["watched_elbo"].notna().any():
        judged = np.where(full, table["watched_elbo"].to_numpy(float), -np.inf)
        ax.axvline(epoch[int(np.nanargmax(judged))], color=GREY, linewidth=1, linestyle=":", label="kept")
