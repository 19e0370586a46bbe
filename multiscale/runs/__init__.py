"""From the TOML file of a fit to the folder of its run, and on from there: resume, export, report.

Loaded when first used: problems in PEtab format need neither PyTorch nor the report.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiscale.runs.problem import problem_from_config
    from multiscale.runs.store import export_run, read_run

_HOMES = {"export_run": "store", "problem_from_config": "problem", "read_run": "store"}

__all__ = ["export_run", "problem_from_config", "read_run"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
