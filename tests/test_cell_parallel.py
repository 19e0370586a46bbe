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

import multiscale as ms
from multiscale.errors import ConfigError
from multiscale.fit.cells.parallel import Processes
from multiscale.model.cells import CellProblem

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
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    said, env = folder / "stderr", {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
    with said.open("w") as stderr:
        run = subprocess.Popen(
            [*launch, str(script)],
            stderr=stderr,
            cwd=TESTS.parent,
            env=os.environ | env,
            start_new_session=True,
        )
        try:
            code = run.wait(timeout=240)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)  # torchrun's own processes too
            run.wait()
            raise
    assert code == 0, said.read_text()[-3000:]


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
