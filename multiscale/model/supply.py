"""Starts of molecules that transcripts encode: supply by translation, in the volume of the cell."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multiscale.model.problem import Problem
from multiscale.passing.messages import translate
from multiscale.physics.scales import ln_concentration

__all__ = ["Supply"]


class Supply:
    """Puts supplied concentrations in the place of starts that the graph states.

    Args:
        problem: with molecules that are supplied, and volumes of its cells.
        position: of every species in x.
        device: where values are.
    """

    def __init__(self, problem: Problem, position: dict[str, int], device: torch.device) -> None:
        network = problem.network
        chosen = [network.molecules.index(name) for name in problem.supplied]
        self._species = torch.tensor([position[name] for name in problem.supplied], device=device)
        edges = np.array(np.nonzero(network.encodes[chosen]))[::-1].copy()
        self._encodes = torch.as_tensor(edges, device=device)
        self._volume = torch.as_tensor(problem.volume_fL, device=device)
        self._crowding = torch.as_tensor(network.crowding[chosen], device=device)

    def ln_copies(self, values: dict[str, Tensor]) -> Tensor:
        """Ln copies of the molecules that are supplied, (start, context, molecule)."""
        ln_translation = values["translation_mean"] + values["translation"]
        return translate(values["level"], ln_translation[:, None], self._encodes)

    def put(self, before: Tensor, values: dict[str, Tensor]) -> Tensor:
        """Concentrations in which encoded molecules have what is supplied, (start, context, species)."""
        ln_x = ln_concentration(self.ln_copies(values), self._volume) - self._crowding
        return before.expand(len(ln_x), -1, -1).index_copy(2, self._species, ln_x.exp())
