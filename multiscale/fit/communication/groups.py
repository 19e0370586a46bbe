"""Expression of labelled groups of cells: which matrix, which cells, and genes joined to molecules."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from multiscale.assays.intensity import USUAL_TARGET
from multiscale.data.labels import Labels, read_labels
from multiscale.data.matrix import Matrix, read_matrix
from multiscale.data.recover import common_target
from multiscale.data.sizes import choose_sizes, stated_sizes
from multiscale.errors import DataError

__all__ = ["Expression", "read_expression"]

log = logging.getLogger("multiscale")


@dataclass(frozen=True, eq=False)
class Expression:
    """Transcripts of the cells of labelled groups.

    Args:
        fraction: share of each gene among all transcripts of a cell, shape (cell, gene).
        target: counts to which cells are normalised before the logarithm.
        genes: names.
        labels: group of every cell, shape (cell,).
        groups: names.
        provenance: what was read and assumed.
    """

    fraction: sparse.csr_array
    target: float
    genes: pd.Index
    labels: np.ndarray
    groups: list[str]
    provenance: dict[str, object]

    @property
    def sizes(self) -> np.ndarray:
        """Cells of every group, shape (group,)."""
        return np.bincount(self.labels, minlength=len(self.groups))

    def of(self, genes: Sequence[Sequence[str]]) -> sparse.csr_array:
        """Sums of the fractions of genes that make the same molecule, shape (cell, molecule).

        Args:
            genes: genes of every molecule; those that are not in the data add nothing.
        """
        found = [self.genes.get_indexer(pd.Index(list(names))) for names in genes]
        column = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
        row = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
        sums = sparse.csr_array(
            (np.ones(int((row >= 0).sum())), (row[row >= 0], column[row >= 0])),
            shape=(len(self.genes), len(found)),
        )
        return sparse.csr_array(self.fraction @ sums)

    def log(self, fraction: sparse.csr_array) -> sparse.csr_array:
        """Natural logarithm of one plus normalised counts, as scanpy's `log1p`, of fractions."""
        values = np.log1p(fraction.data * self.target)
        cells = len(self.labels)
        shape = (cells, fraction.sum(axis=0).size)
        return sparse.csr_array((values, fraction.indices, fraction.indptr), shape=shape)

    @property
    def mean(self) -> float:
        """Mean of `log` over all cells and genes of the data."""
        return float(self.log(self.fraction).data.sum() / (len(self.labels) * len(self.genes)))

    @property
    def largest(self) -> float:
        """Largest entry of `log`."""
        return float(np.log1p(self.fraction.data.max() * self.target))


def read_expression(
    adata: AnnData,
    groupby: str,
    *,
    layer: str | None = None,
    use_raw: bool | None = None,
    target_sum: float | None = None,
    size_factor_key: str | None = None,
    min_cells: int = 5,
) -> Expression:
    """Read counts, or log1p of normalised counts, of all labelled cells.

    Args:
        adata: annotated matrix; it stays as it is.
        groupby: column of obs with the labels.
        layer: name of a layer.
        use_raw: read `adata.raw.X`; None = if there is one and no `layer` is given.
        target_sum: total that the cells were normalised to; None = from the row sums if they agree, else
            10,000.
        size_factor_key: column of obs with the total counts of the cells, for matrices of counts.
        min_cells: smaller groups are left out.

    Raises:
        DataError: something named is not there, values are no expression, or fewer than two groups remain.
    """
    obs = adata.obs
    if not isinstance(obs, pd.DataFrame):
        raise DataError("`adata.obs` is not in memory; read it with adata.to_memory().")
    labels = read_labels(obs, groupby)
    raw = adata.raw is not None and layer is None if use_raw is None else use_raw
    matrix = read_matrix(adata, layer, raw).take(labels.keep)
    fraction, target, how = _fractions(matrix, obs.loc[labels.keep], target_sum, size_factor_key)
    keep, groups = _large_groups(labels, fraction.sum(axis=1) > 0, groupby, min_cells)
    codes = pd.Index(groups).get_indexer(pd.Index(labels.contexts[keep]))
    provenance = {
        "matrix": matrix.where,
        "groupby": groupby,
        "cells": len(codes),
        "target_sum": target,
        **how,
    }
    return Expression(fraction[keep], target, matrix.features, codes, groups, provenance)


def _fractions(
    matrix: Matrix, obs: pd.DataFrame, target_sum: float | None, size_factor_key: str | None
) -> tuple[sparse.csr_array, float, dict[str, object]]:
    """Shares of transcripts, the total that logarithms refer to, and how they came about."""
    if target_sum is not None and not target_sum > 0:
        raise DataError(f"`target_sum` must be positive; got {target_sum}.")
    data = matrix.values.data
    if np.array_equal(data, np.rint(data)):
        sizes = choose_sizes(matrix.values, stated_sizes(obs, size_factor_key))
        each = np.divide(1.0, sizes.values, out=np.zeros(len(sizes.values)), where=sizes.values > 0)
        fraction = sparse.csr_array(matrix.values * each[:, None])
        return fraction, target_sum or USUAL_TARGET, {"values": "counts", "size_factor": sizes.where}
    natural = matrix.natural()
    found = target_sum or common_target(natural)
    assumed = {"values": "log1p of normalised counts", "target_sum_assumed": found is None}
    return natural * (1.0 / (found or USUAL_TARGET)), found or USUAL_TARGET, assumed


def _large_groups(
    labels: Labels, seen: np.ndarray, groupby: str, min_cells: int
) -> tuple[np.ndarray, list[str]]:
    """Which cells are used, and the groups that have enough of them."""
    counts = pd.Series(labels.contexts[seen]).value_counts()
    groups = [name for name in labels.order if counts.get(name, 0) >= max(1, min_cells)]
    small = [name for name in labels.order if name not in groups]
    if small:
        log.warning(
            "groups of obs['%s'] with fewer than %d cells are left out: %s.", groupby, min_cells, small
        )
    if not seen.all():
        log.warning("%d cells without any transcript are left out.", int((~seen).sum()))
    if len(groups) < 2:
        raise DataError(
            f"`groupby`: obs['{groupby}'] has {len(groups)} groups of at least {min_cells} cells;"
            " communication compares groups and needs two: choose another column or lower `min_cells`."
        )
    return seen & np.isin(labels.contexts, groups), groups
