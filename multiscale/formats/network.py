"""Which file suffix means which format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from multiscale.errors import FormatError, nearest
from multiscale.formats import cx2, cyjs, graphml, hetero, sif, tables
from multiscale.graph import Graph

__all__ = ["FORMATS", "export"]


def _sbml(
    graph: Graph,
    path: str | Path,
    values: Mapping[str, pd.DataFrame] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write SBML; what that needs is loaded when it is asked for."""
    from multiscale.formats.sbml.write import write

    write(graph, path, values, meta)


FORMATS: dict[str, Callable[..., None]] = {
    ".graphml": graphml.write,
    ".cx2": cx2.write,
    ".cyjs": cyjs.write,
    ".safetensors": hetero.write,
    ".sif": sif.write,
    ".tsv": tables.write,
    ".xml": _sbml,
    ".sbml": _sbml,
}
"""File suffix to writer: `write(graph, path, values=None, meta=None)`."""


def export(
    graph: Graph,
    path: str | Path,
    values: Mapping[str, pd.DataFrame] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a graph with learned values in the format that the suffix of `path` names.

    Args:
        graph: the graph.
        path: file to write: .graphml, .cx2, .cyjs, .sif, .safetensors for PyTorch Geometric, .tsv for the
            parameters, or .xml or .sbml for SBML.
        values: per node type a table of learned values indexed by node name, per relation one indexed by row.
        meta: settings that travel along.

    Raises:
        FormatError: the suffix is unknown, or the values do not fit the graph.
        OutputError: the folder of `path` does not exist.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise FormatError(f"{path}: no format has the suffix `{suffix}`; {nearest(suffix, FORMATS)}")
    FORMATS[suffix](graph, path, values, meta)
