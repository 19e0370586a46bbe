"""Derivatives of the moments at which conditions switch, and of states that are carried over them.

Where g switches at time τ, dτ = −(g_x S + g_p dp)/(g_t + g_x f⁻). With f⁻ and f⁺ the rates before and after,
the state that is found at τ has the derivative D = S + f⁻ dτ; events make D⁺ of it; and S⁺ = D⁺ − f⁺ dτ.

Source: E. N. Rozenvasser, General sensitivity equations of discontinuous systems, Automation and Remote
Control 28:400, 1967.
"""

from __future__ import annotations

import numpy as np

from multiscale.equations.hybrid import HybridSystem
from multiscale.solver.hybrid.evaluation import multiply, parts_of
from multiscale.solver.hybrid.jumps import Moment

__all__ = ["carried_over", "time_crossing"]

_GRAZING = 1e-12  # slope of a condition relative to the terms that it is the sum of, and to its mean so far
_CONTINUOUS = 1e-12  # change of rates relative to the largest


def time_crossing(
    system: HybridSystem, at: Moment, switched: np.ndarray, f: np.ndarray, earlier: np.ndarray
) -> np.ndarray:
    """Fill in g, and dτ of runs in which a condition has switched.

    Args:
        system: the equations.
        at: runs; D is S.
        switched: conditions that have switched, (run, condition).
        f: rates before, (run, n).
        earlier: inputs of programs at the last stop, (run, input).

    Returns:
        Which runs touch a condition without crossing it, so that dτ does not exist, (run,).
    """
    part, count = system.root_gradient, len(system.kinds)
    if not count:
        return np.zeros(len(f), dtype=bool)
    values, (by_x, by_p) = parts_of(part, at.z)
    at.g = values[:, :count]
    which = (np.arange(len(f)), switched.argmax(axis=1))  # of several at one moment the first
    slope = multiply(part.patterns[0], by_x, at.D, count)[which]
    slope += multiply(part.patterns[1], by_p, at.dp, count)[which]
    moves = switched.any(axis=1) & (slope != 0.0).any(axis=1)
    drift = values[:, count:][which]
    speed = drift + multiply(part.patterns[0], by_x, f[:, :, None], count)[which][:, 0]
    size = multiply(part.patterns[0], np.abs(by_x), np.abs(f)[:, :, None], count)[which][:, 0]
    passed = at.z[:, 0] - earlier[:, 0]
    mean = parts_of(system.roots, earlier).values[which] / np.where(passed > 0.0, passed, np.inf)
    flat = ~(np.abs(speed) > _GRAZING * (np.abs(drift) + size + np.abs(mean)))
    crosses = moves & ~flat
    at.dtau[crosses] = -slope[crosses] / speed[crosses, None]
    return moves & flat


def carried_over(
    S: np.ndarray, at: Moment, before: np.ndarray, after: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """S⁺ after a moment.

    Args:
        S: derivatives before, (run, n, q).
        at: runs after the moment.
        before, after: rates, (run, n).

    Returns:
        S⁺, (run, n, q), and which runs go on as if nothing had happened, (run,).
    """
    largest = np.abs(before).max(axis=1, keepdims=True, initial=0.0)
    same = (np.abs(before - after) <= _CONTINUOUS * largest).all(axis=1)
    quiet = same & ~at.acted
    acted = at.acted[:, None]
    leap = np.where(quiet[:, None], 0.0, np.where(acted, -after, before - after))
    base = np.where(acted[:, :, None], at.D, S)
    return base + leap[:, :, None] * at.dtau[:, None, :], quiet
