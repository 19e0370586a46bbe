"""Solvers: they know functions, Jacobians and parameters, and no biology."""

from multiscale.solver.equilibrium import Equilibrium, equilibrium
from multiscale.solver.events import Event, Timed, dose
from multiscale.solver.rapid import RapidEquilibrium
from multiscale.solver.status import Status
from multiscale.solver.steady import SteadyState, steady_state
from multiscale.solver.system import Point, System
from multiscale.solver.time_course import TimeCourse, sensitivities, time_course

__all__ = [
    "Equilibrium",
    "Event",
    "Point",
    "RapidEquilibrium",
    "Status",
    "SteadyState",
    "System",
    "TimeCourse",
    "Timed",
    "dose",
    "equilibrium",
    "sensitivities",
    "steady_state",
    "time_course",
]
