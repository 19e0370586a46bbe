"""Kinetic regimes: the reactions of a graph as a system, and what contexts change of it."""

from multiscale.model.kinetics.system import TEMPERATURE, Kinetics

__all__ = ["TEMPERATURE", "Kinetics"]
