"""The one call that fits a problem."""

from __future__ import annotations

from multiscale.errors import DataError
from multiscale.fit.checkpoint import Checkpoint
from multiscale.fit.result import DRAWS, Result
from multiscale.fit.train import train
from multiscale.model import Problem

__all__ = ["fit"]


def fit(
    problem: Problem,
    *,
    starts: int = 32,
    seed: int = 0,
    accelerator: str = "auto",
    threads: int = 1,
    adam_steps: int = 100,
    max_steps: int = 300,
    draws: int = DRAWS,
    progress: bool = True,
    checkpoint: Checkpoint | None = None,
    save_every_s: float = 20.0,
) -> Result:
    """Fit all measurements of a problem jointly: maximum a posteriori from many starts in one batch.

    Args:
        problem: graph and data, checked.
        starts: number of starting points, all advanced together.
        seed: of the starting points; the same seed and thread count give the same numbers on a CPU.
        accelerator: `auto` (GPU if there is one), `cpu` or `gpu`.
        threads: CPU threads of PyTorch; more than one pays only for thousands of cells or molecules.
        adam_steps: steps of Adam before the quasi-Newton method.
        max_steps: most quasi-Newton steps per start; the best ones are then finished by Newton's method.
        draws: draws of the posterior for the intervals of what follows from the parameters; 0 for none.
        progress: show a progress bar on a terminal.
        checkpoint: where the search keeps its state and finds it again; None keeps nothing.
        save_every_s: least time between two saves, s.

    Returns:
        the fitted network; `result.optimum.reasons` says why every start stopped.

    Raises:
        DataError: an option is out of range, or no start reached a finite posterior.
    """
    for name, value, least in (
        ("starts", starts, 1),
        ("threads", threads, 1),
        ("adam_steps", adam_steps, 0),
        ("max_steps", max_steps, 0),
        ("draws", draws, 0),
    ):
        if value < least:
            raise DataError(f"`{name}` must be at least {least}; got {value}.")
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
