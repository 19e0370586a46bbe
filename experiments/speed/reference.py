"""What a time course should be: SciPy's LSODA at a relative tolerance of 1e-12, with an analytic Jacobian.

Run as a script, it says by how much it differs from published values and from SciPy's Radau (half a minute):

    python experiments/speed/reference.py
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from networks import Network, mapk_cascade, oregonator, random_network, robertson
from scipy.integrate import solve_ivp
from scipy.sparse import csr_array

__all__ = ["Slope", "Truth", "directional_derivative", "error", "time_course_reference"]

# Final states at t = 1e11 and t = 360 of problems ROBER and OREGO: Mazzia & Magherini 2008, Test Set for IVP
# Solvers, release 2.4.
PUBLISHED = {
    "Robertson": [0.2083340149701255e-07, 0.8333360770334713e-13, 0.9999999791665050],
    "Oregonator": [0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3],
}
RTOL = 1e-12
CHECKED = 2  # systems of a batch that are compared


def time_course_reference(network: Network, k: np.ndarray, method: str = "LSODA") -> np.ndarray:
    """Concentrations at the output times, (time, species)."""
    matrix, size, rows = csr_array(network.stoichiometry), len(network.x0), np.arange(len(k))
    width = max(len(row) for row in network.reactants)
    slots = np.array([[*row, *[size] * (width - len(row))] for row in network.reactants])

    def rate(t: float, x: np.ndarray) -> np.ndarray:
        return matrix @ (k * np.append(x, 1.0)[slots].prod(1))

    def jacobian(t: float, x: np.ndarray) -> np.ndarray:
        factors, slope = np.append(x, 1.0)[slots], np.zeros((len(k), size + 1))
        for i in range(width):
            np.add.at(slope, (rows, slots[:, i]), k * np.delete(factors, i, axis=1).prod(1))
        return matrix @ slope[:, :size]

    options = {"rtol": RTOL, "atol": network.absolute(RTOL), "jac": jacobian, "t_eval": network.times}
    found = solve_ivp(rate, (0.0, network.times[-1]), network.x0, method=method, **options)
    if not found.success:
        raise RuntimeError(f"no reference for {network.name}: {found.message}")
    return found.y.T


def error(network: Network, x: np.ndarray, truth: np.ndarray) -> float:
    """Largest |x − truth| / (|truth| + atol/rtol): rtol for a result that is just within tolerance."""
    return float((np.abs(x - truth) / (np.abs(truth) + network.absolute(1.0))).max())


@dataclass(frozen=True)
class Slope:
    """Derivative of Σ x² along a direction of ln k."""

    direction: np.ndarray
    value: float


def directional_derivative(network: Network, k: np.ndarray, step: float = 3e-4) -> Slope:
    """Σ x² of the reference along random signs of ln k, by central differences of order 4."""
    direction = np.random.default_rng(0).choice([-1.0, 1.0], len(k))

    def loss(h: float) -> float:
        return float((time_course_reference(network, k * np.exp(h * direction)) ** 2).sum())

    near, far = loss(step) - loss(-step), loss(2 * step) - loss(-2 * step)
    return Slope(direction, (8 * near - far) / (12 * step))


@dataclass(frozen=True, eq=False)
class Truth:
    """What the first systems of a batch should give."""

    network: Network
    x: list[np.ndarray]
    slope: Slope | None

    @classmethod
    def of(cls, network: Network, constants: np.ndarray) -> Truth:
        """Solve the reference."""
        x = [time_course_reference(network, k) for k in constants[:CHECKED]]
        return cls(network, x, directional_derivative(network, constants[0]))

    def value_error(self, x: np.ndarray) -> float | None:
        """Largest error of the systems that have a reference."""
        errors = [error(self.network, *pair) for pair in zip(x, self.x, strict=False)]
        return max(errors) if errors else None

    def gradient_error(self, gradient: np.ndarray, k: np.ndarray) -> float | None:
        """Relative error of the derivative of the first system along one direction."""
        if self.slope is None:
            return None
        return float(abs((gradient[0] * k[0]) @ self.slope.direction / self.slope.value - 1))


def main() -> None:
    """Print differences."""
    for network in (robertson(), oregonator(), mapk_cascade(), random_network()):
        found = time_course_reference(network, network.k)
        other = error(network, found, time_course_reference(network, network.k, "Radau"))
        print(f"{network.name}: LSODA and Radau differ by {other:.0e}", end="")
        if network.name in PUBLISHED:
            published = np.abs(found[-1] / PUBLISHED[network.name] - 1).max()
            print(f"; from published values by a relative {published:.0e}", end="")
        print()


if __name__ == "__main__":
    main()
