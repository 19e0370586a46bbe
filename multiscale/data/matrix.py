"""The matrix of an AnnData that an assay reads: X, a layer or raw, in memory or on disk, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from multiscale.errors import DataError, nearest

__all__ = ["Matrix", "locate", "read_matrix"]

ROWS_AT_ONCE = 4096
"""Rows of a matrix on disk that are converted together."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """A non-negative matrix of an AnnData.

    Args:
        where: which one, as a user would write it: `X`, `raw.X` or `layers['name']`.
        values: float64, no explicit zeros, shape (cell, feature).
        cells: names of the cells.
        features: names of the features, unique.
        log_base: base of the logarithm that scanpy noted in `uns['log1p']`; e if it noted none.
    """

    where: str
    values: sparse.csr_array
    cells: pd.Index
    features: pd.Index
    log_base: float

    @property
    def rows(self) -> np.ndarray:
        """Row of every stored value."""
        return np.repeat(np.arange(len(self.cells)), np.diff(self.values.indptr))

    def at(self, entry: int) -> str:
        """Name the cell, feature and value of a stored entry."""
        cell = self.cells[int(self.rows[entry])]
        feature = self.features[int(self.values.indices[entry])]
        return f"`{self.where}` of cell `{cell}`, feature `{feature}` is {self.values.data[entry]:.6g}"

    def with_data(self, data: np.ndarray) -> sparse.csr_array:
        """Other values at the same places."""
        pattern = self.values
        return sparse.csr_array((data, pattern.indices, pattern.indptr), shape=pattern.shape)

    def natural(self) -> sparse.csr_array:
        """Undo log1p: expm1(values), in the base noted.

        Raises:
            DataError: values are too large for logarithms.
        """
        logs = self.values.data * np.log(self.log_base)
        if logs.size and logs.max() > 30:
            entry = int(logs.argmax())
            remedy = "neither a count nor log1p of a normalised count; give `layer` or `use_raw`"
            raise DataError(f"{self.at(entry)}: {remedy}.")
        return self.with_data(np.expm1(logs))

    def take(self, keep: np.ndarray) -> Matrix:
        """Some of the cells."""
        return replace(self, values=self.values[keep], cells=self.cells[keep])


def read_matrix(adata: Any, layer: str | None = None, use_raw: bool = False) -> Matrix:
    """Read X, a layer, or raw, and check that its values can be counts or their logarithms.

    Args:
        adata: an AnnData in memory or backed, or a file of one that was opened.
        layer: name of a layer; None = X.
        use_raw: read `adata.raw.X`.

    Raises:
        DataError: it is not there, names occur twice, or a value is NaN, infinite or negative.
    """
    where, values, features = locate(adata, layer, use_raw)
    _check_unique("obs_names", adata.obs_names, "use adata.obs_names_make_unique()")
    if use_raw:
        _check_unique("raw.var_names", features, "make them unique before `adata.raw` is set")
    else:
        _check_unique("var_names", features, "use adata.var_names_make_unique()")
    matrix = Matrix(where, _to_csr(values), adata.obs_names, features, _log_base(adata))
    _check_values(matrix)
    return matrix


def _check_unique(axis: str, names: pd.Index, remedy: str) -> None:
    """Refuse names that occur twice."""
    twice = names[names.duplicated()]
    if len(twice):
        raise DataError(f"`{axis}`: `{twice[0]}` occurs twice; {remedy}.")


def locate(adata: Any, layer: str | None, use_raw: bool) -> tuple[str, Any, pd.Index]:
    """Where the values are called, the values, and the names of their features.

    Args:
        adata: an AnnData, or a file of one that was opened.
        layer: name of a layer; None = X.
        use_raw: take `adata.raw.X`.

    Raises:
        DataError: it is not there.
    """
    if use_raw:
        if adata.raw is None:
            raise DataError("`use_raw`: `adata.raw` is empty; give `layer`, or neither for `X`.")
        return "raw.X", adata.raw.X, adata.raw.var_names
    if layer is not None:
        if layer not in adata.layers:
            known = [name for name in adata.layers if name is not None]  # from anndata 0.13 on, None is X
            raise DataError(f"`{layer}` is not a layer of the AnnData; {nearest(layer, known)}")
        return f"layers['{layer}']", adata.layers[layer], adata.var_names
    if adata.X is None:
        raise DataError("`adata.X` is empty; give `layer` or `use_raw`.")
    return "X", adata.X, adata.var_names


def _log_base(adata: Any) -> float:
    """Base of the logarithm that scanpy notes when it is not e."""
    noted = adata.uns.get("log1p")
    base = noted.get("base") if isinstance(noted, Mapping) else None
    return float(np.e if base is None else base)


def _to_csr(values: Any) -> sparse.csr_array:
    """Convert any matrix of an AnnData to float64 in compressed rows; one on disk is read in pieces."""
    if isinstance(values, np.ndarray) or sparse.issparse(values):
        blocks = [values]
    else:
        blocks = [values[start : start + ROWS_AT_ONCE] for start in range(0, values.shape[0], ROWS_AT_ONCE)]
    pieces = [_block_to_csr(block) for block in blocks]
    return pieces[0] if len(pieces) == 1 else sparse.csr_array(sparse.vstack(pieces, format="csr"))


def _block_to_csr(block: Any) -> sparse.csr_array:
    # A lazy (dask) block may be sparse inside, which asarray cannot see.
    block = block.compute() if hasattr(block, "compute") else block
    dense = block if sparse.issparse(block) else np.asarray(block)
    # A copy: the user's matrix keeps its explicit zeros and its type.
    piece = sparse.csr_array(dense, dtype=np.float64, copy=True)
    piece.sum_duplicates()
    piece.eliminate_zeros()
    return piece


def _check_values(matrix: Matrix) -> None:
    """Refuse values that are NaN, infinite or negative, and a matrix without any value."""
    data = matrix.values.data
    if data.size == 0:
        raise DataError(f"`{matrix.where}` holds no value other than zero.")
    wrong = ~np.isfinite(data)
    if wrong.any():
        raise DataError(f"{matrix.at(int(wrong.argmax()))}; values must be finite: drop the cell or feature.")
    if data.min() < 0:
        remedy = "a scaled matrix holds no counts: give `layer`, or `use_raw` if `adata.raw` has them"
        raise DataError(f"{matrix.at(int((data < 0).argmax()))}, negative; {remedy}.")
