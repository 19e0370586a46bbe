"""Fast reactions of a graph: what they conserve, and the weights that balance them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multiscale.errors import GraphError
from multiscale.graph import conserved_moieties
from multiscale.graph.rates import Reaction
from multiscale.model.kinetics.rate_constants import Columns
from multiscale.model.kinetics.rate_laws import Reader
from multiscale.model.kinetics.species import moieties_of, stoichiometry
from multiscale.solver.rapid import weights_of_constants

__all__ = ["Fast"]


@dataclass(frozen=True, eq=False)
class Fast:
    """Reactions that stay balanced: ln x = ln w + Aᵀλ with T = A x, ln w = R ln K.

    Args:
        formula: A, totals that no fast reaction changes, shape (total, species).
        weights: R, shape (species, fast reaction).
        columns: constants of the fast reactions.
        ln_K: columns with the logarithms of their equilibrium constants.
    """

    formula: Tensor
    weights: Tensor
    columns: Columns
    ln_K: list[int]

    @classmethod
    def of(
        cls,
        reactions: list[Reaction],
        position: dict[str, int],
        reader: Reader,
        unmixable: Mapping[str, str],
        graph: str,
    ) -> Fast | None:
        """Work out what fast reactions conserve; None if there are none.

        Args:
            reactions: the fast ones.
            position: of every species in x.
            reader: finds constants, and collects their columns.
            unmixable: per reaction why it cannot be fast.
            graph: name, for messages.

        Raises:
            GraphError: a reaction cannot be fast, or its totals cannot be counted in non-negative integers.
        """
        if not reactions:
            return None
        problems = [
            f"nodes.tsv: fast reaction `{name}` {why}; leave `fast` empty." for name, why in unmixable.items()
        ]
        if problems:
            raise GraphError(problems, graph)
        N = stoichiometry(reactions, position)
        formula = conserved_moieties(N)
        if (formula < 0).any():
            raise GraphError(
                "nodes.tsv: the fast reactions conserve no totals that count molecules; leave `fast` of some"
                " empty.",
                graph,
            )
        chosen = _independent(N)
        ln_K = [reader.ln_equilibrium(reactions[i]) for i in chosen]
        R = weights_of_constants(torch.tensor(N[:, chosen], dtype=torch.float64))
        return cls(torch.tensor(formula, dtype=torch.float64), R, reader.columns, ln_K)

    def to(self, device: torch.device | str) -> Fast:
        """The same on another device."""
        return replace(self, formula=self.formula.to(device), weights=self.weights.to(device))

    def moieties(self, N: NDArray[np.int64], inputs: list[int], volume: list[float]) -> Tensor:
        """Conserved combinations of totals, shape (moiety, total).

        Args:
            N: net changes in the other reactions, shape (species, reaction).
            inputs: positions of constant species, each a total of its own.
            volume: of every species; all in one total have the same.
        """
        A = self.formula.cpu().numpy().round().astype(np.int64)
        home = np.array(volume)[(A > 0).argmax(axis=1)]
        fixed = [int(A[:, i].argmax()) for i in inputs]
        return moieties_of(A @ N, fixed, home)

    def ln_weight(self, parameters: Mapping[str, Tensor], g: Tensor, temperature: float) -> Tensor:
        """Ln w of every species, shape (..., species); g are effective energies."""
        return self.columns.values(parameters, g, temperature)[..., self.ln_K] @ self.weights.T


def _independent(N: np.ndarray) -> list[int]:
    """Reactions that are no combination of earlier ones; the constants of others follow from theirs."""
    chosen: list[int] = []
    for column in range(N.shape[1]):
        if np.linalg.matrix_rank(N[:, [*chosen, column]]) > len(chosen):
            chosen.append(column)
    return chosen
