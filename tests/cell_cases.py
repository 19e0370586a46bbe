"""Small sets of single cells of the small graph, for tests of problems and models of cells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from multiscale.assays.channels import Channel
from multiscale.data import Interventions
from multiscale.data.cells import CellBatch, Cells, Codes, Modality
from multiscale.data.cells.source import InMemory

__all__ = ["batch_of", "made_cells", "modality"]


def modality(
    name: str,
    channel: Channel,
    values: np.ndarray,
    features: list[str],
    rows: np.ndarray | None = None,
    hidden: np.ndarray | None = None,
) -> Modality:
    """A modality in memory; size factors are 1."""
    count = len(values) if rows is None else len(rows)
    return Modality(
        name=name,
        channel=channel,
        features=tuple(features),
        source=InMemory(values),
        columns=np.arange(len(features)),
        rows=np.arange(count) if rows is None else rows,
        size=np.ones(count),
        hidden=None if hidden is None else sparse.csr_array(hidden),
    )


def made_cells(
    parts: list[Modality],
    batch: np.ndarray | None = None,
    condition: np.ndarray | None = None,
    conditions: tuple[str, ...] = ("control",),
    interventions: Interventions | None = None,
) -> Cells:
    """Cells of some modalities; one batch and one condition unless others are given."""
    count = len(parts[0].rows)
    batch = np.zeros(count, dtype=np.int64) if batch is None else batch
    names = tuple(f"batch{i + 1}" for i in range(int(batch.max()) + 1))
    return Cells(
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(count)]),
        modalities={part.name: part for part in parts},
        batch=Codes(names, batch),
        condition=Codes(conditions, np.zeros(count, dtype=np.int64) if condition is None else condition),
        interventions=interventions or Interventions(),
    )


def batch_of(cells: Cells, index: np.ndarray | None = None, dtype: torch.dtype = torch.float64) -> CellBatch:
    """Some cells as a minibatch, in the order asked for; all of them by default."""
    index = np.arange(len(cells)) if index is None else index
    parts: Mapping[str, Modality] = cells.modalities
    return CellBatch(
        index=torch.as_tensor(index),
        values={name: torch.as_tensor(part.values(index)).to(dtype) for name, part in parts.items()},
        observed={name: torch.as_tensor(part.rows[index] >= 0) for name, part in parts.items()},
        hidden={
            name: torch.as_tensor(part.hidden[index].toarray().astype(bool))
            for name, part in parts.items()
            if part.hidden is not None
        },
        ln_size={name: torch.as_tensor(part.size[index]).log().to(dtype) for name, part in parts.items()},
        batch=torch.as_tensor(cells.batch.codes[index]),
        condition=torch.as_tensor(cells.condition.codes[index]),
        total=len(index),
    )
