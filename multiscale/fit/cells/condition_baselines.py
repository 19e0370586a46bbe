"""Simple predictions of cells under a condition, or of a donor, that was held out: groups of training cells.

A group is the cells of one donor under one condition. Baselines know the mean of each training group and how
its cells scatter around it; they differ in where they put the mean of the group that was held out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multiscale.errors import ConfigError, DataError, nearest
from multiscale.fit.cells.baselines import NEIGHBOURS, PENALTIES

__all__ = ["GROUP_METHODS", "PredictedGroup", "predict_group"]

GROUP_METHODS = ("mean", "nearest_condition", "neighbours", "additive", "ridge")
"""Names of the baselines for groups of cells."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PredictedGroup:
    """Cells that a baseline expects.

    Args:
        expected: their mean, shape (feature,).
        cells: drawn, shape (cell, feature).
        setting: chosen penalty or number of conditions; NaN where nothing is chosen.
    """

    expected: Array
    cells: Array
    setting: float


def predict_group(
    method: str,
    values: np.ndarray,
    labels: pd.DataFrame,
    condition: str,
    donor: str = "",
    *,
    descriptors: pd.DataFrame | None = None,
    count: int = 1_000,
    seed: int = 0,
) -> PredictedGroup:
    """Cells of one donor under one condition, from training cells of others.

    `mean`: cells of all groups, each group alike. `nearest_condition`: those under the training condition
    with the nearest descriptors, of the same donor where there are some, else of all. `neighbours`: the same
    of the k nearest conditions. `additive`: mean a + α_donor + β_condition by least squares over group means;
    a donor or condition never seen has the mean effect of the others. `ridge`: the same with effects of the
    descriptors instead of β (of β itself without them), and a penalty. The last two draw cells as that mean +
    (a training cell − the mean of its group), of the same donor where there are some. k and penalty are those
    that predict the means of training groups best, each condition left out in turn; each group, where there
    are no descriptors or fewer than three conditions.

    Args:
        method: one of GROUP_METHODS.
        values: readings of the training cells, on the scale on which they are scored; shape (cell, feature).
        labels: columns `condition` and optionally `donor`, one row per training cell.
        condition: which condition to predict.
        donor: of which donor; '' where there are none.
        descriptors: what is known of conditions before any cell is measured, such as doses: numbers, index =
            conditions. For a condition that was never seen; none are needed for one seen in other donors.
        count: cells to draw.
        seed: of the draw.

    Raises:
        ConfigError: no such method.
        DataError: shapes do not fit; the group is in the training cells; or descriptors are needed.
    """
    groups = _Groups.of(method, values, labels, condition, donor, descriptors)
    rng = np.random.default_rng(seed)
    if method in ("additive", "ridge"):
        setting = _choose(groups, "ridge", PENALTIES) if method == "ridge" else 0.0
        mean = groups.mean_of(method, condition, donor, setting)
        cells = mean + groups.scatter(donor, count, rng)
        return PredictedGroup(mean, cells, setting if method == "ridge" else float("nan"))
    setting = {"mean": float("nan"), "nearest_condition": 1.0}.get(method)
    if setting is None:
        known = tuple(k for k in NEIGHBOURS if k < len(set(groups.keys["condition"])))
        setting = _choose(groups, method, known or (1,))
    chosen = groups.alike(method, condition, donor, setting)
    cells = np.concatenate([groups.members(g) for g in chosen])
    weight = np.concatenate([np.full(n := len(groups.members(g)), 1 / n) for g in chosen]) / len(chosen)
    return PredictedGroup(weight @ cells, cells[rng.choice(len(cells), count, p=weight)], setting)


@dataclass(frozen=True, eq=False)
class _Groups:
    """Training cells by condition and donor."""

    values: Array
    number: NDArray[np.int64]  # group of every cell
    keys: pd.DataFrame  # condition and donor of every group
    means: Array
    descriptors: Array | None  # standardised, one row per name
    names: pd.Index

    @classmethod
    def of(
        cls,
        method: str,
        values: np.ndarray,
        labels: pd.DataFrame,
        condition: str,
        donor: str,
        descriptors: pd.DataFrame | None,
    ) -> _Groups:
        """Check what was given and work out the means."""
        if method not in GROUP_METHODS:
            raise ConfigError(f"no baseline is called `{method}`; {nearest(method, GROUP_METHODS)}")
        cells = np.asarray(values, dtype=np.float64)
        if "condition" not in labels or cells.ndim != 2 or len(labels) != len(cells) or not len(cells):
            raise DataError(
                f"`labels` needs a column `condition` and a row per cell; got {list(labels.columns)}, "
                f"{len(labels)} rows for {cells.shape} values."
            )
        donors = labels["donor"] if "donor" in labels else pd.Series("", labels.index)
        both = pd.DataFrame({"condition": labels["condition"].astype(str), "donor": donors.astype(str)})
        keys = both.drop_duplicates(ignore_index=True)
        if ((keys["condition"] == condition) & (keys["donor"] == donor)).any():
            raise DataError(
                f"condition `{condition}` of donor `{donor}` is in the training cells; leave it out."
            )
        number = pd.MultiIndex.from_frame(keys).get_indexer(pd.MultiIndex.from_frame(both))
        means = np.stack([cells[number == g].mean(0) for g in range(len(keys))])
        return cls(cells, number, keys, means, *_standard(descriptors, {*keys["condition"], condition}))

    def members(self, group: int) -> Array:
        """Cells of a group."""
        return self.values[self.number == group]

    def scatter(self, donor: str, count: int, rng: np.random.Generator) -> Array:
        """Training cells less the mean of their group, of the donor where there are some."""
        rows = np.flatnonzero((self.keys["donor"] == donor).to_numpy()[self.number])
        rows = rng.choice(rows if len(rows) else np.arange(len(self.values)), count)
        return self.values[rows] - self.means[self.number[rows]]

    def alike(self, method: str, condition: str, donor: str, count: float) -> list[int]:
        """Groups whose cells are taken."""
        wanted = self.keys["condition"]
        if method != "mean":
            near = (
                [condition] if count == 1 and condition in set(wanted) else self._near(condition, int(count))
            )
            wanted = wanted[wanted.isin(near)]
        own = wanted[self.keys["donor"][wanted.index] == donor]
        return (own if len(own) and method != "mean" else wanted).index.tolist()

    def _near(self, condition: str, count: int) -> list[str]:
        seen = list(dict.fromkeys(self.keys["condition"]))
        distance = np.linalg.norm(self._described(seen) - self._described([condition]), axis=1)
        return [seen[i] for i in np.argsort(distance, kind="stable")[:count]]

    def _described(self, conditions: list[str]) -> Array:
        if self.descriptors is None:
            raise DataError(
                "a condition that was never seen has no neighbours without `descriptors`: give a table of "
                "numbers, index = conditions, such as doses."
            )
        return self.descriptors[self.names.get_indexer(pd.Index(conditions))]

    def mean_of(self, method: str, condition: str, donor: str, penalty: float) -> Array:
        """Mean of a group by a linear model of the means of others."""
        parts = [_indicators(self.keys["donor"], donor)]
        if method == "additive" or self.descriptors is None:
            parts.append(_indicators(self.keys["condition"], condition))
        else:
            seen = self._described(self.keys["condition"].tolist())
            parts.append((seen - seen.mean(0), (self._described([condition]) - seen.mean(0))[0]))
        design, wanted = np.hstack([a for a, _ in parts]), np.concatenate([b for _, b in parts])
        centre = self.means.mean(0)
        gram = design @ design.T
        unit = np.trace(gram) / len(gram) or 1.0
        dual = np.linalg.pinv(gram + penalty * unit * np.eye(len(gram)), hermitian=True)
        return centre + wanted @ design.T @ dual @ (self.means - centre)

    def only(self, kept: NDArray[np.int64]) -> _Groups:
        """Some of the groups."""
        rows = np.isin(self.number, kept)
        number = np.searchsorted(kept, self.number[rows])
        keys = self.keys.iloc[kept].reset_index(drop=True)
        return _Groups(self.values[rows], number, keys, self.means[kept], self.descriptors, self.names)


def _choose(groups: _Groups, method: str, candidates: tuple[float, ...]) -> float:
    """The candidate that predicts the means of training groups best when they are left out."""
    whole = groups.descriptors is not None and groups.keys["condition"].nunique() > 2
    part = groups.keys["condition"].to_numpy() if whole else np.arange(len(groups.keys))
    if len(candidates) == 1 or len(part) < 3:
        return float(candidates[0])
    losses = np.zeros(len(candidates))
    for left_out in dict.fromkeys(part):
        others = groups.only(np.flatnonzero(part != left_out))
        for g in np.flatnonzero(part == left_out):
            key = groups.keys["condition"].iloc[g], groups.keys["donor"].iloc[g]
            means = np.stack([_mean(others, method, *key, candidate) for candidate in candidates])
            losses += ((groups.means[g] - means) ** 2).sum(1)
    return float(candidates[int(np.argmin(losses))])


def _mean(groups: _Groups, method: str, condition: str, donor: str, setting: float) -> Array:
    if method == "ridge":
        return groups.mean_of("ridge", condition, donor, setting)
    return groups.means[groups.alike(method, condition, donor, setting)].mean(0)


def _indicators(labels: pd.Series, wanted: str) -> tuple[Array, Array]:
    """Centred indicators of the groups and of the wanted label: 0, the mean effect, if it was never seen."""
    names = list(dict.fromkeys(labels))
    design = (labels.to_numpy()[:, None] == np.array(names, dtype=object)).astype(float)
    row = np.array([float(name == wanted) for name in names]) - design.mean(0)
    return design - design.mean(0), row if wanted in names else np.zeros(len(names))


def _standard(descriptors: pd.DataFrame | None, needed: set[str]) -> tuple[Array | None, pd.Index]:
    """Descriptors of all conditions, every column with mean 0 and variance 1."""
    if descriptors is None:
        return None, pd.Index([])
    names = descriptors.index.astype(str)
    missing = sorted(needed - set(names))
    if missing:
        raise DataError(
            f"`descriptors` has no row for condition `{missing[0]}`; {nearest(missing[0], names)}"
        )
    table = descriptors.to_numpy(float)
    if not np.isfinite(table).all():
        raise DataError(
            "`descriptors` must be finite numbers; encode missing ones as 0 and a column that says so."
        )
    sd = table.std(0)
    return (table - table.mean(0)) / np.where(sd > 0, sd, 1.0), names
