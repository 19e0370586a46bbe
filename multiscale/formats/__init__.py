"""One file per format, reading and writing together; each is loaded when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiscale.formats import anndata, cx2, cyjs, graphml, hetero, sif, tables, variants, weights
    from multiscale.formats.exchange import Network
    from multiscale.formats.network import FORMATS, export
    from multiscale.formats.reading import load

_HOMES = {"FORMATS": "network", "Network": "exchange", "export": "network", "load": "reading"}
_MODULES = ("anndata", "cx2", "cyjs", "graphml", "hetero", "sif", "tables", "variants", "weights")

__all__ = [
    "FORMATS",
    "Network",
    "anndata",
    "cx2",
    "cyjs",
    "export",
    "graphml",
    "hetero",
    "load",
    "sif",
    "tables",
    "variants",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
