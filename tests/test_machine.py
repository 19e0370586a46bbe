"""The interpreter of programs: against the same programs on tensors, against Python, and as compiled code."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy import special

from multiscale.equations import FUNCTIONS, TIME, Expression, apply, number, parse, symbol
from multiscale.equations.expression import ordered
from multiscale.equations.functions import digamma, trigamma
from multiscale.equations.machine import code_of, evaluate, evaluate_torch, registers_of, run
from multiscale.equations.program import Program, compile_program

ARGUMENTS = [symbol(name) for name in "abc"]
POINTS = [-math.inf, -3.0, -2.5, -1.0, -0.5, 0.0, 0.3, 0.5, 1.0, 2.0, 2.5, 7.1, math.inf, math.nan]
APPLICABLE = sorted(name for name, function in FUNCTIONS.items() if function.arity)


def program_of(name: str) -> Program:
    arity = FUNCTIONS[name].arity
    return compile_program(
        [apply(name, *ARGUMENTS[:arity])], {a: i for i, a in enumerate(ARGUMENTS[:arity])}, arity
    )


def points(name: str) -> np.ndarray:
    grid = np.meshgrid(*[POINTS] * FUNCTIONS[name].arity, indexing="ij")
    return np.stack([axis.ravel() for axis in grid], axis=-1)


@pytest.mark.parametrize("name", APPLICABLE)
def test_every_function_agrees_with_its_definition(name: str) -> None:
    inputs = points(name)
    found = evaluate(program_of(name), inputs)[:, 0]
    expected = np.array([FUNCTIONS[name].value(*row) for row in inputs.tolist()])
    known = np.isfinite(expected)
    np.testing.assert_allclose(found[known], expected[known], rtol=4e-15, atol=1e-15)
    finite = np.isfinite(inputs).all(axis=1)
    assert not np.isfinite(found[finite & ~known]).any()


@pytest.mark.parametrize("name", APPLICABLE)
def test_every_function_is_the_same_on_tensors(name: str) -> None:
    inputs = points(name)
    if "gamma" in name:  # conventions differ at the poles
        inputs = inputs[(inputs[:, 0] > 0) | (np.floor(inputs[:, 0]) != inputs[:, 0])]
    found = evaluate(program_of(name), inputs)[:, 0]
    tensors = evaluate_torch(program_of(name), torch.tensor(inputs))[:, 0].numpy()
    rtol = 1e-9 if name == "trigamma" else 2e-13  # of torch.special.polygamma
    np.testing.assert_allclose(found, tensors, rtol=rtol, atol=1e-14)


@pytest.mark.parametrize(
    "place", [1e-300, 0.1, 1.0, 1.4616321449683623, 9.9, 50.0, 1e10, -0.3, -7.5, -1000.25]
)
def test_derivatives_of_the_gamma_function_agree_with_scipy(place: float) -> None:
    assert digamma(place) == pytest.approx(special.digamma(place), rel=1e-11, abs=1e-14)
    exact = (
        special.zeta(2, place)
        if place > 0
        else (np.pi / np.sin(np.pi * place)) ** 2 - special.zeta(2, 1 - place)
    )
    assert trigamma(place) == pytest.approx(exact, rel=1e-11)


def test_derivatives_of_the_gamma_function_have_no_value_at_its_poles() -> None:
    assert all(math.isnan(f(a)) for f in (digamma, trigamma) for a in (0.0, -1.0, -1e300))


def applications(arguments: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    return st.one_of(
        st.builds(apply, st.sampled_from(["neg", "sin", "abs", "not"]), arguments),
        st.builds(apply, st.sampled_from(["+", "-", "*", "/", "<", "max", "or"]), arguments, arguments),
        st.builds(lambda *a: apply("if", *a), arguments, arguments, arguments),
    )


EXPRESSIONS = st.recursive(
    st.sampled_from([*ARGUMENTS, number(2), number(-0.5)]), applications, max_leaves=25
)


@settings(max_examples=200, deadline=None)
@given(st.lists(EXPRESSIONS, min_size=1, max_size=4), st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_programs_give_what_their_expressions_say(roots: list[Expression], point: list[float]) -> None:
    values = {id(a): x for a, x in zip(ARGUMENTS, point, strict=True)}
    for node in ordered(roots):
        known = values.get(id(node), node.value)
        arguments = (values[id(a)] for a in node.arguments)
        values[id(node)] = FUNCTIONS[node.function].value(*arguments) if known is None else known
    program = compile_program(roots, {a: i for i, a in enumerate(ARGUMENTS)}, 3)
    np.testing.assert_allclose(
        evaluate(program, np.array(point)), [values[id(root)] for root in roots], rtol=1e-14
    )


def test_operations_of_one_kind_follow_each_other() -> None:
    terms = [apply("/", a, b) + a * b for a in ARGUMENTS for b in ARGUMENTS if a is not b]
    code = compile_program(terms, {a: i for i, a in enumerate(ARGUMENTS)}, 3).code
    assert len(code) == 18 and np.count_nonzero(np.diff(code[:, 0])) == 2


def test_all_leading_axes_are_kept() -> None:
    program = compile_program([parse("a + b"), parse("a"), parse("7")], {ARGUMENTS[0]: 0, ARGUMENTS[1]: 1}, 2)
    inputs = np.arange(24.0).reshape(2, 3, 2, 2)[:, :, ::-1]
    found = evaluate(program, inputs)
    np.testing.assert_array_equal(found[..., 0], inputs.sum(axis=-1))
    np.testing.assert_array_equal(found[..., 2], np.full((2, 3, 2), 7.0))
    np.testing.assert_array_equal(evaluate_torch(program, torch.tensor(inputs.copy())).numpy(), found)


def test_programs_without_inputs_or_outputs_run() -> None:
    np.testing.assert_array_equal(
        evaluate(compile_program([parse("1 / 0")], {}, 0), np.zeros((2, 0))), [[np.inf]] * 2
    )
    assert evaluate(compile_program([], {}, 0), np.zeros((2, 0))).shape == (2, 0)
    assert evaluate_torch(compile_program([], {}, 0), torch.zeros(2, 0)).shape == (2, 0)


def test_inputs_of_a_wrong_width_are_refused() -> None:
    with pytest.raises(ValueError, match="`inputs` must have 1 columns"):
        evaluate(program_of("exp"), np.zeros((4, 2)))


@pytest.mark.parametrize("expression", [symbol("absent"), TIME])
def test_what_is_no_input_of_a_program_is_named(expression: Expression) -> None:
    with pytest.raises(KeyError, match=expression.name or "time"):
        compile_program([expression + ARGUMENTS[0]], {ARGUMENTS[0]: 0}, 1)


def test_other_kernels_call_the_interpreter() -> None:
    @njit
    def accumulated(code, start, times):
        registers = registers_of(code)
        registers[0] = start
        for _ in range(times):
            run(code.code, registers)
            registers[0] = registers[code.outputs[0]]
        return registers[0]

    code = code_of(compile_program([parse("2 * a + 1")], {ARGUMENTS[0]: 0}, 1))
    assert accumulated(code, 0.0, 10) == 1023.0


def test_programs_on_tensors_pass_gradcheck() -> None:
    text = "gamma(a) / gamma(b) + max(a, b) * c^a - piecewise(a * c, a < b, digamma(c)) + arctanh(b / 4)"
    program = compile_program([parse(text)], {a: i for i, a in enumerate(ARGUMENTS)}, 3)
    inputs = torch.tensor([[0.7, 1.9, 1.3], [2.2, 0.6, 0.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: evaluate_torch(program, x), inputs)


def test_importing_equations_loads_neither_torch_nor_scipy() -> None:
    code = "import sys, multiscale.equations; print(*sorted({'torch', 'scipy', 'numba'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
