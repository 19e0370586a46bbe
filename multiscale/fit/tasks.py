"""Independent pieces of work, in this process or several, each kept as soon as it is done."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from multiscale.errors import MultiscaleError
from multiscale.fit.checkpoint import Checkpoint, Saved

__all__ = ["Task", "complete", "worker_count"]

log = logging.getLogger("multiscale")

Records = list[tuple[int, str]]
"""Levels and messages that a task logged in another process."""

Results = Generator[tuple[str, Saved], None, None]
"""Names and results as they arrive."""


@dataclass(frozen=True)
class Task:
    """One piece of work; its result depends on nothing but its arguments.

    Args:
        name: of its result, see `Checkpoint.put`.
        function: of a module, so that another process finds it; returns arrays by name, or `Saved`.
        args: what it is called with; other processes get copies.
    """

    name: str
    function: Callable[..., Saved | Mapping[str, Any]]
    args: tuple[Any, ...] = ()


def complete(
    tasks: Sequence[Task],
    checkpoint: Checkpoint | None = None,
    workers: int = 1,
    progress: bool = True,
    title: str = "tasks",
) -> dict[str, Saved]:
    """Do all tasks that are not in the checkpoint; keep each result the moment it is there.

    Every task is computed the same way whatever the number of processes, so that this changes no bit of any
    result. Processes are started afresh (spawned): a script that asks for several runs its own statements
    under `if __name__ == "__main__":`.

    Args:
        tasks: with distinct names.
        checkpoint: where results are looked up and kept; None keeps them in memory only.
        workers: processes; 1 computes in this one.
        progress: whether to show a bar with the remaining time (on a terminal only).
        title: what the bar and the log say.

    Returns:
        results by name, in the order of the tasks.

    Raises:
        MultiscaleError: a task failed; the others are cancelled, results that were there are kept.
    """
    done = _known(tasks, checkpoint)
    pending = [task for task in tasks if task.name not in done]
    if done:
        log.info("%s: %d of %d are there already.", title, len(done), len(tasks))
    count = min(workers, len(pending))
    results = _in_processes(pending, count) if count > 1 else _in_turn(pending)
    with closing(results), _bar(title, len(pending), progress) as tick:
        for name, saved in results:
            done[name] = saved if checkpoint is None else checkpoint.put(name, saved.arrays, saved.meta)
            note = f", {saved.meta['note']}" if saved.meta.get("note") else ""
            log.info("%s: %.1f s%s (%d of %d)", name, saved.meta["seconds"], note, len(done), len(tasks))
            tick()
    return {task.name: done[task.name] for task in tasks}


def worker_count(asked: int, threads: int = 1) -> int:
    """Processes to use: the number asked for, or for 0 as many as have `threads` cores each.

    >>> worker_count(3)
    3
    """
    if asked:
        return asked
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // threads)


def _known(tasks: Sequence[Task], checkpoint: Checkpoint | None) -> dict[str, Saved]:
    """Results that the checkpoint holds."""
    if checkpoint is None:
        return {}
    found = {task.name: checkpoint.get(task.name) for task in tasks}
    return {name: saved for name, saved in found.items() if saved is not None}


def _in_turn(tasks: Sequence[Task]) -> Results:
    for task in tasks:
        try:
            yield task.name, _timed(task)
        except Exception as error:
            raise _failure(task, error) from error


def _in_processes(tasks: Sequence[Task], workers: int) -> Results:
    """Results in the order in which they arrive; whatever ends this generator ends the processes too."""
    with _pool(workers) as pool:
        with _uninterrupted():
            futures: dict[Future[tuple[Saved, Records]], Task] = {pool.submit(_recorded, t): t for t in tasks}
        for future in as_completed(list(futures)):
            error = future.exception()
            finished = [future] if error is None else [f for f in futures if _succeeded(f)]
            for item in finished:
                yield _relayed(futures.pop(item), *item.result())
            if error is not None:
                raise _failure(futures[future], error) from error


def _succeeded(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _relayed(task: Task, saved: Saved, records: Records) -> tuple[str, Saved]:
    """Log what a task logged in its process."""
    for level, message in records:
        log.log(level, "%s: %s", task.name, message)
    return task.name, saved


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end when the block ends or this process dies, because both close the pipe they watch."""
    context = get_context("spawn")
    watched, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(watched,))
    try:
        yield pool
        pool.shutdown()
    finally:
        held.close()
        pool.shutdown(cancel_futures=True)
        watched.close()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore interrupts for a moment, and let the processes that start in it ignore them from the first."""
    if threading.current_thread() is not threading.main_thread():
        yield  # other threads get no interrupts and may not change what happens on them
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin_worker(watched: Connection) -> None:
    """Leave interrupts to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(watched,), daemon=True).start()


def _end_with_parent(watched: Connection) -> None:
    watched.poll(None)  # nothing is ever sent: this returns when the other end is closed
    os._exit(1)


def _timed(task: Task) -> Saved:
    began = time.perf_counter()
    found = task.function(*task.args)
    saved = found if isinstance(found, Saved) else Saved(dict(found))
    return replace(saved, meta={**saved.meta, "seconds": round(time.perf_counter() - began, 3)})


def _recorded(task: Task) -> tuple[Saved, Records]:
    """Do a task in a process of its own and bring what it logged with it."""
    log.setLevel(logging.INFO)
    log.handlers = [recorder := _Recorder()]
    return _timed(task), recorder.records


class _Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: Records = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.levelno, record.getMessage()))


def _failure(task: Task, error: BaseException) -> MultiscaleError:
    """What the user reads; a mistake of the user stays what it was."""
    if isinstance(error, MultiscaleError):
        return error
    if isinstance(error, BrokenProcessPool):
        return MultiscaleError(
            "a worker process ended abruptly: it was killed or ran out of memory (use fewer `workers`), or a "
            'script started workers outside `if __name__ == "__main__":`. What is finished is kept.'
        )
    return MultiscaleError(
        f"`{task.name}` failed: {type(error).__name__}: {error}. The others were cancelled; what is finished "
        "is kept."
    )


@contextmanager
def _bar(title: str, total: int, show: bool) -> Iterator[Callable[[], None]]:
    """Progress bar with count and remaining time; silent when standard error is not a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    hidden = not (show and total and sys.stderr.isatty())
    with Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True) as bar:
        row = bar.add_task(title, total=total)
        yield lambda: bar.advance(row)
