"""A fit from its TOML file to its output folder."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from multiscale import atomic
from multiscale.assays import Counts, make_assay
from multiscale.config import Config, DataSection
from multiscale.content import find
from multiscale.data import Data, from_anndata, read_measurements, read_table
from multiscale.errors import AssayError, ConfigError, DataError, nearest
from multiscale.fit.api import fit
from multiscale.fit.holdout import Evaluation, Settings, cross_validate
from multiscale.fit.result import Result
from multiscale.fit.summary import metrics, write_report
from multiscale.formats.document import to_json
from multiscale.graph import read_graph
from multiscale.model import Problem

__all__ = ["problem_from_config", "run"]

log = logging.getLogger("multiscale")

SPLITS = {"block": ("target", "context"), "molecule": ("target",), "context": ("context",)}
"""Columns whose combinations are held out together, per kind of split."""


def run(config: Config, out: str | Path, *, overwrite: bool = False, progress: bool = True) -> dict[str, Any]:
    """Fit, judge, and write everything into a folder that appears only when it is complete.

    Args:
        config: the checked configuration.
        out: output folder.
        overwrite: whether an existing, non-empty folder is replaced.
        progress: show progress bars.

    Returns:
        the content of metrics.json.

    Raises:
        MultiscaleError: input or output is wrong; nothing has been written then.
    """
    began = time.perf_counter()
    with atomic.folder(Path(out), overwrite) as folder:
        problem, adata = problem_from_config(config)
        settings = config.fit
        result = fit(
            problem,
            starts=settings.starts,
            seed=settings.seed,
            accelerator=settings.accelerator,
            threads=settings.threads,
            adam_steps=settings.adam_steps,
            max_steps=settings.max_steps,
            progress=progress,
        )
        evaluations = _evaluate(config, problem, progress)
        summary = metrics(result, evaluations) | {"seconds": round(time.perf_counter() - began, 1)}
        _write(folder, result, adata, evaluations, summary, config)
    return summary


def problem_from_config(config: Config) -> tuple[Problem, Any]:
    """Read graph and data of a configuration and check that they fit.

    Returns:
        the problem, and the AnnData.
    """
    if config.holdout and config.holdout.table not in config.data.tables:
        hint = nearest(config.holdout.table, config.data.tables)
        raise ConfigError(f"`holdout.table` = `{config.holdout.table}` is not one of [data.tables]; {hint}")
    graph = read_graph(config.graph)
    adata = read_anndata(config.data.anndata)
    data = _data(config.data, adata)
    problem = Problem(graph, data, regime=config.regime, temperature=config.temperature)
    log.info("identifiers:\n%s", problem.describe())
    return problem, adata


def read_anndata(source: str) -> Any:
    """Read an .h5ad file, or `scanpy:<name>`: a data set that scanpy provides.

    Raises:
        DataError: there is no such file or data set.
    """
    if source.startswith("scanpy:"):
        return _scanpy_dataset(source.removeprefix("scanpy:"))
    path = find("datasets", source)
    import anndata

    try:
        return anndata.read_h5ad(path)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not an .h5ad file that anndata can read: {error}") from None


def _scanpy_dataset(name: str) -> Any:
    import scanpy

    known = [item for item in dir(scanpy.datasets) if not item.startswith("_")]
    if name not in known:
        raise DataError(
            f"`data.anndata` = `scanpy:{name}`: scanpy has no such data set; {nearest(name, known)}"
        )
    with warnings.catch_warnings():
        # Old files make newer anndata warn about names that scanpy itself chose.
        warnings.simplefilter("ignore")
        return getattr(scanpy.datasets, name)()


def _data(section: DataSection, adata: Any) -> Data:
    assays = {
        name: _assay(f"data.assays.{name}", spec.type, spec.model_extra)
        for name, spec in section.assays.items()
    }
    data = from_anndata(
        adata, groupby=section.groupby, pairs=section.pairs, assays=assays or {"rna": Counts()}
    )
    if section.cells:
        contexts = data.contexts.with_covariates(read_table(find("datasets", section.cells)))
        data = replace(data, contexts=contexts)
    for name, spec in section.tables.items():
        assay = _assay(f"data.tables.{name}", spec.assay, spec.model_extra)
        data = data.join(read_measurements(spec.path, assay=assay, name=name))
    return data


def _assay(where: str, kind: str, options: Mapping[str, Any] | None) -> Any:
    """Make an assay from its name and options; errors say where in the TOML they stand."""
    try:
        return make_assay(kind, options)
    except (AssayError, TypeError) as error:
        raise ConfigError(f"[{where}]: {error}") from None


def _evaluate(config: Config, problem: Problem, progress: bool) -> dict[str, Evaluation]:
    """Hold out what the configuration says, with rewired graphs on the first split."""
    holdout = config.holdout
    if holdout is None:
        return {}
    budget = Settings(
        folds=holdout.folds,
        starts=holdout.starts,
        seed=holdout.seed,
        adam_steps=config.fit.adam_steps,
        max_steps=config.fit.max_steps,
        accelerator=config.fit.accelerator,
        threads=config.fit.threads,
    )
    return {
        _table_name(k, split): cross_validate(
            problem,
            holdout.table,
            SPLITS[split],
            budget,
            rewirings=config.controls.rewirings if k == 0 else 0,
            progress=progress,
        )
        for k, split in enumerate(dict.fromkeys(holdout.splits))
    }


def _table_name(position: int, split: str) -> str:
    """Name of the table of a split: the first one is simply `heldout`."""
    return "heldout" if position == 0 else f"heldout_{split}s"


def _write(
    folder: Path,
    result: Result,
    adata: Any,
    evaluations: Mapping[str, Evaluation],
    summary: Mapping[str, Any],
    config: Config,
) -> None:
    """Write all files of a run into a folder that is not visible yet."""
    result.export(folder / "network.graphml")
    result.write_anndata(adata)
    adata.write_h5ad(folder / "results.h5ad")
    _tsv(result.parameters, folder / "parameters.tsv")
    _tsv(result.energies, folder / "energies.tsv")
    if result.problem.network.pathways:
        _tsv(result.pathway_table(), folder / "pathways.tsv")
    if result.pair_state is not None:
        _tsv(result.pair_state.frame(), folder / "pairs.tsv")
    for name, evaluation in evaluations.items():
        _tsv(evaluation.table, folder / f"{name}.tsv")
    (folder / "metrics.json").write_text(to_json(summary) + "\n", encoding="utf-8")
    (folder / "config.json").write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    result.save(folder / "model")
    write_report(result, folder / "report.html", evaluations, title=config.title, question=config.question)


def _tsv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, sep="\t", index=False, float_format="%.10g")
