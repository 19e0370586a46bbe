"""Files of cells, opened: tables are read, matrices stay on disk until their rows are asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import pandas as pd
import zarr
from anndata import AnnData
from anndata.io import read_elem, sparse_dataset

from multiscale.data.cells.source import read_errors
from multiscale.errors import DataError, FormatError

__all__ = ["Opened", "OpenedRaw", "Parts", "obs_of", "open_anndata", "open_mudata"]

ARRAYS = ("array", "csr_matrix", "csc_matrix")
"""Encodings of matrices, which stay on disk."""


class Elements(Mapping[str, Any]):
    """Members of a group of a file, each read or opened when it is asked for."""

    def __init__(self, group: Any) -> None:
        """Members of `group`; None has none."""
        self.group = group

    def __getitem__(self, name: str) -> Any:
        """A matrix on disk, or anything else in memory."""
        if self.group is None or name not in self.group:
            raise KeyError(name)
        with read_errors(f"`{name}` of `{self.group.name}`"):
            return _element(self.group[name])

    def __iter__(self) -> Iterator[str]:
        """Names of the members."""
        return iter(() if self.group is None else list(self.group))

    def __len__(self) -> int:
        """Number of members."""
        return 0 if self.group is None else len(self.group)


@dataclass(frozen=True, eq=False)
class OpenedRaw:
    """Member `raw` of a file.

    Args:
        X: matrix on disk.
        var_names: names of its features.
    """

    X: Any
    var_names: pd.Index


@dataclass(frozen=True, eq=False)
class Opened:
    """An AnnData of which only the tables are in memory; its attributes are called as those of an AnnData.

    Args:
        X: matrix on disk, or None.
        obs: annotations of the cells.
        var: annotations of the features.
        layers: matrices on disk.
        obsm: tables and matrices about cells.
        obsp: about pairs of cells.
        uns: anything else.
        raw: or None.
        filename: path of the file.
    """

    X: Any
    obs: pd.DataFrame
    var: pd.DataFrame
    layers: Elements
    obsm: Elements
    obsp: Elements
    uns: Elements
    raw: OpenedRaw | None
    filename: str

    @property
    def obs_names(self) -> pd.Index:
        """Names of the cells."""
        return self.obs.index

    @property
    def var_names(self) -> pd.Index:
        """Names of the features."""
        return self.var.index

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.obs)

    @property
    def n_vars(self) -> int:
        """Number of features."""
        return len(self.var_names)


@dataclass(frozen=True, eq=False)
class Parts:
    """Modalities of a MuData, opened.

    Args:
        obs: annotations of the union of all cells, or None where nothing states them.
        modalities: by name.
        obsp: about pairs of cells of the union.
        filename: path of the file; empty in memory.
    """

    obs: pd.DataFrame | None
    modalities: Mapping[str, AnnData | Opened]
    obsp: Mapping[str, Any]
    filename: str = ""


def open_anndata(adata: AnnData | str | Path) -> AnnData | Opened:
    """Open a file of an AnnData; one in memory comes back as it is.

    Args:
        adata: an AnnData, or a path that ends in .h5ad or .zarr.

    Raises:
        DataError: it is something else.
        FormatError: the file is missing, truncated or damaged.
    """
    if isinstance(adata, AnnData):
        obs_of(adata)
        return adata
    if not isinstance(adata, str | Path):
        got = type(adata).__name__
        remedy = "; use ms.from_mudata" if hasattr(adata, "mod") else ""
        raise DataError(f"`adata` must be an AnnData or a path to .h5ad or .zarr; got {got}{remedy}.")
    path = _existing(adata, (".h5ad", ".zarr"), "ms.from_mudata reads .h5mu")
    with read_errors(f"`{path}`"):
        root = _root(path)
        if root.attrs.get("encoding-type") == "MuData":
            raise FormatError(f"`{path}` holds a MuData; read it with ms.from_mudata.")
        if "encoding-type" in root.attrs or path.suffix != ".h5ad":
            return _open(root, path)
    return _open_old(path)


def obs_of(adata: AnnData | Opened) -> pd.DataFrame:
    """Annotations of the cells.

    Raises:
        DataError: they are not in memory.
    """
    if not isinstance(adata.obs, pd.DataFrame):
        raise DataError("`adata.obs` is not in memory; read it with adata.to_memory().")
    return adata.obs


def open_mudata(mdata: Any) -> Parts:
    """Open a file of a MuData; one in memory comes back by its modalities.

    Args:
        mdata: a MuData, a mapping from names to AnnData, or a path that ends in .h5mu or .zarr.

    Raises:
        DataError: it is something else.
        FormatError: the file is missing, truncated or damaged.
    """
    if isinstance(mdata, str | Path):
        path = _existing(mdata, (".h5mu", ".zarr"), "ms.from_anndata reads .h5ad")
        with read_errors(f"`{path}`"):
            return _open_parts(_root(path), path)
    if isinstance(mdata, Mapping):
        return Parts(None, {str(name): open_anndata(part) for name, part in mdata.items()}, {})
    if not hasattr(mdata, "mod"):
        got = type(mdata).__name__
        remedy = "; use ms.from_anndata" if isinstance(mdata, AnnData) else ""
        raise DataError(f"`mdata` must be a MuData or a path to .h5mu; got {got}{remedy}.")
    modalities = {str(name): open_anndata(part) for name, part in mdata.mod.items()}
    return Parts(mdata.obs, modalities, mdata.obsp)


def _existing(path: str | Path, endings: tuple[str, ...], other: str) -> Path:
    file = Path(path)
    if file.suffix not in endings:
        raise FormatError(f"`{file}`: the path must end in {' or '.join(endings)} ({other}).")
    if not file.exists():
        raise FormatError(f"`{file}` does not exist.")
    return file


def _root(path: Path) -> Any:
    return zarr.open_group(path, mode="r") if path.suffix == ".zarr" else h5py.File(path)


def _open(group: Any, path: Path) -> Opened:
    """Tables of an AnnData in a group of a file."""
    raw = group.get("raw")
    return Opened(
        X=_element(group["X"]) if "X" in group else None,
        obs=_table(group, "obs"),
        var=_table(group, "var"),
        layers=Elements(group.get("layers")),
        obsm=Elements(group.get("obsm")),
        obsp=Elements(group.get("obsp")),
        uns=Elements(group.get("uns")),
        raw=None if not _is_group(raw) else OpenedRaw(_element(raw["X"]), _table(raw, "var").index),
        filename=str(path),
    )


def _open_parts(root: Any, path: Path) -> Parts:
    """Modalities of a MuData in a file."""
    if "mod" not in root:
        raise FormatError(f"`{path}` has no modalities; ms.from_anndata reads an AnnData.")
    group = root["mod"]
    names = [str(name) for name in group.attrs.get("mod-order", list(group))]
    modalities = {name: _open(group[name], path) for name in names}
    return Parts(_table(root, "obs"), modalities, Elements(root.get("obsp")), str(path))


def _open_old(path: Path) -> AnnData:
    """A file from before encodings were named, which anndata knows how to read."""
    with warnings.catch_warnings(), read_errors(f"`{path}`"):
        warnings.simplefilter("ignore")  # that the file is old
        return anndata.read_h5ad(path, backed="r")


def _table(group: Any, name: str) -> pd.DataFrame:
    """A table of a file; its index holds names."""
    found = read_elem(group[name])
    if not isinstance(found, pd.DataFrame):
        raise ValueError(f"`{name}` is no table")
    return found


def _is_group(item: Any) -> bool:
    return isinstance(item, h5py.Group | zarr.Group)


def _element(item: Any) -> Any:
    """A matrix on disk, or anything else in memory."""
    kind = item.attrs.get("encoding-type", "")
    if kind not in ARRAYS:
        return read_elem(item)
    if _is_group(item):
        return sparse_dataset(item)
    return item if item.ndim == 2 and item.dtype.kind in "fiub" else read_elem(item)
