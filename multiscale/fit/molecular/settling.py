"""Widths of priors and noise of largest evidence for more parameters than a dense Hessian can have.

The same fixed points as in `evidence`, with traces from draws: γ = Σ (1 − C_ii/σ²) is the mean of Σ (z_i² −
δ_i²/σ²), δ a draw of the posterior made of z, which scatters far less than Σ δ_i² as δ_i ≈ σ z_i wherever the
prior decides. Calibrations and noise are held while the others move and then follow alone, since with about
as many weights as rows their joint mode is where noise is none.

Source: MacKay 1992, Neural Computation 4:415, doi:10.1162/neco.1992.4.3.415.
"""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from multiscale.fit.molecular.evidence import LEAST, Settled, unknowns_of
from multiscale.fit.molecular.iterative import Solver, minimise_iteratively
from multiscale.fit.molecular.operator import Curvature, Landscape
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.molecular.samples import Drawn, draw
from multiscale.fit.molecular.thirds import contracted
from multiscale.fit.optimise import Optimum, Progress, evaluate
from multiscale.fit.trace import UNTRACED, Trace
from multiscale.model.molecular import MolecularModel

__all__ = ["settle_by_draws"]

log = logging.getLogger("multiscale")

DRAWN = 16
"""Draws per round, the same numbers in every round."""

ROUNDS = 30
CALM = 0.02
"""Change of every ln width and every noise parameter at which the iteration ends."""

LARGEST_STEP = math.log(3.0)  # of a ln width in one round
NEAR = 1e-4  # relative residual of how far the mode moves with a width
SLACK = 0.1  # loss of ln evidence that is put down to draws
MOST = 64  # calibrations and noise that move together; more move one by one
FARTHEST = 1.0  # that one of them goes in one round, in its unit of theta


def settle_by_draws(
    model: MolecularModel,
    theta: Tensor,
    *,
    max_steps: int = 100,
    rounds: int = ROUNDS,
    tick: Progress | None = None,
    trace: Trace = UNTRACED,
) -> Settled:
    """Find widths and noise of largest evidence, and the mode that belongs to them.

    Args:
        model: with the widths to begin with.
        theta: near the mode, shape (1, parameter).
        max_steps: most Newton steps in a round.
        rounds: most rounds.
        tick: told the step and the loss.
        trace: keeps every round; what it holds already is carried on.
    """
    unknowns, state = unknowns_of(model), trace.load() or _first(model, theta)
    landscape, calm = Landscape(MolecularPosterior(model)), False
    while len(state["evidence"]) < rounds and not calm:
        model = _with_widths(model, state["ln_width"])
        landscape = landscape.of(MolecularPosterior(model, used=state["used"]))
        optimum, curvature = minimise_iteratively(
            landscape.posterior, state["theta"], max_steps, tick, landscape=landscape, held=unknowns
        )
        state, calm = _ahead(landscape, optimum, curvature, state)
        log.debug("widths %s, ln evidence %.3f", model.widths, float(state["evidence"][-1]))
        trace.save(state, last=True)
    model = _with_widths(model, state["ln_width"])
    landscape = landscape.of(MolecularPosterior(model, used=state["used"]))
    optimum, _ = minimise_iteratively(
        landscape.posterior, state["theta"], max_steps, tick, landscape=landscape
    )
    fallen = [name for name, width in model.widths.items() if width <= 1.001 * LEAST]
    return Settled(model, optimum, state["used"], fallen, state["evidence"].tolist())


def _first(model: MolecularModel, theta: Tensor) -> dict[str, Tensor]:
    now = [float(model.parameters[name].prior_sd()[0]) for name in model.learned]
    ln_width = torch.tensor(now, dtype=torch.float64, device=model.device).log()
    return {
        "theta": theta,
        "ln_width": ln_width,
        "used": torch.zeros_like(theta[0]),
        "evidence": theta.new_zeros(0),
    }


def _with_widths(model: MolecularModel, ln_width: Tensor) -> MolecularModel:
    return model.with_widths(dict(zip(model.learned, ln_width.exp().tolist(), strict=True)))


def _ahead(
    landscape: Landscape, optimum: Optimum, held: Curvature, state: dict[str, Tensor]
) -> tuple[dict[str, Tensor], bool]:
    """What the next round begins with, and whether it would change nothing to speak of."""
    posterior, theta, solver = landscape.posterior, optimum.theta, Solver.of(held)
    drawn, now = draw(solver, DRAWN, seed=0), state["ln_width"]
    slope = _ln_det_slope(landscape, held, theta, drawn)
    steps = [_step(solver, drawn, held.slope * slope, theta, w) for w in posterior.model.learned.values()]
    step = torch.stack(steps) if steps else now
    joint = float(optimum.loss[0]) + float((state["used"] * held.flat[0]).sum())
    evidence, before = theta.new_tensor([-joint - drawn.half_ln_det]), state["evidence"]
    if len(before) and evidence < before[-1] - SLACK:  # went too far: a shorter step now
        step = step / 2
    ln_width = (now + step).clamp(min=math.log(LEAST))
    used, moved = _follow(landscape, theta, solver, slope)
    following = {
        "theta": moved,
        "ln_width": ln_width,
        "used": used,
        "evidence": torch.cat([before, evidence]),
    }
    return following, bool((torch.cat([ln_width - now, (moved - theta)[0]]).abs() < CALM).all())


def _ln_det_slope(landscape: Landscape, curvature: Curvature, theta: Tensor, drawn: Drawn) -> Tensor:
    """Derivative of ½ ln det H by the flat values, (parameter,): −½ Σ_rows tr(V ∂h/∂u), V of the draws."""
    posterior, total = landscape.posterior, torch.zeros_like(theta[0])
    flat = posterior.model.parameters.flat(theta).detach()
    for name, variance in curvature.row_variances(drawn.deviations).items():
        part, chosen = posterior.model.instruments[name], posterior.rows.get(name)
        with torch.no_grad():
            u = part.scalars_of(flat, chosen)
        third = [
            contracted(part, u[:, piece], rows, variance[piece]) for piece, rows in posterior.pieces(name, 4)
        ]
        total -= (
            posterior.factor(name) / 2 * landscape.lines[name].transpose(torch.cat(third)[..., None])[:, 0]
        )
    return total


def _step(solver: Solver, drawn: Drawn, slope: Tensor, theta: Tensor, where: slice) -> Tensor:
    """Change of one ln width towards its fixed point."""
    own, weights, pull = solver.curvature.prior[where], theta[0, where], torch.zeros_like(theta[0])
    gamma = (drawn.z[where].square() - own[:, None] * drawn.deviations[where].square()).sum(0).mean()
    pull[where] = 2 * own * weights
    left = gamma + slope @ solver.solve(pull[:, None], NEAR)[:, 0]
    wanted = (own * weights.square()).sum() / left.clamp(min=1e-3 * len(weights))
    return (wanted.clamp(min=1e-12).log() / 2).clamp(-LARGEST_STEP, LARGEST_STEP)


def _follow(landscape: Landscape, theta: Tensor, solver: Solver, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes that the instruments' unknowns gain, and theta with these moved one step on.

    Args:
        landscape: of the posterior.
        theta: mode for given unknowns, shape (1, parameter).
        solver: of the Hessian by all others.
        slope: of ½ ln det of that Hessian by the flat values.
    """
    model, used, moved = landscape.posterior.model, torch.zeros_like(slope), theta.clone()
    unknowns, curvature = unknowns_of(model), landscape.at(theta)
    if not len(unknowns):
        return used, theta
    others = solver.solve((solver.curvature.slope * slope)[:, None], NEAR)[:, 0]
    along = -curvature.times(others)[unknowns]  # as the others follow
    used[unknowns] = -slope[unknowns] - along / curvature.slope[unknowns]
    rows = torch.zeros(1, dtype=torch.int64, device=theta.device)
    _, gradient = evaluate(MolecularPosterior(model, used=used), theta, rows)
    step = torch.linalg.solve(_left(curvature, solver, unknowns), gradient[0, unknowns])
    moved[0, unknowns] -= step.clamp(-FARTHEST, FARTHEST)
    return used, moved


def _left(curvature: Curvature, solver: Solver, unknowns: Tensor) -> Tensor:
    """Curvature along the instruments' unknowns, the others following; of noise for given others.

    How much of the rows the others use up changes with the noise, which makes its own curvature an
    untrustworthy guide.
    """
    own = torch.maximum(curvature.diagonal, curvature.prior)[unknowns]
    if len(unknowns) > MOST:
        return torch.diag(own)
    unit = torch.zeros(curvature.size, len(unknowns), dtype=own.dtype, device=own.device)
    unit[unknowns, torch.arange(len(unknowns))] = 1.0
    product = curvature.times(unit)
    cross = product.index_fill(0, unknowns, 0.0)
    left = product[unknowns] - cross.T @ solver.solve(cross, NEAR)
    noise = torch.isin(unknowns, unknowns_of(curvature.landscape.posterior.model, ("noise",)))
    left[noise], left[:, noise] = 0.0, 0.0
    left[noise, noise] = own[noise]
    return torch.diag(own) if torch.linalg.cholesky_ex(left)[1] else (left + left.T) / 2
