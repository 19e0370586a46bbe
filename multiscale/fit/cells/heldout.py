"""Readings of one modality that are hidden, what simple predictions say of them, and how all are judged.

Readings are counts; everything is predicted and judged as ln(1 + count), within batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from multiscale.data.cells import Cells
from multiscale.errors import ConfigError, DataError, nearest
from multiscale.fit.cells.baselines import NEIGHBOURS, Predicted, impute, predict_features
from multiscale.fit.cells.scores import entry_scores

__all__ = [
    "FEW",
    "KINDS",
    "baseline",
    "hide",
    "judge_hidden",
    "measured",
    "messages_near",
    "overdispersed",
    "principal_components",
    "summarise_scores",
]

KINDS = ("cells", "entries", "features")
"""What is hidden: all readings of some cells, single readings, or some features in all cells."""

FEW = 10
"""Fewer hidden readings of a feature in a batch are not judged: their rank correlation is noise."""

SPLITTING = 1
"""Second key of random choices of what to hide."""

NB_DISPERSION = 100.0
"""Dispersion r of counts that vary by depth alone; Lause et al. 2021."""

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def measured(cells: Cells, name: str) -> Flags:
    """Which readings of a modality there are, shape (cell, feature)."""
    part = cells.modalities[name]
    there = np.repeat((part.rows >= 0)[:, None], len(part.features), axis=1)
    return there if part.hidden is None else there & ~part.hidden.toarray().astype(bool)


def hide(cells: Cells, name: str, kind: str, seed: int, share: float, among: Sequence[str] = ()) -> Flags:
    """Readings to hide, chosen at random from those that there are.

    Seeds 0 to 1/share − 1 hide features that do not overlap, so that together they hide each one once.

    Args:
        cells: all of them.
        name: of the modality.
        kind: one of KINDS.
        seed: of the choice.
        share: of cells (in every batch), readings or features.
        among: features to choose from, if kind is `features`; all if empty.

    Returns:
        bool, shape (cell, feature).

    Raises:
        ConfigError: no such kind, or a share that is not between 0 and 1.
    """
    if kind not in KINDS:
        raise ConfigError(f"`kind` is `{kind}`; {nearest(kind, KINDS)}")
    if not 0 < share < 1:
        raise ConfigError(f"`share` must lie between 0 and 1; got {share}.")
    there = measured(cells, name)
    if kind == "features":
        return there & _fold(cells.modalities[name].features, among, seed, share)
    rng = np.random.default_rng((seed, SPLITTING))  # not the stream of a baseline of that seed
    if kind == "entries":
        return there & (rng.random(there.shape) < share)
    chosen = np.zeros(len(cells), dtype=bool)
    for code in np.unique(cells.batch.codes):
        rows = np.flatnonzero((cells.batch.codes == code) & there.any(1))
        chosen[rng.permutation(rows)[: round(share * len(rows))]] = True
    return there & chosen[:, None]


def _fold(features: Sequence[str], among: Sequence[str], seed: int, share: float) -> Flags:
    """A part of the features, shape (feature,)."""
    names, parts = list(among or features), round(1 / share)
    round_, part = divmod(seed, parts)
    order = np.random.default_rng(round_).permutation(len(names))
    chosen = {names[i] for i in order[part::parts]}
    return np.array([name in chosen for name in features])


def overdispersed(counts: np.ndarray, most: int) -> NDArray[np.int64]:
    """Features whose counts vary most beyond what depth explains, in their order.

    Variance of Pearson residuals (y − μ)/√(μ + μ²/r), μ = depth of the cell × share of the feature, cut off
    at ±√cells.

    Args:
        counts: shape (cell, feature).
        most: how many.

    Source: Lause, Berens, Kobak 2021, doi:10.1186/s13059-021-02451-7.

    >>> overdispersed(np.array([[50.0, 9.0, 0.0], [50.0, 1.0, 0.0], [50.0, 5.0, 0.0]]), 1).tolist()
    [1]
    """
    y = np.asarray(counts, dtype=np.float64)
    mean = y.sum(1, keepdims=True) * (y.sum(0) / y.sum())
    sd = np.sqrt(mean + mean**2 / NB_DISPERSION)
    residual = np.divide(y - mean, sd, out=np.zeros_like(y), where=sd > 0)
    varies = residual.clip(-np.sqrt(len(y)), np.sqrt(len(y))).var(0)
    return np.sort(np.argsort(-varies, kind="stable")[:most])


def principal_components(cells: Cells, name: str, count: int) -> Array:
    """Leading components of ln(1 + count/size), centred within batches, shape (cell, count).

    Raises:
        DataError: the modality did not measure every cell.
    """
    part = cells.modalities[name]
    if not measured(cells, name).all():
        raise DataError(f"`{name}` did not measure every cell, or hides readings; components need them all.")
    values = np.log1p(part.values(np.arange(len(cells))) / part.size[:, None])
    centred = values - _batch_means(values, np.ones(values.shape, dtype=bool), cells.batch.codes)
    left, size, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    return left[:, :count] * size[:count]


def baseline(
    method: str,
    kind: str,
    cells: Cells,
    name: str,
    hidden: Flags,
    inputs: Array,
    *,
    draws: int = 0,
    seed: int = 0,
) -> Predicted:
    """What a simple prediction says of hidden cells or entries, as ln(1 + count).

    Means of batches are taken off before, from visible readings, and put back.

    Args:
        method: one of `baselines.METHODS`.
        kind: `cells` or `entries`.
        cells: all of them.
        name: of the modality.
        hidden: bool, shape (cell, feature).
        inputs: what else was measured of the cells, shape (cell, input).
        draws: readings drawn of every cell or entry.
        seed: of choices and draws.

    Returns:
        of all cells, shape (cell, feature); only what is hidden means something.

    Raises:
        ConfigError: nothing else of the feature was measured, so that no baseline can say anything.
    """
    values = np.log1p(cells.modalities[name].values(np.arange(len(cells))).astype(np.float64))
    seen = measured(cells, name) & ~hidden
    if kind not in ("cells", "entries"):
        raise ConfigError(f"no baseline predicts hidden {kind}; use `messages_near` for features.")
    centre = _batch_means(values, seen, cells.batch.codes)
    y = np.where(seen, values - centre, 0.0)
    if kind == "entries":
        found = impute(method, y, ~seen, inputs=inputs, draws=draws, seed=seed)
    else:
        found = _cells(method, y, seen, hidden, inputs, draws, seed)
    return Predicted(found.expected + centre, np.maximum(found.draws + centre, 0.0), found.setting)


def _cells(
    method: str, y: Array, seen: Flags, hidden: Flags, inputs: Array, draws: int, seed: int
) -> Predicted:
    """Features that were measured in the same cells are predicted together."""
    expected, drawn, setting = np.zeros(y.shape), np.zeros((draws, *y.shape)), float("nan")
    groups = np.unique(np.vstack([seen, hidden]), axis=1, return_inverse=True)[1].ravel()
    for group in np.unique(groups):
        columns = np.flatnonzero(groups == group)
        known, new = np.flatnonzero(seen[:, columns[0]]), np.flatnonzero(hidden[:, columns[0]])
        if len(new):
            part = predict_features(
                method, inputs[known], y[np.ix_(known, columns)], inputs[new], draws=draws, seed=seed
            )
            expected[np.ix_(new, columns)], setting = part.expected, part.setting
            drawn[:, new[:, None], columns] = part.draws
    return Predicted(expected, drawn, setting)


def messages_near(
    cells: Cells, rna: str, name: str, hidden: Flags, genes: Mapping[str, Sequence[str]], inputs: Array
) -> tuple[Array, int]:
    """A feature that was never measured by its own transcripts, averaged over the cells nearby.

    ln(1 + Σ counts/size) of a feature's transcripts, meaned over a cell and its nearest ones. Their number is
    the one at which the messages of visible features follow their readings best (mean rank correlation).

    Args:
        cells: all of them.
        rna: modality of the transcripts.
        name: modality of what is hidden.
        hidden: bool, shape (cell, feature).
        genes: transcripts of features.
        inputs: by which cells are near, shape (cell, input).

    Returns:
        shape (cell, feature), of features without transcripts 0, and the chosen number of other cells.
    """
    part = cells.modalities[name]
    raw = np.zeros((len(cells), len(part.features)))
    for j, feature in enumerate(part.features):
        if genes.get(feature):
            own = cells.modalities[rna].only(genes[feature])
            raw[:, j] = np.log1p(own.values(np.arange(len(cells))).sum(1) / own.size)
    there = measured(cells, name)
    known = np.array([feature in genes for feature in part.features])
    near = np.argsort(((inputs[:, None] - inputs[None]) ** 2).sum(-1), axis=1, kind="stable")
    found = {k: raw[near[:, : k + 1]].mean(1) for k in (0, *NEIGHBOURS) if k < len(cells)}
    scores = {
        k: judge_hidden(cells, name, there & ~hidden & known, smooth)["spearman"].mean()
        for k, smooth in found.items()
    }
    best = max(scores, key=lambda k: np.nan_to_num(scores[k]))
    return found[best], best


def judge_hidden(
    cells: Cells, name: str, hidden: Flags, expected: np.ndarray, proper: np.ndarray | None = None
) -> pd.DataFrame:
    """Scores of hidden readings, a row per batch and feature with at least ten of them.

    Args:
        cells: all of them.
        name: of the modality.
        hidden: what is judged, bool, shape (cell, feature).
        expected: as ln(1 + count), same shape.
        proper: CRPS of every reading, same shape, or None.

    Returns:
        columns `batch`, `feature`, `n`, `rmse`, `spearman` (0 where the prediction is constant, NaN where the
        readings are), and with `proper` also `crps`.
    """
    part = cells.modalities[name]
    y = np.log1p(part.values(np.arange(len(cells))).astype(np.float64))
    tables = []
    for code, batch in enumerate(cells.batch.names):
        rows = cells.batch.codes == code
        entries = hidden[rows]
        table = entry_scores(y[rows], expected[rows], entries, features=part.features, log1p=False)
        ranked = [
            np.ptp(rankdata(y[rows, j][keep])) > 0 if keep.any() else False
            for j, keep in enumerate(entries.T)
        ]
        table["spearman"] = table["spearman"].mask(table["spearman"].isna() & np.array(ranked), 0.0)
        if proper is not None:
            count = entries.sum(0)
            total = np.where(entries, proper[rows], 0.0).sum(0)
            table["crps"] = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        tables.append(table[table["n"] >= FEW].reset_index().assign(batch=batch))
    return pd.concat(tables, ignore_index=True).drop(columns=["mae", "bias"])


def summarise_scores(tables: Sequence[pd.DataFrame]) -> pd.Series:
    """Mean over features and batches of each seed's scores, then mean and sd over seeds.

    Args:
        tables: of `judge_hidden`, one per seed.

    Returns:
        `rmse`, `rmse sd`, and so on of every score that there is.
    """
    names = [name for name in ("rmse", "crps", "spearman") if name in tables[0]]
    means = pd.DataFrame([table[names].mean() for table in tables])
    found = {}
    for name in names:
        found[name] = means[name].mean()
        found[f"{name} sd"] = means[name].std(ddof=1) if len(means) > 1 else float("nan")
    return pd.Series(found)


def _batch_means(values: np.ndarray, seen: Flags, batch: NDArray) -> Array:
    """Mean of the visible readings of a cell's batch, of all batches where it has none, (cell, feature)."""

    def mean(rows: NDArray) -> Array:
        there = seen[rows]
        count = there.sum(0)
        total = np.where(there, values[rows], 0.0).sum(0)
        return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)

    every = np.nan_to_num(mean(np.arange(len(values))))
    found = np.empty(values.shape)
    for code in np.unique(batch):
        own = mean(np.flatnonzero(batch == code))
        found[batch == code] = np.where(np.isnan(own), every, own)
    return found
