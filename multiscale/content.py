"""Where `graphs/`, `datasets/` and `experiments/` lie: beside the package, or inside the installed one."""

from __future__ import annotations

from pathlib import Path

from multiscale.errors import DataError, nearest

__all__ = ["find", "names", "root"]


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
        name: an existing path, a content name, or a path below the content root or the content folder.

    Raises:
        DataError: nothing of that name exists; the message lists the nearest names.
    """
    path = Path(name)
    for candidate in (path, root() / kind / path, root() / path):
        if candidate.exists():
            return candidate
    hint = nearest(path.parts[0] if path.parts else "", names(kind))
    raise DataError(f"`{name}` is neither a file or folder nor a name under {kind}/; {hint}")
