"""Mathematics as libsbml reads it, as expressions; calls of functions become what the functions say."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import libsbml

from multiscale.equations.builders import call
from multiscale.equations.expression import (
    ONE,
    TIME,
    ZERO,
    Expression,
    number,
    ordered,
    substitute,
    symbol,
)
from multiscale.errors import FormatError, nearest

__all__ = ["AVOGADRO", "RATE", "Function", "Scope", "expression", "functions_of"]

AVOGADRO = 6.02214179e23
"""Value that SBML Level 3 fixes (Version 2 Core, section 3.4.6)."""

RATE = "rateOf:"
"""A symbol that begins so is the time derivative of the quantity that follows."""

_LONGEST_CHAIN = 40
"""Functions that call functions: libsbml's checks take time that doubles with every few."""

_LARGEST_BODY = 100_000
"""Operations of a function, those of the functions it calls included: these can double with every one."""

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
class Function:
    """A function definition.

    Args:
        arguments: names.
        body: expression over the arguments; None = the file gives none.
        chain: how many functions one inside the other it calls, itself included.
    """

    arguments: Sequence[str]
    body: Expression | None
    chain: int = 1


@dataclass(frozen=True)
class Scope:
    """What names mean in a formula.

    Args:
        where: file and element, for messages.
        known: names of quantities.
        local: names by what they are called in this formula, before `known`.
        functions: by name.
    """

    where: str
    known: Collection[str]
    local: Mapping[str, str] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)

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
        return _call(node.getName(), arguments, scope)
    if kind == libsbml.AST_FUNCTION_RATE_OF:
        return _rate_of(arguments, scope)
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


def _rate_of(arguments: Sequence[Expression], scope: Scope) -> Expression:
    name = arguments[0].name if len(arguments) == 1 else None
    if name is None or name.startswith(RATE):
        raise FormatError(f"{scope.where}: `rateOf` must have the name of one quantity as its argument.")
    return symbol(RATE + name)


def _call(name: str, arguments: Sequence[Expression], scope: Scope) -> Expression:
    """Body of a function with the arguments in it."""
    function = scope.functions.get(name)
    if function is None:
        raise FormatError(f"{scope.where}: function `{name}` is unknown; {nearest(name, scope.functions)}")
    if function.body is None:
        raise FormatError(f"{scope.where}: function `{name}` has no formula; give it one.")
    if len(function.arguments) != len(arguments):
        wanted = len(function.arguments)
        raise FormatError(
            f"{scope.where}: function `{name}` must have {wanted} arguments; got {len(arguments)}."
        )
    given = dict(zip(function.arguments, arguments, strict=True))
    return substitute([function.body], lambda part: _argument(part, given, scope))[0]


def _argument(part: Expression, given: Mapping[str, Expression], scope: Scope) -> Expression | None:
    if part.name is None:
        return None
    if part.name.startswith(RATE):
        return _rate_of([given[part.name.removeprefix(RATE)]], scope)
    return given[part.name]


def functions_of(model: libsbml.Model, where: str) -> dict[str, Function]:
    """Function definitions of a model, each with those it calls written out.

    Raises:
        FormatError: a function calls itself, or functions are nested so deeply that they never end.
    """
    definitions = {definition.getId(): definition for definition in model.getListOfFunctionDefinitions()}
    calls = {name: _calls(definition.getBody()) for name, definition in definitions.items()}
    functions: dict[str, Function] = {}
    for name in _callees_first(calls, where):
        functions[name] = _function(definitions[name], calls[name], functions, where)
    return functions


def _function(
    definition: libsbml.FunctionDefinition,
    calls: Collection[str],
    functions: Mapping[str, Function],
    where: str,
) -> Function:
    name = definition.getId()
    place = f"{where}: line {definition.getLine()}: function `{name}`"
    arguments = [definition.getArgument(i).getName() for i in range(definition.getNumArguments())]
    body = definition.getBody()
    if body is None:
        return Function(arguments, None)
    chain = 1 + max((functions[other].chain for other in calls if other in functions), default=0)
    if chain > _LONGEST_CHAIN:
        raise FormatError(f"{place} calls functions more than {_LONGEST_CHAIN} deep.")
    found = expression(body, Scope(place, arguments, functions=functions))
    if len(ordered([found])) > _LARGEST_BODY:
        raise FormatError(f"{place} has more than {_LARGEST_BODY} operations with those it calls.")
    return Function(arguments, found, chain)


def _calls(body: libsbml.ASTNode | None) -> set[str]:
    """Names of the functions that a formula calls."""
    found: set[str] = set()
    waiting = [] if body is None else [body]
    while waiting:
        node = waiting.pop()
        if node.getType() == libsbml.AST_FUNCTION:
            found.add(node.getName())
        waiting.extend(node.getChild(i) for i in range(node.getNumChildren()))
    return found


def _callees_first(calls: Mapping[str, Collection[str]], where: str) -> list[str]:
    """Names in an order in which every function comes after those it calls."""
    done: list[str] = []
    left = {name: {other for other in others if other in calls} for name, others in calls.items()}
    users: dict[str, list[str]] = {}
    for name, others in left.items():
        for other in others:
            users.setdefault(other, []).append(name)
    free = [name for name, others in left.items() if not others]
    while free:
        name = free.pop()
        done.append(name)
        for user in users.get(name, ()):
            left[user].discard(name)
            if not left[user]:
                free.append(user)
    if len(done) < len(calls):
        stuck = sorted(set(calls) - set(done))[0]
        raise FormatError(
            f"{where}: function `{stuck}` calls itself, or functions that do; write it without."
        )
    return done
