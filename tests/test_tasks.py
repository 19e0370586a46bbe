"""Tasks: the same results from any number of processes, kept one by one, ended together."""

import logging
import os
import time

import numpy as np
import pytest

from multiscale.errors import DataError, MultiscaleError
from multiscale.fit.checkpoint import Checkpoint, Saved
from multiscale.fit.tasks import Task, complete, worker_count


def draw(seed: int) -> Saved:
    logging.getLogger("multiscale").warning("seed %d", seed)
    return Saved({"x": np.random.default_rng(seed).normal(size=5)}, {"seed": seed})


def fail(error: Exception, after: float = 0.0) -> Saved:
    time.sleep(after)
    raise error


def die() -> Saved:
    os._exit(3)


def sleep(seconds: float) -> Saved:
    time.sleep(seconds)
    return Saved({})


def interrupt() -> Saved:
    raise KeyboardInterrupt


def draws(count: int) -> list[Task]:
    return [Task(f"draw-{k}", draw, (k,)) for k in range(count)]


def test_two_processes_give_the_same_bits_in_the_same_order_as_one(caplog):
    with caplog.at_level(logging.WARNING, logger="multiscale"):
        alone, together = (complete(draws(4), workers=n, progress=False) for n in (1, 2))
    assert list(alone) == list(together) == [f"draw-{k}" for k in range(4)]
    assert all(np.array_equal(alone[name].arrays["x"], together[name].arrays["x"]) for name in alone)
    assert "draw-3: seed 3" in caplog.messages


def test_what_is_in_the_checkpoint_is_not_computed_again(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.put("draw-1", {"x": np.zeros(2)})
    done = complete(draws(3), checkpoint, progress=False)
    assert done["draw-1"].arrays["x"].tolist() == [0.0, 0.0]
    assert list(checkpoint) == ["draw-0", "draw-1", "draw-2"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_fails_is_named_and_what_is_finished_is_kept(workers: int, tmp_path):
    checkpoint = Checkpoint(tmp_path)
    tasks = [Task("draw-0", draw, (0,)), Task("bad", fail, (KeyError("k"), 0.5))]
    tasks += [Task(f"late-{k}", sleep, (9,)) for k in range(5)]
    with pytest.raises(MultiscaleError, match="`bad` failed: KeyError"):
        complete(tasks, checkpoint, workers, progress=False)
    assert "draw-0" in checkpoint
    assert "late-4" not in checkpoint


def test_a_mistake_of_the_user_stays_what_it_was():
    with pytest.raises(DataError, match=r"^no such table$"):
        complete([Task("bad", fail, (DataError("no such table"),))], progress=False)


def test_a_process_that_dies_is_one_clear_error():
    with pytest.raises(MultiscaleError, match="a worker process ended abruptly"):
        complete([Task("dies", die), Task("late", sleep, (9,))], workers=2, progress=False)


def test_an_interrupt_keeps_what_is_finished(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        complete([Task("draw-0", draw, (0,)), Task("stop", interrupt)], checkpoint, progress=False)
    assert list(checkpoint) == ["draw-0"]


def test_zero_workers_means_one_per_core_and_thread():
    assert worker_count(0) >= 1
    assert worker_count(0, threads=10_000) == 1
    assert worker_count(5) == 5
