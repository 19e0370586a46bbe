"""Mathematics as libsbml reads it, as expressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import libsbml

from multiscale.equations.builders import call
from multiscale.equations.expression import ONE, TIME, ZERO, Expression, number, symbol
from multiscale.errors import FormatError, nearest

__all__ = ["AVOGADRO", "RATE", "Scope", "expression", "rate_of"]

Call = Callable[[str, Sequence[Expression], str], Expression]

AVOGADRO = 6.02214179e23
"""Value that SBML Level 3 fixes (Version 2 Core, section 3.4.6)."""

RATE = "rateOf:"
"""A symbol that begins so is the time derivative of the quantity that follows."""

_NAMES = {
    getattr(libsbml, constant): name
    for constant, name in {
        **{f"AST_{name.upper()}": name for name in ("plus", "minus", "times", "divide", "power")},
        **{f"AST_LOGICAL_{name.upper()}": name for name in ("and", "or", "not", "xor", "implies")},
        **{f"AST_RELATIONAL_{name.upper()}": name for name in ("eq", "neq", "lt", "leq", "gt", "geq")},
        **{
            f"AST_FUNCTION_{name.upper()}": name
            for name in (
                *("abs", "ceiling", "exp", "factorial", "floor", "ln", "max", "min", "piecewise", "power"),
                *("quotient", "rem", "root"),
                *(f"{a}{f}{h}" for a in ("", "arc") for f in ("sin", "cos", "tan") for h in ("", "h")),
                *(f"{a}{f}{h}" for a in ("", "arc") for f in ("sec", "csc", "cot") for h in ("", "h")),
            )
        },
    }.items()
}
_CONSTANTS = {
    libsbml.AST_CONSTANT_TRUE: ONE,
    libsbml.AST_CONSTANT_FALSE: ZERO,
    libsbml.AST_NAME_TIME: TIME,
    libsbml.AST_NAME_AVOGADRO: number(AVOGADRO),
    libsbml.AST_CONSTANT_E: number(math.e),  # libsbml's own value has nine digits
    libsbml.AST_CONSTANT_PI: number(math.pi),
}
_NUMBERS = (libsbml.AST_INTEGER, libsbml.AST_REAL, libsbml.AST_REAL_E, libsbml.AST_RATIONAL)


@dataclass(frozen=True)
class Scope:
    """What names mean in a formula.

    Args:
        where: file and element, for messages.
        known: names of quantities.
        call: body of a function with the arguments in it, by its name, the arguments and `where`.
        local: names by what they are called in this formula, before `known`.
    """

    where: str
    known: Collection[str]
    call: Call
    local: Mapping[str, str] = field(default_factory=dict)

    def named(self, name: str) -> Expression:
        """Symbol of a name in the formula."""
        if name in self.local:
            return symbol(self.local[name])
        if name not in self.known:
            known = {*self.known, *self.local}
            raise FormatError(f"{self.where}: `{name}` is in a formula but unknown; {nearest(name, known)}")
        return symbol(name)


def expression(root: libsbml.ASTNode, scope: Scope) -> Expression:
    """Expression of a formula.

    Args:
        root: node of libsbml's syntax tree.
        scope: what names mean.

    Raises:
        FormatError: a name is unknown, or something is not supported.
    """
    waiting: list[tuple[libsbml.ASTNode, bool]] = [(root, False)]
    values: list[Expression] = []
    while waiting:
        node, ready = waiting.pop()
        count = node.getNumChildren()
        if count and not ready:
            waiting.append((node, True))
            waiting.extend((node.getChild(i), False) for i in reversed(range(count)))
            continue
        arguments = values[len(values) - count :]
        del values[len(values) - count :]
        values.append(_built(node, arguments, scope))
    return values[0]


def _built(node: libsbml.ASTNode, arguments: Sequence[Expression], scope: Scope) -> Expression:
    """Expression of one node whose children are expressions already."""
    kind = node.getType()
    if kind in _NUMBERS:
        return number(node.getValue())
    if kind in _CONSTANTS:
        return _CONSTANTS[kind]
    if kind == libsbml.AST_NAME:
        return scope.named(node.getName())
    if kind == libsbml.AST_FUNCTION:
        return scope.call(node.getName(), arguments, scope.where)
    if kind == libsbml.AST_FUNCTION_RATE_OF:
        return rate_of(arguments, scope.where)
    if kind == libsbml.AST_FUNCTION_LOG:
        return _known("log", [arguments[-1], arguments[0] if len(arguments) > 1 else number(10.0)], scope)
    if kind not in _NAMES:
        what = "the delay of a quantity (csymbol `delay`)" if kind == libsbml.AST_FUNCTION_DELAY else None
        name = what or f"`{node.getName() or node.getOperatorName() or 'an element'}` in MathML"
        raise FormatError(f"{scope.where}: {name} is not supported.")
    return _known(_NAMES[kind], arguments, scope)


def _known(name: str, arguments: Sequence[Expression], scope: Scope) -> Expression:
    try:
        return call(name, arguments)
    except FormatError as error:
        raise FormatError(f"{scope.where}: {error}") from None


def rate_of(arguments: Sequence[Expression], where: str) -> Expression:
    """Symbol of the time derivative of a quantity.

    Raises:
        FormatError: it is not asked of one name.
    """
    name = arguments[0].name if len(arguments) == 1 else None
    if name is None or name.startswith(RATE):
        raise FormatError(f"{where}: `rateOf` must have the name of one quantity as its argument.")
    return symbol(RATE + name)
