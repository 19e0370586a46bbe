"""Fits of PEtab problems from many starts at once, that go on after an interruption."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from multiscale import atomic
from multiscale.errors import DataError
from multiscale.fit.petab.objective import Objective
from multiscale.fit.petab.starts import Sampling, draw
from multiscale.fit.trust_region import Ended, Evaluate, Evaluation, Search, Tolerances, begin, iterate

__all__ = ["MultiStart", "Settings", "evaluator", "multistart"]

log = logging.getLogger("multiscale.fit.petab")

_ROUNDS = 10
_SAVE_EVERY = 10.0  # s


@dataclass(frozen=True)
class Settings:
    """How starts are drawn and searches end.

    Args:
        starts: how many.
        seed: equal seeds give equal results.
        sampling: see `starts.draw`.
        tolerances: see `trust_region.Tolerances`.
        screen: random points per start, of which the best are the starts; 1 = every point is a start.
    """

    starts: int = 64
    seed: int = 1
    sampling: Sampling = "latin"
    tolerances: Tolerances = field(default_factory=Tolerances)
    screen: int = 1


@dataclass(frozen=True)
class MultiStart:
    """Where all searches ended.

    Args:
        search: points and objective, in the order of the starts.
        begun: the starts, shape (start, parameter).
        redrawn: how many points were drawn again because the model could not be simulated there.
        seconds: spent in the search.
    """

    search: Search
    begun: np.ndarray
    redrawn: int
    seconds: float

    @property
    def order(self) -> np.ndarray:
        """Starts, best first."""
        return np.argsort(self.search.at.value, kind="stable")


def evaluator(objective: Objective) -> Evaluate:
    """Negative log posterior with gradient and Fisher information, +inf where the simulation failed."""

    def evaluate(theta: np.ndarray) -> Evaluation:
        found = objective.gradient(theta)
        value = -(found.llh + found.prior)
        good = np.isfinite(value) & np.isfinite(found.gradient).all(1) & np.isfinite(found.fisher).all((1, 2))
        return Evaluation(
            np.where(good, value, np.inf),
            np.where(good[:, None], -found.gradient, 0.0),
            np.where(good[:, None, None], found.fisher, 0.0),
        )

    return evaluate


def multistart(
    objective: Objective,
    settings: Settings | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[Search], None] | None = None,
) -> MultiStart:
    """Search from many starts at once.

    Args:
        objective: of the problem.
        settings: number of starts and how they are drawn.
        checkpoint: file that holds the state of the search, written every ten seconds and at the end; where
            it exists, the search goes on from it.
        progress: called after every iteration.

    Raises:
        DataError: the model cannot be simulated at any start, or the checkpoint is of another fit.
    """
    settings = settings or Settings()
    evaluate, began = evaluator(objective), time.perf_counter()
    lower, upper = (np.tile(bound, (settings.starts, 1)) for bound in (objective.lower, objective.upper))
    state = _load(checkpoint, objective, settings)
    if state is None:
        points, redrawn = _possible(objective, settings)
        state = MultiStart(begin(evaluate, points, lower, upper), points, redrawn, 0.0)
    search, spent, saved = state.search, state.seconds, time.perf_counter()

    def current() -> MultiStart:
        return MultiStart(search, state.begun, state.redrawn, spent + time.perf_counter() - began)

    while (search.ended == Ended.RUNNING).any():
        search = iterate(search, evaluate, lower, upper, settings.tolerances)
        if progress is not None:
            progress(search)
        if checkpoint is not None and time.perf_counter() - saved > _SAVE_EVERY:
            _save(checkpoint, current(), objective, settings)
            saved = time.perf_counter()
    found = current()
    if checkpoint is not None:
        _save(checkpoint, found, objective, settings)
    return found


def _possible(objective: Objective, settings: Settings) -> tuple[np.ndarray, int]:
    """Starts at which the model can be simulated; others are drawn again, up to ten times."""
    points, loss = _screened(objective, settings)
    redrawn, wrong = 0, ~np.isfinite(loss)
    for attempt in range(1, _ROUNDS):
        if not wrong.any():
            break
        fresh = draw(
            objective.problem, settings.starts, settings.seed + 1_000_003 * attempt, settings.sampling
        )
        points[wrong] = fresh[wrong]
        redrawn += int(wrong.sum())
        again = np.zeros_like(wrong)
        again[wrong] = _impossible(objective, points[wrong])
        wrong = again
    if wrong.all():
        reason = objective.value(points[:1]).message[0]
        raise DataError(
            f"{objective.problem.path}: the model could be simulated at none of {settings.starts * _ROUNDS}"
            f" random points within the bounds ({reason}); narrow the bounds."
        )
    if redrawn:
        log.info("%d starts were drawn again because the model could not be simulated there", redrawn)
    return points, redrawn


def _screened(objective: Objective, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """The best of `screen` random points per start, and the objective there."""
    count = settings.starts * settings.screen
    points = draw(objective.problem, count, settings.seed, settings.sampling)
    found = objective.value(points)
    loss = -(found.llh + found.prior)
    loss = np.where(np.isfinite(loss), loss, np.inf)
    best = np.argsort(loss, kind="stable")[: settings.starts] if settings.screen > 1 else np.arange(count)
    return points[best], loss[best]


def _impossible(objective: Objective, points: np.ndarray) -> np.ndarray:
    return ~np.isfinite(objective.value(points).llh)


def _key(objective: Objective, settings: Settings) -> str:
    """What must be the same for a search to go on."""
    ends = [objective.lower.tolist(), objective.upper.tolist()]
    return json.dumps(
        [objective.names, ends, settings.starts, settings.seed, settings.sampling, settings.screen]
    )


def _save(path: Path, state: MultiStart, objective: Objective, settings: Settings) -> None:
    search, buffer = state.search, io.BytesIO()
    np.savez(
        buffer,
        key=np.array(_key(objective, settings)),
        x=search.x,
        value=search.at.value,
        gradient=search.at.gradient,
        hessian=search.at.hessian,
        radius=search.radius,
        calm=search.calm,
        ended=search.ended,
        rest=search.rest,
        corrected=search.corrected,
        trace=np.array(search.trace),
        iteration=np.array(search.iteration),
        begun=state.begun,
        redrawn=np.array(state.redrawn),
        seconds=np.array(state.seconds),
    )
    with atomic.replace(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _load(path: Path | None, objective: Objective, settings: Settings) -> MultiStart | None:
    if path is None or not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            content = dict(file)
        if str(content["key"]) != _key(objective, settings):
            raise DataError(
                f"{path}: is the search of another fit (other parameters, bounds, starts or seed); give"
                " another folder or the same settings."
            )
        at = Evaluation(content["value"], content["gradient"], content["hessian"])
        search = Search(
            content["x"],
            at,
            content["radius"],
            content["calm"],
            content["ended"],
            content["rest"],
            content["corrected"],
            int(content["iteration"]),
            list(content["trace"]),
        )
        return MultiStart(search, content["begun"], int(content["redrawn"]), float(content["seconds"]))
    except (OSError, KeyError, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be read as the state of a search ({error}); remove it.") from None
