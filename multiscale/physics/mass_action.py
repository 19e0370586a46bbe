"""Mass action: a rate constant times the product of the reactants, each as often as it reacts."""

from __future__ import annotations

from functools import cache

from multiscale.physics.law import Law
from multiscale.physics.rational import law_of, polynomial

__all__ = ["LAWS", "mass_action", "reversible_mass_action"]


@cache
def mass_action(reactants: int) -> Law:
    """Irreversible elementary reaction: v = k Π_i x_i.

    Slots: k (µM^(1−n)/s for n reactants), x1, ..., xn (µM). A reactant of stoichiometry 2 fills two slots.
    n = 0 is synthesis at a constant rate, n = 1 first-order decay. The flux is zero without a reactant and
    has no upper bound.

    Args:
        reactants: n, number of reactant molecules of one reaction event; at least 0.

    Source: C. M. Guldberg and P. Waage, J. Prakt. Chem. 19:69, 1879, doi:10.1002/prac.18790190111.

    >>> import torch
    >>> float(mass_action(2).rate(torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)))
    3.0
    """
    slots = ("k", *_numbered("x", reactants))
    return law_of("mass_action", slots, polynomial(slots, " ".join(slots)))


@cache
def reversible_mass_action(reactants: int, products: int) -> Law:
    """Reversible elementary reaction: v = k_f Π_i x_i − k_r Π_j y_j.

    Slots: k_f (µM^(1−n)/s), k_r (µM^(1−m)/s), x1, ..., xn, y1, ..., ym (µM). The flux is zero where
    Πy/Πx = k_f/k_r, the equilibrium constant, and lies between −k_r Πy and k_f Πx.

    Args:
        reactants: n, number of reactant molecules of one reaction event; at least 0.
        products: m, number of product molecules; at least 0.

    Source: C. M. Guldberg and P. Waage, J. Prakt. Chem. 19:69, 1879, doi:10.1002/prac.18790190111.

    >>> import torch
    >>> float(reversible_mass_action(1, 1).rate(torch.tensor([2.0, 0.5, 3.0, 4.0], dtype=torch.float64)))
    4.0
    """
    x, y = _numbered("x", reactants), _numbered("y", products)
    slots = ("k_f", "k_r", *x, *y)
    net = polynomial(slots, " ".join((*x, "k_f")), " ".join(("-", *y, "k_r")))
    return law_of("reversible_mass_action", slots, net)


def _numbered(letter: str, count: int) -> tuple[str, ...]:
    """Names x1, x2, ..., of repeated slots."""
    return tuple(f"{letter}{i}" for i in range(1, count + 1))


LAWS = {"mass_action": mass_action, "reversible_mass_action": reversible_mass_action}
