"""How accurately time courses are integrated, where the user says so."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Solver"]

PRECISE = 1e-3
"""Factor on the tolerances where derivatives are differenced."""

FINEST = 1e-12
"""Smallest relative tolerance that steps are asked for: rounding is not far below."""


@dataclass(frozen=True, kw_only=True)
class Solver:
    """Options of time courses.

    Args:
        rtol: relative tolerance of a step.
        atol: absolute tolerance, µM; concentrations below it are not resolved.
        max_steps: most steps per context.

    Raises:
        ValueError: a value is out of range.
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    max_steps: int = 100_000

    def __post_init__(self) -> None:
        """Check the values."""
        if not (0 < self.rtol < 1 and 0 < self.atol < float("inf")):
            raise ValueError(
                f"`rtol` must lie between 0 and 1 and `atol` be positive, in µM; got {self.rtol},"
                f" {self.atol}."
            )
        if self.max_steps < 1:
            raise ValueError(f"`max_steps` must be at least 1; got {self.max_steps}.")

    @property
    def precise(self) -> Solver:
        """The same with tolerances a thousand times smaller, as far as rounding allows.

        >>> Solver(rtol=1e-6).precise.rtol
        1e-09
        """
        rtol = min(self.rtol, max(FINEST, PRECISE * self.rtol))
        return replace(self, rtol=rtol, atol=PRECISE * self.atol)
