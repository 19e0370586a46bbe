"""The functions that expressions are made of: number of arguments, value, and derivatives.

This is the only list. The parser, the printer, derivatives, the interpreter and the evaluation on tensors
look functions up here; anything else that a format knows is written in terms of these when it is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["CODES", "FUNCTIONS", "RELATIONS", "Function", "digamma", "trigamma"]

NAN, INF = math.nan, math.inf


@dataclass(frozen=True)
class Function:
    """A function of numbers.

    Args:
        arity: how many arguments it has.
        value: its value; NaN or infinity where it has none, never an exception.
    """

    arity: int
    value: Callable[..., float]


def _guarded(function: Callable[..., float]) -> Callable[..., float]:
    """Return the same function with NaN in place of exceptions."""

    def value(*arguments: float) -> float:
        try:
            result = function(*arguments)
        except OverflowError:
            return INF
        except (ValueError, ZeroDivisionError):
            return NAN
        return NAN if isinstance(result, complex) else float(result)

    return value


def _divide(a: float, b: float) -> float:
    if b == 0.0:
        return NAN if a == 0.0 or a != a else math.copysign(INF, a) * math.copysign(1.0, b)
    return a / b


def _log(a: float) -> float:
    return -INF if a == 0.0 else math.log(a)


def _arctanh(a: float) -> float:
    return math.copysign(INF, a) if abs(a) == 1.0 else math.atanh(a)


def _power(a: float, b: float) -> float:
    odd = b % 2.0 == 1.0
    sign = math.copysign(1.0, a) if odd else 1.0
    if a == 0.0 and b < 0.0:
        return sign * INF
    try:
        return math.pow(a, b)
    except OverflowError:
        return sign * INF


def _smaller(a: float, b: float) -> float:
    return NAN if a != a or b != b else min(a, b)


def _larger(a: float, b: float) -> float:
    return NAN if a != a or b != b else max(a, b)


def digamma(a: float) -> float:
    """Logarithmic derivative of the gamma function, ψ(a) = d ln Γ(a) / da.

    By ψ(a) = ψ(1 − a) − π / tan(πa) to a > 0, by ψ(a) = ψ(a + 1) − 1/a to a ≥ 10, then by the asymptotic
    series.

    >>> round(digamma(1.0), 12)  # minus Euler's constant
    -0.577215664902

    Source: Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 6.3.5, 6.3.7, 6.3.18.
    """
    if a <= 0.0 and a % 1.0 == 0.0:
        return math.nan
    result = 0.0
    if a < 0.0:
        result = -math.pi / math.tan(math.pi * (a % 1.0))
        a = 1.0 - a
    while a < 10.0:
        result -= 1.0 / a
        a += 1.0
    y = 1.0 / (a * a)
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * 691 / 32760)))))
    return result + math.log(a) - 0.5 / a - series


def trigamma(a: float) -> float:
    """Derivative of `digamma`.

    By ψ'(a) = π² / sin²(πa) − ψ'(1 − a) to a > 0, by ψ'(a) = ψ'(a + 1) + 1/a² to a ≥ 10, then by the
    asymptotic series.

    >>> round(trigamma(1.0), 12), round(math.pi**2 / 6, 12)
    (1.644934066848, 1.644934066848)

    Source: Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 6.4.6, 6.4.7, 6.4.12.
    """
    if a <= 0.0 and a % 1.0 == 0.0:
        return math.nan
    result, sign = 0.0, 1.0
    if a < 0.0:
        result = (math.pi / math.sin(math.pi * (a % 1.0))) ** 2
        sign = -1.0
        a = 1.0 - a
    while a < 10.0:
        result += sign / a / a
        a += 1.0
    y = 1.0 / (a * a)
    series = 1 / 6 - y * (1 / 30 - y * (1 / 42 - y * (1 / 30 - y * (5 / 66 - y * 691 / 2730))))
    return result + sign * (1.0 / a + 0.5 * y + y / a * series)


FUNCTIONS: dict[str, Function] = {
    name: Function(arity, _guarded(value))
    for name, arity, value in (
        ("time", 0, lambda: NAN),
        ("+", 2, lambda a, b: a + b),
        ("-", 2, lambda a, b: a - b),
        ("*", 2, lambda a, b: a * b),
        ("/", 2, _divide),
        ("^", 2, _power),
        ("neg", 1, lambda a: -a),
        ("exp", 1, math.exp),
        ("ln", 1, _log),
        ("sqrt", 1, math.sqrt),
        ("abs", 1, math.fabs),
        ("floor", 1, lambda a: math.floor(a) if math.isfinite(a) else a),
        ("ceil", 1, lambda a: math.ceil(a) if math.isfinite(a) else a),
        ("sign", 1, lambda a: math.copysign(1.0, a) if abs(a) > 0.0 else a),
        ("sin", 1, math.sin),
        ("cos", 1, math.cos),
        ("tan", 1, math.tan),
        ("arcsin", 1, math.asin),
        ("arccos", 1, math.acos),
        ("arctan", 1, math.atan),
        ("sinh", 1, math.sinh),
        ("cosh", 1, math.cosh),
        ("tanh", 1, math.tanh),
        ("arcsinh", 1, math.asinh),
        ("arccosh", 1, math.acosh),
        ("arctanh", 1, _arctanh),
        ("gamma", 1, math.gamma),
        ("digamma", 1, digamma),
        ("trigamma", 1, trigamma),
        ("min", 2, _smaller),
        ("max", 2, _larger),
        ("<", 2, lambda a, b: a < b),
        ("<=", 2, lambda a, b: a <= b),
        ("==", 2, lambda a, b: a == b),
        ("!=", 2, lambda a, b: a != b),
        ("and", 2, lambda a, b: bool(a) and bool(b)),
        ("or", 2, lambda a, b: bool(a) or bool(b)),
        ("not", 1, lambda a: not a),
        ("if", 3, lambda condition, a, b: a if condition else b),
    )
}
"""All functions; relations and logic give 1 or 0."""

CODES: dict[str, int] = {name: code for code, name in enumerate(FUNCTIONS)}
"""Number of every function in compiled programs."""

RELATIONS = ("<", "<=", "==", "!=")
"""Functions that compare two numbers; a > b is written b < a."""
