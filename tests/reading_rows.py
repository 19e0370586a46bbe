"""Readings made of sequences and entities, without an instrument: what tests of encoders need."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from multiscale.data import ALPHABETS, Entities, Readings, Sequences


def sequences(
    texts: list[str], reference: str | None, alphabet: str = "protein", first: int = 1
) -> Sequences:
    """Sequences given as texts."""
    letters = ALPHABETS[alphabet]
    codes = np.array([[letters.index(letter) for letter in text] for text in texts], dtype=np.int8)
    wild = (
        None
        if reference is None
        else np.array([letters.index(letter) for letter in reference], dtype=np.int8)
    )
    return Sequences(codes, letters, wild, first)


def make_readings(
    rows: pd.Index | None = None,
    columns: dict[str, Any] | None = None,
    entities: dict[str, list[str]] | None = None,
    **of: Sequences,
) -> Readings:
    """Rows of sequences by molecule, columns of text, entities by kind; lines count from 2, as in a file."""
    columns, entities = columns or {}, entities or {}
    parts = [*columns.values(), *entities.values(), *(item.codes for item in of.values())]
    index = pd.RangeIndex(2, len(parts[0]) + 2, name="line") if rows is None else rows
    return Readings(
        "rows",
        cast(Any, None),
        pd.DataFrame(columns, index=index),
        {},
        of,
        {kind: entity_of(names) for kind, names in entities.items()},
    )


def entity_of(names: list[str]) -> Entities:
    """Entities numbered in the order of their names."""
    known = sorted(set(names))
    return Entities(np.array([known.index(name) for name in names]), tuple(known))
