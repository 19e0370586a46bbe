"""From where the starts ended to the modes of the posterior: exact minima, noise, and how much lies around.

Starts that ended in the same basin give one mode. At a mode the noise is that of the readings which the other
parameters leave over (`degrees`). The mass around a mode is its Laplace approximation, exp(−loss) / √det H: a
narrow optimum that is a little higher than a broad one holds less of the posterior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from multiscale.fit.curvature import minimise
from multiscale.fit.degrees import used_degrees
from multiscale.fit.objective import Posterior
from multiscale.fit.optimise import Optimum
from multiscale.model import Model

__all__ = ["finish", "restricted"]

WINDOW = 8.0
"""Starts whose loss is more than this above the best are no candidates, in nats."""

MOST = 3
"""Modes that are looked for; those of lowest loss come first."""

SAME = 2.0
"""Two points are in one basin if the parabola of one rises by less than this to the other, in nats."""

ROUNDS = 6  # of the iteration for the noise; 2 to 4 are the rule
SETTLED = 0.01
"""Relative change of the readings used up at which the iteration for the noise ends."""


@dataclass(frozen=True)
class _Mode:
    """One mode: the minimum near its start, with the curvature there, and where it is with its own noise."""

    start: int
    joint: Optimum
    curvature: Tensor
    ended: Optimum
    used: Tensor
    evidence: float


def finish(model: Model, optimum: Optimum) -> Optimum:
    """Replace the starts that ended best, one per basin, by modes of the posterior; others stay.

    Args:
        model: the model.
        optimum: where the search ended.

    Returns:
        the same with `evidence` and `used` of the modes.
    """
    modes: list[_Mode] = []
    candidates = torch.argsort(optimum.loss)
    for start in candidates[optimum.loss[candidates] <= optimum.loss.min() + WINDOW].tolist():
        theta = optimum.theta[start][None]
        if len(modes) == MOST or _known(theta, modes):
            continue
        joint, curvature = minimise(Posterior(model), theta, local=model.parameters.local())
        if not _known(joint.theta, modes):
            modes.append(_mode(model, start, joint, curvature))
    return _with_modes(optimum, modes)


def _known(theta: Tensor, modes: list[_Mode]) -> bool:
    """Whether a point is in the basin of a mode."""
    moves = [(theta - mode.joint.theta)[0] for mode in modes]
    return any(0.5 * float(d @ mode.curvature @ d) < SAME for d, mode in zip(moves, modes, strict=True))


def _mode(model: Model, start: int, joint: Optimum, curvature: Tensor) -> _Mode:
    """Estimate the noise at a minimum, and weigh the mode."""
    if torch.linalg.cholesky_ex(curvature)[1]:
        return _Mode(start, joint, curvature, joint, torch.zeros_like(joint.theta), -torch.inf)
    ended, used, matrix = restricted(model, joint, curvature)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    loss = Posterior(model)(ended.theta, torch.zeros(1, dtype=torch.int64, device=ended.theta.device))
    evidence = -torch.inf if failed else -float(loss) - float(factor.diagonal().log().sum())
    return _Mode(start, joint, curvature, ended, used, evidence)


def restricted(
    model: Model,
    joint: Optimum,
    curvature: Tensor,
    weights: Mapping[str, Tensor] | None = None,
    rounds: int = ROUNDS,
) -> tuple[Optimum, Tensor, Tensor]:
    """Move a minimum to where the noise is that of the readings left over by the other parameters.

    Args:
        model: the model.
        joint: minimum of one start.
        curvature: Hessian there, positive definite.
        weights: see `Posterior`, with one row.
        rounds: most iterations; one is a good approximation.

    Returns:
        the new minimum, the readings used up (see `Posterior`), and the Hessian there.
    """
    local, ended, matrix = model.parameters.local(), joint, curvature
    used = torch.zeros_like(joint.theta)
    for _ in range(rounds):
        found = used_degrees(model, ended.theta, matrix, weights)
        if bool(((found - used).abs() <= SETTLED * found.abs()).all()):
            break
        used, posterior = found, Posterior(model, weights, used=found)
        ended, matrix = minimise(posterior, ended.theta, local=local)
        if torch.linalg.cholesky_ex(matrix)[1]:
            break
    return ended, used, matrix


def _with_modes(optimum: Optimum, modes: list[_Mode]) -> Optimum:
    values = {f.name: getattr(optimum, f.name) for f in fields(optimum) if f.name not in ("evidence", "used")}
    values = {name: value.clone() for name, value in values.items()}
    evidence = torch.full_like(optimum.loss, -torch.inf)
    used = torch.zeros_like(optimum.theta)
    for mode in modes:
        for name in ("gradient", "reason"):
            values[name][mode.start] = getattr(mode.ended, name)[0]
        values["theta"][mode.start] = mode.ended.theta[0]
        values["loss"][mode.start] = mode.joint.loss[0]  # comparable with those of the other starts
        values["steps"][mode.start] += mode.joint.steps[0]
        evidence[mode.start], used[mode.start] = mode.evidence, mode.used[0]
    return Optimum(**values, evidence=evidence, used=used)
