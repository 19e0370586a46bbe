"""Formulas as text: grammar, precedence, functions, and the way back."""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from multiscale.equations import BUILDERS, FUNCTIONS, TIME, Expression, apply, formula, number, parse, symbol
from multiscale.equations.builders import call
from multiscale.equations.machine import evaluate
from multiscale.equations.program import compile_program
from multiscale.errors import FormatError

NAMES = st.one_of(
    st.sampled_from(["x", "time", "pi", "p:k 1", "a`b", "_y", "true", "sin", "µ"]), st.text("ab1", min_size=1)
)
NUMBERS = st.one_of(st.integers(-3, 3).map(float), st.floats())
LEAVES = st.one_of(NAMES.map(symbol), NUMBERS.map(number), st.just(TIME))
APPLICABLE = sorted(name for name, function in FUNCTIONS.items() if function.arity)


def value(text: str, **values: float) -> float:
    inputs = {symbol(name): i for i, name in enumerate(values)} | {TIME: len(values)}
    program = compile_program([parse(text)], inputs, len(inputs))
    return float(evaluate(program, np.array([*values.values(), 0.0]))[0])


def applications(arguments: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    def of(name: str) -> st.SearchStrategy[Expression]:
        return st.tuples(*[arguments] * FUNCTIONS[name].arity).map(lambda a: apply(name, *a))

    return st.sampled_from(APPLICABLE).flatmap(of)


def test_every_case_of_the_petab_mathematics_suite(shared: Path) -> None:
    path = shared / "conformance/petab_test_suite/v2.0.0/math/math_tests.yaml"
    cases = yaml.safe_load(path.read_text())["cases"]
    numeric = [case for case in cases if case["expected"] != "a * b"]
    found = [value(str(case["expression"])) for case in numeric]
    assert len(numeric) >= 95
    np.testing.assert_allclose(found, [float(case["expected"]) for case in numeric], rtol=2e-15, atol=0)
    assert parse("a * b") is symbol("a") * symbol("b")


@settings(max_examples=500, deadline=None)
@given(st.recursive(LEAVES, applications, max_leaves=20))
def test_a_written_formula_is_read_as_the_same_object(expression: Expression) -> None:
    assert parse(formula(expression)) is expression


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("((a) + (b)) - (c)", "a + b - c"),
        ("a - (b - c)", "a - (b - c)"),
        ("(a ^ b) ^ c", "(a^b)^c"),
        ("a ^ (b ^ c)", "a^b^c"),
        ("-(a ^ 3)", "-a^3"),
        ("(-2)^a", "(-2)^a"),
        ("a > b", "b < a"),
        ("(a < b && c < d) || !e", "(a < b && c < d) || !e"),
        ("piecewise(1, a < b, piecewise(2, c, 3))", "piecewise(1, a < b, 2, c, 3)"),
        ("0.1 + x", "0.1 + x"),
        ("`time` + time", "`time` + time"),
    ],
)
def test_formulas_are_written_with_no_more_brackets_than_needed(text: str, written: str) -> None:
    assert formula(parse(text)) == written


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("factorial", (5,), 120.0),
        ("root", (3, 27), 3.0),
        ("root", (16,), 4.0),
        ("quotient", (-7, 2), -3.0),
        ("rem", (-7, 2), -1.0),
        ("log10", (1000,), 3.0),
        ("log", (8, 2), 3.0),
        ("log2", (8,), 3.0),
        ("xor", (1, 1, 1), 1.0),
        ("xor", (2, 3), 0.0),
        ("implies", (1, 0), 0.0),
        ("and", (), 1.0),
        ("or", (), 0.0),
        ("and", (5,), 1.0),
        ("lt", (1, 2, 2), 0.0),
        ("geq", (3, 2, 2), 1.0),
        ("plus", (1, 2, 3, 4), 10.0),
        ("times", (), 1.0),
        ("minus", (4,), -4.0),
        ("min", (3, 1, 2), 1.0),
        ("max", (3, 1, 2), 3.0),
        ("sec", (1.0,), 1 / math.cos(1.0)),
        ("csch", (1.0,), 1 / math.sinh(1.0)),
        ("arcsec", (2.0,), math.pi / 3),
        ("acoth", (2.0,), math.log(3) / 2),
        ("arcsech", (0.5,), math.log(2 + math.sqrt(3))),
    ],
)
def test_functions_of_mathml(name: str, arguments: tuple[float, ...], expected: float) -> None:
    program = compile_program([call(name, [number(a) for a in arguments])], {}, 0)
    np.testing.assert_allclose(evaluate(program, np.zeros(0)), [expected], rtol=1e-15)


def test_logarithms_of_what_varies_agree_with_those_of_numbers() -> None:
    assert value("log(x, 3)", x=81.0) == pytest.approx(4.0, rel=1e-15)
    assert value("log10(x)", x=1e-7) == pytest.approx(-7.0, rel=1e-15)


def test_a_remainder_has_the_sign_of_the_dividend() -> None:
    assert [value("x % 3", x=x) for x in (7.0, -7.0)] == [1.0, -1.0]


def test_a_function_of_the_caller_is_inserted_with_all_arguments_at_once() -> None:
    swap = {"swap": (["a", "b"], parse("a - 2 * b"))}
    assert parse("swap(b, a)", swap) is parse("b - 2 * a")
    with pytest.raises(FormatError, match=r"2 arguments of `swap` at character 5"):
        parse("1 + swap(a)", swap)


def test_a_name_of_the_model_comes_before_a_constant_of_the_grammar() -> None:
    assert parse("pi").value == math.pi
    assert parse("2 * pi", names=["pi"]) is number(2) * symbol("pi")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a + * b", "a value at character 5; got `\\* b`"),
        ("", "a value at character 1; got its end"),
        ("(a + b", "a closing bracket at character 7"),
        ("a + b)", "an operator at character 6"),
        ("a b", "an operator at character 3"),
        ("(a, b)", "an operator at character 3"),
        ("sin(1,)", "a value at character 7"),
        ("sin()", "another number of arguments; got 0"),
        ("2 $ 3", "a number, name or operator at character 3"),
        ("sinn(x)", "did you mean `sin`"),
        ("`a", "a number, name or operator at character 1"),
    ],
)
def test_an_error_says_where_in_the_formula_it_is(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "9^9^9^9",
        "x^9^9^9^9",
        "(-9)^9^9^9",
        "1e999999",
        "exp(1e9)",
        "gamma(1e9)",
        "1 / 0",
        "0^-1",
        "ceil(-1e999)",
        "1e99 * 1e308",
    ],
)
def test_numbers_beyond_the_largest_are_read_and_written(text: str) -> None:
    assert parse(formula(parse(text))) is parse(text)


def test_infinite_results_are_left_to_the_program() -> None:
    texts = ["9^9^9^9", "-9^9^9^9", "(-9)^(9^9 + 0)", "1e999999", "1 / 0", "-1 / 0", "ln(0)", "9^-9^9"]
    signs = [1, -1, -1, 1, 1, -1, -1]
    assert [value(text) for text in texts] == [*(sign * math.inf for sign in signs), 0.0]


def test_deep_formulas_do_not_recurse() -> None:
    many = " + ".join(f"x{i}" for i in range(5_000))
    assert formula(parse(many)) == many
    nested = parse("x - (" * 20_000 + "y" + ")" * 20_000)
    assert parse(formula(nested)) is nested
    assert parse("(" * 20_000 + "y" + ")" * 20_000) is symbol("y")
    assert parse("-" * 20_001 + "y") is -symbol("y")


def test_every_function_of_programs_can_be_called_by_name() -> None:
    operators = {*"+-*/^", "neg", "<", "<=", "==", "!=", "if", "time"}
    assert set(FUNCTIONS) - operators <= set(BUILDERS)
