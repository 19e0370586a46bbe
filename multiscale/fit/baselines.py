"""Simple models that a graph has to beat, fitted to the same entries with the same censored likelihood.

Each is a linear model of y with normal noise and ridge penalties; the strength of the penalties is chosen
inside the training entries by cross-validation, so that no baseline is worse than it has to be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.assays.noise import censored_normal
from multiscale.fit.optimise import lbfgs

__all__ = ["BASELINES", "Baseline", "predict_held_out"]

RIDGE_SD = (0.3, 1.0, 3.0, 10.0)
"""Candidates for the prior standard deviation of the effects, in ln units."""


@dataclass(frozen=True)
class Baseline:
    """Which columns a linear baseline has.

    Args:
        molecule: whether every molecule has its own effect (penalised).
        context: whether every context has its own effect (penalised).
        slope: coefficient of the ln transcript level: fixed number, or None to fit one for all molecules.
    """

    molecule: bool
    context: bool
    slope: float | None


BASELINES = {
    "translation_only": Baseline(molecule=True, context=False, slope=1.0),
    "slope": Baseline(molecule=True, context=False, slope=None),
    "gene_plus_type": Baseline(molecule=True, context=True, slope=0.0),
    "mean": Baseline(molecule=True, context=False, slope=0.0),
}
"""Translation factor × transcript; ln P = a + β ln R; molecule + context; mean per molecule."""


def predict_held_out(
    baseline: Baseline, entries: pd.DataFrame, ln_level: np.ndarray, fold: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Predict every entry from the folds that it is not in.

    Args:
        baseline: which model.
        entries: columns `target`, `context`, `y`, `censoring`.
        ln_level: ln transcript level of each entry's molecule and context, shape (entry,).
        fold: fold of each entry, shape (entry,).
        seed: of the inner folds.

    Returns:
        predicted y, shape (entry,).
    """
    design, effects, shift = _design(baseline, entries, ln_level)
    folds = int(fold.max()) + 1
    inner = _inner_folds(entries, seed)
    masks, sds = _tasks(fold, folds, inner)
    weights = _fit(design, effects, shift, entries, masks, sds)
    location = shift + weights[:, :-1] @ design.T
    return _choose(location, entries, fold, folds, inner)


def _design(baseline: Baseline, entries: pd.DataFrame, ln_level: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Columns, which of them are penalised effects, and the fixed part of the location."""
    centred = ln_level - ln_level.mean()
    columns, effects = [np.ones((len(entries), 1))], [False]
    if baseline.slope is None:
        columns.append(centred[:, None])
        effects.append(False)
    for name, wanted in (("target", baseline.molecule), ("context", baseline.context)):
        if wanted:
            indicators = pd.get_dummies(entries[name]).to_numpy(float)
            columns.append(indicators)
            effects += [True] * indicators.shape[1]
    shift = (baseline.slope or 0.0) * centred
    return torch.as_tensor(np.hstack(columns)), torch.tensor(effects), torch.as_tensor(shift)


def _inner_folds(entries: pd.DataFrame, seed: int, folds: int = 3) -> np.ndarray:
    """Folds over molecule × context inside the training entries."""
    unit = entries.groupby(["target", "context"], sort=False).ngroup().to_numpy()
    order = np.random.default_rng(seed).permutation(unit.max() + 1)
    return (order % folds)[unit]


def _tasks(fold: np.ndarray, folds: int, inner: np.ndarray) -> tuple[Tensor, Tensor]:
    """Every fit as one row: outer fold × ridge × (all training entries, or without one inner fold)."""
    masks, sds = [], []
    for k in range(folds):
        for sd in RIDGE_SD:
            for i in range(-1, inner.max() + 1):
                masks.append((fold != k) & (inner != i))
                sds.append(sd)
    return torch.as_tensor(np.array(masks), dtype=torch.float64), torch.tensor(sds, dtype=torch.float64)


def _fit(
    design: Tensor, effects: Tensor, shift: Tensor, entries: pd.DataFrame, masks: Tensor, sds: Tensor
) -> Tensor:
    """Penalised maximum likelihood of every row; the last weight is ln sd of the noise."""
    y = torch.as_tensor(entries["y"].to_numpy(float))
    censoring = torch.as_tensor(entries["censoring"].to_numpy(np.int64))

    def loss(weights: Tensor, rows: Tensor) -> Tensor:
        location = shift + weights[:, :-1] @ design.T
        density = censored_normal(y, location, weights[:, -1:].exp().expand_as(location), censoring)
        penalty = 0.5 * ((weights[:, :-1] * effects) ** 2).sum(1) / sds[rows] ** 2
        return penalty - (density * masks[rows]).sum(1)

    first = torch.zeros(len(masks), design.shape[1] + 1, dtype=torch.float64)
    first[:, 0] = masks @ y / masks.sum(1)
    return lbfgs(loss, first, max_steps=300, change_tolerance=1e-6).theta


def _choose(
    location: Tensor, entries: pd.DataFrame, fold: np.ndarray, folds: int, inner: np.ndarray
) -> np.ndarray:
    """Per outer fold, predict with the ridge of lowest inner error, fitted to all its training entries."""
    y, exact = entries["y"].to_numpy(float), entries["censoring"].to_numpy() == 0
    kinds = int(inner.max()) + 2
    predicted = location.numpy().reshape(folds, len(RIDGE_SD), kinds, -1)
    result = np.empty(len(entries))
    for k in range(folds):
        training = exact & (fold != k)
        errors = [
            sum(((predicted[k, r, i + 1] - y)[training & (inner == i)] ** 2).sum() for i in range(kinds - 1))
            for r in range(len(RIDGE_SD))
        ]
        result[fold == k] = predicted[k, int(np.argmin(errors)), 0][fold == k]
    return result
