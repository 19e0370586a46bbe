"""What `multiscale petab` does: a PEtab problem evaluated at its nominal parameters."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiscale import atomic
from multiscale.errors import DataError, OutputError

if TYPE_CHECKING:
    from multiscale.fit.petab.objective import Objective

__all__ = ["evaluate_petab", "lines"]


def evaluate_petab(
    problem: str | Path,
    *,
    gradient: bool = False,
    simulate: str | Path | None = None,
    rtol: float = 1e-10,
    atol: float = 1e-12,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Evaluate a problem at the nominal values of its parameters.

    Args:
        problem: YAML file.
        gradient: whether to differentiate llh by the estimated parameters, on their scales of estimation.
        simulate: table to write the simulations to, TSV as PEtab has it; None = none.
        rtol, atol: tolerances of the integration.
        overwrite: whether it may replace a file.

    Returns:
        `llh`, `chi2`, `prior` (ln of the prior density, not in llh), `n_measurements`, `gradient` by name (of
        llh without the prior; only if asked for), and `seconds` of `load` and of `evaluate`.

    Raises:
        FormatError: the problem is wrong.
        DataError: it cannot be evaluated; the message names the experiment.
        OutputError: the table exists.
    """
    from multiscale.fit.petab.objective import Objective
    from multiscale.formats.petab.read import read_petab

    if simulate is not None and Path(simulate).exists() and not overwrite:
        raise OutputError(f"{simulate} exists; choose another name or add --overwrite.")
    begin = time.perf_counter()
    objective = Objective(read_petab(problem), rtol=rtol, atol=atol)
    loaded = time.perf_counter()
    found = _evaluated(objective, gradient)
    done = time.perf_counter()
    if simulate is not None:
        table = objective.simulate(objective.nominal)
        with atomic.replace(simulate) as file:
            table.to_csv(file, sep="\t", index=False)
    found["seconds"] = {"load": loaded - begin, "evaluate": done - loaded}
    return found


def _evaluated(objective: Objective, gradient: bool) -> dict[str, Any]:
    unset = [n for n, v in zip(objective.names, objective.nominal, strict=True) if not math.isfinite(v)]
    if unset:
        raise DataError(
            f"{objective.problem.path}: `nominalValue` of `{unset[0]}` must be a number within the domain of "
            "its scale; give one to every estimated parameter"
        )
    theta = objective.nominal
    slopes = objective.gradient(theta) if gradient else None
    values = slopes or objective.value(theta)
    if values.message[0]:
        raise DataError(f"{objective.problem.path}: {values.message[0]}")
    found: dict[str, Any] = {
        "llh": float(values.llh[0]),
        "chi2": float(values.chi2[0]),
        "prior": float(values.prior[0]),
        "n_measurements": len(objective.problem.measurements),
    }
    if slopes is not None:
        by_name = (slopes.gradient - slopes.prior_gradient)[0].tolist()
        found["gradient"] = dict(zip(objective.names, by_name, strict=True))
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """The same for people, one line each."""
    text = [
        f"llh           {found['llh']:.6f}",
        f"chi2          {found['chi2']:.6f}",
        f"ln prior      {found['prior']:.6f}",
        f"measurements  {found['n_measurements']}",
    ]
    for name, slope in found.get("gradient", {}).items():
        text.append(f"d llh / d {name}  {slope:.6g}")
    seconds = found["seconds"]
    text.append(f"seconds       {seconds['load']:.2f} to load, {seconds['evaluate']:.2f} to evaluate")
    return text
