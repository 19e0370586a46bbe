"""Fitting and judging: objective, optimisers, uncertainty, controls, results.

Names are loaded when they are first used, so that parts which do not need tensors load without them.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiscale.fit.api import fit
    from multiscale.fit.cells.result import CellResult
    from multiscale.fit.holdout import Evaluation, Settings, cross_validate, paired_bootstrap
    from multiscale.fit.molecular.result import MolecularResult
    from multiscale.fit.optimise import Optimum
    from multiscale.fit.result import Result

_HOMES = {
    "CellResult": "cells.result",
    "Evaluation": "holdout",
    "MolecularResult": "molecular.result",
    "Optimum": "optimise",
    "Result": "result",
    "Settings": "holdout",
    "cross_validate": "holdout",
    "fit": "api",
    "paired_bootstrap": "holdout",
}

__all__ = [
    "CellResult",
    "Evaluation",
    "MolecularResult",
    "Optimum",
    "Result",
    "Settings",
    "cross_validate",
    "fit",
    "paired_bootstrap",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")


class _CallableModule(ModuleType):
    """Keeps `multiscale.fit(problem)` a call although importing this package binds the same name to it."""

    def __call__(self, *args: Any, **kwargs: Any) -> "Result | MolecularResult | CellResult":
        from multiscale.fit.api import fit

        return fit(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
