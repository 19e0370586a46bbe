"""PyTorch Geometric operators of reactions and binding over `Graph.to_hetero()`, for use in a `HeteroConv`.

Node values have shape (node, context). Relations are sent against their direction as `rev_<relation>`, the
names that `torch_geometric.transforms.ToUndirected(merge=False)` gives them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from multiscale.passing.messages import weighted

__all__ = ["Binding", "Change", "MassAction", "Totals"]


class MassAction(MessagePassing):
    """species → reaction (`reactant`, `rev_product`, `modifier`): Π_s x_s^n_s, one multiplicative PyG pass.

    Reactions without such species get 1. Zeros and signs of concentrations are exact, also in gradients;
    second derivatives are refused by PyTorch where two factors of one product are zero.

    Shapes: `x` is a pair (x (species, context) in µM, anything of shape (reaction, any)), `stoichiometry`
    is n (edge,), by default 1 as for catalysts; returns products (reaction, context) in powers of µM.

    Source: `physics.mass_action`, the law that it feeds.
    """

    def __init__(self) -> None:
        super().__init__(aggr="mul")

    def forward(
        self, x: tuple[Tensor, Tensor], edge_index: Tensor, stoichiometry: Tensor | None = None
    ) -> Tensor:
        """Return the product of concentrations of every reaction."""
        n = torch.ones_like(edge_index[0]) if stoichiometry is None else stoichiometry
        return self.propagate(edge_index, x=x[0], n=n, size=(x[0].shape[0], x[1].shape[0]))

    def message(self, x_j: Tensor, n: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Concentration to the power of its stoichiometry."""
        return x_j ** n.unsqueeze(-1)

    def aggregate(self, inputs: Tensor, index: Tensor, dim_size: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Multiply; as PyG does with "mul", which warns on a GPU where torch_scatter is not installed."""
        ones = inputs.new_ones(dim_size, inputs.shape[1])
        return ones.scatter_reduce(0, index.unsqueeze(-1).expand_as(inputs), inputs, "prod")


class Change(MessagePassing):
    """reaction → species (`product` with sign +1, `rev_reactant` with −1): Σ_r ± c_sr v_r, that is N v.

    The same law as `messages.change`.

    Args:
        sign: +1 for what reactions make, −1 for what they consume.

    Shapes: `x` is a pair (v (reaction, context) in µM/s, anything of shape (species, any)), `stoichiometry`
    is c (edge,), times the volume in which v is counted over that of the species where these differ; returns
    dx/dt (species, context) in µM/s.
    """

    def __init__(self, sign: int = 1) -> None:
        super().__init__(aggr="sum")
        if sign not in (-1, 1):
            raise ValueError(f"`sign` must be +1 (products) or -1 (reactants); got {sign}.")
        self.sign = sign

    def forward(self, x: tuple[Tensor, Tensor], edge_index: Tensor, stoichiometry: Tensor) -> Tensor:
        """Return the rate of change of every species."""
        return self.propagate(edge_index, x=x[0], c=stoichiometry, size=(x[0].shape[0], x[1].shape[0]))

    def message(self, x_j: Tensor, c: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Signed stoichiometry times flux."""
        return weighted(x_j, self.sign * c.unsqueeze(-1))


class Binding(MessagePassing):
    """molecule → complex (`subunit`): ln x_j = ln w_j + Σ_m A_mj ln x_m, one PyG pass of `messages.bind`.

    Shapes: `x` is a pair (ln x of free molecules (molecule, context), ln w (complex, context or 1)),
    `stoichiometry` is A (edge,); returns ln x (complex, context), −inf where a subunit is absent.
    """

    def __init__(self) -> None:
        super().__init__(aggr="sum")

    def forward(self, x: tuple[Tensor, Tensor], edge_index: Tensor, stoichiometry: Tensor) -> Tensor:
        """Return ln of the concentration of every complex."""
        ln_free, ln_weight = x
        size = (ln_free.shape[0], ln_weight.shape[0])
        return ln_weight + self.propagate(edge_index, x=ln_free, A=stoichiometry, size=size)

    def message(self, x_j: Tensor, A: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Subunits times ln of the free molecule."""
        return weighted(x_j, A.unsqueeze(-1))


class Totals(MessagePassing):
    """complex → molecule (`rev_subunit`): T_m = x_m + Σ_j A_mj x_j, one PyG pass of `messages.total`.

    Shapes: `x` is a pair (x of complexes (complex, context), x of free molecules (molecule, context)),
    `stoichiometry` is A (edge,); returns T (molecule, context).
    """

    def __init__(self) -> None:
        super().__init__(aggr="sum")

    def forward(self, x: tuple[Tensor, Tensor], edge_index: Tensor, stoichiometry: Tensor) -> Tensor:
        """Return the total of every molecule."""
        bound, free = x
        size = (bound.shape[0], free.shape[0])
        return free + self.propagate(edge_index, x=bound, A=stoichiometry, size=size)

    def message(self, x_j: Tensor, A: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Subunits times the concentration of the complex."""
        return weighted(x_j, A.unsqueeze(-1))
