"""Formulas as ratios of polynomials in species, with products of powers of constants as coefficients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction

from multiscale.equations.expression import Expression, ordered

__all__ = ["Monomial", "Polynomial", "Rational", "Unlike", "rational"]

Monomial = tuple[tuple[str, Fraction], ...]
"""Powers of atoms, sorted by name. An atom is a name, or `name^exponent` where the exponent has a name."""

Polynomial = dict[Monomial, float]
"""Coefficient of every monomial; none is 0."""

_MOST = 128  # terms; longer formulas are no rate law of the list
_HIGHEST = 8  # power of a sum


class Unlike(Exception):
    """The formula is no ratio of polynomials, or a long one."""


@dataclass(frozen=True)
class Rational:
    """above/below, without common powers of atoms."""

    above: Polynomial
    below: Polynomial


def rational(expression: Expression, names: Collection[str]) -> Rational:
    """Write a formula as a ratio of polynomials.

    Args:
        expression: a formula.
        names: symbols that it may read.

    Raises:
        Unlike: it reads anything else, or is no such ratio.

    >>> from multiscale.equations.expression import symbol
    >>> S, K = symbol("S"), symbol("K")
    >>> rational(S / K / (S / K + 1), {"S", "K"}).below == rational(K + S, {"S", "K"}).above
    True
    """
    found: dict[int, Rational] = {}
    for node in ordered([expression]):
        found[id(node)] = _node(node, [found[id(a)] for a in node.arguments], names)
    return found[id(expression)]


def _node(node: Expression, parts: list[Rational], names: Collection[str]) -> Rational:
    if node.value is not None:
        return Rational({(): node.value} if node.value else {}, {(): 1.0})
    if node.name is not None and node.name in names:
        return Rational({((node.name, Fraction(1)),): 1.0}, {(): 1.0})
    if node.function not in _RULES:
        raise Unlike(node.function)
    if node.function == "^":
        return _power(parts[0], node.arguments[1])
    return _reduced(_RULES[node.function](*parts))


def _sum(a: Rational, b: Rational, sign: float = 1.0) -> Rational:
    if a.below == b.below:
        return Rational(_added(a.above, b.above, sign), a.below)
    above = _added(_multiplied(a.above, b.below), _multiplied(b.above, a.below), sign)
    return Rational(above, _multiplied(a.below, b.below))


def _difference(a: Rational, b: Rational) -> Rational:
    return _sum(a, b, -1.0)


def _product(a: Rational, b: Rational) -> Rational:
    return Rational(_multiplied(a.above, b.above), _multiplied(a.below, b.below))


def _quotient(a: Rational, b: Rational) -> Rational:
    if not b.above:
        raise Unlike("division by 0")
    return Rational(_multiplied(a.above, b.below), _multiplied(a.below, b.above))


def _negative(a: Rational) -> Rational:
    return Rational({m: -c for m, c in a.above.items()}, a.below)


def _power(base: Rational, exponent: Expression) -> Rational:
    """A whole power, a power of a product, or one with a named exponent."""
    n = exponent.value
    if n is not None and n.is_integer() and abs(n) <= _HIGHEST:
        one = {(): 1.0}
        result = Rational(one, one)
        for _ in range(int(abs(n))):
            result = _product(result, base)
        return _reduced(result if n > 0 else _quotient(Rational(one, one), result))
    if len(base.above) != 1 or len(base.below) != 1:
        raise Unlike("power of a sum")
    (above, a), (below, b) = *base.above.items(), *base.below.items()
    if n is None and exponent.name is None:
        raise Unlike("exponent")
    whole = _raised(above, exponent), _raised(below, exponent)
    number = _raised_number(a / b, exponent)
    return _reduced(_product(Rational({whole[0]: 1.0}, {whole[1]: 1.0}), number))


def _raised(monomial: Monomial, exponent: Expression) -> Monomial:
    """Every atom to a power."""
    if exponent.value is not None:
        return tuple((atom, n * Fraction(exponent.value).limit_denominator(1000)) for atom, n in monomial)
    if any("^" in atom for atom, _ in monomial):
        raise Unlike("power of a power")
    return tuple(sorted((f"{atom}^{exponent.name}", n) for atom, n in monomial))


def _raised_number(value: float, exponent: Expression) -> Rational:
    """A positive number to a power; with a named exponent it is an atom."""
    one: Polynomial = {(): 1.0}
    if value == 1.0:
        return Rational(one, one)
    if value <= 0.0:
        raise Unlike("power of a number")
    if exponent.value is not None:
        return Rational({(): value**exponent.value}, one)
    return Rational({((f"{value!r}^{exponent.name}", Fraction(1)),): 1.0}, one)


def _added(a: Polynomial, b: Polynomial, sign: float) -> Polynomial:
    found = dict(a)
    for monomial, c in b.items():
        found[monomial] = found.get(monomial, 0.0) + sign * c
    largest = max((abs(c) for c in [*a.values(), *b.values()]), default=0.0)
    return {m: c for m, c in found.items() if abs(c) > 1e-12 * largest}  # what is left of equal terms


def _multiplied(a: Polynomial, b: Polynomial) -> Polynomial:
    if len(a) * len(b) > _MOST:
        raise Unlike("long")
    found: Polynomial = {}
    for one, c in a.items():
        for other, d in b.items():
            powers = dict(one)
            for atom, n in other:
                powers[atom] = powers.get(atom, Fraction(0)) + n
            monomial = tuple(sorted((atom, n) for atom, n in powers.items() if n))
            found[monomial] = found.get(monomial, 0.0) + c * d
    return {m: c for m, c in found.items() if c}


def _reduced(ratio: Rational) -> Rational:
    """Divide both by the powers of atoms that all terms share."""
    terms = [dict(m) for m in (*ratio.above, *ratio.below)]
    atoms = {atom for term in terms for atom in term}
    shared = {atom: min(term.get(atom, Fraction(0)) for term in terms) for atom in atoms}
    inverse: Mapping[Monomial, float] = {tuple(sorted((a, -n) for a, n in shared.items() if n)): 1.0}
    return Rational(_multiplied(ratio.above, dict(inverse)), _multiplied(ratio.below, dict(inverse)))


_RULES: dict[str, Callable[..., Rational]] = {
    "+": _sum,
    "-": _difference,
    "*": _product,
    "/": _quotient,
    "neg": _negative,
    "^": _product,
}
