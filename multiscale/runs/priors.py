"""Energies learned by one fit as priors of another: `priors_from` of a TOML."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from multiscale.content import find
from multiscale.errors import ConfigError, DataError
from multiscale.formats.tables import read_table
from multiscale.graph import Graph, with_priors
from multiscale.graph.learned import matches
from multiscale.runs.folder import is_run

__all__ = ["graph_with_priors"]

TABLE = "parameters.tsv"
TEXTS = ("parameterId", "parameterScale", "role", "unit", "note")

log = logging.getLogger("multiscale")


def graph_with_priors(graph: Graph, sources: Sequence[str]) -> Graph:
    """Give a graph the estimates of finished runs, or of parameter tables, as priors.

    Args:
        graph: stays as it is.
        sources: folders of runs, or files.

    Raises:
        ConfigError: a source does not exist or is unfinished, or two of them know the same parameter.
        GraphError: a source knows no parameter of the graph, or one in another unit or scale.
    """
    taken: dict[str, str] = {}
    for source in sources:
        table = _read(source)
        names = matches(graph, table, source)
        twice = next((name for name in names if name in taken), None)
        if twice is not None:
            raise ConfigError(
                f"`priors_from`: `{twice}` is in {taken[twice]} and in {source}, and one prior is not the"
                " product of two posteriors; name one of them, or fit the readings of both together."
            )
        graph = with_priors(graph, table, source)
        taken |= dict.fromkeys(names, source)
        log.info("%s: priors of %s.", source, ", ".join(f"`{name}`" for name in names))
    return graph


def _read(source: str) -> pd.DataFrame:
    try:
        path = find("experiments", source)
    except DataError:
        raise ConfigError(
            f"`priors_from`: {source}: no such file or folder; give a run's folder, or a parameter table."
        ) from None
    return read_table(_table(path), TEXTS)


def _table(path: Path) -> Path:
    if path.is_file():
        return path
    if (path / TABLE).is_file():
        return path / TABLE
    state = "the run is unfinished" if is_run(path) else "it is not the folder of a run"
    raise ConfigError(f"`priors_from`: {path} has no {TABLE}: {state}; give a finished one.")
