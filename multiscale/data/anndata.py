"""From AnnData to data: single cells, or which cells make a context and what describes it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
from anndata import AnnData

from multiscale.assays import Counts, LogNormal
from multiscale.assays.channels import Channel
from multiscale.data.cells import Cells, cells_from_anndata
from multiscale.data.cells.opened import Opened, obs_of, open_anndata
from multiscale.data.contexts import group_contexts, pair_contexts
from multiscale.data.interventions import Interventions
from multiscale.data.labels import Labels, read_labels
from multiscale.data.matrix import Matrix, read_matrix
from multiscale.data.means import expression_means
from multiscale.data.measurements import CountMatrix, Data, MeasurementTable
from multiscale.data.recover import counts_of
from multiscale.data.sizes import Sizes, choose_sizes, stated_sizes
from multiscale.errors import DataError

__all__ = ["from_anndata"]

logger = logging.getLogger("multiscale")


@overload
def from_anndata(
    adata: AnnData | str | Path,
    *,
    groupby: None = None,
    assays: Mapping[str, Channel] | None = None,
    layer: str | None = None,
    batch_key: str | None = None,
    condition_key: str | None = None,
    interventions: Interventions | None = None,
    neighbours_key: str | None = None,
    size_factor_key: str | None = None,
) -> Cells: ...
@overload
def from_anndata(
    adata: AnnData | str | Path,
    *,
    groupby: str,
    pairs: bool = False,
    assays: Mapping[str, Counts | LogNormal] | None = None,
    layer: str | None = None,
) -> Data: ...
def from_anndata(
    adata: AnnData | str | Path,
    *,
    groupby: str | None = None,
    pairs: bool = False,
    assays: Mapping[str, Any] | None = None,
    layer: str | None = None,
    batch_key: str | None = None,
    condition_key: str | None = None,
    interventions: Interventions | None = None,
    neighbours_key: str | None = None,
    size_factor_key: str | None = None,
) -> Cells | Data:
    """Read single cells, or groups of them, from an AnnData, which is not changed.

    Without `groupby` every cell is read for itself, by one or several modalities; matrices in a file stay
    there.

    With `groupby` every label is a context and its cells are replicates; with `pairs` every ordered pair of
    labels is one more. Counts are taken as they are, or recovered from a log1p-normalised matrix if that is
    exact; if it is not, the means of expm1 per context are read as log-normal (`LogNormal`), and the logger
    `multiscale` says so.

    Args:
        adata: annotated matrix, in memory or backed, or a path that ends in .h5ad or .zarr.
        groupby: column of obs whose labels are the contexts; None = single cells.
        pairs: add a context for every ordered pair of labels, also of a label with itself.
        assays: what to read, by name. Of single cells channels such as `Transcripts()`; None = transcripts,
            and surface proteins if obsm has `protein_expression`. Of groups `Counts()` or `LogNormal()`;
            None = `{"rna": Counts()}`.
        layer: layer that holds the transcripts, if `assays` is None.
        batch_key: of single cells: column of obs; calibrations may differ between batches.
        condition_key: of single cells: column of obs: what was done to the cell.
        interventions: what the conditions are, physically.
        neighbours_key: of single cells: key of obsp with affinities between them.
        size_factor_key: of single cells: column of obs with their sizes; None = total counts.

    Returns:
        `Cells`; with `groupby` `Data`: contexts in the order of the categories, measurements of every
        feature, and in `provenance` what was read, recovered and left out.

    Raises:
        DataError: something named is not there, the matrix holds NaN or negative values, or counts were
            promised and are none.
        AssayError: a reading of single cells is none of its kind.
        FormatError: a file is missing, truncated or damaged.
    """
    if layer is not None and assays is not None:
        raise DataError(
            "`layer` is short for one assay; with `assays` give it there: Transcripts(layer=...)."
        )
    single: dict[str, Any] = {
        "batch_key": batch_key,
        "condition_key": condition_key,
        "interventions": interventions,
        "neighbours_key": neighbours_key,
        "size_factor_key": size_factor_key,
    }
    if groupby is None:
        if pairs:
            raise DataError("`pairs` needs `groupby`: pairs are formed between groups of cells.")
        return cells_from_anndata(adata, assays=assays, layer=layer, **single)
    for name, value in single.items():
        if value is not None:
            raise DataError(f"`{name}` is of single cells; omit it, or `groupby`.")
    return _groups(open_anndata(adata), groupby, pairs, assays or {"rna": Counts(layer=layer)})


def _groups(
    adata: AnnData | Opened, groupby: str, pairs: bool, assays: Mapping[str, Counts | LogNormal]
) -> Data:
    """Contexts and measurements of groups of cells."""
    labels = read_labels(obs_of(adata), groupby)
    groups = group_contexts(labels.order, labels.n_cells.tolist())
    measured = [_read_assay(name, assay, adata, labels) for name, assay in assays.items()]
    shared = _describe(adata, groupby, pairs, labels)
    provenance = {item.name: {**shared, **item.provenance} for item in measured}
    contexts = pair_contexts(groups) if pairs else groups
    return Data(contexts, {item.name: item for item in measured}, provenance)


def _read_assay(
    name: str, assay: Counts | LogNormal, adata: AnnData | Opened, labels: Labels
) -> CountMatrix | MeasurementTable:
    """Counts of one assay, or means where there are none."""
    if not isinstance(assay, Counts | LogNormal):
        raise DataError(f"`assays`: `{name}` must be Counts() or LogNormal(); got {assay!r}.")
    matrix = read_matrix(adata, assay.layer, assay.use_raw).take(labels.keep)
    if isinstance(assay, LogNormal):
        return expression_means(name, assay, matrix, labels)
    counts = _read_counts(name, assay, matrix, obs_of(adata).loc[labels.keep], labels)
    if counts is not None:
        return counts
    logger.warning("assay `%s` is read as log-normal means of expm1(%s).", name, matrix.where)
    means = LogNormal(layer=assay.layer, use_raw=assay.use_raw, target_sum=assay.target_sum)
    return expression_means(name, means, matrix, labels)


def _read_counts(
    name: str, assay: Counts, matrix: Matrix, obs: pd.DataFrame, labels: Labels
) -> CountMatrix | None:
    """Counts and sizes of the kept cells that show any; None if counts cannot be recovered."""
    stated = stated_sizes(obs, assay.size_factor_key)
    known = None if stated is None else stated.values
    found = counts_of(matrix, known, assay.target_sum, assay.may_recover)
    if found is None:
        return None
    sizes = choose_sizes(found.counts, stated)
    seen = _cells_with_size(name, sizes)
    rows = pd.DataFrame({"context": labels.contexts, "size_factor": sizes.values}, index=matrix.cells)
    provenance: dict[str, object] = {
        "assay": "counts",
        "matrix": matrix.where,
        "size_factor": sizes.where,
        **found.provenance,
        "cells_of_size_zero": int(np.sum(~seen)),
    }
    return CountMatrix(name, assay, found.counts[seen], rows.loc[seen], matrix.features, None, provenance)


def _cells_with_size(name: str, sizes: Sizes) -> np.ndarray:
    """Which cells were counted at all; the others are logged."""
    seen = sizes.values > 0
    if not seen.any():
        raise DataError(f"`{name}`: every cell has size 0 ({sizes.where}); give `size_factor_key`.")
    blank = int(np.sum(~seen))
    if blank:
        logger.warning("%d cells of size 0 (%s) are left out of `%s`.", blank, sizes.where, name)
    return seen


def _describe(adata: AnnData | Opened, groupby: str, pairs: bool, labels: Labels) -> dict[str, object]:
    """Provenance that all assays of an AnnData share."""
    return {
        "source": "anndata",
        "shape": [int(adata.n_obs), int(adata.n_vars)],
        "groupby": groupby,
        "pairs": pairs,
        "cells_without_label": labels.dropped,
        "labels_without_cell": labels.empty,
        "anndata": version("anndata"),
    }
