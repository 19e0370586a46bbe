"""Sections on whether to believe it: predictions, controls, starts, what is left open, sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from multiscale.report import cell_page, html
from multiscale.report.drawing import panels
from multiscale.report.estimates import RISE, profile, waterfall
from multiscale.report.findings import Findings
from multiscale.report.judgement import (
    MODELS,
    calibration,
    controls,
    exact,
    fraction_inside,
    models,
    rmse,
    touched,
)
from multiscale.report.matrix import heat
from multiscale.report.molecular import first, is_molecular
from multiscale.report.sections import Section, folded
from multiscale.report.tables import table

__all__ = ["checks", "primary", "splits", "unit"]

_PROFILES = 12  # that are drawn; all are in the table
_RANKED = 30  # parameters in the picture of assays


def checks(findings: Findings) -> list[Section]:
    """Sections on whether to believe it, in the order of the page."""
    return [
        Section("predictions", "Predicted against measured", _predictions(findings)),
        Section("heldout", "Held-out error beside the controls", _heldout(findings)),
        Section("starts", "Where the starts ended", _starts(findings)),
        Section("undetermined", "What is not determined", _undetermined(findings)),
        Section("assays", "Which assay told what", _assays(findings)),
        Section("about", "Settings, versions and sources", _about(findings)),
    ]


def splits(findings: Findings) -> dict[str, pd.DataFrame]:
    """Tables of held-out values, the first being the one that the first line speaks of."""
    names = [name for name in findings.tables if name == "heldout" or name.startswith("heldout_")]
    found = {name: findings.table(name) for name in sorted(names)}
    return {name: found_ for name, found_ in found.items() if len(found_) and "fitted" in found_}


def primary(findings: Findings) -> str:
    """Picture of held-out error beside the controls, or words that say that there is none."""
    if cell_page.is_cells(findings):
        return cell_page.first(findings)
    if is_molecular(findings):
        return first(findings)
    for name, heldout in splits(findings).items():
        return _control(findings, name, heldout, f"first-{name}")
    return '<p class="none">Nothing was held out in this run, so it cannot say whether the graph matters.</p>'


def unit(findings: Findings, split: str) -> str:
    """Unit of held-out values, '' if nobody said."""
    said = _split(findings, split).get("unit", "")
    return str(said).split(";")[0]


def _split(findings: Findings, split: str) -> Mapping[str, Any]:
    return findings.meta.get("held_out", {}).get(split, {})


def _together(findings: Findings, split: str) -> str:
    """What was held out together, in words."""
    words = {"target": "molecule"}
    together = _split(findings, split).get("held_out_together", ())
    return " and ".join(words.get(part, str(part)) for part in together) or split.removeprefix("heldout_")


def _control(findings: Findings, split: str, heldout: pd.DataFrame, key: str) -> str:
    rewirings = _rewirings(findings, split)
    drawn = controls(heldout, rewirings, unit(findings, split))
    best = min(models(heldout), key=lambda name: rmse(touched(heldout), name))
    caption = f"Error on {len(touched(heldout))} measurements that no fit saw"
    caption += " and that the graph can influence" if len(touched(heldout)) < len(heldout) else ""
    caption += f", held out by {_together(findings, split)}."
    alternative = f"{caption} Smallest error: {MODELS.get(best, best.replace('_', ' '))}."
    caption += " Amber: better than the fit." if best != "fitted" else ""
    if not len(rewirings):
        caption += " No rewired graphs were fitted for this split."
    return html.figure(key, drawn.figure, caption, alternative)


def _rewirings(findings: Findings, split: str) -> pd.DataFrame:
    """Errors of rewired graphs on a split; a table that names no split belongs to the first."""
    rewirings = findings.table("controls")
    if "split" in rewirings:
        return rewirings[rewirings["split"] == split]
    return rewirings if split == next(iter(splits(findings))) else rewirings.iloc[:0]


def _heldout(findings: Findings) -> list[str]:
    drawn = [_control(findings, name, part, f"control-{name}") for name, part in splits(findings).items()]
    parts = [html.row(*drawn)] if drawn else []
    for name, heldout in splits(findings).items():
        rows = [
            {"model": MODELS.get(m, m), "touched": rmse(touched(heldout), m), "all": rmse(heldout, m)}
            for m in models(heldout)
        ]
        scores = pd.DataFrame(rows).rename(
            columns={"touched": "error where the graph matters", "all": "error of all"}
        )
        caption = f"Root mean square error, held out by {_together(findings, name)}"
        parts.append(table(f"errors_{name}", scores, caption))
        parts += _heldout_calibration(findings, name, heldout)
        whole = table(name, heldout, "Every held-out measurement with every prediction")
        parts.append(folded(f"All held-out values, by {_together(findings, name)}", whole))
    if len(findings.table("controls")):
        whole = table("controls", findings.table("controls"), "Held-out error of every rewired graph")
        parts.append(folded("Rewired graphs", whole))
    return parts


def _heldout_calibration(findings: Findings, split: str, heldout: pd.DataFrame) -> list[str]:
    """Whether intervals hold what no fit saw, if the split has intervals."""
    if not {"lower", "upper"} <= set(heldout.columns):
        return []
    words = f"held out by {_together(findings, split)}"
    values = heldout.assign(assay=words, predicted=heldout["fitted"], scale=unit(findings, split))
    caption = "Held-out values against their prediction. Blue: inside the 90 % interval; amber: outside."
    return [html.figure(f"calibration-{split}", calibration(values).figure, caption)]


def _predictions(findings: Findings) -> list[str]:
    values = findings.table("predictions")
    if not {"assay", "measured", "predicted"} <= set(values.columns) or values.empty:
        return []
    rows = []
    for assay, part in values.groupby("assay", sort=False):
        known = len(exact(part))
        row = {"assay": assay, "values": known, "bounds": len(part) - known}
        rows.append(row | {"inside": fraction_inside(part)})
    inside = pd.DataFrame(rows).rename(columns={"inside": "fraction inside 90 % interval"})
    caption = (
        "Blue: the measurement is inside its 90 % interval; amber: outside. About 90 % should be inside: "
        "fewer means that the model is too sure, more that it is too cautious. "
    )
    caption = caption if "lower" in values else "No intervals were computed in this run. "
    caption += "These values were fitted; held-out ones follow below."
    return [
        html.figure("calibration", calibration(values).figure, caption),
        *([table("inside", inside, "Measurements inside their 90 % interval")] if "lower" in values else []),
        folded(
            "Table of all predictions", table("predictions", values, "Every measurement with its prediction")
        ),
    ]


def _starts(findings: Findings) -> list[str]:
    starts = findings.table("starts")
    if "loss" not in starts or not starts["loss"].notna().any():
        return []
    caption = (
        "Negative log posterior of every start above the best. A plateau at 0 means that starts from "
        "different places found the same answer."
    )
    parts = [html.figure("waterfall", waterfall(starts).figure, caption)]
    return [*parts, folded("Table of starts", table("starts", starts, "Every start"))]


def _undetermined(findings: Findings) -> list[str]:
    parts = [html.listing(findings.undetermined)] if findings.undetermined else []
    named = findings.table("undetermined")
    if len(named):
        whole = table("undetermined", named, "Parameters and combinations that the data leave open")
        parts.append(folded("Table of what is not determined", whole))
    profiles = findings.table("profiles")
    if {"parameterId", "value", "rise"} <= set(profiles.columns) and len(profiles):
        parts += _profiles(profiles)
    return parts


def _profiles(profiles: pd.DataFrame) -> list[str]:
    names = list(dict.fromkeys(profiles["parameterId"].astype(str)))
    drawn = names[:_PROFILES]
    whole, places = panels(None, len(drawn), (2.7, 2.5))
    for name, place in zip(drawn, places, strict=True):
        profile(profiles, name, place)
    caption = (
        "Profile likelihoods: how much worse the fit gets when one parameter is held and all others are "
        f"fitted again. Values below the dotted line (a rise of {RISE:.3f}) are inside the 90 % interval; "
        "dashed: the prior alone. Where both curves agree, the data said nothing."
    )
    if len(names) > len(drawn):
        caption += f" {len(names) - len(drawn)} more are in the table."
    drawing = html.figure("profiles", whole.figure, caption)
    return [drawing, folded("Table of profiles", table("profiles", profiles, "Points of all profiles"))]


def _assays(findings: Findings) -> list[str]:
    told = findings.table("information")
    if not {"parameterId", "assay", "information_nats"} <= set(told.columns) or told.empty:
        return []
    words = "Every assay was left out in turn; information = ½ ln (variance without / with it), in nats."
    parts, drawn = [f"<p>{html.text(words)}</p>"], []
    parameters = findings.table("parameters")
    if {"parameterId", "role"} <= set(parameters.columns):
        roles = told.drop(columns="role", errors="ignore").merge(
            parameters[["parameterId", "role"]], on="parameterId"
        )
        matrix = roles.pivot_table(
            index="role", columns="assay", values="information_nats", aggfunc="mean", sort=False
        )
        if len(matrix):
            caption = "What every assay told about a parameter, mean over the parameters of a kind."
            drawn.append(
                html.figure("roles", heat(matrix.clip(lower=0), "information, nats").figure, caption)
            )
    matrix = told.pivot_table(index="parameterId", columns="assay", values="information_nats", sort=False)
    top = matrix.loc[matrix.sum(axis=1).nlargest(_RANKED).index]
    caption = f"The {len(top)} parameters that single assays told most about."
    drawn.append(html.figure("assays", heat(top.clip(lower=0), "information, nats").figure, caption))
    return [
        *parts,
        html.row(*drawn),
        folded("Table of information", table("information", told, "Information per parameter and assay")),
    ]


def _about(findings: Findings) -> list[str]:
    sources = findings.table("sources")
    parts = (
        [table("sources", sources, "Where the data come from, and under which licence")]
        if len(sources)
        else []
    )
    graph = findings.network.graph
    card = {key: value for key, value in graph.card.items() if value not in ("", None)}
    parts += [folded(f"Graph: {graph.name}", html.settings(card))] if card else []
    if findings.meta:
        parts.append(folded("Settings and versions", html.settings(findings.meta)))
    return parts
