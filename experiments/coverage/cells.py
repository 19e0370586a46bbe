"""Do intervals of an ensemble of cells hold the truth? Draw a truth, simulate cells, fit members, look.

    python experiments/coverage/cells.py [--replicates 20] [--cells 128] [--members 9] [--epochs 300]
                                         [--quick]

Markers read ln signal = b + W z + noise, with b, W and z drawn anew in every replicate. For b the exact
standard deviation is known, √((|W|² + σ²)/cells) where W and σ are; the table compares that of members.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import anndata
import numpy as np
import pandas as pd

import multiscale as ms

MARKERS, NOISE, COFACTOR = 6, 0.3, 5.0


def simulated(seed: int, count: int) -> tuple[anndata.AnnData, pd.DataFrame]:
    """Transformed intensities far above background; the true level of every marker and its exact sd."""
    rng = np.random.default_rng(seed)
    loading, level = rng.normal(size=(MARKERS, 1)), 8 + rng.normal(size=MARKERS)
    shown = level + rng.normal(size=(count, 1)) @ loading.T + NOISE * rng.normal(size=(count, MARKERS))
    names = [f"m{i}" for i in range(MARKERS)]
    adata = anndata.AnnData(shown + np.log(2 / COFACTOR), var=pd.DataFrame(index=names))
    adata.obs_names = [f"cell{i}" for i in range(count)]
    exact = np.sqrt(((loading**2).sum(1) + NOISE**2) / count)
    return adata, pd.DataFrame({"truth": level, "exact": exact}, index=names)


def replicate(seed: int, count: int, members: int, epochs: int) -> pd.DataFrame:
    """Intervals of one simulation beside the truth."""
    adata, truth = simulated(seed, count)
    channel = ms.assays.Cytometry(transformed=True)
    cells = ms.from_anndata(adata, assays={"masses": channel})
    problem = ms.CellProblem(None, cells, latent=1, amortised=False)
    fit = ms.fit(
        problem, members=members, max_epochs=epochs, batch_size=16, graph_rate=0.05, seed=seed, progress=False
    )
    table = fit.parameters.set_index("parameterId").loc[[f"masses_baseline_{m}" for m in truth.index]]
    return truth.reset_index(drop=True).join(table.reset_index(drop=True))


def main() -> None:
    """Print one row over all replicates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"replicates": 20, "cells": 128, "members": 9, "epochs": 300}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--quick", action="store_true", help="2 replicates of 64 cells, 4 members, 40 epochs")
    given = parser.parse_args()
    if given.quick:
        given.replicates, given.cells, given.members, given.epochs = 2, 64, 4, 40
    found = pd.concat(
        [replicate(i, given.cells, given.members, given.epochs) for i in range(given.replicates)]
    )
    inside = (found["lower"] <= found["truth"]) & (found["truth"] <= found["upper"])
    ratio = (found["sd"] / found["exact"]).median()
    print("| number | coverage of 90 % | median sd / exact sd |\n|---|---|---|")
    print(f"| {len(found)} | {100 * inside.mean():.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
