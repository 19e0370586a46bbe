"""Mean readings of groups of cells under the conditions of a fit, or under interventions that nobody did."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from multiscale.data import Interventions
from multiscale.errors import DataError, nearest
from multiscale.fit.cells.predict import INTERVAL, positions

if TYPE_CHECKING:
    from multiscale.fit.cells.result import CellResult

__all__ = ["Done", "response"]

Done = Mapping[str, Interventions | pd.DataFrame] | Mapping[float, Interventions | pd.DataFrame]
"""What is done, by label or by dose."""


def response(
    result: CellResult, modality: str, done: Done | None, contexts: Sequence[str] | None, draws: int
) -> pd.DataFrame:
    """The table of `CellResult.response`."""
    known = list(result.problem.cells.modalities)
    if modality not in known:
        raise DataError(f"`modality` is `{modality}`; {nearest(modality, known)}")
    if done is None:
        conditions = result.problem.cells.condition.names
        parts = [_measured(result, modality, name, contexts, draws) for name in conditions]
        return pd.concat([part for part in parts if len(part)], ignore_index=True)
    dosed = all(isinstance(label, int | float) for label in done)
    parts = [
        _predicted(result, modality, contexts, draws, intervention=table).assign(
            **{"dose" if dosed else "condition": label}
        )
        for label, table in done.items()
    ]
    if not parts:
        raise DataError("`interventions` is empty; give a table by label or dose, or None.")
    return pd.concat(parts, ignore_index=True)


def _measured(
    result: CellResult, modality: str, condition: str, contexts: Sequence[str] | None, draws: int
) -> pd.DataFrame:
    """Rows of the cells that were under one condition; none if there are none."""
    cells, meant = result.problem.cells, positions(result.problem.cells, contexts)
    rows = np.arange(len(cells)) if meant is None else meant
    rows = rows[cells.condition.codes[rows] == cells.condition.names.index(condition)]
    if not len(rows):
        return pd.DataFrame()
    part = cells.modalities[modality]
    measured = part.values(rows).astype(float)[part.rows[rows] >= 0]
    observed = measured.mean(0) if len(measured) else np.nan
    names = cells.obs.index[rows].tolist()
    return _predicted(result, modality, names, draws).assign(condition=condition, observed=observed)


def _predicted(
    result: CellResult,
    modality: str,
    contexts: Sequence[str] | None,
    draws: int,
    intervention: Interventions | pd.DataFrame | None = None,
) -> pd.DataFrame:
    """A row per feature: mean over cells, its median and 90 % interval over draws."""
    options = {"contexts": contexts, "modalities": [modality], "draws": draws}
    drawn = result.sample(intervention=intervention, **options)[modality]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of draws in which no cell has a solution: NaN
        means = np.nanmean(drawn, axis=1)
        low, middle, high = np.nanquantile(means, [INTERVAL[0], 0.5, INTERVAL[1]], axis=0)
    features = list(result.problem.cells.modalities[modality].features)
    return pd.DataFrame({"feature": features, "predicted": middle, "lower": low, "upper": high})
