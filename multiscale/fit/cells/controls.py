"""Whether the graph helps: hidden readings under a fit and under its controls, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.fit.cells.judged import kinds
from multiscale.fit.cells.noise import standard_normal
from multiscale.fit.cells.predict import CHUNK, PREDICTING, Reader
from multiscale.fit.cells.scores import predictive_log_density

if TYPE_CHECKING:
    from multiscale.data.cells import CellBatch
    from multiscale.fit.cells.result import CellResult

__all__ = ["DRAWS", "compare_fits", "hidden_densities"]

DRAWS = 16
"""Draws of the latent state of a cell that the density of its hidden readings is a mean over."""

ALL = "all"
"""In place of a modality: all of them."""


def hidden_densities(result: CellResult, draws: int = DRAWS) -> pd.DataFrame:
    """Log density of the hidden readings of every cell: ln 1/S Σ_s p(hidden readings | z_s), in nats.

    The posterior of z follows from what was shown.

    Args:
        result: a fit of cells of which some readings are hidden.
        draws: S.

    Returns:
        a row per modality and cell with hidden readings: `modality`, `cell`, `readings` (their number),
        `log_density` (of all of them together; NaN where the network of the cell was not solved).
    """
    cells = result.problem.cells
    reader = Reader(result.model, cells, _positions(result))
    seed, rows = int(result.settings.get("seed", 0)), [_rows("", [], np.zeros(0), np.zeros(0))]
    for where, batch in reader.chunks(CHUNK // 4):
        for name, count, density in _of_batch(result, batch, draws, seed):
            some = count > 0
            rows.append(_rows(name, reader.names[where][some], count[some], density[some]))
    return pd.concat(rows, ignore_index=True)


def compare_fits(result: CellResult, controls: Mapping[str, CellResult]) -> pd.DataFrame:
    """Hidden readings under a fit and its controls.

    Standard errors are those of a ratio over cells: sd = √Σ_c (d_c − D n_c)² / Σ_c n_c, with d_c the
    difference of the log densities of cell c, n_c its hidden readings and D = Σ_c d_c / Σ_c n_c.

    Args:
        result: the fit; some readings of its cells are hidden.
        controls: by name; the same cells.

    Returns:
        a row per control and modality, and for `all` together: `control`, `modality`, `cells`, `readings`,
        `fitted` and `without` (mean log densities under the fit and the control, nats per reading),
        `difference` (fit − control) and its `standard_error`. Without controls one row per modality, with
        NaN.
    """
    ours = hidden_densities(result)
    others = {name: hidden_densities(control) for name, control in controls.items()}
    if not others:
        others = {"": ours.assign(log_density=np.nan)}
    rows = []
    for name, other in others.items():
        pairs = ours.merge(other, on=["modality", "cell", "readings"], suffixes=("", "_control"))
        pairs = pairs[pairs["log_density"].notna() & (pairs["log_density_control"].notna() | (name == ""))]
        for modality, part in [(ALL, pairs), *pairs.groupby("modality", sort=False)]:
            if len(part):
                rows.append({"control": name, "modality": modality, **_compared(part)})
    columns = ["control", "modality", "cells", "readings", "fitted", "without", "difference"]
    return pd.DataFrame(rows, columns=pd.Index([*columns, "standard_error"]))


def _compared(part: pd.DataFrame) -> dict[str, float]:
    """One row of a comparison."""
    sums = part.groupby("cell", sort=False)[["readings", "log_density", "log_density_control"]].sum(
        min_count=1
    )
    count, ours, theirs = sums.to_numpy(float).T
    difference, total = ours - theirs, count.sum()
    mean = float(difference.sum() / total)
    return {
        "cells": len(sums),
        "readings": int(total),
        "fitted": float(ours.sum() / total),
        "without": float(theirs.sum() / total),
        "difference": mean,
        "standard_error": float(np.sqrt(((difference - mean * count) ** 2).sum()) / total),
    }


def _positions(result: CellResult) -> np.ndarray:
    """Cells with a hidden reading."""
    cells = result.problem.cells
    found = np.zeros(len(cells), dtype=bool)
    for part in cells.modalities.values():
        if part.hidden is not None:
            found |= (np.diff(part.hidden.indptr) > 0) & (part.rows >= 0)
    return np.flatnonzero(found)


def _of_batch(
    result: CellResult, batch: CellBatch, draws: int, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Per modality numbers of hidden readings and their log densities, shape (cell,)."""
    model, hidden = result.model, kinds(batch)["hidden"]
    found: dict[str, list[Tensor]] = {name: [] for name in batch.hidden}
    with torch.no_grad():
        mean, ln_sd = model.encode(batch)
        for draw in range(draws):
            noise = standard_normal(seed, PREDICTING, batch.index, mean.shape[1], draw).to(mean.dtype)
            z = mean + ln_sd.exp() * noise
            state = model.state(z, batch)
            densities = model.log_densities(hidden, z, state)
            for name, values in found.items():
                solved = densities[name]
                values.append(solved if state is None else torch.where(state.solved, solved, torch.nan))
    for name, values in found.items():
        count = (batch.hidden[name] & batch.observed[name][:, None]).sum(1)
        yield name, count.cpu().numpy(), predictive_log_density(torch.stack(values).cpu().numpy())


def _rows(name: str, cells: Any, count: np.ndarray, density: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {"modality": name, "cell": pd.Series(cells, dtype=str), "readings": count, "log_density": density}
    )
