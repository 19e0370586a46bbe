"""What is to be integrated, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from multiscale.solver.events import Event, Timed
from multiscale.solver.rosenbrock import Eliminate, Method
from multiscale.solver.system import Point, System

__all__ = ["Task"]


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be integrated, and how.

    Args:
        method: Rosenbrock method.
        system: f and its derivatives.
        eliminate: linear algebra of the steps.
        p: constants, (system, parameter).
        t0: start, (system,).
        times: requested times, ascending, (system, time).
        events: in the order in which they act at one moment.
        rtol: relative tolerance.
        atol: absolute tolerance, µM, (size,).
        nonnegative: species that may not fall below −atol, (size,) bool.
        max_steps: most attempts per system.
        lanes: most systems that are under way at once.
    """

    method: Method
    system: System
    eliminate: Eliminate
    p: Tensor
    t0: Tensor
    times: Tensor
    events: Sequence[Timed | Event]
    rtol: float
    atol: Tensor
    nonnegative: Tensor
    max_steps: int
    lanes: int

    def at(self, rows: Tensor, t: Tensor, x: Tensor) -> Point:
        """Point of some systems."""
        return Point(t, x, self.p[rows])
