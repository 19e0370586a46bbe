"""What pairs of entities do without any model of binding, and scores of readings of which some are bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

__all__ = ["average", "baselines", "bounded_scores", "nearest"]

ROUNDS = 50
"""Rounds of the averages; each makes them agree better where pairs are missing."""

SHRUNK = 2.0  # readings' worth of zero that every deviation from the mean is drawn to


def average(y: np.ndarray, first: np.ndarray, second: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Mean of all, plus the deviations of both entities of a row, learned from the fitted rows.

    Args:
        y: readings, (row,).
        first: entity of one kind of every row, as numbers.
        second: that of the other.
        fitted: flags of the rows to learn from.

    Returns:
        for all rows, (row,); an entity without fitted rows deviates by 0.

    >>> y, drug, kinase = np.tile([1.0, 3.0, 2.0, 4.0], 99), np.tile([0, 0, 1, 1], 99), np.tile([0, 1], 198)
    >>> average(y, drug, kinase, np.ones(396, bool))[:4].round(1).tolist()
    [1.0, 3.0, 2.0, 4.0]
    """
    mean = y[fitted].mean()
    a, b = np.zeros(first.max() + 1), np.zeros(second.max() + 1)
    for _ in range(ROUNDS):
        for own, which, others in ((a, first, b[second]), (b, second, a[first])):
            total = np.bincount(which[fitted], (y - mean - others)[fitted], len(own))
            own[:] = total / (np.bincount(which[fitted], minlength=len(own)) + SHRUNK)
    return mean + a[first] + b[second]


def nearest(
    y: np.ndarray,
    entity: np.ndarray,
    other: np.ndarray,
    fitted: np.ndarray,
    features: np.ndarray,
    most: int = 3,
) -> np.ndarray:
    """Mean reading of the entities most alike with the same partner; NaN where the partner has none.

    Args:
        y: readings, (row,).
        entity: of every row, as numbers.
        other: its partner.
        fitted: flags of the rows to learn from.
        features: of the entities, (entity, feature); near is like.
        most: entities that are averaged.

    Returns:
        for all rows, (row,); an entity is no neighbour of itself.

    >>> y, same, flags = np.array([1.0, 2.0, 5.0]), np.zeros(3, int), np.array([True, True, False])
    >>> nearest(y, np.arange(3), same, flags, np.array([[0.0], [1.0], [1.1]]), most=1).tolist()
    [2.0, 1.0, 2.0]
    """
    square = np.square(features).sum(1)
    distance = square[:, None] + square - 2.0 * features @ features.T
    np.fill_diagonal(distance, np.inf)
    found = np.full(len(y), np.nan)
    for partner in np.unique(other):
        rows = np.flatnonzero(other == partner)
        known = rows[fitted[rows]]
        if len(known):
            far = distance[entity[rows]][:, entity[known]]
            order = far.argsort(1, kind="stable")[:, :most]
            weight = np.isfinite(np.take_along_axis(far, order, 1))
            total, count = (weight * y[known][order]).sum(1), weight.sum(1)
            found[rows] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found


def baselines(
    y: np.ndarray,
    sides: Mapping[str, tuple[np.ndarray, np.ndarray]],
    fold: np.ndarray,
    only: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    """`average` and `nearest` of every row, from the other folds.

    Args:
        y: readings, (row,).
        sides: per kind of entity, of which there are two, its features (entity, feature), and which entity
            every row is about.
        fold: of every row.
        only: folds to predict; None for all.

    Returns:
        by name, (row,); NaN in rows of other folds, and where no neighbour was fitted.
    """
    (one, (_, first)), (two, (_, second)) = sides.items()
    pairs = {one: (first, second), two: (second, first)}
    found = {name: np.full(len(y), np.nan) for name in ("means", *(f"nearest {kind}" for kind in sides))}
    for number in np.unique(fold) if only is None else only:
        here, fitted = fold == number, fold != number
        found["means"][here] = average(y, first, second, fitted)[here]
        for kind, (own, other) in pairs.items():
            found[f"nearest {kind}"][here] = nearest(y, own, other, fitted, sides[kind][0])[here]
    return found


def bounded_scores(
    y: np.ndarray,
    guess: np.ndarray,
    beyond: np.ndarray,
    lower: np.ndarray | None = None,
    upper: np.ndarray | None = None,
) -> dict[str, float]:
    """How well readings are predicted of which some say only that the value lies beyond a limit.

    Args:
        y: readings, such as log10 Kd; the limit itself where the value lies beyond, (row,).
        guess: predicted readings.
        beyond: flags of the readings that lie beyond.
        lower: lower ends of 90 % intervals, if there are any.
        upper: upper ends.

    Returns:
        rmse; r (Pearson); rmse_seen and rank_seen (Spearman), of readings within the limit; auroc, of telling
        these from the others; coverage_90, coverage_90_seen. Empty if a guess is missing.

    >>> y, guess = np.array([0.0, 1.0, 2.0, 2.0]), np.array([0.0, 1.0, 1.5, 2.0])
    >>> bounded_scores(y, guess, np.array([False, False, True, True]))["auroc"]
    1.0
    """
    if np.isnan(guess).any():
        return {}
    seen, off = ~beyond, guess - y
    many, few = int(beyond.sum()), int(seen.sum())
    above = (rankdata(guess)[beyond].sum() - many * (many + 1) / 2) / (many * few)  # Mann and Whitney's U
    found = {
        "rmse": float(np.sqrt(np.square(off).mean())),
        "r": float(np.corrcoef(guess, y)[0, 1]),
        "rmse_seen": float(np.sqrt(np.square(off[seen]).mean())),
        "rank_seen": float(np.corrcoef(rankdata(guess[seen]), rankdata(y[seen]))[0, 1]),
        "auroc": float(above),
    }
    if lower is None or upper is None:
        return found
    within = (lower <= y + ROUNDING) & (y <= upper + ROUNDING)
    return found | {"coverage_90": float(within.mean()), "coverage_90_seen": float(within[seen].mean())}


ROUNDING = 1e-9  # of logarithms: a bound at the limit holds the limit
