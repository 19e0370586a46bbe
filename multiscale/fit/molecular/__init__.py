"""Fits of the molecular scale: exact curvature by structure, learned priors, intervals of rows."""

from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.molecular.result import MolecularResult

__all__ = ["MolecularPosterior", "MolecularResult"]
