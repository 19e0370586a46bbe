"""How a solver ended: one enumeration, whose texts are the sentences that users read."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Status"]


class Status(IntEnum):
    """End of one solve; solvers return one number per system, and a larger number is worse.

    Everything up to `ROUNDING` is a solution. `text` is the sentence for reports and error messages.

    >>> Status(2).name, Status.ROUNDING.solved, Status.CONVERGED.text
    ('NOT_CONVERGED', True, 'converged')
    """

    text: str

    def __new__(cls, number: int, text: str) -> Status:
        """Attach the sentence to the number."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.text = text
        return member

    CONVERGED = 0, "converged"
    ROUNDING = 1, "solved to rounding error: what is nearly used up is known to fewer digits"
    NOT_CONVERGED = 2, "stopped after the maximal number of steps: raise `max_steps` or start closer"
    INFEASIBLE = (
        3,
        "totals admit no non-negative solution: a molecule has neither free form nor partner left",
    )
    UNSTABLE = 4, "the steady state that was found is not stable: perturbations grow"
    NO_STEADY_STATE = (
        5,
        "no steady state was found: concentrations may oscillate, grow, or change very slowly",
    )
    GRAZING_EVENT = 6, "an event's condition was touched, not crossed: its time has no derivative"
    SINGULAR = (
        7,
        "the steady state is singular: a fold, or rates of zero that conserve further totals",
    )
    TOO_MANY_STEPS = 8, "more steps than `max_steps`: raise it, or loosen `rtol` and `atol`"
    STEP_TOO_SMALL = 9, "the step fell below rounding: the solution may blow up, or `rtol` is too small"
    NOT_FINITE = 10, "a rate is not a finite number: check parameters and concentrations"

    @property
    def solved(self) -> bool:
        """Whether the values that came with this status are a solution."""
        return self <= Status.ROUNDING
