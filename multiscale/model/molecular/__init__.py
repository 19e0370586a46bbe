"""The molecular scale: graphs of states and complexes, read row by row."""

from multiscale.model.molecular.model import MolecularModel, RowModel
from multiscale.model.molecular.problem import MolecularProblem

__all__ = ["MolecularModel", "MolecularProblem", "RowModel"]
