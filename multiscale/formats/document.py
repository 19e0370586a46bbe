"""JSON documents: strict, of plain values, with a version; older readers refuse newer documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from multiscale.errors import FormatError

__all__ = ["check_version", "parse", "plain", "read", "to_json"]


def to_json(content: Any, indent: int | None = 2) -> str:
    """JSON text of nested mappings and sequences.

    Numbers that are not finite become null, because JSON has none; other objects become their text.

    >>> to_json({"seed": np.int64(1), "loss": float("nan")}, indent=None)
    '{"seed": 1, "loss": null}'
    """
    return json.dumps(plain(content), indent=indent, allow_nan=False, ensure_ascii=False)


def plain(value: Any) -> Any:
    """Nested content as dictionaries, lists, strings, booleans, and finite numbers."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value if value is None else str(value)


def read(path: Path, newest: int) -> dict[str, Any]:
    """Read a JSON document whose `format_version` is at most `newest`.

    Raises:
        FormatError: the file is missing, is not a JSON object, or is newer than this version reads.
    """
    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    return parse(path.read_text(encoding="utf-8"), str(path), newest)


def parse(text: str, where: str, newest: int) -> dict[str, Any]:
    """Parse the text of a document; `where` names it in errors.

    Raises:
        FormatError: see `read`.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"{where}: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise FormatError(f"{where}: must be a JSON object; got {type(document).__name__}.")
    check_version(document, where, newest)
    return document


def check_version(document: Mapping[str, Any], where: str, newest: int) -> None:
    """Refuse a document without a version, or with one that this library does not know yet.

    Raises:
        FormatError: see above.
    """
    version = document.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise FormatError(f"{where}: `format_version` must be a positive integer; got {version!r}.")
    if version > newest:
        raise FormatError(
            f"{where}: `format_version` {version} is newer than {newest}, the newest that this version of "
            "multiscale reads; upgrade multiscale."
        )
