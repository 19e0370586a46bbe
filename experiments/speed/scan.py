"""Two scans of half a million variants, fitted jointly: seconds and memory.

    python experiments/speed/scan.py [--variants 500000] [--starts 2] [--threads 2] [--accelerator cpu]

Double mutants of a protein of 55 residues are drawn with known energies of folding and binding;
abundance and binding are read with noise, and a tenth of the rows is held out. Prints the seconds of
reading and of fitting, the peak of the process's memory, and how well energies and held-out rows are
found; `--json` as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import multiscale as ms

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
POSITIONS = 55
TEMPERATURE = 303.15
NOISE = 0.05


def main() -> None:
    """Draw, read, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--variants", type=int, default=500_000)
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--accelerator", default="cpu", choices=["auto", "cpu", "gpu"])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wild, truth = draw(Path(folder), given.variants)
        began = time.perf_counter()
        readings = read(Path(folder), wild)
        read_s = time.perf_counter() - began
    row = measure(given, readings, truth) | {"seconds_reading": round(read_s, 1)}
    print(json.dumps(row) if given.json else "\n".join(f"{name:28} {value}" for name, value in row.items()))


def draw(folder: Path, count: int) -> tuple[str, pd.DataFrame]:
    """Write both scans; gives the wild type and the energies."""
    rng = np.random.default_rng(0)
    wild = rng.integers(len(LETTERS), size=POSITIONS)
    energies = {"fold": rng.normal(0.8, 1.0, (POSITIONS, 20)), "bind": rng.normal(0.2, 0.7, (POSITIONS, 20))}
    pairs = np.sort(rng.permuted(np.tile(np.arange(POSITIONS), (count, 1)), axis=1)[:, :2], axis=1)
    new = (wild[pairs] + rng.integers(1, 20, pairs.shape)) % 20
    kT = ms.units.kT(TEMPERATURE)
    F, B = (
        (start + energies[term][pairs, new].sum(1)) / kT for term, start in (("fold", -2.5), ("bind", -1.5))
    )
    codes = np.tile(wild, (count, 1))
    np.put_along_axis(codes, pairs, new, axis=1)
    sequences = ["".join(row) for row in np.array(list(LETTERS))[codes]]
    shares = {"abundance": 1 / (1 + np.exp(F)), "binding": 1 / (1 + np.exp(B) * (1 + np.exp(F)))}
    for name, share in shares.items():
        value = 0.05 + share + rng.normal(0, NOISE, count)
        pd.DataFrame({"sequence": sequences, "value": value}).to_csv(
            folder / f"{name}.tsv", sep="\t", index=False
        )
    rows = [
        (term, f"{LETTERS[wild[p]]}{p + 1}{LETTERS[a]}", table[p, a])
        for term, table in energies.items()
        for p in range(POSITIONS)
        for a in range(20)
        if a != wild[p]
    ]
    return "".join(np.array(list(LETTERS))[wild]), pd.DataFrame(rows, columns=["term", "label", "truth"])


def read(folder: Path, wild: str) -> list[ms.Readings]:
    """Both scans."""
    column = ms.SequenceColumn("protein", "sequence", reference=wild)
    common = {"sequence": column, "holdout": ms.Holdout(0.1, seed=1)}
    folded = ms.assays.Fitness(species="folded + bound", of="protein")
    bound = ms.assays.Fitness(species="bound", of="protein")
    return [
        ms.read_readings(folder / "abundance.tsv", folded, conditions={"ligand": 0.0}, **common),
        ms.read_readings(folder / "binding.tsv", bound, **common),
    ]


def measure(given: argparse.Namespace, readings: list[ms.Readings], truth: pd.DataFrame) -> dict[str, object]:
    """Fit, and compare with what was drawn."""
    encoder = ms.encoders.Additive(molecule="protein", terms=("fold", "bind"), prior_sd=1.0)
    fitted = [part.where("training") for part in readings]
    problem = ms.MolecularProblem(
        ms.read_graph("folding_and_binding"), fitted, {"mutations": encoder}, temperature=TEMPERATURE
    )
    began = time.perf_counter()
    result = ms.fit(
        problem,
        starts=given.starts,
        seed=1,
        threads=given.threads,
        accelerator=given.accelerator,
        progress=False,
    )
    seconds = time.perf_counter() - began
    found = result.energies.merge(truth, on=["term", "label"])
    inside = (found["lower"] < found["truth"]) & (found["truth"] < found["upper"])
    return {
        "variants": given.variants,
        "rows": sum(len(part) for part in fitted),
        "parameters": result.model.parameters.size,
        "seconds_fitting": round(seconds, 1),
        "peak_memory_GiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "correlation_of_energies": round(float(np.corrcoef(found["estimate"], found["truth"])[0, 1]), 4),
        "energies_in_90_intervals": round(float(inside.mean()), 3),
        **{
            f"held_out_r2_{part.name}": round(result.evaluate(part.where("test"))["r2"], 4)
            for part in readings
        },
    }


if __name__ == "__main__":
    main()
