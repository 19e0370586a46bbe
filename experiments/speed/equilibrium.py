"""Binding equilibria per second: `multiscale.equilibrium` beside eqtk, in one run on the same systems.

    python experiments/speed/equilibrium.py [--json] [--systems 1000] [--repeats 7] [--threads 2]

Both solve 1,000 systems of 10 molecules and 40 complexes that share energies and differ in totals. eqtk has
no gradients, so its value is compared with our value and with our value plus the gradient of a scalar in all
weights and totals. Rows alternate, so that other work on the machine slows all of them alike. CPU time is
summed over the threads of this process only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

# Idle threads of PyTorch otherwise spin for 10 to 40 ms and keep a core from whatever runs next.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import eqtk
import numpy as np
import torch
from torch import Tensor

from multiscale import equilibrium

ROOT = Path(__file__).parents[2]
FIRST_CALL = """
import time, torch
from multiscale import equilibrium
begin = time.perf_counter()
equilibrium([[1, 0, 1], [0, 1, 1]], [0.0, 0.0, 1.0], [1.0, 1.0])
print(time.perf_counter() - begin)
"""


def network(molecules: int, complexes: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Formula of random distinct complexes of 2 to 4 subunits, and ln weights: Kd per bond 1e-3 to 1e3."""
    generator = np.random.default_rng(seed)
    columns: dict[tuple[int, ...], None] = {}
    while len(columns) < complexes:
        members = generator.integers(0, molecules, generator.integers(2, 5))
        columns[tuple(np.bincount(members, minlength=molecules))] = None
    formula = np.column_stack([np.eye(molecules), np.array(list(columns)).T])
    return formula, math.log(10) * generator.uniform(-3, 3, formula.shape[1]) * (formula.sum(0) - 1)


def eqtk_solve(formula: np.ndarray, ln_weight: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """The same systems by eqtk, with its own tolerance."""
    molecules, species = formula.shape
    association = np.ascontiguousarray(
        np.column_stack([-formula[:, molecules:].T, np.eye(species - molecules)])
    )
    mixture = np.ascontiguousarray(np.pad(totals, ((0, 0), (0, species - molecules))))
    return np.asarray(eqtk.solve(mixture, N=association, K=np.exp(ln_weight[molecules:])))


def first_call(cache: Path) -> float:
    """Seconds of the first call in a new process, with compiled code cached in a folder."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FIRST_CALL]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def alternate(rows: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float | None]]:
    """Wall and CPU seconds of every row; the first round, which compiles, is not counted."""
    wall: dict[str, list[float]] = {name: [] for name in rows}
    cpu: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(repeats + 1):
        for name, work in rows.items():
            begin = time.perf_counter(), time.process_time()
            work()
            wall[name].append(time.perf_counter() - begin[0])
            cpu[name].append(time.process_time() - begin[1])
    return {
        name: {
            "min_s": min(wall[name][1:]),
            "median_s": float(np.median(wall[name][1:])),
            "cpu_s": None if "processes" in name else float(np.median(cpu[name][1:])),
        }
        for name in rows
    }


def batch_rows(
    formula: np.ndarray, ln_weight: np.ndarray, totals: np.ndarray, pool: ProcessPoolExecutor, threads: int
) -> dict[str, Callable[[], object]]:
    """Work on one large batch: ours, the PyTorch definition, eqtk in one process and in one per core."""
    weight, total = torch.tensor(np.tile(ln_weight, (len(totals), 1))), torch.tensor(totals)

    def gradient(compiled: bool) -> None:
        arguments = weight.clone().requires_grad_(), total.clone().requires_grad_()
        torch.autograd.grad(equilibrium(formula, *arguments, compiled=compiled).x.square().sum(), arguments)

    def eqtk_processes() -> None:
        parts = np.array_split(totals, threads)
        list(pool.map(eqtk_solve, [formula] * threads, [ln_weight] * threads, parts))

    return {
        "value": lambda: equilibrium(formula, weight, total),
        "value and gradient": lambda: gradient(True),
        "PyTorch definition, value": lambda: equilibrium(formula, weight, total, compiled=False),
        "PyTorch definition, value and gradient": lambda: gradient(False),
        "eqtk, value, 1 process": lambda: eqtk_solve(formula, ln_weight, totals),
        f"eqtk, value, {threads} processes": eqtk_processes,
    }


def fit_rows(formula: np.ndarray, ln_weight: np.ndarray) -> dict[str, Callable[[], object]]:
    """Value and gradient of a fit, 32 starts × 10 contexts; a warm step changes ln w, ln T by 0.01."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    weight = torch.tensor(ln_weight) + 0.5 * noise(32, 1, len(ln_weight))
    total = (1.5 * noise(32, 10, len(formula))).exp()
    before = equilibrium(formula, weight, total).multipliers
    weight, total = weight + 0.01 * noise(*weight.shape), total * (0.01 * noise(*total.shape)).exp()

    def gradient(start: Tensor | None) -> None:
        arguments = weight.clone().requires_grad_(), total.clone().requires_grad_()
        torch.autograd.grad(equilibrium(formula, *arguments, start=start).x.square().sum(), arguments)

    return {"fit step, cold": lambda: gradient(None), "fit step, warm": lambda: gradient(before)}


def accuracy(formula: np.ndarray, ln_weight: np.ndarray, totals: np.ndarray) -> dict[str, float]:
    """Largest relative error of the mass balance."""
    ours = equilibrium(formula, ln_weight, totals).x.numpy()
    found = {"ours": ours, "eqtk": eqtk_solve(formula, ln_weight, totals)}
    return {name: float(np.abs(x @ formula.T / totals - 1).max()) for name, x in found.items()}


def measure(systems: int, repeats: int, threads: int) -> dict[str, object]:
    """All numbers of the table, in seconds."""
    torch.set_num_threads(threads)
    formula, ln_weight = network(10, 40)
    totals = 10 ** np.random.default_rng(0).uniform(-1.5, 1.5, (systems, 10))
    with tempfile.TemporaryDirectory() as folder:
        first = {"nothing cached": first_call(Path(folder)), "cached": first_call(Path(folder))}
    with ProcessPoolExecutor(threads, mp_context=get_context("spawn")) as pool:
        rows = batch_rows(formula, ln_weight, totals, pool, threads)
        measured = alternate(rows | fit_rows(formula, ln_weight), repeats)
    return {
        "systems": systems,
        "threads": threads,
        "mass_balance_error": accuracy(formula, ln_weight, totals),
        "first_call_s": first,
        "rows": measured,
    }


def table(measured: dict) -> str:
    """The numbers as text, ms; `times` says how many times our value and gradient a row takes."""
    rows = measured["rows"]
    ours = rows["value and gradient"]

    def entry(row: dict[str, float | None], key: str) -> str:
        value = row[key]
        return f"{'':16}" if value is None else f"{1e3 * value:9.1f}{value / ours[key]:6.1f}×"

    lines = [
        f"{measured['systems']} systems of 10 molecules and 40 complexes, {measured['threads']} threads; ms",
        "",
    ]
    lines += [f"{'':40}{'min':>8}{'times':>7}{'median':>9}{'times':>7}{'CPU':>9}{'times':>7}"]
    for name, row in rows.items():
        lines.append(
            f"{name:39}" + "".join(entry(row, key) for key in ("min_s", "median_s", "cpu_s")).rstrip()
        )
    errors, first = measured["mass_balance_error"], measured["first_call_s"]
    lines += [
        "",
        f"mass balance, largest relative error: ours {errors['ours']:.0e}, eqtk {errors['eqtk']:.0e}",
    ]
    lines += [
        f"first call of a process: {first['nothing cached']:.1f} s compiling, {first['cached']:.2f} s cached"
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON, seconds, instead of a table")
    parser.add_argument("--systems", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    measured = measure(options.systems, options.repeats, options.threads)
    print(json.dumps(measured, indent=2) if options.json else table(measured))


if __name__ == "__main__":
    main()
