"""Assays by the names that configuration files use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from multiscale.assays.affinity import Affinity
from multiscale.assays.concentration import Concentration
from multiscale.assays.copies import Copies
from multiscale.assays.counts import Counts
from multiscale.assays.intensity import LogNormal
from multiscale.errors import AssayError, nearest

__all__ = ["ASSAYS", "make_assay"]

ASSAYS: dict[str, type[Affinity] | type[Concentration] | type[Copies] | type[Counts] | type[LogNormal]] = {
    "affinity": Affinity,
    "concentration": Concentration,
    "copies": Copies,
    "counts": Counts,
    "log_normal": LogNormal,
}


def make_assay(
    kind: str, options: Mapping[str, object] | None = None
) -> Affinity | Concentration | Copies | Counts | LogNormal:
    """Make an assay from its name and options, as read from a configuration file.

    Args:
        kind: a name in `ASSAYS`.
        options: option names and values of that assay.

    Raises:
        AssayError: the name or an option is unknown (nearest known ones are suggested), or a value is out of
            range.

    >>> make_assay("copies", {"limit": 500.0}).limit
    500.0
    """
    if kind not in ASSAYS:
        raise AssayError(f"`{kind}` is not an assay; {nearest(kind, ASSAYS)}")
    assay = ASSAYS[kind]
    known = [field.name for field in dataclasses.fields(assay)]
    for option in options or {}:
        if option not in known:
            raise AssayError(f"`{option}` is not an option of the assay `{kind}`; {nearest(option, known)}")
    return assay(**dict(options or {}))  # pyright: ignore[reportArgumentType]
