"""Sums of species that tables of concentrations read: `A`, `A + 2*B`, or a molecule in all its forms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiscale.errors import DataError, nearest

__all__ = ["SPECIES_READOUTS", "Readable", "read_sum", "read_sums"]

SPECIES_READOUTS = ("species", "total_uM")
_TERM = re.compile(r"(?:(\d+(?:\.\d*)?|\.\d+)\s*\*\s*)?(\S.*)")


@dataclass(frozen=True)
class Readable:
    """What tables of concentrations may read.

    Args:
        species: names, in the order of `State.x`.
        molecules: names of the molecules that have totals.
        totals: amount of every molecule in all forms, in the volume of the whole cell, as combinations of
            species, shape (molecule, species).
    """

    species: list[str]
    molecules: list[str]
    totals: np.ndarray


def read_sum(text: str, species: Sequence[str]) -> dict[str, float]:
    """Read a sum of species; plus signs stand between blanks, since names may hold them.

    Raises:
        DataError: a name is unknown.

    >>> read_sum("A + 2*B", ["A", "B"])
    {'A': 1.0, 'B': 2.0}
    """
    if text in species:
        return {text: 1.0}
    found: dict[str, float] = {}
    for part in re.split(r"\s+\+\s+", text):
        match = _TERM.fullmatch(part.strip())
        name = match[2] if match else part
        if name not in species:
            raise DataError(f"`{name}` in `{text}` is no species that can be read; {nearest(name, species)}")
        found[name] = found.get(name, 0.0) + float((match and match[1]) or 1.0)
    return found


def read_sums(
    name: str, entries: pd.DataFrame, readable: Readable, strict: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct sums that the entries of a table read, and which one each entry reads.

    Args:
        name: of the table.
        entries: with `readout` and `target`.
        readable: what may be read.
        strict: refuse targets that are not there; else they are left out.

    Returns:
        sums, shape (sum, species), and their positions, −1 for entries that read none, shape (entry,).

    Raises:
        DataError: a target is not there.
    """
    distinct: dict[tuple[str, str], int] = {}
    rows: list[np.ndarray] = []
    position = np.full(len(entries), -1)
    for i, key in enumerate(zip(entries["readout"], entries["target"], strict=True)):
        if key[0] not in SPECIES_READOUTS:
            continue
        if key not in distinct:
            row = _row(name, *key, readable, strict)
            distinct[key] = -1 if row is None else len(rows)
            rows += [] if row is None else [row]
        position[i] = distinct[key]
    return np.array(rows).reshape(len(rows), len(readable.species)), position


def _row(name: str, readout: str, target: str, readable: Readable, strict: bool) -> np.ndarray | None:
    """Coefficients of one sum; None if it is left out."""
    try:
        if readout == "species":
            found = read_sum(target, readable.species)
            return np.array([found.get(species, 0.0) for species in readable.species])
        if target not in readable.molecules:
            hint = nearest(target, readable.molecules)
            raise DataError(f"`{target}` is no molecule whose total can be read; {hint}")
        return readable.totals[readable.molecules.index(target)]
    except DataError as error:
        if strict:
            raise DataError(f"`{name}`: {error}") from None
        return None
