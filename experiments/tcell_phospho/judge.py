"""Baselines that see the same conditions, and the score of predicted distributions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["BASELINES", "bootstrap", "crps", "linear", "nearest", "training_mean", "wasserstein"]

Cells = Sequence[np.ndarray]  # ln readings of every condition, (cell, marker)

RIDGES = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
DRAWS = 1000  # cells that a baseline predicts


def crps(drawn: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of every seen value, E|X − y| − ½ E|X − X'|; smaller is better.

    It is in the unit of the values, and the absolute error where the prediction is a single value.

    Args:
        drawn: sample of the prediction, (draw,).
        seen: values, (cell,).

    Source: Gneiting and Raftery 2007, doi:10.1198/016214506000001437, equation 21.

    >>> crps(np.array([2.0]), np.array([5.0])).tolist(), crps(np.array([0.0, 2.0]), np.array([1.0])).tolist()
    ([3.0], [0.5])
    """
    drawn, number = np.sort(drawn), len(drawn)
    below = np.searchsorted(drawn, seen)
    sums = np.concatenate([[0.0], np.cumsum(drawn)])
    distance = (seen * (2 * below - number) + sums[-1] - 2 * sums[below]) / number
    spread = (drawn * (2 * np.arange(number) - number + 1)).sum() / number**2
    return distance - spread


def training_mean(cells: Cells, design: np.ndarray, left_out: int, rng: np.random.Generator) -> np.ndarray:
    """All cells of all other conditions, every condition with the same weight."""
    return _pooled([values for i, values in enumerate(cells) if i != left_out], rng)


def nearest(cells: Cells, design: np.ndarray, left_out: int, rng: np.random.Generator) -> np.ndarray:
    """Cells of the conditions whose design differs least, which is known beforehand; ties are pooled."""
    distance = np.abs(design - design[left_out]).sum(1)
    distance[left_out] = np.inf
    return _pooled([cells[i] for i in np.flatnonzero(distance == distance.min()).tolist()], rng)


def linear(cells: Cells, design: np.ndarray, left_out: int, rng: np.random.Generator) -> np.ndarray:
    """Additive effects of inputs and inhibitors on mean ln readings, by ridge regression.

    The ridge has the smallest squared error of conditions left out among the training conditions. That error
    and the deviations of cells from the mean of their condition are the predicted spread.
    """
    train = [i for i in range(len(cells)) if i != left_out]
    means = np.stack([values.mean(0) for values in cells])
    errors = {ridge: _inner_errors(design[train], means[train], ridge) for ridge in RIDGES}
    ridge = min(RIDGES, key=lambda value: float((errors[value] ** 2).mean()))
    centre = _ridge(design[train], means[train], ridge, design[left_out])
    around = _pooled([cells[i] - means[i] for i in train], rng)
    return centre + around + rng.normal(size=around.shape) * np.sqrt((errors[ridge] ** 2).mean(0))


BASELINES = {"training mean": training_mean, "linear": linear, "nearest condition": nearest}


def _pooled(parts: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    number = DRAWS // len(parts)
    return np.concatenate([part[rng.integers(len(part), size=number)] for part in parts])


def _ridge(design: np.ndarray, values: np.ndarray, ridge: float, at: np.ndarray) -> np.ndarray:
    """Prediction at one design; the intercept is not penalised."""
    centre, mean = design.mean(0), values.mean(0)
    z = design - centre
    effects = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ (values - mean))
    return mean + (at - centre) @ effects


def _inner_errors(design: np.ndarray, values: np.ndarray, ridge: float) -> np.ndarray:
    """Errors of every condition when the others predict it, (condition, marker)."""
    rows = []
    for i in range(len(design)):
        others = np.arange(len(design)) != i
        rows.append(values[i] - _ridge(design[others], values[others], ridge, design[i]))
    return np.stack(rows)


def wasserstein(drawn: np.ndarray, seen: np.ndarray) -> float:
    """Mean distance of the quantiles of two samples."""
    levels = (np.arange(DRAWS) + 0.5) / DRAWS
    return float(np.abs(np.quantile(drawn, levels) - np.quantile(seen, levels)).mean())


def bootstrap(one: Cells, other: Cells, number: int, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the difference of mean scores, drawing conditions, and cells within them, again.

    Args:
        one: score of every cell, per condition.
        other: the same cells, another method.
        number: of samples.
        rng: source of the samples.
    """
    gaps = [a - b for a, b in zip(one, other, strict=True)]
    means = np.stack([gap[rng.integers(len(gap), size=(number, len(gap)))].mean(1) for gap in gaps], 1)
    chosen = rng.integers(len(gaps), size=(number, len(gaps)))
    low, high = np.quantile(np.take_along_axis(means, chosen, 1).mean(1), [0.025, 0.975])
    return float(low), float(high)
