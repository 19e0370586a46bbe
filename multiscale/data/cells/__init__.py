"""Single cells: modalities in memory or on disk, read in minibatches."""

from multiscale.data.cells.anndata import cells_from_anndata
from multiscale.data.cells.cells import Cells, Codes, Modality, Source
from multiscale.data.cells.loader import Loader
from multiscale.data.cells.minibatch import CellBatch
from multiscale.data.cells.mudata import cells_from_mudata
from multiscale.data.cells.order import epoch_order, sequential_order
from multiscale.data.cells.registry import Registered, Registry
from multiscale.data.cells.source import InMemory, OnDisk

__all__ = [
    "CellBatch",
    "Cells",
    "Codes",
    "InMemory",
    "Loader",
    "Modality",
    "OnDisk",
    "Registered",
    "Registry",
    "Source",
    "cells_from_anndata",
    "cells_from_mudata",
    "epoch_order",
    "sequential_order",
]
