"""The same question to `ms.CellProblem`: totals of a cell follow from a latent state that its readings tell.

    python experiments/tcell_phospho/cells.py [--out FOLDER] [--quick] [--cells N] [--beside FOLDER]

Leaves out one condition after the other, draws new cells under it, and prints the scores of run.py.
`--beside` names a folder that run.py wrote, whose methods are shown too. `--out` keeps what is finished: the
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

import anndata
import numpy as np
import pandas as pd
import torch
from judge import BASELINES
from population import Population, is_inhibited
from report import GRAPH, NONE, REWIRED, SEEN, markdown, scores
from run import Study, network

import multiscale as ms
from multiscale.assays import Cytometry
from multiscale.data import Interventions
from multiscale.fit.cells import CellResult
from multiscale.fit.cells.fresh import Latent
from multiscale.fit.checkpoint import Checkpoint
from multiscale.graph.rates import reactions_of

DECODER = "decoder alone"
PRIOR = ", states from the prior"
QUICK = {"cells": 16, "max_epochs": 10, "draws": 2, "predicted": 60, "seeds": 1, "rewirings": 2}
FIT = ("max_epochs", "batch_size", "learning_rate", "graph_rate", "patience")

Job = tuple[str, int, int]
"""Method, number of the condition that is left out, and seed."""


def jobs(study: Study) -> list[Job]:
    """All fits; rewired graphs have the first seed."""
    chosen, conditions = study.config["latent_cells"], range(len(study.cells))
    first, wrong = study.config["seed"], [f"{REWIRED}{k}" for k in range(chosen["rewirings"])]
    seeds = range(first, first + chosen["seeds"])
    fits = [(method, i, seed) for seed in seeds for method in (GRAPH, NONE, DECODER) for i in conditions]
    return fits + [(method, i, first) for method in wrong for i in conditions]


def decisive(study: Study) -> dict[str, Any]:
    """What a finished fit depends on: all of config.toml but how many there are."""
    kept = {k: v for k, v in study.config["latent_cells"].items() if k not in ("seeds", "rewirings")}
    return study.config | {"latent_cells": kept}


def done(graph: ms.Graph, study: Study, name: str) -> list[tuple[str, str, str]]:
    """What a condition is: kind, target and value of its interventions."""
    condition = study.config["conditions"][name]
    slow = [reaction.name for reaction in reactions_of(graph) if is_inhibited(reaction, condition)]
    given = [("set", source, "1") for source in condition["inputs"]]
    return given + [("inhibit", reaction, condition["efficacy"]) for reaction in slow]


def fit(
    study: Study, graph: ms.Graph | None, left_out: int, checkpoint: Checkpoint | None = None
) -> CellResult:
    """Fit cells of all other conditions."""
    chosen, rng = study.config["latent_cells"], np.random.default_rng(study.config["seed"])
    kept = [name for i, name in enumerate(study.config["conditions"]) if i != left_out]
    values = dict(zip(study.config["conditions"], study.cells, strict=True))
    parts = [np.exp(values[name][rng.permutation(len(values[name]))[: chosen["cells"]]]) for name in kept]
    labels = np.repeat(kept, [len(part) for part in parts])
    obs = pd.DataFrame({"condition": labels}, index=[f"cell{i}" for i in range(len(labels))])
    readouts = study.config["readouts"]
    adata = anndata.AnnData(np.concatenate(parts), obs=obs, var=pd.DataFrame(index=list(readouts)))
    rows = [] if graph is None else [(name, *row) for name in kept for row in done(graph, study, name)]
    changes = pd.DataFrame(rows, columns=["context", "kind", "target", "value"])
    # below the least reading noise is even, above it is relative: there asinh is ln
    channel = Cytometry(cofactor=chosen["least"], relative_sd=0.4, targets=readouts)
    cells = ms.from_anndata(
        adata,
        assays={"flow": channel},
        condition_key="condition",
        interventions=Interventions(changes) if rows else None,
    )
    problem = ms.CellProblem(
        graph,
        cells,
        regime="steady_state",
        latent=chosen["latent"],
        hidden=chosen["hidden"],
        amortised=True,
    )
    options = {name: chosen[name] for name in FIT} | {"seed": study.config["seed"]}
    return ms.fit(problem, **options, accelerator="cpu", progress=False, checkpoint=checkpoint)


def predict(study: Study, result: CellResult, left_out: int, latent: Latent) -> np.ndarray:
    """Draw ln readings of the condition that was left out, (cell, marker).

    Latent states are those of the training cells, or the prior's. Parameters that the other conditions leave
    open are drawn from their prior, a few times.
    """
    chosen, graph, seed = study.config["latent_cells"], result.graph, study.config["seed"]
    if graph is None:
        parts = [result.new_cells(chosen["predicted"], latent=latent)["flow"]]
    else:
        count = -(-chosen["predicted"] // chosen["draws"])
        parts = [
            result.new_cells(count, intervention=table, latent=latent, seed=seed + k)["flow"]
            for k, table in enumerate(_conditions(study, graph, left_out))
        ]
    cells = pd.concat(parts).dropna()[list(study.config["readouts"])]
    return np.log(np.maximum(cells.to_numpy(float), chosen["least"]))  # as the instrument shows them


def _conditions(study: Study, graph: ms.Graph, left_out: int) -> list[pd.DataFrame]:
    """The condition that was left out, once for every draw of what the others leave open."""
    name = list(study.config["conditions"])[left_out]
    population = Population(graph, study.config)
    unseen, blocks = population.unseen(left_out), population.parameters
    generator = torch.Generator().manual_seed(study.config["seed"])
    count = study.config["latent_cells"]["draws"]
    normal = torch.randn(count, blocks.size, generator=generator, dtype=torch.float64)
    values, labels = blocks.flat(normal).numpy(), [label for block in blocks.blocks for label in block.labels]
    rates = set(blocks["rate"].labels)
    found = []
    for row in values:
        drawn = {label: row[i] for i, label in enumerate(labels) if unseen[i]}
        rows = [(k, target, str(drawn.get(value, value))) for k, target, value in done(graph, study, name)]
        rows += [("set", label, str(np.exp(value))) for label, value in drawn.items() if label in rates]
        found.append(pd.DataFrame(rows, columns=["kind", "target", "value"]))
    return found


def run(study: Study, job: Job, folder: Path) -> dict[str, np.ndarray]:
    """Predictions of one fit, or those of an earlier command, by name of the method."""
    method, left_out, seed = job
    study = Study(study.config | {"seed": seed}, study.cells)
    checkpoint = Checkpoint(folder / f"{method}_{left_out}_{seed}".replace(" ", "-"))
    settings, saved = json.dumps(decisive(study), sort_keys=True), checkpoint.get("drawn")
    if saved is not None and saved.meta["settings"] == settings:
        return saved.arrays
    if saved is not None:
        raise SystemExit(f"{folder} holds results of other settings; give another `--out`.")
    result = fit(study, None if method == DECODER else network(study, method), left_out, checkpoint)
    drawn = {method: predict(study, result, left_out, "posterior")}
    if not method.startswith(REWIRED):
        drawn[method + PRIOR] = predict(study, result, left_out, "prior")
    checkpoint.put("drawn", drawn, {"settings": settings})
    checkpoint.drop("cells")
    return drawn


def table(study: Study, drawn: dict[tuple[str, int], list[np.ndarray]], beside: Path | None) -> str:
    """Scores as in README.md: means over cells, then markers, then conditions, then seeds."""
    every = [
        scores(study.cells, part, study.targets).assign(method=name, seed=seed)
        for (name, seed), part in drawn.items()
    ]
    if beside is not None:
        other = pd.read_csv(beside / "scores.tsv", sep="\t")
        own = other["method"].isin({name for name, _ in drawn})
        every.append(other[~own].assign(method=lambda t: t["method"] + " (run.py)", seed=0))
    found = pd.concat(every, ignore_index=True)
    wrong = found["method"].str.startswith(REWIRED)
    middle = f"rewired, median of {found.loc[wrong, 'method'].nunique()}"
    means = found.groupby("method", sort=False).agg(
        CRPS=("crps", "mean"), Wasserstein=("wasserstein", "mean")
    )
    means["CRPS without targets"] = found[~found["target"]].groupby("method")["crps"].mean()
    per_seed = found.groupby(["method", "seed"])["crps"].mean().groupby("method").agg(["min", "max", "size"])
    ranges = [f"{low:.3f}–{high:.3f}" if n > 1 else "" for low, high, n in per_seed.itertuples(index=False)]
    means.insert(1, "over seeds", pd.Series(ranges, index=per_seed.index))
    is_wrong = means.index.str.startswith(REWIRED)
    shown = means[~is_wrong].copy()
    best = str(shown.loc[[n for n in shown.index if n in (NONE, DECODER, *BASELINES)], "CRPS"].idxmin())
    score = means["CRPS"].to_dict()
    lines = [
        f"The graph {'is ahead' if score[GRAPH] < score[best] else 'does not help'}: CRPS "
        f"{score[GRAPH]:.3f}, best without it {score[best]:.3f} ({best})."
    ]
    if is_wrong.any():
        seeds = found.loc[wrong, "seed"].unique()
        same = found[(found["method"] == GRAPH) & found["seed"].isin(seeds)]["crps"].mean()
        better = int((means.loc[is_wrong, "CRPS"] > same).sum())
        lines.append(
            f"With the seed that rewired graphs have ({same:.3f}) it predicts better than {better} of "
            f"{int(is_wrong.sum())} of them."
        )
        shown.loc[middle] = {"over seeds": ""} | means[is_wrong].median(numeric_only=True).to_dict()
    grid = found[~wrong].pivot_table("crps", "condition", "method", sort=False)
    both = markdown(shown.reset_index(), ".3f"), markdown(grid[[GRAPH, NONE, DECODER]].reset_index())
    return "\n".join([*lines, "", *both[0], "", *both[1]])


def main() -> None:
    """Run all fits and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder that keeps finished fits and table.md")
    parser.add_argument("--beside", type=Path, help="folder with scores.tsv of run.py")
    parser.add_argument("--cells", type=int, help="cells per condition")
    parser.add_argument("--quick", action="store_true", help="few cells, epochs and controls")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    given = parser.parse_args()
    study, began = Study.read(given.quick), time.perf_counter()
    study.config["latent_cells"] |= QUICK if given.quick else {}
    study.config["latent_cells"] |= {} if given.cells is None else {"cells": given.cells}
    todo, count, first = jobs(study), len(study.cells), study.config["seed"]
    drawn: dict[tuple[str, int], list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if given.out is None else given.out / "fits"
        with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
            for job, found in zip(todo, _finished(pool, study, todo, folder), strict=True):
                for name, part in found.items():
                    drawn.setdefault((name, job[2]), []).append(part)
                what = f"{job[0]} without condition {job[1]}, seed {job[2]}"
                print(f"{time.perf_counter() - began:.0f} s: {what}", file=sys.stderr, flush=True)
    rng = np.random.default_rng(first)
    for name, baseline in BASELINES.items():
        drawn[name, first] = [baseline(study.cells, study.design, i, rng) for i in range(count)]
    drawn[SEEN, first] = study.cells
    text = f"{table(study, drawn, given.beside)}\n\n{time.perf_counter() - began:.0f} s"
    print(text)
    if given.out is not None:
        (given.out / "table.md").write_text(text + "\n", encoding="utf-8")


def _finished(pool: ProcessPoolExecutor, study: Study, todo: list[Job], folder: Path) -> Any:
    return pool.map(run, [study] * len(todo), todo, [folder] * len(todo))


if __name__ == "__main__":
    main()
