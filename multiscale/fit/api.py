"""The one call that fits a problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

from multiscale.errors import DataError
from multiscale.fit.cells.result import CellResult
from multiscale.fit.cells.train import fit_cells
from multiscale.fit.checkpoint import Checkpoint
from multiscale.fit.molecular.predict import DRAWS as ROW_DRAWS
from multiscale.fit.molecular.result import MolecularResult
from multiscale.fit.molecular.train import METHODS, fit_molecular
from multiscale.fit.result import DRAWS, Result
from multiscale.fit.train import train
from multiscale.model import Problem
from multiscale.model.cells import CellProblem
from multiscale.model.molecular import MolecularProblem

__all__ = ["fit"]

SEARCH = {"starts": 32, "adam_steps": 100, "max_steps": 300, "draws": DRAWS, "save_every_s": 20.0}
"""Options of fits of contexts besides those that all fits have, with their values unless stated."""

MOLECULAR = {
    **SEARCH,
    "starts": 8,
    "draws": ROW_DRAWS,
    "method": "auto",
    "batch_size": 4096,
    "max_epochs": 100,
}
"""The same of molecular fits."""

CELLS = {
    **{"max_epochs": 200, "batch_size": 512, "learning_rate": 2e-3, "graph_rate": 2e-2, "kl_warmup": None},
    **{"patience": 20, "validation": 0.1, "precision": "32", "save_every_s": 60.0},
    "members": 1,
}
"""The same of fits of single cells."""

LEAST = {
    **{"starts": 1, "threads": 1, "adam_steps": 0, "max_steps": 0, "draws": 0, "batch_size": 1},
    **{"max_epochs": 1, "members": 1},
}
"""Least values of options."""


@overload
def fit(problem: Problem, **options: Any) -> Result: ...


@overload
def fit(problem: MolecularProblem, **options: Any) -> MolecularResult: ...


@overload
def fit(problem: CellProblem, **options: Any) -> CellResult: ...


def fit(  # pyright: ignore[reportInconsistentOverload] (the options are those of all)
    problem: Problem | MolecularProblem | CellProblem,
    *,
    starts: int | None = None,
    seed: int = 0,
    accelerator: str = "auto",
    threads: int = 1,
    adam_steps: int | None = None,
    max_steps: int | None = None,
    draws: int | None = None,
    method: str | None = None,
    batch_size: int | None = None,
    max_epochs: int | None = None,
    learning_rate: float | None = None,
    graph_rate: float | None = None,
    kl_warmup: float | None = None,
    patience: int | None = None,
    validation: float | None = None,
    precision: str | None = None,
    members: int | None = None,
    progress: bool = True,
    checkpoint: Checkpoint | None = None,
    save_every_s: float | None = None,
) -> Result | MolecularResult | CellResult:
    """Fit all measurements of a problem jointly.

    Contexts and molecular problems: maximum a posteriori from many starts. Single cells: the evidence lower
    bound, by minibatches; started by `torchrun`, several processes share them.

    Args:
        problem: graph and data, checked: of contexts; a molecular one (scans, affinities, titrations); or of
            single cells.
        starts: number of starting points, all advanced together; 32 if None, of a molecular problem 8.
        seed: of the starting points, or of the order of cells and their noise; the same seed and thread count
            give the same numbers on a CPU.
        accelerator: `auto` (GPU if there is one), `cpu` or `gpu`.
        threads: CPU threads of PyTorch; more than one pays only for thousands of cells or molecules, or
            100,000 rows.
        adam_steps: steps of Adam before the quasi-Newton method, 100.
        max_steps: most quasi-Newton steps per start, 300; the best ones are then finished by Newton's method.
        draws: draws of the posterior for the intervals of what follows from the parameters; 0 for none; 1,000
            if None, of a molecular problem 200 per row.
        method: of a molecular problem: `newton` (exact curvature, for up to 6,000 parameters), `minibatch`
            (gradients of batches of rows), or `auto`: the first where it is possible.
        batch_size: rows per step of `minibatch`, and of the training of networks in encoders, 4,096; single
            cells per step over all processes, a multiple of 8, 512.
        max_epochs: most passes through all rows of the same, 100; through all cells, 200.
        learning_rate: of networks of single cells, 0.002.
        graph_rate: of all other parameters of single cells, per step in natural logarithms or prior standard
            deviations, 0.02.
        kl_warmup: epochs until the KL of single cells counts in full, 20 and at most a third of all.
        patience: epochs without gain after which training on single cells ends, 20.
        validation: share of the cells that is set aside to judge this, 0.1, at most 10,000; none if every
            cell has a posterior of its own.
        precision: of networks of single cells, `32`, `64`, or `bf16-mixed`; physics is in float64 always.
        members: fits of single cells, 1, or 3 and more: the others have random weights of cells and draws of
            priors, and give what all cells share 90 % intervals; see `fit.cells.ensemble`.
        progress: show a progress bar on a terminal.
        checkpoint: where the search keeps its state and finds it again; None keeps nothing.
        save_every_s: least time between two saves, s; 20, of single cells 60.

    Returns:
        what was found; `result.optimum.reasons`, or of cells `result.settings["stopped"]`, says why it ended.

    Raises:
        DataError: an option is out of range or does not belong to such a problem, or no start reached a
            finite posterior.
        ConfigError: the same of an option of single cells.
    """
    given = {
        **{"starts": starts, "adam_steps": adam_steps, "max_steps": max_steps, "draws": draws},
        **{
            "method": method,
            "batch_size": batch_size,
            "max_epochs": max_epochs,
            "save_every_s": save_every_s,
        },
        **{"learning_rate": learning_rate, "graph_rate": graph_rate, "kl_warmup": kl_warmup},
        **{"patience": patience, "validation": validation, "precision": precision},
        "members": members,
    }
    options = _chosen(problem, {name: value for name, value in given.items() if value is not None})
    options |= {"seed": seed, "accelerator": accelerator, "threads": threads}
    options |= {"progress": progress, "checkpoint": checkpoint}
    _check(options)
    if isinstance(problem, CellProblem):
        return fit_cells(problem, **options)
    if isinstance(problem, MolecularProblem):
        return fit_molecular(problem, **options)
    return _fit_contexts(problem, **options)


def _chosen(problem: object, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of this kind of problem, those that were given in place of the usual ones."""
    kinds = {CellProblem: (CELLS, "single cells"), MolecularProblem: (MOLECULAR, "a molecular problem")}
    usual, what = kinds.get(type(problem), (SEARCH, "contexts"))
    for name in given:
        if name not in usual:
            known = ", ".join(f"`{option}`" for option in usual)
            raise DataError(f"`{name}` is no option of a fit of {what}; leave it out. Options: {known}.")
    return {**usual, **given}


def _check(options: Mapping[str, Any]) -> None:
    """Refuse options below their least value, and methods that there are not."""
    for name, least in LEAST.items():
        if name in options and options[name] < least:
            raise DataError(f"`{name}` must be at least {least}; got {options[name]}.")
    if "method" in options and options["method"] not in METHODS:
        raise DataError(f"`method` must be {', '.join(METHODS)}; got `{options['method']}`.")


def _fit_contexts(problem: Problem, *, draws: int, **options: Any) -> Result:
    """Fit contexts: all starts at once, the best ones to the end."""
    model, optimum = train(problem, polished=True, **options)
    if not optimum.loss.isfinite().any():
        raise DataError(
            "no start reached a finite posterior: in each one a context was not solved; check the priors."
        )
    kept = ("starts", "seed", "adam_steps", "max_steps", "threads")
    settings = {name: options[name] for name in kept} | {"draws": draws, "device": str(model.device)}
    return Result(problem, model, optimum, settings)
