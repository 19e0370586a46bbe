"""Cells on which training is judged."""

from __future__ import annotations

import numpy as np

from multiscale.data.cells import Cells

__all__ = ["MOST", "RUN", "set_aside"]

MOST = 10_000
"""Watched cells at most: the standard error of their mean is then a hundredth of the spread over cells."""

RUN = 64
"""Neighbouring cells that are set aside together where they are read from disk."""


def set_aside(cells: Cells, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the cells that are fitted and of those that are watched, sorted.

    Args:
        cells: all cells.
        share: of them that is set aside for watching, at most 10,000; 0 = none: then some that are fitted are
            watched.
        seed: of the choice.

    Returns:
        two arrays, int64.
    """
    count, rng = len(cells), np.random.default_rng((seed, 1))
    wanted = min(round(share * count) if share else count, MOST)
    wanted = max(1, min(wanted, count - 1 if share else count))
    run = RUN if any(part.source.on_disk for part in cells.modalities.values()) else 1
    run = min(run, wanted)
    starts = rng.choice(count // run, wanted // run, replace=False)
    watched = np.sort((starts[:, None] * run + np.arange(run)).ravel())
    if not share or count == 1:
        return np.arange(count), watched
    return np.setdiff1d(np.arange(count), watched), watched
