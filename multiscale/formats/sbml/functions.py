"""Function definitions: calls become what the functions say."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import libsbml

from multiscale.equations.expression import Expression, ordered, substitute
from multiscale.errors import FormatError, nearest
from multiscale.formats.sbml.mathematics import RATE, Scope, expression, rate_of

__all__ = ["Function", "Functions", "functions_of"]

_LONGEST_CHAIN = 40
"""Functions that call functions: libsbml's checks take time that doubles with every few."""

_LARGEST_BODY = 20_000
"""Operations of a function, those of the functions it calls included: these can double with every one."""

_MOST_WRITTEN_OUT = 1_000_000
"""Operations that all calls of a model become."""


@dataclass(frozen=True)
class Function:
    """A function definition.

    Args:
        arguments: names.
        body: expression over the arguments; None = the file gives none.
        size: operations of the body.
        chain: how many functions one inside the other it calls, itself included.
    """

    arguments: Sequence[str]
    body: Expression | None
    size: int = 0
    chain: int = 1


class Functions:
    """The functions of a model."""

    def __init__(self) -> None:
        self.known: dict[str, Function] = {}
        self.written_out = 0

    def call(self, name: str, arguments: Sequence[Expression], where: str) -> Expression:
        """Body of a function with the arguments in it.

        Args:
            name: of the function.
            arguments: of the call.
            where: file and element, for messages.

        Raises:
            FormatError: there is no such function, it has other arguments, or calls become too large.
        """
        function = self.known.get(name)
        if function is None:
            raise FormatError(f"{where}: function `{name}` is unknown; {nearest(name, self.known)}")
        if function.body is None:
            raise FormatError(f"{where}: function `{name}` has no formula; give it one.")
        if len(function.arguments) != len(arguments):
            wanted, got = len(function.arguments), len(arguments)
            raise FormatError(f"{where}: function `{name}` must have {wanted} arguments; got {got}.")
        self.written_out += function.size
        if self.written_out > _MOST_WRITTEN_OUT:
            raise FormatError(f"{where}: calls of functions become more than {_MOST_WRITTEN_OUT} operations.")
        given = dict(zip(function.arguments, arguments, strict=True))
        return substitute([function.body], lambda part: _argument(part, given, where))[0]


def _argument(part: Expression, given: Mapping[str, Expression], where: str) -> Expression | None:
    if part.name is None:
        return None
    if part.name.startswith(RATE):
        return rate_of([given[part.name.removeprefix(RATE)]], where)
    return given[part.name]


def functions_of(model: libsbml.Model, where: str) -> Functions:
    """Function definitions of a model, each with those it calls written out.

    Raises:
        FormatError: a function calls itself, or functions are nested so deeply that they never end.
    """
    definitions = {definition.getId(): definition for definition in model.getListOfFunctionDefinitions()}
    calls = {name: _calls(definition.getBody()) for name, definition in definitions.items()}
    functions = Functions()
    for name in _callees_first(calls, where):
        functions.known[name] = _function(definitions[name], calls[name], functions, where)
    return functions


def _function(
    definition: libsbml.FunctionDefinition, calls: Collection[str], functions: Functions, where: str
) -> Function:
    name = definition.getId()
    place = f"{where}: line {definition.getLine()}: function `{name}`"
    arguments = [definition.getArgument(i).getName() for i in range(definition.getNumArguments())]
    body = definition.getBody()
    if body is None:
        return Function(arguments, None)
    chain = 1 + max((functions.known[other].chain for other in calls if other in functions.known), default=0)
    if chain > _LONGEST_CHAIN:
        raise FormatError(f"{place} calls functions more than {_LONGEST_CHAIN} deep.")
    found = expression(body, Scope(place, arguments, functions.call))
    size = len(ordered([found]))
    if size > _LARGEST_BODY:
        raise FormatError(f"{place} has more than {_LARGEST_BODY} operations with those it calls.")
    return Function(arguments, found, size, chain)


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
