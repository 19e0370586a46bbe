"""Widths of priors and noise of largest evidence for more parameters than a dense Hessian can have.

The same fixed points as in `evidence`, with traces from draws: γ = Σ (1 − C_ii/σ²) is the mean of Σ (z_i² − δ_i²/σ²), δ a draw of the
posterior made of z, which scatters far less than Σ δ_i² as δ_i ≈ σ z_i wherever the prior decides. Noise is held while the others move
and then follows alone, since with about as many weights as rows their joint mode is where noise is none.

Source: MacKay 1992, Neural Computation 4:415, doi:10.1162/neco.1992.4.3.415; traces: Hutchinson 1990, doi:10.1080/03610919008812866.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from multiscale.fit.molecular.iterative import Solver, minimise_iteratively
from multiscale.fit.molecular.operator import Curvature, Landscape
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.molecular.samples import Drawn, draw
from multiscale.fit.molecular.thirds import contracted
from multiscale.fit.optimise import Optimum, Progress, evaluate
from multiscale.fit.trace import UNTRACED, Trace
from multiscale.model.molecular import MolecularModel

__all__ = ["Balance", "noise_of", "settle_by_draws"]

log = logging.getLogger("multiscale")

DRAWN = 16
"""Draws per round, the same numbers in every round."""

ROUNDS = 30
CALM = 0.02
"""Change of every ln width and every noise parameter (in its own sds of start) at which the iteration ends."""

LARGEST_STEP = math.log(3.0)  # of a ln width in one round
FARTHEST = 1.0  # that a noise parameter goes in one round, in its unit of theta


@dataclass(frozen=True, eq=False)
class Balance:
    """Where widths and noise settled.

    Args:
        model: with these widths.
        optimum: mode of its posterior with `used`, of one start.
        used: slopes that the noise parameters gained, see `MolecularPosterior`.
        evidence: ln of it in every round, up to a constant.
    """

    model: MolecularModel
    optimum: Optimum
    used: Tensor
    evidence: list[float]


def noise_of(model: MolecularModel) -> Tensor:
    """Positions of the noise parameters."""
    where = model.parameters.slices()
    found = [where[b.name] for b in model.parameters.blocks if b.role == "noise"]
    every = [torch.arange(w.start, w.stop) for w in found]
    return torch.cat([torch.zeros(0, dtype=torch.int64), *every]).to(model.device)


def settle_by_draws(
    model: MolecularModel,
    theta: Tensor,
    *,
    max_steps: int = 100,
    rounds: int = ROUNDS,
    least: float = 0.01,
    tick: Progress | None = None,
    trace: Trace = UNTRACED,
) -> Balance:
    """Find widths and noise of largest evidence, and the mode that belongs to them.

    Args:
        model: with the widths to begin with.
        theta: near the mode, shape (1, parameter).
        max_steps: most Newton steps in a round.
        rounds: most rounds.
        least: smallest width, kcal/mol.
        tick: told the step and the loss.
        trace: keeps every round; what it holds already is carried on.
    """
    noise, state = noise_of(model), trace.load() or _first(model, theta)
    landscape, calm = Landscape(MolecularPosterior(model)), False
    while len(state["evidence"]) < rounds and not calm:
        model = _with_widths(model, state["ln_width"])
        landscape = landscape.of(MolecularPosterior(model, used=state["used"]))
        optimum, curvature = minimise_iteratively(
            landscape.posterior, state["theta"], max_steps, tick, landscape=landscape, held=noise
        )
        state, calm = _ahead(landscape, optimum, curvature, state, math.log(least))
        log.debug("widths %s, ln evidence %.3f", model.widths, float(state["evidence"][-1]))
        trace.save(state, last=True)
    model = _with_widths(model, state["ln_width"])
    landscape = landscape.of(MolecularPosterior(model, used=state["used"]))
    optimum, _ = minimise_iteratively(landscape.posterior, state["theta"], max_steps, tick, landscape=landscape)
    return Balance(model, optimum, state["used"], state["evidence"].tolist())


def _first(model: MolecularModel, theta: Tensor) -> dict[str, Tensor]:
    now = [float(model.parameters[name].prior_sd()[0]) for name in model.learned]
    ln_width = torch.tensor(now, dtype=torch.float64, device=model.device).log()
    return {"theta": theta, "ln_width": ln_width, "used": torch.zeros_like(theta[0]), "evidence": theta.new_zeros(0)}


def _with_widths(model: MolecularModel, ln_width: Tensor) -> MolecularModel:
    return model.with_widths(dict(zip(model.learned, ln_width.exp().tolist(), strict=True)))


def _ahead(
    landscape: Landscape, optimum: Optimum, curvature: Curvature, state: dict[str, Tensor], least: float
) -> tuple[dict[str, Tensor], bool]:
    """What the next round begins with, and whether it would change nothing to speak of."""
    posterior, theta = landscape.posterior, optimum.theta
    solver = Solver.of(curvature)
    drawn = draw(solver, DRAWN, seed=0)
    slope = _ln_det_slope(landscape, curvature, theta, drawn)
    step = _width_step(posterior.model, solver, theta, drawn, slope)
    evidence = -float(optimum.loss[0]) - float((state["used"] * posterior.model.parameters.flat(theta)[0]).sum())
    evidence -= drawn.half_ln_det
    before = state["evidence"]
    if len(before) and evidence < float(before[-1]) - 0.1:  # went too far: a shorter step now
        step = step / 2
    ln_width = (state["ln_width"] + step).clamp(min=least)
    noise, used = noise_of(posterior.model), torch.zeros_like(theta[0])
    used[noise] = -slope[noise]
    moved = _follow(landscape.of(MolecularPosterior(posterior.model, used=used)), theta, noise)
    change = torch.cat([ln_width - state["ln_width"], (moved - theta)[0, noise]])
    following = {"theta": moved, "ln_width": ln_width, "used": used}
    following["evidence"] = torch.cat([before, before.new_tensor([evidence])])
    return following, bool((change.abs() < CALM).all())


def _ln_det_slope(landscape: Landscape, curvature: Curvature, theta: Tensor, drawn: Drawn) -> Tensor:
    """Derivative of ½ ln det H by the flat values, (parameter,): ½ Σ_rows tr(V ∂h/∂u), with V of the draws."""
    posterior, total = landscape.posterior, torch.zeros_like(theta[0])
    flat = posterior.model.parameters.flat(theta).detach()
    for name, variance in curvature.row_variances(drawn.deviations).items():
        part, chosen = posterior.model.instruments[name], posterior.rows.get(name)
        with torch.no_grad():
            u = part.scalars_of(flat, chosen)
        third = [contracted(part, u[:, piece], rows, variance[piece]) for piece, rows in posterior._pieces(name, 4)]
        total -= posterior._factor(name) / 2 * landscape.lines[name].transpose(torch.cat(third)[..., None])[:, 0]
    return total


def _width_step(model: MolecularModel, solver: Solver, theta: Tensor, drawn: Drawn, slope: Tensor) -> Tensor:
    """Change of every ln width towards the fixed point, see `evidence`."""
    found, precision = [torch.zeros(0, dtype=theta.dtype, device=theta.device)], solver.curvature.prior
    for where in model.learned.values():
        own, weights = precision[where], theta[0, where]
        gamma = (drawn.z[where].square() - own[:, None] * drawn.deviations[where].square()).sum(0).mean()
        pull = torch.zeros_like(theta[0])
        pull[where] = 2 * own * weights
        moves = solver.curvature.slope * solver.solve(pull[:, None])[:, 0]
        left = (gamma + slope @ moves).clamp(min=1e-3 * len(weights))
        wanted = (own * weights.square()).sum() / left
        found.append((wanted.clamp(min=1e-12).log() / 2).clamp(-LARGEST_STEP, LARGEST_STEP)[None])
    return torch.cat(found)


def _follow(landscape: Landscape, theta: Tensor, noise: Tensor) -> Tensor:
    """The noise parameters one Newton step on, all others held."""
    if not len(noise):
        return theta
    rows = torch.zeros(1, dtype=torch.int64, device=theta.device)
    _, gradient = evaluate(landscape.posterior, theta, rows)
    curvature = landscape.at(theta)
    own = torch.maximum(curvature.diagonal, curvature.prior)[noise]
    moved = theta.clone()
    moved[0, noise] -= (gradient[0, noise] / own).clamp(-FARTHEST, FARTHEST)
    return moved
