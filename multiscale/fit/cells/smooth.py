"""Latent states of neighbouring cells are pulled together."""

from __future__ import annotations

import torch
from scipy import sparse
from torch import Tensor

__all__ = ["Smoothness"]


class Smoothness:
    """Penalty s/2 Σ_ij w_ij |μ_i − μ_j|² over all ordered pairs of cells, per cell.

    Of a minibatch only pairs within it are known. Where all subsets of its size are equally likely, a pair
    is in it with probability b(b − 1)/(N(N − 1)), so that

        s (N − 1) / (2 b (b − 1)) Σ_{i, j in the minibatch} w_ij |μ_i − μ_j|²

    has the penalty per cell, s/(2N) Σ_ij w_ij |μ_i − μ_j|², as its mean over minibatches. This holds for
    cells in memory. From disk, cells are dealt in blocks of neighbouring rows: pairs of rows that stand close
    together come more often, and count for more. The noise falls with the number of pairs in a minibatch,
    about b²/N times the neighbours of a cell. Cells that were not solved are left out.

    Args:
        strength: s, in nats per unit of w and of squared difference.
        neighbours: w, of the cells that minibatches number, shape (cell, cell).
        cells: N, of the whole problem.
    """

    def __init__(self, strength: float, neighbours: sparse.csr_array, cells: int) -> None:
        self.strength, self.neighbours, self.cells = strength, neighbours, cells

    def __call__(self, index: Tensor, mean: Tensor, failed: Tensor) -> Tensor:
        """Estimate of the penalty per cell, nats, float64, shape ().

        Args:
            index: positions of the cells of a minibatch, shape (cell,).
            mean: μ of them, shape (cell, latent).
            failed: which were not solved, shape (cell,).

        >>> import numpy as np
        >>> two = Smoothness(1.0, sparse.csr_array(np.array([[0.0, 3.0], [0.0, 0.0]])), 2)
        >>> mean = torch.tensor([[0.0], [2.0]])
        >>> float(two(torch.arange(2), mean, torch.zeros(2, dtype=torch.bool)))  # 1/(2·2) · 3 · 2²
        3.0
        """
        size, chosen = len(index), index.cpu().numpy()
        if size < 2:
            return torch.zeros((), dtype=torch.float64, device=mean.device)
        pairs = sparse.coo_array(self.neighbours[chosen][:, chosen])
        row, column = (torch.as_tensor(part, device=mean.device).long() for part in pairs.coords)
        weight = torch.as_tensor(pairs.data, device=mean.device).double()
        weight = torch.where(failed[row] | failed[column], 0.0, weight)
        squares = (mean[row] - mean[column]).double().square().sum(1)
        return self.strength * (self.cells - 1) / (2 * size * (size - 1)) * (weight * squares).sum()
