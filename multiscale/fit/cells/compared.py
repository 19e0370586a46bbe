"""Measured readings beside those that the model predicts and draws, one row per cell and feature."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from multiscale.fit.cells.predict import CellPrediction, Reader

__all__ = ["compared"]


def compared(
    reader: Reader, predictions: Mapping[str, CellPrediction], drawn: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Join what was measured to what was predicted and drawn; see `CellResult.compare`.

    Args:
        reader: which cells.
        predictions: with intervals, by modality.
        drawn: new readings, (1, cell, feature), by modality.
    """
    parts = [_modality(reader, name, one, drawn[name][0]) for name, one in predictions.items()]
    return pd.concat(parts, ignore_index=True)


def _modality(reader: Reader, name: str, predicted: CellPrediction, drawn: np.ndarray) -> pd.DataFrame:
    """Rows of one modality, cell by cell."""
    part = reader.cells.modalities[name]
    observed = part.values(reader.positions).astype(float)
    observed[part.rows[reader.positions] < 0] = np.nan
    hidden = np.zeros(observed.shape, dtype=bool)
    if part.hidden is not None:
        hidden = part.hidden[reader.positions].toarray().astype(bool)
    count = len(part.features)
    columns = {"observed": observed, "drawn": drawn, "predicted": predicted.expected, "hidden": hidden}
    columns |= {"lower": predicted.lower, "upper": predicted.upper}
    return pd.DataFrame(
        {
            "cell": np.repeat(reader.names.to_numpy(), count),
            "modality": name,
            "feature": np.tile(np.array(part.features, dtype=object), len(reader)),
            **{key: np.asarray(values).ravel() for key, values in columns.items()},
        }
    )
