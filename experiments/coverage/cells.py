"""Do intervals of an ensemble of cells hold the truth? Draw a truth, simulate cells, fit members, look.

    python experiments/coverage/cells.py [--replicates 20] [--cells 128] [--members 9] [--epochs 300]
                                         [--patience 20] [--workers 2] [--quick]

Markers read ln signal = b + W z + noise, with b, W and z drawn anew in every replicate. For b the exact
standard deviation is known, √((|W|² + σ²)/cells) where W and σ are; the table compares that of members.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

os.environ.setdefault("OMP_NUM_THREADS", "1")

import anndata
import numpy as np
import pandas as pd
from run import share_with_range

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


def replicate(seed: int, count: int, members: int, epochs: int, patience: int) -> pd.DataFrame:
    """Intervals of one simulation beside the truth."""
    adata, truth = simulated(seed, count)
    channel = ms.assays.Cytometry(transformed=True)
    cells = ms.from_anndata(adata, assays={"masses": channel})
    problem = ms.CellProblem(None, cells, latent=1, amortised=False)
    fit = ms.fit(
        problem,
        members=members,
        max_epochs=epochs,
        patience=patience,
        batch_size=16,
        graph_rate=0.05,
        seed=seed,
        progress=False,
    )
    table = fit.parameters.set_index("parameterId").loc[[f"masses_baseline_{m}" for m in truth.index]]
    return truth.reset_index(drop=True).join(table.reset_index(drop=True))


def main() -> None:
    """Print one row over all replicates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"replicates": 20, "cells": 128, "members": 9, "epochs": 300, "patience": 20}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--quick", action="store_true", help="2 replicates of 64 cells, 4 members, 40 epochs")
    given = parser.parse_args()
    if given.quick:
        given.replicates, given.cells, given.members, given.epochs = 2, 64, 4, 40
    effort = {"members": given.members, "epochs": given.epochs, "patience": given.patience}
    one = partial(replicate, count=given.cells, **effort)
    began, parts = time.perf_counter(), []
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
        for part in pool.map(one, range(given.replicates)):
            parts.append(part.assign(replicate=len(parts)))
            spent = time.perf_counter() - began
            print(f"{spent:.0f} s: {len(parts)} of {given.replicates}", file=sys.stderr, flush=True)
    found = pd.concat(parts, ignore_index=True)
    inside = (found["lower"] <= found["truth"]) & (found["truth"] <= found["upper"])
    share, low, high = (100 * part for part in share_with_range(inside, found["replicate"]))
    ratio = (found["sd"] / found["exact"]).median()
    z = (found["truth"] - found["value"]) / found["exact"]
    print("| number | coverage of 90 % (95 % range) | median sd / exact sd | sd of error / exact sd |")
    print("|---|---|---|---|")
    print(f"| {len(found)} | {share:.1f} ({low:.0f}–{high:.0f}) | {ratio:.2f} | {(z**2).mean() ** 0.5:.2f} |")


if __name__ == "__main__":
    main()
