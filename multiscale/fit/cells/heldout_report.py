"""A study of hidden readings: runs what a folder lacks, and says in tables what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiscale import atomic
from multiscale.errors import DataError
from multiscale.fit.cells.heldout import FEW, KINDS, summarise_scores
from multiscale.fit.cells.heldout_trials import (
    FLAT,
    GRAPH,
    REWIRED,
    WITHOUT,
    HeldOut,
    Trial,
    share_beaten,
    subunit_correlation,
    subunit_pairs,
)
from multiscale.fit.checkpoint import Checkpoint, Saved
from multiscale.fit.tasks import complete
from multiscale.graph import rewire
from multiscale.model.cells import CellProblem

__all__ = ["headline", "report", "run_study"]

TITLES = {
    "cells": "All readings of a part of the cells hidden",
    "entries": "Single readings hidden",
    "features": "Features hidden in all cells",
}
PAIRINGS = 200
"""Rewired graphs whose pairs are looked up in one fit that knows no complexes."""

Found = Mapping[Trial, Saved]


def run_study(study: HeldOut, settings: Mapping[str, Any], out: Path, workers: int = 2) -> str:
    """Run the trials that a folder lacks, and write `table.md` and `scores.tsv` into it.

    Args:
        study: what is asked.
        settings: `seeds`, `rewirings`, `rewired_seeds`; see `HeldOut.trials`.
        out: folder of finished fits and of the tables.
        workers: processes.

    Returns:
        the tables in Markdown.
    """
    trials = study.trials(settings["seeds"], settings["rewirings"], settings["rewired_seeds"])
    done = complete([study.task(trial) for trial in trials], Checkpoint(out / "fits"), workers, title="fits")
    text, scores = report(study, {trial: done[trial.name] for trial in trials})
    with atomic.replace(out / "table.md") as path:
        path.write_text(text, encoding="utf-8")
    with atomic.replace(out / "scores.tsv") as path:
        scores.to_csv(path, sep="\t", index=False, float_format="%.4f")
    return text


def report(study: HeldOut, found: Found) -> tuple[str, pd.DataFrame]:
    """Tables in Markdown, and the score of every trial, batch and feature."""
    scores = pd.concat([study.scores(trial, saved) for trial, saved in found.items()], ignore_index=True)
    parts = [" ".join(headline(scores[scores["kind"] == kind], kind) for kind in KINDS), ""]
    for kind in KINDS:
        own = scores[scores["kind"] == kind].dropna(axis=1, how="all")
        if own.empty:
            raise DataError(f"no feature has {FEW} hidden readings in a batch ({kind}); hide a larger share.")
        parts += [f"### {TITLES[kind]}", "", _methods(own), "", _rewired(own, found, kind), ""]
    parts += ["### Subunits", "", _subunits(study, found), "", "### Fits", "", _fits(found), ""]
    return "\n".join(parts), scores


def headline(scores: pd.DataFrame, kind: str) -> str:
    """Whether the graph is ahead with one kind of hidden readings, in a sentence.

    It is if its CRPS (rank correlation for features, of which no counts are predicted), mean over splits, is
    better than that of every other method but rewired graphs.

    Args:
        scores: of one kind, columns `method`, `seed` and the scores.
        kind: one of `KINDS`.
    """
    name, sign = ("spearman", 1.0) if kind == "features" else ("crps", -1.0)
    usual = scores[~scores["method"].str.startswith(REWIRED)]
    grid = usual.pivot_table(name, "seed", "method")
    others = grid.drop(columns=GRAPH)
    gain = (sign * others).rsub(sign * grid[GRAPH], axis=0)
    best = str(gain.mean().idxmin())
    said = [
        f"{other} {grid[other].mean():.3f} (worse in {int((gain[other] > 0).sum())} of {len(grid)} splits)"
        for other in dict.fromkeys([best, WITHOUT])
    ]
    verdict = "is ahead" if gain[best].mean() > 0 else "does not help"
    label = "rank correlation" if name == "spearman" else "CRPS"
    return f"{TITLES[kind]}: the graph {verdict}; {label} {grid[GRAPH].mean():.3f}, {', '.join(said)}."


def _methods(scores: pd.DataFrame) -> str:
    """A row per method: mean over features and batches, mean ± sd over splits."""
    rows = []
    for method in dict.fromkeys(scores["method"]):
        own = scores[scores["method"] == method]
        if not method.startswith(REWIRED):
            tables = [table for _, table in own.groupby("seed")]
            found = summarise_scores(tables)
            names = [name for name in found.index if not name.endswith(" sd")]
            rows.append({"method": method} | {name: _plus_minus(found, name) for name in names})
    return _markdown(pd.DataFrame(rows))


def _plus_minus(found: pd.Series, name: str) -> str:
    spread = found[f"{name} sd"]
    return f"{found[name]:.3f}" + ("" if np.isnan(spread) else f" ± {spread:.3f}")


def _rewired(scores: pd.DataFrame, found: Found, kind: str) -> str:
    """How the graph does among rewired ones, in the same splits."""
    wrong = scores[scores["method"].str.startswith(REWIRED)]
    if wrong.empty:
        return "No rewired graphs."
    true = scores[(scores["method"] == GRAPH) & scores["seed"].isin(wrong["seed"].unique())]
    rows = []
    for name in ("rmse", "crps", "spearman"):
        if name in scores:
            others = wrong.groupby("method")[name].mean().to_numpy()
            rows.append(_against(name, true[name].mean(), others, name == "spearman"))
    seeds = set(true["seed"])
    bounds = {
        t: s.meta["elbo"] for t, s in found.items() if t.kind == kind and t.seed in seeds if "elbo" in s.meta
    }
    elbo = pd.Series({(t.method, t.seed): value for t, value in bounds.items()}).groupby(level=0).mean()
    others = elbo[elbo.index.str.startswith(REWIRED)].to_numpy()
    return _markdown(
        pd.DataFrame([*rows, _against("bound, nats per cell", float(elbo.loc[GRAPH]), others, True)])
    )


def _against(name: str, value: float, others: np.ndarray, higher: bool) -> dict[str, str]:
    beaten = share_beaten(value, list(others), "higher" if higher else "lower")
    return {
        "score": name,
        "graph": f"{value:.3f}",
        "rewired graphs, lowest": f"{np.min(others):.3f}",
        "median": f"{np.median(others):.3f}",
        "highest": f"{np.max(others):.3f}",
        "worse than the graph": f"{round(beaten * len(others))} of {len(others)}",
    }


def _subunits(study: HeldOut, found: Found) -> str:
    """Correlation of totals of subunits of one complex, in fits that know the complexes and that do not."""
    batch, rows = study.cells.batch.codes, []
    molecules = CellProblem(study.graph, study.cells).molecules
    pairs = subunit_pairs(study.graph)
    fits = {
        t: s.arrays["ln_total"] for t, s in found.items() if t.kind == "entries" and "ln_total" in s.arrays
    }

    def of(method: str, own: Sequence[tuple[str, str]]) -> float:
        parts = [subunit_correlation(x, molecules, own, batch) for t, x in fits.items() if t.method == method]
        return float(np.mean(parts))

    wrong = list(dict.fromkeys(t.method for t in fits if t.method.startswith(REWIRED)))
    if wrong:
        numbers = [int(name.removeprefix(REWIRED)) for name in wrong]
        own = [subunit_pairs(rewire(study.graph, number)) for number in numbers]
        others = [of(name, part) for name, part in zip(wrong, own, strict=True)]
        rows.append(_against("pairs of the fitted graph", of(GRAPH, pairs), np.array(others), True))
    blind = [of(FLAT, subunit_pairs(rewire(study.graph, number))) for number in range(PAIRINGS)]
    rows.append(_against("pairs, fit without complexes", of(FLAT, pairs), np.array(blind), True))
    return _markdown(pd.DataFrame(rows))


def _fits(found: Found) -> str:
    """How the fits went, a row per kind of split and model."""
    rows = [
        {
            "hidden": trial.kind,
            "model": trial.method.split()[0] if trial.method.startswith(REWIRED) else trial.method,
        }
        | {name: saved.meta[name] for name in ("elbo", "epochs", "active_units", "failed", "seconds")}
        for trial, saved in found.items()
        if "elbo" in saved.meta
    ]
    table = pd.DataFrame(rows).groupby(["hidden", "model"], sort=False).mean().reset_index()
    return _markdown(table.round({"elbo": 2, "epochs": 0, "active_units": 1, "failed": 2, "seconds": 0}))


def _markdown(table: pd.DataFrame) -> str:
    lines = [list(map(str, table.columns)), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
