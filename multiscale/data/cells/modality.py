"""One modality of an AnnData: where its readings lie, whether they are of its kind, and sizes of cells."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from multiscale.assays.channels import Channel
from multiscale.data.cells.cells import Modality, Source
from multiscale.data.cells.opened import Opened, obs_of
from multiscale.data.cells.source import InMemory, OnDisk, is_on_disk
from multiscale.data.match import shorten
from multiscale.data.matrix import locate
from multiscale.data.sizes import stated_sizes
from multiscale.errors import DataError, nearest

__all__ = ["read_modality", "totals"]

ROWS_AT_ONCE = 4096
"""Rows that are checked together."""

logger = logging.getLogger("multiscale")


@dataclass(frozen=True, eq=False)
class _Readings:
    """Readings before they are matched to cells.

    Args:
        where: as a user would write it.
        source: the readings.
        features: names of the columns.
        measured: rows that hold a reading, shape (row,).
    """

    where: str
    source: Source
    features: tuple[str, ...]
    measured: np.ndarray


def read_modality(
    name: str, channel: Channel, adata: AnnData | Opened, cells: pd.Index, size_factor_key: str | None = None
) -> Modality:
    """Readings of one modality, all of them checked once.

    Args:
        name: of the modality.
        channel: what is read, and where it lies.
        adata: in memory or opened.
        cells: all cells, of which the modality may have measured some.
        size_factor_key: column of obs with size factors; None = total counts.

    Raises:
        DataError: something named is not there, names occur twice, or there is no reading.
        AssayError: a reading is none of this kind.
        FormatError: the file is damaged.
    """
    if not isinstance(channel, Channel):
        raise DataError(
            f"`assays`: `{name}` must be a channel such as Transcripts(); got {channel!r}. "
            "Counts() and LogNormal() need `groupby`."
        )
    check_unique("`obs_names`", adata.obs_names, "use adata.obs_names_make_unique()")
    read = _locate(channel, adata)
    if not read.features or not read.measured.any():
        raise DataError(f"`{name}`: `{read.where}` is empty; leave the modality out.")
    total = totals(read.source, channel, read.where, read.features, adata.obs_names, read.measured)
    if not total.any():
        raise DataError(f"`{name}`: `{read.where}` holds no value other than zero.")
    size, sizes_from = _sizes(channel, adata, total, size_factor_key)
    blank = read.measured & (size <= 0)
    _warn_of_blank(name, read.where, adata.obs_names, blank)
    seen = read.measured & ~blank
    if not seen.any():
        raise DataError(f"`{name}`: every cell has size 0 ({sizes_from}).")
    mean = float(size[seen].mean())
    return _matched(
        name,
        channel,
        read,
        cells,
        adata.obs_names,
        seen,
        size / mean,
        {
            "matrix": read.where,
            "file": str(adata.filename or ""),
            "on_disk": read.source.on_disk,
            "size_factor": sizes_from,
            "size_mean": mean,
            "size_features": len(read.features),
            "cells": int(seen.sum()),
            "cells_of_size_zero": int(blank.sum()),
        },
    )


def totals(
    source: Source,
    channel: Channel,
    where: str,
    features: Sequence[str],
    cells: pd.Index,
    measured: np.ndarray,
    columns: np.ndarray | None = None,
) -> np.ndarray:
    """Check all readings in one pass, and add up the magnitudes of those of every row.

    Args:
        source: readings.
        channel: their kind.
        where: as a user would write it.
        features: names of the columns.
        cells: names of the rows.
        measured: rows to look at, shape (row,).
        columns: columns that count; None = all.

    Returns:
        shape (row,); 0 where not looked at.

    Raises:
        AssayError: a reading is none of this kind.
    """
    total = np.zeros(source.shape[0])
    for start in range(0, source.shape[0], ROWS_AT_ONCE):
        rows = start + np.flatnonzero(measured[start : start + ROWS_AT_ONCE])
        if len(rows):
            block = source.rows(rows)
            block = block if columns is None else block[:, columns]
            channel.check(block, where, features, [str(cell) for cell in cells[rows]])
            total[rows] = np.asarray(abs(block).sum(axis=1, dtype=np.float64)).ravel()
    return total


def check_unique(axis: str, names: pd.Index, remedy: str) -> None:
    """Refuse names that occur twice.

    Raises:
        DataError: names the first.
    """
    twice = names[names.duplicated()]
    if len(twice):
        raise DataError(f"{axis}: `{twice[0]}` occurs twice; {remedy}.")


def _locate(channel: Channel, adata: AnnData | Opened) -> _Readings:
    """Find the readings and the names of their features."""
    asked = {"layer": channel.layer, "use_raw": channel.use_raw, "obsm_key": channel.obsm_key}
    given = [option for option, value in asked.items() if value]
    if len(given) > 1:
        raise DataError(f"give one of {' and '.join(f'`{option}`' for option in given)}.")
    if channel.obsm_key is None:
        where, values, features = locate(adata, channel.layer, channel.use_raw)
    else:
        where, values, features = _of_obsm(channel.obsm_key, channel, adata)
    named = pd.Index([str(feature) for feature in features])
    check_unique(f"features of `{where}`", named, "make the names unique: adata.var_names_make_unique()")
    if is_on_disk(values):
        file = str(adata.filename or "")
        place = f"{where} of `{file}`" if file else where
        source: Source = _stored(values, place)
    else:
        source = InMemory(_as_numbers(values.compute() if hasattr(values, "compute") else values, where))
    if source.shape != (adata.n_obs, len(named)):
        raise DataError(
            f"`{where}` has shape {source.shape}, not {(adata.n_obs, len(named))} (cells, names of features)."
        )
    return _Readings(where, source, tuple(named), _measured(source))


def _stored(values: Any, place: str) -> Source:
    """Readings in a file; those compressed by columns are read whole, because rows would cost a pass each."""
    if getattr(values, "format", "csr") == "csc":
        logger.warning("%s is compressed by columns and therefore read into memory.", place)
        return InMemory(values.to_memory())
    return OnDisk(values, place)


def _of_obsm(key: str, channel: Channel, adata: AnnData | Opened) -> tuple[str, Any, Sequence[Any]]:
    """A table, or an array and the names of its columns."""
    if key not in adata.obsm:
        raise DataError(f"`obsm_key`: `{key}` is not in obsm; {nearest(key, adata.obsm.keys())}")
    where, values = f"obsm['{key}']", adata.obsm[key]
    if isinstance(values, pd.DataFrame):
        return where, values.to_numpy(), list(values.columns)
    names = channel.names
    if names is None:
        raise DataError(f"{where} is an array; give the names of its columns in `names`.")
    if isinstance(names, str):
        if names not in adata.uns:
            raise DataError(f"`names`: `{names}` is not in uns; {nearest(names, adata.uns.keys())}")
        names = list(adata.uns[names])
    return where, values, names


def _as_numbers(values: Any, where: str) -> Any:
    if values.dtype.kind in "fiub":
        return values
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"`{where}` must hold numbers; got {values.dtype}.") from None


def _measured(source: Source) -> np.ndarray:
    """Rows with a reading; a row of NaN alone is what joining AnnData leaves of cells not measured."""
    if isinstance(source, InMemory) and isinstance(source.values, np.ndarray):
        return np.logical_not(np.all(np.isnan(source.values), axis=1))
    return np.ones(source.shape[0], dtype=bool)


def _sizes(
    channel: Channel, adata: AnnData | Opened, total: np.ndarray, key: str | None
) -> tuple[np.ndarray, str]:
    """Sizes of cells, not yet relative to their mean, and where they come from."""
    if not channel.sized:
        return np.ones(len(total)), "none"
    if key is None:
        return total, "row sums"
    stated = stated_sizes(obs_of(adata), key)
    assert stated is not None  # a key was given
    return stated.values, stated.where


def _warn_of_blank(name: str, where: str, cells: pd.Index, blank: np.ndarray) -> None:
    if blank.any():
        found = shorten(str(cell) for cell in cells[blank])
        logger.warning("cells of size 0 (`%s`) are left out of `%s`: %s.", where, name, found)


def _matched(
    name: str,
    channel: Channel,
    read: _Readings,
    cells: pd.Index,
    own: pd.Index,
    seen: np.ndarray,
    size: np.ndarray,
    provenance: dict[str, Any],
) -> Modality:
    """The modality, for all cells."""
    rows = own.get_indexer(cells).astype(np.int64)
    rows[(rows >= 0) & ~seen[rows]] = -1
    return Modality(
        name,
        channel,
        read.features,
        read.source,
        np.arange(len(read.features)),
        rows,
        np.where(rows >= 0, size[rows], 1.0),
        provenance=provenance,
    )
