"""Does a phosphorylation graph predict the cells of a condition that was left out?

    python experiments/tcell_phospho/run.py [--out FOLDER] [--quick] [--workers 2]

Leaves out one condition after the other, fits the graph and its controls to the others, predicts ln readings
of single cells, and prints how far they are off. `--out` keeps the table and the scores behind it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one graph per process is the better use of a core

import numpy as np
import pandas as pd
import torch
from judge import BASELINES, linear
from networks import held, without_edges
from population import Moments, Population, fit, predict
from report import GRAPH, HELD, NONE, REWIRED, SEEN, everything, report
from single_cells import fit_cells

import multiscale as ms
from multiscale import atomic

HERE = Path(__file__).parent
SINGLE = ", single cells"
LINEAR_HELD = f"linear{HELD}"
QUICK = {
    "fit": {"starts": 1, "steps": 40},
    "predict": {"draws": 5, "cells": 10},
    "single_cells": {"cells": 2, "adam_steps": 20, "steps": 20},
    "controls": {"rewirings": 1, "bootstrap": 200},
}


@dataclass(frozen=True)
class Study:
    """Cells and their conditions.

    Args:
        config: content of config.toml.
        cells: ln readings of every condition, (cell, marker).
    """

    config: dict[str, Any]
    cells: list[np.ndarray]

    @classmethod
    def read(cls, quick: bool = False) -> Study:
        """Read config.toml and the data that it names."""
        config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
        for name, values in (QUICK if quick else {}).items():
            config[name] |= values
        if "MULTISCALE_DATA" not in os.environ:
            raise SystemExit("set MULTISCALE_DATA to the folder that holds data/sachs/; see README.md.")
        table = pd.read_csv(Path(os.environ["MULTISCALE_DATA"]) / config["data"])
        groups = dict(list(table.groupby(config["condition"])))
        readings = [groups[name][list(config["readouts"])].to_numpy(float) for name in config["conditions"]]
        return cls(config, [np.log(values) for values in readings])

    @property
    def design(self) -> np.ndarray:
        """1 where a condition has an input or an inhibitor, (condition, reagent)."""
        conditions = list(self.config["conditions"].values())
        inputs = list(dict.fromkeys(name for c in conditions for name in c["inputs"]))
        given = [[name in c["inputs"] for name in inputs] for c in conditions]
        inhibited = np.diag([float("efficacy" in c) for c in conditions])
        return np.hstack([np.array(given, dtype=float), inhibited[:, inhibited.any(0)]])

    def target(self, condition: str) -> str:
        """Species that the inhibitor of a condition acts on, '' without one."""
        given = self.config["conditions"][condition]
        return given.get("activity", given.get("formation", ""))

    @property
    def targets(self) -> pd.DataFrame:
        """Whether an inhibitor of a condition acts on what a marker reads."""
        conditions, readouts = self.config["conditions"], self.config["readouts"]
        hit = [self.target(name) for name in conditions]
        rows = [[species == name for species in readouts.values()] for name in hit]
        return pd.DataFrame(rows, index=pd.Index(conditions, name="condition"), columns=pd.Index(readouts))


def job(study: Study, method: str) -> list[np.ndarray]:
    """Predicted ln readings of every condition when it is left out, (draw, marker)."""
    seed, count = study.config["seed"], len(study.cells)
    if method in BASELINES:
        baseline, design = BASELINES[method], study.design
        return [baseline(study.cells, design, i, np.random.default_rng(seed)) for i in range(count)]
    if method == LINEAR_HELD:
        designs = [with_target(study, i) for i in range(count)]
        return [linear(study.cells, d, i, np.random.default_rng(seed)) for i, d in enumerate(designs)]
    torch.set_num_threads(1)
    graph, options = network(study, method), study.config["predict"]
    population = Population(graph, study.config)
    if method.endswith(SINGLE):
        found = [fit_cells(population, graph, study.config, study.cells, i) for i in range(count)]
    else:
        others = 1.0 - torch.eye(count, dtype=torch.float64)
        theta = fit(population, Moments.of(study.cells), others, **study.config["fit"])
        found = [population.parameters.unpack(row) for row in theta.split(1)]
    models = [population] * count
    if method.endswith(HELD):
        models = [held_target(study, graph, population, found[i], i) for i in range(count)]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return [predict(models[i], found[i], i, **options, generator=generator) for i in range(count)]


def held_target(
    study: Study, graph: ms.Graph, population: Population, values: dict[str, torch.Tensor], left_out: int
) -> Population:
    """The population with the target of a condition at the level that its readings there state."""
    name = study.target(list(study.config["conditions"])[left_out])
    if not name:
        return population
    clamped = Population(held(graph, name), study.config)
    clamped.driven = population.driven  # a held target is no input of which nothing is known
    marker = list(study.config["readouts"].values()).index(name)
    ln_level = np.median(study.cells[left_out][:, marker]) - values["scale"][0, marker]
    clamped.inputs[left_out, clamped.kinetics.species.index(name)] = ln_level.exp()
    return clamped


def with_target(study: Study, left_out: int) -> np.ndarray:
    """The design with mean ln readings of the target of one condition as a further column."""
    means = np.stack([values.mean(0) for values in study.cells])
    return np.hstack([study.design, means[:, study.targets.to_numpy()[left_out]]])


def network(study: Study, method: str) -> ms.Graph:
    """The graph of a method."""
    graph = ms.read_graph(study.config["graph"])
    if method.startswith(REWIRED):
        return ms.rewire(graph, int(method.removeprefix(REWIRED)), relation="modifier")
    return without_edges(graph) if method.startswith(NONE) else graph


def main() -> None:
    """Run all methods and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder for table.md and scores.tsv")
    parser.add_argument("--quick", action="store_true", help="few steps, draws and controls")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    began, study = time.perf_counter(), Study.read(options.quick)
    chosen = study.config["controls"]
    controls = [f"{REWIRED}{seed}" for seed in range(chosen["rewirings"])]
    models = [name + part for part in ("", SINGLE, HELD) for name in (GRAPH, NONE)]
    methods = [*models, *BASELINES, LINEAR_HELD, *controls]
    drawn = {}
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for method, part in zip(methods, pool.map(job, [study] * len(methods), methods), strict=True):
            drawn[method] = part
            print(f"{time.perf_counter() - began:.0f} s: {method}", file=sys.stderr, flush=True)
    drawn[SEEN] = study.cells
    text = report(study.cells, drawn, study.targets, chosen["bootstrap"], study.config["seed"])
    print(f"{text}\n\n{time.perf_counter() - began:.0f} s")
    if options.out:
        with atomic.folder(options.out, overwrite=True) as folder:
            write(folder, study, drawn, text)


def write(folder: Path, study: Study, drawn: dict[str, list[np.ndarray]], text: str) -> None:
    """Write the table, and the score of every method, condition and marker."""
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    table = everything(study.cells, drawn, study.targets)
    table.to_csv(folder / "scores.tsv", sep="\t", index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
