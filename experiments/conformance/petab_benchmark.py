"""Run problems of the PEtab benchmark collection: likelihoods against published ones, gradients, simulations.

Usage: python experiments/conformance/petab_benchmark.py DIR [--json] [--out DIR] [--gradient] [--precise]
           [--problems NAME ...]

DIR holds one folder per problem, NAME/NAME.yaml, and `reference_llh.json` with the likelihoods at the nominal
parameters. A problem passes if

- its llh agrees with the reference to 1e-3 of it (where there is a reference);
- `--gradient`: every entry g of the gradient agrees with the central difference to 1e-2 |g| + 1e-4 max |g|;
- `--precise`: at tight tolerances, every observable agrees with what libRoadRunner gives for its formula,
also at
  tight tolerances, to 1e-5 of it. This runs where libRoadRunner is installed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from multiscale.errors import MultiscaleError
from multiscale.fit.petab.objective import Objective
from multiscale.formats.petab.problem import PetabProblem
from multiscale.formats.petab.read import read_petab

LLH = 1e-3  # relative
GRADIENT, GRADIENT_FLOOR = 1e-2, 1e-4
SIMULATION = 1e-5  # relative
RTOL, ATOL = 1e-12, 1e-14  # of precise simulations
STEPS = (1e-5, 1e-3, 1e-4, 1e-7, 1e-8, 1e-9)  # of differences, on the scale of estimation


def problems_in(folder: Path) -> dict[str, Path]:
    """Problems by name."""
    return {path.stem: path for path in sorted(folder.glob("*/*.yaml")) if path.stem == path.parent.name}


def differences(objective: Objective, theta: np.ndarray, which: np.ndarray, step: float) -> np.ndarray:
    """Central differences of llh of order 4, by some unknowns."""
    steps = step * np.eye(len(theta))[which]
    around = np.concatenate([theta + k * steps for k in (1, -1, 2, -2)])
    with np.errstate(invalid="ignore"):  # where a simulation failed there is no difference
        up, down, far_up, far_down = objective.value(around).llh.reshape(4, -1)
        return (8.0 * (up - down) - (far_up - far_down)) / (12.0 * step)


def check_gradient(objective: Objective, problem: PetabProblem) -> dict[str, Any]:
    """Compare the gradient with differences; where one step disagrees, another may suit the entry better."""
    theta = objective.nominal
    ours = objective.gradient(theta)
    gradient = (ours.gradient - ours.prior_gradient)[0]
    precise = Objective(problem, rtol=1e-11, atol=1e-13, max_steps=20_000)
    allowed = GRADIENT * np.abs(gradient) + GRADIENT_FLOOR * np.abs(gradient).max()
    excess = np.full(len(theta), np.inf)
    for step in STEPS:
        left = np.flatnonzero(~(excess <= 1.0))
        if len(left):
            far = np.abs(differences(precise, theta, left, step) - gradient[left]) / allowed[left]
            excess[left] = np.fmin(excess[left], far)
    wrong = [name for name, e in zip(objective.names, excess, strict=True) if not e <= 1.0]
    return {"largest": float(np.abs(gradient).max()), "excess": float(excess.max()), "wrong": wrong}


def evaluate(path: Path, reference: float | None, options: argparse.Namespace) -> dict[str, Any]:
    """All numbers of a problem, and `wrong`: what disagrees."""
    begin = time.perf_counter()
    problem = read_petab(path)
    objective = Objective(problem)
    values = objective.value(objective.nominal)
    found: dict[str, Any] = {"llh": float(values.llh[0]), "reference": reference}
    found["chi2"], found["seconds"] = float(values.chi2[0]), time.perf_counter() - begin
    wrong = [values.message[0]] if values.message[0] else []
    if reference is not None:
        found["relative"] = abs(found["llh"] - reference) / abs(reference)
    if not found.get("relative", 0.0) <= LLH:
        wrong.append(f"llh differs by {found['relative']:.1e} of the reference")
    if options.gradient and not wrong:
        found["gradient"] = check_gradient(objective, problem)
        wrong += [f"gradient by `{name}`" for name in found["gradient"]["wrong"]]
    if options.precise and not wrong:
        found["simulations"] = check_simulations(problem)
        if found["simulations"] is not None and not found["simulations"] <= SIMULATION:
            wrong.append(f"simulations differ by {found['simulations']:.1e}")
    if options.out:
        write(options.out / path.stem, objective, found)
    return found | {"wrong": wrong}


def check_simulations(problem: PetabProblem) -> float | None:
    """Largest relative difference from libRoadRunner; None where it cannot be compared."""
    try:
        import roadrunner  # type: ignore[import-not-found]
    except ImportError:
        return None
    del roadrunner
    from roadrunner_peer import peer_readings

    objective = Objective(problem, rtol=RTOL, atol=ATOL)
    theirs = peer_readings(problem)
    ours = objective.read(objective.nominal).y
    floor = 1e-8 * np.abs(theirs).max()  # what is 0 up to rounding has no relative error
    return float(np.max(np.abs(ours - theirs) / (np.abs(theirs) + floor)))


def write(folder: Path, objective: Objective, found: dict[str, Any]) -> None:
    """Write simulations and likelihood of a problem."""
    folder.mkdir(parents=True, exist_ok=True)
    objective.simulate(objective.nominal).to_csv(folder / "simulations.tsv", sep="\t", index=False)
    kept = {"llh": found["llh"], "chi2": found["chi2"]}
    (folder / "likelihood.json").write_text(json.dumps(kept) + "\n", encoding="utf-8")


def attempt(path: Path, reference: float | None, options: argparse.Namespace) -> dict[str, Any]:
    """The same; what is refused says so, and a crash is wrong."""
    try:
        return evaluate(path, reference, options)
    except MultiscaleError as error:
        return {"refused": str(error), "wrong": []}
    except Exception:  # the other problems go on
        return {"wrong": [traceback.format_exc(limit=-3)]}


def summary(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Counts, and what did not pass."""
    refused = {name: found["refused"] for name, found in results.items() if "refused" in found}
    wrong = [name for name, found in results.items() if found["wrong"]]
    return {
        "passed": len(results) - len(refused) - len(wrong),
        "wrong": wrong,
        "refused": refused,
        "problems": results,
    }


def show(results: dict[str, dict[str, Any]]) -> None:
    """Print a line per problem and the counts."""
    print(f"{'problem':28}{'llh':>14}{'reference':>14}{'relative':>10}{'seconds':>9}  gradient  simulations")
    for name, found in results.items():
        if "llh" in found:
            gradient = f"{found['gradient']['excess']:8.3f}" if "gradient" in found else f"{'':8}"
            far = found.get("simulations")
            simulations = f"{far:.1e}" if far is not None else ""
            known = found["reference"] is not None
            line = f"{found['llh']:14.6f}" + (f"{found['reference']:14.6f}" if known else " " * 14)
            line += (f"{found['relative']:10.1e}" if known else " " * 10) + f"{found['seconds']:9.2f}"
            print(f"{name:28}{line}  {gradient}  {simulations}  {'; '.join(found['wrong'])}".rstrip())
        else:
            print(f"{name:28}{found.get('refused') or found['wrong'][0]}")
    print(f"{summary(results)['passed']} of {len(results)} passed")


def main(arguments: list[str] | None = None) -> int:
    """Run the problems that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="print machine-readable results")
    parser.add_argument("--out", type=Path, help="folder for simulations and likelihoods")
    parser.add_argument("--gradient", action="store_true", help="compare gradients with differences")
    parser.add_argument("--precise", action="store_true", help="compare simulations with libRoadRunner's")
    parser.add_argument("--problems", nargs="*", help="names; default: all")
    options = parser.parse_args(arguments)
    problems = problems_in(options.folder)
    if not problems:
        parser.error(f"{options.folder} holds no problems NAME/NAME.yaml")
    listed = options.folder / "reference_llh.json"
    references = json.loads(listed.read_text(encoding="utf-8")) if listed.is_file() else {}
    chosen = {
        name: path for name, path in problems.items() if not options.problems or name in options.problems
    }
    results = {name: attempt(path, references.get(name), options) for name, path in chosen.items()}
    if options.json:
        print(json.dumps(summary(results), indent=1))
    else:
        show(results)
    return 0 if summary(results)["passed"] == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
