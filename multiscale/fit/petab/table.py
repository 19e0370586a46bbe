"""Simulations as the table that PEtab has for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from multiscale.equations.expression import Expression
from multiscale.equations.formula import formula
from multiscale.formats.petab.problem import Measurement, PetabProblem

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["simulation_table"]


def simulation_table(problem: PetabProblem, y: np.ndarray) -> DataFrame:
    """The measurement table with a column `simulation` in place of `measurement`.

    Args:
        problem: with the measurements.
        y: simulations, shape (row,).
    """
    from pandas import DataFrame

    rows = problem.measurements
    columns: dict[str, list] = {"observableId": [row.observable for row in rows]}
    columns |= (
        _conditions(problem) if problem.version == 1 else {"experimentId": [row.experiment for row in rows]}
    )
    columns |= {
        "time": [row.time for row in rows],
        "simulation": y.tolist(),
        "observableParameters": [_joined(row.overrides) for row in rows],
        "noiseParameters": [_joined(row.noise_overrides) for row in rows],
        "datasetId": [row.dataset for row in rows],
        "replicateId": [row.replicate for row in rows],
    }
    kept = {name: values for name, values in columns.items() if any(value != "" for value in values)}
    return DataFrame(kept)


def _conditions(problem: PetabProblem) -> dict[str, list]:
    """Names of the conditions of version 1."""
    pairs = [_pair(problem, row) for row in problem.measurements]
    return {
        "preequilibrationConditionId": [before for before, _ in pairs],
        "simulationConditionId": [after for _, after in pairs],
    }


def _pair(problem: PetabProblem, row: Measurement) -> tuple[str, str]:
    names = ["", ""]
    for phase in problem.experiments[row.experiment]:
        names[0 if phase.time == -math.inf else 1] = ";".join(phase.conditions)
    return names[0], names[1]


def _joined(overrides: tuple[Expression, ...]) -> str:
    return ";".join(formula(e) for e in overrides)
