"""Where programs find their inputs: [t, x, p] and further symbols, as in [t, x, p, m]."""

from __future__ import annotations

from collections.abc import Sequence

from multiscale.equations.derivative import derivatives, sparse_program
from multiscale.equations.expression import TIME, ZERO, Expression, symbol
from multiscale.equations.hybrid import Sparse
from multiscale.equations.program import Program, compile_program

__all__ = ["Layout", "by_time"]


class Layout:
    """The order of the inputs of programs.

    Args:
        states: names.
        parameters: names.
        active: names of the parameters with derivatives.
        further: symbols that come after the parameters.

    Attributes:
        x: symbols of the states.
        p: symbols of the active parameters.
        further: see above.
    """

    def __init__(
        self,
        states: Sequence[str],
        parameters: Sequence[str],
        active: Sequence[str],
        further: Sequence[Expression] = (),
    ) -> None:
        self.x = [symbol(f"x:{name}") for name in states]
        self.p = [symbol(f"p:{name}") for name in active]
        self.further = [*further]
        inputs = [TIME, *self.x, *(symbol(f"p:{name}") for name in parameters), *further]
        self._place = {entry: position for position, entry in enumerate(inputs)}
        self._names = (states, parameters, active)

    def with_further(self, further: Sequence[Expression]) -> Layout:
        """Return the same layout with more symbols at its end."""
        return Layout(*self._names, [*self.further, *further])

    def program(self, roots: Sequence[Expression]) -> Program:
        """Compile formulas over states, parameters, time, and the further symbols."""
        return compile_program(roots, self._place, len(self._place))

    def sparse(
        self, values: Sequence[Expression], *matrices: tuple[Sequence[Expression], Sequence[Expression]]
    ) -> Sparse:
        """Compile values with matrices of derivatives, each given by rows and by the symbols of columns."""
        return sparse_program(values, matrices, self._place, len(self._place))


def by_time(formulas: Sequence[Expression]) -> list[Expression]:
    """Partial derivative of formulas by time."""
    found = derivatives(formulas, [TIME])
    return [found.get((row, 0), ZERO) for row in range(len(formulas))]
