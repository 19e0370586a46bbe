"""What a rate law is: a flux as a function of the few quantities that one reaction reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Law"]


@dataclass(frozen=True)
class Law:
    """A rate law: the flux v of one reaction as a function of the quantities z that it reads.

    Its derivatives are closed forms, because solvers need the first ones in every step and the exact adjoint
    of a Rosenbrock step needs the second ones.

    Args:
        name: as in the graph.
        slots: what z holds, in order: constants first, then concentrations (µM).
        rate: v of z, shape (..., slot) → (...), µM/s.
        gradient: ∂v/∂z of z, shape (..., slot) → (..., slot).
        curvature: Σ_j ∂²v/∂z_i∂z_j a_j of z and a direction a, both of shape (..., slot) → (..., slot).
    """

    name: str
    slots: tuple[str, ...]
    rate: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor], Tensor]
    curvature: Callable[[Tensor, Tensor], Tensor]
