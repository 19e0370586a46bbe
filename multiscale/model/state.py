"""The physical state of every context, whatever the regime that gave it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from multiscale.solver import Status

__all__ = ["State"]


@dataclass(frozen=True)
class State:
    """Physical state of every context.

    Args:
        values: parameters per block, each (start, ...).
        g: energies of all species (within-cell, then pair complexes), kcal/mol, (start, species).
        ln_level: ln of transcript levels, (start, context, transcript).
        ln_supply: ln copies of the molecules that are supplied, (start, context, molecule).
        ln_x: ln concentrations of species, ln µM, (start, context, species); of a time course at its last
            time, and at least the resolution of its solver.
        ln_total: ln copies of each molecule in all its forms, (start, context, molecule); NaN where the
            volume of the cells is not known.
        ln_surface: ln copies of each molecule on a membrane, −inf where it has no such form, same shape.
        x: concentrations of what tables of concentrations read, each in the volume of its compartment, µM,
            (start, context, time, readable species).
        warm: what the next call may start from: multipliers λ of equilibria, or states at rest; (start,
            context, number), NaN where nothing was found.
        status: of the solver, (start, context).
    """

    values: dict[str, Tensor]
    g: Tensor
    ln_level: Tensor
    ln_supply: Tensor
    ln_x: Tensor
    ln_total: Tensor
    ln_surface: Tensor
    x: Tensor
    warm: Tensor
    status: Tensor

    @property
    def solved(self) -> Tensor:
        """Whether all contexts of a start were solved, (start,)."""
        return (self.status <= Status.ROUNDING).all(-1)
