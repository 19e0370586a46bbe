"""The TOML file of a fit, checked before anything runs."""

from multiscale.config.cells import CellAssay, CellHoldout, CellsSection, ModelSection
from multiscale.config.config import (
    CELL_FILES,
    CELLS_ONLY,
    FILES,
    OPTION_FILES,
    READINGS_ONLY,
    SEARCH_ONLY,
    Config,
    Controls,
    DataSection,
    Fit,
    Holdout,
    SolverSection,
    Uncertainty,
    read_config,
    with_paths,
)
from multiscale.config.readings import (
    Condition,
    EncoderSection,
    HoldoutRows,
    ReadingsSection,
    SequenceSection,
)
from multiscale.config.section import AssaySection, TableSection

__all__ = [
    "CELLS_ONLY",
    "CELL_FILES",
    "FILES",
    "OPTION_FILES",
    "READINGS_ONLY",
    "SEARCH_ONLY",
    "AssaySection",
    "CellAssay",
    "CellHoldout",
    "CellsSection",
    "Condition",
    "Config",
    "Controls",
    "DataSection",
    "EncoderSection",
    "Fit",
    "Holdout",
    "HoldoutRows",
    "ModelSection",
    "ReadingsSection",
    "SequenceSection",
    "SolverSection",
    "TableSection",
    "Uncertainty",
    "read_config",
    "with_paths",
]
