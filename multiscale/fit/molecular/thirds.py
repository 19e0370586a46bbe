"""Third derivatives of rows' log densities, contracted: how curvature changes along the scalars of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from multiscale.model.molecular import RowModel

__all__ = ["contracted"]


def contracted(part: RowModel, u: Tensor, rows: Tensor, variance: Tensor) -> Tensor:
    """Σ_ab V_ab ∂³ ln p/∂u_a ∂u_b ∂u_c of every row.

    Args:
        part: the model of the rows.
        u: scalars, shape (1, row, scalar).
        rows: their positions.
        variance: V, shape (row, scalar, scalar).

    Returns:
        shape (row, scalar).
    """
    leaf = u.detach().requires_grad_(True)
    (first,) = torch.autograd.grad(part.log_density(leaf, rows).sum(), leaf, create_graph=True)
    total = torch.zeros((), dtype=u.dtype, device=u.device)
    for k in range(u.shape[-1] if first.requires_grad else 0):
        (column,) = torch.autograd.grad(first[..., k].sum(), leaf, create_graph=True, allow_unused=True)
        total = total if column is None else total + (column[0] * variance[:, k]).sum()
    if not total.requires_grad:  # the log density is a parabola
        return torch.zeros_like(u[0])
    (found,) = torch.autograd.grad(total, leaf, allow_unused=True)
    return torch.zeros_like(u[0]) if found is None else found[0]
