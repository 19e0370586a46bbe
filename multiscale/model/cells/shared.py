"""Parameters that all cells share, with names and priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from multiscale.errors import DataError
from multiscale.model.parameters import petab_id

__all__ = ["COLUMNS", "Group", "Shared", "by_batch"]

COLUMNS = ("parameterId", "parameterName", "parameterScale", "value", "priorMean", "priorSd", "unit", "role")
"""Columns of tables; value and prior are natural logarithms where the scale is `log`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """Parameters of one kind, with normal priors.

    Args:
        name: of the group.
        axes: names along every axis of its values.
        mean: of the prior; a number, or of the shape of the axes.
        sd: of the prior, the same.
        start: where training begins; default the mean.
        scale: `lin`, or `ln` where values are natural logarithms.
        unit: of the quantity (not of its logarithm).
        role: what it is, in one word.
        physical: whether it belongs to the physics, which is float64 whatever networks are.
        listed: whether tables show it unasked.
    """

    name: str
    axes: tuple[Sequence[str], ...]
    mean: np.ndarray | float
    sd: np.ndarray | float
    start: np.ndarray | None = None
    scale: Literal["lin", "ln"] = "ln"
    unit: str = "1"
    role: str = ""
    physical: bool = False
    listed: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of names along the axes."""
        return tuple(len(axis) for axis in self.axes)

    def filled(self, values: np.ndarray | float | None) -> np.ndarray:
        """Values of the full shape; the prior mean where there are none."""
        given = self.mean if values is None else values
        return np.broadcast_to(np.asarray(given, dtype=float), self.shape).copy()

    @property
    def labels(self) -> list[str]:
        """Name of every value, in the order of the flattened shape."""
        return [" ".join(parts) for parts in product(*self.axes)]


class Shared(nn.Module):
    """Values of groups, found by the name of the group.

    Args:
        groups: with distinct names.
        dtype: of groups that do not belong to the physics.
        constants: numbers that are kept with the values though nothing changes them, by name.

    Raises:
        DataError: two groups have one name.
    """

    def __init__(
        self, groups: Sequence[Group], dtype: torch.dtype, constants: Mapping[str, np.ndarray] | None = None
    ) -> None:
        super().__init__()
        self.groups: dict[str, Group] = {}
        for group in groups:
            key = petab_id(group.name)
            if key in map(petab_id, self.groups):
                raise DataError(f"two groups of parameters are called `{group.name}`; rename a modality.")
            self.groups[group.name] = group
            start = torch.as_tensor(group.filled(group.start))
            kind = torch.float64 if group.physical else dtype
            self.register_parameter(f"value_{key}", nn.Parameter(start.to(kind)))
            self.register_buffer(f"prior_mean_{key}", torch.as_tensor(group.filled(group.mean)))
            self.register_buffer(f"prior_sd_{key}", torch.as_tensor(group.filled(group.sd)))

        for name, values in (constants or {}).items():
            self.register_buffer(f"constant_{petab_id(name)}", torch.as_tensor(values).to(dtype))

    def __contains__(self, name: str) -> bool:
        """Whether there is a group of a name."""
        return name in self.groups

    def __getitem__(self, name: str) -> Tensor:
        """Values of a group, on its scale."""
        return self.get_parameter(f"value_{petab_id(name)}")

    def constant(self, name: str) -> Tensor:
        """Numbers that do not change."""
        return self.get_buffer(f"constant_{petab_id(name)}")

    def prior(self, name: str) -> Normal:
        """Prior of a group."""
        key = petab_id(name)
        mean, sd = (self.get_buffer(f"prior_{part}_{key}") for part in ("mean", "sd"))
        return Normal(mean, sd, validate_args=False)

    def log_prior(self) -> Tensor:
        """Log density of all values on their scales, normalised, float64, shape ()."""
        parts = [self.prior(name).log_prob(self[name].double()).sum() for name in self.groups]
        return torch.stack(parts).sum() if parts else torch.zeros((), dtype=torch.float64)

    def frame(self, everything: bool = False) -> pd.DataFrame:
        """Table of values and priors, `COLUMNS`.

        Args:
            everything: show decoders too.
        """
        tables = [self._frame(group) for group in self.groups.values() if group.listed or everything]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))

    def _frame(self, group: Group) -> pd.DataFrame:
        prior = self.prior(group.name)
        names = [f"{group.name} {label}" for label in group.labels]
        columns = (
            [petab_id(name) for name in names],
            names,
            "log" if group.scale == "ln" else "lin",
            *(
                part.detach().double().cpu().numpy().ravel()
                for part in (self[group.name], prior.loc, prior.scale)
            ),
            group.unit,
            group.role,
        )
        return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def by_batch(table: Tensor, batch: Tensor, other: Tensor) -> Tensor:
    """Rows of a table by the batch of every cell.

    Args:
        table: shape (batch, feature).
        batch: of every cell, −1 for a batch that the table lacks, shape (cell,).
        other: what cells of such a batch get, shape (feature,).

    Returns:
        shape (cell, feature).

    >>> import torch
    >>> by_batch(torch.tensor([[1.0], [2.0]]), torch.tensor([1, -1]), torch.tensor([0.0])).tolist()
    [[2.0], [0.0]]
    """
    return torch.cat([table, other[None]])[batch]  # −1 is the last row
