"""AnnData and MuData: results beside the cells they explain, under the keys that users of scanpy expect."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from multiscale import atomic
from multiscale.errors import FormatError
from multiscale.formats import document

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

__all__ = ["FORMAT_VERSION", "not_pulling", "write", "write_h5ad", "write_h5mu"]

FORMAT_VERSION = 1

log = logging.getLogger("multiscale")


def write(
    adata: AnnData | MuData,
    *,
    latent: pd.DataFrame | None = None,
    molecules: pd.DataFrame | None = None,
    complexes: pd.DataFrame | None = None,
    pathways: pd.DataFrame | None = None,
    variables: pd.DataFrame | None = None,
    meta: Mapping[str, Any] | None = None,
    key_added: str = "multiscale",
) -> None:
    """Write results into an AnnData, or beside the modalities of a MuData, in place.

    Keys: `obsm["X_<key>"]` (array, its columns named in `uns`), `obsm["<key>_complex"]` and
    `obsm["<key>_pathway"]` (tables), `varm["X_<key>"]` (array, likewise), `uns["<key>"]`, which has a
    `format_version`. What is None is not written. Where there is a latent state, `obsm["X_<key>"]` holds it,
    and molecules become a table `obsm["<key>_molecule"]`.

    Args:
        adata: to write into.
        latent: latent state, index = names of the observations.
        molecules: state per molecule, same index.
        complexes: state per complex, same index.
        pathways: activity per pathway, same index.
        variables: learned values per variable, index = names of the variables.
        meta: version, units, graph hash, seed, settings, edge table; tables stay tables, None is left out.
        key_added: the key.

    Raises:
        FormatError: an index is not that of `adata`; nothing has been written then.
    """
    observed = {"latent": latent, "molecules": molecules, "complexes": complexes, "pathways": pathways}
    for name, table in observed.items():
        _check_index(table, adata.obs_names, name, "obs_names")
    _check_index(variables, adata.var_names, "variables", "var_names")
    content: dict[str, Any] = _storable(dict(meta or {}) | {"format_version": FORMAT_VERSION})
    first, column = (molecules, "molecules") if latent is None else (latent, "latent")
    if first is not None:
        adata.obsm[f"X_{key_added}"] = first.to_numpy(float)
        content[column] = np.array(first.columns, dtype=str)
    if latent is not None and molecules is not None:
        adata.obsm[f"{key_added}_molecule"] = _table(molecules, adata.obs_names)
    if complexes is not None:
        adata.obsm[f"{key_added}_complex"] = _table(complexes, adata.obs_names)
    if pathways is not None:
        adata.obsm[f"{key_added}_pathway"] = _table(pathways, adata.obs_names)
    if variables is not None:
        adata.varm[f"X_{key_added}"] = variables.to_numpy(float)
        content["variables"] = np.array(variables.columns, dtype=str)
    adata.uns[key_added] = content


def write_h5ad(adata: AnnData, path: str | Path) -> None:
    """Write an AnnData as .h5ad, atomically."""
    with atomic.replace(path) as temporary:
        adata.write_h5ad(temporary)


def write_h5mu(
    data: AnnData | MuData, path: str | Path, modality: str = "rna", key_added: str = "multiscale"
) -> None:
    """Write a MuData as .h5mu, atomically.

    Args:
        data: a MuData; or an AnnData, which becomes its only modality, with the results beside it too.
        path: file to write.
        modality: name of that modality.
        key_added: key of the results, as in `write`.

    Raises:
        FormatError: `mudata` is not installed.
    """
    with not_pulling():
        whole: Any = data if hasattr(data, "mod") else _around(data, modality, key_added)
        with atomic.replace(path) as temporary:
            whole.write_h5mu(temporary)


def not_pulling() -> AbstractContextManager[Any]:
    """A block in which mudata leaves the columns of modalities where they are.

    That is the default from mudata 0.4 on; before, it warns where nothing is chosen.

    Raises:
        FormatError: `mudata` is not installed.
    """
    options = getattr(_mudata(), "set_options", None)
    return nullcontext() if options is None else options(pull_on_update=False)


def _around(adata: Any, modality: str, key: str) -> MuData:
    """A MuData of one modality with the results of the AnnData beside it, under the same keys."""
    whole = _mudata().MuData({modality: adata})
    for name in (f"X_{key}", f"{key}_molecule", f"{key}_complex", f"{key}_pathway"):
        if name in adata.obsm:
            whole.obsm[name] = adata.obsm[name]
    if f"X_{key}" in adata.varm:
        whole.varm[f"X_{key}"] = adata.varm[f"X_{key}"]
    if key in adata.uns:
        whole.uns[key] = adata.uns[key]
    return whole


def _mudata() -> Any:
    try:
        import mudata
    except ImportError:
        raise FormatError(
            ".h5mu needs the package `mudata`; install it with `pip install 'multiscale-biology[mudata]'`."
        ) from None
    return mudata


def _check_index(table: pd.DataFrame | None, names: pd.Index, argument: str, expected: str) -> None:
    if table is None or table.index.equals(names):
        return
    odd = [str(name) for name in table.index if name not in names]
    said = (
        f"`{odd[0]}` is none of them"
        if odd
        else f"{len(table)} rows for {len(names)} names, or another order"
    )
    raise FormatError(f"`{argument}`: its index must be the data's `{expected}`; {said}.")


def _table(table: pd.DataFrame, names: pd.Index) -> pd.DataFrame:
    """A table whose column names HDF5 can hold: `/` separates groups there."""
    columns = [str(column).replace("/", "|") for column in table.columns]
    renamed = [f"`{old}`" for old, new in zip(table.columns, columns, strict=True) if str(old) != new]
    if renamed:
        log.warning("AnnData: HDF5 has no `/` in names; written as `|` in %s.", ", ".join(renamed))
    return table.set_axis(pd.Index(columns, dtype=object), axis=1).set_axis(names, axis=0)


def _storable(content: Mapping[str, Any]) -> dict[str, Any]:
    """Nested content that HDF5 can hold; lists of mixed things become JSON text."""
    result: dict[str, Any] = {}
    for key, value in content.items():
        if value is None:
            continue
        name = str(key).replace("/", "|")
        if isinstance(value, Mapping):
            result[name] = _storable(value)
        elif isinstance(value, pd.DataFrame):
            result[name] = value.rename(columns=str).reset_index(drop=True).rename(index=str)
        else:
            result[name] = _leaf(document.plain(value))
    return result


def _leaf(value: Any) -> Any:
    if not isinstance(value, list):
        return "" if value is None else value
    kinds = {type(item) for item in value}
    uniform = len(kinds) == 1 and kinds <= {str, int, float, bool}
    return np.array(value) if uniform else document.to_json(value, indent=None)
