"""A saved model: arrays as safetensors, the rest as JSON and tables. Reading it runs no code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiscale import atomic
from multiscale.errors import FormatError
from multiscale.formats import document
from multiscale.formats.tables import read_table, write_table

__all__ = ["FORMAT_VERSION", "Saved", "load", "save"]

FORMAT_VERSION = 1
ARRAYS, DOCUMENT = "weights.safetensors", "model.json"


@dataclass(frozen=True)
class Saved:
    """Content of a saved model.

    Args:
        arrays: by name.
        meta: what was saved beside them.
        tables: by name.
    """

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]
    tables: dict[str, pd.DataFrame]


def save(
    folder: str | Path,
    arrays: Mapping[str, Any],
    meta: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a folder with `weights.safetensors`, `model.json` and one `<name>.tsv` per table, atomically.

    Args:
        folder: to write.
        arrays: tensors or arrays by name.
        meta: anything that JSON can say; `format_version` is set here.
        tables: by name.
        overwrite: whether the folder may hold files already.

    Raises:
        OutputError: the folder holds files and `overwrite` is not set.
    """
    from safetensors.numpy import save as to_bytes

    plain = {name: np.ascontiguousarray(_array(value)) for name, value in arrays.items()}
    with atomic.folder(folder, overwrite) as temporary:
        (temporary / ARRAYS).write_bytes(to_bytes(plain))  # save_file makes a file that only its owner reads
        for name, table in (tables or {}).items():
            write_table(table, temporary / f"{name}.tsv")
        content = dict(meta) | {
            "format_version": FORMAT_VERSION,
            "tables": sorted(tables or {}),
            "sha256": {ARRAYS: _digest(temporary / ARRAYS)},
        }
        (temporary / DOCUMENT).write_text(document.to_json(content) + "\n", encoding="utf-8")


def load(folder: str | Path) -> Saved:
    """Read a saved model.

    Raises:
        FormatError: a file is missing or damaged, or the model is newer than this version reads.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    meta = document.read(folder / DOCUMENT, FORMAT_VERSION)
    path = folder / ARRAYS
    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    digests, tables = meta.get("sha256"), meta.get("tables")
    if not isinstance(digests, dict) or not isinstance(tables, list):
        raise FormatError(f"{folder / DOCUMENT}: describes no saved model: `sha256` or `tables` is missing.")
    if _digest(path) != digests.get(ARRAYS):
        raise FormatError(f"{path}: differs from what {DOCUMENT} describes; copy the whole folder again.")
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise FormatError(f"{path}: not a safetensors file: {error}") from None
    return Saved(arrays, meta, {name: read_table(folder / f"{name}.tsv") for name in tables})


def _array(value: Any) -> np.ndarray:
    """A tensor (on any device, with or without gradient) or an array as an array."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
