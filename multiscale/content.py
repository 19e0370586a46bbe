"""Where `graphs/`, `datasets/` and `experiments/` lie: beside the package, or inside the installed one.

Data that are too large to ship lie below the folder that the environment variable MULTISCALE_DATA names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from multiscale.errors import DataError, nearest

__all__ = ["DATA", "find", "names", "root"]

DATA = "MULTISCALE_DATA"
"""Environment variable with the folder below which large data lie."""


def root() -> Path:
    """Folder that holds the content folders: inside the installed package, or the checkout's root."""
    installed = Path(__file__).parent / "content"
    return installed if installed.is_dir() else Path(__file__).parents[1]


def names(kind: str) -> list[str]:
    """Names of the content of one kind (`graphs`, `datasets` or `experiments`)."""
    folder = root() / kind
    return sorted(item.name for item in folder.iterdir() if item.is_dir()) if folder.is_dir() else []


def find(kind: str, name: str | Path) -> Path:
    """Resolve a path, or a name (or path) under one of the content folders.

    Args:
        kind: `graphs`, `datasets` or `experiments`.
        name: an existing path, a content name, or a path below the content root, the content folder, or the
            folder that MULTISCALE_DATA names, which is looked at last.

    Raises:
        DataError: nothing of that name exists; the message lists the nearest names.
    """
    path = Path(name)
    for candidate in _places(kind, path):
        if candidate.exists():
            return candidate
    hint = nearest(path.parts[0] if path.parts else "", names(kind))
    raise DataError(f"`{name}` is neither a file or folder nor a name under {kind}/{_below()}; {hint}")


def _places(kind: str, path: Path) -> Iterator[Path]:
    yield from (path, root() / kind / path, root() / path)
    if folder := os.environ.get(DATA):
        yield Path(folder) / path


def _below() -> str:
    """Where else was looked, or that there is nowhere else."""
    folder = os.environ.get(DATA)
    return f" or {folder} ({DATA})" if folder else f", and {DATA} names no folder"
