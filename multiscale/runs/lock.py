"""One process at a time writes a run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from multiscale.errors import OutputError

__all__ = ["lock"]

FAR = 1 << 30
"""Byte that is locked on Windows, where locked bytes cannot be read: far behind the process id."""

log = logging.getLogger("multiscale")


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a file that names this process; the system lets go of it however the process ends.

    A lock whose process is dead is therefore taken over, even when its number belongs to another one by now.

    Args:
        path: file of the lock; it stays, empty, afterwards.

    Raises:
        OutputError: a living process holds it; the message names the process.
    """
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        owner = file.read().strip()
        if not _acquire(file):
            who = f"process {owner}" if owner else "another process"
            raise OutputError(
                f"{path.parent.parent}: {who} is writing this run; wait for it, or stop it first."
            )
        if owner:
            log.info("process %s, which was writing this run, ended without finishing; going on.", owner)
        _write(file, str(os.getpid()))
        try:
            yield
        finally:
            _write(file, "")


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


if sys.platform == "win32":
    import msvcrt

    def _acquire(file: IO[str]) -> bool:
        position = file.tell()
        try:
            os.lseek(file.fileno(), FAR, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(file.fileno(), position, os.SEEK_SET)
        return True

else:
    import fcntl

    def _acquire(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
