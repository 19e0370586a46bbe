"""Finished stages of a run, one file each, so that a run that was stopped goes on where it was.

A stage is a safetensors file whose header holds its version, its settings as JSON and a checksum. It gets its
name by one rename when it is complete, so that a process killed at any moment leaves whole stages only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multiscale import atomic
from multiscale.errors import FormatError
from multiscale.formats import document

__all__ = ["FORMAT_VERSION", "Checkpoint", "Saved"]

FORMAT_VERSION = 1
SUFFIX = ".safetensors"

log = logging.getLogger("multiscale")


@dataclass(frozen=True)
class Saved:
    """What a stage gave.

    Args:
        arrays: by name.
        meta: small things that JSON can say; numbers that may be infinite or missing belong to `arrays`.
    """

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any] = field(default_factory=dict)


class Checkpoint:
    """Stages by name in a folder, which is made if need be; leftovers of killed processes are removed.

    One process at a time may write it (see `lock`).

    Args:
        folder: where the stages lie.
        prefix: begins the names of their files, for one of several fits of a run; the others' are not seen.
    """

    def __init__(self, folder: str | Path, prefix: str = "") -> None:
        self.folder, self.prefix = Path(folder), prefix
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(f".*{SUFFIX}"):
            leftover.unlink(missing_ok=True)  # another process of the same fit may be faster

    def get(self, name: str) -> Saved | None:
        """A stage, None if it is not there; a damaged one is removed with a warning, to be computed again.

        Raises:
            FormatError: the stage was written by a newer version of multiscale.
        """
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            return _read(path)
        except _DamagedError as error:
            log.warning("%s is damaged (%s); this stage is computed again.", path, error)
            path.unlink()
            return None

    def put(self, name: str, arrays: Mapping[str, Any], meta: Mapping[str, Any] | None = None) -> Saved:
        """Keep a stage; one of the same name is replaced.

        Args:
            name: letters, digits, `_`, `-` and `.`.
            arrays: arrays or tensors by name.
            meta: see `Saved`.

        Returns:
            the stage as `get` gives it.
        """
        from safetensors.numpy import save

        plain = {key: _array(value) for key, value in arrays.items()}
        text = document.to_json(meta or {}, indent=None)
        header = {"format_version": str(FORMAT_VERSION), "meta": text, "sha256": _digest(plain, text)}
        with atomic.replace(self._path(name)) as temporary:
            temporary.write_bytes(save(plain, header))
        return Saved(plain, json.loads(text))

    def drop(self, prefix: str) -> None:
        """Remove all stages whose names begin so."""
        for name in list(self):
            if name.startswith(prefix):
                self._path(name).unlink()

    def __iter__(self) -> Iterator[str]:
        """Names of the stages, sorted."""
        names = sorted(path.name.removesuffix(SUFFIX) for path in self.folder.glob(f"[!.]*{SUFFIX}"))
        return (name.removeprefix(self.prefix) for name in names if name.startswith(self.prefix))

    def part(self, name: str) -> Checkpoint:
        """Stages of one of several fits, in the same folder."""
        return Checkpoint(self.folder, f"{self.prefix}{name}.")

    def __contains__(self, name: str) -> bool:
        """Whether there is a file of this stage."""
        return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"`name` of a stage must be letters, digits, `_`, `-` and `.`; got `{name}`.")
        return self.folder / f"{self.prefix}{name}{SUFFIX}"


class _DamagedError(Exception):
    """The file of a stage is not what was written."""


def _read(path: Path) -> Saved:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            _check_version(header, path)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise _DamagedError(str(error)) from None
    if _digest(arrays, header.get("meta", "")) != header.get("sha256"):
        raise _DamagedError("its checksum is another")
    return Saved(arrays, json.loads(header["meta"]))


def _check_version(header: Mapping[str, str], path: Path) -> None:
    document.check_version(
        {"format_version": int(header.get("format_version", "0"))}, str(path), FORMAT_VERSION
    )


def _array(value: Any) -> np.ndarray:
    """A tensor on any device or an array as a contiguous array; a single number keeps its shape ()."""
    return np.array(value.detach().cpu().numpy() if hasattr(value, "detach") else value, order="C")


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """SHA-256 over the settings and, sorted by name, type, shape and bytes of every array."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
