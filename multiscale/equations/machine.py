"""The interpreter of programs: compiled once, for all models; and the same programs on tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from multiscale.equations.functions import CODES, FUNCTIONS, digamma, trigamma
from multiscale.equations.program import Program

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Code", "code_of", "evaluate", "evaluate_torch", "registers_of", "run"]

_compiled = njit(cache=True, nogil=True, error_model="numpy")
_digamma = _compiled(digamma)
_trigamma = _compiled(trigamma)

ADD, SUBTRACT, MULTIPLY, DIVIDE, POWER = (CODES[name] for name in "+-*/^")
NEGATE, EXP, LN, SQRT, ABS = (CODES[name] for name in ("neg", "exp", "ln", "sqrt", "abs"))
FLOOR, CEIL, SIGN = (CODES[name] for name in ("floor", "ceil", "sign"))
SIN, COS, TAN, ARCSIN, ARCCOS, ARCTAN = (
    CODES[name] for name in ("sin", "cos", "tan", "arcsin", "arccos", "arctan")
)
SINH, COSH, TANH, ARCSINH, ARCCOSH, ARCTANH = (
    CODES[name] for name in ("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh")
)
GAMMA, DIGAMMA, TRIGAMMA = (CODES[name] for name in ("gamma", "digamma", "trigamma"))
MIN, MAX, LESS, LESS_EQUAL, EQUAL, UNEQUAL = (CODES[name] for name in ("min", "max", "<", "<=", "==", "!="))
AND, OR, NOT, IF = (CODES[name] for name in ("and", "or", "not", "if"))


class Code(NamedTuple):
    """A program as compiled code takes it; the meaning of the arrays is that of `Program`."""

    inputs: int
    constants: np.ndarray
    code: np.ndarray
    outputs: np.ndarray


def code_of(program: Program) -> Code:
    """Return the arrays of a program."""
    return Code(program.inputs, program.constants, program.code, program.outputs)


@_compiled
def registers_of(code: Code) -> np.ndarray:
    """Return registers that hold the constants of a program; the first `inputs` are for the caller to set."""
    first = code.inputs + code.constants.shape[0]
    registers = np.empty(first + code.code.shape[0])
    registers[: code.inputs] = np.nan
    registers[code.inputs : first] = code.constants
    return registers


@_compiled
def _binary(operation: int, a: float, b: float) -> float:
    """Functions of two numbers that are rarer than the four operations."""
    if operation == POWER:
        return a**b
    if operation == LESS:
        return 1.0 if a < b else 0.0
    if operation == LESS_EQUAL:
        return 1.0 if a <= b else 0.0
    if operation == EQUAL:
        return 1.0 if a == b else 0.0
    if operation == UNEQUAL:
        return 1.0 if a != b else 0.0
    if operation == AND:
        return 1.0 if a != 0.0 and b != 0.0 else 0.0
    if operation == OR:
        return 1.0 if a != 0.0 or b != 0.0 else 0.0
    if a != a or b != b:
        return np.nan
    if operation == MIN:
        return min(a, b)
    return max(a, b)


@_compiled
def _elementary(operation: int, a: float) -> float:
    """Functions of one number that are frequent in rates."""
    if operation == NEGATE:
        return -a
    if operation == EXP:
        return np.exp(a)
    if operation == LN:
        return np.log(a)
    if operation == SQRT:
        return np.sqrt(a)
    if operation == ABS:
        return abs(a)
    if operation == NOT:
        return 1.0 if a == 0.0 else 0.0
    if operation == SIGN:
        return np.sign(a)
    if operation == FLOOR:
        return np.floor(a)
    if operation == CEIL:
        return np.ceil(a)
    return _transcendental(operation, a)


@_compiled
def _transcendental(operation: int, a: float) -> float:
    """Circular and hyperbolic functions, their inverses, and the gamma function."""
    if operation == SIN:
        return np.sin(a)
    if operation == COS:
        return np.cos(a)
    if operation == TAN:
        return np.tan(a)
    if operation == ARCSIN:
        return np.arcsin(a)
    if operation == ARCCOS:
        return np.arccos(a)
    if operation == ARCTAN:
        return np.arctan(a)
    if operation == SINH:
        return np.sinh(a)
    if operation == COSH:
        return np.cosh(a)
    if operation == TANH:
        return np.tanh(a)
    return _inverse_hyperbolic(operation, a)


@_compiled
def _inverse_hyperbolic(operation: int, a: float) -> float:
    if operation == ARCSINH:
        return np.arcsinh(a)
    if operation == ARCCOSH:
        return np.arccosh(a)
    if operation == ARCTANH:
        return np.arctanh(a)
    if operation == DIGAMMA:
        return _digamma(a)
    if operation == TRIGAMMA:
        return _trigamma(a)
    return np.nan if a <= 0.0 and a % 1.0 == 0.0 else _gamma(a)


@_compiled
def _gamma(a: float) -> float:
    return math.gamma(a)


@njit(nogil=True, error_model="numpy", inline="always")
def _read(code: np.ndarray, registers: np.ndarray, row: int, position: int) -> float:
    """Value of an argument; an unsigned index spares the check for indices from the end."""
    return registers[np.uint64(code[row, position])]


@_compiled
def _other(code: np.ndarray, registers: np.ndarray, row: int) -> float:
    """Result of an operation that is none of the four."""
    operation = code[row, 0]
    a, b = _read(code, registers, row, 1), _read(code, registers, row, 2)
    if operation == IF:
        return b if a != 0.0 else _read(code, registers, row, 3)
    if operation == POWER or MIN <= operation <= OR:
        return _binary(operation, a, b)
    return _elementary(operation, a)


@_compiled
def run(code: np.ndarray, registers: np.ndarray) -> None:
    """Execute operations.

    Args:
        code: `Code.code`, shape (operation, 4).
        registers: inputs, constants, and room for one result per operation; the results are written.
    """
    count = code.shape[0]
    first = registers.shape[0] - count
    row = 0
    while row < count:
        if (
            code[row, 0] == MULTIPLY
        ):  # programs keep equal operations together, so that the loops inside are long
            while row < count and code[row, 0] == MULTIPLY:
                a, b = _read(code, registers, row, 1), _read(code, registers, row, 2)
                registers[np.uint64(first + row)] = a * b
                row += 1
        elif code[row, 0] == ADD:
            while row < count and code[row, 0] == ADD:
                a, b = _read(code, registers, row, 1), _read(code, registers, row, 2)
                registers[np.uint64(first + row)] = a + b
                row += 1
        elif code[row, 0] == SUBTRACT:
            while row < count and code[row, 0] == SUBTRACT:
                a, b = _read(code, registers, row, 1), _read(code, registers, row, 2)
                registers[np.uint64(first + row)] = a - b
                row += 1
        elif code[row, 0] == DIVIDE:
            while row < count and code[row, 0] == DIVIDE:
                a, b = _read(code, registers, row, 1), _read(code, registers, row, 2)
                registers[np.uint64(first + row)] = a / b
                row += 1
        else:
            registers[np.uint64(first + row)] = _other(code, registers, row)
            row += 1


@_compiled
def _evaluate(code: Code, inputs: np.ndarray, outputs: np.ndarray) -> None:
    registers = registers_of(code)
    for row in range(inputs.shape[0]):
        registers[: code.inputs] = inputs[row]
        run(code.code, registers)
        for position in range(code.outputs.shape[0]):
            outputs[row, position] = registers[code.outputs[position]]


def evaluate(program: Program, inputs: np.ndarray) -> np.ndarray:
    """Run a program on many inputs.

    Args:
        program: any.
        inputs: shape (..., input).

    Returns:
        Shape (..., output).

    Raises:
        ValueError: the last axis does not have the length that the program reads.
    """
    inputs = np.asarray(inputs, dtype=np.float64)
    if inputs.shape[-1] != program.inputs:
        raise ValueError(f"`inputs` must have {program.inputs} columns; got shape {inputs.shape}")
    rows = np.ascontiguousarray(inputs).reshape(math.prod(inputs.shape[:-1]), program.inputs)
    outputs = np.empty((len(rows), len(program.outputs)))
    _evaluate(code_of(program), rows, outputs)
    return outputs.reshape(*inputs.shape[:-1], len(program.outputs))


def evaluate_torch(program: Program, inputs: Tensor) -> Tensor:
    """Run a program on tensors: slow, on any device, differentiable; what `evaluate` is tested against.

    Args:
        program: any.
        inputs: shape (..., input).

    Returns:
        Shape (..., output).
    """
    import torch

    operations = _on_tensors()
    names = list(CODES)
    registers = list(inputs.unbind(-1))
    registers += [inputs.new_full(inputs.shape[:-1], value) for value in program.constants.tolist()]
    for operation, *arguments in program.code.tolist():
        name = names[operation]
        registers.append(operations[name](*(registers[i] for i in arguments[: FUNCTIONS[name].arity])))
    if not len(program.outputs):
        return inputs.new_zeros((*inputs.shape[:-1], 0))
    return torch.stack([registers[i] for i in program.outputs.tolist()], dim=-1)


def _on_tensors() -> dict[str, Callable[..., Tensor]]:
    """All functions of programs on tensors."""
    import torch

    def truth(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *a: function(*a).to(a[0].dtype)

    def gamma(a: Tensor) -> Tensor:
        sign = torch.where((a < 0) & (torch.floor(a) % 2 != 0), -1.0, 1.0).to(a.dtype)
        pole = (a <= 0) & (a == torch.floor(a))
        return torch.where(pole, torch.nan, sign * torch.exp(torch.lgamma(a)))

    named = ("exp", "sqrt", "abs", "floor", "ceil", "sin", "cos", "tan", "sinh", "cosh", "tanh", "digamma")
    inverse = ("arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh")
    return {name: getattr(torch, name) for name in (*named, *inverse)} | {
        "+": torch.add,
        "-": torch.sub,
        "*": torch.mul,
        "/": torch.div,
        "^": torch.pow,
        "neg": torch.neg,
        "ln": torch.log,
        "sign": lambda a: torch.where(torch.isnan(a), a, torch.sign(a)),
        "gamma": gamma,
        "trigamma": lambda a: torch.special.polygamma(1, a),
        "min": lambda a, b: torch.where((a < b) | torch.isnan(a), a, b),  # of equal ones the second, as in
        "max": lambda a, b: torch.where((a > b) | torch.isnan(a), a, b),  # derivatives; torch takes the mean
        "<": truth(torch.lt),
        "<=": truth(torch.le),
        "==": truth(torch.eq),
        "!=": truth(torch.ne),
        "and": truth(lambda a, b: (a != 0) & (b != 0)),
        "or": truth(lambda a, b: (a != 0) | (b != 0)),
        "not": truth(lambda a: a == 0),
        "if": lambda condition, a, b: torch.where(condition != 0, a, b),
    }
