"""Derivatives of expressions, and programs that give values together with sparse matrices of derivatives.

Forward accumulation: going from the symbols up, every subexpression gets its derivatives by those symbols
that it depends on, and no others. Since equal subexpressions are one object, each is differentiated once,
however many results use it. A branch of `if` is differentiated, its condition is not; relations, logic,
`floor`, `ceil` and `sign` have the derivative 0, as they have everywhere but at their steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from multiscale.equations.expression import ONE, ZERO, Expression, apply, number, ordered
from multiscale.equations.hybrid import Sparse
from multiscale.equations.program import compile_program
from multiscale.errors import DataError

__all__ = ["derivatives", "sparse_program"]

Row = dict[int, Expression]
"""Derivatives of one expression by column; what is missing is 0."""

SUMS = ("+", "-", "neg")
STEPS = ("number", "symbol", "time", "<", "<=", "==", "!=", "and", "or", "not", "floor", "ceil", "sign")
"""What has no derivative, or one that is 0."""


def derivatives(roots: Sequence[Expression], by: Sequence[Expression]) -> dict[tuple[int, int], Expression]:
    """Derivatives of expressions by symbols.

    Args:
        roots: what to differentiate; positions are rows.
        by: symbols, or time; positions are columns.

    Returns:
        The derivatives that are not identically 0, by row and column, in this order.

    Raises:
        DataError: a derivative is none of the functions that programs have.

    >>> from multiscale.equations.expression import symbol
    >>> x, y = symbol("x"), symbol("y")
    >>> derivatives([x * y, y], [x, y])[0, 1] is x
    True
    """
    columns: dict[int, list[int]] = {}
    for column, variable in enumerate(by):
        columns.setdefault(id(variable), []).append(column)
    nodes = ordered(roots)
    inner = _inside_of_sums(nodes, roots)
    rows: dict[int, Row] = {}
    for node in nodes:
        if id(node) in columns:
            rows[id(node)] = dict.fromkeys(columns[id(node)], ONE)
        elif id(node) not in inner:
            rows[id(node)] = _differentiated(node, rows, inner)
    return {(i, j): rows[id(root)][j] for i, root in enumerate(roots) for j in sorted(rows[id(root)])}


def _inside_of_sums(nodes: Sequence[Expression], roots: Sequence[Expression]) -> set[int]:
    """Sums that only one other sum uses: a sum of many terms is differentiated at once, in linear time."""
    uses: dict[int, int] = {id(root): 2 for root in roots}
    below: set[int] = set()
    for node in nodes:
        for argument in node.arguments:
            uses[id(argument)] = uses.get(id(argument), 0) + 1
            if node.function in SUMS and argument.function in SUMS:
                below.add(id(argument))
    return {place for place in below if uses[place] == 1}


def _differentiated(node: Expression, rows: Mapping[int, Row], inner: set[int]) -> Row:
    """Derivatives of an expression from those of its arguments."""
    if node.function in STEPS:
        return {}
    if node.function in SUMS:
        return _of_sum(
            (1.0, rows[id(term)]) if sign > 0 else (-1.0, rows[id(term)])
            for sign, term in _terms(node, inner)
        )
    parts = [rows[id(argument)] for argument in node.arguments]
    if node.function in ("if", "min", "max"):
        return _of_choice(node, parts)
    if node.function not in PARTIALS:
        raise DataError(f"the derivative of `{node.function}` is not available; write the formula without it")
    result: Row = {}
    for partial, part in zip(PARTIALS[node.function], parts, strict=True):
        if part:
            factor = partial(node)
            _add(result, {column: _times(factor, inside) for column, inside in part.items()})
    return result


def _terms(node: Expression, inner: set[int]) -> Iterator[tuple[float, Expression]]:
    """Terms of a sum with their signs, from left to right."""
    stack = [(1.0, node)]
    while stack:
        sign, term = stack.pop()
        if term is not node and id(term) not in inner:
            yield sign, term
        elif term.function == "neg":
            stack.append((-sign, term.arguments[0]))
        else:
            left, right = term.arguments
            stack += [(sign if term.function == "+" else -sign, right), (sign, left)]


def _of_sum(terms: Iterator[tuple[float, Row]]) -> Row:
    result: Row = {}
    for sign, row in terms:
        _add(result, row, sign)
    return result


def _add(result: Row, row: Row, sign: float = 1.0) -> None:
    """Add derivatives to others; those that vanish go."""
    for column, entry in row.items():
        before = result.get(column, ZERO)
        after = before + entry if sign > 0 else before - entry
        if after is ZERO:
            result.pop(column, None)
        else:
            result[column] = after


def _of_choice(node: Expression, parts: Sequence[Row]) -> Row:
    """Derivatives of the branch that holds; of two equal ones, `min` and `max` take the second."""
    if node.function == "if":
        condition, (yes, no) = node.arguments[0], parts[1:]
    else:
        a, b = node.arguments
        condition, (yes, no) = apply("<", *((a, b) if node.function == "min" else (b, a))), parts
    result = {
        column: apply("if", condition, yes.get(column, ZERO), no.get(column, ZERO))
        for column in sorted({*yes, *no})
    }
    return {column: entry for column, entry in result.items() if entry is not ZERO}


def _times(factor: Expression, inside: Expression) -> Expression:
    """Product; (1/b) · a is written a / b."""
    if factor.function == "/" and factor.arguments[0] is ONE:
        return inside / factor.arguments[1]
    return factor * inside


def _power_by_base(node: Expression) -> Expression:
    base, exponent = node.arguments
    return exponent * base ** (exponent - number(1))


def _power_by_exponent(node: Expression) -> Expression:
    """x^y ln x, and 0 where x^y is 0: the limit at x = 0 for y > 0."""
    return apply("if", apply("!=", node, ZERO), node * apply("ln", node.arguments[0]), ZERO)


def _square(a: Expression) -> Expression:
    return a * a


def _inverse_root(a: Expression) -> Expression:
    return ONE / apply("sqrt", a)


PARTIALS: dict[str, tuple[Callable[[Expression], Expression], ...]] = {
    "*": (lambda e: e.arguments[1], lambda e: e.arguments[0]),
    "/": (lambda e: ONE / e.arguments[1], lambda e: -(e / e.arguments[1])),
    "^": (_power_by_base, _power_by_exponent),
    "exp": (lambda e: e,),
    "ln": (lambda e: ONE / e.arguments[0],),
    "sqrt": (lambda e: ONE / (number(2) * e),),
    "abs": (lambda e: apply("sign", e.arguments[0]),),
    "sin": (lambda e: apply("cos", e.arguments[0]),),
    "cos": (lambda e: -apply("sin", e.arguments[0]),),
    "tan": (lambda e: ONE + _square(e),),
    "arcsin": (lambda e: _inverse_root(ONE - _square(e.arguments[0])),),
    "arccos": (lambda e: -_inverse_root(ONE - _square(e.arguments[0])),),
    "arctan": (lambda e: ONE / (ONE + _square(e.arguments[0])),),
    "sinh": (lambda e: apply("cosh", e.arguments[0]),),
    "cosh": (lambda e: apply("sinh", e.arguments[0]),),
    "tanh": (lambda e: ONE - _square(e),),
    "arcsinh": (lambda e: _inverse_root(_square(e.arguments[0]) + ONE),),
    "arccosh": (lambda e: _inverse_root(_square(e.arguments[0]) - ONE),),
    "arctanh": (lambda e: ONE / (ONE - _square(e.arguments[0])),),
    "gamma": (lambda e: e * apply("digamma", e.arguments[0]),),
    "digamma": (lambda e: apply("trigamma", e.arguments[0]),),
}
"""Derivative of a function by each of its arguments."""


def sparse_program(
    roots: Sequence[Expression],
    matrices: Sequence[tuple[Sequence[Expression], Sequence[Expression]]],
    inputs: Mapping[Expression, int],
    count: int,
) -> Sparse:
    """Compile values together with matrices of derivatives.

    Args:
        roots: values, in order.
        matrices: what to differentiate, and by which symbols, per matrix.
        inputs: position of the symbols (and of time) among the inputs.
        count: how many inputs there are.
    """
    found = [derivatives(rows, by) for rows, by in matrices]
    patterns = tuple(np.array(list(entries), dtype=np.int64).reshape(-1, 2).T.copy() for entries in found)
    outputs = [*roots, *(entry for entries in found for entry in entries.values())]
    return Sparse(compile_program(outputs, inputs, count), len(roots), patterns)
