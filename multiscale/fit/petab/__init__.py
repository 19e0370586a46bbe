"""PEtab problems as functions of their unknown parameters, and fits of these from many starts."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiscale.fit.petab.multistart import Settings as PetabSettings
    from multiscale.fit.petab.objective import Objective as PetabObjective
    from multiscale.fit.petab.result import PetabFit, fit_petab

_HOMES = {
    "PetabFit": ("result", "PetabFit"),
    "PetabObjective": ("objective", "Objective"),
    "PetabSettings": ("multistart", "Settings"),
    "fit_petab": ("result", "fit_petab"),
}

__all__ = ["PetabFit", "PetabObjective", "PetabSettings", "fit_petab"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, inner = _HOMES[name]
        return getattr(import_module(f"{__name__}.{module}"), inner)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
