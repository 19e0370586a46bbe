"""Cells that nobody measured: latent states from the prior or from those of fitted cells, then readings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch

from multiscale.data.cells import CellBatch
from multiscale.errors import DataError, nearest
from multiscale.fit.cells.noise import standard_normal
from multiscale.fit.cells.predict import CHUNK, Reader
from multiscale.fit.cells.worlds import World
from multiscale.model.cells import CellModel

__all__ = ["Latent", "batch_code", "check_latent", "fresh_cells"]

FRESH = -3
"""Epoch of the noise of cells that were never measured."""

Latent = Literal["posterior", "prior"]
"""Where latent states come from: each from the posterior of a fitted cell, or from N(0, I)."""


def fresh_cells(
    reader: Reader,
    worlds: Sequence[World],
    count: int,
    modalities: Sequence[str],
    *,
    batch: int | None,
    latent: Latent,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Draw cells; see `CellResult.new_cells`.

    Args:
        reader: the cells that new ones are like, drawn from with replacement.
        worlds: physics in which they are, taken in turn, each with the latent states of its own model.
        count: number of new cells.
        modalities: those to draw.
        batch: number of their batch, −1 for one that the fit did not see; None = that of the cell drawn.
        latent: see `Latent`.
        seed: of all draws.
    """
    rng = np.random.default_rng((seed, count))
    alike = rng.choice(reader.positions, count)
    features = {name: list(reader.cells.modalities[name].features) for name in modalities}
    found = {name: np.empty((count, len(own)), dtype=np.float32) for name, own in features.items()}
    for turn, there in enumerate(worlds):
        own = np.arange(turn, count, len(worlds))
        for where, one in Reader(there.model, reader.cells, alike[own]).chunks(CHUNK):
            one = one if batch is None else one._replace(batch=torch.full_like(one.batch, batch))
            number = torch.as_tensor(own[where], device=one.index.device)
            for name, readings in _readings(there, one, number, latent, seed).items():
                if name in found:
                    found[name][own[where]] = readings
    return {name: pd.DataFrame(values, columns=features[name]) for name, values in found.items()}


def _readings(
    there: World, batch: CellBatch, number: torch.Tensor, latent: Latent, seed: int
) -> dict[str, np.ndarray]:
    """New readings of some cells, float32, NaN where the physics was not solved; (cell, feature)."""
    key = np.random.SeedSequence((seed, int(number[0]))).generate_state(1, np.uint64)[0]
    generator = torch.Generator(number.device).manual_seed(int(key >> 1))
    model = there.model
    with torch.no_grad():
        mean, ln_sd = model.encode(batch)
        # keyed by the new cell: two that are like the same cell must differ
        z = standard_normal(seed, FRESH, number, mean.shape[1]).to(mean.dtype)
        z = mean + ln_sd.exp() * z if latent == "posterior" else z
        state = there.state(z, batch)
        news = model.draw(batch, z, state, generator)
        if state is not None:
            news = {k: torch.where(state.solved[:, None], v, torch.nan) for k, v in news.items()}
    return {name: values.cpu().numpy().astype(np.float32) for name, values in news.items()}


def batch_code(model: CellModel, batch: str | None, new_batches: str) -> int | None:
    """Number of a batch, −1 for one that the fit did not see.

    Raises:
        DataError: it did not, and a new one was not allowed.
    """
    names = list(model.problem.cells.batch.names)
    if batch is None or batch in names:
        return None if batch is None else names.index(batch)
    if new_batches == "mean":
        return -1
    raise DataError(
        f'`batch` is `{batch}`, which the fit does not know; {nearest(batch, names)} `new_batches="mean"` '
        "takes the mean over those known."
    )


def check_latent(latent: str) -> None:
    """Refuse what is not one of `Latent`."""
    if latent not in get_args(Latent):
        raise DataError(f"`latent` is `{latent}`; {nearest(str(latent), get_args(Latent))}")
