"""One file per format, reading and writing together."""

from multiscale.formats import anndata, cx2, cyjs, graphml, hetero, sif, tables, weights
from multiscale.formats.exchange import Network
from multiscale.formats.network import FORMATS, export

__all__ = [
    "FORMATS",
    "Network",
    "anndata",
    "cx2",
    "cyjs",
    "export",
    "graphml",
    "hetero",
    "sif",
    "tables",
    "weights",
]
