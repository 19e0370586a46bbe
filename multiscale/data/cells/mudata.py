"""Single cells of a MuData: modalities joined by the names of their cells, of which each may lack some."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from multiscale.assays.channels import Channel, SurfaceProteins, Transcripts
from multiscale.data.cells.anndata import joined, read_neighbours
from multiscale.data.cells.cells import Cells, Modality
from multiscale.data.cells.modality import check_unique, read_modality
from multiscale.data.cells.opened import Opened, Parts, open_mudata
from multiscale.data.interventions import Interventions
from multiscale.data.match import shorten
from multiscale.errors import DataError, nearest

if TYPE_CHECKING:
    from mudata import MuData

__all__ = ["cells_from_mudata"]

logger = logging.getLogger("multiscale")


def cells_from_mudata(
    mdata: MuData | Mapping[str, AnnData] | str | Path,
    *,
    assays: Mapping[str, Channel] | None = None,
    batch_key: str | None = None,
    condition_key: str | None = None,
    interventions: Interventions | None = None,
    neighbours_key: str | None = None,
    size_factor_key: str | None = None,
) -> Cells:
    """Read single cells from the modalities of a MuData, which is not changed.

    The cells are the union of those of the modalities that are read; a cell that a modality did not measure
    has no reading there. How many cells each combination of modalities measured is logged and kept in
    `provenance`.

    Args:
        mdata: a MuData, a mapping from names to AnnData, or a path that ends in .h5mu or .zarr, whose
            matrices stay in the file.
        assays: channel of every modality that is read; None = transcripts from `rna`, and surface proteins
            from `prot`, `protein` or `adt`.
        batch_key: column of obs, of the MuData or of its modalities.
        condition_key: column of obs: what was done to the cell.
        interventions: what the conditions are, physically.
        neighbours_key: key of obsp with affinities between all cells.
        size_factor_key: column of obs of the modalities with sizes of cells; None = total counts.

    Raises:
        DataError: something named is not there, a label is missing or differs between modalities, or names
            occur twice.
        AssayError: a reading is none of its kind.
        FormatError: a file is missing, truncated or damaged.
    """
    parts = open_mudata(mdata)
    channels = _usual(parts) if assays is None else dict(assays)
    for name in channels:
        if name not in parts.modalities:
            raise DataError(f"`assays`: `{name}` is no modality; {nearest(name, parts.modalities)}")
    chosen = {name: parts.modalities[name] for name in channels}
    for name, part in chosen.items():
        check_unique(f"`obs_names` of `{name}`", part.obs_names, "use obs_names_make_unique()")
    obs = _union(parts, chosen)
    cells = obs.index
    modalities = {
        name: read_modality(name, channels[name], part, cells, size_factor_key)
        for name, part in chosen.items()
    }
    return joined(
        obs,
        modalities,
        batch=_label(obs, chosen, batch_key, "batch_key"),
        condition=_label(obs, chosen, condition_key, "condition_key"),
        interventions=interventions,
        neighbours=_neighbours(parts, cells, neighbours_key),
        provenance={
            "source": "mudata",
            "file": parts.filename,
            "overlap": _overlap(modalities),
            "batch_key": batch_key,
            "condition_key": condition_key,
            "neighbours_key": neighbours_key,
            "anndata": version("anndata"),
        },
    )


def _union(parts: Parts, chosen: Mapping[str, AnnData | Opened]) -> pd.DataFrame:
    """Annotations of the cells of any chosen modality, in the order of the MuData."""
    names = pd.Index([])
    for part in chosen.values():
        names = names.append(part.obs_names.difference(names, sort=False))
    if parts.obs is None:
        return pd.DataFrame(index=names)
    check_unique("`obs_names`", parts.obs.index, "use mdata.obs_names_make_unique()")
    new = names.difference(parts.obs.index, sort=False)
    if len(new):
        raise DataError(
            f"cells of the modalities are not in the MuData: {shorten(map(str, new))}; mdata.update()."
        )
    return parts.obs.loc[parts.obs.index.isin(names)].copy()


def _label(
    obs: pd.DataFrame, chosen: Mapping[str, AnnData | Opened], key: str | None, argument: str
) -> pd.Series | None:
    """Labels of all cells, from the MuData and, where it states none, from the modalities."""
    if key is None:
        return None
    columns = [pd.Series(obs[key])] if key in obs else []
    columns += [pd.Series(part.obs[key]) for part in chosen.values() if key in part.obs]
    if not columns:
        known = {str(name) for table in (obs, *(part.obs for part in chosen.values())) for name in table}
        raise DataError(f"`{argument}`: `{key}` is no column of obs; {nearest(key, known)}")
    label = columns[0].reindex(obs.index)
    order = label.dtype
    for column in columns[1:]:
        other, label = column.reindex(obs.index).astype(object), label.astype(object)
        differ = label.notna() & other.notna() & (label.astype(str) != other.astype(str))
        if differ.any():
            cell = obs.index[int(differ.to_numpy().argmax())]
            raise DataError(f"obs['{key}'] of cell `{cell}` differs between modalities; correct one of them.")
        label = label.where(label.notna(), other)
    if isinstance(order, pd.CategoricalDtype) and label.dropna().isin(order.categories).all():
        label = label.astype(order)
    return label.rename(key)


def _neighbours(parts: Parts, cells: pd.Index, key: str | None) -> Any:
    """Affinities between the chosen cells."""
    if key is None:
        return None
    found = read_neighbours(parts.obsp, key)
    assert parts.obs is not None  # a mapping of AnnData has no obsp, so the key was refused
    keep = np.flatnonzero(parts.obs.index.isin(cells))
    return found[keep][:, keep]


def _overlap(modalities: Mapping[str, Modality]) -> dict[str, int]:
    """Cells that each combination of modalities measured."""
    flags = np.stack([part.rows >= 0 for part in modalities.values()], axis=1)
    names = list(modalities)
    found: dict[str, int] = {}
    for pattern, count in zip(*np.unique(flags, axis=0, return_counts=True), strict=True):
        found[" + ".join(name for name, there in zip(names, pattern, strict=True) if there) or "none"] = int(
            count
        )
    logger.info("cells by what measured them: %s.", ", ".join(f"{name}: {n}" for name, n in found.items()))
    if len(names) > 1 and not (flags.sum(axis=1) > 1).any():
        first = [f"`{part}`" for part in names]
        logger.warning("no cell is in two of %s; do the names of cells agree?", ", ".join(first))
    return found


def _usual(parts: Parts) -> dict[str, Channel]:
    """Modalities with usual names; the others are left out, with a warning."""
    usual: dict[str, Channel] = {"rna": Transcripts()}
    usual |= {name: SurfaceProteins() for name in ("prot", "protein", "adt")}
    chosen = {name: usual[name] for name in parts.modalities if name in usual}
    others = [name for name in parts.modalities if name not in usual]
    if not chosen:
        raise DataError(
            f"give `assays`: what {shorten(others)} are, such as {{'{others[0]}': Transcripts()}}."
        )
    if others:
        logger.warning("modalities without an assay are left out: %s.", shorten(others))
    return chosen
