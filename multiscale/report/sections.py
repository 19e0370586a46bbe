"""Sections on what was learned: parameters, energies, complexes, pairs of cells, pathways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiscale.report import html
from multiscale.report.courses import MOST, courses, timed
from multiscale.report.estimates import energies
from multiscale.report.findings import Findings
from multiscale.report.matrix import heat, informed
from multiscale.report.tables import table

__all__ = ["Section", "folded", "learned"]

_MOST = 45  # rows of a matrix that can still be read


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Args:
        key: its anchor.
        title: its heading.
        parts: HTML, in order; a section without parts is left out.
    """

    key: str
    title: str
    parts: list[str]


def learned(findings: Findings) -> list[Section]:
    """Sections on what was learned, in the order of the page."""
    return [
        Section("parameters", "Parameters before and after", _parameters(findings)),
        Section("courses", "Time courses", _courses(findings)),
        Section("complexes", "Which complexes form where", _complexes(findings)),
        Section("pairs", "Who talks to whom", _pairs(findings)),
        Section("pathways", "Pathway activity", _pathways(findings)),
    ]


def folded(summary: str, *parts: str, opened: bool = False) -> str:
    """Parts that a reader opens."""
    return (
        f"<details{' open' * opened}>\n<summary>{html.text(summary)}</summary>\n{''.join(parts)}\n</details>"
    )


def _paragraph(words: str) -> str:
    return f"<p>{html.text(words)}</p>"


def _parameters(findings: Findings) -> list[str]:
    parts, drawn, rest = [], [], []
    parameters, formed = findings.table("parameters"), findings.table("energies")
    formed = formed if "complex" in formed else formed.iloc[:0]  # those of readings have their own section
    if "informationNats" in parameters and "role" in parameters:
        parts += [_paragraph(_determined(parameters))]
        caption = (
            "How much the data told about every parameter, by what the parameter is for. 0: the prior alone; "
            "every 0.69 nats halve its standard deviation; grey bar: median."
        )
        drawn.append(html.figure("informed", informed(parameters).figure, caption))
    elif len(parameters) and "lower" not in parameters:
        parts.append(_paragraph("No intervals were computed in this run, so only the estimates are shown."))
    if len(formed):
        caption = (
            "Energy of every complex. Grey: what was assumed before; blue: what is known now. "
            "Where both coincide, the data added nothing."
        )
        drawn.append(html.figure("energies", energies(_narrowed(formed)).figure, caption + _left_out(formed)))
        rest.append(
            folded("Table of energies and Kd", table("energies", formed, "Energies of complexes", _ENERGIES))
        )
    if len(parameters):
        ranked = parameters
        if "informationNats" in parameters:
            ranked = parameters.sort_values("informationNats", ascending=False, kind="stable")
        caption = "All parameters" + (", most informed first" if ranked is not parameters else "")
        rest.append(folded("Table of all parameters", table("parameters", ranked, caption, _PARAMETERS)))
    return [*parts, *([html.row(*drawn)] if drawn else []), *rest]


def _courses(findings: Findings) -> list[str]:
    """Measurements over time with the fit, and a table of all species at those times."""
    parts, measured = [], timed(findings.table("predictions"))
    if len(measured):
        count = len(measured[["assay", "target"]].drop_duplicates())
        more = f" Shown are the {MOST} targets with most measurements of {count}." if count > MOST else ""
        caption = (
            "Measurements over time (dots; triangles are limits) and what the fit says of them (lines through"
            " the measured times), one colour per context. Band: 90 % interval of a new measurement."
        )
        parts.append(html.figure("courses", courses(measured).figure, caption + more))
    everything = findings.table("concentrations")
    if len(everything):
        title = "Concentrations of all species in every context, µM"
        parts.append(folded("Table of concentrations", table("concentrations", everything, title)))
    return parts


_ENERGIES = [
    "complex",
    "g_kcal_per_mol",
    "lower",
    "upper",
    "prior_mean",
    "prior_sd",
    "Kd_uM",
    "Kd_lower_uM",
    "Kd_upper_uM",
    "subunits",
    "evidence",
]
_PARAMETERS = [
    "parameterId",
    "nominalValue",
    "value",
    "lower",
    "upper",
    "unit",
    "priorMean",
    "priorSd",
    "informationNats",
    "determinedBy",
    "role",
    "note",
]


def _narrowed(formed: pd.DataFrame) -> pd.DataFrame:
    """The energies that the data narrowed most, if there are too many; without intervals the lowest."""
    if len(formed) <= _MOST:
        return formed
    if not {"lower", "upper", "prior_sd"} <= set(formed.columns):
        return formed.nsmallest(_MOST, "g_kcal_per_mol")
    width = (formed["upper"] - formed["lower"]) / formed["prior_sd"]
    return formed.loc[width.nsmallest(_MOST).index]


def _determined(parameters: pd.DataFrame) -> str:
    """How many parameters the data determined, in words."""
    if "determinedBy" not in parameters:
        return f"{len(parameters)} parameters were estimated."
    counts = parameters["determinedBy"].value_counts()
    data, both, prior = (int(counts.get(name, 0)) for name in ("data", "both", "prior"))
    return (
        f"Of {len(parameters)} parameters the data determined {data}; {both} are set by data and prior "
        f"together, and {prior} are still where the prior put them."
    )


def _complexes(findings: Findings) -> list[str]:
    formed = findings.table("complexes")
    if not {"context", "complex", "bound_fraction"} <= set(formed.columns) or formed.empty:
        return []
    matrix = formed.pivot_table(index="complex", columns="context", values="bound_fraction", sort=False)
    words = "Fraction of the scarcest subunit that is in the complex: 0 = none of it, 1 = all of it."
    caption = words + _left_out(matrix)
    ranked = formed.sort_values("bound_fraction", ascending=False, kind="stable")
    return [
        html.figure("bound", heat(_top(matrix), "bound fraction", highest=1.0).figure, caption),
        folded(
            "Table with intervals",
            table("complexes", ranked, "Complexes in every context, fullest first", _BOUND),
        ),
    ]


_BOUND = ["context", "complex", "bound_fraction", "bound_lower", "bound_upper", "concentration_uM"]


def _top(matrix: pd.DataFrame) -> pd.DataFrame:
    """Rows that differ most between columns, in their order, if there are too many to read."""
    if len(matrix) <= _MOST:
        return matrix
    spread = (matrix.max(axis=1) - matrix.min(axis=1)).rank(method="first", ascending=False)
    return matrix[spread <= _MOST]


def _left_out(rows: pd.DataFrame) -> str:
    more = len(rows) - _MOST
    return f" Shown are the {_MOST} that tell most; {more} more are in the table." if more > 0 else ""


def _pairs(findings: Findings) -> list[str]:
    pairs = findings.table("pairs")
    if not {"sender", "receiver", "complex", "occupancy"} <= set(pairs.columns) or pairs.empty:
        return []
    ranked = pairs.sort_values("occupancy", ascending=False, kind="stable")
    total = pairs.pivot_table(
        index="sender", columns="receiver", values="occupancy", aggfunc="sum", sort=False
    )
    caption = (
        "Occupancy of the receivers (columns) by the senders (rows), summed over complexes between cells; "
        "occupancy = fraction of the receiver's molecule that is in the complex."
    )
    shown = [
        "sender",
        "receiver",
        "complex",
        "occupancy",
        "occupancy_lower",
        "occupancy_upper",
        "concentration_uM",
    ]
    return [
        _paragraph(_strongest(ranked)),
        html.figure("talk", heat(_top(total), "occupancy, summed").figure, caption),
        folded(
            "Table with intervals",
            table("pairs", ranked, "Complexes between cells, highest occupancy first", shown),
        ),
    ]


def _strongest(ranked: pd.DataFrame) -> str:
    """The strongest link of the three complexes with the highest occupancy, in words."""
    lines = []
    for row in ranked.drop_duplicates("complex").head(3).to_dict("records"):
        ends = (row.get("occupancy_lower", np.nan), row.get("occupancy_upper", np.nan))
        interval = f", 90 % interval {ends[0]:.2g} to {ends[1]:.2g}" if np.isfinite(ends).all() else ""
        line = (
            f"{row['complex']} from {row['sender']} to {row['receiver']} ({row['occupancy']:.2g}{interval})"
        )
        lines.append(line)
    return f"Highest occupancies: {'; '.join(lines)}."


def _pathways(findings: Findings) -> list[str]:
    activity = findings.table("pathways")
    if not {"context", "pathway", "activity"} <= set(activity.columns) or activity.empty:
        return []
    alone = activity[~activity["context"].astype(str).str.contains("|", regex=False)]
    shown = alone if len(alone) else activity
    matrix = shown.pivot_table(index="pathway", columns="context", values="activity", sort=False)
    caption = (
        "Activity of every pathway: sum of ln fold changes of its members against the mean over contexts."
    )
    whole = table(
        "pathways", activity, "Pathway activity in every context; sender|receiver is a pair of cells"
    )
    return [
        html.figure("activity", heat(_top(matrix), "activity").figure, caption + _left_out(matrix)),
        folded("Table with intervals", whole),
    ]
