"""What a fit of cells writes: tables, metadata, the AnnData keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from multiscale import formats
from multiscale.errors import DataError
from multiscale.graph import Graph

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

    from multiscale.fit.cells.fitted import FittedCells
    from multiscale.fit.cells.result import CellResult

__all__ = ["metadata", "tables", "write_anndata"]


def tables(result: CellResult) -> dict[str, pd.DataFrame]:
    """All tables of the fit that do not grow with its cells; see `CellResult.tables`."""
    found = {
        "history": result.history.reset_index(),
        "parameters": result.parameters,
        "scores": result.scores().reset_index(),
        **{f"loadings {name}": _indexed(table, "feature") for name, table in result.loadings.items()},
    }
    return {name: table for name, table in found.items() if len(table)}


def metadata(result: FittedCells) -> dict[str, Any]:
    """Version, units, graph hash, seed and settings; see `CellResult.metadata`."""
    from multiscale.version import __version__

    problem = result.problem
    return {
        "format_version": 1,
        "multiscale": __version__,
        "scale": "cells",
        "graph": None if problem.graph is None else problem.graph.name,
        "graph_hash": None if problem.graph is None else problem.graph.hash(),
        "regime": problem.regime,
        "temperature_K": problem.temperature,
        "units": {"concentration": "uM", "energy": "kcal/mol", "copies": "molecules per cell"},
        "settings": dict(result.settings),
        "data": {name: dict(part.provenance) for name, part in problem.cells.modalities.items()},
    }


def write_anndata(
    result: CellResult, adata: AnnData | MuData, key_added: str, copy: bool
) -> AnnData | MuData | None:
    """Write states into an AnnData or MuData; see `CellResult.write_anndata`."""
    names, latent = adata.obs_names, result.latent
    if not names.isin(latent.index).any():
        raise DataError(
            f"`adata` has none of the fitted cells, such as `{latent.index[0]}`; its first is `{names[0]}`."
        )
    target: Any = adata.copy() if copy else adata
    physical = {"molecules": result.totals, "complexes": result.complexes, "pathways": result.pathways}
    formats.anndata.write(
        target,
        latent=latent.reindex(names),
        variables=_per_variable(result, adata.var_names),
        meta=result.metadata() | {"edges": _edges(result.graph)},
        key_added=key_added,
        **{name: table.reindex(names) for name, table in physical.items() if table.shape[1]},
    )
    return target if copy else None


def _per_variable(result: CellResult, names: pd.Index) -> pd.DataFrame:
    """Loadings of every variable, NaN of those that were not fitted."""
    table = pd.concat(result.loadings.values())
    return table[~table.index.duplicated()].reindex(names)


def _indexed(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table.rename_axis(name).reset_index()


def _edges(graph: Graph | None) -> str:
    """All edges as JSON records, which every AnnData version can hold."""
    tables = [] if graph is None else [t.assign(relation=n) for n, t in graph.edges.items() if len(t)]
    return pd.concat(tables, ignore_index=True).to_json(orient="records") if tables else "[]"
