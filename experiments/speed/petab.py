"""Objective and gradient of published fitting problems: ours beside pyPESTO with AMICI, in one run.

    python experiments/speed/petab.py DIR [--problems NAME ...] [--starts 64] [--threads 1] [--json]

DIR is a folder of problems in the layout of the Benchmark-Models-PEtab collection: DIR/NAME/NAME.yaml. Points
are the nominal values, each moved at random by up to a tenth of a decade (or of the value), the same for both
tools. Per problem: seconds from files to the first gradient in a new process; milliseconds per start of the
objective and of objective and gradient in one batch of starts. Both get the same tolerances and the same
number of cores; AMICI takes starts one after the other, as pyPESTO's optimisers do, with the faster of its
forward and adjoint sensitivities. Compilation of AMICI's model is timed apart and cached in --cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
sys.path[:] = [p for p in sys.path if Path(p).resolve() != Path(__file__).parent]  # this file hides `petab`

import numpy as np  # noqa: E402

FIRST = """
import sys, time
begun = time.perf_counter()
from multiscale.fit.petab.objective import Objective
from multiscale.formats.petab import read_petab
objective = Objective(read_petab(sys.argv[1]))
loaded = time.perf_counter()
objective.value(objective.nominal[None])
valued = time.perf_counter()
objective.gradient(objective.nominal[None])
print(loaded - begun, valued - begun, time.perf_counter() - begun)
"""
SMALL = [
    "Boehm_JProteomeRes2014",
    "Brannmark_JBC2010",
    "Fujita_SciSignal2010",
    "Sneyd_PNAS2002",
    "Zheng_PNAS2012",
]
REPEATS = 3


def main() -> None:
    """Time the problems and print the table."""
    options = _options()
    rows = []
    for name in options.problems or sorted(p.name for p in options.folder.iterdir() if p.is_dir()):
        path = options.folder / name / f"{name}.yaml"
        if not path.is_file():
            sys.exit(f"{path} not found; DIR must hold NAME/NAME.yaml.")
        row = {"problem": name, **ours(path, options)}
        if not options.alone:
            row |= amici(path, options)
        rows.append(row)
        if not options.json:
            print(_line(row), flush=True)
    if options.json:
        print(json.dumps(rows, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--problems", nargs="*", default=SMALL, help="names; without any: all")
    parser.add_argument("--starts", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rtol", type=float, default=1e-8)
    parser.add_argument("--atol", type=float, default=1e-8)
    parser.add_argument("--alone", action="store_true", help="leave AMICI out")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "amici_models")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def points(objective: Any, count: int) -> np.ndarray:
    """The nominal values, moved a little, on the estimation scale."""
    moved = np.random.default_rng(1).uniform(-0.1, 0.1, (count, len(objective.nominal)))
    scales = [objective.problem.parameters[name].scale for name in objective.names]
    unit = np.array([1.0 if s == "log10" else np.log(10) if s == "log" else np.nan for s in scales])
    unit = np.where(np.isnan(unit), np.abs(objective.nominal), unit)
    return np.clip(objective.nominal + moved * unit, objective.lower, objective.upper)


def ours(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds to the first gradient in a new process, and ms per start in a batch."""
    from multiscale.fit.petab.objective import Objective
    from multiscale.formats.petab import read_petab

    command = [sys.executable, "-c", FIRST, str(path)]
    first = [
        float(x) for x in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    ]
    tolerances = {"rtol": options.rtol, "atol": options.atol}
    objective = Objective(read_petab(path), threads=options.threads, **tolerances)
    theta = points(objective, options.starts)
    value = _best(lambda: objective.value(theta))
    gradient = _best(lambda: objective.gradient(theta))
    at = objective.gradient(theta[:1])
    return {
        "parameters": len(objective.names),
        "load_s": first[0],
        "first_value_s": first[1],
        "first_gradient_s": first[2],
        "value_ms": 1e3 * value / options.starts,
        "gradient_ms": 1e3 * gradient / options.starts,
        "llh": float(at.llh[0]),
    }


def amici(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The same with pyPESTO and AMICI; empty where they are not installed."""
    try:
        import petab.v1
        import pypesto.petab
        from amici.sim.sundials import SensitivityMethod
    except ImportError:
        return {}
    from multiscale.fit.petab.objective import Objective
    from multiscale.formats.petab import read_petab

    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # its own swig
    begun = time.perf_counter()
    problem = petab.v1.Problem.from_yaml(path)
    importer = pypesto.petab.PetabImporter(
        problem, output_folder=str(options.cache / path.stem), model_name=path.stem
    )
    objective = importer.create_problem(verbose=False).objective
    compiled = time.perf_counter() - begun
    objective.amici_solver.set_relative_tolerance(options.rtol)
    objective.amici_solver.set_absolute_tolerance(options.atol)
    mine = Objective(read_petab(path))
    theta = points(mine, options.starts)[:, [mine.names.index(name) for name in problem.x_free_ids]]
    value = _best(lambda: [objective(x) for x in theta])
    gradients = []
    for method in (SensitivityMethod.forward, SensitivityMethod.adjoint):
        objective.amici_solver.set_sensitivity_method(method)
        gradients.append(_best(lambda: [objective(x, sensi_orders=(0, 1)) for x in theta]))
    return {
        "amici_compile_s": compiled,
        "amici_value_ms": 1e3 * value / options.starts,
        "amici_gradient_ms": 1e3 * min(gradients) / options.starts,
        "amici_llh": -float(objective(theta[0])),
    }


def _best(call: Any) -> float:
    """Shortest of a few runs, s."""
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _line(row: dict[str, Any]) -> str:
    text = (
        f"{row['problem']:<28} first gradient {row['first_gradient_s']:5.2f} s;"
        f" value {row['value_ms']:8.2f} ms, gradient {row['gradient_ms']:8.2f} ms"
    )
    if "amici_value_ms" in row:
        text += (
            f"; AMICI {row['amici_value_ms']:8.2f}, {row['amici_gradient_ms']:8.2f} ms (compile"
            f" {row['amici_compile_s']:.0f} s): ratio {row['amici_value_ms'] / row['value_ms']:.2f},"
            f" {row['amici_gradient_ms'] / row['gradient_ms']:.2f}"
        )
    return text


if __name__ == "__main__":
    main()
