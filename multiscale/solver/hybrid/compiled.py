"""The programs of a hybrid system as a few flat arrays, of which compiled loops take parts.

Every program has registers of its own in one array, so that parameters and truth values are written once per
system and only time and states once per evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from multiscale.equations.hybrid import HybridSystem, Sparse
from multiscale.solver.ordering import analyse

__all__ = [
    "JACOBIAN",
    "LINEAR",
    "RATE",
    "ROOTS",
    "SECOND",
    "Compiled",
    "Kernel",
    "allocating",
    "compile_system",
    "copy",
    "copy_rows",
    "inlined",
    "jit",
    "plain",
    "set_system",
]

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

_LEAN: dict[str, Any] = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

jit = njit(**{**_OPTIONS, **_LEAN})
"""Compiler of all loops here: dividing by zero gives infinity, as it does in the programs. They allocate
nothing, so that no references to arrays are counted, which would take longer than the arithmetic of a small
system; so they can return no arrays, and none of them is called from outside compiled code."""

inlined = njit(inline="always", error_model="numpy")
"""Compiler of what returns part of an array, which the loops then contain."""

allocating = njit(**_OPTIONS)
"""Compiler of what allocates memory before the loops begin."""

RATE, JACOBIAN, LINEAR, SECOND, ROOTS = range(5)
"""Programs of a kernel."""


class Kernel(NamedTuple):
    """A system as arrays.

    Program k has the code, registers and outputs of rows `table[k, 0]:table[k, 1]`, `table[k, 2]:table[k, 3]`
    and `table[k, 4]:table[k, 5]`; its outputs are counted among its own registers. Its matrices number
    `table[k, 6]` and following; matrix e has the entries `ends[e]:ends[e + 1]`.

    Args:
        states: n.
        parameters: P.
        code: operations of all programs, (operation, 4).
        template: registers of all programs with their constants, NaN elsewhere, (register,).
        outputs: registers of all results, (output,).
        table: (program, 7).
        rows, columns: of all entries of matrices, (entry,).
        places: register of each entry, (entry,).
        ends: (matrix + 1,).
        order: state that is eliminated k-th, (n,).
        rank: when each state is eliminated, (n,).
        kinds: of the conditions, (M,).
    """

    states: int
    parameters: int
    code: np.ndarray
    template: np.ndarray
    outputs: np.ndarray
    table: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    places: np.ndarray
    ends: np.ndarray
    order: np.ndarray
    rank: np.ndarray
    kinds: np.ndarray


@dataclass(frozen=True, eq=False)
class Compiled:
    """A system and its arrays; all systems of one model share them.

    Args:
        system: what was compiled.
        kernel: its arrays.
    """

    system: HybridSystem
    kernel: Kernel


def compile_system(system: HybridSystem) -> Compiled:
    """Lay the programs of a system out in arrays; nothing is compiled for it."""
    sparse = _programs(system)
    programs = [part.program for part in sparse]
    entries = [entry for part in sparse for entry in _entries(part)]
    sizes = [pattern.shape[1] for pattern, _ in entries]
    both = np.concatenate([np.zeros((2, 0), np.int64), *(pattern for pattern, _ in entries)], axis=1)
    order = _order(system)
    kernel = Kernel(
        len(system.states),
        len(system.parameters),
        plain(np.concatenate([program.code.reshape(-1, 4) for program in programs]), np.int64),
        plain(np.concatenate([_registers(part) for part in sparse]), np.float64),
        plain(np.concatenate([program.outputs for program in programs]), np.int64),
        _table(sparse),
        plain(both[0], np.int64),
        plain(both[1], np.int64),
        plain(np.concatenate([np.zeros(0, np.int64), *(places for _, places in entries)]), np.int64),
        plain(np.cumsum([0, *sizes]), np.int64),
        order,
        plain(np.argsort(order), np.int64),
        plain(system.kinds, np.int64),
    )
    return Compiled(system, kernel)


def _programs(system: HybridSystem) -> list[Sparse]:
    """Programs in the order of their numbers."""
    return [system.rate, system.jacobian, system.linear, system.second, system.roots]


def _entries(part: Sparse) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pattern of every matrix of a program, and the registers of its entries."""
    found, first = [], part.values
    for pattern in part.patterns:
        found.append((pattern.reshape(2, -1), part.program.outputs[first : first + pattern.shape[1]]))
        first += pattern.shape[1]
    return found


def _registers(part: Sparse) -> np.ndarray:
    """Registers of a program with its constants, NaN elsewhere."""
    program = part.program
    registers = np.full(program.registers, np.nan)
    registers[program.inputs : program.inputs + len(program.constants)] = program.constants
    return registers


def _table(sparse: list[Sparse]) -> np.ndarray:
    """Where each program begins and ends in the arrays."""
    sizes = [(len(p.program.code), p.program.registers, len(p.program.outputs)) for p in sparse]
    ends = np.cumsum([(0, 0, 0), *sizes], axis=0)
    table = np.zeros((len(sparse), 7), dtype=np.int64)
    table[:, 0:6:2], table[:, 1:6:2] = ends[:-1], ends[1:]
    table[1:, 6] = np.cumsum([len(part.patterns) for part in sparse])[:-1]
    return table


def _order(system: HybridSystem) -> np.ndarray:
    """Order of elimination with little fill-in, (n,)."""
    size = len(system.states)
    if size == 0:
        return np.zeros(0, dtype=np.int64)
    return plain(analyse(system.jacobian.patterns[0], size, small=1).order, np.int64)


def plain(array: np.ndarray, kind: type) -> np.ndarray:
    """The array as compiled loops take it: one type, contiguous, writable."""
    return np.require(array, kind, ["C", "W", "A", "E"])


@jit
def set_system(kernel: Kernel, registers: np.ndarray, p: np.ndarray, modes: np.ndarray) -> None:
    """Write parameters and truth values into the registers of all programs."""
    first = 1 + kernel.states
    for number in range(len(kernel.table)):
        begin = kernel.table[number, 2] + first
        for i in range(len(p)):
            registers[begin + i] = p[i]
        for i in range(len(modes)):
            registers[begin + len(p) + i] = modes[i]


@jit
def copy(source: np.ndarray, to: np.ndarray) -> None:
    """Copy numbers."""
    for i in range(len(to)):
        to[i] = source[i]


@jit
def copy_rows(source: np.ndarray, to: np.ndarray) -> None:
    """Copy numbers of a matrix."""
    for i in range(to.shape[0]):
        for k in range(to.shape[1]):
            to[i, k] = source[i, k]
