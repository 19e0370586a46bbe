"""Graph and data as one differentiable model: theta → state → log density."""

from multiscale.model.model import Model, State
from multiscale.model.parameters import Block, ParameterTable
from multiscale.model.problem import Priors, Problem

__all__ = ["Block", "Model", "ParameterTable", "Priors", "Problem", "State"]
