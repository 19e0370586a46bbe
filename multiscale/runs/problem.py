"""From a checked configuration to its problem: graph and data are read and joined."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from multiscale.assays import Counts, make_assay
from multiscale.config import Config, DataSection
from multiscale.content import find
from multiscale.data import (
    Contexts,
    Data,
    from_anndata,
    from_measurements,
    group_contexts,
    read_interventions,
    read_measurements,
    read_table,
)
from multiscale.errors import AssayError, ConfigError, DataError, nearest
from multiscale.graph import read_graph
from multiscale.model import Problem
from multiscale.model.blocks import parameter_table
from multiscale.runs.priors import graph_with_priors
from multiscale.solver.options import Solver

__all__ = ["problem_from_config", "read_anndata"]

log = logging.getLogger("multiscale")


def problem_from_config(config: Config) -> tuple[Problem, Any]:
    """Read graph and data of a configuration and check that they fit.

    Returns:
        the problem, and the AnnData, None where there is none.
    """
    _check_sections(config)
    graph = graph_with_priors(read_graph(config.graph), config.priors_from)
    adata = None if config.data.anndata is None else read_anndata(config.data.anndata)
    data = _data(config.data, adata)
    solver = Solver(**config.solver.model_dump())
    problem = Problem(graph, data, regime=config.regime, temperature=config.temperature, solver=solver)
    _check_profiles(config, problem)
    log.info("identifiers:\n%s", problem.describe())
    return problem, adata


def _check_sections(config: Config) -> None:
    """Refuse sections that do not fit together before anything is read."""
    data, holdout = config.data, config.holdout
    if config.encoders:
        raise ConfigError("[encoders] need readings; add a [data.readings.<name>], or remove the section.")
    if holdout and holdout.table not in data.tables:
        hint = nearest(holdout.table, data.tables)
        raise ConfigError(f"`holdout.table` = `{holdout.table}` is not one of [data.tables]; {hint}")
    if holdout and config.regime != "equilibrium":
        raise ConfigError(
            f"[holdout] compares with graphs without complexes, which regime `{config.regime}` has no use"
            " for; remove the section."
        )
    if data.anndata is not None:
        return
    if not data.tables:
        raise ConfigError("[data] holds no measurements; give `anndata`, or a [data.tables.<name>].")
    idle = [name for name in ("groupby", "assays", "pairs") if getattr(data, name)]
    if idle:
        raise ConfigError(f"`data.{idle[0]}` needs `data.anndata`; give the file, or remove the key.")


def _check_profiles(config: Config, problem: Problem) -> None:
    """Refuse names that are no parameters before anything is computed."""
    known = parameter_table(problem, torch.device("cpu")).identifiers
    for name in config.uncertainty.profiles:
        if name not in known:
            raise ConfigError(
                f"`uncertainty.profiles`: no parameter is called `{name}`; {nearest(name, known)}"
            )


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
    """Contexts and measurements of a configuration."""
    tables = [
        read_measurements(
            spec.path, assay=_assay(f"data.tables.{name}", spec.assay, spec.model_extra), name=name
        )
        for name, spec in section.tables.items()
    ]
    stated = _contexts(section)
    if adata is None:
        data = from_measurements(*tables, contexts=stated)
    else:
        data = _from_anndata(section, adata)
        data = data if stated is None else data.join(Data(stated, {}))
        for table in tables:
            data = data.join(table)
    contexts = data.contexts
    if isinstance(section.cells, str):
        contexts = contexts.with_covariates(read_table(find("datasets", section.cells)))
    if section.interventions:
        contexts = contexts.with_interventions(read_interventions(section.interventions))
    return replace(data, contexts=contexts)


def _contexts(section: DataSection) -> Contexts | None:
    """Contexts that a table lists, with what it says of them."""
    if section.contexts is None:
        return None
    file = find("datasets", section.contexts)
    table = read_table(file)
    if "context" not in table:
        raise DataError(
            f"{file.name}: column `context` is missing; got {', '.join(map(str, table.columns))}."
        )
    return group_contexts(table["context"]).with_covariates(table)


def _from_anndata(section: DataSection, adata: Any) -> Data:
    if section.groupby is None:
        raise ConfigError("[data]: `anndata` needs `groupby`, a column of obs whose labels are the contexts.")
    assays = {
        name: _assay(f"data.assays.{name}", spec.type, spec.model_extra)
        for name, spec in section.assays.items()
    }
    return from_anndata(
        adata, groupby=section.groupby, pairs=section.pairs, assays=assays or {"rna": Counts()}
    )


def _assay(where: str, kind: str, options: Mapping[str, Any] | None) -> Any:
    """Make an assay from its name and options; errors say where in the TOML they stand."""
    try:
        return make_assay(kind, options)
    except (AssayError, TypeError) as error:
        raise ConfigError(f"[{where}]: {error}") from None
