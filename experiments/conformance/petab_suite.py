"""Run the cases of the PEtab test suite and count what passes, what is wrong and what is refused.

Usage: python experiments/conformance/petab_suite.py DIR [--json] [--out DIR] [--cases 0001 0002]

DIR is a folder with cases, `.../v1.0.0/sbml` or `.../v2.0.0/sbml`, or one above such folders. A case passes
if llh, χ² and every simulation agree with its solution file to the tolerances stated there. It is refused if
the reader or the solver says what it cannot do; anything else is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from multiscale.errors import MultiscaleError
from multiscale.fit.petab.objective import Objective
from multiscale.formats.petab.read import read_petab

PASSED, WRONG, REFUSED = "passed", "wrong", "refused"


@dataclass(frozen=True)
class Verdict:
    """What became of a case.

    Args:
        case: version and number.
        outcome: `passed`, `wrong` or `refused`.
        reason: why it did not pass.
        numbers: ours and theirs.
        seconds: from reading to the last number.
    """

    case: str
    outcome: str
    reason: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def cases_in(folder: Path) -> dict[str, Path]:
    """Folders of cases by name, sorted."""
    found = {}
    for solution in sorted(folder.rglob("_[0-9]*_solution.yaml")):
        home = solution.parent
        version = next((part for part in reversed(home.parts) if part.startswith("v")), "")
        found[f"{version}/{home.name}".lstrip("/")] = home
    return found


def simulated(home: Path, solution: dict[str, Any]) -> np.ndarray:
    """Simulations of the solution, in the order of the measurements."""
    parts = [pd.read_csv(home / name, sep="\t") for name in solution["simulation_files"]]
    return pd.concat(parts)["simulation"].to_numpy(dtype=float)


def judge(case: str, home: Path, out: Path | None) -> Verdict:
    """Evaluate a case at its nominal parameters and compare."""
    begin = time.perf_counter()
    try:
        numbers, wrong = evaluate(home, out / case if out else None)
    except MultiscaleError as error:
        return Verdict(case, REFUSED, str(error), {}, time.perf_counter() - begin)
    except Exception:  # a crash is a wrong result, and the others go on
        return Verdict(case, WRONG, traceback.format_exc(limit=-2).strip(), {}, time.perf_counter() - begin)
    return Verdict(case, WRONG if wrong else PASSED, wrong, numbers, time.perf_counter() - begin)


def evaluate(home: Path, out: Path | None) -> tuple[dict[str, float], str]:
    """Our numbers and theirs, and what disagrees."""
    number = home.name
    solution = yaml.safe_load((home / f"_{number}_solution.yaml").read_text(encoding="utf-8"))
    objective = Objective(read_petab(home / f"_{number}.yaml"))
    values = objective.value(objective.nominal)
    if values.message[0]:
        return {}, values.message[0]
    table = objective.simulate(objective.nominal)
    errors = {
        "llh": abs(float(values.llh[0]) - solution["llh"]),
        "chi2": abs(float(values.chi2[0]) - solution["chi2"]),
        "simulations": float(np.max(np.abs(table["simulation"].to_numpy() - simulated(home, solution)))),
    }
    if out is not None:
        write(out, table, values.llh[0], values.chi2[0])
    wrong = [
        f"{name} differs by {error:.3g}"
        for name, error in errors.items()
        if not error <= solution[f"tol_{name}"]
    ]
    return errors, "; ".join(wrong)


def write(folder: Path, table: pd.DataFrame, llh: float, chi2: float) -> None:
    """Write simulations and likelihood of a problem."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "simulations.tsv", sep="\t", index=False)
    (folder / "likelihood.json").write_text(json.dumps({"llh": llh, "chi2": chi2}) + "\n", encoding="utf-8")


def summary(verdicts: list[Verdict]) -> dict[str, Any]:
    """Counts, and what did not pass."""
    return {
        "passed": sum(v.outcome == PASSED for v in verdicts),
        "wrong": [v.case for v in verdicts if v.outcome == WRONG],
        "refused": {v.case: v.reason for v in verdicts if v.outcome == REFUSED},
        "cases": {v.case: asdict(v) for v in verdicts},
    }


def show(verdicts: list[Verdict]) -> None:
    """Print a line per case and the counts."""
    for v in verdicts:
        errors = "  ".join(f"Δ{name} {value:.1e}" for name, value in v.numbers.items())
        reason = v.reason.splitlines()[-1] if v.reason else ""
        print(f"{v.case:14} {v.outcome:8} {v.seconds:6.2f} s  {errors}  {reason}".rstrip())
    print(f"{sum(v.outcome == PASSED for v in verdicts)} of {len(verdicts)} passed")


def main(arguments: list[str] | None = None) -> int:
    """Run the cases that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="print machine-readable results")
    parser.add_argument("--out", type=Path, help="folder for simulations and likelihoods")
    parser.add_argument("--cases", nargs="*", help="numbers of cases; default: all")
    options = parser.parse_args(arguments)
    cases = cases_in(options.folder)
    if not cases:
        parser.error(f"{options.folder} holds no cases; give the folder that holds 0001, 0002, ...")
    chosen = {case: home for case, home in cases.items() if not options.cases or home.name in options.cases}
    verdicts = [judge(case, home, options.out) for case, home in chosen.items()]
    if options.json:
        print(json.dumps(summary(verdicts), indent=1))
    else:
        show(verdicts)
    return 0 if all(v.outcome == PASSED for v in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
