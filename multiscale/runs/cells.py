"""A fit of single cells from its TOML file to its output folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiscale import formats
from multiscale.config import Config
from multiscale.fit.api import fit
from multiscale.fit.cells.parallel import Processes
from multiscale.fit.cells.result import CellResult
from multiscale.fit.cells.summary import network, report_tables, undetermined
from multiscale.fit.checkpoint import Checkpoint
from multiscale.formats import document
from multiscale.graph import Graph, rewire, write_graph
from multiscale.model.cells import CellProblem
from multiscale.report import page
from multiscale.report.cell_words import WITHOUT, headline, sentences
from multiscale.runs.cells_problem import cell_problem
from multiscale.runs.fingerprint import asked, cell_fingerprint
from multiscale.runs.folder import CHECKPOINT, absolute, admit, begin, publish, published
from multiscale.runs.prediction import GRAPH, MODEL
from multiscale.runs.store import FORMAT_VERSION, NETWORK, RESULTS, read_run, sources, write_tables

__all__ = ["run_cells"]

log = logging.getLogger("multiscale")


def run_cells(
    config: Config,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    save_every_s: float = 60.0,
) -> dict[str, Any]:
    """Fit single cells and their controls, and write everything into a folder.

    Readings that `[data.cells.holdout]` draws are hidden from the fit and from all controls: the same cells
    without a graph, and with rewired graphs. Finished fits and the state of an unfinished one are kept in
    `<out>/checkpoint/`; all other files appear at the end. A run that was stopped goes on where it was, with
    the same numbers on the same machine. Of several processes, started by `torchrun`, the first writes.

    Args:
        config: the checked configuration, with `[data.cells]`.
        out: output folder.
        resume: whether a run in the folder goes on; a finished one gets the rewirings that it lacks.
        overwrite: whether a run in the folder starts again, and files of the same names are replaced.
        progress: show progress bars.
        save_every_s: least time between two saves of an unfinished fit, s.

    Returns:
        the content of metrics.json; nothing in processes other than the first.

    Raises:
        MultiscaleError: input or output is wrong; nothing has been written then.
    """
    began = time.perf_counter()
    out, processes = Path(out), Processes(config.fit.accelerator)
    if processes.first:
        admit(out, resume, overwrite)
    problem = cell_problem(config)
    assert problem.graph is not None and config.cells is not None
    options = {"progress": progress, "save_every_s": save_every_s}
    if not processes.first:
        processes.wait()  # until the folder is held
        _assist(config, problem, out, options)
        return {}
    key = cell_fingerprint(config, problem.graph, problem.cells)
    with begin(out, config, key, resume, overwrite) as checkpoint:
        finished = published(out, checkpoint, asked(config))
        processes.wait()
        if finished:
            log.info("%s: this run is finished; nothing is left to do.", out)
            return document.read(out / "metrics.json", FORMAT_VERSION)
        result = _fit(config, problem, checkpoint, options)
        controls = _controls(config, problem, checkpoint, options)
        tables = report_tables(result, controls, config.cells.groupby) | {"sources": sources(config)}
        summary = _summary(result, tables) | {"seconds": round(time.perf_counter() - began, 1)}
        with publish(out, checkpoint, asked(config)) as folder:
            _write(folder, result, tables, summary, config)
    return summary


def _assist(config: Config, problem: CellProblem, out: Path, options: Mapping[str, Any]) -> None:
    """Take part in the fits of the process that writes."""
    checkpoint = Checkpoint(out / CHECKPOINT)
    if not published(out, checkpoint, asked(config)):
        _fit(config, problem, checkpoint, options)
        _controls(config, problem, checkpoint, options)


def _fit(
    config: Config, problem: CellProblem, checkpoint: Checkpoint, options: Mapping[str, Any]
) -> CellResult:
    """Fit, or take the fit of the checkpoint."""
    settings = config.fit_options
    return fit(problem, **{**settings, **options}, checkpoint=checkpoint)


def _controls(
    config: Config, problem: CellProblem, checkpoint: Checkpoint, options: Mapping[str, Any]
) -> dict[str, CellResult]:
    """The same cells without the graph and with rewired ones; none where nothing was held out."""
    hidden = (part.hidden for part in problem.cells.modalities.values())
    if not any(entries is not None and entries.nnz for entries in hidden):
        return {}
    graphs: dict[str, Graph | None] = {WITHOUT: None} if config.controls.without_graph else {}
    assert problem.graph is not None
    for number in range(config.controls.rewirings):
        graphs[f"rewired {number + 1}"] = rewire(problem.graph, seed=number)
    found = {}
    for name, graph in graphs.items():
        log.info("control: %s", name)
        part = checkpoint.part(name.replace(" ", "_"))
        found[name] = _fit(config, problem.with_graph(graph), part, {**options, "members": 1})
    return found


def _summary(result: CellResult, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Content of metrics.json: what was found, in numbers and sentences."""
    comparison = tables.get("comparison", pd.DataFrame())
    return result.metadata() | {
        "format_version": FORMAT_VERSION,
        "headline": headline(tables),
        "sentences": sentences(tables),
        "not_determined": undetermined(result),
        "cells": len(result.problem.cells),
        "scores": _records(tables["scores"]),
        "comparison": _records(comparison),
        "active_units": result.active_units,
        "epochs": len(result.history),
        "stopped": result.settings["stopped"],
        "tables": sorted(tables),
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON can say them: None for what is not a number."""
    rows = table.to_dict("records")
    return [{str(key): None if pd.isna(value) else value for key, value in row.items()} for row in rows]


def _write(
    folder: Path,
    result: CellResult,
    tables: Mapping[str, pd.DataFrame],
    summary: Mapping[str, Any],
    config: Config,
) -> None:
    """Write all files of a run into a folder that is not visible yet."""
    learned = network(result)
    formats.graphml.write(learned.graph, folder / NETWORK, learned.values, learned.meta)
    write_graph(learned.graph, folder / GRAPH)
    write_tables(folder, tables)
    (folder / "metrics.json").write_text(document.to_json(summary) + "\n", encoding="utf-8")
    settings = absolute(config).model_dump_json(indent=2)
    (folder / "config.json").write_text(settings + "\n", encoding="utf-8")
    formats.anndata.write_h5ad(_states(result), folder / RESULTS)
    result.save(folder / MODEL)
    page.write(read_run(folder), folder / "report.html")


def _states(result: CellResult) -> Any:
    """An AnnData of all cells with what was learned of each; readings stay where they are."""
    from anndata import AnnData

    cells = result.problem.cells
    features = dict.fromkeys(name for part in cells.modalities.values() for name in part.features)
    adata = AnnData(obs=cells.obs.copy(), var=pd.DataFrame(index=pd.Index(list(features), dtype=str)))
    for name, part in cells.modalities.items():
        adata.obs[f"size_factor_{name}"] = np.where(part.rows >= 0, part.size, np.nan)
    result.write_anndata(adata)
    return adata
