"""Models of single cells: latent state, physics, channels."""

from multiscale.model.cells.model import CellModel, Parts
from multiscale.model.cells.physics import CellPhysics, make_physics
from multiscale.model.cells.priors import CellPriors
from multiscale.model.cells.problem import CELL_REGIMES, CellProblem
from multiscale.model.cells.readouts import Readouts
from multiscale.model.cells.state import CellState

__all__ = [
    "CELL_REGIMES",
    "CellModel",
    "CellPhysics",
    "CellPriors",
    "CellProblem",
    "CellState",
    "Parts",
    "Readouts",
    "make_physics",
]
