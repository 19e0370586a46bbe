"""What is learned by integrating the energies out: widths of encoders' priors, calibrations and noise.

At the joint mode a prior's width and a noise sd are too small, and a calibration is beside the middle of its
posterior: the many energies that they govern follow them. Their evidence is the posterior's mass with them
given, in Laplace's approximation exp(−loss)/√det H with H the Hessian by the energies. For a width σ it is
largest where

    σ² = Σ w² / (γ − c),   γ = Σ (1 − C_ii/σ²),   c = −∂(½ ln det H)/∂w · dw/d ln σ,

with C = H⁻¹ and γ the number of weights that the data determine; c, zero in linear models, is how the
curvature of the data changes as the mode moves with σ. To the slope of the log posterior by calibrations and
noise s it adds −d(½ ln det H)/ds, the energies following s (`used`): for the noise of linear models the
readings that the energies use up, as in restricted maximum likelihood. These updates and Newton steps of all
parameters take turns; after a loss of evidence half the last step is taken.

Source: MacKay 1992, Neural Computation 4:415, doi:10.1162/neco.1992.4.3.415 (widths, γ); Patterson & Thompson
1971, doi:10.1093/biomet/58.3.545 (noise).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from multiscale.fit.curvature import minimise
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.optimise import Optimum
from multiscale.fit.trace import UNTRACED, Trace
from multiscale.fit.train import Bar
from multiscale.model.molecular import MolecularModel

__all__ = ["LEAST", "Settled", "needs_settling", "settle", "unknowns_of"]

log = logging.getLogger("multiscale")

LEAST = 0.01
"""Width at which a family counts as not supported by the data, kcal/mol: a sixtieth of kT."""

ROUNDS = 15
CALM, CALM_SD = 0.02, 0.1
"""Changes of every ln width, and of calibrations and noise in their sds, below which the iteration ends."""

SMALLEST_SHARE = 0.05  # of a step: with less the evidence does not rise

SLACK = 0.1  # loss of ln evidence that is put down to rounding

LARGEST_STEP = math.log(3.0)  # of a ln width in one round
LARGEST_SHIFT = 2.0  # of a calibration or noise in one round, in its sds

FEW = 0.02
"""Parameters per row below which the joint mode is left as it is: its noise is 1 % too small at most."""


@dataclass(frozen=True, eq=False)
class Settled:
    """Where widths, calibrations and noise settled.

    Args:
        model: with the learned widths.
        optimum: mode of its posterior with `used`, of one start.
        used: slopes that calibrations and noise gained, see `MolecularPosterior`.
        unsupported: names of blocks whose width fell to `LEAST`.
        evidence: ln of it in every round, up to a constant.
    """

    model: MolecularModel
    optimum: Optimum
    used: Tensor
    unsupported: list[str] = field(default_factory=list)
    evidence: list[float] = field(default_factory=list)


def unknowns_of(model: MolecularModel, roles: Sequence[str] = ("calibration", "noise")) -> Tensor:
    """Positions of the parameters of instruments."""
    where = model.parameters.slices()
    found = [where[b.name] for b in model.parameters.blocks if b.role in roles]
    every = [torch.arange(w.start, w.stop) for w in found]
    return torch.cat([torch.zeros(0, dtype=torch.int64), *every]).to(model.device)


def needs_settling(model: MolecularModel) -> bool:
    """Whether widths are to be learned, or many parameters shift calibrations and noise of the mode."""
    rows = min(part.rows for part in model.instruments.values())
    return bool(model.learned) or (bool(len(unknowns_of(model))) and model.parameters.size > FEW * rows)


def settle(
    model: MolecularModel,
    theta: Tensor,
    *,
    max_steps: int = 100,
    rounds: int = ROUNDS,
    tick: Bar | None = None,
    trace: Trace = UNTRACED,
) -> Settled:
    """Find widths, calibrations and noise of largest evidence, and the mode that belongs to them.

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
        "highest": theta.new_tensor(-torch.inf),
        "share": theta.new_tensor(1.0),
    }
    first = now = _mode(model, state, max_steps, tick)
    calm = False
    while len(state["evidence"]) < rounds and not calm:
        state, calm = _ahead(now, state)
        trace.save(state, last=True)
        if not calm:
            now = _mode(model, state, max_steps, tick)
    if not state["highest"].isfinite():
        log.warning("widths and noise were not learned: the search ended at no minimum.")
        return first
    best = {name.removeprefix("best "): value for name, value in state.items() if name.startswith("best ")}
    return _mode(model, best | {"evidence": state["evidence"]}, max_steps, tick)


def _mode(model: MolecularModel, state: dict[str, Tensor], max_steps: int, tick: Bar | None) -> Settled:
    """The model with these widths, and the mode with these slopes."""
    widths = dict(zip(model.learned, state["ln_width"].exp().tolist(), strict=True))
    model = model.with_widths(widths)
    posterior = MolecularPosterior(model, used=state["used"])
    optimum, _ = minimise(posterior, state["theta"], max_steps=max_steps, progress=tick)
    fallen = [name for name, width in widths.items() if width <= 1.001 * LEAST]
    return Settled(model, optimum, state["used"], fallen, state["evidence"].tolist())


def _ahead(now: Settled, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """The next round, and whether it would change nothing to speak of.

    After a loss of evidence it is half the last step.
    """
    posterior, theta = MolecularPosterior(now.model, used=now.used), now.optimum.theta
    factor, failed = torch.linalg.cholesky_ex(posterior.hessian(theta))
    covariance = None if failed else _flat_covariance(now.model, theta, factor)
    evidence = -math.inf if covariance is None else _ln_evidence(now, factor, covariance)
    log.debug("widths %s, ln evidence %.3f", now.model.widths, evidence)
    state = state | {"evidence": torch.cat([state["evidence"], theta.new_tensor([evidence])])}
    if covariance is None or evidence < float(state["highest"]) - SLACK:
        state["share"] = state["share"] / 2
        return _moved(state), bool(state["share"] < SMALLEST_SHARE)
    step, gain, calm = _steps(now, posterior, covariance, state["ln_width"])
    state |= {"best theta": theta, "best ln_width": state["ln_width"], "best used": now.used}
    state |= {"highest": theta.new_tensor(evidence), "share": (2 * state["share"]).clamp(max=1.0)}
    return _moved(state | {"step": step, "gain": gain}), calm


def _steps(
    now: Settled, posterior: MolecularPosterior, covariance: Tensor, ln_width: Tensor
) -> tuple[Tensor, Tensor, bool]:
    """Changes of the ln widths and of `used`, and whether both are small."""
    flat, unknowns = now.model.parameters.flat(now.optimum.theta), unknowns_of(now.model)
    given = _given(covariance, unknowns)
    slope = posterior.ln_det_slope(flat, given)
    gain, shift = _gained(slope, covariance, unknowns, now.used)
    step = _width_step(now.model, slope, flat, given, ln_width)
    step = torch.where((ln_width <= math.log(LEAST)) & (step < 0), 0.0, step)
    return step, gain, bool((step.abs() < CALM).all() and (shift.abs() < CALM_SD).all())


def _moved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The best round so far, moved by a share of the step from there."""
    if "best theta" not in state:
        return state
    ln_width = state["best ln_width"] + state["share"] * state["step"]
    used = state["best used"] + state["share"] * state["gain"]
    return state | {
        "theta": state["best theta"],
        "ln_width": ln_width.clamp(min=math.log(LEAST)),
        "used": used,
    }


def _ln_evidence(now: Settled, factor: Tensor, covariance: Tensor) -> float:
    """−loss − ½ ln det H by all but the instruments' unknowns, up to a constant."""
    unknowns, flat = unknowns_of(now.model), now.model.parameters.flat(now.optimum.theta)[0]
    joint = float(now.optimum.loss[0]) + float((now.used * flat).sum())
    own = covariance[unknowns][:, unknowns]
    return -joint - float(factor.diagonal().log().sum()) - 0.5 * float(torch.linalg.slogdet(own)[1])


def _widths(model: MolecularModel) -> Tensor:
    """ln widths of the families that are learned, as they are now."""
    now = [float(model.parameters[name].prior_sd()[0]) for name in model.learned]
    return torch.tensor(now, dtype=torch.float64, device=model.device).log()


def _flat_covariance(model: MolecularModel, theta: Tensor, factor: Tensor) -> Tensor:
    """Covariance of the flat values, with one more row and column of zeros."""
    leaf = theta.detach().clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(model.parameters.flat(leaf).sum(), leaf)
    size = theta.shape[1]
    covariance = theta.new_zeros(size + 1, size + 1)
    covariance[:size, :size] = slope[0][:, None] * torch.cholesky_inverse(factor) * slope[0]
    return covariance


def _given(covariance: Tensor, unknowns: Tensor) -> Tensor:
    """Covariance of all others where the instruments' unknowns are given; zero for these."""
    cross = covariance[:, unknowns]
    found = covariance - cross @ torch.linalg.solve(cross[unknowns], cross.T)
    found[unknowns], found[:, unknowns] = 0.0, 0.0
    return found


def _gained(slope: Tensor, covariance: Tensor, unknowns: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """What the slopes of the instruments' unknowns gain, and how far that would move these, in their sds.

    Args:
        slope: of ½ ln det H by all values, with H that of the others.
        covariance: of all values.
        unknowns: positions.
        before: slopes gained so far.
    """
    used, own = torch.zeros_like(slope), covariance[unknowns][:, unknowns]
    others = slope.index_fill(0, unknowns, 0.0)
    along = torch.linalg.solve(own, covariance[unknowns, :-1] @ others)  # as the others follow
    used[unknowns] = -slope[unknowns] - along
    shift = own @ (used - before)[unknowns] / own.diagonal().sqrt()
    share = (LARGEST_SHIFT / shift.abs().amax().clamp(min=LARGEST_SHIFT)) if len(shift) else 1.0
    return share * (used - before), shift


def _width_step(
    model: MolecularModel, slope: Tensor, flat: Tensor, given: Tensor, ln_width: Tensor
) -> Tensor:
    """Change of every ln width towards the fixed point."""
    found: list[Tensor] = []
    for where, now in zip(model.learned.values(), ln_width, strict=True):
        weights, precision = flat[0, where], (-2 * now).exp()
        gamma = (1 - precision * given.diagonal()[where]).sum()
        moves = given[:-1, where] @ (2 * precision * weights)  # of the mode, by ln σ
        scatter = precision * weights.square().sum()
        left = (gamma + slope @ moves).clamp(min=1e-3 * len(weights))
        found.append(((scatter / left).clamp(min=1e-12).log() / 2).clamp(-LARGEST_STEP, LARGEST_STEP))
    return torch.stack(found) if found else ln_width
