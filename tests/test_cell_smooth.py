"""Latent states of neighbours are pulled together, without bias by minibatches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cell_made import counted_cells
from scipy import sparse

import multiscale as ms
from multiscale.data.cells import Cells, Loader
from multiscale.errors import ConfigError, DataError
from multiscale.fit.cells import CellResult
from multiscale.fit.cells.parallel import Processes
from multiscale.fit.cells.smooth import Smoothness
from multiscale.model.cells import CellProblem

OPTIONS = {
    "max_epochs": 20,
    "batch_size": 96,
    "accelerator": "cpu",
    "progress": False,
    "graph_rate": 0.05,
    "learning_rate": 0.02,
}


def ring(count: int) -> sparse.csr_array:
    """Every cell with the next one, by different weights."""
    first = np.arange(count)
    return sparse.csr_array((1 + first / count, (first, (first + 1) % count)), shape=(count, count))


def neighbours(count: int = 96) -> Cells:
    return replace(counted_cells(count), neighbours=ring(count))


def roughness(result: CellResult) -> float:
    z, w = result.latent.to_numpy(), sparse.coo_array(result.problem.cells.neighbours)
    return float((w.data * ((z[w.coords[0]] - z[w.coords[1]]) ** 2).sum(1)).sum()) / len(z)


def test_all_cells_together_give_the_penalty_itself():
    w, mean = ring(7), torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    squares = torch.cdist(mean, mean) ** 2
    found = Smoothness(3.0, w, 7)(torch.arange(7), mean, torch.zeros(7, dtype=torch.bool))
    assert float(found) == pytest.approx(float(3 / (2 * 7) * (torch.as_tensor(w.toarray()) * squares).sum()))


def test_minibatches_of_an_epoch_give_the_penalty_on_average():
    cells = neighbours(48)
    mean = torch.randn(48, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    penalty = Smoothness(1.0, ring(48), 48)
    solved = torch.zeros(48, dtype=torch.bool)
    exact = float(penalty(torch.arange(48), mean, solved))
    loader = Loader(cells, batch_size=16, seed=3)
    found = [
        float(penalty(batch.index, mean[batch.index], solved[batch.index]))
        for epoch in range(200)
        for batch in loader.epoch(epoch)
    ]
    assert abs(np.mean(found) - exact) < 4 * np.std(found) / np.sqrt(len(found))
    assert np.std(found) / np.sqrt(len(found)) < 0.05 * exact


def test_order_does_not_matter_and_cells_that_failed_have_no_say():
    penalty, failed = Smoothness(1.0, ring(9), 9), torch.zeros(9, dtype=torch.bool)
    mean = torch.randn(9, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    order = torch.tensor([4, 0, 8, 3, 7, 1, 2, 6, 5])
    assert float(penalty(order, mean[order], failed)) == pytest.approx(
        float(penalty(torch.arange(9), mean, failed))
    )
    failed[3], mean[3] = True, 1e9
    mean.requires_grad_(True)
    penalty(torch.arange(9), mean, failed).backward()
    assert mean.grad is not None and (mean.grad[3] == 0).all() and float(mean.grad.abs().max()) < 100


@pytest.mark.parametrize("amortised", [True, False])
def test_neighbours_are_closer_the_harder_they_are_pulled(amortised):
    fits = [
        ms.fit(
            CellProblem(None, neighbours(), latent=2, hidden=8, amortised=amortised, smooth=strength),
            **OPTIONS,
            validation=0.0,
        )
        for strength in (0.0, 1.0, 10.0)
    ]
    found = [roughness(fit) for fit in fits]
    assert found[0] > 1.2 * found[1] > 1.5 * found[2]
    assert "watched_smooth" in fits[1].history and "watched_smooth" not in fits[0].history
    if not amortised:  # all cells are watched, all in one minibatch
        best = fits[2].history["watched_elbo"] - fits[2].history["watched_smooth"]
        assert fits[2].history["watched_smooth"][best.idxmax()] == pytest.approx(5 * found[2], rel=1e-3)


def test_what_has_no_neighbours_cannot_be_smooth():
    with pytest.raises(DataError, match=r"`smooth` pulls neighbouring cells.*`neighbours_key`"):
        CellProblem(None, counted_cells(24), smooth=1.0)
    for wrong in (-1.0, np.inf, "1"):
        with pytest.raises(ConfigError, match="`smooth` must be 0 or positive"):
            CellProblem(None, neighbours(24), smooth=wrong)  # pyright: ignore[reportArgumentType]


def test_strength_is_part_of_the_problem(tmp_path):
    problem = CellProblem(None, neighbours(24), latent=2, smooth=2.0)
    assert problem.with_cells(problem.cells.take(np.arange(9))).smooth == 2.0
    ms.fit(problem, **{**OPTIONS, "max_epochs": 1}).save(tmp_path / "model")
    with pytest.raises(ms.errors.FormatError, match="another `smooth`"):
        CellResult.load(tmp_path / "model", CellProblem(None, neighbours(24), latent=2))


def test_several_processes_are_refused(monkeypatch):
    problem = CellProblem(None, neighbours(24), latent=2, smooth=2.0)
    monkeypatch.setattr(Processes, "__init__", lambda self, accelerator: setattr(self, "world", 2))
    with pytest.raises(ConfigError, match="`smooth` needs all cells of a minibatch in one process"):
        ms.fit(problem, **OPTIONS)
