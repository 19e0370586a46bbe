"""Priors moved to values drawn from them, for one member of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from multiscale.model.cells.shared import Group
from multiscale.model.parameters import ParameterTable

__all__ = ["anchored", "graph_anchor"]


def anchored(groups: Sequence[Group], rng: np.random.Generator) -> list[Group]:
    """Groups whose prior means are draws from their priors.

    Where nothing but the prior speaks of a parameter, members of an ensemble then differ as the prior does.
    Physical parameters that began at their prior mean begin at the draw; all others begin where they did.

    Args:
        groups: of parameters that all cells share.
        rng: random numbers.

    Source: Pearce, Leibfried & Brintrup 2020, arXiv:1810.05546 (anchored ensembles).
    """
    found = []
    for group in groups:
        mean = group.filled(None)
        drawn = mean + group.filled(group.sd) * rng.normal(size=mean.shape)
        start = None if group.physical and group.start is None else group.filled(group.start)
        found.append(replace(group, mean=drawn, start=start))
    return found


def graph_anchor(parameters: ParameterTable, rng: np.random.Generator) -> Tensor:
    """By how much the priors of the graph's parameters move, in coordinates of theta, shape (1, parameter).

    Args:
        parameters: of the graph; a flat prior stays where it is.
        rng: random numbers.
    """
    zero = torch.zeros(1, parameters.size, dtype=torch.float64, device=parameters.device)
    noise = torch.as_tensor(rng.normal(size=parameters.size), device=parameters.device)
    if not parameters.size:
        return zero
    precision = parameters.prior_precision(zero)
    return torch.where(precision > 0, noise / precision.sqrt(), 0.0)[None]
