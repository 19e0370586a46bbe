"""Fits of cells with hidden readings: a graph, its controls and simple predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multiscale.data.cells import Cells
from multiscale.errors import DataError
from multiscale.fit.cells.baselines import METHODS
from multiscale.fit.cells.heldout import (
    KINDS,
    baseline,
    hide,
    judge_hidden,
    messages_near,
    principal_components,
)
from multiscale.fit.cells.scores import crps
from multiscale.fit.cells.train import fit_cells
from multiscale.fit.checkpoint import Saved
from multiscale.fit.tasks import Task
from multiscale.graph import Graph, rewire, without_complexes
from multiscale.model.cells import CellProblem
from multiscale.model.cells.priors import CellPriors
from multiscale.model.network import Network

__all__ = [
    "FLAT",
    "GRAPH",
    "MODELS",
    "REWIRED",
    "WITHOUT",
    "HeldOut",
    "Trial",
    "subunit_correlation",
    "subunit_pairs",
    "transcripts_of",
]

GRAPH, FLAT, WITHOUT = "graph", "no complexes", "no graph"
MODELS = (GRAPH, FLAT, WITHOUT)
"""What is fitted in every split."""

REWIRED = "rewired "
"""Begins the names of models with exchanged subunits; their number follows."""

MESSAGE = "message"
"""The simple prediction of features that were never measured; see `messages_near`."""


class Trial(NamedTuple):
    """A prediction of a split.

    Args:
        method: a model, or one of `baselines.METHODS`.
        kind: what is hidden, one of `heldout.KINDS`.
        seed: of split and fit.
    """

    method: str
    kind: str
    seed: int

    @property
    def name(self) -> str:
        """For a file."""
        return f"{self.kind}-{self.seed}-{self.method.replace(' ', '_')}"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Cells, a graph, and what is asked of it.

    Args:
        cells: readings of all modalities, nothing hidden but what was not measured.
        graph: whose help is judged.
        name: modality of which readings are hidden, counts.
        rna: modality of the messages.
        direct: feature → what it reads in the graph without complexes, where `targets` names some.
        genes: feature → its transcripts, where `targets` names a sum.
        shares: by kind of split, of what is hidden.
        latent: dimensions of the latent state.
        priors: see `CellPriors`.
        fit: options of `fit_cells`.
        draws: readings drawn of every cell, for expectation and CRPS.
        components: principal components of the messages that simple predictions see.
    """

    cells: Cells
    graph: Graph
    name: str = "protein"
    rna: str = "rna"
    direct: Mapping[str, str] = field(default_factory=dict)
    genes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shares: Mapping[str, float] = field(
        default_factory=lambda: {"cells": 0.2, "entries": 0.1, "features": 0.2}
    )
    latent: int = 10
    priors: CellPriors = field(default_factory=CellPriors)
    fit: Mapping[str, Any] = field(default_factory=dict)
    draws: int = 100
    components: int = 30

    def trials(self, seeds: int, rewirings: int, rewired_seeds: int = 1) -> list[Trial]:
        """All models and baselines in every split, rewired graphs in the first ones."""
        found = []
        for kind in KINDS:
            simple = (MESSAGE,) if kind == "features" else METHODS
            found += [Trial(m, kind, seed) for seed in range(seeds) for m in (*simple, *MODELS)]
            found += [
                Trial(f"{REWIRED}{number}", kind, seed)
                for seed in range(min(seeds, rewired_seeds))
                for number in range(rewirings)
            ]
        return found

    def task(self, trial: Trial) -> Task:
        """The trial as a piece of work that another process can do; it gives the arrays of `run`."""
        return Task(trial.name, run, (self, trial))

    def hidden(self, trial: Trial) -> NDArray[np.bool_]:
        """What a trial hides, shape (cell, feature); features only among those that have transcripts."""
        among = list(self.transcripts) if trial.kind == "features" else ()
        return hide(self.cells, self.name, trial.kind, trial.seed, self.shares[trial.kind], among)

    @property
    def transcripts(self) -> dict[str, list[str]]:
        """Transcripts in the data of every feature that the graph explains."""
        return transcripts_of(CellProblem(self.graph, self.cells), self.name, self.rna) | {
            feature: [*genes] for feature, genes in self.genes.items()
        }

    def problem(self, method: str, cells: Cells) -> CellProblem:
        """A model of cells of which readings are hidden."""
        graph: Graph | None = self.graph
        if method == WITHOUT:
            graph = None
        elif method == FLAT:
            graph, cells = without_complexes(self.graph), _redirected(cells, self.name, self.direct)
        elif method != GRAPH:
            graph = rewire(self.graph, int(method.removeprefix(REWIRED)))
        return CellProblem(graph, cells, latent=self.latent, priors=self.priors)

    def scores(self, trial: Trial, saved: Saved) -> pd.DataFrame:
        """Scores of one trial, see `judge_hidden`; features that were never measured have ranks alone."""
        hidden, found = self.hidden(trial), saved.arrays
        table = judge_hidden(self.cells, self.name, hidden, found["expected"], found.get("crps"))
        table = table.drop(columns="rmse") if trial.kind == "features" else table
        return table.assign(method=trial.method, kind=trial.kind, seed=trial.seed)


def run(study: HeldOut, trial: Trial) -> Saved:
    """Predict what a trial hides.

    Returns:
        `expected` of readings as ln(1 + count) and their `crps`, shape (cell, feature); of models of the
        graph also `ln_total`, (cell, molecule). Its notes hold the bound at the end, `elbo` (nats per cell),
        or what a baseline chose.
    """
    hidden = study.hidden(trial)
    if trial.method in METHODS or trial.method == MESSAGE:
        return _simple(study, trial, hidden)
    problem = study.problem(trial.method, study.cells.hide(study.name, hidden))
    result = fit_cells(problem, accelerator="cpu", progress=False, seed=trial.seed, **study.fit)
    arrays: dict[str, np.ndarray] = {}
    if trial.kind == "features":
        arrays["expected"] = _unmeasured(study, trial, result)
    else:
        drawn = result.sample(draws=study.draws, modalities=[study.name])[study.name]
        arrays |= _predictive(study, np.log1p(drawn.astype(np.float64)))
    if problem.physics is not None:
        arrays["ln_total"] = np.log(result.totals.to_numpy(float))
    last = result.history.iloc[-1]
    notes = {"elbo": float(result.history["watched_elbo"].max()), "epochs": len(result.history)}
    return Saved(arrays, notes | {"failed": int(last["failed"]), "active_units": int(result.active_units)})


def _simple(study: HeldOut, trial: Trial, hidden: NDArray[np.bool_]) -> Saved:
    inputs = principal_components(study.cells, study.rna, study.components)
    if trial.method == MESSAGE:
        expected, chosen = messages_near(
            study.cells, study.rna, study.name, hidden, study.transcripts, inputs
        )
        return Saved({"expected": expected}, {"chosen": chosen})
    found = baseline(
        *(trial.method, trial.kind, study.cells, study.name, hidden, inputs),
        draws=study.draws,
        seed=trial.seed,
    )
    arrays = _predictive(study, found.draws) | {"expected": found.expected}
    return Saved(arrays, {} if np.isnan(found.setting) else {"chosen": found.setting})


def _predictive(study: HeldOut, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Expectation and CRPS of draws of ln(1 + count)."""
    part = study.cells.modalities[study.name]
    readings = np.log1p(part.values(np.arange(len(study.cells))).astype(np.float64))
    return {"expected": drawn.mean(0), "crps": crps(drawn, readings)}


def _unmeasured(study: HeldOut, trial: Trial, result: Any) -> np.ndarray:
    """What ranks cells by features that they never showed; without a graph the expected own transcripts."""
    part = study.cells.modalities[study.name]
    if trial.method != WITHOUT:
        return np.log1p(result.predict(draws=0, modalities=[study.name])[study.name].expected.to_numpy(float))
    levels = result.predict(draws=0, modalities=[study.rna])[study.rna].expected
    size = study.cells.modalities[study.rna].size
    found = np.zeros((len(study.cells), len(part.features)))
    for feature, genes in study.transcripts.items():
        found[:, part.features.index(feature)] = np.log1p(levels[genes].sum(axis=1).to_numpy() / size)
    return found


def transcripts_of(problem: CellProblem, name: str, rna: str) -> dict[str, list[str]]:
    """Transcripts of the features that read a molecule; those that read a sum, or have none, are left out.

    Raises:
        DataError: no feature has any.
    """
    physical, linked = problem.readings[name].physical, problem.readings[rna].linked
    found: dict[str, list[str]] = {}
    if physical is not None and linked is not None:
        genes = [problem.cells.modalities[rna].features[i] for i in linked.position]
        for position, target in zip(physical.position, physical.names, strict=True):
            if target in problem.molecules:
                weight = linked.weight[:, problem.molecules.index(target)]
                own = [gene for gene, share in zip(genes, weight, strict=True) if share > 0]
                found |= {problem.cells.modalities[name].features[position]: own} if own else {}
    if not found:
        raise DataError(f"no feature of `{name}` reads a molecule that a transcript of `{rna}` encodes.")
    return found


def _redirected(cells: Cells, name: str, direct: Mapping[str, str]) -> Cells:
    """Features that read something else."""
    part = cells.modalities[name]
    channel = replace(part.channel, targets={**part.channel.targets, **direct})
    return replace(cells, modalities={**cells.modalities, name: replace(part, channel=channel)})


def subunit_pairs(graph: Graph) -> list[tuple[str, str]]:
    """Pairs of different molecules that are in one complex."""
    network = Network.from_graph(graph)
    found = set()
    for column in (network.formula > 0).T:
        found |= set(combinations(np.flatnonzero(column).tolist(), 2))
    return [(network.molecules[i], network.molecules[j]) for i, j in sorted(found)]


def subunit_correlation(
    ln_total: np.ndarray, molecules: Sequence[str], pairs: Sequence[tuple[str, str]], batch: NDArray
) -> float:
    """Mean over pairs of Pearson's r between ln totals over cells, each batch about its own mean.

    Pairs of which one is the same in all cells, or unknown, count not.

    Args:
        ln_total: shape (cell, molecule).
        molecules: names of the columns.
        pairs: of molecules.
        batch: of every cell, shape (cell,).
    """
    centred = np.array(ln_total, dtype=np.float64)
    for code in np.unique(batch):
        centred[batch == code] -= centred[batch == code].mean(0)
    size = np.sqrt((centred**2).sum(0))
    column = {name: i for i, name in enumerate(molecules)}
    found = []
    for first, second in pairs:
        if first in column and second in column:
            i, j = column[first], column[second]
            if size[i] * size[j] > 0:
                found.append(float(centred[:, i] @ centred[:, j] / (size[i] * size[j])))
    return float(np.mean(found)) if found else float("nan")


Tail = Literal["higher", "lower"]


def share_beaten(value: float, others: Sequence[float], better: Tail) -> float:
    """Share of controls that are worse than a value.

    >>> share_beaten(2.0, [1.0, 3.0], "higher")
    0.5
    """
    below = np.asarray(others) < value if better == "higher" else np.asarray(others) > value
    return float(below.mean())
