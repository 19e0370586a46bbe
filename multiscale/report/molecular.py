"""Sections on fits of readings, the molecular scale: scores, energies per mutation, calibrations."""

from __future__ import annotations

import pandas as pd

from multiscale.report import html
from multiscale.report.findings import Findings
from multiscale.report.molecular_words import FITTED
from multiscale.report.scores import predicted, readout, with_split
from multiscale.report.sections import Section, folded
from multiscale.report.tables import MOST_ROWS, table
from multiscale.report.variants import families, mutations, widths

__all__ = ["first", "is_molecular", "molecular"]

_MAPS = 8  # heat maps that are drawn
_PANELS = 9  # readings and splits that are drawn


def is_molecular(findings: Findings) -> bool:
    """Whether the findings are those of a fit of readings."""
    return "term" in findings.table("energies") or "readings" in findings.table("metrics")


def molecular(findings: Findings) -> list[Section]:
    """Sections on a fit of readings, in the order of the page; none for other fits."""
    if not is_molecular(findings):
        return []
    return [
        Section("scores", "Predicted against measured", _scores(findings)),
        Section("mutations", "Learned energies", _energies(findings)),
        Section("readouts", "From the state to the reading", _readouts(findings)),
    ]


def first(findings: Findings) -> str:
    """Picture of the first screen: rows that were not fitted, or else the fitted ones; '' without any."""
    values = _measured(findings)
    if values.empty:
        return ""
    held = _held_out(findings, values)
    shown, words = (
        (held, "Rows that were not fitted") if len(held) else (values, "Fitted rows; none were held out")
    )
    key = shown["readings"] == shown["readings"].iloc[0], shown["split"] == shown["split"].iloc[0]
    drawn = predicted(shown[key[0] & key[1]], _metrics(findings))
    return html.figure("first-scores", drawn.figure, f"{words}: predicted against measured.")


def _held_out(findings: Findings, values: pd.DataFrame) -> pd.DataFrame:
    """Rows that were not fitted: a run has tables of their own for them."""
    parts = [part for name, part in findings.tables.items() if name.startswith("predictions_")]
    labels = {label for part in parts for label in with_split(part)["split"]}
    return values[values["split"].isin(labels) if parts else ~values["split"].isin(FITTED)]


def _metrics(findings: Findings) -> pd.DataFrame | None:
    """Scores of all rows, if the fit states them."""
    metrics = findings.table("metrics")
    return metrics if {"readings", "n", "r2", "coverage_90"} <= set(metrics.columns) else None


def _measured(findings: Findings) -> pd.DataFrame:
    """Predictions with a measured value; empty if the table is of another kind."""
    values = findings.table("readings")
    if not {"readings", "observed", "predicted"} <= set(values.columns):
        return pd.DataFrame()
    return with_split(values[values["observed"].notna() & values["predicted"].notna()])


def _scores(findings: Findings) -> list[str]:
    parts, metrics, values = [], findings.table("metrics"), _measured(findings)
    if len(metrics):
        caption = (
            "Scores per readings and split. R²: squared correlation; determination: 1 − squared error / "
            "variance; a calibrated fit has 90 % of the measurements inside their 90 % interval"
        )
        parts.append(table("metrics", metrics, caption, _METRICS))
    if len(values):
        caption = (
            "Every panel: one set of readings and one split of its rows. Line: equality. Many points are "
            "counted in hexagons (brighter: more); bars of single points: 90 % interval of a new measurement."
        )
        chosen = values[["readings", "split"]].drop_duplicates().head(_PANELS)
        drawn = predicted(values.merge(chosen, on=["readings", "split"]), _metrics(findings))
        parts.append(html.figure("scores-panels", drawn.figure, caption))
        whole = table("readings", findings.table("readings"), "Measurements with their predictions")
        parts.append(folded("Table of predictions", whole))
    return parts


_METRICS = [
    "readings",
    "split",
    "n",
    "r2",
    "determination",
    "spearman",
    "rmse",
    "unit",
    "coverage_90",
    "log_density",
]


def _energies(findings: Findings) -> list[str]:
    energies = findings.table("energies")
    if not {"encoder", "family", "term", "label", "estimate"} <= set(energies.columns) or energies.empty:
        return []
    parts = []
    for number, (encoder, family, term) in enumerate(families(energies)[:_MAPS]):
        drawn = mutations(energies[energies["family"] == family], term, encoder)
        parts.append(html.figure(f"map-{number}", drawn.figure, _map_caption(encoder, term)))
    if {"lower", "upper", "determinedBy"} <= set(energies.columns) and energies["lower"].notna().any():
        caption = (
            "How well every energy is known. Where the prior determines it, the width is that of the prior, "
            "and the number says nothing about the molecule."
        )
        parts.append(html.figure("widths", widths(energies).figure, caption))
    shown = _most(energies)
    caption = f"{len(energies):,} energies, kcal/mol, with 90 % intervals"
    if len(shown) < len(energies):
        caption += f"; here the {len(shown):,} surest, all are in the files of the run"
    return [*parts, table("energies", shown, caption, _ENERGIES)]


_ENERGIES = ["encoder", "family", "term", "label", "estimate", "lower", "upper", "sd", "determinedBy", "note"]


def _map_caption(encoder: str, term: str) -> str:
    return (
        f"Change of `{term}` by every single mutation (encoder `{encoder}`), kcal/mol. Blue: the energy "
        "falls, which favours the state; red: it rises. Dot: wild type; cross: not read; hatched: not "
        "determined by the data, or only together with another term (see the notes in the table). The "
        "strongest colours stand for the 98 % quantile and what lies beyond it."
    )


def _most(energies: pd.DataFrame) -> pd.DataFrame:
    """Of too many energies the surest, in their order; without intervals the largest."""
    if len(energies) <= MOST_ROWS:
        return energies
    size = energies["estimate"].abs() / energies.get("sd", 1.0)
    return energies[size.rank(method="first", ascending=False) <= MOST_ROWS]


def _readouts(findings: Findings) -> list[str]:
    calibration = findings.table("calibration")
    if not {"readings", "readout", "expected", "observed_mean", "observed_sd", "n"} <= set(
        calibration.columns
    ):
        return []
    if calibration.empty:
        return []
    caption = (
        "What every instrument reads (across) and what it measures (up). Line: fitted calibration; dots: "
        "mean of rows of similar state, larger for more rows; bars: ± one standard deviation of single rows. "
        "Where the line is flat, readings say little about energies."
    )
    words = "Calibration: bins of rows of similar state"
    return [
        html.figure("readouts-panels", readout(calibration).figure, caption),
        folded("Table of calibrations", table("calibration", calibration, words)),
    ]
