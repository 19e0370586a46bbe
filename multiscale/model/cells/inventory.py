"""Where the molecules of cells are: from concentrations to copies, in all forms or on membranes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multiscale.model.problem import Problem
from multiscale.units import MOLECULES_PER_UM_FL

__all__ = ["Inventory", "ln_sums"]


class Inventory:
    """Counts molecules of cells whose conditions are the contexts of a problem.

    Args:
        problem: with a network and the volumes of its cells.
        molecules: in the order in which they are counted.
        device: where tensors live.

    Attributes:
        molecules: names of the molecules that are counted.
        species: names of all species.
        on_membrane: which species lie on a membrane.
        visible: which molecules have such a form.
        ln_per_cell: ln of copies per µM of every condition, NaN where the volume is not known, (condition,).
    """

    def __init__(self, problem: Problem, molecules: list[str], device: torch.device) -> None:
        network = problem.network
        self.molecules, self.species = molecules, network.species
        counts = np.asarray(network.formula, float)[[network.molecules.index(name) for name in molecules]]
        on_surface = counts * network.surface
        seen = np.any(on_surface, axis=1)
        self.on_membrane, self.visible = network.surface.tolist(), seen.tolist()
        self._counts = torch.as_tensor(counts, device=device)
        self._seen = torch.as_tensor(np.flatnonzero(seen), device=device)
        self._surface = torch.as_tensor(on_surface[seen], device=device)
        self._share = torch.as_tensor(np.asarray(network.crowding, float), device=device)
        volume = torch.as_tensor(problem.volume_fL, device=device)
        self.ln_per_cell = (MOLECULES_PER_UM_FL * volume).log()

    def copies(self, ln_x: Tensor, condition: Tensor) -> Tensor:
        """Ln copies of every species, (cell, species)."""
        return ln_x + self._share + self.ln_per_cell[condition, None]

    def counted(self, ln_x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Ln copies of molecules in all forms, and on membranes: −inf where it has none; (cell, molecule).

        Args:
            ln_x: ln concentrations of species, each in its compartment, ln µM, (cell, species).
            condition: of every cell, (cell,).
        """
        in_cell = ln_x + self._share
        per_cell = self.ln_per_cell[condition, None]
        total = ln_sums(in_cell, self._counts) + per_cell
        nowhere = torch.full_like(total, -torch.inf)
        return total, nowhere.index_copy(1, self._seen, ln_sums(in_cell, self._surface) + per_cell)


def ln_sums(ln_values: Tensor, counts: Tensor) -> Tensor:
    """Weighted sums in log space, ln Σ_j C_kj exp(ln v_j), where values may be absent.

    Args:
        ln_values: −inf where there is nothing, shape (cell, value).
        counts: C ≥ 0, shape (sum, value).

    Returns:
        shape (cell, sum); −inf, without a gradient, where nothing contributes.

    >>> import math
    >>> v = torch.tensor([[0.0, math.log(3.0), -math.inf]], dtype=torch.float64)
    >>> C = torch.tensor([[1.0, 2.0, 5.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    >>> [round(float(value), 9) for value in ln_sums(v, C).exp()[0]]
    [7.0, 0.0]
    """
    shift = ln_values.detach().amax(-1, keepdim=True)
    shift = torch.where(shift.isfinite(), shift, 0.0)
    sums = (ln_values - shift).exp() @ counts.T
    present = sums > 0
    return torch.where(present, torch.where(present, sums, 1.0).log() + shift, -torch.inf)
