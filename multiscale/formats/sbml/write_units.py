"""Texts of units, such as `1/(uM*s)`, as unit definitions of SBML."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterable
from fractions import Fraction

from multiscale.formats.sbml.identifiers import identifiers

__all__ = ["KINDS", "UnitDefinitions", "unit_powers"]

log = logging.getLogger("multiscale")

KINDS = (
    *("ampere", "avogadro", "becquerel", "candela", "coulomb", "dimensionless", "farad", "gram", "gray"),
    *("henry", "hertz", "item", "joule", "katal", "kelvin", "kilogram", "litre", "lumen", "lux", "metre"),
    *("mole", "newton", "ohm", "pascal", "radian", "second", "siemens", "sievert", "steradian", "tesla"),
    *("volt", "watt", "weber"),
)
"""Units that SBML knows by name."""

Part = tuple[
    str, float, int, float
]  # kind, exponent, scale, multiplier: (multiplier · 10^scale · kind)^exponent

_MOLAR = {"fM": -15, "pM": -12, "nM": -9, "uM": -6, "mM": -3, "M": 0}
_PREFIXES = {"z": -21, "a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "": 0}
_PARTS: dict[str, tuple[Part, ...]] = {
    **{kind: ((kind, 1, 0, 1.0),) for kind in KINDS},
    **{name: (("mole", 1, scale, 1.0), ("litre", -1, 0, 1.0)) for name, scale in _MOLAR.items()},
    **{f"{prefix}L": (("litre", 1, scale, 1.0),) for prefix, scale in _PREFIXES.items()},
    **{f"{prefix}mol": (("mole", 1, scale, 1.0),) for prefix, scale in _PREFIXES.items()},
    **{f"{prefix}m": (("metre", 1, scale, 1.0),) for prefix, scale in _PREFIXES.items()},
    **{f"{prefix}s": (("second", 1, scale, 1.0),) for prefix, scale in _PREFIXES.items()},
    "min": (("second", 1, 0, 60.0),),
    "h": (("second", 1, 0, 3600.0),),
    "d": (("second", 1, 0, 86400.0),),
    "K": (("kelvin", 1, 0, 1.0),),
    "J": (("joule", 1, 0, 1.0),),
    "kcal": (("joule", 1, 0, 4184.0),),  # thermochemical
}


class UnitDefinitions:
    """Collects the units that elements mention."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, list[Part]]] = {}

    def reference(self, text: str, where: str) -> str:
        """Identifier of a unit, '' where none is stated or it is in no unit that SBML knows.

        Args:
            text: as `unit_powers` reads it.
            where: for the warning about a unit that is left out.
        """
        if not text or text in KINDS:
            return text
        try:
            powers, factor = unit_powers(text)
            parts = _parts(powers, factor)
        except ValueError as error:
            log.warning("SBML: the unit of %s is left out: %s.", where, error)
            return ""
        if not parts:
            return "dimensionless"
        label = _label(powers, factor)
        if label in KINDS:
            return label
        self._found.setdefault(label, (text, parts))
        return self._identifiers()[label]

    def xml(self) -> str:
        """The list of definitions, '' without any."""
        if not self._found:
            return ""
        names = self._identifiers()
        units = (_definition(names[label], parts) for label, (_, parts) in self._found.items())
        return f"<listOfUnitDefinitions>{''.join(units)}</listOfUnitDefinitions>"

    def _identifiers(self) -> dict[str, str]:
        found = identifiers([*KINDS, *self._found])
        return {label: found[label] for label in self._found}


def unit_powers(text: str) -> tuple[dict[str, float], float]:
    """Read a unit: powers of symbols, and a factor.

    Raises:
        ValueError: it is no product of powers of units.

    >>> unit_powers("1/(uM^2*s)")
    ({'uM': -2, 's': -1}, 1.0)
    """
    try:
        tree = ast.parse(text.replace("^", "**").replace("µ", "u").replace("μ", "u"), mode="eval").body
        powers, factor = _powers(tree)
    except (SyntaxError, RecursionError, ZeroDivisionError, OverflowError):
        raise ValueError(f"`{text}` is no product of powers of units") from None
    whole = {n: int(power) if power.denominator == 1 else float(power) for n, power in powers.items()}
    return {name: power for name, power in whole.items() if power}, factor


def _powers(node: ast.expr) -> tuple[dict[str, Fraction], float]:
    """Powers of symbols in a syntax tree."""
    if isinstance(node, ast.Name):
        return {node.id: Fraction(1)}, 1.0
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        (base, factor), exponent = _powers(node.left), _exponent(node.right)
        return {name: power * exponent for name, power in base.items()}, factor ** float(exponent)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        sign = 1 if isinstance(node.op, ast.Mult) else -1
        (left, a), (right, b) = _powers(node.left), _powers(node.right)
        names = dict.fromkeys([*left, *right])
        return {n: left.get(n, Fraction(0)) + sign * right.get(n, Fraction(0)) for n in names}, a * b**sign
    return {}, float(_exponent(node))


def _exponent(node: ast.expr) -> Fraction:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_exponent(node.operand)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Fraction(node.value)
    raise ValueError(f"`{ast.unparse(node)}` is no number")


def _parts(powers: dict[str, float], factor: float) -> list[Part]:
    unknown = [name for name in powers if name not in _PARTS]
    if unknown:
        raise ValueError(f"`{unknown[0]}` is no unit that SBML knows")
    parts = [(k, e * n, s, m) for name, n in powers.items() for k, e, s, m in _PARTS[name]]
    return parts if factor == 1.0 else [("dimensionless", 1, 0, factor), *parts]


def _label(powers: dict[str, float], factor: float) -> str:
    """Readable identifier of a unit, such as `per_uM_per_s`."""
    above = [f"{name}{n if n > 1 else ''}" for name, n in powers.items() if n > 0]
    below = [f"per_{name}{-n if n < -1 else ''}" for name, n in powers.items() if n < 0]
    return "_".join([*([] if factor == 1.0 else [f"{factor:g}"]), *above, *below])


def _definition(identifier: str, parts: Iterable[Part]) -> str:
    units = (
        f'<unit kind="{kind}" exponent="{exponent}" scale="{scale}" multiplier="{multiplier!r}"/>'
        for kind, exponent, scale, multiplier in parts
    )
    return f'<unitDefinition id="{identifier}"><listOfUnits>{"".join(units)}</listOfUnits></unitDefinition>'
