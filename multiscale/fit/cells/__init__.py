"""Fits of single cells: minibatches, amortised posteriors, predictions."""

from multiscale.fit.cells.predict import CellPrediction
from multiscale.fit.cells.result import CellResult
from multiscale.fit.cells.states import CellStates

__all__ = ["CellPrediction", "CellResult", "CellStates"]
