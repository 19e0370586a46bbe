"""Intervals of everything that follows from theta, from draws of the posterior."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.errors import DataError
from multiscale.fit.laplace import LEVEL, Laplace
from multiscale.model import Model
from multiscale.model.model import State
from multiscale.model.pairs import pair_activities, pair_state
from multiscale.model.readings import TableReading
from multiscale.model.terms import CountTerm
from multiscale.physics.scales import ln_sum

__all__ = ["Intervals", "bound_fraction", "propagate", "propagate_table"]

log = logging.getLogger("multiscale")

DRAWS_AT_ONCE = 100  # solved in one batch, which bounds the memory


@dataclass(frozen=True)
class Intervals:
    """Lower and upper ends by name of the quantity, without the axis of starts.

    Args:
        lower: per quantity.
        upper: per quantity.
    """

    lower: dict[str, np.ndarray]
    upper: dict[str, np.ndarray]


def quantities(model: Model, state: State) -> dict[str, Tensor]:
    """All quantities that tables show, each (start, ...)."""
    found = {
        "g": state.g,
        "ln_x": state.ln_x,
        "mean_ln_x": state.ln_x.mean(1),
        "mean_ln_total": state.ln_total.mean(1),
        "bound": bound_fraction(model, state),
        "activity": model.activities(state),
    }
    if model.problem.dynamics is not None:
        found["x"] = state.x
    pairs = pair_state(model, state)
    if pairs is not None:
        found["occupancy"] = pairs.occupancy
        found["pair_activity"] = pair_activities(model, state, pairs)
    return found


def bound_fraction(model: Model, state: State) -> Tensor:
    """Fraction of its scarcest subunit that every complex within cells holds, (start, context, complex).

    The scarcest subunit is the one of which the complex holds the largest part: max over m of A_mj x_j / T_m.
    """
    network = model.problem.network
    first = len(network.molecules)
    formula = network.formula[:, first:]
    share = state.ln_x.new_zeros((*state.ln_x.shape[:2], formula.shape[1]))
    ln_total = ln_sum(state.ln_x, model.tensor(network.formula))
    for m, j in zip(*np.nonzero(formula), strict=True):
        held = float(formula[m, j]) * (state.ln_x[..., first + j] - ln_total[..., m]).exp()
        share[..., j] = torch.maximum(share[..., j], held)
    return share


def propagate(
    model: Model, approximation: Laplace, draws: int = 1000, seed: int = 0, level: float = LEVEL
) -> Intervals:
    """Central intervals of every quantity, and of every reading with its noise.

    Args:
        model: the model.
        approximation: posterior of theta.
        draws: number of draws; ends of a 90 % interval then vary by about 2/√draws of an sd.
        seed: of the draws.
        level: probability inside.
    """
    return _summarise(
        model,
        approximation,
        lambda state, generator: quantities(model, state) | predicted(model, state, generator),
        (draws, seed, level),
    )


def propagate_table(
    model: Model, approximation: Laplace, table: str, draws: int = 1000, seed: int = 0, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Central interval of a new measurement of every entry of one table, lower and upper, each (entry,)."""

    def reading(state: State, generator: torch.Generator) -> dict[str, Tensor]:
        return {table: _new_reading(model.readings[table], state, generator)}

    found = _summarise(model, approximation, reading, (draws, seed, level))
    return found.lower[table], found.upper[table]


def _summarise(
    model: Model,
    approximation: Laplace,
    quantities_of: Callable[[State, torch.Generator], dict[str, Tensor]],
    budget: tuple[int, int, float],
) -> Intervals:
    """Quantiles of quantities over draws, those left out of which a context was not solved."""
    draws, seed, level = budget
    generator = torch.Generator().manual_seed(seed + 1)
    parts: dict[str, list[np.ndarray]] = {}
    for chunk in approximation.draws(draws, seed).split(DRAWS_AT_ONCE):
        with torch.no_grad():
            state = model.state(chunk)
            found = quantities_of(state, generator)
        for name, value in found.items():
            parts.setdefault(name, []).append(value[state.solved].cpu().numpy())
    values = {name: np.concatenate(part) for name, part in parts.items()}
    kept = len(next(iter(values.values())))
    if not kept:
        raise DataError("intervals need states, and none of the draws of the posterior has one.")
    lower, upper = (
        {name: np.quantile(value, 0.5 + sign * level / 2, axis=0) for name, value in values.items()}
        for sign in (-1, 1)
    )
    if kept < draws:
        log.warning("intervals: %d of %d draws were not solved and are left out", draws - kept, draws)
    return Intervals(lower, upper)


def _new_reading(reading: TableReading, state: State, generator: torch.Generator) -> Tensor:
    """Draw a new measurement of every entry at every state, (start, entry)."""
    location = reading.location(state)
    noise = torch.randn(location.shape, generator=generator, dtype=location.dtype)
    return location + reading.noise(state) * noise.to(location.device)


def predicted(model: Model, state: State, generator: torch.Generator) -> dict[str, Tensor]:
    """New measurements of every table and count assay at these states, noise included.

    Counts are sums over the cells of a context. Their negative binomials have one r but other means, so that
    the sum is drawn from the negative binomial of the same mean and variance.
    """
    found = {
        f"reading {name}": _new_reading(reading, state, generator) for name, reading in model.readings.items()
    }
    for term, _, transcript in model.count_terms:
        size, square = context_sizes(model, term)
        ln_rate = state.ln_level[:, :, transcript]
        r = state.values[f"{term.name} dispersion"].exp()[:, None]
        mean, extra = ln_rate.exp() * size, (2 * ln_rate).exp() * square / r
        shape = (mean * mean / extra).cpu().numpy()
        random = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        rate = random.gamma(shape) * (mean.cpu().numpy() / shape)
        found[f"reading {term.name}"] = torch.as_tensor(random.poisson(rate).astype(float))
    return found


def context_sizes(model: Model, term: CountTerm) -> tuple[Tensor, Tensor]:
    """Sums over the observed cells of size factors and of their squares, each (context, feature)."""
    matrix, contexts = term.matrix, model.problem.contexts.index
    size = matrix.rows["size_factor"].to_numpy(float)[:, None]
    seen = np.ones((1, len(matrix.features))) if matrix.mask is None else matrix.mask
    group = contexts.get_indexer(pd.Index(matrix.rows["context"]))
    sums = []
    for weight in (size * seen, size**2 * seen):
        total = np.zeros((len(contexts), weight.shape[1]))
        np.add.at(total, group, weight)
        sums.append(model.tensor(total))
    return sums[0], sums[1]
