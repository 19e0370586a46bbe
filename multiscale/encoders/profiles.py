"""Features of entities learned from what was measured of them across entities of another kind.

Drugs that bind like receptors are alike, whatever their structures. Every entity of the other kind is a draw
of a normal vector over the fitted entities, of which readings show some components; its covariance says who
is alike, and its components are the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from multiscale.data import Readings
from multiscale.encoders.bound_sources import OTHERS, BoundSource, entities_of
from multiscale.encoders.feature_maps import components
from multiscale.errors import DataError

if TYPE_CHECKING:
    from multiscale.encoders.sources import FeatureSource

__all__ = ["BoundProfile", "profile_covariance"]

MOST = 3_000  # entities: a round costs as many cubed, and more
ROUNDS = 100
CALM = 1e-3
"""Largest change of the covariance in a round, as a share of its norm, at which the iteration ends."""


class BoundProfile(BoundSource):
    """Components of the covariance of fitted entities; others are placed among them by the prior's features.

    An entity with prior features f is at f F⁺ X, with F and X the prior's features of the fitted entities and
    their own; without prior at the mean, zero.

    The energies from which the covariance is learned are fitted again with these features: it is chosen by
    the data as the width of a prior is.

    Args:
        source: options.
        prior: features of the same entities; None = each is like itself alone.
        readings: fitted rows.

    Raises:
        DataError: no reading is an energy of such pairs, or there are too many entities.
    """

    def __init__(
        self, source: FeatureSource, prior: BoundSource | None, readings: Sequence[Readings]
    ) -> None:
        self.entity, self.prior = source.entity, prior
        found = [entities_of(part, source.entity) for part in readings]
        self.names = list(dict.fromkeys(name for names, _, _ in found for name in names))
        self.position = {name: i for i, name in enumerate(self.names)}
        values = self._values(readings, source)
        known = np.eye(len(self.names)) if prior is None else self._prior_features(prior, readings)
        strength = float(len(self.names) if source.strength is None else source.strength)
        covariance = profile_covariance(values, known @ known.T, strength)
        self.own = _features(covariance, source.rank)
        self.labels = [f"component {i + 1}" for i in range(self.own.shape[1])]
        self.others = source.unseen == "prior"
        if self.others:
            self.labels.append(OTHERS)
        self.placed = None if prior is None else np.linalg.pinv(known, rcond=1e-10) @ self.own

    def features(self, readings: Readings) -> tuple[np.ndarray, np.ndarray]:
        """Features of the entities of these rows; see `BoundSource`."""
        names, _, entity = entities_of(readings, self.entity)
        at = np.array([self.position.get(name, -1) for name in names], dtype=np.int64)
        features = np.where(at[:, None] >= 0, self.own[at], 0.0)
        if (at < 0).any() and self.prior is not None and self.placed is not None:
            known, which = self.prior.features(readings)
            place = np.zeros(len(names), dtype=np.int64)
            place[entity] = which
            features[at < 0] = known[place[at < 0]] @ self.placed
        if self.others:  # a typical entity has features of length one
            left = np.sqrt((1.0 - np.square(features).sum(1)).clip(min=0.0))
            features = np.column_stack([features, np.where(at < 0, left, 0.0)])
        return features, entity

    def _prior_features(self, prior: BoundSource, readings: Sequence[Readings]) -> np.ndarray:
        """Of the fitted entities, shape (entity, feature)."""
        found = np.zeros((len(self.names), len(prior.labels)))
        for part in readings:
            names, _, entity = entities_of(part, self.entity)
            features, which = prior.features(part)
            found[np.array([self.position[name] for name in names])[entity]] = features[which]
        return found

    def _values(self, readings: Sequence[Readings], source: FeatureSource) -> np.ndarray:
        """Mean energy of every pair, NaN where there is no reading, shape (entity, other)."""
        assert source.across is not None
        rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        others: dict[str, int] = {}
        for part in readings:
            energies = part.instrument.energies(part.arrays) if source.across in part.entities else None
            if energies is None:
                continue
            names, _, entity = entities_of(part, source.entity)
            across, _, other = entities_of(part, source.across)
            place = np.array([others.setdefault(name, len(others)) for name in across])
            rows.append((np.array([self.position[name] for name in names])[entity], place[other], energies))
        if not rows or not any(np.isfinite(energies).any() for _, _, energies in rows):
            raise DataError(
                f"`profile` of `{source.entity}` across `{source.across}`: no fitted reading is an energy of"
                " such a pair; read affinities, or use another kind of features."
            )
        if len(self.names) > MOST:
            raise DataError(
                f"`profile`: {len(self.names)} `{source.entity}` are too many (at most {MOST}); use another"
                " kind of features."
            )
        return _means(rows, (len(self.names), len(others)))


def profile_covariance(values: np.ndarray, prior: np.ndarray, strength: float) -> np.ndarray:
    """Covariance of entities over draws of the other kind, of largest posterior density, by EM.

    y_ij = μ_i + f_ij + noise, columns f_j ~ N(0, S), S ~ inverse Wishart about S₀ with weight ν: every round
    sets S = (Σ_j (E f_j E f_jᵀ + Cov f_j) + ν S₀)/(n + ν), and μ and the noise likewise. S₀ = w² K + b², w²
    the variance within columns and b² that of their means, after the means of rows; a row's mean is drawn to
    that of all rows as by one reading.

    Args:
        values: y, kcal/mol, NaN where nothing was read, shape (entity, other).
        prior: K, who is alike before any reading, of mean diagonal one, shape (entity, entity).
        strength: ν.

    Returns:
        S, shape (entity, entity).

    Source: Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x.
    """
    seen = np.isfinite(values)
    y = np.where(seen, values, 0.0)
    mean, between, within = _moments(y, seen)
    start = within * prior + between
    covariance, noise = start + within * np.eye(len(y)), 0.5 * within
    columns = np.flatnonzero(seen.any(0))
    for _ in range(ROUNDS):
        total, drawn, spread = strength * start, np.zeros_like(y), np.zeros_like(y)
        for j in columns:
            on = np.flatnonzero(seen[:, j])
            gain = np.linalg.solve(covariance[np.ix_(on, on)] + noise * np.eye(len(on)), covariance[on]).T
            drawn[:, j] = gain @ (y[on, j] - mean[on])
            left = covariance - gain @ covariance[on]
            spread[:, j] = left.diagonal()
            total = total + np.outer(drawn[:, j], drawn[:, j]) + left
        updated = total / (len(columns) + strength)
        change = np.linalg.norm(updated - covariance) / np.linalg.norm(updated)
        covariance = 0.5 * (updated + updated.T)
        rest = np.where(seen, y - drawn, 0.0)
        mean = (rest.sum(1) + rest.sum() / seen.sum()) / (seen.sum(1) + 1.0)
        error = np.square(y - drawn - mean[:, None]) + spread
        noise = float(error[seen].mean())
        if change < CALM:
            break
    return covariance


def _moments(y: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Means of rows, variance of the columns' means about them, and variance within columns."""
    overall = y.sum() / seen.sum()
    mean = (y.sum(1) + overall) / (seen.sum(1) + 1.0)
    rest = np.where(seen, y - mean[:, None], 0.0)
    count = seen.sum(0)
    column = rest.sum(0) / np.maximum(count, 1)
    within = float(np.square(rest - column)[seen].mean())
    between = float(np.square(column[count > 0]).mean())
    if not within > 0:
        raise DataError("`profile`: all readings of an entity are alike; use another kind of features.")
    return mean, between, within


def _features(covariance: np.ndarray, rank: int | None) -> np.ndarray:
    """Components of the centred covariance, whose squares sum to one for a typical entity."""
    values, vectors = np.linalg.eigh(covariance)
    raw = vectors * np.sqrt(values.clip(min=0.0))
    centred = raw - raw.mean(0)
    features = centred @ components(centred, rank)
    return features * np.sqrt(len(features) / np.square(features).sum())


def _means(rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], shape: tuple[int, int]) -> np.ndarray:
    """Mean of the readings of every pair."""
    total, count = np.zeros(shape), np.zeros(shape)
    for entity, other, energies in rows:
        known = np.isfinite(energies)
        np.add.at(total, (entity[known], other[known]), energies[known])
        np.add.at(count, (entity[known], other[known]), 1.0)
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
