"""Conditions that switch as time goes on: comparisons become truth values that the solver keeps and changes.

Between two switches a right-hand side is then smooth. `floor` of something that moves becomes an integer
state and an event that counts it up or down.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from multiscale.equations.expression import TIME, ZERO, Expression, apply, number, ordered, substitute, symbol
from multiscale.equations.functions import RELATIONS
from multiscale.equations.hybrid import ABOVE, ABOVE_OR_AT
from multiscale.errors import FormatError

__all__ = ["Counter", "Switching", "readable"]


@dataclass(frozen=True, eq=False)
class Counter:
    """The integer part of something that moves.

    Args:
        name: of the state that holds it.
        argument: what it is the integer part of, over states, parameters and time.
        trigger: whether it no longer is that, over conditions.
    """

    name: str
    argument: Expression
    trigger: Expression

    @property
    def reset(self) -> Expression:
        """New value: at least one step towards the argument, which rounding may leave just before it."""
        state, floor = symbol(f"x:{self.name}"), apply("floor", self.argument)
        up = apply("max", state + 1.0, floor)
        down = apply("min", state - 1.0, floor)
        return apply("if", apply("<", state + 0.5, self.argument), up, down)


class Switching:
    """Replaces comparisons of what moves by conditions `m:0`, `m:1`, ...

    Args:
        moving: names `x:N` of the states that change between events.

    Attributes:
        roots: g of every condition; it may read other conditions.
        kinds: `ABOVE` or `ABOVE_OR_AT`: whether a condition is g > 0 or g >= 0.
        counters: integer parts.
    """

    def __init__(self, moving: Collection[str]) -> None:
        self.roots: list[Expression] = []
        self.kinds: list[int] = []
        self.counters: list[Counter] = []
        self._moving = moving
        self._moves: dict[Expression, bool] = {}
        self._new: dict[Expression, Expression] = {}
        self._modes: dict[tuple[int, Expression], Expression] = {}

    def __call__(self, formulas: Sequence[Expression]) -> list[Expression]:
        """Rewrite formulas over states, parameters and time.

        Raises:
            FormatError: whether two moving quantities are equal has no switch that could be found.
        """
        for node in ordered(formulas):
            if node not in self._new:
                self._new[node] = self._rewritten(node, [self._new[argument] for argument in node.arguments])
        return [self._new[formula] for formula in formulas]

    def truth(self, formula: Expression) -> Expression:
        """Rewrite a formula that counts as a truth value."""
        result = self([formula])[0]
        self._refuse_moving(result, formula)
        return result

    def moves(self, formula: Expression) -> bool:
        """Whether a formula changes between switches."""
        stack = [formula]
        while stack:
            node = stack[-1]
            unknown = [argument for argument in node.arguments if argument not in self._moves]
            if unknown and node not in self._moves:
                stack += unknown
                continue
            stack.pop()
            here = node is TIME or node.name in self._moving
            self._moves[node] = here or any(self._moves[argument] for argument in node.arguments)
        return self._moves[formula]

    def _rewritten(self, node: Expression, arguments: list[Expression]) -> Expression:
        if node.function in RELATIONS:
            return self._relation(node, *arguments)
        if node.function in ("floor", "ceil", "sign") and self.moves(arguments[0]):
            return self._step(node.function, node.arguments[0], arguments[0])
        truths = {"if": arguments[:1], "and": arguments, "or": arguments, "not": arguments}
        for truth in truths.get(node.function, ()):
            self._refuse_moving(truth, node)
        return apply(node.function, *arguments) if arguments else node

    def _relation(self, node: Expression, a: Expression, b: Expression) -> Expression:
        distance = b - a
        if not self.moves(distance):
            return apply(node.function, a, b)
        if node.function in ("==", "!="):
            raise FormatError(
                f"`{readable(node)}` must not compare quantities that change continuously: "
                "they are equal for no time at all; use < or <="
            )
        return self._mode(ABOVE if node.function == "<" else ABOVE_OR_AT, distance)

    def _mode(self, kind: int, root: Expression) -> Expression:
        """Condition that holds where the root is positive."""
        if (kind, root) not in self._modes:
            self._modes[kind, root] = symbol(f"m:{len(self.roots)}")
            self.roots.append(root)
            self.kinds.append(kind)
        return self._modes[kind, root]

    def _step(self, function: str, plain: Expression, argument: Expression) -> Expression:
        """`floor`, `ceil` or `sign` of something that moves; `plain` is the argument without conditions."""
        if function == "sign":
            below = self._mode(ABOVE, -argument)
            return apply("if", self._mode(ABOVE, argument), number(1), apply("if", below, number(-1), ZERO))
        if function == "ceil":
            return -self._floor(-plain, -argument)
        return self._floor(plain, argument)

    def _floor(self, plain: Expression, argument: Expression) -> Expression:
        """Integer state; it starts a new step where the argument leaves [state, state + 1)."""
        for counter in self.counters:
            if counter.argument is plain:
                return symbol(f"x:{counter.name}")
        name = f"floor:{len(self.counters)}"
        state = symbol(f"x:{name}")
        above = self._mode(ABOVE_OR_AT, argument - (state + 1.0))
        below = self._mode(ABOVE, state - argument)
        self.counters.append(Counter(name, plain, apply("or", above, below)))
        return state

    def _refuse_moving(self, truth: Expression, where: Expression) -> None:
        if self.moves(truth):
            raise FormatError(
                f"`{readable(where)}` must be a truth value; got a number that changes continuously; "
                "compare it with another by < or <="
            )


def readable(formula: Expression) -> str:
    """Return the text of a formula with the names of the model."""

    def replace(part: Expression) -> Expression | None:
        return symbol(part.name.rpartition(":")[2]) if part.name is not None else None

    return repr(substitute([formula], replace)[0])
