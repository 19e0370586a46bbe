"""Training of cells: the objective, when it ends, and that a stopped fit goes on to the same bits."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from cell_fake import FakeModel, log_evidence, plain_cells, plain_problem

from multiscale.data.cells import Loader
from multiscale.errors import ConfigError, DataError, FormatError
from multiscale.fit.cells import train
from multiscale.fit.cells.objective import Tally, loss
from multiscale.fit.cells.parallel import Processes
from multiscale.fit.cells.schedule import CellSettings, Plateau, kl_weight
from multiscale.fit.cells.training import Training
from multiscale.fit.cells.watch import set_aside
from multiscale.fit.checkpoint import Checkpoint
from multiscale.model.cells import Parts

QUICK = {"max_epochs": 3, "batch_size": 32, "precision": "64", "graph_rate": 0.05, "learning_rate": 0.02}


class StoppedError(Exception):
    """In place of a kill."""


class Stopping(Checkpoint):
    """Stops the process right after so many saves."""

    def __init__(self, folder, after: int) -> None:
        super().__init__(folder)
        self.left = after

    def put(self, name, arrays, meta=None):
        found = super().put(name, arrays, meta)
        self.left -= 1
        if not self.left:
            raise StoppedError
        return found


def training(problem=None, seed: int = 0, **options) -> Training:
    problem = problem or plain_problem()
    settings = CellSettings(**{**QUICK, "seed": seed, **options})
    loader, watched = (
        Loader(problem.cells, batch_size=settings.batch_size, dtype=torch.float64, shuffle=shuffle)
        for shuffle in (True, False)
    )
    model: Any = FakeModel(problem)
    return Training(model, loader, watched, settings, Processes("cpu"))


@pytest.fixture
def fitted(monkeypatch):
    """`fit_cells` with the linear model in place of the physical one."""
    monkeypatch.setattr(train, "CellModel", FakeModel)

    def run(checkpoint=None, problem=None, **options):
        options = {**QUICK, "progress": False, "accelerator": "cpu", **options}
        return train.fit_cells(problem or plain_problem(), checkpoint=checkpoint, **options)

    return run


def bits(result) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in result.model.state_dict().items()}


def some_parts() -> Parts:
    density = torch.tensor([-3.0, -5.0, float("inf")], dtype=torch.float64)
    kl = torch.tensor([[1.0, 0.5], [0.25, 0.0], [7.0, 7.0]], dtype=torch.float64)
    return Parts({"rna": density}, kl, torch.tensor([False, False, True]))


# The objective


def test_loss_is_the_bound_per_cell_with_the_prior_counted_once_over_processes():
    kwargs = {"kl_weight": 0.5, "total": 4, "cells": 100, "world": 2}
    found = loss(some_parts(), torch.tensor(-6.0), **kwargs)
    assert float(found) == pytest.approx((3 + 0.75 + 5 + 0.125) / 4 + 6 / 200)


def test_tally_reports_means_over_the_cells_that_were_solved():
    batch = Loader(plain_cells(3), batch_size=8).at(np.arange(3))
    tally = Tally.empty(["rna"], 2)
    tally.add(tally.of(some_parts(), batch))
    assert (tally.solved, tally.failed) == (2, 1)
    assert tally.log_densities == {"rna": -4.0}
    assert tally.elbo == pytest.approx(-4 - (1.25 + 0.5) / 2)


def test_trained_bound_comes_close_to_the_evidence_and_never_exceeds_it():
    run: Any = training(max_epochs=80, patience=80, batch_size=200)
    run.run()
    values = run.loader.at(np.arange(200)).values["rna"]
    evidence = float(log_evidence(run.model, values).mean())
    best = max(row["watched_elbo"] for row in run.history)
    assert evidence - 0.15 < best < evidence + 0.05  # the noise of one draw per cell


def test_a_step_without_a_finite_gradient_moves_nothing_and_is_counted():
    run: Any = training()
    batch = run.loader.at(np.arange(32))
    before = [parameter.detach().clone() for parameter in run.parameters]
    batch.values["rna"][0, 0] = torch.nan
    run.step(batch)
    assert run.skipped == 1
    assert all(torch.equal(a, b) for a, b in zip(before, run.parameters, strict=True))


def test_an_epoch_without_any_finite_gradient_is_an_error_that_names_a_parameter():
    run: Any = training()
    run.model.loading.data[0, 0] = torch.nan
    with pytest.raises(DataError, match="epoch 1: no minibatch gave a finite gradient; that of `loading`"):
        run.run()


def test_an_epoch_in_which_no_cell_was_solved_is_an_error():
    run: Any = training()
    run.model.fails = list(range(200))
    with pytest.raises(DataError, match="epoch 1: the network of 200 of 200 cells was not solved"):
        run.run()


def test_more_than_half_of_the_cells_must_be_solved_and_fewer_are_told_once(caplog):
    run: Any = training(max_epochs=2)
    run.model.fails = list(range(90))
    run.run()
    said = [record.message for record in caplog.records if "was not solved" in record.message]
    assert len(said) == 1 and "epoch 1: the network of 90 of 200 cells was not solved" in said[0]
    run = training()
    run.model.fails = list(range(101))
    with pytest.raises(DataError, match="epoch 1: the network of 101 of 200 cells was not solved"):
        run.run()


def test_a_cell_that_was_not_solved_has_no_gradient_not_even_of_its_divergence():
    run: Any = training()
    run.model.fails = [3]
    batch = run.loader.at(np.array([3]))
    parts = run.model.parts(batch, run._noise(0, batch))
    value = loss(parts, torch.zeros(()), kl_weight=1.0, total=8, cells=200, world=1)
    gradients = torch.autograd.grad(value, list(run.model.parameters()), allow_unused=True)
    assert all(g is None or not g.any() for g in gradients)


def test_the_progress_bar_is_told_the_parts_of_the_objective():
    run, told = training(max_epochs=1), []
    run.show = lambda step, parts: told.append((step, list(parts)))
    run.run()
    assert told[-1] == (len(run.loader), ["elbo", "kl", "log_density rna"])


def test_cells_that_were_not_solved_do_not_move_the_model():
    one: Any = training()
    other: Any = training()
    other.model.fails = [5]
    batch = other.loader.at(np.arange(32))
    batch.values["rna"][5] = 1e6
    other.step(batch)
    without = one.loader.at(np.delete(np.arange(32), 5))._replace(total=32)
    one.step(without)
    assert torch.allclose(one.model.loading, other.model.loading, rtol=1e-12)
    assert other.tally.failed == 1


# Schedules


def test_kl_warms_up_linearly_and_default_is_a_third_of_few_epochs():
    assert [kl_weight(e, 10) for e in (0, 5, 10, 50)] == [0, 0.5, 1, 1]
    assert CellSettings(max_epochs=30).warmup == 10
    assert CellSettings(max_epochs=500).warmup == 20
    assert CellSettings(kl_warmup=0).warmup == 0


def test_rate_halves_on_a_plateau_and_training_ends_when_patience_is_over():
    plateau = Plateau(patience=6)
    seen = [plateau.see(bound) for bound in (1.0, 2.0, 1.5, 1.5, 1.5, 1.5)]
    assert seen == [True, True, False, False, False, False]
    assert (plateau.rate, plateau.over) == (0.25, False)
    plateau.see(1.0)
    plateau.see(1.0)
    assert plateau.over


def test_waiting_does_not_count_while_the_kl_warms_up():
    plateau = Plateau(patience=1)
    plateau.see(1.0)
    plateau.see(0.0, counts=False)
    assert not plateau.over
    assert plateau.rate == 1


def test_the_model_ends_where_the_watched_bound_was_highest():
    run: Any = training(max_epochs=50, kl_warmup=0, graph_rate=5.0, patience=2)
    assert run.run() == "the bound of watched cells did not rise for 2 epochs"
    highest = max(row["watched_elbo"] for row in run.history)
    assert run.watch()[0].elbo == pytest.approx(highest, rel=1e-12)
    assert run.history[-1]["watched_elbo"] < highest


def test_history_counts_active_units_by_the_variance_of_posterior_means():
    run: Any = training()
    run.model.posterior.weight.data = torch.zeros(2, 6, dtype=torch.float64)
    run.model.posterior.weight.data[1, 3] = 1.0
    assert run.watch()[2] == 1


def test_watched_cells_are_set_aside_once_each_and_depend_on_the_seed():
    cells = plain_cells(100)
    fitted, watched = set_aside(cells, 0.1, seed=3)
    assert (len(fitted), len(watched)) == (90, 10)
    assert sorted([*fitted, *watched]) == list(range(100))
    assert list(set_aside(cells, 0.1, seed=3)[1]) == list(watched) != list(set_aside(cells, 0.1, seed=4)[1])
    assert list(set_aside(cells, 0, seed=3)[0]) == list(range(100))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 100}, "`batch_size` must be a multiple of 8; got 100"),
        ({"validation": 1.0}, "`validation` must be a share"),
        ({"precision": "16"}, "`precision` must be one of 64, 32, bf16-mixed; got 16"),
        ({"learning_rate": math.inf}, "`learning_rate` must be positive"),
        ({"max_epoch": 3}, "`max_epoch` is no option of a fit of cells"),
    ],
)
def test_options_out_of_range_are_refused(fitted, options, said):
    with pytest.raises(ConfigError, match=said):
        fitted(**options)


# Resuming


@pytest.mark.parametrize("after", [1, 6, 7, 16])  # within an epoch, at its end, at the start of the next
def test_a_fit_that_was_stopped_goes_on_to_the_same_bits(fitted, after, tmp_path):
    whole = fitted()
    with pytest.raises(StoppedError):
        fitted(Stopping(tmp_path, after), save_every_s=0)
    resumed = fitted(Checkpoint(tmp_path), save_every_s=0)
    assert bits(resumed) == bits(whole)
    assert resumed.history.drop(columns="seconds").equals(whole.history.drop(columns="seconds"))
    assert list(Checkpoint(tmp_path)) == ["cells"]


def test_a_finished_fit_is_not_computed_again(fitted, tmp_path, monkeypatch):
    first = fitted(Checkpoint(tmp_path))
    monkeypatch.setattr(Training, "step", None)
    again = fitted(Checkpoint(tmp_path))
    assert bits(again) == bits(first)
    assert again.history.equals(first.history)
    assert again.settings["stopped"] == "stopped after 3 epochs"


def test_a_checkpoint_of_another_fit_is_refused(fitted, tmp_path):
    fitted(Checkpoint(tmp_path))
    with pytest.raises(FormatError, match="a fit with `seed` 0, this one has 1"):
        fitted(Checkpoint(tmp_path), seed=1)


def test_the_same_seed_gives_the_same_bits_and_another_one_others(fitted):
    assert bits(fitted()) == bits(fitted())
    assert bits(fitted())["loading"] != bits(fitted(seed=1))["loading"]
