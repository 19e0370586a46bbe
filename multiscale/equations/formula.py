"""Formulas as text: the grammars of PEtab and of SBML's infix formulas, read and written.

From the loosest to the tightest: `&&` and `||` (equal, from the left); comparisons; `+ -`; `* / %`; the
prefixes `- + !`; `^` (from the right). Names in backticks are symbols whatever they say. Nothing here
recurses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from multiscale.equations.builders import BUILDERS, call
from multiscale.equations.expression import TIME, Expression, apply, number, substitute, symbol
from multiscale.errors import FormatError, nearest

__all__ = ["BUILDERS", "formula", "parse"]

Functions = Mapping[str, tuple[Sequence[str], Expression]]

CONSTANTS: dict[str, Expression] = {
    "time": TIME,
    "true": number(1),
    "false": number(0),
    "pi": number(math.pi),
    "exponentiale": number(math.e),
    "avogadro": number(6.02214179e23),  # 1/mol; SBML Level 3 Version 2, section 3.4.6
    **dict.fromkeys(("inf", "infinity", "INF"), number(math.inf)),
    **dict.fromkeys(("nan", "notanumber", "NaN"), number(math.nan)),
}
"""Names that are no symbols."""

LOGIC, COMPARISON, SUM, PRODUCT, PREFIX, POWER, ATOM = range(1, 8)

BINARY = {
    "&&": (LOGIC, "and"),
    "||": (LOGIC, "or"),
    **dict.fromkeys(("<", ">"), (COMPARISON, "<")),
    **dict.fromkeys(("<=", ">="), (COMPARISON, "<=")),
    "==": (COMPARISON, "=="),
    "!=": (COMPARISON, "!="),
    "+": (SUM, "+"),
    "-": (SUM, "-"),
    "*": (PRODUCT, "*"),
    "/": (PRODUCT, "/"),
    "%": (PRODUCT, "rem"),
    "^": (POWER, "^"),
}

TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|(?P<quoted>`(?:[^`]|``)+`)"
    r"|(?P<sign>&&|\|\||[<>=!]=|[-+*/%^<>!(),])|(?P<end>$))"
)


class Pending(NamedTuple):
    """An operator, a bracket or a call that waits for its operands.

    Args:
        text: the operator, or the name of the function, '' for a bracket.
        level: how tightly it binds, 0 for a bracket or a call.
        values: how many values there were before it.
        prefix: whether it is an operator in front of its only operand.
        position: in the text.
    """

    text: str
    level: int
    values: int
    prefix: bool
    position: int


class _Parser:
    """Two stacks: values, and what waits for them (Dijkstra's shunting yard)."""

    def __init__(self, text: str, functions: Functions, names: Collection[str]) -> None:
        self.text, self.functions, self.names = text, functions, names
        self.values: list[Expression] = []
        self.pending: list[Pending] = []

    def error(self, expected: str, position: int) -> FormatError:
        shown = self.text if len(self.text) <= 80 else f"{self.text[max(0, position - 30) : position + 30]}"
        got = f"`{self.text[position : position + 10]}`" if position < len(self.text) else "its end"
        return FormatError(f"formula `{shown}` must have {expected} at character {position + 1}; got {got}")

    def token(self, position: int) -> tuple[str, str, int, int]:
        """Kind and text of the next token, where it begins, and where it ends."""
        found = TOKEN.match(self.text, position)
        if found is None:
            start = len(self.text) - len(self.text[position:].lstrip())
            raise self.error("a number, name or operator", start)
        kind = found.lastgroup or ""
        return kind, found[kind], found.start(kind), found.end()

    def run(self) -> Expression:
        operand, end = True, 0
        while True:
            kind, text, start, end = self.token(end)
            if kind == "end":
                break
            step = self.operand if operand else self.operator
            operand, end = step(kind, text, start, end)
        if operand:
            raise self.error("a value", len(self.text))
        self.reduce(LOGIC)
        if self.pending:
            raise self.error("a closing bracket", len(self.text))
        return self.values[0]

    def operand(self, kind: str, text: str, start: int, end: int) -> tuple[bool, int]:
        """Read where a value may begin; returns whether one is still wanted, and the position."""
        if kind == "number":
            self.values.append(number(float(text)))
        elif kind == "quoted":
            self.values.append(symbol(text[1:-1].replace("``", "`")))
        elif kind == "name":
            following = self.token(end)
            if following[1] == "(":
                self.pending.append(Pending(text, 0, len(self.values), False, start))
                return True, following[3]
            known = text in CONSTANTS and text not in self.names
            self.values.append(CONSTANTS[text] if known else symbol(text))
        elif text == "(":
            self.pending.append(Pending("", 0, len(self.values), False, start))
            return True, end
        elif text in ("+", "-", "!"):
            self.pending.append(Pending(text, PREFIX, len(self.values), True, start))
            return True, end
        elif text == ")" and self.pending and self.pending[-1].text and self.pending[-1].level == 0:
            if self.pending[-1].values != len(self.values):
                raise self.error("a value", start)
            self.close(start)
        else:
            raise self.error("a value", start)
        return False, end

    def operator(self, kind: str, text: str, start: int, end: int) -> tuple[bool, int]:
        """Read after a value; returns whether another is wanted, and the position."""
        if text in BINARY and kind == "sign":
            level = BINARY[text][0]
            self.reduce(level + 1 if level == POWER else level)
            self.pending.append(Pending(text, level, len(self.values), False, start))
            return True, end
        if text not in (")", ","):
            raise self.error("an operator", start)
        self.reduce(LOGIC)
        if not self.pending or (text == "," and not self.pending[-1].text):
            raise self.error("an operator", start)
        if text == ",":
            return True, end
        self.close(start)
        return False, end

    def reduce(self, level: int) -> None:
        """Apply the operators on top that bind at least as tightly."""
        while self.pending and self.pending[-1].level >= level:
            waiting = self.pending.pop()
            right = self.values.pop()
            if not waiting.prefix:
                self.values.append(_combined(waiting.text, self.values.pop(), right))
            elif waiting.text == "+":
                self.values.append(right)
            else:
                self.values.append(apply("neg" if waiting.text == "-" else "not", right))

    def close(self, position: int) -> None:
        """Apply the function whose bracket ends, or leave the value in a plain bracket."""
        waiting = self.pending.pop()
        if waiting.text:
            arguments = self.values[waiting.values :]
            del self.values[waiting.values :]
            self.values.append(self.called(waiting, arguments))

    def called(self, waiting: Pending, arguments: list[Expression]) -> Expression:
        name = waiting.text
        if name in self.functions:
            names, body = self.functions[name]
            if len(names) == len(arguments):
                given = dict(zip(names, arguments, strict=True))
                return substitute([body], lambda e: given.get(e.name) if e.name is not None else None)[0]
            raise self.error(f"{len(names)} arguments of `{name}`", waiting.position)
        if name not in BUILDERS:
            hint = nearest(name, {*BUILDERS, *self.functions})
            raise FormatError(f"{self.error('a known function', waiting.position)}; {hint}")
        try:
            return call(name, arguments)
        except FormatError as problem:
            raise FormatError(f"{problem}; in formula `{self.text[:80]}`") from None


def _combined(operator: str, left: Expression, right: Expression) -> Expression:
    """Apply an operator between two values."""
    if operator in (">", ">="):
        left, right = right, left
    function = BINARY[operator][1]
    return call("rem", [left, right]) if function == "rem" else apply(function, left, right)


def parse(text: str, functions: Functions | None = None, names: Collection[str] = ()) -> Expression:
    """Read a formula.

    Args:
        text: in the grammar of PEtab, which contains that of SBML Level 3 but for `log`: `log(x)` is the
            natural logarithm, `log(x, b)` that of x to the base b.
        functions: further functions by name: names of the arguments, and the body over these.
        names: what is a symbol although the grammar has a constant of this name, such as a parameter `pi`.

    Raises:
        FormatError: the text is no formula; the message says where.

    >>> parse("2 + 3 * 2^2^1").value
    14.0
    >>> parse("double(x) - x", {"double": (["a"], parse("2 * a"))})
    2 * x - x
    """
    return _Parser(text, functions or {}, names).run()


def formula(expression: Expression) -> str:
    """Write an expression so that `parse` gives the same object back.

    >>> formula(parse("((a + b) * c)^(-2) - (d - e)"))
    '((a + b) * c)^-2 - (d - e)'
    """
    written: list[str] = []
    stack: list[str | tuple[Expression, int]] = [(expression, 0)]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            written.append(item)
            continue
        node, wanted = item
        level, pieces = _pieces(node)
        stack += reversed(pieces if level >= wanted else ["(", *pieces, ")"])
    return "".join(written)


Pieces = list[str | tuple[Expression, int]]


def _pieces(node: Expression) -> tuple[int, Pieces]:
    """How tightly an expression binds, and its text with its parts and how tightly these must bind."""
    function, a = node.function, node.arguments
    if not a:
        return _leaf(node)
    if function in _WRITTEN:
        text, level, left, right = _WRITTEN[function]
        chained = level == LOGIC and a[0].function == function
        return level, [(a[0], level if chained else left), text, (a[1], right)]
    if function in ("neg", "not"):
        return PREFIX, ["-" if function == "neg" else "!", (a[0], PREFIX)]
    if function == "if":
        return ATOM, _branches(node)
    commas: Pieces = []
    for argument in a:
        commas += [", ", (argument, 0)]
    return ATOM, [f"{function}(", *commas[1:], ")"]


_WRITTEN = {
    "and": (" && ", LOGIC, COMPARISON, COMPARISON),
    "or": (" || ", LOGIC, COMPARISON, COMPARISON),
    **{sign: (f" {sign} ", COMPARISON, SUM, SUM) for sign in ("<", "<=", "==", "!=")},
    "+": (" + ", SUM, SUM, PRODUCT),
    "-": (" - ", SUM, SUM, PRODUCT),
    "*": (" * ", PRODUCT, PRODUCT, PREFIX),
    "/": (" / ", PRODUCT, PRODUCT, PREFIX),
    "^": ("^", POWER, ATOM, PREFIX),
}
"""Text of an operator, how tightly it binds, and how tightly its operands must."""


def _leaf(node: Expression) -> tuple[int, Pieces]:
    if node.value is None:
        return ATOM, [_quoted(node.name) if node.name is not None else "time"]
    text = repr(node.value)
    return (PREFIX if text.startswith("-") else ATOM), [text.removesuffix(".0")]


def _quoted(name: str) -> str:
    plain = re.fullmatch(r"[^\W\d]\w*", name) is not None and name not in CONSTANTS
    return name if plain else "`" + name.replace("`", "``") + "`"


def _branches(node: Expression) -> Pieces:
    pieces: Pieces = ["piecewise("]
    while node.function == "if":
        condition, yes, no = node.arguments
        pieces += [(yes, 0), ", ", (condition, 0), ", "]
        node = no
    return [*pieces, (node, 0), ")"]
