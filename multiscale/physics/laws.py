"""All rate laws by the name that a graph gives them."""

from __future__ import annotations

from collections.abc import Callable

from multiscale.physics import enzyme, mass_action, regulation, transport
from multiscale.physics.law import Law

__all__ = ["LAWS"]

# Factories. Most take no arguments; those that do:
#   mass_action(reactants)                        number of reactant molecules
#   reversible_mass_action(reactants, products)   numbers of molecules
#   michaelis_menten(enzyme=True)                 False: V_max instead of k_cat and E
#   modular(substrates, products)                 stoichiometries, tuples
#   promoter(states, active)                      factors bound in every state, states that are transcribed
LAWS: dict[str, Callable[..., Law]] = {
    **mass_action.LAWS,
    **transport.LAWS,
    **enzyme.LAWS,
    **regulation.LAWS,
}
