"""A fit to readings of molecules from its TOML file to its output folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from multiscale import formats
from multiscale.config import Config
from multiscale.data import Readings
from multiscale.fit.api import fit
from multiscale.fit.molecular.predict import Prediction, predict, scores
from multiscale.fit.molecular.result import MolecularResult
from multiscale.formats import document
from multiscale.graph import write_graph
from multiscale.report import page
from multiscale.report.molecular_words import headline, sentences
from multiscale.runs.fingerprint import molecular_fingerprint
from multiscale.runs.folder import absolute, admit, begin, publish, published
from multiscale.runs.heat_maps import heat_maps
from multiscale.runs.molecular_problem import Asked, molecular_problem
from multiscale.runs.prediction import GRAPH, MODEL
from multiscale.runs.readings import labels_to_fit
from multiscale.runs.store import FORMAT_VERSION, NETWORK, read_run, sources, write_tables

__all__ = ["run_molecular"]

log = logging.getLogger("multiscale")

SCORES = ("n", "r2", "determination", "rmse", "spearman", "coverage_90", "log_density")
"""Scores of metrics.json, per readings and split."""

SHOWN = 5_000
"""Most rows of every readings that the page shows; the files hold all that were not fitted."""

SHOWN_AS = {"observed": "observed_mean", "sd": "observed_sd"}
"""Columns of the table of calibrations in the words of the report."""


def run_molecular(
    config: Config,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    save_every_s: float = 20.0,
) -> dict[str, Any]:
    """Fit readings, predict the rows that were not fitted, and write everything into a folder.

    Finished stages are kept in `<out>/checkpoint/`; all other files appear at the end. A run that was stopped
    goes on where it was, with the same numbers on the same machine.

    Args:
        config: the checked configuration, with readings.
        out: output folder.
        resume: whether a run in the folder goes on.
        overwrite: whether a run in the folder starts again, and files of the same names are replaced.
        progress: show progress bars.
        save_every_s: least time between two saves of an unfinished search, s.

    Returns:
        the content of metrics.json.

    Raises:
        MultiscaleError: input or output is wrong; nothing has been written then.
    """
    began = time.perf_counter()
    out = Path(out)
    admit(out, resume, overwrite)
    asked = molecular_problem(config)
    key = molecular_fingerprint(config, asked.problem.graph, asked.all_readings)
    with begin(out, config, key, resume, overwrite) as checkpoint:
        if published(out, checkpoint, {}):
            log.info("%s: this run is finished; nothing is left to do.", out)
            return document.read(out / "metrics.json", FORMAT_VERSION)
        result = fit(
            asked.problem,
            **config.fit_options,
            progress=progress,
            checkpoint=checkpoint,
            save_every_s=save_every_s,
        )
        tables = _tables(config, result, asked)
        summary = _summary(result, tables) | {"seconds": round(time.perf_counter() - began, 1)}
        with publish(out, checkpoint, {}) as folder:
            _write(folder, result, tables, summary, config)
    return summary


def _tables(config: Config, result: MolecularResult, asked: Asked) -> dict[str, pd.DataFrame]:
    """All tables of the run: what was learned, and how well rows are predicted, fitted ones and others."""
    tables = result.tables()
    tables["calibration"] = tables["calibration"].rename(columns=SHOWN_AS)
    shown, metrics = (
        [_with_labels(config, tables["readings"])],
        [_with_labels(config, tables.pop("scores"))],
    )
    for name, rest in asked.rest.items():
        table, scored = _judged(result, rest)
        tables[f"predictions_{name}"] = table
        metrics.append(scored)
        shown.append(_some(table, name, rest))
    tables["readings"] = pd.concat(shown, ignore_index=True).reindex(columns=shown[0].columns)
    tables["metrics"] = _with_scores(pd.concat(metrics, ignore_index=True))
    maps = heat_maps(tables["energies"]) if "energies" in tables else {}
    tables |= {f"heatmap_{name}": table for name, table in maps.items()}
    return tables | {"sources": sources(config)}


def _with_scores(metrics: pd.DataFrame) -> pd.DataFrame:
    """With columns of all scores: rows that do not differ, such as repeats of one affinity, lack some."""
    missing = [name for name in SCORES if name not in metrics]
    return metrics.assign(**dict.fromkeys(missing, float("nan")))


def _with_labels(config: Config, table: pd.DataFrame) -> pd.DataFrame:
    """Say of fitted rows which labels they had."""
    labels = {name: ", ".join(labels_to_fit(part)) for name, part in config.data.readings.items()}
    table = table.copy()
    table.insert(1, "split", table["readings"].map(labels))
    return table


def _judged(result: MolecularResult, rest: Readings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of rows that were not fitted, and scores per label."""
    assert rest.split is not None
    part = result.model.row_model(rest)
    said = predict(part, result.flat, result.uncertainty, seed=int(result.settings.get("seed", 0)))
    table = said.frame(rest.rows).assign(observed=said.observed, split=rest.split)
    rows = []
    for label in dict.fromkeys(rest.split.tolist()):
        chosen = rest.split == label
        some = Prediction(**{name: values[chosen] for name, values in vars(said).items()})
        rows.append({"readings": rest.name, "split": label, **scores(some), "unit": rest.instrument.unit})
    return table.reset_index(drop=True), pd.DataFrame(rows)


def _some(table: pd.DataFrame, name: str, rest: Readings) -> pd.DataFrame:
    """A part of the predictions for the page, which cannot hold all of very many."""
    table = table.assign(readings=name, unit=rest.instrument.unit, line=rest.rows.index)
    return table if len(table) <= SHOWN else table.sample(SHOWN, random_state=0).sort_index()


def _summary(result: MolecularResult, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Content of metrics.json: what was found, in numbers and sentences."""
    fitted, optimum = sorted(set(tables["readings"]["split"]) - _others(tables)), result.optimum
    scored: dict[str, dict[str, Any]] = {name: {} for name in result.problem.readings}
    for row in tables["metrics"].to_dict("records"):
        scored[row["readings"]][row["split"]] = {key: row[key] for key in SCORES if key in row}
    return result.metadata() | {
        "format_version": FORMAT_VERSION,
        "headline": headline(tables, fitted),
        "sentences": sentences(tables, fitted),
        "not_determined": result.undetermined(),
        "readings": scored,
        "loss": float(optimum.loss[optimum.best]),
        "terms": result.terms(),
        "starts": len(optimum.loss),
        "reasons": pd.Series(optimum.reasons).value_counts().to_dict(),
        "tables": sorted(tables),
    }


def _others(tables: Mapping[str, pd.DataFrame]) -> set[str]:
    """Labels of rows that were not fitted."""
    parts = [table for name, table in tables.items() if name.startswith("predictions_")]
    return {label for part in parts for label in part["split"]}


def _write(
    folder: Path,
    result: MolecularResult,
    tables: Mapping[str, pd.DataFrame],
    summary: Mapping[str, Any],
    config: Config,
) -> None:
    """Write all files of a run into a folder that is not visible yet."""
    formats.graphml.write(result.graph, folder / NETWORK, None, result.metadata())
    write_graph(result.graph, folder / GRAPH)
    write_tables(folder, tables)
    (folder / "metrics.json").write_text(document.to_json(summary) + "\n", encoding="utf-8")
    settings = absolute(config).model_dump_json(indent=2)
    (folder / "config.json").write_text(settings + "\n", encoding="utf-8")
    if "energies" in tables:
        result.to_anndata().write_h5ad(folder / "energies.h5ad")
    result.save(folder / MODEL)
    page.write(read_run(folder), folder / "report.html")
