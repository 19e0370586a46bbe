"""Checks that channels share: where readings lie, and whether they are what the channel reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from multiscale.assays.channels.channel import Channel
from multiscale.assays.options import flag, text_or_none
from multiscale.errors import AssayError

__all__ = ["check_place", "refuse_uncounted", "refuse_unfinite", "refuse_where"]


def check_place(channel: Channel) -> None:
    """Check the options that every channel has.

    Raises:
        AssayError: one is of the wrong type, or two exclude each other.
    """
    name = type(channel).__name__
    text_or_none(name, layer=channel.layer, obsm_key=channel.obsm_key)
    flag(name, use_raw=channel.use_raw)
    places = {"layer": channel.layer, "use_raw": channel.use_raw, "obsm_key": channel.obsm_key}
    given = [f"`{option}`" for option, value in places.items() if value]
    if len(given) > 1:
        raise AssayError(f"{name}: give only one of {' and '.join(given)}: readings lie in one place.")
    _check_names(name, channel)
    if not isinstance(channel.targets, Mapping) or not _texts([*channel.targets, *channel.targets.values()]):
        raise AssayError(f"`targets` of {name} must map features to nodes; got {channel.targets!r}.")


def refuse_uncounted(
    kind: str, values: Any, where: str, features: Sequence[str], cells: Sequence[str]
) -> None:
    """Refuse readings that are no counts.

    Args:
        kind: name of the channel.
        values: shape (cell, feature), sparse or dense.
        where: where they lie, as a user would write it.
        features: names of the columns.
        cells: names of the rows.

    Raises:
        AssayError: names place, cell, feature, value and remedy.
    """
    refuse_where(
        lambda x: ~(np.isfinite(x) & (x >= 0) & (x == np.floor(x))),
        values,
        where,
        features,
        cells,
        f"{kind} reads counts, whole numbers ≥ 0; name the layer that holds them, such as layer='counts'.",
    )


def refuse_unfinite(
    kind: str, values: Any, where: str, features: Sequence[str], cells: Sequence[str]
) -> None:
    """Refuse readings that are not numbers, as `refuse_uncounted` does what is no count."""
    remedy = f"{kind} reads finite numbers; fill in 0 and hide the entry (`Cells.hide`)."
    refuse_where(lambda x: ~np.isfinite(x), values, where, features, cells, remedy)


def refuse_where(
    wrong: Any, values: Any, where: str, features: Sequence[str], cells: Sequence[str], remedy: str
) -> None:
    """Refuse the first reading of which `wrong`, a function of an array, is true; zeros must be right.

    Raises:
        AssayError: names place, cell, feature and value, and says `remedy`.
    """
    stored = sparse.coo_array(values)  # zeros are not stored, and right
    bad = np.flatnonzero(wrong(stored.data))
    if len(bad):
        row, column = int(stored.row[bad[0]]), int(stored.col[bad[0]])
        value = float(f"{stored.data[bad[0]].item():.6g}")  # float32 readings have no more digits
        raise AssayError(f"`{where}`: `{features[column]}` of cell `{cells[row]}` is {value!r}; {remedy}")


def _check_names(name: str, channel: Channel) -> None:
    if channel.names is None:
        return
    if not (_texts([channel.names]) if isinstance(channel.names, str) else _texts(channel.names)):
        raise AssayError(f"`names` of {name} must be a key of uns, or names; got {channel.names!r}.")
    if channel.obsm_key is None:
        raise AssayError(f"`names` of {name} are those of columns in obsm; give `obsm_key` too.")


def _texts(found: Any) -> bool:
    return isinstance(found, list | tuple) and all(isinstance(x, str) and x for x in found)
