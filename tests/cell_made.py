"""Cells with transcripts, surface proteins and two conditions, made by hand for the small graph."""

from __future__ import annotations

import numpy as np
import pandas as pd
from cell_cases import made_cells, modality

from multiscale.assays.channels import SurfaceProteins, Transcripts
from multiscale.data import Interventions
from multiscale.data.cells import Cells

RNA, PROTEINS = ["A", "B", "C", "L", "other", "more"], ["A", "C", "isotype"]

KNOCKED = pd.DataFrame({"context": ["knocked"], "kind": "knock_down", "target": "A", "value": "0.9"})


def counted_cells(count: int = 96, seed: int = 0, hidden: bool = False) -> Cells:
    """Every third cell lacks proteins; the second half of the cells has nine tenths of A removed."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=count)
    knocked = np.arange(count) >= count // 2
    rna = rng.poisson(np.exp(1.0 + 0.8 * z[:, None] * np.array([1, 1, -1, 0, 1, 0])))
    level = np.exp(3.0 + 0.7 * z[:, None] * np.array([1, -1, 0]))
    level[:, 0] *= np.where(knocked, 0.1, 1.0)
    protein = rng.poisson(level)
    rows = np.where(np.arange(count) % 3 == 0, -1, np.arange(count))
    hide = np.zeros((count, len(PROTEINS)), dtype=bool)
    hide[1::6, 1] = True
    parts = [
        modality("rna", Transcripts(), rna, RNA),
        modality("protein", SurfaceProteins(), protein, PROTEINS, rows, hide if hidden else None),
    ]
    return made_cells(
        parts, np.arange(count) % 2, knocked.astype(np.int64), ("control", "knocked"), Interventions(KNOCKED)
    )
