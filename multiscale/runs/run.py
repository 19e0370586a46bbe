"""A fit from its TOML file to its output folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from multiscale.config import Config
from multiscale.fit.api import fit
from multiscale.fit.audit import information, refit_without
from multiscale.fit.checkpoint import Checkpoint, Saved
from multiscale.fit.evaluation import Evaluation, Settings
from multiscale.fit.holdout import Split
from multiscale.fit.result import Result
from multiscale.fit.summary import judged, metrics
from multiscale.fit.tasks import Task, complete, worker_count
from multiscale.fit.train import device_of
from multiscale.formats import document
from multiscale.model import Problem
from multiscale.report import page
from multiscale.runs.fingerprint import asked, fingerprint
from multiscale.runs.folder import admit, begin, publish, published
from multiscale.runs.problem import problem_from_config
from multiscale.runs.store import FORMAT_VERSION, read_run, sources, write_tables

__all__ = ["problem_from_config", "run"]

log = logging.getLogger("multiscale")

SPLITS = {"block": ("target", "context"), "molecule": ("target",), "context": ("context",)}
"""Columns whose combinations are held out together, per kind of split."""


def run(
    config: Config,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    save_every_s: float = 20.0,
) -> dict[str, Any]:
    """Fit, judge, and write everything into a folder; a run that was stopped goes on where it was.

    Finished stages are kept in `<out>/checkpoint/`; all other files appear at the end. A resumed run gives
    the same numbers as one that was never stopped, on the same machine.

    Args:
        config: the checked configuration.
        out: output folder.
        resume: whether a run in the folder goes on; a finished one gets the rewirings that it lacks.
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
    problem, adata = problem_from_config(config)
    with begin(out, config, fingerprint(config, problem), resume, overwrite) as checkpoint:
        if published(out, checkpoint, asked(config)):
            log.info("%s: this run is finished; nothing is left to do.", out)
            return document.read(out / "metrics.json", FORMAT_VERSION)
        result = _fit(config, problem, checkpoint, progress, save_every_s)
        tables, evaluations = _judge(config, result, checkpoint, progress)
        summary = metrics(result, evaluations) | _counts(evaluations) | {"tables": sorted(tables)}
        summary |= {"seconds": round(time.perf_counter() - began, 1)}
        with publish(out, checkpoint, asked(config)) as folder:
            _write(folder, result, adata, tables, summary, config)
    return summary


def _judge(
    config: Config, result: Result, checkpoint: Checkpoint, progress: bool
) -> tuple[dict[str, pd.DataFrame], dict[str, Evaluation]]:
    """Hold out, evaluate controls and leave assays out, in processes; then all tables of the run."""
    splits, audit = _splits(config, result.problem), _audit(config, result)
    tasks = [task for split in splits for task in split.tasks()] + audit
    tasks.sort(key=lambda task: "rewiring" in task.name)  # long ones first: nobody waits for them at the end
    done = complete(tasks, checkpoint, _workers(config), progress, "controls")
    evaluations = {split.name: split.evaluation(done) for split in splits}
    tables = result.tables() | judged(evaluations) | _examined(config, result, audit, done)
    return tables | {"sources": sources(config)}, evaluations


def _fit(
    config: Config, problem: Problem, checkpoint: Checkpoint, progress: bool, save_every_s: float
) -> Result:
    """Fit, or take the fit of the checkpoint."""
    return fit(
        problem,
        **config.fit_options,
        draws=config.uncertainty.draws,
        progress=progress,
        checkpoint=checkpoint,
        save_every_s=save_every_s,
    )


def _splits(config: Config, problem: Problem) -> list[Split]:
    """What is held out, with rewired graphs on the first split."""
    holdout = config.holdout
    if holdout is None:
        return []
    budget = Settings(
        folds=holdout.folds,
        starts=holdout.starts,
        seed=holdout.seed,
        adam_steps=config.fit.adam_steps,
        max_steps=config.fit.max_steps,
        accelerator=config.fit.accelerator,
        threads=config.fit.threads,
        draws=config.uncertainty.draws,
    )
    return [
        Split(
            problem,
            holdout.table,
            SPLITS[split],
            budget,
            rewirings=config.controls.rewirings if k == 0 else 0,
            name=_table_name(k, split),
        )
        for k, split in enumerate(dict.fromkeys(holdout.splits))
    ]


def _audit(config: Config, result: Result) -> list[Task]:
    """Fits without one assay each."""
    assays = result.problem.data.assays
    if not config.uncertainty.audit or result.laplace is None or len(assays) < 2:
        return []
    used = result.posterior.used
    point = result.theta, torch.zeros_like(result.theta) if used is None else used
    where = (result.problem, *(part.cpu().numpy() for part in point))
    machine = config.fit.accelerator, config.fit.threads
    return [Task(f"without.{name}", refit_without, (*where, name, *machine)) for name in assays]


def _examined(
    config: Config, result: Result, audit: list[Task], done: Mapping[str, Saved]
) -> dict[str, pd.DataFrame]:
    """Tables of what every assay tells, and of profiles."""
    tables = {}
    if audit and result.laplace is not None:
        without = {task.name.removeprefix("without."): done[task.name].arrays for task in audit}
        tables["information"] = information(result.parameters, result.laplace.main.value_sd(), without)
    if config.uncertainty.profiles and result.laplace is not None:
        tables["profiles"] = result.profile(config.uncertainty.profiles)
    return tables


def _workers(config: Config) -> int:
    """Processes for the controls; they would only wait for each other on one GPU."""
    if config.controls.workers == 0 and device_of(config.fit.accelerator).type != "cpu":
        return 1
    return worker_count(config.controls.workers, config.fit.threads)


def _table_name(position: int, split: str) -> str:
    """Name of the table of a split: the first one is simply `heldout`."""
    return "heldout" if position == 0 else f"heldout_{split}s"


def _counts(evaluations: Mapping[str, Evaluation]) -> dict[str, int]:
    """How many rewirings there are, and how many are really other graphs."""
    first = next(iter(evaluations.values()), None)
    if first is None:
        return {}
    return {"rewirings": len(first.rewired), "distinct_rewirings": first.distinct_rewirings}


def _write(
    folder: Path,
    result: Result,
    adata: Any,
    tables: Mapping[str, pd.DataFrame],
    summary: Mapping[str, Any],
    config: Config,
) -> None:
    """Write all files of a run into a folder that is not visible yet."""
    result.export(folder / "network.graphml")
    if adata is not None:
        result.write_anndata(adata)
        adata.write_h5ad(folder / "results.h5ad")
    write_tables(folder, tables)
    (folder / "metrics.json").write_text(document.to_json(summary) + "\n", encoding="utf-8")
    (folder / "config.json").write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    result.save(folder / "model")
    page.write(read_run(folder), folder / "report.html")
