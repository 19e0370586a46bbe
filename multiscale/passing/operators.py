"""PyTorch Geometric operators that send the messages over `Graph.to_hetero()`, for use inside a `HeteroConv`.

Node values have shape (node, context): contexts are channels, edges are never copied per cell.
"""

from __future__ import annotations

from torch import Tensor
from torch_geometric.nn import MessagePassing

from multiscale.physics.scales import relative_to_mean, supply

__all__ = ["Pooling", "Translation"]


class Translation(MessagePassing):
    """molecule → molecule (`encodes`): s_m = Σ_r t_m R_r, one PyG pass of `messages.translate`.

    Shapes: `x` is a pair (ln R (transcript, context), ln t (molecule, 1)); returns s (molecule, context) in
    copies.
    """

    def __init__(self) -> None:
        super().__init__(aggr="sum")

    def forward(self, x: tuple[Tensor, Tensor], edge_index: Tensor) -> Tensor:
        """Return the supply of every molecule, copies per cell."""
        return self.propagate(edge_index, x=x, size=(x[0].shape[0], x[1].shape[0]))

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Copies that one transcript supplies."""
        return supply(x_i, x_j).exp()


class Pooling(MessagePassing):
    """molecule, complex → pathway (`member`): a_p = Σ_i sign_i w_i ln(x_i/x_i,ref), one PyG pass.

    The same law as `messages.pool`.

    Shapes: `x` is a pair (ln x (species, context), anything of shape (pathway, any)), `weight` is
    sign · w (edge,); returns activities (pathway, context). The reference is the geometric mean over
    contexts.
    """

    def __init__(self) -> None:
        super().__init__(aggr="sum")

    def forward(self, x: tuple[Tensor, Tensor], edge_index: Tensor, weight: Tensor) -> Tensor:
        """Return the activity of every pathway."""
        relative, pathways = relative_to_mean(x[0], axis=-1), x[1].shape[0]
        return self.propagate(edge_index, x=relative, weight=weight, size=(relative.shape[0], pathways))

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Signed weight times ln of the member relative to its reference."""
        return weight.unsqueeze(-1) * x_j
