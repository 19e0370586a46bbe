"""Pictures of fits and simulations: each takes `ax=None`, draws, and returns axes; none shows or saves."""

from __future__ import annotations

from multiscale.report.courses import courses, fits
from multiscale.report.estimates import energies, parameters, profile, waterfall
from multiscale.report.judgement import calibration, controls
from multiscale.report.network import network
from multiscale.report.scores import predicted, readout
from multiscale.report.trajectories import trajectory
from multiscale.report.variants import mutations, widths

__all__ = [
    "calibration",
    "controls",
    "courses",
    "energies",
    "fits",
    "mutations",
    "network",
    "parameters",
    "predicted",
    "profile",
    "readout",
    "trajectory",
    "waterfall",
    "widths",
]
