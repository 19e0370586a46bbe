"""Data: contexts, the measurements that describe them, and where they come from."""

from multiscale.data.anndata import from_anndata
from multiscale.data.cells import Cells
from multiscale.data.cells import cells_from_mudata as from_mudata
from multiscale.data.contexts import Contexts, cell_contexts, group_contexts, pair_contexts
from multiscale.data.interventions import Interventions, read_interventions
from multiscale.data.match import Match, match
from multiscale.data.measurements import (
    CountMatrix,
    Data,
    MeasurementTable,
    from_measurements,
    read_measurements,
)
from multiscale.data.readings import Entities, Readings
from multiscale.data.sequences import ALPHABETS, Sequences
from multiscale.data.tables import read_table

__all__ = [
    "ALPHABETS",
    "Cells",
    "Contexts",
    "CountMatrix",
    "Data",
    "Entities",
    "Interventions",
    "Match",
    "MeasurementTable",
    "Readings",
    "Sequences",
    "cell_contexts",
    "from_anndata",
    "from_measurements",
    "from_mudata",
    "group_contexts",
    "match",
    "pair_contexts",
    "read_interventions",
    "read_measurements",
    "read_table",
]
