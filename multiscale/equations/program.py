"""Expressions as straight-line programs: integer arrays that an interpreter runs, with nothing to compile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multiscale.equations.expression import Expression, ordered
from multiscale.equations.functions import CODES
from multiscale.equations.schedule import grouped

__all__ = ["Program", "compile_program"]


@dataclass(frozen=True, eq=False)
class Program:
    """A list of operations on registers.

    Registers hold the inputs, then the constants, then one result per operation: operation i writes register
    `inputs + len(constants) + i`.

    Args:
        inputs: how many numbers it reads.
        constants: numbers it contains, shape (constant,).
        code: per operation its number in `CODES` and the registers of up to three arguments, shape
            (operation, 4), int64.
        outputs: registers of the results, shape (output,), int64.
    """

    inputs: int
    constants: np.ndarray
    code: np.ndarray
    outputs: np.ndarray

    @property
    def registers(self) -> int:
        """How many registers it needs."""
        return self.inputs + len(self.constants) + len(self.code)


def compile_program(roots: Sequence[Expression], inputs: Mapping[Expression, int], count: int) -> Program:
    """Compile expressions.

    Args:
        roots: results, in order.
        inputs: position of the symbols (and of time) among the inputs.
        count: how many inputs there are.

    Raises:
        KeyError: an expression has a symbol that is no input.
    """
    nodes = [node for node in ordered(roots) if node not in inputs]
    constants = [node for node in nodes if node.function == "number"]
    operations = grouped([node for node in nodes if node.function != "number"])
    place = {id(node): position for node, position in inputs.items()}
    place |= {id(node): count + i for i, node in enumerate([*constants, *operations])}
    code = np.zeros((len(operations), 4), dtype=np.int64)
    for row, node in zip(code, operations, strict=True):
        row[0] = CODES[node.function if node.function not in ("symbol", "time") else _unknown(node)]
        row[1 : 1 + len(node.arguments)] = [place[id(argument)] for argument in node.arguments]
    values = np.array([node.content for node in constants], dtype=np.float64)
    return Program(count, values, code, np.array([place[id(root)] for root in roots], dtype=np.int64))


def _unknown(node: Expression) -> str:
    raise KeyError(f"`{node.content or 'time'}` is no input of the program")
