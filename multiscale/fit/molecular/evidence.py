"""What is learned by integrating the other parameters out: widths of encoders' priors, and noise.

At the joint mode a prior's width and a noise sd are both too small: the parameters that they govern use up part of the scatter. Their
evidence is the posterior's mass with them given, in Laplace's approximation exp(−loss)/√det H. For a width σ it is largest where

    σ² = Σ w² / (γ − c),   γ = Σ (1 − C_ii/σ²),   c = −∂(½ ln det H)/∂w · dw/d ln σ,

with γ the number of weights that the data determine; c, zero in linear models, is how the curvature of the data changes as the mode
moves with σ. For the noise parameters it adds −∂(½ ln det H)/∂s to the slope of the log posterior, with H and its inverse those of the
other parameters (`used`): in linear models the readings that they use up, as in restricted maximum likelihood. Both updates and Newton
steps of all parameters take turns.

Source: MacKay 1992, Neural Computation 4:415, doi:10.1162/neco.1992.4.3.415 (widths, γ); Patterson & Thompson 1971,
doi:10.1093/biomet/58.3.545 (noise).
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from multiscale.fit.curvature import minimise
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.optimise import Optimum
from multiscale.fit.trace import UNTRACED, Trace
from multiscale.fit.train import Bar
from multiscale.model.molecular import MolecularModel

__all__ = ["LEAST", "Settled", "needs_settling", "settle"]

log = logging.getLogger("multiscale")

LEAST = 0.01
"""Width at which a family counts as not supported by the data, kcal/mol: a sixtieth of kT."""

ROUNDS = 15
CALM = 0.02
"""Change of every ln width, and of every ln noise that the next round would make, at which the iteration ends."""

LARGEST_STEP = math.log(3.0)  # of a ln width in one round

FEW = 0.02
"""Parameters per row below which the noise of the joint mode is left as it is: it is too small by less than a hundredth."""


@dataclass(frozen=True, eq=False)
class Settled:
    """Where widths and noise settled.

    Args:
        model: with the learned widths.
        optimum: mode of its posterior with `used`, of one start.
        used: slopes that the noise parameters gained, see `MolecularPosterior`.
        unsupported: names of blocks whose width fell to `LEAST`.
        evidence: ln of it in every round, up to a constant.
    """

    model: MolecularModel
    optimum: Optimum
    used: Tensor
    unsupported: list[str] = field(default_factory=list)
    evidence: list[float] = field(default_factory=list)


def needs_settling(model: MolecularModel) -> bool:
    """Whether widths are to be learned, or there are so many parameters that the noise of the joint mode is too small."""
    rows = min(part.rows for part in model.instruments.values())
    return bool(model.learned) or (bool(len(_noise(model))) and model.parameters.size > FEW * rows)


def settle(
    model: MolecularModel,
    theta: Tensor,
    *,
    max_steps: int = 100,
    rounds: int = ROUNDS,
    tick: Bar | None = None,
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
    state = trace.load() or {
        "theta": theta,
        "ln_width": _widths(model),
        "used": torch.zeros_like(theta[0]),
        "evidence": theta.new_zeros(0),
    }
    best = None
    while len(state["evidence"]) <= rounds:
        now = _mode(model, state, max_steps, tick)
        ahead = _ahead(now, state)
        if ahead is None:
            log.warning("widths and noise did not settle: no minimum was found for %s.", now.model.widths)
            break
        best = now
        if ahead.calm:
            break
        state = ahead.state
        trace.save(state, last=True)
    return best or now


@dataclass(frozen=True, eq=False)
class _Ahead:
    """The next round, and whether it would change nothing to speak of."""

    state: dict[str, Tensor]
    calm: bool


def _mode(model: MolecularModel, state: dict[str, Tensor], max_steps: int, tick: Bar | None) -> Settled:
    """The model with these widths, and the mode with these slopes of the noise."""
    widths = dict(zip(model.learned, state["ln_width"].exp().tolist(), strict=True))
    model = model.with_widths(widths)
    posterior = MolecularPosterior(model, used=state["used"])
    optimum, _ = minimise(posterior, state["theta"], max_steps=max_steps, progress=tick)
    fallen = [name for name, width in widths.items() if width <= 1.001 * LEAST]
    return Settled(model, optimum, state["used"], fallen, state["evidence"].tolist())


def _ahead(now: Settled, state: dict[str, Tensor]) -> _Ahead | None:
    """What the next round begins with; None where the last one ended at no minimum."""
    posterior, theta = MolecularPosterior(now.model, used=now.used), now.optimum.theta
    factor, failed = torch.linalg.cholesky_ex(posterior.hessian(theta))
    if failed:
        return None
    flat = now.model.parameters.flat(theta)
    joint = float(now.optimum.loss[0]) + float((now.used * flat[0]).sum())
    evidence = -joint - float(factor.diagonal().log().sum())
    log.debug("widths %s, ln evidence %.3f", now.model.widths, evidence)
    covariance = _flat_covariance(now.model, theta, factor)
    used, noise_step = _slopes_of_noise(now.model, posterior, flat, covariance, now.used)
    step = _width_step(now.model, posterior, flat, covariance, state["ln_width"])
    before = state["evidence"]
    if len(before) and evidence < float(before[-1]) - 0.1:  # went too far: shorter steps from now on
        step = step / 2
    ln_width = (state["ln_width"] + step).clamp(min=math.log(LEAST))
    moved = torch.cat([ln_width - state["ln_width"], noise_step])
    following = {
        "theta": theta,
        "ln_width": ln_width,
        "used": used,
        "evidence": torch.cat([before, before.new_tensor([evidence])]),
    }
    return _Ahead(following, bool((moved.abs() < CALM).all()))


def _widths(model: MolecularModel) -> Tensor:
    """ln widths of the families that are learned, as they are now."""
    now = [float(model.parameters[name].prior_sd()[0]) for name in model.learned]
    return torch.tensor(now, dtype=torch.float64, device=model.device).log()


def _noise(model: MolecularModel) -> Tensor:
    """Positions of the noise parameters."""
    where = model.parameters.slices()
    found = [torch.arange(where[b.name].start, where[b.name].stop) for b in model.parameters.blocks if b.role == "noise"]
    return torch.cat([torch.zeros(0, dtype=torch.int64), *found]).to(model.device)


def _flat_covariance(model: MolecularModel, theta: Tensor, factor: Tensor) -> Tensor:
    """Covariance of the flat values, with one more row and column of zeros."""
    leaf = theta.detach().clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(model.parameters.flat(leaf).sum(), leaf)
    size = theta.shape[1]
    covariance = theta.new_zeros(size + 1, size + 1)
    covariance[:size, :size] = slope[0][:, None] * torch.cholesky_inverse(factor) * slope[0]
    return covariance


def _slopes_of_noise(
    model: MolecularModel, posterior: MolecularPosterior, flat: Tensor, covariance: Tensor, before: Tensor
) -> tuple[Tensor, Tensor]:
    """Slopes that the noise parameters gain, and how far these will move them."""
    noise, used = _noise(model), torch.zeros_like(flat[0])
    if not len(noise):
        return used, used[:0]
    cross, own = covariance[:, noise], covariance[noise][:, noise]
    given = covariance - cross @ torch.linalg.solve(own, cross.T)  # of the others for given noise
    used[noise] = -posterior.ln_det_slope(flat, given)[noise]
    return used, own.diagonal() * (used - before)[noise]


def _width_step(
    model: MolecularModel, posterior: MolecularPosterior, flat: Tensor, covariance: Tensor, ln_width: Tensor
) -> Tensor:
    """Change of every ln width towards the fixed point."""
    if not model.learned:
        return ln_width
    slope, found = posterior.ln_det_slope(flat, covariance), []
    for where, now in zip(model.learned.values(), ln_width, strict=True):
        weights, precision = flat[0, where], (-2 * now).exp()
        gamma = (1 - precision * covariance.diagonal()[where]).sum()
        moves = covariance[:-1, where] @ (2 * precision * weights)  # of the mode, by ln σ
        scatter = precision * weights.square().sum()
        left = (gamma + slope @ moves).clamp(min=1e-3 * len(weights))
        found.append(((scatter / left).clamp(min=1e-12).log() / 2).clamp(-LARGEST_STEP, LARGEST_STEP))
    return torch.stack(found)
