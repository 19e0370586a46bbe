"""Derivatives of expressions: against automatic differentiation, symbolic algebra, and limits."""

from typing import Any

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multiscale.equations import (
    ONE,
    TIME,
    Expression,
    apply,
    derivatives,
    formula,
    number,
    parse,
    sparse_program,
    symbol,
)
from multiscale.equations.expression import total
from multiscale.equations.machine import evaluate, evaluate_torch
from multiscale.equations.program import compile_program
from multiscale.errors import DataError

X, Y, Z = (symbol(name) for name in "xyz")
INPUTS = {X: 0, Y: 1, Z: 2}
SMOOTH = ["exp", "sin", "cos", "tanh", "arctan", "arcsinh", "abs", "neg", "sqrt", "ln", "floor", "sign"]
BINARY = ["+", "-", "*", "/", "^", "min", "max", "<", "and"]


def applications(arguments: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    one = st.builds(apply, st.sampled_from(SMOOTH), arguments)
    two = st.builds(apply, st.sampled_from(BINARY), arguments, arguments)
    return st.one_of(one, two, two, st.builds(lambda *a: apply("if", *a), arguments, arguments, arguments))


EXPRESSIONS = st.recursive(
    st.sampled_from([X, Y, Z, number(2), number(3), number(0.5)]), applications, max_leaves=15
)


def gradient(expression: Expression, point: list[float]) -> np.ndarray:
    """Derivatives by x, y, z at a point."""
    sparse = sparse_program([expression], [([expression], [X, Y, Z])], INPUTS, 3)
    result = np.zeros(3)
    result[sparse.patterns[0][1]] = evaluate(sparse.program, np.array(point))[1:]
    return result


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS, st.lists(st.floats(0.3, 2.0), min_size=3, max_size=3, unique=True))
def test_derivatives_agree_with_automatic_differentiation(expression: Expression, point: list[float]) -> None:
    program = compile_program([expression], INPUTS, 3)
    inputs = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    value = evaluate_torch(program, inputs)[0]
    expected = np.zeros(3) if not value.requires_grad else torch.autograd.grad(value, inputs)[0].numpy()
    found = gradient(expression, point)
    regular = np.isfinite(expected) & np.isfinite(found) & (np.abs(expected) < 1e100)
    assert np.isfinite(found)[np.isfinite(expected)].all() or not np.isfinite(value.item())
    np.testing.assert_allclose(found[regular], expected[regular], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["min", "max"])
def test_of_two_equal_arguments_the_second_is_differentiated(name: str) -> None:
    expression, point = apply(name, X, Y), [2.0, 2.0, 1.0]
    inputs = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    evaluate_torch(compile_program([expression], INPUTS, 3), inputs)[0].backward()
    assert inputs.grad is not None
    assert gradient(expression, point).tolist() == inputs.grad.tolist() == [0.0, 1.0, 0.0]


TEXTS = [
    "x^3 * y / (z^4 + x^4)",
    "tan(x) + cos(y) * sinh(z) - cosh(x * y)",
    "arcsin(x / 4) - arccos(y / 4) + arctanh(z / 4)",
    "arccosh(2 + x) * arcsinh(y) * arctan(z)",
    "sqrt(x * y) - ln(z + x) + exp(-x * z)",
    "x^y^z",
    "gamma(x + y) / gamma(z)",
]
ALGEBRA = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}


def symbolic(text: str) -> Any:
    for name, other in ALGEBRA.items():
        text = text.replace(name, other)
    return sympy.sympify(text.replace("^", "**"))


@pytest.mark.parametrize("text", TEXTS)
def test_first_and_second_derivatives_agree_with_computer_algebra(text: str) -> None:
    values = dict(zip("xyz", (0.7, 1.3, 1.9), strict=True))
    first = derivatives([parse(text)], [X, Y, Z])
    for (_, i), entry in first.items():
        expected = symbolic(text).diff("xyz"[i])
        exact = [float(expected.diff(name).evalf(subs=values)) for name in "xyz"]
        np.testing.assert_allclose(gradient(entry, list(values.values())), exact, rtol=1e-12)
        program = compile_program([entry], INPUTS, 3)
        found = evaluate(program, np.array(list(values.values())))
        np.testing.assert_allclose(found, [float(expected.evalf(subs=values))], rtol=1e-13)


def test_a_power_with_a_constant_exponent_needs_no_logarithm() -> None:
    assert formula(derivatives([parse("x^3")], [X])[0, 0]) == "3 * (x * x)"
    assert formula(derivatives([parse("x^2")], [X])[0, 0]) == "x + x"
    assert derivatives([parse("x^1")], [X])[0, 0] is ONE


@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0, 4.0])
def test_a_hill_function_has_finite_derivatives_without_ligand(exponent: float) -> None:
    hill = parse("x^y / (z^y + x^y)")
    slope = 1.0 / 3.0 if exponent == 1.0 else 0.0
    np.testing.assert_array_equal(gradient(hill, [0.0, exponent, 3.0]), [slope, 0.0, 0.0])


def test_second_derivatives_of_a_hill_function_are_finite_without_ligand() -> None:
    hill = parse("x^y / (z^y + x^y)")
    rows = [gradient(entry, [0.0, 2.5, 3.0]) for entry in derivatives([hill], [X, Y, Z]).values()]
    np.testing.assert_array_equal(rows, np.zeros((3, 3)))


def test_steps_and_conditions_have_no_derivative() -> None:
    text = "floor(x) + ceil(y) + sign(z) + (x < y) + !(x == z) + piecewise(2, x < 1 && y < 2 || z > x, 3)"
    assert derivatives([parse(text)], [X, Y, Z]) == {}


def test_branches_are_differentiated_where_they_hold() -> None:
    ramp = parse("piecewise(x * y, x < z, y^2) + min(x, 2 * y) + max(y, z) + abs(x - z)")
    np.testing.assert_array_equal(gradient(ramp, [1.0, 5.0, 3.0]), [5.0 + 1.0 - 1.0, 1.0 + 1.0, 1.0])
    np.testing.assert_array_equal(gradient(ramp, [4.0, 1.0, 3.0]), [1.0, 2.0 + 2.0, 1.0 - 1.0])


def test_entries_are_sorted_and_those_that_vanish_are_left_out() -> None:
    found = derivatives([Z * X, X - Y + Y, Y * TIME], [X, Y, Z, TIME])
    assert list(found) == [(0, 0), (0, 2), (1, 0), (2, 1), (2, 3)]


def test_shared_sums_are_differentiated_once_and_right() -> None:
    shared = X + Y - Z
    found = derivatives([shared + shared * X, -shared - (X - (Y - Z)), shared], [X, Y, Z])
    assert [found[1, i].value for i in range(3) if (1, i) in found] == [-2.0]
    assert [found[2, i].value for i in range(3)] == [1.0, 1.0, -1.0]
    assert found[0, 1] is ONE + X


def test_a_sum_of_many_terms_is_differentiated_by_each() -> None:
    terms = [symbol(f"term{i}") for i in range(5_000)]
    found = derivatives([total(terms)], terms)
    assert len(found) == 5_000 and all(entry is ONE for entry in found.values())


def test_a_deep_chain_does_not_recurse() -> None:
    chain = X
    for _ in range(5_000):
        chain = apply("sin", chain)
    assert 0.0 < gradient(chain, [1.0, 0.0, 0.0])[0] < 1e-4


def test_a_program_lists_values_then_the_entries_of_each_matrix() -> None:
    sparse = sparse_program([X * Y], [([X * Y, Z * X], [X, Z]), ([], [X]), ([Y * Y], [X, Y])], INPUTS, 3)
    outputs = evaluate(sparse.program, np.array([2.0, 3.0, 5.0]))
    np.testing.assert_array_equal(outputs, [6.0, 3.0, 5.0, 2.0, 6.0])
    assert [pattern.tolist() for pattern in sparse.patterns] == [[[0, 1, 1], [0, 0, 1]], [[], []], [[0], [1]]]
    assert all(pattern.dtype == np.int64 for pattern in sparse.patterns)


def test_a_derivative_that_programs_do_not_have_is_refused() -> None:
    with pytest.raises(DataError, match="derivative of `trigamma`"):
        derivatives([parse("trigamma(x)")], [X])
