"""Where readings lie: in memory, or in a file of which only the rows asked for are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from anndata.abc import CSCDataset, CSRDataset
from scipy import sparse

from multiscale.data.cells.cells import Source
from multiscale.errors import DataError, FormatError, MultiscaleError

__all__ = ["InMemory", "OnDisk", "is_on_disk", "read_errors"]

GAP = 32
"""Rows that nobody asked for and that are read nevertheless: files decompress whole chunks anyway."""

LONGEST = 8192
"""Rows that are read at once at most."""

Block = sparse.csr_array | np.ndarray


class InMemory(Source):
    """A matrix in memory, copied: what happens to the original later does not matter.

    Args:
        values: sparse or dense, shape (row, feature).

    >>> InMemory(np.eye(3)).rows(np.array([2, 0])).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """

    on_disk = False

    def __init__(self, values: Any) -> None:
        """Copy the matrix as float32, compressed by rows if it is sparse."""
        held: Any
        if sparse.issparse(values):
            held = sparse.csr_array(values, dtype=np.float32, copy=True)
            held.sum_duplicates()
            held.eliminate_zeros()
        else:
            held = np.array(values, dtype=np.float32)
        self.values: Block = held
        self.shape = (int(held.shape[0]), int(held.shape[1]))

    def rows(self, index: np.ndarray) -> Block:
        """Some rows, in the order asked for, float32."""
        return self.values[index]


class OnDisk(Source):
    """A matrix in a file: dense, or compressed by rows; neighbouring rows are read together.

    A dense matrix is read quickest if its chunks hold all columns of a few thousand rows.

    Args:
        matrix: of h5py or zarr, or a sparse dataset of anndata, shape (row, feature).
        where: file and place in it, for messages.

    Raises:
        DataError: the matrix is compressed by columns: rows of such a file cost a pass over all of it.
        FormatError: parts of the file are missing.
    """

    on_disk = True

    def __init__(self, matrix: Any, where: str) -> None:
        """Look at the file; only the positions of rows are read."""
        if isinstance(matrix, CSCDataset):
            raise DataError(
                f"{where} is compressed by columns; store it by rows: `adata.X = adata.X.tocsr()`."
            )
        self.where = where
        self.shape = (int(matrix.shape[0]), int(matrix.shape[1]))
        self._matrix = matrix  # which keeps the file open
        self._indptr: np.ndarray | None = None
        if isinstance(matrix, CSRDataset):
            with read_errors(where):
                self._open_sparse(matrix)

    @property
    def row_bytes(self) -> float:
        """Bytes that a row takes in memory, on average."""
        if self._indptr is None:
            return 4.0 * self.shape[1]
        return 8.0 * float(self._indptr[-1]) / max(1, self.shape[0])

    def rows(self, index: np.ndarray) -> Block:
        """Some rows, in the order asked for, float32.

        Raises:
            FormatError: the file is damaged there.
        """
        wanted, place = np.unique(index, return_inverse=True)
        if not len(wanted):
            return np.zeros((0, self.shape[1]), dtype=np.float32)
        with read_errors(self.where):
            parts = [self._run(run) for run in _runs(wanted)]
        joined = parts[0] if len(parts) == 1 else _stacked(parts)
        in_order = len(place) == len(wanted) and bool((np.diff(place) == 1).all())
        return joined if in_order else joined[place]

    def _run(self, run: np.ndarray) -> Block:
        """Some sorted rows that lie close together."""
        first, after = int(run[0]), int(run[-1]) + 1
        if self._indptr is None:
            block: Block = np.asarray(self._matrix[first:after], dtype=np.float32)
        else:
            block = self._sparse(self._indptr[first : after + 1])
        return block if len(run) == after - first else block[run - first]

    def _open_sparse(self, matrix: Any) -> None:
        """Read where the rows begin, and see that the values are there."""
        group = matrix.group
        self._indptr = np.asarray(group["indptr"][...], dtype=np.int64)
        self._indices, self._data = group["indices"], group["data"]
        stored = int(self._indptr[-1])
        if len(self._indptr) != self.shape[0] + 1 or (np.diff(self._indptr) < 0).any():
            raise ValueError("positions of rows do not increase")
        for array in (self._indices, self._data):
            if array.shape[0] != stored:
                raise ValueError(f"{array.shape[0]} of {stored} values are there")
            # Chunks that are not there would be read as zeros.
            if not isinstance(array, h5py.Dataset) and self.shape[1] > 1:
                missing = array.nchunks - array.nchunks_initialized
                if missing > 0:  # shards count chunks that lie beyond the end
                    raise ValueError(f"{missing} of {array.nchunks} chunks are missing")

    def _sparse(self, indptr: np.ndarray) -> sparse.csr_array:
        """Neighbouring rows, compressed."""
        low, high = int(indptr[0]), int(indptr[-1])
        columns = np.asarray(self._indices[low:high])
        values = np.asarray(self._data[low:high], dtype=np.float32)
        if len(columns) and (int(columns.min()) < 0 or int(columns.max()) >= self.shape[1]):
            raise ValueError("a feature is out of range")
        shape = (len(indptr) - 1, self.shape[1])
        return sparse.csr_array((values, columns.astype(np.int32, copy=False), indptr - low), shape=shape)


def _stacked(parts: list[Any]) -> Block:
    """Blocks below each other."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    stored = np.cumsum([0, *(part.nnz for part in parts)])
    begins = [part.indptr[:-1].astype(np.int64) + before for part, before in zip(parts, stored, strict=False)]
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("data", "indices"))
    shape = (sum(part.shape[0] for part in parts), parts[0].shape[1])
    return sparse.csr_array((*arrays, np.concatenate([*begins, stored[-1:]])), shape=shape)


def is_on_disk(values: Any) -> bool:
    """Whether a matrix of an AnnData lies in a file."""
    if isinstance(values, np.ndarray) or sparse.issparse(values):
        return False
    return isinstance(values, CSRDataset | CSCDataset | h5py.Dataset) or hasattr(values, "nchunks")


@contextmanager
def read_errors(where: str) -> Iterator[None]:
    """Turn what libraries say of a damaged file into one message.

    Args:
        where: file and place in it.

    Raises:
        FormatError: reading failed.
    """
    try:
        yield
    except MultiscaleError:
        raise
    # ValueError and RuntimeError: what codecs and h5py say of truncated chunks and closed files.
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "the file is truncated, damaged or closed; copy or write it again"
        raise FormatError(f"{where} cannot be read ({said}): {remedy}.") from error


def _runs(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Split sorted rows into pieces that are read at once.

    >>> [run.tolist() for run in _runs(np.array([1, 2, 500, 503]))]
    [[1, 2], [500, 503]]
    """
    begin = 0
    for end in (*(np.flatnonzero(np.diff(rows) > GAP) + 1), len(rows)):
        while begin < end:
            stop = int(np.searchsorted(rows[begin:end], rows[begin] + LONGEST)) + begin
            yield rows[begin:stop]
            begin = stop
