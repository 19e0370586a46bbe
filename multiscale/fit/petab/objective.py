"""A PEtab problem as a function of its unknown parameters.

llh(θ) = Σ over measurements of the logarithm of their density, with θ on the scales of estimation. Many
values of θ (starts) are evaluated together. What is minimised in a fit is −(llh + ln prior).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from multiscale.errors import DataError
from multiscale.fit.petab.courses import Course, Courses, Tolerances
from multiscale.fit.petab.likelihood import Fits, Likelihood
from multiscale.fit.petab.mapping import Mapped, Scales
from multiscale.fit.petab.plan import Plan, plan
from multiscale.fit.petab.readings import Read, Readings
from multiscale.fit.petab.table import simulation_table
from multiscale.formats.petab.problem import Measurement, PetabProblem
from multiscale.solver.status import Status

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Gradients", "Objective", "Values"]


@dataclass(frozen=True)
class Values:
    """What some starts give.

    Args:
        llh: logarithm of the likelihood, −inf where a simulation failed, shape (starts,).
        chi2: sum of squared residuals, inf where a simulation failed, shape (starts,).
        prior: logarithm of the prior density, shape (starts,).
        status: worst `Status` of the simulations, shape (starts,).
        message: what went wrong per start, '' = nothing.
    """

    llh: np.ndarray
    chi2: np.ndarray
    prior: np.ndarray
    status: np.ndarray
    message: tuple[str, ...]


@dataclass(frozen=True)
class Gradients(Values):
    """What some starts give, with derivatives by the unknowns on their scales; NaN where a simulation failed.

    Args:
        gradient: of llh + prior, shape (starts, q).
        prior_gradient: of the prior alone, shape (starts, q).
        fisher: expected information of the measurements, and curvature of −prior, shape (starts, q, q).
    """

    gradient: np.ndarray
    prior_gradient: np.ndarray
    fisher: np.ndarray


@dataclass(frozen=True)
class _One:
    """What one start gives."""

    llh: float
    chi2: float
    status: Status
    message: str


class Objective:
    """A compiled problem.

    Args:
        problem: from `read_petab`.

    Other args:
        rtol, atol: tolerances of the integration.
        threads: of the solver; None = one per core.
        max_steps: of one integration.
        control_sensitivities: whether errors of sensitivities bound the steps of `gradient` too: exact to the
            tolerances even near blow-up, at two to five times the time.

    Attributes:
        names: of the unknowns.
        lower, upper, nominal: their bounds and nominal values on the scales of estimation, shape (q,).
    """

    def __init__(
        self,
        problem: PetabProblem,
        *,
        rtol: float = 1e-10,
        atol: float = 1e-12,
        threads: int | None = None,
        max_steps: int = 100_000,
        control_sensitivities: bool = True,
    ) -> None:
        self.problem = problem
        self.plan: Plan = plan(problem)
        self.readings = Readings(problem, self.plan)
        self.courses = Courses(self.plan, Tolerances(rtol, atol, max_steps, threads, control_sensitivities))
        self.likelihood = _likelihood(problem)
        rows = [problem.parameters[name] for name in problem.estimated]
        self.names: list[str] = problem.estimated
        self.scales = Scales(rows)
        self.lower = self.scales.scaled(np.array([row.lower for row in rows]))
        self.upper = self.scales.scaled(np.array([row.upper for row in rows]))
        self.nominal = self.scales.scaled(np.array([row.nominal for row in rows]))

    def value(self, theta: np.ndarray) -> Values:
        """Evaluate starts.

        Args:
            theta: unknowns on their scales, shape (starts, q).

        Raises:
            DataError: the shape is another one.
        """
        theta = self._checked(theta)
        mapped = self.plan.mapping.at(theta)
        found = [self._value(mapped, k, course) for k, course in enumerate(self.courses.of(mapped, False))]
        return Values(*_joined(found, self._prior(theta)))

    def gradient(self, theta: np.ndarray) -> Gradients:
        """Evaluate starts with derivatives.

        Args:
            theta: unknowns on their scales, shape (starts, q).

        Raises:
            DataError: the shape is another one.
        """
        theta = self._checked(theta)
        mapped, q = self.plan.mapping.at(theta), len(self.names)
        slopes, fisher = np.full((len(theta), q), np.nan), np.full((len(theta), q, q), np.nan)
        found: list[_One] = []
        for k, course in enumerate(self.courses.of(mapped, True)):
            found.append(self._slopes(mapped, k, course, slopes[k], fisher[k]))
        prior_slopes, bend = self._prior_slopes(theta)
        fisher[:, np.arange(q), np.arange(q)] -= bend
        values = _joined(found, self._prior(theta))
        return Gradients(*values, slopes + prior_slopes, prior_slopes, fisher)

    def read(self, theta: np.ndarray, derivatives: bool = False) -> Read:
        """Return what every measurement would be, in the order of the table.

        Args:
            theta: unknowns on their scales, shape (q,).
            derivatives: whether to differentiate by them.

        Raises:
            DataError: a simulation failed; the message names the experiment.
        """
        mapped = self.plan.mapping.at(self._checked(theta))
        course = next(self.courses.of(mapped, derivatives))
        if not course.status.solved:
            raise DataError(f"{self.problem.path}: {course.message}")
        if derivatives:
            return self.readings.derive(mapped, 0, course.x, course.s)
        return self.readings.read(mapped, 0, course.x)

    def simulate(self, theta: np.ndarray) -> DataFrame:
        """Return the measurement table with a column `simulation` in place of `measurement`.

        Args:
            theta: unknowns on their scales, shape (q,).

        Raises:
            DataError: a simulation failed; the message names the experiment.
        """
        return simulation_table(self.problem, self.read(theta).y)

    def _checked(self, theta: np.ndarray) -> np.ndarray:
        theta = np.atleast_2d(np.asarray(theta, dtype=float))
        if theta.ndim != 2 or theta.shape[1] != len(self.names):
            raise DataError(
                f"`theta` must have shape (starts, {len(self.names)}), one column per estimated parameter; "
                f"got {theta.shape}"
            )
        return theta

    def _value(self, mapped: Mapped, k: int, course: Course) -> _One:
        """What the simulations of a start say about the measurements."""
        if not course.status.solved:
            return _failed(course)
        read = self.readings.read(mapped, k, course.x)
        return self._judged(course, self.likelihood.fits(read.y, read.sigma))

    def _slopes(self, mapped: Mapped, k: int, course: Course, slopes: np.ndarray, fisher: np.ndarray) -> _One:
        """The same, with derivatives written into `slopes` and `fisher`."""
        if not course.status.solved:
            return _failed(course)
        read = self.readings.derive(mapped, k, course.x, course.s)
        found = self._judged(course, self.likelihood.fits(read.y, read.sigma))
        if found.status.solved:
            evaluated = self.likelihood.derivatives(read.y, read.sigma, read.dy, read.dsigma)
            slopes[:], fisher[:] = evaluated.gradient, evaluated.fisher
        return found

    def _judged(self, course: Course, fits: Fits) -> _One:
        """Sum up the rows; one without a likelihood fails the start and is named."""
        wrong = np.flatnonzero(~np.isfinite(fits.llh))
        if len(wrong):
            message = _no_density(self.problem.measurements[wrong[0]], len(wrong))
            return _One(-np.inf, np.inf, Status.NOT_FINITE, message)
        return _One(float(fits.llh.sum()), float(fits.chi2), course.status, "")

    def _prior(self, theta: np.ndarray) -> np.ndarray:
        """Logarithm of the prior density, shape (starts,)."""
        linear = self.scales.linear(theta)
        total = np.zeros(len(theta))
        for column, name in enumerate(self.names):
            prior = self.problem.parameters[name].prior
            if prior is not None:
                total += prior.log_density(linear[:, column])
        return total

    def _prior_slopes(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivatives of the prior by each unknown on its scale, shape (starts, q) each."""
        linear, slope, bend = self.scales.linear(theta), self.scales.slope(theta), self.scales.bend(theta)
        first, second = np.zeros_like(theta), np.zeros_like(theta)
        for k, name in enumerate(self.names):
            prior = self.problem.parameters[name].prior
            if prior is not None:
                by_linear = prior.gradient(linear[:, k])
                first[:, k] = by_linear * slope[:, k]
                second[:, k] = prior.curvature(linear[:, k]) * slope[:, k] ** 2 + by_linear * bend[:, k]
        return first, second


def _likelihood(problem: PetabProblem) -> Likelihood:
    observables = [problem.observables[row.observable] for row in problem.measurements]
    return Likelihood(
        [row.value for row in problem.measurements],
        [observable.scale for observable in observables],
        [observable.distribution for observable in observables],
    )


def _failed(course: Course) -> _One:
    return _One(-np.inf, np.inf, course.status, course.message)


def _no_density(row: Measurement, count: int) -> str:
    more = f" and {count - 1} more" if count > 1 else ""
    where = f"`{row.observable}` at time {row.time:g} in `{row.experiment}`"
    return (
        f"measurement {row.row + 1} of {where}{more} has no likelihood: the simulation is not a number, or "
        "not positive on a logarithmic scale, or its noise is not positive"
    )


def _joined(
    found: list[_One], prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    return (
        np.array([one.llh for one in found]),
        np.array([one.chi2 for one in found]),
        prior,
        np.array([int(one.status) for one in found]),
        tuple(one.message for one in found),
    )
