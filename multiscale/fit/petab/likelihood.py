"""How probable measurements are, given what was simulated: llh, χ², gradient and Fisher information.

With the scale s (identity, ln or log₁₀), the simulation y, the measurement m and the noise σ, the residual is
r = (s(y) − s(m)) / σ and a row adds

- normal noise: −½ ln(2πσ²) − ½ r² + ln s'(m),
- Laplace noise: −ln(2σ) − |r| + ln s'(m).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Evaluated", "Fits", "Likelihood"]

LN10 = float(np.log(10.0))
SCALES = ("lin", "log", "log10")
DISTRIBUTIONS = ("normal", "laplace")


@dataclass(frozen=True)
class Fits:
    """How well rows are explained.

    Args:
        llh: ln of the likelihood of each row, shape (..., row).
        residuals: r, shape (..., row).
    """

    llh: np.ndarray
    residuals: np.ndarray

    @property
    def chi2(self) -> np.ndarray:
        """Sum of the squared residuals, shape (...)."""
        return np.sum(self.residuals**2, axis=-1)


@dataclass(frozen=True)
class Evaluated:
    """Derivatives of the logarithm of the likelihood.

    Args:
        gradient: by the unknowns, shape (q,).
        fisher: expected information, shape (q, q).
    """

    gradient: np.ndarray
    fisher: np.ndarray


class Likelihood:
    """Measured values with their noise models.

    Args:
        measured: values on the linear scale, shape (row,).
        scales: `lin`, `log` or `log10` per row.
        distributions: `normal` or `laplace` per row.

    One measurement that is met exactly, with σ = 1, has the density 1/√(2π):

    >>> fits = Likelihood([3.0], ["lin"], ["normal"]).fits(np.array([3.0]), np.array([1.0]))
    >>> round(float(fits.llh[0]), 6), float(fits.chi2)
    (-0.918939, 0.0)
    """

    def __init__(
        self, measured: Sequence[float] | np.ndarray, scales: Sequence[str], distributions: Sequence[str]
    ) -> None:
        self.measured = np.asarray(measured, dtype=float)
        self.scale = np.array([SCALES.index(name) for name in scales], dtype=int)
        self.laplace = np.array([DISTRIBUTIONS.index(name) == 1 for name in distributions], dtype=bool)
        self._target = self._scaled(self.measured)
        self._slope = np.log(self._derivative(self.measured)) if len(self.measured) else self.measured

    def _scaled(self, y: np.ndarray) -> np.ndarray:
        """Return s(y); NaN where it has no value."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.scale == 0, y, np.log(y) / np.where(self.scale == 2, LN10, 1.0))

    def _derivative(self, y: np.ndarray) -> np.ndarray:
        """Return s'(y)."""
        with np.errstate(divide="ignore", over="ignore"):
            return np.where(self.scale == 0, 1.0, 1.0 / (y * np.where(self.scale == 2, LN10, 1.0)))

    def fits(self, y: np.ndarray, sigma: np.ndarray) -> Fits:
        """Compare simulations with the measurements.

        Args:
            y: simulations, shape (..., row).
            sigma: noise, shape (..., row); what is not positive gives NaN.
        """
        sigma = np.where(sigma > 0.0, sigma, np.nan)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            r = (self._scaled(y) - self._target) / sigma
            normal = -0.5 * np.log(2.0 * np.pi * sigma**2) - 0.5 * r**2
            laplace = -np.log(2.0 * sigma) - np.abs(r)
        return Fits(np.where(self.laplace, laplace, normal) + self._slope, r)

    def derivatives(self, y: np.ndarray, sigma: np.ndarray, dy: np.ndarray, dsigma: np.ndarray) -> Evaluated:
        """Return the gradient of Σ llh and the Fisher information Σ (s'y')(s'y')ᵀ/σ² + κ σ'σ'ᵀ/σ².

        κ is 2 for normal and 1 for Laplace noise; where |r| of the latter is 0 its derivative counts as 0.

        Args:
            y, sigma: as in `fits`, shape (row,).
            dy, dsigma: their derivatives by the unknowns, shape (row, q).
        """
        r = self.fits(y, sigma).residuals
        slope = self._derivative(y)
        by_y = -np.where(self.laplace, np.sign(r), r) * slope / sigma
        by_sigma = (np.where(self.laplace, np.abs(r), r**2) - 1.0) / sigma
        seen = dy * (slope / sigma)[:, None]
        known = dsigma * (np.where(self.laplace, 1.0, np.sqrt(2.0)) / sigma)[:, None]
        return Evaluated(by_y @ dy + by_sigma @ dsigma, seen.T @ seen + known.T @ known)
