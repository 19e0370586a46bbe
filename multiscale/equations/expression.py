"""Expressions as a graph in which equal subexpressions are one object.

Whatever is built twice exists once, so that derivatives, substitution and compiled programs share their
subexpressions without looking for them. Truth values are the numbers 1 and 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from weakref import WeakValueDictionary

from multiscale.equations.functions import FUNCTIONS

__all__ = [
    "ONE",
    "TIME",
    "ZERO",
    "Expression",
    "apply",
    "number",
    "ordered",
    "substitute",
    "symbol",
    "symbols_of",
    "total",
]


class Expression:
    """A number, a symbol, or a function of other expressions; compare with `is`.

    Args:
        function: a key of `FUNCTIONS`, `number` or `symbol`.
        arguments: other expressions.
        content: the value of a number, the name of a symbol.
    """

    __slots__ = ("__weakref__", "arguments", "content", "function")

    def __init__(self, function: str, arguments: tuple[Expression, ...], content: float | str = "") -> None:
        self.function = function
        self.arguments = arguments
        self.content = content

    @property
    def value(self) -> float | None:
        """Value of a number, None for anything else."""
        return self.content if isinstance(self.content, float) else None

    @property
    def name(self) -> str | None:
        """Name of a symbol, None for anything else."""
        return self.content if self.function == "symbol" and isinstance(self.content, str) else None

    def __add__(self, other: Expression | float) -> Expression:
        return apply("+", self, _expression(other))

    def __sub__(self, other: Expression | float) -> Expression:
        return apply("-", self, _expression(other))

    def __mul__(self, other: Expression | float) -> Expression:
        return apply("*", self, _expression(other))

    def __truediv__(self, other: Expression | float) -> Expression:
        return apply("/", self, _expression(other))

    def __pow__(self, other: Expression | float) -> Expression:
        return apply("^", self, _expression(other))

    def __neg__(self) -> Expression:
        return apply("neg", self)

    def __repr__(self) -> str:
        """Text of the formula."""
        from multiscale.equations.formula import formula

        return formula(self)


_KNOWN: WeakValueDictionary[tuple[object, ...], Expression] = WeakValueDictionary()


def _unique(function: str, arguments: tuple[Expression, ...], content: float | str = "") -> Expression:
    sign = (
        math.copysign(1.0, content) if content == 0.0 and isinstance(content, float) else 0.0
    )  # 0.0 == -0.0
    key = (function, content if content == content else "nan", sign, *map(id, arguments))
    found = _KNOWN.get(key)
    if found is None:
        found = _KNOWN[key] = Expression(function, arguments, content)
    return found


def number(value: float) -> Expression:
    """Return a constant.

    >>> number(2) is number(1) + number(1)
    True
    """
    return _unique("number", (), float(value))


def symbol(name: str) -> Expression:
    """Return a quantity with a name."""
    return _unique("symbol", (), name)


ZERO, ONE = number(0.0), number(1.0)
TIME = _unique("time", ())
"""Time: no symbol, because a model may have a quantity that is called `time`."""


def apply(function: str, *arguments: Expression) -> Expression:
    """Apply a function to expressions; numbers are folded, neutral elements removed.

    Folding keeps what the numbers say: 0 · x is 0, as it is for every finite x. An operation on numbers that
    has no finite value is left as it stands, but for the sign of infinity.

    >>> x = symbol("x")
    >>> apply("+", x, number(0)) is x, apply("*", number(2), number(3)).value
    (True, 6.0)
    """
    rule = FUNCTIONS[function]
    values = [argument.value for argument in arguments]
    known = [value for value in values if value is not None]
    if arguments and len(known) == len(arguments):
        folded = rule.value(*known)
        if math.isfinite(folded) or function == "neg":
            return number(folded)
    return _simplify(function, arguments) or _unique(function, arguments)


def _simplify(function: str, a: tuple[Expression, ...]) -> Expression | None:
    """Rules for neutral and absorbing elements, None where none applies."""
    simplify = _SIMPLER.get(function)
    return simplify(*a) if simplify is not None else None


def _sum(a: Expression, b: Expression) -> Expression | None:
    if a is ZERO:
        return b
    if b is ZERO:
        return a
    return apply("-", a, b.arguments[0]) if b.function == "neg" else None


def _difference(a: Expression, b: Expression) -> Expression | None:
    if b is ZERO:
        return a
    if a is ZERO:
        return apply("neg", b)
    if a is b:
        return ZERO
    return apply("+", a, b.arguments[0]) if b.function == "neg" else None


def _product(a: Expression, b: Expression) -> Expression | None:
    if a is ZERO or b is ZERO:
        return ZERO
    if a is ONE:
        return b
    if b is ONE:
        return a
    for one, other in ((a, b), (b, a)):
        if one.function == "neg":
            return apply("neg", apply("*", one.arguments[0], other))
        if one.value == -1.0:
            return apply("neg", other)
    return None


def _quotient(a: Expression, b: Expression) -> Expression | None:
    if b is ONE:
        return a
    if a is ZERO and b is not ZERO:
        return ZERO
    if a.function == "neg":
        return apply("neg", apply("/", a.arguments[0], b))
    return None


def _power(a: Expression, b: Expression) -> Expression | None:
    if b is ONE:
        return a
    if b is ZERO:
        return ONE
    return apply("*", a, a) if b.value == 2.0 else None


def _negative(a: Expression) -> Expression | None:
    return a.arguments[0] if a.function == "neg" else None


def _choice(condition: Expression, yes: Expression, no: Expression) -> Expression | None:
    if condition.value is not None:
        return yes if condition.value != 0.0 else no
    return yes if yes is no else None


def _both(a: Expression, b: Expression) -> Expression | None:
    return ZERO if a is ZERO or b is ZERO else None


def _either(a: Expression, b: Expression) -> Expression | None:
    sure = [x for x in (a, b) if x.value is not None and x.value != 0.0]
    return ONE if sure else None


_SIMPLER: Mapping[str, Callable[..., Expression | None]] = {
    "+": _sum,
    "-": _difference,
    "*": _product,
    "/": _quotient,
    "^": _power,
    "neg": _negative,
    "if": _choice,
    "and": _both,
    "or": _either,
}


def total(terms: Iterable[Expression]) -> Expression:
    """Sum of expressions, 0 for none."""
    result = ZERO
    for term in terms:
        result = result + term
    return result


def ordered(roots: Iterable[Expression]) -> list[Expression]:
    """All expressions below some, each once, arguments before what uses them; does not recurse."""
    seen: set[int] = set()
    found: list[Expression] = []
    for root in roots:
        stack: list[tuple[Expression, Iterator[Expression]]] = []
        if id(root) not in seen:
            seen.add(id(root))
            stack.append((root, iter(root.arguments)))
        while stack:
            node, rest = stack[-1]
            following = next((a for a in rest if id(a) not in seen), None)
            if following is None:
                found.append(node)
                stack.pop()
            else:
                seen.add(id(following))
                stack.append((following, iter(following.arguments)))
    return found


def symbols_of(roots: Iterable[Expression]) -> set[str]:
    """Names of all symbols below some expressions."""
    return {node.name for node in ordered(roots) if node.name is not None}


def substitute(
    roots: Iterable[Expression], replace: Callable[[Expression], Expression | None]
) -> list[Expression]:
    """Rebuild expressions with some of their parts replaced.

    Args:
        roots: expressions.
        replace: what a part becomes, looked at before its arguments are rebuilt into it; None = keep it.
            What it returns is taken as it is.

    >>> x, y = symbol("x"), symbol("y")
    >>> substitute([x + x * y], lambda e: number(3) if e is x else None)[0] is number(3) + number(3) * y
    True
    """
    roots = list(roots)
    new: dict[int, Expression] = {}
    for node in ordered(roots):
        other = replace(node)
        if other is None:
            arguments = tuple(new[id(argument)] for argument in node.arguments)
            same = all(a is b for a, b in zip(arguments, node.arguments, strict=True))
            other = node if same else apply(node.function, *arguments)
        new[id(node)] = other
    return [new[id(root)] for root in roots]


def _expression(value: Expression | float) -> Expression:
    return value if isinstance(value, Expression) else number(value)
