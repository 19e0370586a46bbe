"""Several fits of the same cells that differ as what all cells share is uncertain.

Member 0 is the fit itself. Every other is a fit with weights v_n ~ Exp(1) of cells and with priors moved to
draws from them, from networks and noise of its own: where the cells decide, members differ as fits to
other samples of as many cells would; where only the prior does, as the prior. In a linear normal model the
second is exact; the first holds for many cells. Members say nothing of an error of model, noise or priors,
and little of optima far from that where training begins.

Source: Newton & Raftery 1994, Approximate Bayesian inference with the weighted likelihood bootstrap, J. R.
Stat. Soc. B 56 (weights); Pearce, Leibfried & Brintrup 2020, arXiv:1810.05546 (priors).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from multiscale.errors import ConfigError
from multiscale.fit.cells.noise import standard_normal
from multiscale.fit.cells.schedule import CellSettings
from multiscale.model.cells import CellModel

__all__ = ["LEVEL", "bootstrap", "check_members", "member_settings", "rotation", "spread"]

WEIGHING = -5
"""Epoch of the noise that makes weights."""

LEVEL = 0.9
"""Coverage of intervals."""


def check_members(members: int) -> None:
    """Refuse numbers of members from which no spread follows.

    Raises:
        ConfigError: neither 1 nor at least 3.
    """
    if members != 1 and members < 3:
        raise ConfigError(
            f"`members` must be 1, or at least 3: the fit, and two whose spread is known; got {members}."
        )


def member_settings(settings: CellSettings, member: int) -> CellSettings:
    """The same with a seed of the member's own; member 0 has that of the fit."""
    if not member:
        return settings
    seed = np.random.SeedSequence((settings.seed, member)).generate_state(1)[0]
    return replace(settings, seed=int(seed))


def bootstrap(seed: int) -> Callable[[Tensor], Tensor]:
    """Weights v = −ln u ~ Exp(1) of cells by their positions, with mean 1 over many.

    Divided by their sum they would be Dirichlet(1, …, 1): the Bayesian bootstrap. They are not, so that the
    weight of a cell depends on nothing but the member and the cell.

    Args:
        seed: of the member.

    Source: Rubin 1981, doi:10.1214/aos/1176345338.
    """

    def weigh(index: Tensor) -> Tensor:
        return -torch.special.log_ndtr(standard_normal(seed, WEIGHING, index, 1)[:, 0])

    return weigh


def spread(model: CellModel, others: Sequence[CellModel]) -> pd.DataFrame:
    """Spread of shared parameters over members: `sd`, `lower`, `upper`, rows as in `CellModel.table`.

    sd is that over the members other than the fit; the 90 % interval is value ± t sd, t the quantile of
    Student's distribution with (members − 2) degrees of freedom, all on the scale of `value`. Loadings are
    compared after the rotation of the latent state that brings them closest to those of the fit.

    Args:
        model: the fit, whose values intervals are about.
        others: at least two.
    """
    values = np.stack([_values(other, rotation(model, other)) for other in others])
    sd = values.std(axis=0, ddof=1)
    reach = stats.t.ppf((1 + LEVEL) / 2, len(others) - 1) * sd
    centre = model.table()["value"].to_numpy(float)
    return pd.DataFrame({"sd": sd, "lower": centre - reach, "upper": centre + reach})


def rotation(model: CellModel, other: CellModel) -> Tensor:
    """Rotation R of another latent state, z R, that brings its loadings closest to ours, (latent, latent).

    Least squares of loadings over prior sds: R = U Vᵀ of the singular vectors of Σ other_iᵀ ours_i. The
    prior of z does not change with it.

    Source: Schönemann 1966, doi:10.1007/BF02289451.
    """
    ours, theirs = (_loadings(one) for one in (model, other))
    left, _, right = torch.linalg.svd(theirs.T @ ours)
    return left @ right


def _groups(model: CellModel) -> list[str]:
    """Groups of loadings: their last axis is the latent state."""
    latent = [f"z{i + 1}" for i in range(model.problem.latent)]
    return [name for name, group in model.shared.groups.items() if list(group.axes[-1]) == latent]


def _loadings(model: CellModel) -> Tensor:
    """All loadings over their prior sds, float64, shape (any, latent)."""
    size, device = model.problem.latent, model.graph_theta.device
    parts = [
        (model.shared[name].detach().double() / model.shared.prior(name).scale).reshape(-1, size)
        for name in _groups(model)
    ]
    return torch.cat([torch.zeros(0, size, dtype=torch.float64, device=device), *parts])


def _values(model: CellModel, turn: Tensor) -> np.ndarray:
    """Column `value` of the table of a member whose latent state is turned."""
    table, shared = model.table(), deepcopy(model.shared)
    with torch.no_grad():
        for name in _groups(model):
            shared[name].copy_((shared[name].double() @ turn).to(shared[name].dtype))
    own = shared.frame()["value"].to_numpy(float)  # the last rows of the table
    return np.concatenate([table["value"].to_numpy(float)[: len(table) - len(own)], own])
