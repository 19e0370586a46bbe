"""From AnnData to data: which cells make a context, and the counts or means that describe it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
import pandas as pd
from anndata import AnnData

from multiscale.assays import Counts, LogNormal
from multiscale.data.contexts import Contexts, cell_contexts, group_contexts, pair_contexts
from multiscale.data.labels import Labels, read_labels
from multiscale.data.matrix import Matrix, read_matrix
from multiscale.data.means import expression_means
from multiscale.data.measurements import CountMatrix, Data, MeasurementTable
from multiscale.data.recover import counts_of
from multiscale.data.sizes import Sizes, choose_sizes, stated_sizes
from multiscale.errors import DataError, MultiscaleError

__all__ = ["from_anndata"]

logger = logging.getLogger("multiscale")


def from_anndata(
    adata: AnnData,
    *,
    groupby: str | None = None,
    pairs: bool = False,
    assays: Mapping[str, Counts | LogNormal] | None = None,
    batch_key: str | None = None,
) -> Data:
    """Read contexts and measurements from an AnnData, which is not changed.

    Without `groupby` every cell is a context. With it every label is one and its cells are replicates; with
    `pairs` every ordered pair of labels is one more. Counts are taken as they are, or recovered from a
    log1p-normalised matrix if that is exact; if it is not, the means of expm1 per context are read as
    log-normal (`LogNormal`), and the logger `multiscale` says so.

    Args:
        adata: annotated matrix, in memory or backed.
        groupby: column of obs whose labels are the contexts.
        pairs: add a context for every ordered pair of labels, also of a label with itself.
        assays: what to read, by name; `{"rna": Counts()}` if None.
        batch_key: reserved for batches, which need calibrations of their own.

    Returns:
        contexts in the order of the categories of `groupby`, measurements of every feature, and in
        `provenance` what was read, recovered and left out.

    Raises:
        DataError: something named is not there, the matrix holds NaN or negative values, or counts were
            promised and are none.
        MultiscaleError: `batch_key`, which is not supported yet.
    """
    _check_arguments(adata, groupby, pairs, batch_key)
    labels = read_labels(_obs(adata), groupby)
    contexts = _make_contexts(labels, groupby, pairs)
    measured = [
        _read_assay(name, assay, adata, labels) for name, assay in (assays or {"rna": Counts()}).items()
    ]
    shared = _describe(adata, groupby, pairs, labels)
    provenance = {item.name: {**shared, **item.provenance} for item in measured}
    return Data(contexts, {item.name: item for item in measured}, provenance)


def _check_arguments(adata: AnnData, groupby: str | None, pairs: bool, batch_key: str | None) -> None:
    """Refuse what cannot be read."""
    if not isinstance(adata, AnnData):
        got = type(adata).__name__
        raise DataError(f"`adata` must be an AnnData, or one modality of a MuData; got {got}.")
    if batch_key is not None:
        raise MultiscaleError("`batch_key` is not supported yet: fit the batches one by one, or omit it.")
    if pairs and groupby is None:
        raise DataError("`pairs` needs `groupby`: pairs are formed between groups of cells.")


def _obs(adata: AnnData) -> pd.DataFrame:
    """Annotations of the cells, in memory."""
    if not isinstance(adata.obs, pd.DataFrame):
        raise DataError("`adata.obs` is not in memory; read it with adata.to_memory().")
    return adata.obs


def _make_contexts(labels: Labels, groupby: str | None, pairs: bool) -> Contexts:
    """One context per cell or label, and their ordered pairs."""
    if groupby is None:
        return cell_contexts(labels.order)
    groups = group_contexts(labels.order, labels.n_cells.tolist())
    return pair_contexts(groups) if pairs else groups


def _read_assay(
    name: str, assay: Counts | LogNormal, adata: AnnData, labels: Labels
) -> CountMatrix | MeasurementTable:
    """Counts of one assay, or means where there are none."""
    if not isinstance(assay, Counts | LogNormal):
        raise DataError(f"`assays`: `{name}` must be Counts() or LogNormal(); got {assay!r}.")
    matrix = read_matrix(adata, assay.layer, assay.use_raw).take(labels.keep)
    if isinstance(assay, LogNormal):
        return expression_means(name, assay, matrix, labels)
    counts = _read_counts(name, assay, matrix, _obs(adata).loc[labels.keep], labels)
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


def _describe(adata: AnnData, groupby: str | None, pairs: bool, labels: Labels) -> dict[str, object]:
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
