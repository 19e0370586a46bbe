"""PyTorch Geometric operators that send the messages over `Graph.to_hetero()`, for use inside a `HeteroConv`.

Node values have shape (node, context): contexts are channels, edges are never copied per cell.
"""

from __future__ import annotations

from torch import Tensor
from torch_geometric.nn import MessagePassing

from multiscale.passing.messages import weighted
from multiscale.physics.scales import phenotype_rate, relative_to_mean, supply

__all__ = ["Drive", "Pooling", "Translation"]


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
        return weighted(x_j, weight.unsqueeze(-1))


class Drive(MessagePassing):
    """pathway → cell (`drives`): μ = μ₀ + b · tanh(Σ_p β_p a_p / b), one PyG pass of `messages.drive`.

    Args:
        bound: b > 0, the largest change of the rate, 1/s.

    Shapes: `x` is a pair (activity (pathway, context), μ₀ (cell, context or 1)), `weight` is β = sign ·
    weight (edge,), the edges are those of one phenotype; returns μ (cell, context).
    """

    def __init__(self, bound: float | Tensor) -> None:
        super().__init__(aggr="sum")
        self.bound = bound

    def forward(self, x: tuple[Tensor, Tensor], edge_index: Tensor, weight: Tensor) -> Tensor:
        """Return the rate of the phenotype in every cell."""
        activity, base = x
        size = (activity.shape[0], base.shape[0])
        drive = self.propagate(edge_index, x=activity, weight=weight, size=size)
        return phenotype_rate(base, drive, self.bound)

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Signed weight times the activity of the pathway."""
        return weighted(x_j, weight.unsqueeze(-1))
