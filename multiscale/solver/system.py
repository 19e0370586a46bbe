"""What a solver needs to know of dx/dt = f(t, x, p): values, the Jacobian, and directional derivatives."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["Point", "System", "dense", "time_direction"]


class Point(NamedTuple):
    """Where f is evaluated; also a direction in that space, or a gradient.

    Args:
        t: time, s, shape (...,).
        x: state, shape (..., size).
        p: constants, shape (..., parameter).
    """

    t: Tensor
    x: Tensor
    p: Tensor


class System(Protocol):
    """dx/dt = f(t, x, p) for a batch; all leading axes broadcast, so that directions can be a leading axis.

    Attributes:
        size: number of state variables.
        parameters: number of constants.
        pattern: row and column of every entry of ∂f/∂x that can differ from zero, sorted by row and column,
            each once, shape (2, nonzero).
        autonomous: whether f does not depend on time.
    """

    @property
    def size(self) -> int:
        """Number of state variables."""
        ...

    @property
    def parameters(self) -> int:
        """Number of constants."""
        ...

    @property
    def pattern(self) -> Tensor:
        """Entries of ∂f/∂x."""
        ...

    @property
    def autonomous(self) -> bool:
        """Whether f does not depend on time."""
        ...

    def rate(self, at: Point) -> Tensor:
        """Return f, shape (..., size)."""
        ...

    def jacobian(self, at: Point) -> Tensor:
        """Return ∂f/∂x on the pattern, shape (..., nonzero)."""
        ...

    def push(self, at: Point, along: Point) -> Tensor:
        """Return the directional derivative of f, shape (..., size)."""
        ...

    def pull(self, at: Point, u: Tensor) -> Point:
        """Return the gradient of u · f; `u` has shape (..., size)."""
        ...

    def push2(self, at: Point, a: Point, b: Point) -> Tensor:
        """Return the second directional derivative D²f[a, b], shape (..., size)."""
        ...

    def pull2(self, at: Point, u: Tensor, along: Point) -> Point:
        """Return the gradient of u · push(at, along), with `u` and `along` held constant."""
        ...


def time_direction(at: Point) -> Point:
    """Direction in which only time moves."""
    return Point(torch.ones_like(at.t), torch.zeros_like(at.x), torch.zeros_like(at.p))


def dense(pattern: Tensor, values: Tensor, size: int) -> Tensor:
    """Matrix of values on a pattern, shape (..., nonzero) → (..., size, size)."""
    rows, columns = pattern
    matrix = values.new_zeros(*values.shape[:-1], size * size)
    return matrix.index_copy(-1, rows * size + columns, values).unflatten(-1, (size, size))
