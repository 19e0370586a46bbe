"""Solves that begin at the last state of a cell: the same results, to the same bits after a kill."""

import numpy as np
import pytest
import torch
from cell_cases import made_cells, modality
from cell_made import counted_cells
from test_cell_fit import StoppedError, Stopping, bits
from test_cell_model import switch

import multiscale as ms
from multiscale.assays.channels import Cytometry
from multiscale.data.cells import Loader
from multiscale.fit.cells import warm
from multiscale.fit.cells.parallel import Processes
from multiscale.fit.cells.schedule import CellSettings
from multiscale.fit.cells.training import Training
from multiscale.fit.cells.warm import WarmStarts
from multiscale.fit.checkpoint import Checkpoint
from multiscale.model.cells import CellModel, CellProblem

OPTIONS = {"max_epochs": 4, "batch_size": 32, "accelerator": "cpu", "progress": False, "precision": "64"}


@pytest.fixture
def problem(small_graph) -> CellProblem:
    return CellProblem(small_graph, counted_cells(), latent=2, amortised=False)


def trained(problem: CellProblem, active: bool | None) -> Training:
    settings = CellSettings(max_epochs=4, batch_size=32, precision="64")
    loader, watched = (
        Loader(problem.cells, batch_size=32, dtype=torch.float64, shuffle=shuffle)
        for shuffle in (True, False)
    )
    run = Training(CellModel(problem, dtype=torch.float64), loader, watched, settings, Processes("cpu"))
    if active is not None:
        run.warm.active = run.warm_watched.active = active
    run.run()
    return run


def test_states_come_back_by_cell_and_nothing_is_known_of_others():
    starts = WarmStarts(5)
    assert starts.get(torch.arange(2)) is None
    starts.put(torch.tensor([3, 1]), torch.tensor([[3.0], [1.0]], dtype=torch.float64))
    found = starts.get(torch.tensor([1, 2, 3]))
    assert found is not None and found[:, 0].nan_to_num(-1.0).tolist() == [1.0, -1.0, 3.0]


def test_nothing_is_kept_beyond_the_memory_that_is_allowed(monkeypatch):
    monkeypatch.setattr(warm, "MOST_BYTES", 40)
    for cells, kept in ((9, True), (10, False)):
        starts = WarmStarts(cells)
        starts.put(torch.arange(2), torch.zeros(2, 1))
        assert (starts.get(torch.arange(2)) is not None) is kept


def phosphorylated() -> CellProblem:
    """Markers at the steady state of a kinase that a phosphatase opposes."""
    values = np.abs(np.random.default_rng(0).normal(20, 5, (64, 2)))
    cells = made_cells([modality("masses", Cytometry(), values, ["pS", "S"])], np.arange(64) % 2)
    return CellProblem(switch(), cells, regime="steady_state", latent=2, amortised=False)


def test_training_at_steady_state_finds_the_same_with_and_without_earlier_states():
    with_, without = (trained(phosphorylated(), active) for active in (True, False))
    assert with_.warm.values is not None and bool(with_.warm.values.isfinite().all())
    for name, value in with_.model.state_dict().items():
        other = without.model.state_dict()[name]
        assert torch.allclose(value, other, rtol=1e-6, atol=1e-8, equal_nan=True), name


def test_cells_that_may_rest_in_several_states_are_judged_from_their_own_start():
    run = trained(phosphorylated(), None)
    assert run.warm.active and not run.warm_watched.active


def test_a_fit_finds_the_same_with_and_without_earlier_states(problem):
    with_, without = (trained(problem, active) for active in (True, False))
    assert with_.warm.values is not None and bool(with_.warm.values.isfinite().all())
    assert without.warm.values is None
    for name, value in with_.model.state_dict().items():
        other = without.model.state_dict()[name]
        assert torch.allclose(value, other, rtol=1e-6, atol=1e-8, equal_nan=True), name


@pytest.mark.parametrize("after", [2, 5])  # within the first epoch, and in the second
def test_earlier_states_are_kept_with_a_fit_that_is_stopped(problem, tmp_path, after):
    whole = ms.fit(problem, **OPTIONS)
    with pytest.raises(StoppedError):
        ms.fit(problem, checkpoint=Stopping(tmp_path, after), save_every_s=0, **OPTIONS)
    saved = Checkpoint(tmp_path).get("cells.state")
    assert saved is not None and np.isfinite(saved.arrays["warm"]).any()
    resumed = ms.fit(problem, checkpoint=Checkpoint(tmp_path), **OPTIONS)
    assert bits(resumed) == bits(whole)


def test_a_start_that_misleads_is_given_up(problem):
    run = trained(problem, True)
    run.warm.values = torch.full_like(run.warm.values, 1e30)  # pyright: ignore[reportArgumentType]
    parts = run._parts_of(run.loader.at(np.arange(8)), 0, run.warm)
    assert not parts.failed.any()
