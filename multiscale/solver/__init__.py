"""Solvers: they know functions, Jacobians and parameters, and no biology.

Names are loaded when they are first used: not every solver needs tensors.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiscale.solver.equilibrium import Equilibrium, equilibrium
    from multiscale.solver.events import Event, Timed, dose
    from multiscale.solver.rapid import RapidEquilibrium
    from multiscale.solver.status import Status
    from multiscale.solver.steady import SteadyState, steady_state
    from multiscale.solver.system import Point, System
    from multiscale.solver.time_course import TimeCourse, sensitivities, time_course

_HOMES = {
    "Equilibrium": "equilibrium",
    "Event": "events",
    "Point": "system",
    "RapidEquilibrium": "rapid",
    "Status": "status",
    "SteadyState": "steady",
    "System": "system",
    "TimeCourse": "time_course",
    "Timed": "events",
    "dose": "events",
    "equilibrium": "equilibrium",
    "sensitivities": "time_course",
    "steady_state": "steady",
    "time_course": "time_course",
}

__all__ = [
    "Equilibrium",
    "Event",
    "Point",
    "RapidEquilibrium",
    "Status",
    "SteadyState",
    "System",
    "TimeCourse",
    "Timed",
    "dose",
    "equilibrium",
    "sensitivities",
    "steady_state",
    "time_course",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


class _Functions(ModuleType):
    """Keeps `equilibrium` and `time_course` functions when the files of these names are loaded."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Functions
