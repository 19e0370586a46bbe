"""Pictures of fits and simulations: each takes `ax=None`, draws, and returns axes; none shows or saves."""

from __future__ import annotations

from multiscale.report.cell_checks import checks
from multiscale.report.cell_curves import response, training
from multiscale.report.cell_groups import group
from multiscale.report.cells import embedding
from multiscale.report.courses import courses, fits
from multiscale.report.estimates import energies, parameters, profile, waterfall
from multiscale.report.judgement import calibration, controls
from multiscale.report.network import network
from multiscale.report.scores import predicted, readout
from multiscale.report.trajectories import trajectory
from multiscale.report.variants import mutations, widths

__all__ = [
    "calibration",
    "checks",
    "controls",
    "courses",
    "embedding",
    "energies",
    "fits",
    "group",
    "mutations",
    "network",
    "parameters",
    "predicted",
    "profile",
    "readout",
    "response",
    "training",
    "trajectory",
    "waterfall",
    "widths",
]
