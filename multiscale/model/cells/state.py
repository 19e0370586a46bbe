"""The physical state of single cells."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from multiscale.solver import Status

__all__ = ["CellState"]


@dataclass(frozen=True)
class CellState:
    """Physical state of some cells, float64.

    Args:
        ln_x: ln concentrations of species, each in the volume of its compartment, ln µM, −inf where there is
            none, shape (cell, species).
        ln_total: ln copies of each molecule in all its forms, NaN where the volume of the cells is not known,
            shape (cell, molecule); molecules with a total per cell come first.
        ln_surface: ln copies of each molecule on a membrane, −inf where it has no such form, same shape.
        warm: what the next call for the same cells may start from, shape (cell, number).
        status: of the solver, int64, shape (cell,).
    """

    ln_x: Tensor
    ln_total: Tensor
    ln_surface: Tensor
    warm: Tensor
    status: Tensor

    @property
    def solved(self) -> Tensor:
        """Which cells were solved, shape (cell,)."""
        return self.status <= Status.ROUNDING
