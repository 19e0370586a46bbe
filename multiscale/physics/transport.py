"""Exchange of one species between two compartments of different volume."""

from __future__ import annotations

from functools import cache

from multiscale.physics.law import Law
from multiscale.physics.rational import Ratio, law_of, polynomial

__all__ = ["LAWS", "exchange_coefficients", "exchange_constant", "transport"]


@cache
def transport() -> Law:
    """First-order exchange across a boundary: v = k (x_from − x_to/K).

    Slots: k (1/s), K (1, the ratio x_to/x_from at equilibrium), x_from, x_to (µM). The flux is counted in the
    volume of the compartment of x_from: V_from v is the amount that crosses per time (see
    `exchange_coefficients`). It is zero where x_to = K x_from and lies between −k x_to/K and k x_from.

    Source: flux through a boundary is permeability × area × difference of concentrations; kinetics with
    several volumes: J.-H. S. Hofmeyr, BioSystems 197:104203, 2020, doi:10.1016/j.biosystems.2020.104203.

    >>> import torch
    >>> float(transport().rate(torch.tensor([0.5, 2.0, 3.0, 4.0], dtype=torch.float64)))
    0.5
    """
    slots = ("k", "K", "x_from", "x_to")
    net = polynomial(slots, "K x_from k", "- x_to k")
    return law_of("transport", slots, Ratio(net, polynomial(slots, "K")))


def exchange_constant(permeability: float, area: float, volume: float) -> float:
    """Rate constant of `transport` through a membrane: k = P A/V_from.

    Args:
        permeability: P, µm/s.
        area: A, area of the membrane, µm².
        volume: V_from, volume of the compartment of x_from, fL (= µm³).

    Returns:
        k in 1/s.

    Source: definition of permeability.

    >>> exchange_constant(permeability=0.02, area=500.0, volume=1000.0)
    0.01
    """
    return permeability * area / volume


def exchange_coefficients(volume_from: float, volume_to: float) -> tuple[float, float]:
    """Coefficients of x_from and x_to for a flux counted in the volume of x_from: −1 and V_from/V_to.

    With them dx_from/dt = −v, dx_to/dt = v V_from/V_to, and the amount V_from x_from + V_to x_to is constant.

    Args:
        volume_from: V_from, fL.
        volume_to: V_to, fL.

    Source: definition.

    >>> exchange_coefficients(1000.0, 250.0)
    (-1.0, 4.0)
    """
    return -1.0, volume_from / volume_to


LAWS = {"transport": transport}
