"""Equations of models: expressions, formulas, derivatives, programs, and the interpreter that runs them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from multiscale.equations.builders import BUILDERS
from multiscale.equations.derivative import derivatives, sparse_program
from multiscale.equations.expression import ONE, TIME, ZERO, Expression, apply, number, substitute, symbol
from multiscale.equations.formula import formula, parse
from multiscale.equations.functions import FUNCTIONS
from multiscale.equations.hybrid import HybridEvent, HybridSystem, Sparse
from multiscale.equations.model import (
    Compartment,
    Equations,
    Event,
    Parameter,
    Participant,
    Process,
    Species,
)
from multiscale.equations.program import Program, compile_program

if TYPE_CHECKING:
    from multiscale.equations.machine import Code, code_of, evaluate, evaluate_torch, run

__all__ = [
    "BUILDERS",
    "FUNCTIONS",
    "ONE",
    "TIME",
    "ZERO",
    "Code",
    "Compartment",
    "Equations",
    "Event",
    "Expression",
    "HybridEvent",
    "HybridSystem",
    "Parameter",
    "Participant",
    "Process",
    "Program",
    "Sparse",
    "Species",
    "apply",
    "code_of",
    "compile_program",
    "derivatives",
    "evaluate",
    "evaluate_torch",
    "formula",
    "number",
    "parse",
    "run",
    "sparse_program",
    "substitute",
    "symbol",
]

_OF_MACHINE = (
    "Code",
    "code_of",
    "evaluate",
    "evaluate_torch",
    "run",
)  # numba is loaded when one of these is used


def __getattr__(name: str) -> Any:
    if name not in _OF_MACHINE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("multiscale.equations.machine"), name)
