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
from multiscale.data import Data, from_anndata, read_measurements, read_table
from multiscale.errors import AssayError, ConfigError, DataError, nearest
from multiscale.graph import read_graph
from multiscale.model import Problem
from multiscale.model.blocks import parameter_table

__all__ = ["problem_from_config", "read_anndata"]

log = logging.getLogger("multiscale")


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
    _check_profiles(config, problem)
    log.info("identifiers:\n%s", problem.describe())
    return problem, adata


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
