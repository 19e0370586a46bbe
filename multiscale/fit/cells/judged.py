"""How well readings are explained, and hidden ones predicted, modality by modality."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.data.cells import CellBatch
from multiscale.fit.cells.noise import standard_normal
from multiscale.fit.cells.predict import CHUNK, PREDICTING, Reader

__all__ = ["COLUMNS", "kinds", "scores"]

COLUMNS = {
    "entries": "number of readings",
    "log_density": "mean log density at one draw of the posterior of each cell, nats per reading",
    "correlation": "median over features of Pearson's r between expected readings and readings",
    "r2": "share of the variance within features that expected readings explain, over all features",
}


def scores(reader: Reader, seed: int) -> pd.DataFrame:
    """Scores of readings that were shown to the model, and of hidden ones.

    Args:
        reader: which cells.
        seed: of the draw.

    Returns:
        a row per modality and kind of readings (`shown`, `hidden`), columns as in `COLUMNS`.
    """
    sums: dict[tuple[str, str], _Sums] = {}
    for _, batch in reader.chunks(CHUNK // 4):
        for kind, part in kinds(batch).items():
            for name, (counts, density, expected) in _entries(reader, batch, part, seed).items():
                key = (name, kind)
                if key not in sums:
                    sums[key] = _Sums(counts.shape[1])
                sums[key].add(counts, density, expected, batch.values[name])
    rows = {key: total.row() for key, total in sums.items() if total.density_count}
    index = pd.MultiIndex.from_tuples(list(rows), names=["modality", "readings"])
    return pd.DataFrame(list(rows.values()), index=index, columns=list(COLUMNS)).sort_index()


def kinds(batch: CellBatch) -> dict[str, CellBatch]:
    """The cells with what was shown counting, and with what was hidden."""
    found = {"shown": batch}
    if batch.hidden:
        everything = {
            name: torch.ones_like(values, dtype=torch.bool) for name, values in batch.values.items()
        }
        other = {name: ~hidden for name, hidden in batch.hidden.items()}
        found["hidden"] = batch._replace(hidden=everything | other)
    return found


def _entries(
    reader: Reader, shown: CellBatch, part: CellBatch, seed: int
) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Which readings count, shape (cell, feature), their log density per cell, and what is expected.

    The posterior follows from what was shown, whichever readings are judged.
    """
    model = reader.model
    with torch.no_grad():
        mean, ln_sd = model.encode(shown)
        noise = standard_normal(seed, PREDICTING, shown.index, mean.shape[1]).to(mean.dtype)
        z = mean + ln_sd.exp() * noise
        state = model.state(z, shown)
        solved = torch.ones(len(z), dtype=torch.bool, device=z.device) if state is None else state.solved
        density = model.log_densities(part, z, state)
        expected = model.expected(shown, mean, model.state(mean, shown))
    found = {}
    for name, values in part.values.items():
        counts = part.observed[name][:, None] & solved[:, None] & torch.ones_like(values, dtype=torch.bool)
        if name in part.hidden:
            counts = counts & ~part.hidden[name]
        found[name] = counts, torch.where(solved, density[name], 0.0), expected[name]
    return found


class _Sums:
    """Moments of readings and expectations, per feature.

    Args:
        features: their number.
    """

    def __init__(self, features: int) -> None:
        self.moments = np.zeros((6, features))
        self.density, self.density_count = 0.0, 0

    def add(self, counts: Tensor, density: Tensor, expected: Tensor, values: Tensor) -> None:
        """Further cells."""
        x, y = (torch.where(counts, part.double(), 0.0) for part in (expected, values))
        parts = (counts.double(), x, y, x * x, y * y, x * y)
        self.moments += torch.stack([part.sum(0) for part in parts]).cpu().numpy()
        self.density += float(density.sum())
        self.density_count += int(counts.sum())

    def row(self) -> dict[str, float]:
        """See `COLUMNS`."""
        n, x, y, xx, yy, xy = self.moments[:, self.moments[0] > 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            variance_x, variance_y = xx - x * x / n, yy - y * y / n
            r = (xy - x * y / n) / np.sqrt(variance_x * variance_y)
        left = (xx - 2 * xy + yy).sum()
        varies = np.isfinite(r)
        return {
            "entries": float(self.density_count),
            "log_density": self.density / self.density_count,
            "correlation": float(np.median(r[varies])) if varies.any() else float("nan"),
            "r2": float(1 - left / variance_y.sum()) if variance_y.sum() > 0 else float("nan"),
        }
