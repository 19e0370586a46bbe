"""From many starts to the mode of a molecular posterior.

Starts are cheap to tell apart on few rows, and Newton's method on all rows needs few steps from where few
rows led it. So all starts are searched in one batch on a small part of the rows, the best distinct ones go on
by Newton's method on a larger part, and those that may still win on all rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from multiscale.fit.checkpoint import Checkpoint
from multiscale.fit.molecular.descent import descend
from multiscale.fit.molecular.operator import Curvature
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.optimise import Optimum, adam, lbfgs
from multiscale.fit.trace import Trace
from multiscale.fit.train import Bar
from multiscale.model.molecular import MolecularModel

__all__ = ["part_of", "search"]

SCREEN = 40_000
"""Starts times rows of every readings on which the batch is searched."""

FEWEST = 2_000  # rows of the screen, however many starts there are
PILOT = 20_000
"""Rows of every readings on which the best starts are finished before all rows are taken."""

KEPT = 3
"""Most starts that are finished on the pilot."""

WINDOW = 0.001
"""Starts above the best loss on the pilot by more than this share of the drop from the centre are dropped."""

SAME = 2.0  # two points are in one basin if the parabola of one rises by less than this to the other, in nats


def part_of(model: MolecularModel, most: int, seed: int) -> Mapping[str, Tensor]:
    """Draw rows of readings that have more than `most`; those with fewer are not named and count whole."""
    generator, chosen = Generator().manual_seed(seed), {}
    for name, part in model.instruments.items():
        if part.rows > most:
            drawn = torch.randperm(part.rows, generator=generator)[:most]
            chosen[name] = drawn.sort().values.to(model.device)
    return chosen


def search(
    model: MolecularModel,
    *,
    starts: int,
    seed: int,
    adam_steps: int = 100,
    max_steps: int = 100,
    tick: Bar | None = None,
    checkpoint: Checkpoint | None = None,
    save_every_s: float = 20.0,
    exact: bool = True,
) -> Optimum:
    """Find the mode of the posterior.

    Args:
        model: the model.
        starts: number of starting points.
        seed: of starting points and of the rows of the pilot.
        adam_steps: steps of Adam on the screen.
        max_steps: most quasi-Newton steps on the screen, and most steps of Newton's method later.
        tick: told the step and the loss.
        checkpoint: keeps every stage; what it holds already is carried on.
        save_every_s: least time between two saves, s.
        exact: whether the best starts go on by Newton's method.

    Returns:
        one row per start, its loss that of all rows; the best ones are minima, the others stand where the
        screen left them.
    """
    screen = MolecularPosterior(model, part_of(model, max(FEWEST, SCREEN // starts), seed))
    first = model.parameters.sample(starts, Generator().manual_seed(seed)) * model.spread
    trace = _traces(checkpoint, screen, model.device, save_every_s)
    theta = adam(screen, first, adam_steps, progress=tick, trace=trace("adam"))
    found = lbfgs(screen, theta, max_steps, progress=tick, trace=trace("lbfgs"))
    if not exact:
        return found
    pilot = MolecularPosterior(model, part_of(model, PILOT, seed))
    candidates = _distinct(found, pilot, max_steps, tick, trace)
    return _finish(model, found, _promising(candidates, pilot), max_steps, tick, trace)


def _traces(
    checkpoint: Checkpoint | None, posterior: MolecularPosterior, device: torch.device, every_s: float
):
    """Traces by stage."""

    def trace(stage: str) -> Trace:
        return Trace(checkpoint, f"fit.{stage}", posterior, device, every_s)

    return trace


def _distinct(
    found: Optimum, pilot: MolecularPosterior, max_steps: int, tick: Bar | None, trace
) -> dict[int, Optimum]:
    """Minima on the pilot from the best starts, one per basin; two starts in one basin are enough."""
    minima: dict[int, tuple[Optimum, Tensor | Curvature]] = {}
    loss = torch.nan_to_num(found.loss, nan=torch.inf)
    for start in torch.argsort(loss).tolist()[:KEPT]:
        theta = found.theta[start][None]
        if not torch.isfinite(loss[start]):
            break
        minimum, hessian = descend(
            pilot, theta, max_steps=max_steps, progress=tick, trace=trace(f"pilot.{start}")
        )
        if any(_near(minimum.theta - m.theta, h) for m, h in minima.values()):
            break
        minima[start] = minimum, hessian
    return {start: minimum for start, (minimum, _) in minima.items()}


def _near(move: Tensor, hessian: Tensor | Curvature) -> bool:
    if isinstance(hessian, Tensor) and not hessian.numel():
        return False
    product = hessian @ move[0] if isinstance(hessian, Tensor) else hessian.times(move[0])
    return 0.5 * float(move[0] @ product) < SAME


def _promising(minima: dict[int, Optimum], pilot: MolecularPosterior) -> dict[int, Optimum]:
    """Those whose loss on the pilot leaves a chance on all rows."""
    if not minima:
        return {}
    lowest = min(float(m.loss) for m in minima.values())
    centre = float(pilot(torch.zeros_like(next(iter(minima.values())).theta)))
    window = max(WINDOW * (centre - lowest), SAME)
    return {start: m for start, m in minima.items() if float(m.loss) <= lowest + window}


def _finish(
    model: MolecularModel, found: Optimum, minima: dict[int, Optimum], max_steps: int, tick: Bar | None, trace
) -> Optimum:
    """Minimise on all rows, and give every start its loss there."""
    posterior = MolecularPosterior(model)
    theta, gradient = found.theta.clone(), found.gradient.clone()
    reason, steps = found.reason.clone(), found.steps.clone()
    for start, minimum in minima.items():
        ended, _ = descend(
            posterior, minimum.theta, max_steps=max_steps, progress=tick, trace=trace(f"all.{start}")
        )
        theta[start], gradient[start], reason[start] = ended.theta[0], ended.gradient[0], ended.reason[0]
        steps[start] += minimum.steps[0] + ended.steps[0]
    with torch.no_grad():
        loss = torch.cat([posterior(one[None]) for one in theta])
    return Optimum(theta, torch.nan_to_num(loss, nan=torch.inf), gradient, reason, steps)
