"""SBML: models of other programs read, and models written for them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiscale.formats.sbml.graph import equations_to_graph, read_sbml
    from multiscale.formats.sbml.read import read_equations
    from multiscale.formats.sbml.write import equations_to_sbml, write_sbml

_HOMES = {
    "equations_to_graph": "graph",
    "equations_to_sbml": "write",
    "read_equations": "read",
    "read_sbml": "graph",
    "write_sbml": "write",
}

__all__ = ["equations_to_graph", "equations_to_sbml", "read_equations", "read_sbml", "write_sbml"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
