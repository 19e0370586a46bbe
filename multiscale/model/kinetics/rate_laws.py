"""Rate law of a reaction and where it finds what it reads: y = [x, t, p]."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pandas as pd

from multiscale.graph.rates import Need, Reaction, needs_of
from multiscale.graph.schema import CONCENTRATIONS
from multiscale.model.kinetics.rate_constants import Columns
from multiscale.physics.law import Law
from multiscale.physics.laws import LAWS
from multiscale.units import to_uM

__all__ = ["Reader"]

Slots = list[int | str]  # columns of p, and names of species
Constants = dict[str, int]  # column by name of the constant


class Reader:
    """Finds law and slots of reactions, and collects the columns of p on the way.

    Args:
        species: position of every species in x.
        parameters: table of the graph's parameters, for their units.
        columns: filled with what the laws read.
    """

    def __init__(self, species: dict[str, int], parameters: pd.DataFrame, columns: Columns) -> None:
        self._species, self._units, self.columns = species, parameters["unit"].to_dict(), columns

    def law(self, reaction: Reaction) -> tuple[Law, list[int]]:
        """Law of a reaction and the positions in y of its slots."""
        constants = {need.names[0]: self._constant(reaction, need) for need in needs_of(reaction)}
        law, slots = _READERS[reaction.law](reaction, constants, self.columns)
        first = len(self._species) + 1
        return law, [first + slot if isinstance(slot, int) else self._species[slot] for slot in slots]

    def ln_equilibrium(self, reaction: Reaction) -> int:
        """Column with ln K of a reaction: ln(k_f/k_r) where both are given, else from the energies."""
        if "k_f" in reaction.constants and "k_r" in reaction.constants:
            forward, backward = (self._constant(reaction, need) for need in needs_of(reaction))
            return self.columns.weight(f"ln K of {reaction.name}", {forward: 1.0, backward: -1.0})
        K = self.columns.equilibrium(reaction.name, *self._sides(reaction))
        return self.columns.weight(f"ln K of {reaction.name}", {K: 1.0})

    def _constant(self, reaction: Reaction, need: Need) -> int:
        given = need.given(reaction)
        if given:
            unit = self._units[given]
            return self.columns.parameter(given, to_uM(1.0, unit) if unit in CONCENTRATIONS else 1.0)
        if need.constant.backward:
            k_f = self.columns.parameter(reaction.constants["k_f"])
            return self.columns.backward(reaction.name, k_f, *self._sides(reaction))
        if need.constant.from_energy:
            return self.columns.equilibrium(reaction.name, *self._sides(reaction))
        return self.columns.number(need.constant.default)

    def _sides(self, reaction: Reaction) -> tuple[dict[int, int], dict[int, int]]:
        reactants = {self._species[name]: n for name, n in reaction.reactants.items()}
        return reactants, {self._species[name]: n for name, n in reaction.products.items()}


def _mass_action(reaction: Reaction, constants: Constants, _: Columns) -> tuple[Law, Slots]:
    """Molecules that react, each as often as it does, and catalysts, on both sides."""
    before = _molecules(reaction.reactants) + reaction.modifiers["catalyst"]
    after = _molecules(reaction.products) + reaction.modifiers["catalyst"]
    if not reaction.reversible:
        return LAWS["mass_action"](len(before)), [constants["k_f"], *before]
    law = LAWS["reversible_mass_action"](len(before), len(after))
    return law, [constants["k_f"], constants["k_r"], *before, *after]


def _transport(reaction: Reaction, constants: Constants, _: Columns) -> tuple[Law, Slots]:
    return LAWS["transport"](), [constants["k"], constants["K"], *reaction.reactants, *reaction.products]


def _michaelis_menten(reaction: Reaction, constants: Constants, _: Columns) -> tuple[Law, Slots]:
    enzyme = reaction.modifiers["catalyst"]
    return LAWS["michaelis_menten"](bool(enzyme)), [*constants.values(), *enzyme, *reaction.reactants]


def _reversible(reaction: Reaction, constants: Constants, columns: Columns) -> tuple[Law, Slots]:
    enzyme = _enzyme(reaction, columns)
    slots = [*constants.values(), enzyme, *reaction.reactants, *reaction.products]
    return LAWS["reversible_michaelis_menten"](), slots


def _inhibited(reaction: Reaction, constants: Constants, columns: Columns) -> tuple[Law, Slots]:
    enzyme, inhibitor = _enzyme(reaction, columns), reaction.modifiers["inhibitor"]
    return LAWS[reaction.law](), [*constants.values(), enzyme, *reaction.reactants, *inhibitor]


def _modular(reaction: Reaction, constants: Constants, columns: Columns) -> tuple[Law, Slots]:
    law = LAWS["modular"](tuple(reaction.reactants.values()), tuple(reaction.products.values()))
    rate, equilibrium, *_ = constants.values()
    species = [*reaction.reactants, *reaction.products]
    halves = [next(c for n, c in constants.items() if n in ("Km", f"Km:{s}")) for s in species]
    return law, [rate, equilibrium, *halves, _enzyme(reaction, columns), *species]


def _hill(reaction: Reaction, constants: Constants, _: Columns) -> tuple[Law, Slots]:
    inhibitor = reaction.modifiers["inhibitor"]
    read = [*reaction.reactants, *reaction.modifiers["activator"], *inhibitor]
    return LAWS["hill_repression" if inhibitor else "hill"](), [*constants.values(), *read]


def _promoter(reaction: Reaction, constants: Constants, columns: Columns) -> tuple[Law, Slots]:
    """Any set of factors may be bound; ln w = (n − 1) ln cooperativity − Σ ln K of the n that are.

    Transcribed is the state with all activators and no inhibitor.
    """
    activators, inhibitors = reaction.modifiers["activator"], reaction.modifiers["inhibitor"]
    factors = [*activators, *inhibitors]
    half = [next(c for n, c in constants.items() if n in ("K", f"K:{s}")) for s in factors]
    states = [s for n in range(len(factors) + 1) for s in combinations(range(len(factors)), n)]
    weights = []
    for state in states[1:]:
        powers = {half[i]: -1.0 for i in state} | {constants["cooperativity"]: len(state) - 1.0}
        bound = "+".join(factors[i] for i in state)
        weights.append(columns.weight(f"ln weight of {bound} at {reaction.name}", powers))
    law = LAWS["promoter"](tuple(states), (states.index(tuple(range(len(activators)))),))
    return law, [constants["k"], *weights, *factors]


def _molecules(side: dict[str, int]) -> list[str]:
    return [name for name, number in side.items() for _ in range(number)]


def _enzyme(reaction: Reaction, columns: Columns) -> int | str:
    """The catalyst, or 1 where V_max stands for k_cat times the enzyme."""
    catalyst = reaction.modifiers["catalyst"]
    return catalyst[0] if catalyst else columns.number(1.0)


_READERS: dict[str, Callable[[Reaction, Constants, Columns], tuple[Law, Slots]]] = {
    "mass_action": _mass_action,
    "transport": _transport,
    "michaelis_menten": _michaelis_menten,
    "reversible_michaelis_menten": _reversible,
    "competitive_inhibition": _inhibited,
    "noncompetitive_inhibition": _inhibited,
    "uncompetitive_inhibition": _inhibited,
    "modular": _modular,
    "hill": _hill,
    "promoter": _promoter,
}
