"""Product scores of ligand and receptor expression, as other programs define them.

L and R are the mean of ln(1 + normalised counts) of the ligand in the sender and of the receptor in the
receiver; that of a complex is the least of its subunits. They know neither affinity nor competition.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import beta, rankdata

__all__ = [
    "expression_product",
    "hill_probability",
    "mean_of_means",
    "regularised_product",
    "robust_rank",
    "specificity_weight",
]


def mean_of_means(ligand: np.ndarray, receptor: np.ndarray) -> np.ndarray:
    """CellPhoneDB's mean: (L + R)/2, or 0 where either is 0.

    Args:
        ligand: L, any shape.
        receptor: R, broadcastable.

    Source: Efremova 2020 (doi:10.1038/s41596-020-0292-x); column `lr_means` of LIANA.

    >>> mean_of_means(np.array([1.0, 1.0]), np.array([3.0, 0.0])).tolist()
    [2.0, 0.0]
    """
    return np.where((ligand > 0) & (receptor > 0), 0.5 * (ligand + receptor), 0.0)


def expression_product(ligand: np.ndarray, receptor: np.ndarray) -> np.ndarray:
    """NATMI's product: L R.

    Source: Hou 2020 (doi:10.1038/s41467-020-18873-z); column `expr_prod` of LIANA.
    """
    return ligand * receptor


def specificity_weight(ligand: np.ndarray, receptor: np.ndarray) -> np.ndarray:
    """NATMI's specificity: share of the groups' L that the sender has, times share of R of the receiver.

    Args:
        ligand: L of all groups as senders, shape (group, pair).
        receptor: R of all groups as receivers, shape (group, pair).

    Returns:
        shape (sender, receiver, pair); 0 where no group has any.

    Source: Hou 2020 (doi:10.1038/s41467-020-18873-z); column `spec_weight` of LIANA.

    >>> specificity_weight(np.array([[1.0], [3.0]]), np.array([[2.0], [2.0]]))[1, 0].tolist()
    [0.375]
    """
    shares = [np.divide(v, v.sum(0), out=np.zeros_like(v), where=v.sum(0) > 0) for v in (ligand, receptor)]
    return shares[0][:, None] * shares[1][None]


def regularised_product(ligand: np.ndarray, receptor: np.ndarray, mean: float) -> np.ndarray:
    """SingleCellSignalR's score: √(L R) / (μ + √(L R)), within [0, 1).

    Args:
        ligand: L.
        receptor: R, broadcastable.
        mean: μ, mean of the whole matrix, positive.

    Source: Cabello-Aguilar 2020 (doi:10.1093/nar/gkaa183); column `lrscore` of LIANA.

    >>> regularised_product(np.array([1.0]), np.array([4.0]), 0.5).tolist()
    [0.8]
    """
    root = np.sqrt(ligand * receptor)
    return root / (mean + root)


def hill_probability(ligand: np.ndarray, receptor: np.ndarray, half: float = 0.5) -> np.ndarray:
    """CellChat's probability: L R / (K + L R), of trimeans relative to the largest value of the matrix.

    This is LIANA's form: no agonists, antagonists or shares of cells, and the least subunit in place of the
    geometric mean of subunits.

    Args:
        ligand: trimean in the sender over the largest value.
        receptor: trimean in the receiver over the largest value, broadcastable.
        half: K.

    Source: Jin 2021 (doi:10.1038/s41467-021-21246-9), Hill coefficient 1, K = 0.5; column `lr_probs` of
        LIANA.

    >>> hill_probability(np.array([0.5]), np.array([1.0])).tolist()
    [0.5]
    """
    product = ligand * receptor
    return product / (half + product)


def robust_rank(scores: np.ndarray) -> np.ndarray:
    """Consensus of several rankings: ρ = min(1, m · min_k P[Beta(k, m − k + 1) ≤ r₍ₖ₎]).

    r₍ₖ₎ is the k-th smallest of the m relative ranks of an item. If all rankings were independent and random,
    r₍ₖ₎ would have that beta distribution; scores of the same expression are not independent, so ρ orders
    items and is no p value.

    Args:
        scores: large = high up, shape (item, ranking).

    Returns:
        ρ, small = high up in more rankings than expected, shape (item,).

    Source: Kolde 2012 (doi:10.1093/bioinformatics/btr709); `magnitude_rank` and `specificity_rank` of LIANA.

    First of two in both of two rankings: r = (½, ½), so 2 · min(1 − ½², ½²) = ½.

    >>> robust_rank(np.array([[2.0, 9.0], [1.0, 8.0]])).tolist()
    [0.5, 1.0]
    """
    count = scores.shape[1]
    if len(scores) == 0:
        return np.zeros(0)
    ranks = np.stack([rankdata(-column) for column in scores.T], 1)
    relative = np.sort(ranks / ranks.max(0), axis=1)
    order = np.arange(1, count + 1)
    smallest = beta.cdf(relative, order, count - order + 1).min(1)
    return np.minimum(1.0, count * smallest)
