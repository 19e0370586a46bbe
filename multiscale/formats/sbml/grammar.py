"""The grammar of MathML in SBML, checked element by element: where it is broken libsbml ends the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Formula"]

_MANY = 1 << 30
_MOST_PARTS = 2_000  # of one element: the time of libsbml's checks grows with their square
_MOST_TERMS = 10_000  # of sums and products, which it checks faster; half a million exhaust its stack
_UNARY = (
    *("abs", "exp", "ln", "log", "root", "floor", "ceiling", "factorial", "not"),
    *(
        f"{a}{f}{h}"
        for a in ("", "arc")
        for f in ("sin", "cos", "tan", "sec", "csc", "cot")
        for h in ("", "h")
    ),
)
OPERATORS: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(_UNARY, (1, 1)),
    **dict.fromkeys(("divide", "power", "neq", "implies", "quotient", "rem"), (2, 2)),
    **dict.fromkeys(("plus", "times", "and", "or", "xor"), (0, _MANY)),
    **dict.fromkeys(("min", "max"), (1, _MANY)),
    **dict.fromkeys(("eq", "lt", "leq", "gt", "geq"), (2, _MANY)),
    "minus": (1, 2),
    "ci": (0, _MANY),
    "delay": (2, 2),
    "rateOf": (1, 1),
}
"""How many arguments may follow what an `apply` begins with."""

_CONSTANTS = ("true", "false", "notanumber", "pi", "infinity", "exponentiale")
_VALUES = ("ci", "cn", "time", "avogadro", "apply", "piecewise", "semantics", *_CONSTANTS)
_QUALIFIERS = {"degree": "root", "logbase": "log"}
_EMPTY = frozenset({*OPERATORS, *_CONSTANTS, "sep", "csymbol"} - {"ci"})
_SYMBOLS = "http://www.sbml.org/sbml/symbols/"
_KNOWN = frozenset(
    {*_VALUES, *OPERATORS, *_QUALIFIERS, "math", "piece", "otherwise", "lambda", "bvar", "sep", "csymbol"}
    | {"annotation", "annotation-xml"}
)


@dataclass
class _Open:
    """An element that has begun: what it is, and what its parts were."""

    name: str
    parts: list[str] = field(default_factory=list)


class Formula:
    """Follows one `math` element.

    Args:
        refuse: raises an error with a message.
    """

    def __init__(self, refuse: Callable[[str], None]) -> None:
        self.refuse = refuse
        self.open: list[_Open] = []

    @property
    def done(self) -> bool:
        """Whether `math` has ended."""
        return not self.open

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        if self.open and self.open[-1].name.startswith("annotation"):
            name = "annotation"  # says what it likes
        elif name not in _KNOWN or (name == "math" and self.open):
            self.refuse(f"`{name[:40]}` in MathML is not supported.")
        if name == "csymbol":
            name = self.symbol(attributes.get("definitionURL", ""))
        if self.open:
            self.open[-1].parts.append(name)
        self.open.append(_Open(name))

    def symbol(self, meaning: str) -> str:
        """What a `csymbol` stands for."""
        name = meaning.strip().removeprefix(_SYMBOLS)
        if name not in ("time", "avogadro", "delay", "rateOf"):
            self.refuse(f"the symbol {meaning[:80]!r} in MathML is not supported.")
        return name

    def end(self) -> None:
        """The innermost element ends."""
        element = self.open.pop()
        most = _MOST_TERMS if element.parts[:1] in (["plus"], ["times"]) else _MOST_PARTS
        if len(element.parts) > most:
            self.refuse(f"`{element.name}` in MathML has more than {most} parts; write it in several.")
        problem = _problem(element.name, element.parts)
        if problem:
            self.refuse(f"`{element.name}` in MathML {problem}.")


def _problem(name: str, parts: list[str]) -> str:
    """What is wrong with the parts of an element, '' if nothing is."""
    if name == "apply":
        return _problem_of_apply(parts)
    if name in ("math", "otherwise", "degree", "logbase"):
        allowed = (*_VALUES, "lambda") if name == "math" else _VALUES
        return "" if len(parts) == 1 and parts[0] in allowed else "must hold one value"
    if name == "piece":
        return "" if len(parts) == 2 and _are_values(parts) else "must hold a value and a condition"
    if name == "piecewise":
        pieces = parts[:-1] if parts[-1:] == ["otherwise"] else parts
        return (
            ""
            if all(part == "piece" for part in pieces)
            else "must hold pieces, then at most one `otherwise`"
        )
    if name == "lambda":
        body = [part for part in parts if part != "bvar"]
        right = len(body) <= 1 and _are_values(body) and (not body or parts[-1] != "bvar")
        return "" if right else "must hold arguments (`bvar`), then at most one value"
    if name == "bvar":
        return "" if parts == ["ci"] else "must hold one name"
    if name == "semantics":
        inner, *notes = parts or [""]
        right = inner in (*_VALUES, "lambda") and all(note.startswith("annotation") for note in notes)
        return "" if right else "must hold a value and annotations"
    if name == "cn":
        return "" if parts in ([], ["sep"]) else "must hold a number"
    return "must be empty" if parts and (name in _EMPTY or name == "ci") else ""


def _are_values(parts: list[str]) -> bool:
    return all(part in _VALUES for part in parts)


def _problem_of_apply(parts: list[str]) -> str:
    operator, arguments = parts[0] if parts else "", parts[1:]
    if operator not in OPERATORS:
        return "must begin with an operator"
    if arguments and _QUALIFIERS.get(arguments[0]) == operator:
        arguments = arguments[1:]
    if not _are_values(arguments):
        return f"must hold values after `{operator}`"
    least, most = OPERATORS[operator]
    if operator == "rateOf" and arguments != ["ci"]:
        return "must hold one name after `rateOf`"
    if not least <= len(arguments) <= most:
        wanted = (
            f"{least}" if most == least else f"{least} to {most}" if most < _MANY else f"at least {least}"
        )
        return f"must hold {wanted} arguments after `{operator}`; got {len(arguments)}"
    return ""
