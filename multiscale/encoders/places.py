"""Where rows stand, for error messages."""

from __future__ import annotations

from pathlib import Path

from multiscale.data import Readings

__all__ = ["file_of", "place"]


def file_of(readings: Readings) -> str:
    """Name of the file that readings come from, else of the readings."""
    return Path(str(readings.provenance.get("file", readings.name))).name


def place(readings: Readings, row: int) -> str:
    """File and line of a row."""
    word = "line" if readings.rows.index.name == "line" else "row"
    return f"{file_of(readings)}, {word} {readings.rows.index[row]}"
