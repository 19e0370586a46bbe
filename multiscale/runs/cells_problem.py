"""From a checked configuration to its problem of single cells: graph and cells are read and joined."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from multiscale.assays.channels import Channel
from multiscale.assays.channels.registry import make_channel
from multiscale.config import (
    SEARCH_ONLY,
    CellAssay,
    CellHoldout,
    CellsSection,
    Config,
    Fit,
    SolverSection,
    Uncertainty,
)
from multiscale.content import find
from multiscale.data import read_interventions
from multiscale.data.cells import Cells, cells_from_anndata, cells_from_mudata
from multiscale.data.cells.opened import open_anndata, open_mudata
from multiscale.errors import AssayError, ConfigError, DataError, nearest
from multiscale.graph import Graph, read_graph
from multiscale.model.cells import CellPriors, CellProblem
from multiscale.runs.priors import graph_with_priors
from multiscale.runs.problem import read_anndata

__all__ = ["MOST_HELD_OUT", "cell_problem"]

log = logging.getLogger("multiscale")

MOST_HELD_OUT = 20_000
"""Cells with hidden readings at most: the error of a mean is then below a hundredth of their spread."""

KEYS = ("batch_key", "condition_key", "neighbours_key", "size_factor_key")


def cell_problem(config: Config) -> CellProblem:
    """Read graph and cells of a configuration, hide what is held out, and check that they fit.

    Raises:
        MultiscaleError: something is wrong; the message names the key, file, cell or feature.
    """
    _check_sections(config)
    section = config.cells
    assert section is not None
    graph = graph_with_priors(read_graph(config.graph), config.priors_from)
    problem = CellProblem(
        graph,
        _hidden(_cells(section, graph), section.holdout),
        regime=config.regime,
        temperature=config.temperature,
        priors=_priors(config.model.priors),
        **config.model.model_dump(exclude={"priors"}),
    )
    log.info("%d cells\n%s", len(problem.cells), problem.describe())
    return problem


def _check_sections(config: Config) -> None:
    """Refuse sections and keys that fits of single cells have no use for."""
    data = config.data
    idle = [f"data.{name}" for name in type(data).model_fields if name != "cells" and getattr(data, name)]
    idle += ["encoders"] if config.encoders else []
    idle += ["holdout"] if config.holdout is not None else []
    usual = {"solver": SolverSection(), "uncertainty": Uncertainty()}
    idle += [name for name, value in usual.items() if getattr(config, name) != value]
    fields = Fit.model_fields
    idle += [f"fit.{name}" for name in SEARCH_ONLY if getattr(config.fit, name) != fields[name].default]
    if idle:
        hint = " Readings are held out by [data.cells.holdout]." if idle[0] == "holdout" else ""
        raise ConfigError(f"`{idle[0]}` has no meaning beside [data.cells]; remove it.{hint}")


def _priors(given: Mapping[str, float]) -> CellPriors:
    known = list(CellPriors.__dataclass_fields__)
    for name in given:
        if name not in known:
            raise ConfigError(f"[model]: `priors` has no `{name}`; {nearest(name, known)}")
    return CellPriors(**given)


def _cells(section: CellsSection, graph: Graph) -> Cells:
    """Cells that are asked for, with the features that are."""
    keys = {name: value for name in KEYS if (value := getattr(section, name)) is not None}
    options: dict[str, Any] = {
        **keys,
        "assays": {name: _channel(name, part) for name, part in section.assays.items()} or None,
        "interventions": None if section.interventions is None else read_interventions(section.interventions),
    }
    if section.mudata is not None:
        parts = open_mudata(find("datasets", section.mudata))
        cells = cells_from_mudata(find("datasets", section.mudata), **options)
        sources: dict[str, Any] = dict(parts.modalities)
    else:
        found = _anndata(section.anndata or "")
        cells = cells_from_anndata(found, **options)
        sources = dict.fromkeys(section.assays, found)
    for name, part in section.assays.items():
        if part.features is not None:
            cells = cells.only(name, _features(name, part, sources[name], cells, graph))
    return _kept(cells, section)


def _anndata(source: str) -> Any:
    """An AnnData in memory, or a path that cells are read from."""
    if source.startswith("scanpy:"):
        return read_anndata(source)
    return find("datasets", source)


def _channel(name: str, section: CellAssay) -> Channel:
    """A channel; errors say where in the TOML its options stand."""
    try:
        return make_channel(section.type, section.model_extra)
    except (AssayError, TypeError) as error:
        raise ConfigError(f"[data.cells.assays.{name}]: {error}") from None


def _features(name: str, section: CellAssay, source: Any, cells: Cells, graph: Graph) -> list[str]:
    """Features that are fitted: those that are named, or those that are marked and those of the graph."""
    part = cells.modalities[name]
    if isinstance(section.features, list):
        return section.features
    where, column = f"[data.cells.assays.{name}]", str(section.features)
    if part.channel.obsm_key is not None or part.channel.use_raw:
        raise ConfigError(
            f"{where}: `features` = `{column}` is a column of var, and this modality lies elsewhere; give "
            "names."
        )
    table = open_anndata(source).var
    if column not in table:
        raise ConfigError(
            f"{where}: `features`: var has no column `{column}`; {nearest(column, map(str, table))}"
        )
    marked = table[column]
    if marked.dtype != bool:
        raise ConfigError(f"{where}: `features`: column `{column}` of var must be true or false.")
    nodes = graph.nodes["molecule"]
    ours = {*nodes.index, *nodes["identifier"], *part.channel.targets}
    chosen = {*table.index[marked], *ours}
    return [feature for feature in part.features if feature in chosen]


def _kept(cells: Cells, section: CellsSection) -> Cells:
    """Cells that `where` asks for."""
    for column in [*section.where, *([section.groupby] if section.groupby else [])]:
        if column not in cells.obs:
            key = "where" if column in section.where else "groupby"
            known = [str(name) for name in cells.obs]
            raise ConfigError(
                f"[data.cells]: `{key}`: obs has no column `{column}`; {nearest(column, known)}"
            )
    keep = np.ones(len(cells), dtype=bool)
    for column, value in section.where.items():
        wanted = value if isinstance(value, list) else [value]
        keep &= pd.Series(cells.obs[column]).isin(wanted).to_numpy()
        if not keep.any():
            raise DataError(f"[data.cells]: `where`: no cell is left with `{column}` = {value!r}.")
    return cells if keep.all() else cells.take(keep)


def _hidden(cells: Cells, section: CellHoldout) -> Cells:
    """Hide readings of at most `MOST_HELD_OUT` cells; rows of cells that were not measured have none."""
    names = list(cells.modalities) if section.modalities is None else section.modalities
    for name in names:
        if name not in cells.modalities:
            raise ConfigError(
                f"[data.cells.holdout]: `modalities`: `{name}` is none; {nearest(name, cells.modalities)}"
            )
    rng = np.random.default_rng((section.seed, 2))
    for name in names if section.fraction else []:
        part = cells.modalities[name]
        measured = np.flatnonzero(part.rows >= 0)
        if section.by == "cell":
            count = min(max(1, round(section.fraction * len(measured))), MOST_HELD_OUT)
            rows, share = rng.choice(measured, count, replace=False), 1.0
        else:
            rows = rng.choice(measured, min(len(measured), MOST_HELD_OUT), replace=False)
            share = section.fraction
        cells = cells.hide(name, _drawn(rng, np.sort(rows), share, (len(cells), len(part.features))))
    return cells


def _drawn(rng: np.random.Generator, rows: np.ndarray, share: float, shape: tuple[int, int]) -> Any:
    """Entries of some rows, each with a chance; sparse, shape (cell, feature)."""
    from scipy import sparse

    drawn = [np.flatnonzero(rng.random(shape[1]) < share) for _ in rows]
    row = np.repeat(rows, [len(columns) for columns in drawn])
    column = np.concatenate(drawn) if drawn else np.zeros(0, dtype=np.int64)
    return sparse.csr_array((np.ones(len(row), dtype=bool), (row, column)), shape=shape)
