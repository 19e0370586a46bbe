"""Does a signalling network predict single cells of a donor, or of a condition, that it has not seen?

    python experiments/bcr_phospho/run.py [--out FOLDER] [--quick] [--workers 2]

Fits the network and its controls to all cells but some groups, predicts the distribution of all markers in
these, and prints how far off it is, and what the cells say of every edge. `--out` keeps what is finished: the
same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one fit per process is the better use of a core

import numpy as np
import pandas as pd
from edges import edges
from report import report
from study import GRAPH, NONE, REWIRED, Fold, Study, baselines, fit, scored

from multiscale.errors import MultiscaleError
from multiscale.fit.checkpoint import Checkpoint

BASELINES, EDGES = "baselines", "edges"
QUICK = {
    "study": {"cells": 24, "scored": 100, "seeds": 1, "rewirings": 2},
    "fit": {"max_epochs": 15, "batch_size": 96},
    "edges": {"most": 24, "draws": 4},
}

Job = tuple[str, Fold | None, int]
"""Method, what is left out, and seed."""


def jobs(study: Study) -> list[Job]:
    """All fits, the shortest comparison first."""
    chosen, folds = study.config["study"], list(study.folds())
    seeds = range(chosen["seeds"])
    found: list[Job] = [(EDGES, None, seed) for seed in seeds]
    found += [(name, f, seed) for seed in seeds for name in (BASELINES, GRAPH, NONE) for f in folds]
    wrong = [f"{REWIRED}{k}" for k in range(chosen["rewirings"])]
    return found + [(name, f, 0) for name in wrong for f in folds if f.split == "donor"]


def decisive(study: Study) -> dict[str, Any]:
    """What a finished fit depends on: all of config.toml but how many there are."""
    counts = ("seeds", "rewirings", "bootstrap")
    kept = {name: value for name, value in study.config["study"].items() if name not in counts}
    return study.config | {"study": kept}


def run(study: Study, job: Job, folder: Path) -> pd.DataFrame:
    """One fit and its scores, or those of an earlier command."""
    method, fold, seed = job
    name = "_".join([method, *([fold.split, fold.name] if fold else []), str(seed)]).replace(" ", "-")
    checkpoint, settings = Checkpoint(folder / name), {"config": json.dumps(decisive(study), sort_keys=True)}
    saved = checkpoint.get("table")
    if saved is not None and saved.meta["settings"] == settings:
        return pd.DataFrame(saved.meta["rows"])
    if saved is not None:
        raise SystemExit(f"{folder} holds results of another config.toml; give another `--out`.")
    if fold is None:
        result = fit(study, GRAPH, study.training(None, seed), seed, checkpoint)
        stimulus = max(study.config["conditions"], key=study.config["conditions"].get)
        table = edges(result, stimulus, **study.config["edges"]).assign(seed=seed)
    elif method == BASELINES:
        table = baselines(study, fold, seed)
    else:
        table = scored(study, fold, method, seed, checkpoint)
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    checkpoint.put("table", {"done": np.ones(1)}, {"settings": settings, "rows": rows})
    checkpoint.drop("cells")
    return table


def run_all(study: Study, folder: Path, workers: int) -> dict[str, pd.DataFrame]:
    """Run all jobs, several at once; `scores` and `edges` of all of them."""
    began, todo = time.perf_counter(), jobs(study)
    found: dict[str, list[pd.DataFrame]] = {"scores": [], "edges": []}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        results = pool.map(run, [study] * len(todo), todo, [folder] * len(todo))
        for (method, fold, seed), table in zip(todo, results, strict=True):
            found["scores" if fold else "edges"].append(table)
            where = f"{fold.split} {fold.name}" if fold else "all cells"
            spent = time.perf_counter() - began
            print(f"{spent:.0f} s: {method}, {where}, seed {seed}", file=sys.stderr, flush=True)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


def main() -> None:
    """Run all jobs and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, help="folder that keeps finished fits, table.md, scores.tsv, edges.tsv"
    )
    parser.add_argument("--quick", action="store_true", help="few cells, epochs and controls")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    given, began = parser.parse_args(), time.perf_counter()
    study = Study.read(QUICK if given.quick else None)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) if given.out is None else given.out / "fits"
            tables = run_all(study, folder, given.workers)
    except MultiscaleError as error:
        parser.exit(2, f"{error}\n")
    text = report(study, **tables) + f"\n\n{time.perf_counter() - began:.0f} s"
    print(text)
    if given.out is not None:
        (given.out / "table.md").write_text(text + "\n", encoding="utf-8")
        for name, table in tables.items():
            table.to_csv(given.out / f"{name}.tsv", sep="\t", index=False, float_format="%.5f")


if __name__ == "__main__":
    main()
