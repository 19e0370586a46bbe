"""Pictures of fits: each takes `ax=None`, draws, and returns the axes; none shows or saves anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from multiscale.errors import DataError, nearest
from multiscale.report.network import network

__all__ = ["energies", "errors", "heldout", "network", "waterfall"]

BLUE, GREY = "#3f8fc4", "#8c8c8c"  # legible on white and on black


def energies(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Energy of every complex, with the prior it started from.

    Args:
        table: columns `complex` and `g_kcal_per_mol`; optional `sd` of the estimate, `prior_mean`, `prior_sd`
            (kcal/mol) and `evidence`: complexes whose evidence is not `measured` are drawn hollow.
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: a column is missing.
    """
    _require(table, ["complex", "g_kcal_per_mol"])
    table = table.sort_values("g_kcal_per_mol", ascending=False, kind="stable").reset_index(drop=True)
    ax = _axes(ax, (7.0, 1.0 + 0.2 * len(table)))
    rows, g = np.arange(len(table)), table["g_kcal_per_mol"].to_numpy(float)
    if {"prior_mean", "prior_sd"} <= set(table.columns):
        mean, sd = table["prior_mean"].to_numpy(float), table["prior_sd"].to_numpy(float)
        ax.hlines(rows, mean - sd, mean + sd, color=GREY, alpha=0.35, linewidth=6, label="prior: mean ± sd")
    if "sd" in table.columns:
        ax.errorbar(g, rows, xerr=table["sd"].to_numpy(float), fmt="none", ecolor=BLUE, linewidth=1)
    known = (
        table["evidence"] == "measured" if "evidence" in table.columns else pd.Series(True, index=table.index)
    )
    known = known.to_numpy(bool)
    ax.plot(g[known], rows[known], "o", color=BLUE, markersize=5, label="fitted, with a measured affinity")
    if not known.all():
        style = {"markerfacecolor": "none", "markeredgecolor": BLUE, "markersize": 5, "linestyle": "none"}
        ax.plot(g[~known], rows[~known], "o", label="fitted, no measured affinity", **style)
    ax.set_yticks(rows, _plain(table["complex"]), fontsize=8)
    ax.set_ylim(-0.8, len(table) - 0.2)
    ax.set_xlabel("energy of formation from free subunits, kcal/mol (standard state 1 M)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8)
    return _bare(ax)


def heldout(table: pd.DataFrame, models: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Predicted against measured values that no fit has seen, one panel per model.

    Args:
        table: column `measured`, one column per model, optional `touched_by_graph` (these are coloured).
        models: which columns; all others that hold fractions if None.
        ax: axes whose place the panels take; new ones if None.

    Returns:
        the axes that hold the panels (`ax.child_axes`).

    Raises:
        DataError: a column is missing.
    """
    _require(table, ["measured", *(models or [])])
    models = list(models or _predictions(table))
    columns = min(3, max(1, len(models)))
    rows = max(1, -(-len(models) // columns))
    ax = _axes(ax, (3.1 * columns, 3.2 * rows))
    ax.set_axis_off()
    limits = _limits(table[["measured", *models]].to_numpy(float))
    for number, model in enumerate(models):
        row, column = divmod(number, columns)
        width, height = 1 / columns, 1 / rows
        place = (
            column * width + 0.2 * width,
            1 - (row + 1) * height + 0.17 * height,
            0.76 * width,
            0.7 * height,
        )
        _scatter(ax.inset_axes(place), table, model, limits)
    return ax


def errors(table: pd.DataFrame, models: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Root mean square error of every model on held-out entries: all, and those that the graph touches.

    Args:
        table: as for `heldout`.
        models: which columns; all others that hold fractions if None.
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: a column is missing.
    """
    _require(table, ["measured", *(models or [])])
    models = list(models or _predictions(table))
    ax = _axes(ax, (6.0, 1.1 + 0.3 * len(models)))
    rows = np.arange(len(models))[::-1]
    touched = _touched(table)
    ax.plot([_rmse(table, m) for m in models], rows, "o", color=GREY, label=f"all ({len(table)})")
    if touched.any():
        part = table[touched]
        ax.plot([_rmse(part, m) for m in models], rows, "o", color=BLUE, label=f"graph touches ({len(part)})")
    ax.set_yticks(rows, _plain(models))
    ax.set_ylim(-0.6, len(models) - 0.4)
    ax.set_xlim(left=0)
    ax.grid(axis="y", color=GREY, alpha=0.25)
    ax.set_xlabel("root mean square error of held-out values")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8)
    return _bare(ax)


def waterfall(losses: Any, ax: Axes | None = None) -> Axes:
    """Where every start ended: losses in rising order, above the best; a plateau at 0 says that starts agree.

    Args:
        losses: negative log posterior per start; those that are not finite are counted, not drawn.
        ax: axes to draw on; new ones if None.

    Raises:
        DataError: no loss is finite.
    """
    losses = np.asarray(losses, dtype=float)
    finite = np.sort(losses[np.isfinite(losses)])
    if not len(finite):
        raise DataError("`losses` has no finite value; no start ended well.")
    ax = _axes(ax, (6.0, 3.0))
    ax.plot(np.arange(1, len(finite) + 1), finite - finite[0], "o-", color=BLUE, markersize=4, linewidth=1)
    ax.set_yscale("symlog", linthresh=1.0)  # linear up to 1, where starts count as equal
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(bottom=-0.3)
    ax.set_xlim(left=0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("start, best first")
    ax.set_ylabel("loss above the best")
    failed = len(losses) - len(finite)
    ax.set_title(
        f"best {finite[0]:.2f}" + (f"; {failed} of {len(losses)} starts failed" if failed else ""),
        fontsize=9,
        loc="left",
    )
    return _bare(ax)


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def _bare(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _require(table: pd.DataFrame, columns: Sequence[str]) -> None:
    for column in columns:
        if column not in table.columns:
            raise DataError(f"`table` has no column `{column}`; {nearest(column, map(str, table.columns))}")


def _plain(names: Any) -> list[str]:
    """Names as they are: matplotlib takes text between dollar signs for mathematics."""
    return [str(name).replace("$", r"\$") for name in names]


def _predictions(table: pd.DataFrame) -> list[str]:
    """Columns that can be predictions: all with floating-point numbers but the measured one."""
    return [str(name) for name, dtype in table.dtypes.items() if dtype.kind == "f" and name != "measured"]


def _touched(table: pd.DataFrame) -> np.ndarray:
    if "touched_by_graph" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    return table["touched_by_graph"].to_numpy(bool)


def _limits(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    margin = 0.03 * (finite.max() - finite.min() or 1.0)
    return finite.min() - margin, finite.max() + margin


def _scatter(ax: Axes, table: pd.DataFrame, model: str, limits: tuple[float, float]) -> None:
    """One panel: identity line, entries, and the error in the title."""
    measured, predicted, touched = table["measured"], table[model], _touched(table)
    ax.plot(limits, limits, color=GREY, linewidth=0.8)
    ax.scatter(
        measured[~touched], predicted[~touched], s=6, color=GREY, alpha=0.45, linewidths=0, rasterized=True
    )
    ax.scatter(
        measured[touched], predicted[touched], s=12, color=BLUE, alpha=0.85, linewidths=0, rasterized=True
    )
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    error = f"RMSE {_rmse(table, model):.2f}"
    if touched.any():
        error += f", {_rmse(table[touched], model):.2f} where the graph touches"
    ax.set_title(f"{_plain([model])[0]}\n{error}", fontsize=8, loc="left")
    ax.set_xlabel("measured", fontsize=8)
    ax.set_ylabel("predicted", fontsize=8)
    ax.tick_params(labelsize=7)
    _bare(ax)


def _rmse(table: pd.DataFrame, model: str) -> float:
    return float(np.sqrt(((table[model] - table["measured"]) ** 2).mean()))
