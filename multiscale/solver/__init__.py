"""Solvers: they know functions, Jacobians and parameters, and no biology."""

from multiscale.solver.equilibrium import Equilibrium, equilibrium
from multiscale.solver.status import Status

__all__ = ["Equilibrium", "Status", "equilibrium"]
