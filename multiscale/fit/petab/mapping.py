"""From unknown parameters to all numbers that they give: one program for all experiments and all starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multiscale.equations.derivative import sparse_program
from multiscale.equations.expression import Expression, symbol
from multiscale.equations.machine import evaluate
from multiscale.formats.petab.problem import PetabParameter

__all__ = ["Mapped", "Mapping", "Scales"]

LN10 = float(np.log(10.0))


class Scales:
    """Scales on which parameters are estimated.

    Args:
        parameters: the estimated ones.

    >>> scales = Scales([PetabParameter("k", "log10", nominal=100.0)])
    >>> scales.scaled(np.array([100.0])), scales.linear(np.array([2.0]))
    (array([2.]), array([100.]))
    """

    def __init__(self, parameters: Sequence[PetabParameter]) -> None:
        self._base = np.array([{"lin": 0.0, "log": 1.0, "log10": LN10}[p.scale] for p in parameters])

    def scaled(self, linear: np.ndarray) -> np.ndarray:
        """Values on the scales of estimation, shape (..., q)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(
                self._base > 0, np.log(linear) / np.where(self._base > 0, self._base, 1.0), linear
            )

    def linear(self, theta: np.ndarray) -> np.ndarray:
        """Values on the linear scale, shape (..., q)."""
        return np.where(self._base > 0, np.exp(np.where(self._base > 0, theta * self._base, 0.0)), theta)

    def slope(self, theta: np.ndarray) -> np.ndarray:
        """Derivative of the linear values by the scaled ones, shape (..., q)."""
        return np.where(self._base > 0, self.linear(theta) * self._base, 1.0)

    def bend(self, theta: np.ndarray) -> np.ndarray:
        """Second derivative of the linear values by the scaled ones, shape (..., q)."""
        return np.where(self._base > 0, self.linear(theta) * self._base**2, 0.0)


@dataclass(frozen=True)
class Mapped:
    """Numbers at some values of the unknowns.

    Args:
        values: of all formulas, shape (starts, formula).
        slopes: derivatives by the unknowns on their scales on `Mapping.pattern`, shape (starts, entry).
    """

    values: np.ndarray
    slopes: np.ndarray


class Mapping:
    """All formulas of the unknowns that experiments and measurements use, each once.

    Args:
        parameters: the estimated ones, in the order of the unknowns.
        formulas: their only symbols are the names of these.
    """

    def __init__(self, parameters: Sequence[PetabParameter], formulas: Sequence[Expression]) -> None:
        self.scales = Scales(parameters)
        unknowns = [symbol(parameter.name) for parameter in parameters]
        places = {unknown: place for place, unknown in enumerate(unknowns)}
        self._sparse = sparse_program(formulas, [(formulas, unknowns)], places, len(unknowns))
        self.pattern = self._sparse.patterns[0]
        self.ends = np.searchsorted(self.pattern[0], np.arange(len(formulas) + 1)).astype(np.int64)

    def at(self, theta: np.ndarray) -> Mapped:
        """Evaluate all formulas.

        Args:
            theta: unknowns on their scales, shape (starts, q).
        """
        outputs = evaluate(self._sparse.program, self.scales.linear(theta))
        values, slopes = np.split(outputs, [self._sparse.values], axis=1)
        return Mapped(values, slopes * self.scales.slope(theta)[:, self.pattern[1]])
