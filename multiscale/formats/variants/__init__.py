"""Tables of variants, affinities and titrations, and the design tables of models of scans."""

from multiscale.formats.variants.affinities import long_table, split_marks
from multiscale.formats.variants.file import read_variant_table
from multiscale.formats.variants.holdout import Holdout
from multiscale.formats.variants.model_design import (
    ModelDesign,
    Phenotype,
    graph_from_model_design,
    read_model_design,
)
from multiscale.formats.variants.notation import sequences_of_mutations
from multiscale.formats.variants.sequence_columns import SequenceColumn
from multiscale.formats.variants.tables import FORMATS, read_readings
from multiscale.formats.variants.write import energy_positions, variants_anndata, write_energy_positions

__all__ = [
    "FORMATS",
    "Holdout",
    "ModelDesign",
    "Phenotype",
    "SequenceColumn",
    "energy_positions",
    "graph_from_model_design",
    "long_table",
    "read_model_design",
    "read_readings",
    "read_variant_table",
    "sequences_of_mutations",
    "split_marks",
    "variants_anndata",
    "write_energy_positions",
]
