"""Sections on fits of single cells: held-out readings, checks, latent state, groups, training."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from multiscale.report import html
from multiscale.report.cell_checks import checks
from multiscale.report.cell_curves import training
from multiscale.report.cell_words import WITHOUT
from multiscale.report.drawing import BLUE, GREY, bare, new_axes, plain
from multiscale.report.findings import Findings
from multiscale.report.matrix import heat
from multiscale.report.sections import Section, folded
from multiscale.report.tables import table

__all__ = ["cells", "differences", "first", "is_cells"]

_ROWS = 40  # complexes and pathways in a picture of groups


def is_cells(findings: Findings) -> bool:
    """Whether the findings are those of a fit of single cells."""
    return "modality" in findings.table("scores")


def cells(findings: Findings) -> list[Section]:
    """Sections on a fit of single cells, in the order of the page; none for other fits."""
    if not is_cells(findings):
        return []
    return [
        Section("held-out-cells", "Held-out readings with and without the graph", _compared(findings)),
        Section("cell-scores", "How well readings are explained", _scores(findings)),
        Section("posterior-checks", "Cells that the model draws", _checks(findings)),
        Section("reads-graph", "What reads the graph", _reads(findings)),
        Section("units", "The latent state", _units(findings)),
        Section("groups", "Complexes and pathways by group", _groups(findings)),
        Section("training", "Training", _training(findings)),
    ]


def first(findings: Findings) -> str:
    """Picture of the first screen: the difference that the graph makes, or else how training went."""
    found = findings.table("comparison")
    if len(found) and found["difference"].notna().any():
        return html.figure("first-comparison", differences(found).figure, _CAPTION)
    return '<p class="none">No control was fitted, so this run cannot say whether the graph matters.</p>'


_CAPTION = (
    "Log density of held-out readings with the graph, less that of a control, nats per reading; right of 0 "
    "the graph predicts better. Bars: two standard errors. Grey: rewired graphs."
)


def differences(comparison: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Difference of the log density of held-out readings between a fit and its controls, by modality.

    Args:
        comparison: columns `control`, `modality`, `difference`, `standard_error`.
        ax: axes to draw on; new ones if None.
    """
    names = list(dict.fromkeys(comparison["modality"].astype(str)))
    ax = new_axes(ax, (5.0, 1.1 + 0.45 * len(names)))
    for control, part in comparison.groupby("control", sort=False):
        place = np.array([names.index(name) for name in part["modality"].astype(str)], dtype=float)
        value = part["difference"].to_numpy(float)
        if control == WITHOUT:
            wide = 2 * part["standard_error"].to_numpy(float)
            ax.errorbar(value, place, xerr=wide, fmt="o", color=BLUE, markersize=5, label=WITHOUT, zorder=3)
        else:
            ax.plot(value, place + 0.22, "|", color=GREY, markersize=7)
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_yticks(range(len(names)), plain(names, 24), fontsize=8)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("gain over the control, nats per reading", fontsize=8)
    ax.tick_params(axis="x", labelsize=7)
    return bare(ax)


def _compared(findings: Findings) -> list[str]:
    found = findings.table("comparison")
    if found.empty:
        return []
    shown = found.rename(columns={"fitted": "with the graph", "without": "under the control"})
    caption = "Mean log density of held-out readings, nats per reading; error: one standard error over cells"
    drawn = found["difference"].notna().any()
    figure = [html.figure("comparison", differences(found).figure, _CAPTION)] if drawn else []
    return [*figure, table("comparison", shown, caption)]


def _scores(findings: Findings) -> list[str]:
    caption = (
        "Readings that the fit saw (`shown`) and did not see (`hidden`). Log density: mean at one draw, nats "
        "per reading; correlation: median over features of Pearson's r of expected and measured; R²: share "
        "of the variance within features that is explained"
    )
    return [table("scores", findings.table("scores"), caption)]


def _checks(findings: Findings) -> list[str]:
    drawn = findings.table("checks")
    if not {"modality", "feature", "observed", "drawn"} <= set(drawn.columns) or drawn.empty:
        return []
    caption = (
        "Distributions over cells of measured readings (filled) and of those that the fit draws for the same "
        "cells (line); on the right the share of the measured ones inside their 90 % interval."
    )
    return [
        html.figure("checks", checks(drawn).figure, caption),
        folded(
            "Table of checked readings", table("checks", drawn, "Measured and drawn readings of some cells")
        ),
    ]


def _reads(findings: Findings) -> list[str]:
    found = findings.table("reads_graph")
    if found.empty:
        return []
    words = "Features that read the graph's physics; a decoder explains all others from the latent state."
    return [f"<p>{html.text(words)}</p>", table("reads_graph", found, "Features that read the graph")]


def _units(findings: Findings) -> list[str]:
    found = findings.table("units")
    if found.empty:
        return []
    words = (
        f"{int(found['active'].sum())} of {len(found)} latent dimensions are in use: over cells the mean of "
        "their posterior varies by more than 0.01. KL: what readings say of the dimension, nats per cell."
    )
    return [f"<p>{html.text(words)}</p>", table("units", found, "Latent dimensions")]


def _groups(findings: Findings) -> list[str]:
    found = findings.table("groups")
    if found.empty:
        return []
    parts = []
    for kind, label in (("complex", "log2 ratio"), ("pathway", "activity")):
        matrix = _matrix(found[found["kind"] == kind], kind)
        if len(matrix) and np.isfinite(matrix.to_numpy()).any():
            caption = f"Per group: mean of every {kind}" + (
                ", relative to the mean over the groups."
                if kind == "complex"
                else "; 0 = mean over all cells."
            )
            shown = f" Shown are the {_ROWS} that differ most." if len(matrix) == _ROWS else ""
            parts.append(html.figure(f"groups-{kind}", heat(matrix, label).figure, caption + shown))
    whole = table("groups", found, "Means per group: molecules in copies per cell, complexes in µM, pathways")
    return [*parts, folded("Table of groups", whole)]


def _matrix(part: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows that differ most between groups."""
    matrix = part.pivot_table(index="name", columns="group", values="mean", sort=False)
    if kind == "complex" and len(matrix):
        ratio = matrix.div(matrix.mean(axis=1), axis=0)
        matrix = ratio.where(ratio > 0).apply(np.log2)
    if len(matrix) <= _ROWS:
        return matrix
    spread = (matrix.max(axis=1) - matrix.min(axis=1)).rank(method="first", ascending=False)
    return matrix[spread <= _ROWS]


def _training(findings: Findings) -> list[str]:
    history = findings.table("history")
    if history.empty:
        return []
    caption = (
        "Parts of the objective over the epochs, nats per cell. Where cells were set aside to judge "
        "training, the dashed line is about them."
    )
    return [
        html.figure("training", training(history).figure, caption),
        folded("Table of epochs", table("history", history, "All epochs, nats per cell")),
    ]
