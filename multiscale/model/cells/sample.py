"""Some cells from which training begins: enough to say what is typical, few enough to hold in memory."""

from __future__ import annotations

import numpy as np

from multiscale.assays.channels import Summary
from multiscale.assays.channels.summary import summarise
from multiscale.data.cells import Cells, Modality

__all__ = ["sample_cells", "sample_summary", "visible_values"]

CELLS = 4096  # of a sample
ENTRIES = 20_000_000  # of a sample, readings of one modality
RUN = 64  # neighbouring cells that are read together from disk


def sample_cells(modality: Modality, seed: int = 0) -> np.ndarray:
    """Positions of cells that a modality measured, in order, int64, shape (cell,).

    Args:
        modality: whose cells are asked for.
        seed: of the choice.
    """
    measured = np.flatnonzero(modality.rows >= 0)
    count = min(CELLS, max(1, ENTRIES // max(len(modality.features), 1)))
    if len(measured) <= count:
        return measured
    rng = np.random.default_rng(seed)
    if not modality.source.on_disk:
        return np.sort(rng.choice(measured, count, replace=False))
    first = rng.choice(len(measured) // RUN, max(count // RUN, 1), replace=False)
    return measured[np.sort((first[:, None] * RUN + np.arange(RUN)).ravel())]


def visible_values(modality: Modality, cells: np.ndarray) -> np.ndarray:
    """Readings of some cells, NaN where not measured or hidden, float32, shape (cell, feature)."""
    values = modality.values(cells)
    values[modality.rows[cells] < 0] = np.nan
    if modality.hidden is not None:
        values[modality.hidden[cells].toarray().astype(bool)] = np.nan
    return values


def sample_summary(cells: Cells, name: str, seed: int = 0) -> Summary:
    """What a sample says of every feature of a modality; hidden entries say nothing.

    Args:
        cells: all modalities.
        name: of the modality.
        seed: of the choice.
    """
    modality = cells.modalities[name]
    chosen = sample_cells(modality, seed)
    size = modality.size[chosen] if modality.channel.sized else np.ones(len(chosen))
    batch = cells.batch.codes[chosen]
    values = _resampled(visible_values(modality, chosen), batch, seed)
    return summarise(values, size, batch, modality.features, cells.batch.names)


def _resampled(values: np.ndarray, batch: np.ndarray, seed: int) -> np.ndarray:
    """Hidden entries replaced by seen ones of the same feature and batch, which leaves their moments alone.

    Where a batch shows none, those of all batches stand in; 0 where a feature is hidden everywhere.
    """
    rng = np.random.default_rng(seed)
    blank = np.isnan(values)
    for feature in np.flatnonzero(blank.any(0)):
        column, hidden = values[:, feature], blank[:, feature]
        for code in np.unique(batch[hidden]):
            rows = np.flatnonzero(hidden & (batch == code))
            near = column[~hidden & (batch == code)]
            pool = near if len(near) else column[~hidden]
            values[rows, feature] = rng.choice(pool, len(rows)) if len(pool) else 0.0
    return values
