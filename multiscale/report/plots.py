"""Pictures of fits: each takes `ax=None`, draws, and returns the axes; none shows or saves anything."""

from __future__ import annotations

from multiscale.report.estimates import energies, profile, waterfall
from multiscale.report.judgement import calibration, controls
from multiscale.report.network import network

__all__ = ["calibration", "controls", "energies", "network", "profile", "waterfall"]
