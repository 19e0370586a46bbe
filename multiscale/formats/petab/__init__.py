"""PEtab: parameter estimation problems of a model, experiments and measurements."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiscale.formats.petab.from_graph import petab_from_graph
    from multiscale.formats.petab.priors import Prior
    from multiscale.formats.petab.problem import Measurement, Observable, PetabParameter, PetabProblem, Phase
    from multiscale.formats.petab.read import read_petab
    from multiscale.formats.petab.write import write_parameters, write_petab

_HOMES = {
    "Measurement": "problem",
    "Observable": "problem",
    "PetabParameter": "problem",
    "PetabProblem": "problem",
    "Phase": "problem",
    "Prior": "priors",
    "petab_from_graph": "from_graph",
    "read_petab": "read",
    "write_parameters": "write",
    "write_petab": "write",
}

__all__ = [
    "Measurement",
    "Observable",
    "PetabParameter",
    "PetabProblem",
    "Phase",
    "Prior",
    "petab_from_graph",
    "read_petab",
    "write_parameters",
    "write_petab",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
