"""Judging a fit on entries it has not seen, beside controls on the same split with as many starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from multiscale.errors import DataError, nearest
from multiscale.fit.baselines import BASELINES, predict_held_out
from multiscale.fit.train import limit_threads, train
from multiscale.graph import Graph, rewire, without_complexes
from multiscale.model import Problem
from multiscale.model.blocks import smoothed_levels
from multiscale.model.terms import PROCESS_READOUTS, TableTerm

__all__ = ["Evaluation", "Settings", "cross_validate", "paired_bootstrap", "rmse"]

log = logging.getLogger("multiscale")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Budget that the model and every control get per fold.

    Args:
        folds: number of folds.
        starts: starting points per fold.
        seed: of folds and starting points.
        adam_steps: steps of Adam.
        max_steps: most quasi-Newton steps.
        accelerator: `auto`, `cpu` or `gpu`.
        threads: CPU threads of PyTorch.
    """

    folds: int = 5
    starts: int = 2
    seed: int = 0
    adam_steps: int = 60
    max_steps: int = 300
    accelerator: str = "auto"
    threads: int = 1


@dataclass(frozen=True)
class Evaluation:
    """Predictions of held-out entries.

    Args:
        unit: columns whose combinations are held out together.
        table: one row per exactly measured entry: fold, context, molecule, measured, touched_by_graph
            (whether the molecule's total depends on its partners), then one column per model, on the assay's
            scale.
        rewired: root mean square errors of rewired graphs on the touched entries.
        scale: unit of the measured and predicted values.
    """

    unit: tuple[str, ...]
    table: pd.DataFrame
    rewired: list[float]
    scale: str = ""

    @property
    def models(self) -> list[str]:
        """Names of the models compared."""
        return ["fitted", "no_graph", *BASELINES]

    def scores(self) -> pd.DataFrame:
        """Root mean square error of every model on touched and on all entries."""
        touched = self.table[self.table["touched_by_graph"]]
        rows = {name: [rmse(touched, name), rmse(self.table, name)] for name in self.models}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["touched", "all"])


def rmse(table: pd.DataFrame, model: str) -> float:
    """Root mean square error of one model; NaN for an empty table."""
    error = table[model] - table["measured"]
    return float(np.sqrt((error**2).mean())) if len(table) else float("nan")


def cross_validate(
    problem: Problem,
    table: str,
    unit: Sequence[str],
    settings: Settings,
    rewirings: int = 0,
    progress: bool = True,
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

    Raises:
        DataError: there is no such table, or fewer units than folds.
    """
    term = _term(problem, table)
    fold = _folds(term, unit, settings)
    drop = _process_tables(problem)
    bare = problem.with_graph(without_complexes(problem.graph), drop=drop)
    predictions = {
        "fitted": _predict(problem, table, fold, settings, "held out", progress),
        "no_graph": _predict(bare, table, fold, settings, "held out, no graph", progress),
    }
    level = _levels(problem, term)
    with limit_threads(settings.threads):
        predictions |= {
            name: predict_held_out(baseline, term.entries, level, fold, settings.seed)
            for name, baseline in BASELINES.items()
        }
    result = _table(problem, term, fold, predictions)
    rewired = [
        _rewired_error(problem, table, fold, settings, result, k, rewirings, drop, progress)
        for k in range(rewirings)
    ]
    return Evaluation(unit=tuple(unit), table=result, rewired=rewired, scale=term.table.assay.scale)


def paired_bootstrap(
    table: pd.DataFrame, model: str, other: str, by: str = "molecule", draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Difference of root mean square errors, `model` − `other`; 95 % interval over resampled molecules.

    Args:
        table: held-out predictions.
        model: column.
        other: column it is compared with, on the same rows.
        by: column whose values are resampled.
        draws: number of resamples.
        seed: of the resamples.

    Returns:
        difference, lower and upper end; negative means that `model` is better.
    """
    squares = [(table[name] - table["measured"]) ** 2 for name in (model, other)]
    sums = pd.concat([*squares, squares[0] * 0 + 1], axis=1).groupby(table[by].to_numpy()).sum().to_numpy()
    picks = np.random.default_rng(seed).integers(0, len(sums), (draws, len(sums)))
    a, b, n = sums[picks].sum(1).T
    difference = np.sqrt(a / n) - np.sqrt(b / n)
    lower, upper = np.quantile(difference, [0.025, 0.975])
    return rmse(table, model) - rmse(table, other), float(lower), float(upper)


def _term(problem: Problem, table: str) -> TableTerm:
    terms = {term.name: term for term in problem.tables}
    if table not in terms:
        raise DataError(f"`holdout.table`: no table `{table}`; {nearest(table, terms)}")
    return terms[table]


def _folds(term: TableTerm, unit: Sequence[str], settings: Settings) -> np.ndarray:
    """Assign whole units to folds at random, as evenly as possible."""
    group = term.entries.groupby(list(unit), sort=True).ngroup().to_numpy()
    count = group.max() + 1
    if count < settings.folds:
        raise DataError(
            f"`holdout.folds` is {settings.folds}, but `{term.name}` has only {count} units to hold out."
        )
    order = np.random.default_rng(settings.seed).permutation(count)
    return (order % settings.folds)[group]


def _process_tables(problem: Problem) -> tuple[str, ...]:
    """Tables that read only energies of complexes: they say nothing of a graph without or with other ones."""
    return tuple(t.name for t in problem.tables if t.entries["readout"].isin(PROCESS_READOUTS).all())


def _predict(
    problem: Problem, table: str, fold: np.ndarray, settings: Settings, title: str, progress: bool
) -> np.ndarray:
    """Out-of-fold predictions: all folds and starts are rows of one batch, the best start per fold counts."""
    rows = np.repeat(np.arange(settings.folds), settings.starts)
    weights = torch.as_tensor((fold[None] != rows[:, None]).astype(float))
    model, optimum = train(
        problem,
        starts=len(rows),
        seed=settings.seed,
        adam_steps=settings.adam_steps,
        max_steps=settings.max_steps,
        accelerator=settings.accelerator,
        threads=settings.threads,
        weights={table: weights},
        title=title,
        progress=progress,
    )
    with torch.no_grad():
        state = model.state(optimum.theta)
        location = model.readings[table].location(state).cpu().numpy()
    loss = optimum.loss.cpu().numpy()
    best = [int(np.flatnonzero(rows == k)[np.argmin(loss[rows == k])]) for k in range(settings.folds)]
    return location[np.array(best)[fold], np.arange(len(fold))]


def _levels(problem: Problem, term: TableTerm) -> np.ndarray:
    """Smoothed ln transcript level of each entry's molecule and context, summed over its transcripts."""
    level = np.exp(smoothed_levels(problem)) @ problem.network.encodes.T
    with np.errstate(divide="ignore"):
        ln_level = np.log(level[term.context, term.target])
    return np.where(np.isfinite(ln_level), ln_level, ln_level[np.isfinite(ln_level)].mean())


def _table(
    problem: Problem, term: TableTerm, fold: np.ndarray, predictions: dict[str, np.ndarray]
) -> pd.DataFrame:
    entries = term.entries
    table = pd.DataFrame(
        {
            "fold": fold,
            "context": entries["context"],
            "molecule": entries["target"],
            "measured": entries["y"],
            "touched_by_graph": entries["target"].isin(problem.network.influenced),
            **predictions,
        }
    )
    for column in ("population", "id"):
        if column in entries:
            table[column] = entries[column]
    return table[entries["censoring"] == 0].reset_index(drop=True)


def _rewired_error(
    problem: Problem,
    table: str,
    fold: np.ndarray,
    settings: Settings,
    result: pd.DataFrame,
    index: int,
    count: int,
    drop: tuple[str, ...],
    progress: bool,
) -> float:
    """Error of one rewired graph on the entries that the real graph touches."""
    graph: Graph = rewire(problem.graph, seed=settings.seed + 1 + index)
    rewired = problem.with_graph(graph, drop=drop)
    title = f"held out, rewiring {index + 1} of {count}"
    predicted = _predict(rewired, table, fold, settings, title, progress)
    exact = (_term(problem, table).entries["censoring"] == 0).to_numpy()
    return rmse(result.assign(rewired=predicted[exact])[result["touched_by_graph"]], "rewired")
