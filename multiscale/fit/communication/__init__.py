"""Communication between groups of cells: complexes by mass action, downstream evidence, product scores."""

from multiscale.fit.communication.infer import communication
from multiscale.fit.communication.table import COLUMNS, Communication

__all__ = ["COLUMNS", "Communication", "communication"]
