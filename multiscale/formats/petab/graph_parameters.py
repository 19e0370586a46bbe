"""Parameters of a fit as rows of PEtab's parameter table."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

import numpy as np

from multiscale.errors import DataError, nearest
from multiscale.formats.petab.priors import Prior, unscaled
from multiscale.formats.petab.problem import PetabParameter
from multiscale.model import Problem
from multiscale.model.parameters import Block, ParameterTable

__all__ = ["graph_parameters"]

_SCALES = {"ln": "log", "lin": "lin"}


def graph_parameters(
    problem: Problem, table: ParameterTable, values: Mapping[str, float]
) -> dict[str, PetabParameter]:
    """Fixed parameters that reactions and contexts need, and all free ones, by name.

    Args:
        problem: of a kinetic regime.
        table: its free parameters.
        values: in place of nominal values, on the linear scale.

    Raises:
        DataError: `values` names no parameter.
    """
    found = _fixed(problem, values)
    for block in table.blocks:
        for i, name in enumerate(block.identifiers):
            found[name] = _free(problem, block, i, name, values)
    for name in values:
        if name not in found:
            raise DataError(f"`values`: there is no parameter `{name}`; {nearest(name, found)}")
    return found


def _fixed(problem: Problem, values: Mapping[str, float]) -> dict[str, PetabParameter]:
    table, dynamics = problem.graph.parameters, problem.dynamics
    value_of = table["nominalValue"].to_dict()
    names = [] if dynamics is None else dynamics.parameters
    return {
        name: PetabParameter(name, nominal=values.get(name, float(value_of[name])))
        for name in names
        if table.at[name, "estimate"] == 0
    }


def _free(problem: Problem, block: Block, i: int, name: str, values: Mapping[str, float]) -> PetabParameter:
    """Parameter of a block, whose prior is normal on the scale on which it is estimated."""
    scale = _SCALES[block.scale]
    lower, upper = _bounds(block, i, scale)
    known = problem.graph.parameters["nominalValue"].to_dict()
    median = float(unscaled(float(block.mean[i]), scale))
    nominal = values.get(name, float(known.get(name, median)))
    bounds = (lower, upper)
    prior = _normal(float(block.mean[i]), float(block.sd[i]), scale, bounds)
    start = _normal(float(block.start_center()[i]), float(block.start_width()[i]), scale, bounds)
    return PetabParameter(name, scale, lower, upper, nominal, True, prior, start)


def _bounds(block: Block, i: int, scale: str) -> tuple[float, float]:
    """Bounds on the linear scale; without any, all numbers that the scale has."""
    if block.lower is None or block.upper is None:
        return (-math.inf if scale == "lin" else sys.float_info.min), math.inf
    lower, upper = (np.asarray(end, dtype=float)[i] for end in (block.lower, block.upper))
    return float(unscaled(lower, scale)), float(unscaled(upper, scale))


def _normal(mean: float, sd: float, scale: str, bounds: tuple[float, float]) -> Prior | None:
    """Normal distribution on a scale, None for a flat one."""
    return Prior("normal", (mean, sd), scale, *bounds) if math.isfinite(sd) else None
