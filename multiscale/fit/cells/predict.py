"""Posterior predictions of cells, some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.data.cells import CellBatch, Cells, Loader
from multiscale.errors import DataError, nearest
from multiscale.fit.cells.noise import standard_normal
from multiscale.fit.cells.worlds import World
from multiscale.model.cells import CellModel

__all__ = ["CellPrediction", "Reader", "predict", "sample"]

PREDICTING = -2
"""Epoch of the noise of predictions."""

NUMBERS = 2**25
"""Readings that are held at once: draws × cells × features."""

CHUNK = 4096
"""Cells that are held at once where nothing is drawn."""

INTERVAL = (0.05, 0.95)


@dataclass(frozen=True)
class CellPrediction:
    """Predicted readings of one modality; every table has shape (cell, feature).

    Args:
        expected: mean over draws of the latent state of the expected reading.
        lower: of the 90 % interval of a new reading; None without draws.
        upper: of the same.
        expected_lower: of the 90 % interval of the expected reading.
        expected_upper: of the same.
    """

    expected: pd.DataFrame
    lower: pd.DataFrame | None = None
    upper: pd.DataFrame | None = None
    expected_lower: pd.DataFrame | None = None
    expected_upper: pd.DataFrame | None = None


class Reader:
    """Some cells, as the model was shown others.

    Args:
        model: fitted.
        cells: of the fit, or in the form of its registry.
        positions: which of them; None = all.
    """

    def __init__(self, model: CellModel, cells: Cells, positions: np.ndarray | None = None) -> None:
        self.model, self.cells = model, cells
        self.positions = np.arange(len(cells)) if positions is None else positions
        self.names = pd.Index(cells.obs.index[self.positions])
        self._loader = Loader(cells, dtype=model.dtype, shuffle=False)
        self._known = len(model.problem.cells.batch.names)

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.positions)

    def chunks(self, size: int = CHUNK) -> Iterator[tuple[slice, CellBatch]]:
        """Cells in their order, and where they lie among all that are read."""
        device = self.model.graph_theta.device
        for first in range(0, len(self), size):
            where = slice(first, min(first + size, len(self)))
            batch = self._loader.at(self.positions[where]).to(device)
            new = batch.batch >= self._known  # what is calibrated per batch is then the mean over those known
            yield where, batch._replace(batch=torch.where(new, -1, batch.batch))


def predict(
    reader: Reader, worlds: Sequence[World], modalities: Sequence[str], draws: int, seed: int
) -> dict[str, CellPrediction]:
    """Expected readings with 90 % intervals; draws are of all worlds in turn; see `CellResult.predict`."""
    names = ["expected"] + (["lower", "upper", "expected_lower", "expected_upper"] if draws else [])
    features = {name: list(reader.cells.modalities[name].features) for name in modalities}
    found = {
        name: {column: np.full((len(reader), len(f)), np.nan, dtype=np.float32) for column in names}
        for name, f in features.items()
    }
    for where, batch in reader.chunks(_chunk(features, draws)):
        expected, readings = _drawn(worlds, batch, modalities, draws, seed)
        for name in modalities:
            table = found[name]
            table["expected"][where] = expected[name].mean(0)
            if draws:
                table["lower"][where], table["upper"][where] = np.quantile(readings[name], INTERVAL, axis=0)
                ends = np.quantile(expected[name], INTERVAL, axis=0)
                table["expected_lower"][where], table["expected_upper"][where] = ends
    return {
        name: CellPrediction(
            **{key: pd.DataFrame(v, index=reader.names, columns=features[name]) for key, v in table.items()}
        )
        for name, table in found.items()
    }


def sample(
    reader: Reader, worlds: Sequence[World], modalities: Sequence[str], draws: int, seed: int
) -> dict[str, np.ndarray]:
    """New readings, shape (draw, cell, feature); see `CellResult.sample`."""
    features = {name: list(reader.cells.modalities[name].features) for name in modalities}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in modalities}
    for _, batch in reader.chunks(_chunk(features, draws)):
        readings = _drawn(worlds, batch, modalities, draws, seed)[1]
        for name in modalities:
            parts[name].append(readings[name])
    return {name: np.concatenate(part, axis=1) for name, part in parts.items()}


def _chunk(features: dict[str, list[str]], draws: int) -> int:
    """Cells that are held at once."""
    return max(1, min(CHUNK, NUMBERS // (max(draws, 1) * max(sum(map(len, features.values())), 1))))


def _drawn(
    worlds: Sequence[World], batch: CellBatch, modalities: Sequence[str], draws: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Expected and new readings of some cells, float32, (draw, cell, feature); at the mean without draws."""
    expected: dict[str, list[np.ndarray]] = {name: [] for name in modalities}
    readings: dict[str, list[np.ndarray]] = {name: [] for name in modalities}
    generator = torch.Generator(batch.index.device).manual_seed(_key(seed, batch))
    with torch.no_grad():
        posteriors = [there.model.encode(batch) for there in worlds]
        warm: list[Tensor | None] = [None] * len(worlds)
        for draw in range(max(draws, 1)):
            turn = draw % len(worlds)
            there, (mean, ln_sd) = worlds[turn], posteriors[turn]
            noise = standard_normal(seed, PREDICTING, batch.index, mean.shape[1], draw).to(mean.dtype)
            z = mean + ln_sd.exp() * noise if draws else mean
            state, failed = there.solved(z, batch, warm[turn])
            warm[turn] = None if state is None else state.warm
            means = there.model.expected(batch, z, state)
            news = there.model.draw(batch, z, state, generator) if draws else {}
            for name in modalities:
                expected[name].append(_array(means[name], failed))
                if draws:
                    readings[name].append(_array(news[name], failed))
    return (
        {name: np.stack(part) for name, part in expected.items()},
        {name: np.stack(part) for name, part in readings.items() if part},
    )


def _key(seed: int, batch: CellBatch) -> int:
    """A seed that depends on the first of some cells, so that no two groups get the same noise."""
    return int(np.random.SeedSequence((seed, int(batch.index[0]))).generate_state(1, np.uint64)[0] >> 1)


def _array(values: Tensor, failed: Tensor | None) -> np.ndarray:
    """Float32, NaN for cells that were not solved."""
    if failed is not None:
        values = torch.where(failed[:, None], torch.nan, values)
    return values.cpu().numpy().astype(np.float32)


def chosen(names: Sequence[str] | None, known: Sequence[str], what: str) -> list[str]:
    """Names that were asked for, all if none were.

    Raises:
        DataError: one is unknown.
    """
    for name in names or []:
        if name not in known:
            raise DataError(f"`{what}`: `{name}` is unknown; {nearest(name, known)}")
    return list(known if names is None else names)


def positions(cells: Cells, contexts: Sequence[str] | None) -> np.ndarray | None:
    """Positions of cells by their names, or by those of their conditions; None = all.

    Raises:
        DataError: a name is that of no cell.
    """
    if contexts is None:
        return None
    names = [contexts] if isinstance(contexts, str) else list(contexts)
    conditions = cells.condition.names
    if names and all(name in conditions for name in names):
        return np.flatnonzero(np.isin(cells.condition.codes, [conditions.index(name) for name in names]))
    found = cells.obs.index.get_indexer(pd.Index(names))
    if not names or (found < 0).any():
        odd = names[int((found < 0).argmax())] if names else ""
        raise DataError(f"`contexts`: `{odd}` is no cell; of conditions {nearest(odd, conditions)}")
    return found
