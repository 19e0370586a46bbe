"""Fitting and judging: objective, optimisers, uncertainty, controls, results."""

import sys
from types import ModuleType
from typing import Any

from multiscale.fit.api import fit
from multiscale.fit.holdout import Evaluation, Settings, cross_validate, paired_bootstrap
from multiscale.fit.optimise import Optimum
from multiscale.fit.result import Result

__all__ = [
    "Evaluation",
    "Optimum",
    "Result",
    "Settings",
    "cross_validate",
    "fit",
    "paired_bootstrap",
]


class _CallableModule(ModuleType):
    """Keeps `multiscale.fit(problem)` a call although importing this package binds the same name to it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        return fit(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
