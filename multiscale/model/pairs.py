"""Complexes between two cells: totals come from the two contexts and are never fitted again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.model.network import PairNetwork
from multiscale.physics.energy import ln_weight
from multiscale.physics.scales import contact_concentration, relative_to_mean
from multiscale.solver import equilibrium
from multiscale.units import MOLECULES_PER_UM_FL

if TYPE_CHECKING:
    from multiscale.model.model import Model, State

__all__ = ["PairState", "pair_activities", "pair_state"]


@dataclass(frozen=True)
class PairState:
    """Complexes between senders and receivers.

    Args:
        pairs: sender and receiver of every pair context.
        complexes: names.
        ln_x: ln concentration in the compartment where the complex forms, ln µM, (start, pair, complex).
        occupancy: fraction of the receiver's unit that is in the complex, (start, pair, complex).
        status: of the equilibrium solver, (start, pair, compartment).
    """

    pairs: pd.DataFrame
    complexes: list[str]
    ln_x: Tensor
    occupancy: Tensor
    status: Tensor

    def frame(self, start: int = 0) -> pd.DataFrame:
        """Tidy table: sender, receiver, complex, concentration, occupancy of the receiver's unit."""
        count = len(self.complexes)
        return pd.DataFrame(
            {
                "sender": np.repeat(self.pairs["sender"].to_numpy(), count),
                "receiver": np.repeat(self.pairs["receiver"].to_numpy(), count),
                "complex": np.tile(self.complexes, len(self.pairs)),
                "concentration_uM": self.ln_x[start].exp().flatten().cpu().numpy(),
                "occupancy": self.occupancy[start].flatten().cpu().numpy(),
            }
        )


def pair_state(model: Model, state: State) -> PairState | None:
    """Solve all pair contexts of a problem; None if it has none.

    Args:
        model: the model.
        state: state of the single contexts, from `model.state`.
    """
    problem = model.problem
    if problem.pairs.empty or not problem.network.pairs:
        return None
    sides = {side: _positions(model, problem.pairs[side]) for side in ("sender", "receiver")}
    solved = [_solve(model, state, pair, sides) for pair in problem.network.pairs]
    ln_x, occupancy, status = (torch.cat(parts, 2) for parts in zip(*solved, strict=True))
    return PairState(problem.pairs, problem.network.pair_complexes, ln_x, occupancy, status)


def pair_activities(model: Model, state: State, pairs: PairState) -> Tensor:
    """Pathway activities in every pair context: of the receiver's own species and of complexes between cells.

    Args:
        model: the model.
        state: state of the single contexts.
        pairs: complexes between cells.

    Returns:
        activities relative to the geometric mean over pairs, shape (start, pair, pathway).
    """
    receiver = _positions(model, pairs.pairs["receiver"])
    members = torch.cat([state.ln_x[:, receiver], pairs.ln_x], -1)
    return model.pool(relative_to_mean(members))


def _positions(model: Model, names: pd.Series) -> Tensor:
    return torch.as_tensor(model.problem.contexts.index.get_indexer(pd.Index(names)), device=model.device)


def _solve(
    model: Model, state: State, pair: PairNetwork, sides: dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Equilibrium of one compartment in every pair context."""
    network, units = model.problem.network, len(pair.units)
    species = [network.species.index(name) for name in pair.units["unit"]]
    per_cell = MOLECULES_PER_UM_FL * model.tensor(model.problem.volume_fL)
    totals = []
    for position, side in zip(species, pair.units["side"], strict=True):
        context = sides[side]
        copies = state.ln_x[:, context, position].exp() * per_cell[context]
        totals.append(_concentration(model, state, pair, copies, context))
    total = torch.stack(totals, -1)
    weight = _ln_weight(model, state, pair, species)
    solved = equilibrium(pair.formula, weight[:, None], total)
    bound = solved.x[..., units:]
    received = (pair.units["side"] == "receiver").to_numpy()[:, None]
    held = model.tensor(pair.formula[:, units:] * received) * bound.unsqueeze(-2) / total.unsqueeze(-1)
    return solved.ln_x[..., units:], held.nan_to_num(0.0).amax(-2), solved.status.unsqueeze(-1)


def _concentration(model: Model, state: State, pair: PairNetwork, copies: Tensor, context: Tensor) -> Tensor:
    """Copies of a unit as the concentration that its partners meet, (start, pair)."""
    if pair.geometry != "contact":
        return copies / (MOLECULES_PER_UM_FL * pair.volume_fL)
    area = model.tensor(model.problem.surface_um2)[context]
    h = model.confinement(pair.confinement)(state.values).exp()
    return contact_concentration(copies, area, h[:, None])


def _ln_weight(model: Model, state: State, pair: PairNetwork, species: list[int]) -> Tensor:
    """Weights relative to the units, which are assembled already, (start, unit + complex)."""
    units = len(species)
    columns = species + [model.problem.network.all_species.index(name) for name in pair.complexes]
    g, omega = state.g[:, columns], model.ln_statistical_factor[columns]
    counts = model.tensor(pair.formula)
    relative = g - g[:, :units] @ counts
    ln_omega = omega - omega[:units] @ counts
    return ln_weight(relative, counts.sum(0), ln_omega, model.problem.temperature)
