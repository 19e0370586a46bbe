"""Expressions as MathML of SBML Level 3 Version 2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from multiscale.equations.expression import ONE, Expression, ordered
from multiscale.errors import FormatError

__all__ = ["mathml"]

_NAMESPACE = "http://www.w3.org/1998/Math/MathML"
_SYMBOLS = "http://www.sbml.org/sbml/symbols"
_RATE = "rateOf:"  # how a symbol says that it is the derivative of a quantity

_SAME = {
    **{"+": "plus", "-": "minus", "*": "times", "/": "divide", "^": "power", "neg": "minus"},
    **{"sqrt": "root", "ceil": "ceiling", "<": "lt", "<=": "leq", "==": "eq", "!=": "neq"},
    **{name: name for name in ("exp", "ln", "abs", "floor", "min", "max", "and", "or", "not")},
    **{name: name for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{name: name for name in ("arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh")},
}
_CHAINS = ("+", "*", "and", "or", "min", "max")  # (a + b) + c is written with three arguments
_TRUTHS = ("<", "<=", "==", "!=", "and", "or", "not")
_LOGIC = ("and", "or", "not")  # they take truth values


def mathml(expression: Expression, names: Mapping[str, str], *, truth: bool = False) -> str:
    """Write an expression as a `math` element.

    Truth values and numbers are kept apart, as readers ask: a relation among numbers becomes 1 or 0, a number
    where a truth value is needed is compared with 0.

    Args:
        expression: what to write.
        names: identifier by symbol.
        truth: whether a truth value is needed, as of triggers.

    Raises:
        FormatError: a symbol has no identifier, or MathML lacks a function.

    >>> from multiscale.equations.expression import number, symbol
    >>> mathml(symbol("k") * symbol("A"), {"k": "k", "A": "A"}).partition(">")[2]
    '<apply><times/><ci>k</ci><ci>A</ci></apply></math>'
    """
    written: dict[int, str] = {}
    inner: dict[int, str] = {}
    for node in ordered([expression]):
        inner[id(node)] = _inner(node, names, written, inner)
        written[id(node)] = _wrapped(node, inner[id(node)])
    text = _as_truth(expression, written) if truth else _as_number(expression, written)
    return f'<math xmlns="{_NAMESPACE}">{text}</math>'


def _inner(
    node: Expression, names: Mapping[str, str], written: Mapping[int, str], inner: Mapping[int, str]
) -> str:
    """Text of a leaf, or of the arguments of a function."""
    if node.value is not None:
        return _number(node.value)
    if node.function == "time":
        return _csymbol("time", "time")
    if node.name is not None:
        return _name(node.name, names)
    if node.function == "if":
        return _pieces(node, written, inner)
    if node.function == "gamma":
        return _one_less(node.arguments[0], written)
    convert = _as_truth if node.function in _LOGIC else _as_number
    parts = [
        inner[id(a)] if a.function == node.function and node.function in _CHAINS else convert(a, written)
        for a in node.arguments
    ]
    return "".join(parts)


def _wrapped(node: Expression, inner: str) -> str:
    """Whole text of an expression."""
    if not node.arguments:
        return inner
    if node.function == "if":
        return f"<piecewise>{inner}</piecewise>"
    if node.function == "sign":
        compared = (f"<apply><{relation}/>{inner}<cn>0</cn></apply>" for relation in ("gt", "lt"))
        pieces = (f"<piece><cn>{n}</cn>{c}</piece>" for n, c in zip((1, -1), compared, strict=True))
        return f"<piecewise>{''.join(pieces)}<otherwise><cn>0</cn></otherwise></piecewise>"
    if node.function == "gamma":  # Γ(x) = (x − 1)!
        return f"<apply><factorial/>{inner}</apply>"
    if node.function not in _SAME:
        raise FormatError(f"SBML has no function `{node.function}`; write the formula without it.")
    return f"<apply><{_SAME[node.function]}/>{inner}</apply>"


def _one_less(node: Expression, written: Mapping[int, str]) -> str:
    """Text of x − 1; of y where x is y + 1."""
    if node.function == "+" and node.arguments[1] is ONE:
        return _as_number(node.arguments[0], written)
    return f"<apply><minus/>{_as_number(node, written)}<cn>1</cn></apply>"


def _pieces(node: Expression, written: Mapping[int, str], inner: Mapping[int, str]) -> str:
    """Pieces of nested choices, one after the other."""
    condition, yes, no = node.arguments
    piece = f"<piece>{_as_number(yes, written)}{_as_truth(condition, written)}</piece>"
    if no.function == "if":
        return piece + inner[id(no)]
    return f"{piece}<otherwise>{_as_number(no, written)}</otherwise>"


def _as_number(node: Expression, written: Mapping[int, str]) -> str:
    text = written[id(node)]
    if node.function not in _TRUTHS:
        return text
    return f"<piecewise><piece><cn>1</cn>{text}</piece><otherwise><cn>0</cn></otherwise></piecewise>"


def _as_truth(node: Expression, written: Mapping[int, str]) -> str:
    if node.value is not None:
        return "<true/>" if node.value else "<false/>"
    text = written[id(node)]
    return text if node.function in _TRUTHS else f"<apply><neq/>{text}<cn>0</cn></apply>"


def _number(value: float) -> str:
    """A number that reads back as the same double."""
    if math.isnan(value):
        return "<notanumber/>"
    if math.isinf(value):
        return "<infinity/>" if value > 0 else "<apply><minus/><infinity/></apply>"
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return f"<cn>{mantissa.removesuffix('.0')}</cn>" if abs(value) < 2**31 else f"<cn>{mantissa}</cn>"
    if abs(int(exponent)) < 30:  # readers multiply by powers of ten, which rounds
        return f"<cn>{Decimal(repr(value)):f}{'.0' if int(exponent) > 0 else ''}</cn>"
    return f'<cn type="e-notation">{mantissa}<sep/>{int(exponent)}</cn>'


def _name(name: str, names: Mapping[str, str]) -> str:
    if name in names:
        return f"<ci>{names[name]}</ci>"
    quantity = name.removeprefix(_RATE)
    if quantity == name or quantity not in names:
        raise FormatError(f"`{name}` is in a formula, but the model has no such quantity; add it.")
    return f"<apply>{_csymbol('rateOf', 'rateOf')}<ci>{names[quantity]}</ci></apply>"


def _csymbol(kind: str, text: str) -> str:
    return f'<csymbol encoding="text" definitionURL="{_SYMBOLS}/{kind}">{text}</csymbol>'
