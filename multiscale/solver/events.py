"""Discontinuities: at a known time, or when a condition becomes true, the state is reset.

An input that switches (a dose, a ligand that is added or washed out) is a state variable that no reaction
changes and that an event resets; its time and value are constants of the system, so they have gradients too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from multiscale.solver.system import Point

__all__ = ["Event", "Timed", "dose", "gradient_of", "jacobian_of"]

Reset = Callable[[Point], Tensor]


@dataclass(frozen=True, eq=False)
class Timed:
    """A reset at a time that is known beforehand.

    Args:
        time: of the constants, shape (system, parameter) → (system,), s; infinity = never.
        reset: of the state before, differentiable, → new state (system, size).
    """

    time: Callable[[Tensor], Tensor]
    reset: Reset


@dataclass(frozen=True, eq=False)
class Event:
    """A reset at the moment at which a condition becomes true.

    Args:
        guard: differentiable, → (system,); the condition is guard ≥ 0. An event fires when its condition
            becomes true and not again before it was false. One that is true at the start does not fire.
        reset: of the state before, differentiable, → new state (system, size).
    """

    guard: Callable[[Point], Tensor]
    reset: Reset


def dose(species: int, time: int, amount: int, *, add: bool = True) -> Timed:
    """Give a dose: at the time p[time], x[species] grows by p[amount] or is set to it.

    Args:
        species: position in the state.
        time: position of the time in the constants, s.
        amount: position of the concentration in the constants, µM.
        add: whether to add to what is there, else replace it.
    """

    def reset(at: Point) -> Tensor:
        given = at.p[:, amount] + at.x[:, species] if add else at.p[:, amount]
        return torch.cat([at.x[:, :species], given[:, None], at.x[:, species + 1 :]], 1)

    return Timed(lambda p: p[:, time], reset)


def gradient_of(function: Callable[[Point], Tensor], at: Point, seed: Tensor) -> Point:
    """Gradient of seed · function(at), by autograd; functions of events are small."""
    with torch.enable_grad():
        leaves = Point(*(part.detach().clone().requires_grad_() for part in at))
        value = function(leaves)
        if not value.requires_grad:
            return Point(*(torch.zeros_like(part) for part in at))
        parts = torch.autograd.grad(value, leaves, seed, materialize_grads=True)
    return Point(*parts)


def jacobian_of(function: Callable[[Point], Tensor], at: Point, size: int) -> list[Point]:
    """Gradient of every component of function(at), which has shape (system, size)."""
    seeds = torch.eye(size, dtype=at.x.dtype, device=at.x.device)
    return [gradient_of(function, at, seed.expand(len(at.t), -1)) for seed in seeds]
