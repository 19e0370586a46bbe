"""Simple predictions of held-out readings that a model of cells has to beat: mean, ridge, nearest neighbours.

They see readings on the scale on which they are scored (such as ln(1 + count) or asinh), and choose penalty
and number of neighbours inside the training cells, so that none is worse than it has to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multiscale.errors import ConfigError, DataError, nearest

__all__ = ["METHODS", "Predicted", "impute", "predict_features"]

METHODS = ("mean", "ridge", "neighbours")
"""Names of the baselines for features and entries."""

PENALTIES = tuple(float(f"1e{power}") for power in range(-5, 3))
"""Candidates for the ridge penalty, relative to the mean variance of an input."""

NEIGHBOURS = (1, 3, 5, 10, 20, 40, 80)
"""Candidates for the number of neighbours."""

_SHARE = 0.1  # of the visible entries, hidden in turn to choose
_PASSES = 6  # of regression and filling in: what is left of a first guess falls by the hidden share each time
_ROWS = 512  # cells whose distances to all others are held at once

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a baseline says of some cells.

    Args:
        expected: shape (cell, feature).
        draws: readings that the cells might have, shape (draw, cell, feature).
        setting: chosen penalty, or number of neighbours; NaN where nothing is chosen.
    """

    expected: Array
    draws: Array
    setting: float


def predict_features(
    method: str,
    inputs: np.ndarray,
    readings: np.ndarray,
    new: np.ndarray,
    *,
    draws: int = 0,
    folds: int = 5,
    seed: int = 0,
) -> Predicted:
    """Predict features that some cells lack from what was measured of them.

    `mean`: mean of the training cells; draws are training cells. `ridge`: y = ȳ + (x − x̄) B, one penalty for
    all features, by the squared error over folds of training cells; draws add the error of a training cell
    that was left out. `neighbours`: mean of the k training cells with the nearest inputs, k by leaving each
    cell out; draws are neighbours. Features count alike in a choice. A draw is of a whole cell, so features
    stay correlated.

    Args:
        method: one of METHODS.
        inputs: of training cells, on comparable scales (principal components are), shape (cell, input).
        readings: of training cells, shape (cell, feature).
        new: inputs of the cells to predict, shape (cell, input).
        draws: readings drawn of each cell.
        folds: parts of the training cells, for ridge.
        seed: of folds and draws.

    Raises:
        ConfigError: no such method.
        DataError: shapes do not fit, a value is not finite, or there are fewer training cells than folds.
    """
    x, y, z = (np.asarray(values, dtype=np.float64) for values in (inputs, readings, new))
    _check(method, len(x) == len(y) and x.shape[1:] == z.shape[1:] and y.ndim == 2, x, y, z)
    if len(x) < max(folds, 2):
        raise DataError(f"{len(x)} training cells are too few for {folds} folds; give more cells.")
    rng = np.random.default_rng(seed)
    if method == "mean":
        chosen = y[rng.integers(len(y), size=(draws, len(z)))]
        return Predicted(np.repeat(y.mean(0)[None], len(z), axis=0), chosen, float("nan"))
    return _ridge(x, y, z, draws, folds, rng) if method == "ridge" else _neighbours(x, y, z, draws, rng)


def _ridge(x: Array, y: Array, z: Array, draws: int, folds: int, rng: np.random.Generator) -> Predicted:
    fold = rng.permutation(len(x)) % folds
    left_out = np.empty((len(PENALTIES), *y.shape))
    for k in range(folds):
        left_out[:, fold == k] = _fit_ridge(x[fold != k], y[fold != k], x[fold == k], PENALTIES)
    errors = y - left_out
    best = int(np.argmin(_loss(errors, y)))
    expected = _fit_ridge(x, y, z, PENALTIES[best : best + 1])[0]
    drawn = expected + errors[best][rng.integers(len(y), size=(draws, len(z)))]
    return Predicted(expected, drawn, PENALTIES[best])


def _fit_ridge(x: Array, y: Array, z: Array, penalties: tuple[float, ...]) -> Array:
    """Predictions with every penalty, shape (penalty, cell, feature), from one decomposition."""
    centre, mean = x.mean(0), y.mean(0)
    size, axes = np.linalg.eigh((x - centre).T @ (x - centre) / len(x))
    moments = axes.T @ ((x - centre).T @ (y - mean)) / len(x)
    turned, unit = (z - centre) @ axes, size.mean()
    size = np.maximum(size, 0.0) / (unit or 1.0)  # rounding may leave −1e-17
    return np.stack([mean + turned @ (moments / ((size + p) * (unit or 1.0))[:, None]) for p in penalties])


def _neighbours(x: Array, y: Array, z: Array, draws: int, rng: np.random.Generator) -> Predicted:
    known = [k for k in NEIGHBOURS if k < len(x)]
    near = _nearest(x, x, known[-1], own=True)
    left_out = np.stack([y[near[:, :k]].mean(1) for k in known])
    best = known[int(np.argmin(_loss(y - left_out, y)))]
    near = _nearest(z, x, best, own=False)
    chosen = near[np.arange(len(z)), rng.integers(best, size=(draws, len(z)))]
    return Predicted(y[near].mean(1), y[chosen], float(best))


def _nearest(points: Array, among: Array, count: int, own: bool) -> NDArray[np.int64]:
    """Positions of the nearest rows, shape (point, count), nearest first; `own`: a row is not its own."""
    squares = (among**2).sum(1)
    found = []
    for start in range(0, len(points), _ROWS):
        part = points[start : start + _ROWS]
        distance = squares - 2 * part @ among.T  # less |part|², the same for all
        if own:
            distance[np.arange(len(part)), start + np.arange(len(part))] = np.inf
        near = np.argpartition(distance, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distance, near, 1), axis=1, kind="stable")
        found.append(np.take_along_axis(near, order, 1))
    return np.concatenate(found)


def _loss(errors: Array, y: Array) -> Array:
    """Mean squared error in units of each feature's variance, shape (candidate,)."""
    variance = y.var(0)
    return (errors**2).mean(1)[:, variance > 0].sum(1) if (variance > 0).any() else (errors**2).sum((1, 2))


def impute(
    method: str,
    values: np.ndarray,
    hidden: np.ndarray,
    *,
    inputs: np.ndarray | None = None,
    draws: int = 0,
    seed: int = 0,
) -> Predicted:
    """Predict hidden entries of a table of cells from the entries beside them.

    `mean`: of the visible cells; draws are visible readings. `ridge`: every feature linear in all others,
    with one penalty; hidden entries beside it stand at what an earlier pass said of them. `neighbours`: mean
    over those of the k nearest cells in which the feature is visible. The setting is chosen with a tenth of
    the visible entries hidden too; the errors of these are what draws add to the expected values, each
    feature for itself.

    Args:
        method: one of METHODS.
        values: shape (cell, feature); hidden entries are not read.
        hidden: bool, same shape.
        inputs: what else was measured of the cells, such as principal components; shape (cell, input).
        draws: readings drawn of each entry.
        seed: of the choice and the draws.

    Raises:
        ConfigError: no such method.
        DataError: shapes do not fit, a visible value is not finite, or a feature has fewer than two visible
            entries.
    """
    y, mask = np.where(hidden, 0.0, np.asarray(values, dtype=np.float64)), ~np.asarray(hidden, dtype=bool)
    beside = np.empty((len(y), 0)) if inputs is None else np.asarray(inputs, dtype=np.float64)
    _check(method, y.ndim == 2 and y.shape == mask.shape and len(beside) == len(y), y, beside)
    if (mask.sum(0) < 2).any():
        raise DataError(
            f"feature {int(np.argmax(mask.sum(0) < 2))} has fewer than two visible entries; use "
            f"`predict_features` for a feature that some cells lack altogether."
        )
    rng = np.random.default_rng(seed)
    held = (
        _held(mask, rng) if method != "mean" else mask
    )  # nothing is chosen there: all errors serve the draws
    fill, settings = _FILLS[method]
    known = [s for s in settings if not (method == "neighbours" and s >= len(y))]
    seen = mask if method == "mean" else mask & ~held
    trials = [np.where(held, y - fill(y, seen, beside, setting), 0.0) for setting in known]
    scale = _standard(y, mask, beside)[2]
    best = int(np.argmin([((errors / scale) ** 2).sum() for errors in trials]))
    expected = fill(y, mask, beside, known[best])
    return Predicted(expected, _add_errors(expected, trials[best], held, draws, rng), float(known[best]))


def _held(mask: NDArray, rng: np.random.Generator) -> NDArray:
    """Visible entries to be hidden for a choice; none of a feature of which fewer than two would be left."""
    held = mask & (rng.random(mask.shape) < _SHARE)
    return held & ((mask & ~held).sum(0) >= 2)


def _add_errors(expected: Array, errors: Array, held: NDArray, draws: int, rng: np.random.Generator) -> Array:
    """Expected values with an error of the same feature, drawn at random."""
    drawn = np.repeat(expected[None], draws, axis=0)
    for j, rows in enumerate(held.T):
        if rows.any():
            drawn[:, :, j] += rng.choice(errors[rows, j], size=drawn.shape[:2])
    return drawn


def _column_mean(y: Array, mask: NDArray) -> Array:
    return (y * mask).sum(0) / mask.sum(0)


def _standard(y: Array, mask: NDArray, beside: Array) -> tuple[Array, Array, Array]:
    """Visible entries with mean 0 and variance 1, 0 where hidden, beside inputs of mean variance 1."""
    mean = _column_mean(y, mask)
    sd = np.sqrt((((y - mean) * mask) ** 2).sum(0) / mask.sum(0))
    sd = np.where(sd > 0, sd, 1.0)
    centred = beside - beside.mean(0) if beside.size else beside
    unit = np.sqrt(centred.var(0).mean()) if beside.size else 1.0
    return np.hstack([(y - mean) / sd * mask, centred / (unit or 1.0)]), mean, sd


def _fill_mean(y: Array, mask: NDArray, beside: Array, setting: float) -> Array:
    return np.broadcast_to(_column_mean(y, mask), y.shape).copy()


def _fill_ridge(y: Array, mask: NDArray, beside: Array, penalty: float) -> Array:
    """Regression of every column on all others at once: with P = (ZᵀZ/n + λ)⁻¹, ẑ_j = z_j − (Z P)_j/P_jj."""
    z, mean, sd = _standard(y, mask, beside)
    width = y.shape[1]
    fitted = z[:, :width]
    for _ in range(_PASSES):
        precision = np.linalg.inv(z.T @ z / len(z) + penalty * np.eye(z.shape[1]))
        fitted = z[:, :width] - (z @ precision[:, :width]) / np.diag(precision)[:width]
        z[:, :width] = np.where(mask, z[:, :width], fitted)
    return mean + sd * fitted


def _fill_neighbours(y: Array, mask: NDArray, beside: Array, count: float) -> Array:
    """Mean over the neighbours in which the feature is visible; over all cells where it is in none."""
    z, mean, _ = _standard(y, mask, beside)
    near = _nearest(z, z, int(count), own=True)
    total, seen = np.zeros_like(y), np.zeros_like(y)
    for column in near.T:  # one per neighbour, not per cell
        total += y[column] * mask[column]
        seen += mask[column]
    return np.where(seen > 0, total / np.maximum(seen, 1.0), mean)


_Fill = Callable[[Array, NDArray, Array, float], Array]
_FILLS: dict[str, tuple[_Fill, tuple[float, ...]]] = {
    "mean": (_fill_mean, (float("nan"),)),
    "ridge": (_fill_ridge, PENALTIES),
    "neighbours": (_fill_neighbours, NEIGHBOURS),
}


def _check(method: str, fits: bool, *tables: Array) -> None:
    if method not in METHODS:
        raise ConfigError(f"no baseline is called `{method}`; {nearest(method, METHODS)}")
    if not fits or any(table.ndim != 2 for table in tables):
        raise DataError(f"shapes do not fit: {', '.join(str(table.shape) for table in tables)}.")
    if not all(np.isfinite(table).all() for table in tables):
        raise DataError("a value is not finite; leave out cells or features with missing readings.")
