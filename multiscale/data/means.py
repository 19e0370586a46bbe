"""Means of normalised expression per context, where counts cannot be had."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from scipy import sparse

from multiscale.assays import LogNormal
from multiscale.assays.intensity import USUAL_TARGET
from multiscale.data.labels import Labels
from multiscale.data.matrix import Matrix
from multiscale.data.measurements import MeasurementTable
from multiscale.data.recover import common_target
from multiscale.errors import DataError

__all__ = ["expression_means"]

MOST_ENTRIES = 5_000_000
"""Entries of a table of means; beyond, someone wants cells as contexts without having their counts."""


def expression_means(name: str, assay: LogNormal, matrix: Matrix, labels: Labels) -> MeasurementTable:
    """Mean of expm1 of every feature over the cells of every context, read as log-normal.

    A feature that no cell of a context shows is below the mean that the smallest value in the matrix would
    give there if one cell showed it.

    Args:
        name: of the measurements.
        assay: its options.
        matrix: log1p-normalised values of the kept cells.
        labels: their contexts.

    Raises:
        DataError: there would be too many entries, or the matrix holds integers.
    """
    entries = len(labels.order) * len(matrix.features)
    if entries > MOST_ENTRIES:
        raise DataError(f"`{name}` would have {entries} means; give `groupby`, or a matrix of counts.")
    if np.array_equal(matrix.values.data, np.rint(matrix.values.data)):
        raise DataError(f"`{matrix.where}` holds integers, not log1p-normalised values; use Counts().")
    natural = matrix.natural()
    target = assay.target_sum or common_target(natural)
    where = f"{matrix.where} (means per context)"
    table = _mean_table(natural, matrix.features, labels)
    assay = dataclasses.replace(assay, target_sum=target or USUAL_TARGET)
    provenance: dict[str, object] = {
        "assay": "log_normal",
        "matrix": matrix.where,
        "recovered": False,
        "target_sum": assay.target_sum,
        "target_sum_assumed": target is None,
    }
    return MeasurementTable(name, assay, assay.prepare(table, where=where), provenance)


def _mean_table(natural: sparse.csr_array, features: pd.Index, labels: Labels) -> pd.DataFrame:
    """Tidy table of context, molecule, value and limit, contexts within features."""
    cells = np.arange(len(labels.group))
    members = sparse.csr_array((np.ones(len(cells)), (labels.group, cells)))
    means = sparse.csr_array(members @ natural).toarray() / labels.n_cells[:, None]
    return pd.DataFrame(
        {
            "context": np.tile(np.array(labels.order, dtype=object), len(features)),
            "molecule": np.repeat(features.to_numpy(dtype=object), len(labels.order)),
            "value": means.T.ravel(),
            "limit": np.tile(natural.data.min() / labels.n_cells, len(features)),
        }
    )
