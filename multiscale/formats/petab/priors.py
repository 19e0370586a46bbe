"""Prior distributions of parameters as PEtab names them: densities, slopes and samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import gammainc, gammaincinv, gammaln, ndtr, ndtri, xlogy

__all__ = ["PRIORS", "SCALES", "Prior", "scaled", "unscaled"]

SCALES: dict[str, float] = {"lin": 0.0, "log": 1.0, "log10": math.log(10.0)}
"""Parameter scales with ln of their base; `lin` has none."""

PRIORS: dict[str, int] = {
    "cauchy": 2,
    "chisquare": 1,
    "exponential": 1,
    "gamma": 2,
    "laplace": 2,
    "log-laplace": 2,
    "log-normal": 2,
    "log-uniform": 2,
    "normal": 2,
    "rayleigh": 1,
    "uniform": 2,
}
"""Kinds of priors with how many parameters they have."""


class _Family(NamedTuple):
    """Functions of u and parameters: ln p, its derivatives, the probability below u and its inverse."""

    density: Callable[..., np.ndarray]
    slope: Callable[..., np.ndarray]
    bend: Callable[..., np.ndarray]
    below: Callable[..., np.ndarray]
    quantile: Callable[..., np.ndarray]


def scaled(value: np.ndarray | float, scale: str) -> np.ndarray:
    """Value on a scale; NaN or −inf where the scale has none.

    >>> float(scaled(100.0, "log10"))
    2.0
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale == "log10":
            return np.log10(value)
        return np.log(value) if scale == "log" else np.asarray(value, dtype=float)


def unscaled(value: np.ndarray | float, scale: str) -> np.ndarray:
    """Value of what is given on a scale.

    >>> float(unscaled(2.0, "log10"))
    100.0
    """
    if scale == "log10":
        return np.power(10.0, value)
    return np.exp(value) if scale == "log" else np.asarray(value, dtype=float)


@dataclass(frozen=True)
class Prior:
    """A distribution of a parameter θ, cut off at bounds.

    With u = s(θ) and f the density of the kind, the prior density is p(θ) = f(u) / ∫ f between the bounds.
    It is the density of u, which is that of θ for the scale `lin`. The kinds `log-…` are densities of θ of
    which ln θ
    has the distribution: p(θ) = f(ln θ) / θ.

    Args:
        kind: a key of `PRIORS`.
        parameters: normal, cauchy, laplace: location; scale. uniform: lower; upper. gamma: shape; scale.
            exponential, rayleigh: scale. chisquare: degrees of freedom. `log-normal` and `log-laplace`: those
            of ln θ; `log-uniform`: the bounds of θ.
        scale: s: `lin`, `log` or `log10`.
        lower, upper: bounds of θ; ±inf = not cut off.

    Raises:
        ValueError: the parameters are none of this kind, or nothing lies between the bounds.

    Source: PEtab data format specification, version 2, table of prior distributions.

    >>> round(float(np.exp(Prior("uniform", (2.0, 8.0)).log_density(5.0))), 12) == round(1 / 6, 12)
    True
    """

    kind: str
    parameters: tuple[float, ...]
    scale: str = "lin"
    lower: float = -math.inf
    upper: float = math.inf

    def __post_init__(self) -> None:
        """Refuse parameters with which there is no such distribution."""
        if self.kind not in PRIORS:
            raise ValueError(f"unknown prior `{self.kind}`")
        if len(self.parameters) != PRIORS[self.kind]:
            raise ValueError(
                f"`{self.kind}` needs {PRIORS[self.kind]} parameters; got {len(self.parameters)}"
            )
        _check_parameters(self.kind, self.parameters)
        if not self._mass > 0.0:
            raise ValueError(f"`{self.kind}` gives no probability to the bounds [{self.lower}, {self.upper}]")

    def log_density(self, value: np.ndarray | float) -> np.ndarray:
        """Return ln p(θ); −inf outside of the bounds and of the domain.

        Args:
            value: θ on the linear scale, any shape.
        """
        value = np.asarray(value, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            result = self._family.density(self._u(value), *self._inner) - math.log(self._mass)
            if self._log:
                result = result - np.log(value)
        inside = (value >= self.lower) & (value <= self.upper) & np.isfinite(self._u(value))
        return np.where(inside, result, -np.inf)

    def gradient(self, value: np.ndarray | float) -> np.ndarray:
        """Return d ln p/dθ where the density is not 0, shaped as `value`; 0 at the tip of a Laplace one."""
        value = np.asarray(value, dtype=float)
        slope = self._family.slope(self._u(value), *self._inner) * self._du(value)
        return slope - 1.0 / value if self._log else slope

    def curvature(self, value: np.ndarray | float) -> np.ndarray:
        """Return d² ln p/dθ² where the density is not 0, shaped as `value`."""
        value = np.asarray(value, dtype=float)
        u, du = self._u(value), self._du(value)
        bend = self._family.bend(u, *self._inner) * du**2
        if self._base:  # d²u/dθ² = −(du/dθ)/θ
            bend = bend - self._family.slope(u, *self._inner) * du / value
        return bend + 1.0 / value**2 if self._log else bend

    def quantile(self, share: np.ndarray | float) -> np.ndarray:
        """Return θ below which a share of the distribution lies, on the linear scale, shaped as `share`.

        >>> float(Prior("normal", (1.0, 2.0)).quantile(0.5))
        1.0
        """
        low, high = self._probabilities
        u = self._family.quantile(low + np.asarray(share, dtype=float) * (high - low), *self._inner)
        value = np.exp(u * self._base) if self._base else u
        return np.minimum(np.maximum(value, self.lower), self.upper)  # the inverse rounds

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        """Draw θ on the linear scale, within the bounds, shape (size,)."""
        return self.quantile(generator.random(size))

    @property
    def _log(self) -> bool:
        return self.kind.startswith("log-")

    @property
    def _base(self) -> float:
        """Return ln of the base of the scale of u, 0 for the linear one."""
        return 1.0 if self._log else SCALES[self.scale]

    @property
    def _family(self) -> _Family:
        return _FAMILIES[_ALIASES.get(self.kind, self.kind.removeprefix("log-"))]

    @property
    def _inner(self) -> tuple[float, ...]:
        """Parameters of the density of u."""
        if self.kind == "chisquare":
            return self.parameters[0] / 2.0, 2.0
        if self.kind == "exponential":
            return 1.0, self.parameters[0]
        if self.kind == "log-uniform":
            return math.log(self.parameters[0]), math.log(self.parameters[1])
        return self.parameters

    @property
    def _probabilities(self) -> tuple[float, float]:
        """Probability below each bound."""
        lower = np.maximum(self.lower, 0.0) if self._base else self.lower
        with np.errstate(over="ignore", invalid="ignore"):  # bounds may lie any number of widths away
            low, high = (self._family.below(self._u(end), *self._inner) for end in (lower, self.upper))
        return float(low), float(high)

    @property
    def _mass(self) -> float:
        low, high = self._probabilities
        return high - low

    def _u(self, value: np.ndarray | float) -> np.ndarray:
        return scaled(value, "log" if self._log else self.scale)

    def _du(self, value: np.ndarray) -> np.ndarray:
        return 1.0 / (value * self._base) if self._base else np.ones_like(value)


def _check_parameters(kind: str, parameters: tuple[float, ...]) -> None:
    """Refuse parameters that no distribution of the kind has."""
    if not all(math.isfinite(parameter) for parameter in parameters):
        raise ValueError(f"parameters of `{kind}` must be finite; got {parameters}")
    if kind in ("uniform", "log-uniform"):
        if parameters[0] >= parameters[1] or (kind == "log-uniform" and parameters[0] <= 0.0):
            raise ValueError(
                f"the bounds of `{kind}` must be in ascending order, of log-uniform also positive"
            )
        return
    if parameters[-1] <= 0.0 or (kind == "gamma" and parameters[0] <= 0.0):
        raise ValueError(f"the scale of `{kind}` must be positive, and the shape of gamma; got {parameters}")


def _inside(u: np.ndarray, inside: np.ndarray, value: np.ndarray | float) -> np.ndarray:
    return np.where(inside, value, -np.inf)


def _laplace_below(u: np.ndarray, m: float, s: float) -> np.ndarray:
    z = (u - m) / s
    tail = 0.5 * np.exp(-np.abs(z))
    return np.where(z < 0, tail, 1.0 - tail)


def _laplace_quantile(q: np.ndarray, m: float, s: float) -> np.ndarray:
    return m + s * np.where(q < 0.5, np.log(2.0 * q), -np.log(2.0 * (1.0 - q)))


_ALIASES = {"chisquare": "gamma", "exponential": "gamma"}

_FAMILIES: dict[str, _Family] = {
    "uniform": _Family(
        lambda u, a, b: _inside(u, (u >= a) & (u <= b), -math.log(b - a)),
        lambda u, a, b: np.zeros_like(u),
        lambda u, a, b: np.zeros_like(u),
        lambda u, a, b: np.minimum(np.maximum((u - a) / (b - a), 0.0), 1.0),
        lambda q, a, b: a + q * (b - a),
    ),
    "normal": _Family(
        lambda u, m, s: -0.5 * ((u - m) / s) ** 2 - math.log(s) - 0.5 * math.log(2.0 * math.pi),
        lambda u, m, s: (m - u) / s**2,
        lambda u, m, s: np.full_like(u, -1.0 / s**2),
        lambda u, m, s: ndtr((u - m) / s),
        lambda q, m, s: m + s * ndtri(q),
    ),
    "laplace": _Family(
        lambda u, m, s: -np.abs(u - m) / s - math.log(2.0 * s),
        lambda u, m, s: np.sign(m - u) / s,
        lambda u, m, s: np.zeros_like(u),
        _laplace_below,
        _laplace_quantile,
    ),
    "cauchy": _Family(
        lambda u, m, s: -np.log1p(((u - m) / s) ** 2) - math.log(math.pi * s),
        lambda u, m, s: 2.0 * (m - u) / (s**2 + (u - m) ** 2),
        lambda u, m, s: 2.0 * ((u - m) ** 2 - s**2) / (s**2 + (u - m) ** 2) ** 2,
        lambda u, m, s: 0.5 + np.arctan((u - m) / s) / math.pi,
        lambda q, m, s: m + s * np.tan(math.pi * (q - 0.5)),
    ),
    "gamma": _Family(
        lambda u, k, s: _inside(u, u >= 0.0, xlogy(k - 1.0, u) - u / s - gammaln(k) - k * math.log(s)),
        lambda u, k, s: (k - 1.0) / u - 1.0 / s,
        lambda u, k, s: (1.0 - k) / u**2,
        lambda u, k, s: gammainc(k, np.maximum(u, 0.0) / s),
        lambda q, k, s: s * gammaincinv(k, q),
    ),
    "rayleigh": _Family(
        lambda u, s: _inside(u, u >= 0.0, np.log(u) - 2.0 * math.log(s) - 0.5 * (u / s) ** 2),
        lambda u, s: 1.0 / u - u / s**2,
        lambda u, s: -1.0 / u**2 - 1.0 / s**2,
        lambda u, s: -np.expm1(-0.5 * (np.maximum(u, 0.0) / s) ** 2),
        lambda q, s: s * np.sqrt(-2.0 * np.log1p(-q)),
    ),
}
