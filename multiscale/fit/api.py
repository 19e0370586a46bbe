"""The one call that fits a problem."""

from __future__ import annotations

from typing import Any, overload

from multiscale.errors import DataError
from multiscale.fit.checkpoint import Checkpoint
from multiscale.fit.molecular.predict import DRAWS as ROW_DRAWS
from multiscale.fit.molecular.result import MolecularResult
from multiscale.fit.molecular.train import METHODS, fit_molecular
from multiscale.fit.result import DRAWS, Result
from multiscale.fit.train import train
from multiscale.model import Problem
from multiscale.model.molecular import MolecularProblem

__all__ = ["fit"]


@overload
def fit(problem: Problem, **options: Any) -> Result: ...


@overload
def fit(problem: MolecularProblem, **options: Any) -> MolecularResult: ...


def fit(  # pyright: ignore[reportInconsistentOverload] (the options are those of both)
    problem: Problem | MolecularProblem,
    *,
    starts: int | None = None,
    seed: int = 0,
    accelerator: str = "auto",
    threads: int = 1,
    adam_steps: int = 100,
    max_steps: int = 300,
    draws: int | None = None,
    method: str = "auto",
    batch_size: int = 4096,
    max_epochs: int = 100,
    progress: bool = True,
    checkpoint: Checkpoint | None = None,
    save_every_s: float = 20.0,
) -> Result | MolecularResult:
    """Fit all measurements of a problem jointly: maximum a posteriori from many starts.

    Args:
        problem: graph and data, checked; a molecular one (scans, affinities, titrations) or one of cells.
        starts: number of starting points, all advanced together; 32 if None, of a molecular problem 8.
        seed: of the starting points; the same seed and thread count give the same numbers on a CPU.
        accelerator: `auto` (GPU if there is one), `cpu` or `gpu`.
        threads: CPU threads of PyTorch; more than one pays only for thousands of cells or molecules, or
            100,000 rows.
        adam_steps: steps of Adam before the quasi-Newton method.
        max_steps: most quasi-Newton steps per start; the best ones are then finished by Newton's method.
        draws: draws of the posterior for the intervals of what follows from the parameters; 0 for none; 1,000
            if None, of a molecular problem 200 per row.
        method: of a molecular problem: `newton` (exact curvature, for up to 6,000 parameters), `minibatch`
            (gradients of batches of rows), or `auto`: the first where it is possible.
        batch_size: rows per step of `minibatch`, and of the training of networks in encoders.
        max_epochs: most passes through all rows of the same.
        progress: show a progress bar on a terminal.
        checkpoint: where the search keeps its state and finds it again; None keeps nothing.
        save_every_s: least time between two saves, s.

    Returns:
        the fitted network; `result.optimum.reasons` says why every start stopped.

    Raises:
        DataError: an option is out of range, or no start reached a finite posterior.
    """
    molecular = isinstance(problem, MolecularProblem)
    starts = (8 if molecular else 32) if starts is None else starts
    draws = (ROW_DRAWS if molecular else DRAWS) if draws is None else draws
    _check(
        starts=(starts, 1),
        threads=(threads, 1),
        adam_steps=(adam_steps, 0),
        max_steps=(max_steps, 0),
        draws=(draws, 0),
        batch_size=(batch_size, 1),
        max_epochs=(max_epochs, 1),
    )
    if method not in METHODS:
        raise DataError(f"`method` must be {', '.join(METHODS)}; got `{method}`.")
    if isinstance(problem, MolecularProblem):
        return fit_molecular(
            problem,
            starts=starts,
            seed=seed,
            accelerator=accelerator,
            threads=threads,
            adam_steps=adam_steps,
            max_steps=max_steps,
            draws=draws,
            method=method,
            batch_size=batch_size,
            max_epochs=max_epochs,
            progress=progress,
            checkpoint=checkpoint,
            save_every_s=save_every_s,
        )
    model, optimum = train(
        problem,
        starts=starts,
        seed=seed,
        adam_steps=adam_steps,
        max_steps=max_steps,
        accelerator=accelerator,
        threads=threads,
        polished=True,
        progress=progress,
        checkpoint=checkpoint,
        save_every_s=save_every_s,
    )
    if not optimum.loss.isfinite().any():
        raise DataError(
            "no start reached a finite posterior: in each one a context was not solved; check the priors."
        )
    settings = {
        "starts": starts,
        "seed": seed,
        "adam_steps": adam_steps,
        "max_steps": max_steps,
        "draws": draws,
        "device": str(model.device),
        "threads": threads,
    }
    return Result(problem, model, optimum, settings)


def _check(**options: tuple[int, int]) -> None:
    """Refuse options below their least value, each given as (value, least)."""
    for name, (value, least) in options.items():
        if value < least:
            raise DataError(f"`{name}` must be at least {least}; got {value}.")
