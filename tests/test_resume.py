"""Runs that are stopped: whole stages only, the same numbers in the end, no run mixed with another."""

import itertools
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from multiscale.config import Config, read_config
from multiscale.errors import FormatError, OutputError
from multiscale.fit.checkpoint import Checkpoint
from multiscale.fit.objective import Posterior
from multiscale.fit.train import train
from multiscale.formats import weights
from multiscale.runs.fingerprint import differences, fingerprint
from multiscale.runs.lock import lock
from multiscale.runs.run import problem_from_config, run
from multiscale.runs.store import read_run, sources

BUDGET = {"starts": 3, "seed": 1, "adam_steps": 5, "max_steps": 8, "accelerator": "cpu", "progress": False}


@pytest.fixture
def quick(project: Path, monkeypatch) -> Path:
    """The small project, with so few steps that a run takes a few seconds; it is the working folder."""
    text = (project / "fit.toml").read_text().replace("pairs = true", "")
    text = text[: text.index("[data.tables.affinities]")] + text[text.index("[fit]") :]
    text = text.replace("starts = 3", "starts = 2").replace("adam_steps = 20", "adam_steps = 15")
    text = text.replace("max_steps = 60", "max_steps = 15").replace(
        "folds = 2", 'folds = 2\nsplits = ["block"]'
    )
    (project / "fit.toml").write_text(text)
    monkeypatch.chdir(project)
    return project


def settings(**controls: int) -> Config:
    config = read_config("fit.toml")
    return config.model_copy(update={"controls": config.controls.model_copy(update=controls)})


def numbers(out: Path) -> dict:
    """All that a run says in numbers."""
    metrics = json.loads((out / "metrics.json").read_text())
    metrics.pop("seconds")
    tables = {path.name: path.read_text() for path in out.glob("*.tsv")}
    return {"metrics": metrics, "theta": weights.load(out / "model").arrays["theta"].tobytes(), **tables}


# Stages


def test_a_stage_comes_back_bit_for_bit(tmp_path):
    arrays = {
        "x": np.array([np.nan, -0.0, np.inf]),
        "n": np.array(3),
        "none": np.zeros((0, 2)),
        "b": np.array([True]),
    }
    Checkpoint(tmp_path).put("stage.one", arrays, {"seed": 1, "of": ["a", "b"]})
    saved = Checkpoint(tmp_path).get("stage.one")
    assert saved is not None
    assert saved.meta == {"seed": 1, "of": ["a", "b"]}
    assert all(saved.arrays[name].tobytes() == array.tobytes() for name, array in arrays.items())
    assert all(saved.arrays[name].shape == array.shape for name, array in arrays.items())


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3], lambda b: b[:-1] + b"!", lambda b: b"", lambda b: b"x" * 99]
)
def test_a_damaged_stage_is_computed_again_with_a_warning(damage, tmp_path, caplog):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.put("stage", {"x": np.ones(4)})
    path = tmp_path / "stage.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    assert checkpoint.get("stage") is None
    assert "computed again" in caplog.text
    assert list(checkpoint) == []


def test_a_stage_of_a_newer_version_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({}, tmp_path / "stage.safetensors", {"format_version": "99"})
    with pytest.raises(FormatError, match="newer"):
        Checkpoint(tmp_path).get("stage")


def test_leftovers_of_a_killed_write_are_removed(tmp_path):
    (tmp_path / ".stage.1f2e3d4c.safetensors").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    assert list(Checkpoint(tmp_path)) == []
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


# The search


def test_a_search_stopped_at_any_moment_ends_with_the_same_bits(small_problem, tmp_path, monkeypatch):
    _, whole = train(small_problem, **BUDGET, polished=True)
    checkpoint, evaluate, stops = Checkpoint(tmp_path), Posterior.__call__, 0

    def stopped(self: Posterior, theta: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if next(calls) > 3 + 3 * stops:  # later each time: the last steps of all are not saved in between
            raise KeyboardInterrupt
        return evaluate(self, theta, rows)

    monkeypatch.setattr(Posterior, "__call__", stopped)
    pieced = None
    while pieced is None:
        calls = itertools.count()
        try:
            _, pieced = train(small_problem, **BUDGET, polished=True, checkpoint=checkpoint, save_every_s=0.0)
        except KeyboardInterrupt:
            stops += 1
    assert stops > 3
    assert all(torch.equal(a, b) for a, b in zip(vars(whole).values(), vars(pieced).values(), strict=True))
    assert list(checkpoint) == ["fit"]


# The folder of a run


def test_a_lock_names_the_process_that_writes_and_dies_with_it(tmp_path):
    path = tmp_path / "run" / "lock"
    path.parent.mkdir()
    hold = "import sys, time; from multiscale.runs.lock import lock; from pathlib import Path\n"
    hold += "with lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(20)"
    with subprocess.Popen([sys.executable, "-c", hold, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(OutputError, match=f"process {holder.pid} is writing"), lock(path):
            pass
        holder.kill()
    with lock(path):
        assert path.read_text() == str(os.getpid())


def test_every_setting_graph_and_data_are_told_apart_but_not_their_paths(quick: Path):
    config = settings()
    problem, _ = problem_from_config(config)
    key = fingerprint(config, problem)
    assert differences(key, fingerprint(settings(rewirings=7, workers=3), problem)) == []
    (quick / "copies.tsv").rename(quick / "other.tsv")
    moved = config.model_copy(update={"data": config.data.model_copy(update={"tables": {}})})
    assert differences(key, fingerprint(config.model_copy(update={"temperature": 300.0}), problem)) == [
        "`temperature` was 310.15, is 300.0"
    ]
    assert "`data.tables.proteome.assay` was 'copies', is None" in differences(
        key, fingerprint(moved, problem)
    )
    text = (quick / "other.tsv").read_text()
    (quick / "copies.tsv").write_text(text.replace("80000", "80001"))
    assert differences(key, fingerprint(config, problem_from_config(config)[0])) == [
        "`data of proteome` differs"
    ]


@pytest.mark.slow
def test_a_run_goes_on_gets_more_controls_and_is_never_mixed_with_another(quick: Path, caplog):
    caplog.set_level(logging.INFO, logger="multiscale")
    out = quick / "out"
    run(settings(rewirings=1), out, progress=False)
    before = numbers(out)
    (out / "checkpoint" / "heldout.fitted.safetensors").write_bytes(b"damaged")
    (out / "notes.txt").write_text("mine")

    with pytest.raises(OutputError, match="a finished run; add --resume"):
        run(settings(rewirings=2), out)
    other = settings().model_copy(update={"temperature": 300.0})
    with pytest.raises(OutputError, match=r"`temperature` was 310.15, is 300.0"):
        run(other, out, resume=True)

    caplog.clear()
    run(settings(rewirings=3), out, resume=True, progress=False)
    assert "computed again" in caplog.text
    computed = [message for message in caplog.messages if message.startswith("heldout.")]
    assert [message.split(":")[0] for message in computed] == [
        "heldout.fitted",
        "heldout.rewiring-2",
        "heldout.rewiring-3",
    ]
    after = numbers(out)
    assert after["theta"] == before["theta"]
    assert after["heldout.tsv"] == before["heldout.tsv"]
    assert after["controls.tsv"].startswith(before["controls.tsv"])
    assert len(pd.read_csv(out / "controls.tsv", sep="\t")) == 3

    caplog.clear()
    run(settings(rewirings=3), out, resume=True)
    assert "nothing is left to do" in caplog.text
    run(settings(rewirings=0), out, overwrite=True, progress=False)
    assert (out / "notes.txt").read_text() == "mine"
    assert not list((out / "checkpoint").glob("*rewiring*"))
    assert "controls" not in read_run(out).tables


ATTEMPTS = """
import os, signal, sys, time
from pathlib import Path
from multiscale.config import read_config
from multiscale.runs.run import run

def attempt(pattern, delay):
    child = os.fork()
    if not child:
        run(read_config("fit.toml"), "out", resume=True, progress=False, save_every_s=0.0)
        os._exit(0)
    while pattern and not list(Path("out").glob(pattern)):
        if os.waitpid(child, os.WNOHANG)[0]:
            return  # finished before the moment came
        time.sleep(0.001)
    if pattern:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    print(pattern, os.waitpid(child, 0)[1], flush=True)

if __name__ == "__main__":
    for argument in sys.argv[1:]:
        pattern, delay = argument.split("@")
        attempt(pattern, float(delay))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal of POSIX")
def test_a_run_killed_at_random_moments_ends_with_the_same_numbers(quick: Path):
    run(settings(rewirings=3), quick / "whole", progress=False)
    text = (quick / "fit.toml").read_text()
    (quick / "fit.toml").write_text(text.replace("rewirings = 1\nworkers = 1", "rewirings = 3\nworkers = 2"))
    (quick / "attempts.py").write_text(ATTEMPTS)
    stages = ["run.json", "fit.adam*", "fit.lbfgs*", "heldout.*"]
    delays = np.random.default_rng().uniform(0.0, 0.1, len(stages))
    moments = [f"checkpoint/{stage}@{delay:.3f}" for stage, delay in zip(stages, delays, strict=True)]
    code = [sys.executable, "attempts.py", *moments, "@0"]
    path = os.pathsep.join(sys.path)
    done = subprocess.run(code, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout.splitlines()[-1:] == [" 0"], (moments, done.stderr)
    assert done.stdout.count(" 9\n") >= 2, (moments, done.stdout)
    assert numbers(quick / "out") == numbers(quick / "whole"), moments
    assert not list((quick / "out" / "checkpoint").glob(".*"))


# Reading a run


def test_an_unfinished_run_is_not_read_and_the_way_on_is_named(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "run.json").write_text("{}")
    with pytest.raises(
        FormatError, match=r"metrics.json: no such file: the run is unfinished; `fit --resume"
    ):
        read_run(tmp_path)


def test_sources_name_the_licence_or_say_that_none_is_stated(quick: Path):
    table = sources(settings()).set_index("name")
    assert table.loc["small", "licence"] == "CC0-1.0"
    assert table.loc["copies", "licence"] == "not stated"
