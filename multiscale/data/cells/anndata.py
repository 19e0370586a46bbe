"""Single cells of an AnnData, in memory or in a file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from multiscale.assays.channels import Channel, SurfaceProteins, Transcripts
from multiscale.data.cells.cells import Cells, Modality
from multiscale.data.cells.labels import codes_of, column_of
from multiscale.data.cells.modality import read_modality
from multiscale.data.cells.opened import Opened, obs_of, open_anndata
from multiscale.data.interventions import Interventions
from multiscale.errors import DataError, nearest

__all__ = ["cells_from_anndata", "joined", "read_neighbours"]

PROTEINS = "protein_expression"
"""Key of obsm where counts of surface proteins usually lie."""


def cells_from_anndata(
    adata: AnnData | str | Path,
    *,
    assays: Mapping[str, Channel] | None = None,
    layer: str | None = None,
    batch_key: str | None = None,
    condition_key: str | None = None,
    interventions: Interventions | None = None,
    neighbours_key: str | None = None,
    size_factor_key: str | None = None,
) -> Cells:
    """Read single cells from an AnnData, which is not changed and need not stay as it is.

    Args:
        adata: annotated matrix in memory or backed, or a path that ends in .h5ad or .zarr, whose matrices
            stay in the file.
        assays: modalities by name; None = transcripts from X, and surface proteins if obsm has
            `protein_expression`.
        layer: layer of the transcripts, if `assays` is None.
        batch_key: column of obs; calibrations may differ between batches.
        condition_key: column of obs: what was done to the cell.
        interventions: what the conditions are, physically.
        neighbours_key: key of obsp with affinities between cells.
        size_factor_key: column of obs with sizes of cells; None = total counts.

    Raises:
        DataError: something named is not there, a label is missing, or names occur twice.
        AssayError: a reading is none of its kind.
        FormatError: a file is missing, truncated or damaged.
    """
    found = open_anndata(adata)
    if layer is not None and assays is not None:
        raise DataError(
            "`layer` is short for one assay; with `assays` give it there: Transcripts(layer=...)."
        )
    channels = _usual(found, layer) if assays is None else assays
    cells = found.obs_names
    modalities = {
        name: read_modality(name, channel, found, cells, size_factor_key)
        for name, channel in channels.items()
    }
    obs = obs_of(found)
    return joined(
        obs.copy(),
        modalities,
        batch=None if batch_key is None else column_of(obs, batch_key, "batch_key"),
        condition=None if condition_key is None else column_of(obs, condition_key, "condition_key"),
        interventions=interventions,
        neighbours=None if neighbours_key is None else read_neighbours(found.obsp, neighbours_key),
        provenance={
            "source": "anndata",
            "file": str(found.filename or ""),
            "shape": [int(found.n_obs), int(found.n_vars)],
            "batch_key": batch_key,
            "condition_key": condition_key,
            "neighbours_key": neighbours_key,
            "anndata": version("anndata"),
        },
    )


def joined(
    obs: pd.DataFrame,
    modalities: Mapping[str, Modality],
    *,
    batch: pd.Series | None,
    condition: pd.Series | None,
    interventions: Interventions | None,
    neighbours: sparse.csr_array | None,
    provenance: Mapping[str, Any],
) -> Cells:
    """Cells that some modality measured.

    Args:
        obs: annotations of the cells.
        modalities: by name.
        batch: batch of every cell, or None.
        condition: condition of every cell, or None.
        interventions: what the conditions are.
        neighbours: affinities between cells, shape (cell, cell), or None.
        provenance: where the cells come from.

    Raises:
        DataError: a label is missing, or interventions are about no condition.
    """
    if interventions is not None and condition is None:
        raise DataError("`interventions` are about conditions; give `condition_key`, a column of obs.")
    measured = np.any([part.rows >= 0 for part in modalities.values()], axis=0) if modalities else []
    cells = Cells(
        obs,
        modalities,
        codes_of(batch, len(obs)),
        codes_of(condition, len(obs)),
        interventions or Interventions(),
        neighbours,
        {**provenance, "cells_not_measured": int(len(obs) - np.sum(measured))},
    )
    return cells if np.all(measured) else cells.take(np.asarray(measured))


def read_neighbours(obsp: Mapping[str, Any], key: str) -> sparse.csr_array:
    """Affinities between cells, in memory.

    Raises:
        DataError: they are not there.
    """
    if key not in obsp:
        raise DataError(f"`neighbours_key`: `{key}` is not in obsp; {nearest(key, obsp.keys())}")
    values = obsp[key]
    values = values.to_memory() if hasattr(values, "to_memory") else values[...]
    return sparse.csr_array(values, dtype=np.float32)


def _usual(adata: AnnData | Opened, layer: str | None) -> dict[str, Channel]:
    """What an AnnData usually holds."""
    channels: dict[str, Channel] = {"rna": Transcripts(layer=layer)}
    if PROTEINS in adata.obsm:
        channels["protein"] = SurfaceProteins(obsm_key=PROTEINS, names="protein_names")
    return channels
