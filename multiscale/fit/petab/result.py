"""A fitted PEtab problem: the best parameters with intervals, and how all starts fared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiscale.errors import DataError
from multiscale.fit.petab.intervals import (
    LEVEL,
    Fisher,
    fisher_intervals,
    observed_information,
    profile_intervals,
)
from multiscale.fit.petab.multistart import MultiStart, Settings, evaluator, multistart
from multiscale.fit.petab.objective import Objective
from multiscale.fit.petab.starts import linear
from multiscale.fit.trust_region import Ended, Search
from multiscale.formats.petab.problem import PetabProblem

__all__ = ["AGREE", "SEARCHING", "PetabFit", "fit_petab"]

AGREE = 0.1
"""Starts whose objective is within this of the best, in nats, count as having found the same optimum."""


SEARCHING: dict[str, Any] = {
    "rtol": 1e-8,
    "atol": 1e-10,
    "max_steps": 20_000,  # where a random point needs more, the search turns away
    "control_sensitivities": False,  # those of the accepted steps are exact whatever the steps are
}
"""Options of the solver in a search."""


@dataclass(frozen=True, eq=False)
class PetabFit:
    """Result of a multi-start fit.

    Args:
        problem: what was fitted.
        parameters: index parameterId; columns scale, estimate, lower, upper (ends of 90 % intervals by the
            observed information), profileLower, profileUpper (by profiles, NaN where none were made), status,
            all values on the linear scale; `theta` on the estimation scale.
        starts: one row per start, best first: start, loss (negative log posterior), reason, and the
            parameters on the estimation scale.
        profiles: columns parameterId, value (estimation scale), rise (nats); empty without profiles.
        llh: log-likelihood at the best point.
        prior: log-density of the priors there.
        nominal: negative log posterior at the nominal values, NaN where the table gives none.
        seconds: of the search.
        redrawn: starts drawn again because the model could not be simulated there.
        iterations: of the search.
    """

    problem: PetabProblem
    parameters: pd.DataFrame
    starts: pd.DataFrame
    profiles: pd.DataFrame
    llh: float
    prior: float
    nominal: float
    seconds: float
    redrawn: int
    iterations: int

    @property
    def objective(self) -> float:
        """Negative log posterior at the best point."""
        return -(self.llh + self.prior)

    @property
    def agreeing(self) -> int:
        """How many starts ended within 0.1 of the best."""
        return int((self.starts["loss"] <= self.objective + AGREE).sum())

    @property
    def as_good_as_nominal(self) -> int | None:
        """How many starts ended at most 0.1 above the nominal values; None where there are none."""
        return None if np.isnan(self.nominal) else int((self.starts["loss"] <= self.nominal + AGREE).sum())

    def summary(self) -> dict[str, Any]:
        """Numbers of the fit for `--json`."""
        open_ended = self.parameters.index[self.parameters["status"] != "determined"].tolist()
        return {
            "name": self.problem.name,
            "objective": self.objective,
            "llh": self.llh,
            "log_prior": self.prior,
            "nominal_objective": None if np.isnan(self.nominal) else self.nominal,
            "starts": len(self.starts),
            "starts_at_the_best": self.agreeing,
            "starts_as_good_as_nominal": self.as_good_as_nominal,
            "starts_redrawn": self.redrawn,
            "iterations": self.iterations,
            "seconds": round(self.seconds, 2),
            "estimates": self.parameters["estimate"].to_dict(),
            "not_determined": open_ended,
        }

    def headline(self) -> str:
        """What came out, in a sentence or two."""
        text = f"objective {self.objective:.4f} (llh {self.llh:.4f}); {self.agreeing} of {len(self.starts)}"
        text += f" starts ended within {AGREE:g} of it"
        if self.as_good_as_nominal is not None:
            text += f", {self.as_good_as_nominal} at least as low as the nominal {self.nominal:.4f}"
        loose = self.parameters.index[self.parameters["status"] != "determined"].tolist()
        words = f"{len(loose)} of {len(self.parameters)} parameters are not determined: {', '.join(loose)}."
        return f"{text}. {words if loose else 'All parameters are determined.'}"


def fit_petab(
    problem: PetabProblem,
    settings: Settings | None = None,
    *,
    profiles: bool = True,
    checkpoint: Path | None = None,
    progress: Callable[[Search], None] | None = None,
    profile_progress: Callable[[int, int], None] | None = None,
    objective: Objective | None = None,
) -> PetabFit:
    """Fit a PEtab problem from many starts.

    Args:
        problem: from `read_petab`.
        settings: starts, seed, tolerances.
        profiles: whether to compute profile intervals; they cost about as much as the search.
        checkpoint: file for the state of the search; where it exists, the search goes on from it.
        progress, profile_progress: called while the search and the profiles go on.
        objective: compiled problem, where it is at hand, else one with `SEARCHING`.

    Raises:
        FormatError: nothing is to be estimated, or bounds are missing.
        DataError: no start can be simulated.
    """
    objective = objective or Objective(problem, **SEARCHING)
    found = multistart(objective, settings, checkpoint, progress)
    best = int(found.order[0])
    x = found.search.x[best]
    value = float(found.search.at.value[best])
    if not np.isfinite(value):
        raise DataError(f"{problem.path}: no start ended where the model can be simulated.")
    ends = objective.lower, objective.upper
    hessian = observed_information(evaluator(objective), x, found.search.at.hessian[best], *ends)
    fisher = fisher_intervals(x, hessian, *ends)
    profiled, table = None, pd.DataFrame(columns=["parameterId", "value", "rise"])
    if profiles:
        raw, low, high = profile_intervals(evaluator(objective), x, value, hessian, *ends, profile_progress)
        raw.insert(0, "parameterId", [objective.names[i] for i in raw.pop("parameter")])
        profiled, table = (low, high), raw
    at_best = objective.value(x[None])
    return PetabFit(
        problem,
        _parameters(objective, x, fisher, profiled),
        _starts(objective, found),
        table,
        float(at_best.llh[0]),
        float(at_best.prior[0]),
        _nominal(objective),
        found.seconds,
        found.redrawn,
        found.search.iteration,
    )


def _nominal(objective: Objective) -> float:
    if np.isnan(objective.nominal).any():
        return np.nan
    at = objective.value(objective.nominal[None])
    return -float(at.llh[0] + at.prior[0])


def _parameters(
    objective: Objective, x: np.ndarray, fisher: Fisher, ends: tuple[np.ndarray, np.ndarray] | None
) -> pd.DataFrame:
    from scipy.stats import norm

    names = objective.names
    scales = [objective.problem.parameters[name].scale for name in names]
    reach = float(norm.ppf((1 + LEVEL) / 2)) * fisher.sd
    none = np.full(len(x), np.nan)
    low, high = ends or (none, none)
    at_bound, open_ended = fisher.at_bound, fisher.undetermined
    if ends is not None:
        open_ended = open_ended | np.isinf(low) | np.isinf(high)
    status = np.where(at_bound, "at a bound", np.where(open_ended, "not determined", "determined"))
    columns = {
        "estimate": x,
        "lower": x - reach,
        "upper": x + reach,
        "profileLower": low,
        "profileUpper": high,
    }
    with np.errstate(over="ignore"):  # an open end is 0 or infinite on a logarithmic scale
        values = {name: linear(column, objective.problem) for name, column in columns.items()}
    index = pd.Index(names, name="parameterId")
    return pd.DataFrame({"scale": scales, **values, "theta": x, "sd": fisher.sd, "status": status}, index)


def _starts(objective: Objective, found: MultiStart) -> pd.DataFrame:
    order = found.order
    table = pd.DataFrame(found.search.x[order], columns=pd.Index(objective.names))
    table.insert(0, "reason", [Ended(int(ended)).text for ended in found.search.ended[order]])
    table.insert(0, "loss", found.search.at.value[order])
    table.insert(0, "start", order)
    return table
