"""How well held-out entries were predicted, and whether one model is better than another."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from multiscale.fit.baselines import BASELINES

__all__ = ["Evaluation", "Settings", "inside", "paired_bootstrap", "rmse"]


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
        draws: draws of the posterior for the intervals of the model's predictions; 0 for none.
    """

    folds: int = 5
    starts: int = 2
    seed: int = 0
    adam_steps: int = 60
    max_steps: int = 300
    accelerator: str = "auto"
    threads: int = 1
    draws: int = 0


@dataclass(frozen=True)
class Evaluation:
    """Predictions of held-out entries.

    Args:
        unit: columns whose combinations are held out together.
        table: one row per exactly measured entry: fold, context, molecule, measured, touched_by_graph
            (whether the molecule's total depends on its partners), then one column per model, on the assay's
            scale; lower and upper, the 90 % interval of a new measurement, if they were asked for.
        rewired: root mean square errors of rewired graphs on the touched entries.
        scale: unit of the measured and predicted values.
        seeds: of the rewirings.
        distinct_rewirings: how many of the rewired graphs differ from the real one and from each other: a
            small graph has few others with its degrees.
    """

    unit: tuple[str, ...]
    table: pd.DataFrame
    rewired: list[float]
    scale: str = ""
    seeds: list[int] = field(default_factory=list)
    distinct_rewirings: int = 0

    @property
    def models(self) -> list[str]:
        """Names of the models compared."""
        return ["fitted", "no_graph", *BASELINES]

    def scores(self) -> pd.DataFrame:
        """Root mean square error of every model on touched and on all entries."""
        touched = self.table[self.table["touched_by_graph"]]
        rows = {name: [rmse(touched, name), rmse(self.table, name)] for name in self.models}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["touched", "all"])

    def controls(self) -> pd.DataFrame:
        """One row per rewired graph: number (from 1), seed, error on the touched entries."""
        numbers = range(1, len(self.rewired) + 1)
        return pd.DataFrame({"rewiring": numbers, "seed": self.seeds, "rmse_touched": self.rewired})


def rmse(table: pd.DataFrame, model: str) -> float:
    """Root mean square error of one model; NaN for an empty table."""
    error = table[model] - table["measured"]
    return float(np.sqrt((error**2).mean())) if len(table) else float("nan")


def inside(table: pd.DataFrame) -> float:
    """Fraction of measured values inside their interval, [lower, upper]; NaN for an empty table."""
    return float(table["measured"].between(table["lower"], table["upper"]).mean())


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
