"""One compartment in which two cells meet: equilibrium of the units of a sender and a receiver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from multiscale.model.network import PairNetwork
from multiscale.physics.scales import contact_concentration
from multiscale.solver import equilibrium
from multiscale.units import MOLECULES_PER_UM_FL

__all__ = ["Place", "meet"]


@dataclass(frozen=True, eq=False)
class Place:
    """A compartment in which cells meet.

    Args:
        pair: its units and complexes.
        columns: column of every unit among the species within a cell.
        ln_weight: of the complexes, relative to the units.
        known: whether the affinity of each complex has a source.
        confinement_nm: confinement length of a contact, nm.
    """

    pair: PairNetwork
    columns: np.ndarray
    ln_weight: np.ndarray
    known: np.ndarray
    confinement_nm: float

    @property
    def received(self) -> np.ndarray:
        """Which units are on the receiver."""
        return (self.pair.units["side"] == "receiver").to_numpy()

    @property
    def receptors(self) -> tuple[np.ndarray, np.ndarray]:
        """Unit on the receiver of every complex, and how many of it."""
        counts = self.pair.formula[:, len(self.columns) :] * self.received[:, None]
        return counts.argmax(0), counts.max(0)

    def rows(self) -> list[dict[str, object]]:
        """One row per complex: units, counts, Kd per contact."""
        units, found = self.pair.units["unit"].to_numpy(), []
        counts = self.pair.formula[:, len(units) :]
        for i, name in enumerate(self.pair.complexes):
            sent = int(np.flatnonzero((counts[:, i] > 0) & ~self.received)[0])
            got = int(np.flatnonzero((counts[:, i] > 0) & self.received)[0])
            found.append(
                {
                    "complex": name,
                    "compartment": self.pair.compartment,
                    "ligand_complex": str(units[sent]),
                    "receptor_complex": str(units[got]),
                    "ligand_count": int(counts[sent, i]),
                    "receptor_count": int(counts[got, i]),
                    "Kd_uM": float(np.exp(self.ln_weight[i] / (1 - counts[:, i].sum()))),
                    "Kd_known": bool(self.known[i]),
                }
            )
        return found


def meet(place: Place, copies: Tensor, area: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Equilibrium of one compartment for all ordered pairs of groups.

    Args:
        place: the compartment.
        copies: per cell of every species within a cell, shape (labelling, group, species).
        area: of a cell, µm², shape (group,).

    Returns:
        concentration of every complex, µM; copies per receiving cell; fraction of the receptor that it holds,
        each (labelling, sender, receiver, complex). NaN where the equilibrium has no solution.
    """
    units, groups = len(place.columns), copies.shape[1]
    seen, per_uM = _seen(place, copies[..., torch.as_tensor(place.columns)], area)
    received = torch.as_tensor(place.received)
    shape = (len(copies), groups, groups, units)
    total = torch.where(received, seen[:, None].expand(shape), seen[:, :, None].expand(shape))
    failed = total.isnan().any(-1, keepdim=True)
    weight = torch.as_tensor(np.concatenate([np.zeros(units), place.ln_weight]))
    solved = equilibrium(place.pair.formula, weight, torch.where(failed, 0.0, total))
    x = solved.x[..., units:]
    x = torch.where(failed | ~solved.solved[..., None], torch.nan, x)
    of, count = (torch.as_tensor(values) for values in place.receptors)
    held = torch.where(x > 0, count * x / total[..., of], x)  # no receptor, no complex: 0
    return x, x * per_uM[:, None], held


def _seen(place: Place, copies: Tensor, area: Tensor) -> tuple[Tensor, Tensor]:
    """Concentrations of units that partners meet, µM, and copies per receiving cell at 1 µM, (group,)."""
    if place.pair.geometry != "contact":
        volume = MOLECULES_PER_UM_FL * place.pair.volume_fL
        return copies / volume, torch.full_like(area, volume)
    length = torch.as_tensor(place.confinement_nm, dtype=area.dtype)
    return (
        contact_concentration(copies, area[:, None], length),
        area * MOLECULES_PER_UM_FL * 1e-3 * place.confinement_nm,
    )
