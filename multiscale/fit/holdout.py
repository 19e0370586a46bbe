"""Judging a fit on entries it has not seen, beside controls on the same split with as many starts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.errors import DataError, nearest
from multiscale.fit.baselines import BASELINES, predict_held_out
from multiscale.fit.checkpoint import Checkpoint, Saved
from multiscale.fit.curvature import minimise
from multiscale.fit.evaluation import Evaluation, Settings, paired_bootstrap, rmse
from multiscale.fit.finish import restricted
from multiscale.fit.laplace import Laplace
from multiscale.fit.objective import Posterior
from multiscale.fit.propagate import propagate_table
from multiscale.fit.tasks import Task, complete
from multiscale.fit.train import limit_threads, summary, train
from multiscale.graph import Graph, rewire, without_complexes
from multiscale.model import Model, Problem
from multiscale.model.blocks import smoothed_levels
from multiscale.model.terms import PROCESS_READOUTS, TableTerm

__all__ = [
    "Evaluation",
    "Settings",
    "Split",
    "cross_validate",
    "paired_bootstrap",
    "rmse",
    "subunit_digest",
]

log = logging.getLogger("multiscale")

ENDS = ("lower", "upper")


def cross_validate(
    problem: Problem,
    table: str,
    unit: Sequence[str],
    settings: Settings,
    rewirings: int = 0,
    progress: bool = True,
    *,
    workers: int = 1,
    checkpoint: Checkpoint | None = None,
) -> Evaluation:
    """Predict every entry of a table from fits that did not see its unit.

    Args:
        problem: the full problem.
        table: name of the table.
        unit: `("target", "context")` holds out a molecule in a context with all its rows, `("target",)` whole
            molecules.
        settings: budget, the same for the model and its controls.
        rewirings: number of degree-preserving rewirings that are evaluated too.
        progress: whether to show progress bars.
        workers: processes that share the model and its controls; their number changes no bit, see `complete`.
        checkpoint: keeps finished pieces, None in memory only; it must not hold those of another problem.

    Raises:
        DataError: there is no such table, or fewer units than folds.
    """
    split = Split(problem, table, tuple(unit), settings, rewirings)
    return split.evaluation(complete(split.tasks(), checkpoint, workers, progress, "held out"))


@dataclass(frozen=True)
class Split:
    """One way of holding out, and the pieces of work that judging it takes.

    Args:
        problem: the full problem.
        table: name of the table.
        unit: columns whose combinations are held out together.
        settings: budget of the model and of every control.
        rewirings: number of degree-preserving rewirings.
        name: begins the names of the pieces.

    Raises:
        DataError: there is no such table, or fewer units than folds.
    """

    problem: Problem
    table: str
    unit: tuple[str, ...]
    settings: Settings
    rewirings: int = 0
    name: str = "heldout"

    def __post_init__(self) -> None:
        """Check table and folds before anything is computed."""
        _ = self.fold

    @cached_property
    def term(self) -> TableTerm:
        """The table joined to the graph."""
        terms = {term.name: term for term in self.problem.tables}
        if self.table not in terms:
            raise DataError(f"`holdout.table`: no table `{self.table}`; {nearest(self.table, terms)}")
        return terms[self.table]

    @cached_property
    def fold(self) -> np.ndarray:
        """Fold of every entry: whole units at random, as evenly as possible, shape (entry,)."""
        group = self.term.entries.groupby(list(self.unit), sort=True).ngroup().to_numpy()
        count, folds = group.max() + 1, self.settings.folds
        if count < folds:
            raise DataError(
                f"`holdout.folds` is {folds}, but `{self.table}` has only {count} units to hold out."
            )
        order = np.random.default_rng(self.settings.seed).permutation(count)
        return (order % folds)[group]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the rewirings."""
        return [self.settings.seed + 1 + k for k in range(self.rewirings)]

    def tasks(self) -> list[Task]:
        """The model and its controls: each predicts all entries out of fold."""
        what = (self.problem, self.table, self.fold, self.settings)
        rewired = [
            Task(f"{self.name}.rewiring-{k}", _predict_rewired, (*what, seed))
            for k, seed in enumerate(self.seeds, start=1)
        ]
        return [
            Task(f"{self.name}.fitted", _predict, (*what, self.settings.draws)),
            Task(f"{self.name}.no_graph", _predict_without_graph, what),
            *rewired,
        ]

    def evaluation(self, done: Mapping[str, Saved]) -> Evaluation:
        """Errors of the model, its controls and simple baselines.

        Args:
            done: results of `tasks`, and maybe others, by name.
        """
        models = {name: done[f"{self.name}.{name}"].arrays["predicted"] for name in ("fitted", "no_graph")}
        found = done[f"{self.name}.fitted"].arrays
        ends = {name: found[name] for name in ENDS if name in found}
        table = self._entries(models | self._baselines() | ends)
        rewired = [done[f"{self.name}.rewiring-{k + 1}"] for k in range(self.rewirings)]
        distinct = len({saved.meta["graph"] for saved in rewired} - {subunit_digest(self.problem.graph)})
        if distinct < self.rewirings:
            log.warning(
                "%s: only %d of %d rewirings are graphs that differ from the real one and from each other.",
                self.name,
                distinct,
                self.rewirings,
            )
        return Evaluation(
            unit=self.unit,
            table=table,
            rewired=[self._error(table, saved.arrays["predicted"]) for saved in rewired],
            scale=self.term.table.assay.scale,
            seeds=self.seeds,
            distinct_rewirings=distinct,
        )

    def _baselines(self) -> dict[str, np.ndarray]:
        level = _levels(self.problem, self.term)
        with limit_threads(self.settings.threads):
            return {
                name: predict_held_out(baseline, self.term.entries, level, self.fold, self.settings.seed)
                for name, baseline in BASELINES.items()
            }

    @property
    def _exact(self) -> np.ndarray:
        """Which entries are values, not bounds."""
        return (self.term.entries["censoring"] == 0).to_numpy()

    def _entries(self, predictions: dict[str, np.ndarray]) -> pd.DataFrame:
        """One row per exactly measured entry, see `Evaluation`."""
        entries = self.term.entries
        table = pd.DataFrame(
            {
                "fold": self.fold,
                "context": entries["context"],
                "molecule": entries["target"],
                "measured": entries["y"],
                "touched_by_graph": entries["target"].isin(self.problem.network.influenced),
                **predictions,
            }
        )
        for column in ("population", "id"):
            if column in entries:
                table[column] = entries[column]
        return table[self._exact].reset_index(drop=True)

    def _error(self, table: pd.DataFrame, predicted: np.ndarray) -> float:
        """Error of a rewired graph on the entries that the real graph touches."""
        return rmse(table.assign(rewired=predicted[self._exact])[table["touched_by_graph"]], "rewired")


def _process_tables(problem: Problem) -> tuple[str, ...]:
    """Tables that read only energies of complexes: they say nothing of a graph without or with other ones."""
    return tuple(t.name for t in problem.tables if t.entries["readout"].isin(PROCESS_READOUTS).all())


def _predict(problem: Problem, table: str, fold: np.ndarray, settings: Settings, draws: int = 0) -> Saved:
    """Out-of-fold predictions: all folds and starts are rows of one batch, the best start per fold counts."""
    rows = np.repeat(np.arange(settings.folds), settings.starts)
    weights = {table: torch.as_tensor((fold[None] != rows[:, None]).astype(float))}
    model, optimum = train(
        problem,
        starts=len(rows),
        seed=settings.seed,
        adam_steps=settings.adam_steps,
        max_steps=settings.max_steps,
        accelerator=settings.accelerator,
        threads=settings.threads,
        weights=weights,
        progress=False,
    )
    loss = optimum.loss.cpu().numpy()
    best = np.array([np.flatnonzero(rows == k)[np.argmin(loss[rows == k])] for k in range(settings.folds)])
    entry = np.arange(len(fold))
    with limit_threads(settings.threads):
        with torch.no_grad():
            location = model.readings[table].location(model.state(optimum.theta[best])).cpu().numpy()
        found = {"predicted": location[fold, entry]}
        if draws:
            ends = [_interval(model, optimum.theta[r][None], table, weights[table][r], draws) for r in best]
            found |= dict(zip(ENDS, np.array(ends)[fold, :, entry].T, strict=True))
    return Saved(found, {"note": summary(optimum)})


def _interval(
    model: Model, theta: Tensor, table: str, weight: Tensor, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """90 % interval of a new measurement of every entry, from the fit of one fold; NaN where it has none."""
    here, local = {table: weight[None]}, model.parameters.local()
    joint, curvature = minimise(Posterior(model, here), theta, local=local)
    if not torch.linalg.cholesky_ex(curvature)[1]:
        ended, _, matrix = restricted(model, joint, curvature, here, rounds=1)
        if not torch.linalg.cholesky_ex(matrix)[1]:
            near = Laplace(model.parameters, ended.theta, matrix[None], torch.ones_like(ended.loss))
            return propagate_table(model, near, table, draws)
    log.warning("no intervals for one fold: its best start has not reached a minimum.")
    nothing = np.full(len(weight), np.nan)
    return nothing, nothing


def _predict_without_graph(problem: Problem, table: str, fold: np.ndarray, settings: Settings) -> Saved:
    graph = without_complexes(problem.graph)
    return _predict(problem.with_graph(graph, drop=_process_tables(problem)), table, fold, settings)


def _predict_rewired(problem: Problem, table: str, fold: np.ndarray, settings: Settings, seed: int) -> Saved:
    graph = rewire(problem.graph, seed=seed)
    rewired = problem.with_graph(graph, drop=_process_tables(problem))
    saved = _predict(rewired, table, fold, settings)
    return Saved(saved.arrays, {**saved.meta, "seed": seed, "graph": subunit_digest(graph)})


def subunit_digest(graph: Graph) -> str:
    """SHA-256 over which molecules are in which complexes, whatever the order of the edges."""
    columns = ["target", "source", "side", "stoichiometry"]
    edges = graph.edges["subunit"][columns].sort_values(columns).to_csv(index=False)
    return hashlib.sha256(edges.encode()).hexdigest()


def _levels(problem: Problem, term: TableTerm) -> np.ndarray:
    """Smoothed ln transcript level of each entry's molecule and context, summed over its transcripts."""
    level = np.exp(smoothed_levels(problem)) @ problem.network.encodes.T
    with np.errstate(divide="ignore"):
        ln_level = np.log(level[term.context, term.target])
    return np.where(np.isfinite(ln_level), ln_level, ln_level[np.isfinite(ln_level)].mean())
