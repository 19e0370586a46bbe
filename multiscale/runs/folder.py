"""The folder of a run: who may write it, what is finished in it, how its files get there.

While a run goes on, the folder holds `checkpoint/` and nothing else of it. The outputs come at the end.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from multiscale import atomic
from multiscale.config import Config, with_paths
from multiscale.errors import FormatError, OutputError
from multiscale.fit.checkpoint import Checkpoint
from multiscale.formats import document
from multiscale.runs.fingerprint import differences
from multiscale.runs.lock import lock

__all__ = ["CHECKPOINT", "absolute", "admit", "begin", "config_of", "is_run", "publish", "published"]

FORMAT_VERSION = 1
CHECKPOINT = "checkpoint"
RUN = "run.json"
OUTPUTS = "outputs"
"""Stage that says which files were written, and for which settings."""
LAST = "report.html"

log = logging.getLogger("multiscale")


def is_run(out: Path) -> bool:
    """Whether a run was begun in a folder."""
    return (out / CHECKPOINT / RUN).is_file()


def config_of(out: Path) -> Config:
    """Configuration of the run in a folder.

    Raises:
        FormatError: there is no run in it, it is damaged, or a newer version of multiscale wrote it.
    """
    if not is_run(out):
        raise FormatError(f"{out}: holds no run that could go on; give a TOML file and an empty folder.")
    path = out / CHECKPOINT / RUN
    try:
        return Config.model_validate(document.read(path, FORMAT_VERSION)["config"])
    except (KeyError, ValidationError):
        raise FormatError(f"{path}: is damaged; give the TOML file that the run was begun with.") from None


def admit(out: Path, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse a folder in which nothing may be written, before any work is done for it.

    Args:
        out: folder of a run.
        resume: whether a run in it goes on.
        overwrite: whether it starts again, and files of the same names are replaced.

    Raises:
        OutputError: the folder holds something and neither is set, or both, or it holds no run to resume.
    """
    if resume and overwrite:
        raise OutputError("`--resume` goes on and `--overwrite` starts again; give one of them.")
    if overwrite or _is_blank(out) or (resume and is_run(out)):
        atomic.check_folder(out, overwrite=True)
        return
    if resume:
        raise OutputError(f"{out}: holds files but no run that could go on; give another folder.")
    if is_run(out):
        state = "a finished" if f"{OUTPUTS}.safetensors" in _names(out / CHECKPOINT) else "an unfinished"
        raise OutputError(
            f"{out}: the folder is not empty: it holds {state} run; add --resume to go on, or --overwrite to "
            "start again."
        )
    atomic.check_folder(out)


def _is_blank(out: Path) -> bool:
    """Whether nothing is in the folder, or only what a process left that was killed before it began."""
    return not out.exists() or (out.is_dir() and not is_run(out) and _names(out) <= {CHECKPOINT})


def _names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()} if folder.is_dir() else set()


@contextmanager
def begin(
    out: Path, config: Config, key: Mapping[str, Any], resume: bool = False, overwrite: bool = False
) -> Iterator[Checkpoint]:
    """Hold the folder and its finished stages while a run is computed.

    Args:
        out: folder of the run.
        config: the checked configuration.
        key: what decides the numbers, see `fingerprint`.
        resume: see `admit`.
        overwrite: see `admit`; stages of the run before are removed, files of others stay.

    Raises:
        OutputError: see `admit`; or another process writes this run, or the run was begun with another key.
    """
    admit(out, resume, overwrite)
    folder = out / CHECKPOINT
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / "lock"):
        checkpoint = Checkpoint(folder)
        _sweep(folder)
        if overwrite:
            checkpoint.drop("")
        elif is_run(out):
            _compare(out, key)
        content = {
            "format_version": FORMAT_VERSION,
            "config": absolute(config).model_dump(mode="json"),
            "key": key,
        }
        with atomic.replace(folder / RUN) as temporary:
            temporary.write_text(document.to_json(content) + "\n", encoding="utf-8")
        yield checkpoint


def _sweep(folder: Path) -> None:
    """Remove what a killed process was writing."""
    shutil.rmtree(folder / f".{OUTPUTS}", ignore_errors=True)
    for leftover in folder.glob(".run.*.json"):
        leftover.unlink()


def _compare(out: Path, key: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings, graph or data."""
    before = document.read(out / CHECKPOINT / RUN, FORMAT_VERSION)["key"]
    differ = differences(before, json.loads(document.to_json(key)))
    if differ:
        raise OutputError(
            f"{out}: this run was begun with something else: {'; '.join(differ)}. Give what it was begun "
            "with, or another folder, or --overwrite to start again."
        )


def absolute(config: Config) -> Config:
    """Settings with paths that hold from any working folder; names of content stay names."""

    def anchored(name: str) -> str:
        return str(Path(name).resolve()) if Path(name).exists() else name

    return with_paths(config, anchored)


def published(out: Path, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> bool:
    """Whether all outputs are there, for these settings (see `fingerprint.asked`)."""
    saved = checkpoint.get(OUTPUTS)
    if saved is None or saved.meta["settings"] != dict(settings):
        return False
    return all((out / name).is_file() for name in saved.meta["files"])


@contextmanager
def publish(out: Path, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> Iterator[Path]:
    """Write the outputs into a hidden folder; when all are there they move to their places, the page last."""
    checkpoint.drop(OUTPUTS)
    hidden = out / CHECKPOINT / f".{OUTPUTS}"
    hidden.mkdir()
    try:
        yield hidden
        files = [path.relative_to(hidden) for path in hidden.rglob("*") if path.is_file()]
        for file in sorted(files, key=lambda file: (file.name == LAST, file)):
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            (hidden / file).replace(out / file)
        checkpoint.put(OUTPUTS, {}, {"settings": settings, "files": [file.as_posix() for file in files]})
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
