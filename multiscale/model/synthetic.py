"""Data drawn from the model itself: the same design, another truth, and what its instruments would read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from scipy.stats import truncnorm
from torch import Tensor

from multiscale.assays import Assay
from multiscale.data import CountMatrix, Data, MeasurementTable
from multiscale.errors import AssayError, DataError
from multiscale.model.blocks import parameter_table
from multiscale.model.model import Model, State
from multiscale.model.parameters import Block, ParameterTable
from multiscale.model.problem import Problem
from multiscale.model.readings import TableReading
from multiscale.model.terms import CountTerm

__all__ = ["Simulation", "draw_prior", "synthesise"]


@dataclass(frozen=True)
class Simulation:
    """A problem whose truth is known.

    Args:
        problem: graph, contexts, priors and design of the original, with drawn measurements. Measurements
            that the graph does not explain are left out.
        theta: the truth in the coordinates of this problem, shape (1, parameter). Those of transcript levels
            are scaled by the counts, so that the original's `theta` would mean something else here.
    """

    problem: Problem
    theta: Tensor


def synthesise(problem: Problem, theta: Tensor | None = None, seed: int = 0) -> Simulation:
    """Draw every measurement of a problem from its own likelihood.

    Counts are negative binomial around size · level; entries of tables are normal around their location. An
    entry that is censored states a limit, which belongs to the design: a reading that is drawn beyond it is
    censored there again, one on the other side of it is exact. An exact entry states no limit and stays
    exact, wherever it is drawn.

    One prior is made from the data: that of transcript levels is centred on the level pooled over contexts.
    A truth is drawn around the pooled levels of the original, while the problem returned has its own. Since
    pooling averages levels and not their logarithms, the new centre lies above the centre of the draws, on
    average by 1.5 for ten contexts and a `level_sd` of 2 (at most by level_sd²/2). Where counts determine a
    level this does not matter; a level with hardly a count is estimated too high by part of it.

    Args:
        problem: graph, contexts, design and priors.
        theta: the truth in the coordinates of `problem`, shape (1, parameter); drawn from the priors if None.
        seed: of all draws; the global random states are untouched.

    Raises:
        DataError: `theta` has another shape, a prior is flat, or the state of the truth has no solution.
        AssayError: a table is not read with the normal likelihood.
    """
    prior, noise = np.random.default_rng(seed).spawn(2)
    model = Model(problem)
    truth = draw_prior(model.parameters, prior) if theta is None else _checked(theta, model.parameters)
    with torch.no_grad():
        state = _solved(model, truth)
        drawn: list[CountMatrix | MeasurementTable] = [
            _draw_counts(problem, term, state, noise) for term in problem.counts
        ]
        drawn += [_draw_table(reading, state, noise) for reading in model.readings.values()]
    simulated = _with_measurements(problem, drawn)
    values = {name: value[0].numpy() for name, value in state.values.items()}
    return Simulation(simulated, parameter_table(simulated, torch.device("cpu")).pack(values))


def draw_prior(parameters: ParameterTable, generator: np.random.Generator) -> Tensor:
    """Draw from the priors: normal on each block's scale, truncated to the bounds of a bounded block.

    `ParameterTable.sample` draws starting points of an optimiser, which lie around the data instead.

    Returns:
        theta, shape (1, parameter).

    Raises:
        DataError: a prior is flat.
    """
    return parameters.pack({block.name: _draw_block(block, generator) for block in parameters.blocks})


def _draw_block(block: Block, generator: np.random.Generator) -> np.ndarray:
    mean, sd = np.asarray(block.mean, dtype=float), np.asarray(block.sd, dtype=float)
    flat = ~np.isfinite(sd)
    if flat.any():
        raise DataError(
            f"`{block.name} {block.labels[int(np.argmax(flat))]}` has a flat prior, from which nothing can "
            "be drawn; give its prior a finite standard deviation, or give `theta`."
        )
    if block.lower is None or block.upper is None:
        return generator.normal(mean, sd)
    below, above = (block.lower - mean) / sd, (block.upper - mean) / sd
    return truncnorm(below, above, loc=mean, scale=sd).rvs(size=len(block), random_state=generator)


def _checked(theta: Tensor, parameters: ParameterTable) -> Tensor:
    if theta.shape != (1, parameters.size):
        raise DataError(
            f"`theta` must hold all parameters in one row, shape (1, {parameters.size}); got "
            f"{tuple(theta.shape)}."
        )
    return theta.detach().to("cpu", torch.float64)


def _solved(model: Model, theta: Tensor) -> State:
    """State of the truth; the first context without a solution is named."""
    state = model.state(theta)
    if not bool(state.solved.all()):
        worst = model.problem.contexts.index[int(state.status[0].argmax())]
        raise DataError(
            f"`theta`: the equilibrium in context `{worst}` has no solution; draw it with another `seed`."
        )
    return state


def _draw_counts(
    problem: Problem, term: CountTerm, state: State, generator: np.random.Generator
) -> CountMatrix:
    """Negative binomial counts: Poisson around means that are gamma distributed with shape r."""
    matrix, rows = term.matrix, term.matrix.rows
    context = problem.contexts.index.get_indexer(rows["context"].to_numpy())
    level = state.ln_level[0].numpy()[np.ix_(context, term.transcript)]
    mean = rows["size_factor"].to_numpy(float)[:, None] * np.exp(level)
    r = np.exp(state.values[f"{term.name} dispersion"][0].numpy())
    counts = generator.poisson(generator.gamma(r, mean / r)).astype(float)
    if matrix.mask is not None:
        counts *= matrix.mask
    return replace(matrix, values=sparse.csr_array(counts), provenance=_simulated(matrix.provenance))


def _draw_table(reading: TableReading, state: State, generator: np.random.Generator) -> MeasurementTable:
    """Normal readings, censored at the limits that the entries state."""
    term = reading.term
    table = term.table
    if type(table.assay).log_prob is not Assay.log_prob:
        raise AssayError(
            f"`{term.name}`: {type(table.assay).__name__} has a likelihood of its own; readings are drawn "
            "from normal ones only."
        )
    location, sd = reading.location(state)[0].numpy(), reading.noise(state)[0].numpy()
    y = generator.normal(location, sd)
    entries = term.entries.set_index("entry")
    limit, side = entries["y"].to_numpy(float), entries["censoring"].to_numpy(np.int64)
    beyond = side * (y - limit) > 0
    drawn = entries.assign(y=np.where(beyond, limit, y), censoring=np.where(beyond, side, 0))
    return replace(table, entries=drawn, provenance=_simulated(table.provenance))


def _simulated(provenance: Mapping[str, object]) -> dict[str, object]:
    return {**provenance, "simulated": True}


def _with_measurements(problem: Problem, drawn: Sequence[CountMatrix | MeasurementTable]) -> Problem:
    """The same question about other measurements."""
    data = problem.data
    provenance = {item.name: _simulated(data.provenance.get(item.name, {})) for item in drawn}
    return Problem(
        problem.graph,
        Data(data.contexts, {item.name: item for item in drawn}, provenance),
        regime=problem.regime,
        temperature=problem.temperature,
        priors=problem.priors,
        energy_network=problem.energy_network,
        features=_features(problem),
        strict=False,
        solver=problem.solver,
    )


def _features(problem: Problem) -> pd.DataFrame | None:
    """Features of all species, as the table that a problem takes."""
    if problem.features is None:
        return None
    return pd.DataFrame(problem.features.cpu().numpy(), index=pd.Index(problem.network.all_species))
