"""Every function that MathML, infix formulas of SBML and those of PEtab know, in terms of `FUNCTIONS`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise

from multiscale.equations.expression import ONE, ZERO, Expression, apply, number
from multiscale.equations.functions import FUNCTIONS, RELATIONS
from multiscale.errors import FormatError, nearest

__all__ = ["BUILDERS", "call"]

Builder = Callable[..., Expression]


def _plain(function: str) -> Builder:
    """Builder of a function as it stands."""
    if FUNCTIONS[function].arity == 1:
        return lambda a: apply(function, a)
    return lambda a, b: apply(function, a, b)


def _sequence(function: str, empty: Expression) -> Builder:
    """Builder of a function of any number of arguments, from left to right."""
    return lambda *a: reduce(lambda b, c: apply(function, b, c), a) if a else empty


def _extreme(function: str) -> Builder:
    return lambda first, *rest: reduce(lambda a, b: apply(function, a, b), rest, first)


def _truth(a: Expression) -> Expression:
    """1 or 0 for a number that serves as a truth value."""
    return a if a.function in (*RELATIONS, "and", "or", "not") else apply("!=", a, ZERO)


def _logic(function: str, empty: Expression) -> Builder:
    return lambda *a: reduce(lambda b, c: apply(function, b, c), a[1:], _truth(a[0])) if a else empty


def _relation(function: str, swapped: bool = False) -> Builder:
    """Builder of a < b < c ..., which means a < b and b < c."""

    def build(first: Expression, second: Expression, *rest: Expression) -> Expression:
        values = (first, second, *rest)
        pairs = [(b, a) if swapped else (a, b) for a, b in pairwise(values)]
        return reduce(lambda a, b: apply("and", a, b), (apply(function, a, b) for a, b in pairs))

    return build


def _exclusive(a: Expression, b: Expression) -> Expression:
    return apply("or", apply("and", a, apply("not", b)), apply("and", apply("not", a), b))


def _minus(a: Expression, b: Expression | None = None) -> Expression:
    return -a if b is None else a - b


def _log(value: Expression, base: Expression | None = None) -> Expression:
    return apply("ln", value) if base is None else _ratio_of_logarithms(value, base)


def _ratio_of_logarithms(value: Expression, base: Expression) -> Expression:
    exact = {10.0: math.log10, 2.0: math.log2}.get(base.value or 0.0)
    if exact is not None and value.value is not None and 0.0 < value.value < math.inf:
        return number(exact(value.value))
    return apply("ln", value) / apply("ln", base)


def _root(first: Expression, second: Expression | None = None) -> Expression:
    """√first, or the root of `second` with the degree `first`."""
    if second is None:
        return apply("sqrt", first)
    return apply("sqrt", second) if first.value == 2.0 else second ** (ONE / first)


def _quotient(a: Expression, b: Expression) -> Expression:
    """Integer part of a / b."""
    ratio = a / b
    return apply("if", apply("<", ratio, ZERO), apply("ceil", ratio), apply("floor", ratio))


def _piecewise(*a: Expression) -> Expression:
    """Value, condition, value, condition, ..., and the value otherwise: NaN if there is none."""
    result = a[-1] if len(a) % 2 else number(math.nan)
    for i in range(len(a) // 2 * 2 - 2, -1, -2):
        result = apply("if", a[i + 1], a[i], result)
    return result


def _reciprocal(function: str) -> Builder:
    return lambda a: ONE / apply(function, a)


def _of_reciprocal(function: str) -> Builder:
    return lambda a: apply(function, ONE / a)


_ONE_BY = {"sec": "cos", "csc": "sin", "cot": "tan"}
_CIRCULAR = {name + h: _reciprocal(other + h) for name, other in _ONE_BY.items() for h in ("", "h")}
_INVERSE = {f"arc{name}{h}": _of_reciprocal(f"arc{o}{h}") for name, o in _ONE_BY.items() for h in ("", "h")}
_OPERATORS = (*"+-*/^", "neg", *RELATIONS, "and", "or", "if", "time")

BUILDERS: dict[str, Builder] = {
    **{name: _plain(name) for name in FUNCTIONS if name not in _OPERATORS},
    **_CIRCULAR,
    **_INVERSE,
    "plus": _sequence("+", ZERO),
    "times": _sequence("*", ONE),
    "minus": _minus,
    "divide": _plain("/"),
    "power": _plain("^"),
    "pow": _plain("^"),
    "sqr": lambda a: a * a,
    "root": _root,
    "log": _log,
    "log10": lambda a: _ratio_of_logarithms(a, number(10)),
    "log2": lambda a: _ratio_of_logarithms(a, number(2)),
    "ceiling": _plain("ceil"),
    "factorial": lambda a: apply("gamma", a + ONE),
    "quotient": _quotient,
    "rem": lambda a, b: a - b * _quotient(a, b),
    "min": _extreme("min"),
    "max": _extreme("max"),
    "and": _logic("and", ONE),
    "or": _logic("or", ZERO),
    "xor": lambda *a: reduce(_exclusive, a[1:], _truth(a[0])) if a else ZERO,
    "implies": lambda a, b: apply("or", apply("not", a), b),
    "eq": _relation("=="),
    "neq": lambda a, b: apply("!=", a, b),
    "lt": _relation("<"),
    "leq": _relation("<="),
    "gt": _relation("<", swapped=True),
    "geq": _relation("<=", swapped=True),
    "piecewise": _piecewise,
}
"""Builders of expressions by function name.

`log` of one argument is the natural logarithm, of two that of the first to the base of the second, as in
PEtab; `root` takes the degree first, as MathML does.
"""
BUILDERS |= {
    f"a{name[3:]}": builder for name, builder in BUILDERS.items() if name.startswith("arc") and len(name) > 3
}


def call(name: str, arguments: Sequence[Expression]) -> Expression:
    """Apply a function of `BUILDERS`.

    Raises:
        FormatError: there is no such function, or not with so many arguments.

    >>> call("plus", [number(1), number(2), number(3)]).value
    6.0
    """
    if name not in BUILDERS:
        raise FormatError(f"`{name}` must be a known function; {nearest(name, BUILDERS)}")
    builder = BUILDERS[name]
    try:
        inspect.signature(builder).bind(*arguments)
    except TypeError:
        raise FormatError(f"`{name}` must have another number of arguments; got {len(arguments)}") from None
    return builder(*arguments)
