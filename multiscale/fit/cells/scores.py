"""Scores of predicted cells: distances between distributions, errors of entries, proper scores of draws.

A distance between samples compares the cells that were measured with cells that a model drew; which cell is
which does not matter. Distances are those between the two empirical distributions (V-statistics), so they are
never negative, 0 only for equal samples, and between two samples of one distribution of the order of 1/cells:
compare only those worked out with equal numbers of cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import rankdata

from multiscale.errors import DataError

__all__ = [
    "compare",
    "crps",
    "energy_distance",
    "entry_scores",
    "median_distance",
    "mmd",
    "predictive_log_density",
    "subsample",
    "wasserstein",
]

MOST = 2_000
"""Cells of each sample that distances between pairs of cells are worked out of; more are drawn from."""

Array = NDArray[np.float64]


def subsample(values: ArrayLike, most: int | None = MOST, seed: int = 0) -> Array:
    """At most so many rows, drawn without replacement, in their order.

    Args:
        values: shape (cell, feature), or (cell,) for a single feature.
        most: rows to keep; all if None, or if there are no more.
        seed: of the draw.

    Returns:
        float64, shape (row, feature).

    Raises:
        DataError: there is no row, or a value is not finite.
    """
    rows = np.asarray(values, dtype=np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not rows.size:
        raise DataError(f"a sample must have shape (cell, feature), at least one of each; got {rows.shape}.")
    if not np.isfinite(rows).all():
        cell, feature = np.argwhere(~np.isfinite(rows))[0]
        raise DataError(
            f"sample: cell {cell}, feature {feature} is {rows[cell, feature]}; leave out what is missing."
        )
    if most is None or len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))]


def energy_distance(a: ArrayLike, b: ArrayLike, *, most: int = MOST, seed: int = 0) -> float:
    """Energy distance of two samples of cells, in the unit of the features.

    2 E‖X − Y‖ − E‖X − X'‖ − E‖Y − Y'‖ with Euclidean distances, X, X' from `a` and Y, Y' from `b`, each cell
    also paired with itself. SciPy's function of one feature is the root of this.

    Args:
        a: shape (cell, feature), or (cell,).
        b: the same features, any number of cells.
        most: cells drawn of each sample.
        seed: of the draw.

    Raises:
        DataError: the features differ, a sample is empty, or a value is not finite.

    Source: Rizzo, Székely 2016, doi:10.1002/wics.1375.

    >>> energy_distance([0.0], [3.0])  # 2·3 − 0 − 0
    6.0
    """
    x, y = _pair(a, b, most, seed)
    return float(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())


def mmd(
    a: ArrayLike, b: ArrayLike, *, bandwidth: float | None = None, most: int = MOST, seed: int = 0
) -> float:
    """Squared maximum mean discrepancy of two samples of cells, from 0 to 2.

    E k(X, X') + E k(Y, Y') − 2 E k(X, Y) with k(x, y) = exp(−‖x − y‖²/(2 σ²)).

    Args:
        a: shape (cell, feature), or (cell,).
        b: the same features, any number of cells.
        bandwidth: σ, in the unit of the features; the median distance between two cells of both samples if
            None. To compare models, give that of the measured cells: it must not depend on the model.
        most: cells drawn of each sample.
        seed: of the draw.

    Raises:
        DataError: as `energy_distance`; or `bandwidth` is not positive.

    Source: Gretton, Borgwardt, Rasch, Schölkopf, Smola 2012, J. Mach. Learn. Res. 13:723.

    >>> round(mmd([0.0], [1.0], bandwidth=1.0), 4)  # 2 − 2 exp(−1/2)
    0.7869
    """
    x, y = _pair(a, b, most, seed)
    sigma = median_distance(np.vstack([x, y]), most=None) if bandwidth is None else bandwidth
    if not sigma > 0:
        raise DataError(f"`bandwidth` must be positive, in the unit of the features; got {sigma}.")

    def mean_kernel(p: Array, q: Array) -> float:
        return float(np.exp(cdist(p, q, "sqeuclidean") / (-2 * sigma**2)).mean())

    return mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)


def median_distance(values: ArrayLike, *, most: int | None = MOST, seed: int = 0) -> float:
    """Median Euclidean distance of two different cells of a sample; 1 if all cells are equal.

    Where more than half of the pairs are equal, the median of the others.

    >>> median_distance([0.0, 1.0, 3.0])  # of 1, 2, 3
    2.0
    """
    rows = subsample(values, most, seed)
    distances = cdist(rows, rows)[np.triu_indices(len(rows), 1)]
    middle = float(np.median(distances)) if distances.size else 0.0
    if middle == 0.0 and distances.any():
        middle = float(np.median(distances[distances > 0]))
    return middle or 1.0  # any: with equal cells every kernel is 1


def wasserstein(a: ArrayLike, b: ArrayLike) -> Array:
    """1-Wasserstein distance ∫ |F_a − F_b| of every feature, from all cells, in the feature's unit.

    Args:
        a: shape (cell, feature), or (cell,).
        b: the same features, any number of cells.

    Returns:
        shape (feature,).

    Raises:
        DataError: the features differ, a sample is empty, or a value is not finite.

    >>> wasserstein([0.0, 1.0], [2.0, 3.0]).tolist()
    [2.0]
    """
    x, y = _pair(a, b, None, 0)
    values = np.vstack([x, y])
    order = np.argsort(values, axis=0, kind="stable")
    step = np.where(order < len(x), 1 / len(x), -1 / len(y))
    gaps = np.diff(np.take_along_axis(values, order, axis=0), axis=0)
    return (np.abs(np.cumsum(step, axis=0)[:-1]) * gaps).sum(0)


def compare(
    measured: ArrayLike,
    predicted: ArrayLike,
    *,
    scale: ArrayLike | None = None,
    most: int = MOST,
    seed: int = 0,
) -> dict[str, float]:
    """How far predicted cells are from measured ones, as distributions.

    The bandwidth of MMD is the median distance of the measured cells, for every model alike.

    Args:
        measured: shape (cell, feature).
        predicted: cells that a model drew, the same features.
        scale: features are divided by it first, so that all count alike: such as their standard deviations
            over training cells; shape (feature,).
        most: cells drawn of each sample for `energy_distance` and `mmd`.
        seed: of the draw.

    Returns:
        `energy_distance`, `mmd` (squared), and `wasserstein`, the mean over features.
    """
    unit = 1.0 if scale is None else np.asarray(scale, dtype=np.float64)
    x, y = np.asarray(measured) / unit, np.asarray(predicted) / unit
    width = median_distance(x, most=most, seed=seed)
    return {
        "energy_distance": energy_distance(x, y, most=most, seed=seed),
        "mmd": mmd(x, y, bandwidth=width, most=most, seed=seed),
        "wasserstein": float(wasserstein(x, y).mean()),
    }


def crps(samples: ArrayLike, observed: ArrayLike) -> Array:
    """Continuous ranked probability score of draws; smaller is better, in the unit of the readings.

    E|X − y| − E|X − X'|/2 = ∫ (F(t) − [y ≤ t])² dt, with F the empirical distribution of the draws. A single
    draw gives the absolute error. The score falls with the number of draws, so compare at equal numbers.

    Args:
        samples: shape (draw, ...).
        observed: shape (...).

    Returns:
        shape (...).

    Source: Gneiting, Raftery 2007, doi:10.1198/016214506000001437.

    >>> float(crps([0.0, 2.0], 1.0))  # 1 − (0 + 2 + 2 + 0)/4/2
    0.5
    """
    x = np.sort(np.asarray(samples, dtype=np.float64), axis=0)
    count = len(x)
    rank = (2 * np.arange(1, count + 1) - count - 1).reshape(-1, *[1] * (x.ndim - 1))
    spread = (rank * x).sum(0) / count**2  # half of the mean distance of two draws
    return np.abs(x - np.asarray(observed)).mean(0) - spread


def predictive_log_density(log_densities: ArrayLike) -> Array:
    """Log density of readings under a mixture of draws, ln (1/S Σ_s p(y | z_s)), in nats.

    Args:
        log_densities: ln p(y | z_s), shape (draw, ...).

    Returns:
        shape (...).

    >>> float(np.exp(predictive_log_density(np.log([0.1, 0.3]))).round(6))
    0.2
    """
    values = np.asarray(log_densities, dtype=np.float64)
    return np.asarray(logsumexp(values, axis=0)) - np.log(len(values))


def entry_scores(
    observed: ArrayLike,
    expected: ArrayLike,
    entries: ArrayLike | None = None,
    *,
    features: Sequence[str] | None = None,
    log1p: bool = True,
) -> pd.DataFrame:
    """Errors of expected readings, per feature.

    Args:
        observed: shape (cell, feature).
        expected: same shape.
        entries: which entries are scored, bool, same shape; all if None.
        features: names; numbers if None.
        log1p: compare ln(1 + count), not the readings themselves: for counts.

    Returns:
        index = features; columns `n`, `rmse`, `mae`, `bias` (expected − observed), `spearman` (rank
        correlation over cells, NaN where either is constant).

    Raises:
        DataError: shapes differ, or with `log1p` a value is negative.
    """
    y, mean = np.asarray(observed, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    which = np.ones(y.shape, dtype=bool) if entries is None else np.asarray(entries, dtype=bool)
    if y.ndim != 2 or y.shape != mean.shape or y.shape != which.shape:
        raise DataError(
            f"`observed`, `expected` and `entries` must have one shape (cell, feature); got "
            f"{y.shape}, {mean.shape} and {which.shape}."
        )
    if log1p and (min(y.min(where=which, initial=0.0), mean.min(where=which, initial=0.0)) < 0):
        raise DataError("counts must not be negative; give `log1p=False` for readings on another scale.")
    if log1p:
        y, mean = np.log1p(np.where(which, y, 0.0)), np.log1p(np.where(which, mean, 0.0))
    rows = [_feature_scores(y[keep, j], mean[keep, j]) for j, keep in enumerate(which.T)]
    index = pd.Index(range(y.shape[1]) if features is None else features, name="feature")
    return pd.DataFrame(rows, index=index)


def _feature_scores(y: Array, mean: Array) -> dict[str, float]:
    """Scores of one feature, NaN where there is no entry."""
    if not len(y):
        return {"n": 0} | dict.fromkeys(("rmse", "mae", "bias", "spearman"), float("nan"))
    error = mean - y
    ranks = rankdata(y), rankdata(mean)
    varied = all(np.ptp(rank) > 0 for rank in ranks)
    return {
        "n": len(y),
        "rmse": float(np.sqrt((error**2).mean())),
        "mae": float(np.abs(error).mean()),
        "bias": float(error.mean()),
        "spearman": float(np.corrcoef(*ranks)[0, 1]) if varied else float("nan"),
    }


def _pair(a: ArrayLike, b: ArrayLike, most: int | None, seed: int) -> tuple[Array, Array]:
    """Both samples, with the same features."""
    x, y = subsample(a, most, seed), subsample(b, most, seed + 1)
    if x.shape[1] != y.shape[1]:
        raise DataError(f"both samples must have the same features; got {x.shape[1]} and {y.shape[1]}.")
    return x, y
