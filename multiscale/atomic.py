"""Files and folders that appear whole or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multiscale.errors import OutputError

__all__ = ["check_folder", "folder", "replace"]


@contextmanager
def replace(path: str | Path) -> Iterator[Path]:
    """Write one file atomically.

    Yields a temporary path in the folder of `path`, with the same suffix. When the block ends, the temporary
    file takes the place of `path`; when it raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: the file to write; an existing one is replaced.

    Raises:
        OutputError: `path` is a folder, or its folder does not exist.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "answer.txt"
    >>> with replace(path) as temporary:
    ...     _ = temporary.write_text("42")
    >>> path.read_text()
    '42'
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give the name of a file to write.")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder `{path.parent}` does not exist; make it first.")
    temporary = path.with_name(_temporary_name(path))
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Write a folder of files atomically.

    Yields an empty temporary folder. When the block ends, it becomes `path`; when it raises, it is removed
    and nothing has changed. With `overwrite`, files of the same name are replaced and others in `path` stay,
    so that a wrong path never deletes what somebody else put there.

    Args:
        path: the folder to write; folders above it are made if need be.
        overwrite: whether `path` may hold files already.

    Raises:
        OutputError: `path` is a file, or a folder that is not empty and `overwrite` is not set.
    """
    path = Path(path)
    check_folder(path, overwrite)
    temporary = _first_existing(path.absolute().parent) / _temporary_name(path)
    temporary.mkdir()
    try:
        yield temporary
        _move(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(path: str | Path, overwrite: bool = False) -> None:
    """Refuse a folder that cannot be written without losing something, before any work is done for it.

    Raises:
        OutputError: see `folder`.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path}: is a file; give the name of a folder to write.")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise OutputError(
            f"{path}: the folder is not empty; give another one or set `--overwrite` (overwrite=True)."
        )


def _temporary_name(path: Path) -> str:
    return f".{path.stem}.{secrets.token_hex(4)}{path.suffix}"


def _first_existing(path: Path) -> Path:
    """The nearest existing folder at or above a path: a rename from there stays within one file system."""
    return path if path.is_dir() else _first_existing(path.parent)


def _move(source: Path, target: Path) -> None:
    """Rename a folder to its place, or file by file where the place is taken."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        return
    for item in sorted(source.iterdir()):
        place = target / item.name
        if item.is_dir() and place.is_dir():
            _move(item, place)
        else:
            item.replace(place)
