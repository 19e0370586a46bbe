"""Which parameters a problem has, with their priors and where starts are drawn."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from scipy.stats import truncnorm

from multiscale.assays import Offset
from multiscale.errors import GraphError, nearest
from multiscale.graph import Graph
from multiscale.model.kinetics.dynamics import Dynamics
from multiscale.model.parameters import Block, ParameterTable
from multiscale.model.problem import Problem
from multiscale.model.terms import CountTerm, TableTerm

__all__ = ["graph_block", "parameter_table", "smoothed_levels"]

_ROLES = {"energy": "lin", "loss": "ln", "confinement": "ln"}
_KINETIC_ROLES = dict.fromkeys(
    (
        "k_on",
        "k_off",
        "k_cat",
        "rate_constant",
        "Km",
        "Kd",
        "Ki",
        "K_eq",
        "concentration",
        "exponent",
        "ratio",
    ),
    "ln",
) | {"efficacy": "lin"}
"""Scales on which priors are normal, by role."""

_FRACTION = (0.0, 1.0)
_LN10 = math.log(10.0)

UNCOUNTED_LEVEL = -9.0
"""Prior ln level of a transcript that no assay counts, about one in 10 000 (assumption)."""


def parameter_table(problem: Problem, device: torch.device) -> ParameterTable:
    """Collect the parameters of the graph, of the scales and of the assays."""
    blocks = _graph_blocks(problem)
    if problem.supplied:
        blocks += [_translation_mean(problem), _translation(problem)]
    blocks += [_levels(problem)] if problem.reads_levels else []
    blocks += [_supply(problem) if problem.dynamics is None else _abundance(problem, problem.dynamics)]
    blocks += [_dispersion(term) for term in problem.counts]
    blocks += _assay_blocks(problem)
    blocks += [_network(problem)]
    return ParameterTable([block for block in blocks if block is not None and len(block)], device)


def _graph_blocks(problem: Problem) -> list[Block | None]:
    """Free parameters of the graph: all of an equilibrium, and those that reactions and contexts need."""
    if problem.dynamics is None:
        return [graph_block(problem.graph, role, scale) for role, scale in _ROLES.items()]
    needed = {*problem.dynamics.parameters}
    roles = {"energy": "lin", "confinement": "ln"}
    return [graph_block(problem.graph, role, scale) for role, scale in roles.items()] + [
        graph_block(problem.graph, role, scale, needed) for role, scale in _KINETIC_ROLES.items()
    ]


def graph_block(graph: Graph, role: str, scale: str, needed: set[str] | None = None) -> Block | None:
    """Free parameters of one role of the graph; PEtab priors become normal ones on the block's scale."""
    table = graph.parameters
    table = table[(table["role"] == role) & (table["estimate"].astype(int) == 1)]
    table = table if needed is None else table[table.index.isin(list(needed))]
    if table.empty:
        return None
    rows = [_prior(str(name), row, scale) for name, row in table.iterrows()]
    mean, sd, lower, upper = (np.array(column) for column in zip(*rows, strict=True))
    if role == "efficacy":
        lower, upper = (np.clip(end, *_FRACTION) for end in (lower, upper))
    bounded = bool(np.isfinite(lower).all() and np.isfinite(upper).all())
    units = table["unit"].tolist()
    return Block(
        name=role,
        labels=[str(name) for name in table.index],
        ids=[str(name) for name in table.index],
        mean=mean,
        sd=sd,
        lower=lower if bounded else None,
        upper=upper if bounded else None,
        center=_median(mean, sd, lower, upper) if bounded else mean,
        scale=scale,
        unit=units[0] if len(set(units)) == 1 else units,
        notes=table["note"].fillna("").tolist(),
    )


def _median(mean: np.ndarray, sd: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Median of normal priors within bounds."""
    return truncnorm.median((lower - mean) / sd, (upper - mean) / sd, loc=mean, scale=sd)


def _prior(name: str, row: pd.Series, scale: str) -> tuple[float, float, float, float]:
    """Mean, sd and bounds of one graph parameter on the block's scale."""
    given = str(row["parameterScale"])
    factor = {"lin": 1.0, "log": 1.0, "log10": _LN10}.get(given)
    if factor is None or (scale == "lin") != (given == "lin"):
        expected = "lin" if scale == "lin" else "log or log10"
        raise GraphError(
            f"parameter `{name}`: `parameterScale` must be {expected} for its role; got `{given}`."
        )
    kind = str(row["objectivePriorType"])
    if kind not in ("normal", "parameterScaleNormal") or (kind == "normal" and given != "lin"):
        hint = nearest(kind, ["parameterScaleNormal", "normal"])
        raise GraphError(f"parameter `{name}`: prior `{kind}` is not available for scale `{given}`; {hint}")
    mean, sd = (factor * float(part) for part in str(row["objectivePriorParameters"]).split(";"))
    bounds = [float(row[column]) for column in ("lowerBound", "upperBound")]
    if scale == "ln":
        bounds = [math.log(value) if value > 0 else -math.inf for value in bounds]
    lower, upper = (b if not math.isnan(b) else s * math.inf for b, s in zip(bounds, (-1, 1), strict=True))
    return mean, sd, lower, upper


def _translation_mean(problem: Problem) -> Block:
    mean, sd = problem.priors.translation_mean
    return Block(
        name="translation_mean",
        labels=["all molecules"],
        mean=np.array([mean]),
        sd=np.array([sd]),
        width=np.array([1.0]),
        scale="ln",
        unit="copies per unit of transcript",
        role="mean translation factor",
        notes=["assumed prior"],
    )


def _translation(problem: Problem) -> Block:
    molecules = problem.supplied
    return Block(
        name="translation",
        labels=molecules,
        mean=np.zeros(len(molecules)),
        sd=np.full(len(molecules), problem.priors.translation_sd),
        scale="ln",
        unit="fold of the mean translation factor",
        role="translation factor",
        notes=["only its product with the scales of its instruments is determined by abundances"]
        * len(molecules),
    )


def smoothed_levels(problem: Problem) -> np.ndarray:
    """Transcript levels from counts alone, ln of fractions, shape (context, transcript).

    One typical cell at the level pooled over all contexts is added to every context, which keeps blocks
    without a single count finite. Transcripts that were not counted stand at the prior's pooled level.
    """
    return _observed_levels(problem)[1]


def _observed_levels(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pooled ln level per transcript; smoothed ln level and its rough error per context and transcript."""
    contexts, transcripts = len(problem.contexts), len(problem.network.transcripts)
    pooled = np.full(transcripts, UNCOUNTED_LEVEL)
    smoothed, width = np.full((2, contexts, transcripts), np.nan)
    for term in problem.counts:
        counts, size = _sums(problem, term)
        pooled[term.transcript] = np.log((counts.sum(0) + 0.5) / size.sum())
        typical = size.sum() / len(term.matrix.rows)
        level = np.log((counts + typical * np.exp(pooled[term.transcript])) / (size[:, None] + typical))
        smoothed[:, term.transcript] = level
        width[:, term.transcript] = 1 / np.sqrt(
            1 / problem.priors.level_sd**2 + np.exp(level) * size[:, None] / 2
        )
    smoothed = np.where(np.isnan(smoothed), pooled, smoothed)
    return pooled, smoothed, np.where(np.isnan(width), problem.priors.level_sd, width)


def _levels(problem: Problem) -> Block:
    """Latent transcript levels around the pooled level of each transcript."""
    pooled, smoothed, width = _observed_levels(problem)
    return Block(
        name="level",
        labels=[f"{t} in {c}" for c in problem.contexts.index for t in problem.network.transcripts],
        shape=smoothed.shape,
        mean=np.broadcast_to(pooled, smoothed.shape).ravel(),
        sd=np.full(smoothed.size, problem.priors.level_sd),
        center=smoothed.ravel(),
        width=width.ravel(),
        scale="ln",
        unit="fraction of transcripts",
        role="transcript level",
        per_context=problem.dynamics is None or not problem.dynamics.coupled,
    )


def _sums(problem: Problem, term: CountTerm) -> tuple[np.ndarray, np.ndarray]:
    """Counts and sizes summed per context, shapes (context, feature) and (context,)."""
    rows = term.matrix.rows
    group = problem.contexts.index.get_indexer(pd.Index(rows["context"]))
    cells = sparse.coo_array(
        (np.ones(len(group)), (group, np.arange(len(group)))), (len(problem.contexts), len(group))
    )
    return sparse.csr_array(cells @ term.matrix.values).toarray(), cells @ rows["size_factor"].to_numpy(float)


def _supply(problem: Problem) -> Block | None:
    """Supply of molecules that no transcript encodes, one per context."""
    network = problem.network
    names = [m for m, has in zip(network.molecules, np.any(network.encodes, axis=1), strict=True) if not has]
    labels = [f"{m} in {c}" for c in problem.contexts.index for m in names]
    mean, sd = problem.priors.supply
    return Block(
        name="supply",
        labels=labels,
        shape=(len(problem.contexts), len(names)),
        mean=np.full(len(labels), mean),
        sd=np.full(len(labels), sd),
        scale="ln",
        unit="copies",
        per_context=True,
    )


def _abundance(problem: Problem, dynamics: Dynamics) -> Block | None:
    """What every context has of molecules, relative to the start that all share."""
    names = dynamics.abundances
    labels = [f"{name} in {c}" for c in problem.contexts.index for name in names]
    return Block(
        name="abundance",
        labels=labels,
        shape=(len(problem.contexts), len(names)),
        mean=np.zeros(len(labels)),
        sd=np.full(len(labels), problem.priors.abundance_sd),
        scale="ln",
        unit="fold of the start that all contexts share",
        per_context=not dynamics.coupled,
    )


def _dispersion(term: CountTerm) -> Block:
    count, assay = len(term.features), term.matrix.assay
    return Block(
        name=f"{term.name} dispersion",
        labels=term.features,
        mean=np.full(count, math.log(assay.dispersion_median)),
        sd=np.full(count, assay.dispersion_ln_sd),
        width=np.full(count, 0.5),
        scale="ln",
        role="dispersion",
    )


def _assay_blocks(problem: Problem) -> list[Block]:
    """Offsets, factors and noise of the tables."""
    blocks = []
    for term in problem.tables:
        assay = term.table.assay
        logarithmic = assay.scale.startswith("ln ")
        unit = "1" if logarithmic else assay.scale
        for offset in assay.offsets(term.entries):
            blocks.append(_calibration(term, offset, "ln" if logarithmic else "lin", unit))
        for factor in assay.factors(term.entries):
            blocks.append(_calibration(term, factor, "ln", "1"))
        noise = term.table.assay.noise(term.entries)
        labels = sorted(set(noise.keys[term.entries["sd"].isna()]) - {""})
        blocks.append(
            Block(
                name=f"{term.name} {noise.name}",
                labels=labels,
                mean=np.full(len(labels), math.log(noise.median)),
                sd=np.full(len(labels), noise.ln_sd),
                scale="ln",
                role="noise",
            )
        )
    return blocks


def _calibration(term: TableTerm, offset: Offset, scale: str, unit: str) -> Block:
    """One shift of readings, or of the logarithms of their factors, per key."""
    labels = sorted(set(offset.keys) - {""})
    return Block(
        name=f"{term.name} {offset.name}",
        labels=labels,
        mean=np.full(len(labels), offset.mean),
        sd=np.full(len(labels), offset.sd),
        scale=scale,
        unit=unit,
        role="calibration",
    )


def _network(problem: Problem) -> Block | None:
    """Weights of the energy network."""
    if problem.energy_network is None:
        return None
    named = {n: p.detach().cpu().numpy().ravel() for n, p in problem.energy_network.named_parameters()}
    labels = [f"{name}[{i}]" for name, values in named.items() for i in range(len(values))]
    return Block(
        name="network",
        labels=labels,
        mean=np.zeros(len(labels)),
        sd=np.full(len(labels), problem.priors.network_sd),
        center=np.concatenate(list(named.values())),
        width=np.full(len(labels), 0.3 * problem.priors.network_sd),
    )
