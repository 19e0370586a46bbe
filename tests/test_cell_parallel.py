"""Two processes that share the cells of every minibatch find what one process finds."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cell_made import counted_cells
from test_cell_runs import write_project

import multiscale as ms
from multiscale.cli import main
from multiscale.config import read_config
from multiscale.errors import ConfigError
from multiscale.fit.cells.parallel import Processes
from multiscale.formats.tables import read_table
from multiscale.model.cells import CellProblem
from multiscale.runs.cells import run_cells

TESTS = Path(__file__).parent
OPTIONS = {"max_epochs": 2, "batch_size": 40, "precision": "64", "accelerator": "cpu", "progress": False}

SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
import multiscale as ms
from cell_made import counted_cells
from multiscale.fit.checkpoint import Checkpoint
from multiscale.model.cells import CellProblem

problem = CellProblem(ms.read_graph({graph!r}), counted_cells(100), latent=2, hidden=8, amortised={amortised})
result = ms.fit(problem, checkpoint=Checkpoint({out!r}), **{options!r})
states = {{name: value.numpy().tobytes() for name, value in result.model.state_dict().items()}}
gathered = [None] * result.settings["processes"]
torch.distributed.all_gather_object(gathered, states)
assert all(found == states for found in gathered), "processes differ"
if torch.distributed.get_rank() == 0:
    result.save({out!r} + "/model")
"""


def of_two_processes(graph: Path, folder: Path, amortised: bool) -> None:
    values = {"tests": str(TESTS), "graph": str(graph), "out": str(folder), "options": OPTIONS}
    script = folder / "script.py"
    script.write_text(SCRIPT.format(**values, amortised=amortised))
    code, said = in_two_processes(folder, script)
    assert code == 0, said[-3000:]


def in_two_processes(folder: Path, *command: str | Path) -> tuple[int, str]:
    """Exit code and standard error of `torchrun`."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    said, env = folder / "stderr", {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
    with said.open("w") as stderr, (folder / "stdout").open("w") as stdout:
        run = subprocess.Popen(
            [*launch, *map(str, command)],
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=os.environ | env,
            start_new_session=True,
        )
        try:
            code = run.wait(timeout=240)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)  # torchrun's own processes too
            run.wait()
            raise
    return code, said.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("amortised", [True, False])
def test_two_processes_give_the_parameters_of_one_to_1e_6(small_graph, tmp_path, amortised):
    graph = tmp_path / "graph"
    ms.write_graph(small_graph, graph)
    problem = CellProblem(ms.read_graph(graph), counted_cells(100), latent=2, hidden=8, amortised=amortised)
    one = ms.fit(problem, **OPTIONS)
    of_two_processes(graph, tmp_path, amortised)
    two = type(one).load(tmp_path / "model", problem)
    for name, value in one.model.state_dict().items():
        assert torch.allclose(two.model.state_dict()[name], value, rtol=1e-6, atol=1e-12), name
    assert np.allclose(two.history["watched_elbo"], one.history["watched_elbo"], rtol=1e-9)
    assert (one.settings["processes"], two.settings["processes"]) == (1, 2)


COMMAND = ["--no-python", sys.executable, "-c", "from multiscale.cli import main; main()"]


@pytest.mark.slow
def test_a_run_of_two_processes_has_the_tables_of_one(small_graph, tmp_path):
    write_project(tmp_path, small_graph)
    toml = (tmp_path / "fit.toml").read_text().replace("max_epochs = 6", 'max_epochs = 2\nprecision = "64"')
    (tmp_path / "fit.toml").write_text(toml)
    one = run_cells(read_config(tmp_path / "fit.toml"), tmp_path / "one", progress=False)
    code, said = in_two_processes(tmp_path, *COMMAND, "fit", "fit.toml", "--out", "two")
    assert code == 0, said[-3000:]
    printed = (tmp_path / "stdout").read_text().splitlines()
    assert printed[0] == one["headline"] and printed[1].startswith("Report: ") and len(printed) == 2
    ours, theirs = (read_table(tmp_path / name / "parameters.tsv")["value"] for name in ("one", "two"))
    assert np.allclose(theirs.astype(float), ours.astype(float), rtol=1e-6, atol=1e-12)
    code, said = in_two_processes(tmp_path, *COMMAND, "fit", "--resume", "two")
    assert code == 0 and "nothing is left to do" in said


def test_other_fits_are_not_shared_by_processes(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    toml = str(TESTS.parent / "experiments" / "pbmc_complexes" / "config.toml")
    monkeypatch.setattr("sys.argv", ["multiscale", "fit", toml, "--out", "x"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "only fits of single cells share processes, and there are 2" in capsys.readouterr().err


def test_a_number_of_processes_that_does_not_divide_eight_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="must divide 8; torchrun started 3"):
        Processes("cpu")


def test_one_process_sums_nothing_and_needs_no_group():
    alone = Processes("cpu")
    parts = [torch.ones(2, 3), torch.tensor(1.5)]
    assert all(a is b for a, b in zip(alone.sum(parts), parts, strict=True))
    assert alone.first
    assert not torch.distributed.is_initialized()
