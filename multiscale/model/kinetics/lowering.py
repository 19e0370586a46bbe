"""What lowering a graph to equations collects: names, parameters, and constants that follow from energies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from multiscale.equations.expression import Expression, apply, number, symbol, total
from multiscale.equations.model import Compartment, Equations, Parameter, Process, Species
from multiscale.errors import DataError, nearest
from multiscale.graph import Graph
from multiscale.graph.rates import Need, Reaction, needs_of
from multiscale.graph.schema import CONCENTRATIONS, SPECIES
from multiscale.graph.stoichiometry import energy_terms
from multiscale.model.kinetics.law_formulas import Constants
from multiscale.units import kT, to_uM

__all__ = ["CELL", "PLACEHOLDER", "UNITS", "Lowering", "power_unit"]

UNITS = {"substance": "zmol", "extent": "zmol", "time": "s", "volume": "fL"}
"""Units of equations that come from a graph without equations of its own; µM·fL = zmol."""

CELL = "cell"
"""Name of the whole cell among the compartments."""

PLACEHOLDER = "placeholder_k_on"
"""Name of the forward rate constant that stands for unknown ones."""

Change = Mapping[str, float]


class Lowering:
    """Collects the parameters that formulas read while a graph is turned into equations.

    Args:
        graph: a checked graph.
        values: parameterId to value in the unit of the table, in place of nominal ones.
        temperature: at which energies become constants, K.
        taken: names of species, reactions and compartments; a parameter of the same name gets another one.
    """

    def __init__(
        self, graph: Graph, values: Mapping[str, float], temperature: float, taken: Iterable[str]
    ) -> None:
        unknown = [name for name in values if name not in graph.parameters.index]
        if unknown:
            hint = nearest(unknown[0], map(str, graph.parameters.index))
            raise DataError(f"`values`: the graph has no parameter `{unknown[0]}`; {hint}")
        self.parameters: dict[str, Parameter] = {}
        self.assignments: dict[str, Expression] = {}
        self.starts: dict[str, Expression] = {}
        self._graph, self._missing = graph, list[str]()
        self._table = graph.parameters
        self._nominal = {str(n): float(v) for n, v in graph.parameters["nominalValue"].items()}
        self._values, self._temperature, self._taken = values, temperature, set(taken)
        self._names: dict[tuple[str, str], str] = {}  # by what it is and name
        columns = graph.nodes["complex"][["energy", "statistical_factor"]]
        self._energies = {
            str(name): (energy_terms(text), float(omega)) for name, text, omega in columns.itertuples()
        }

    def species(self, homes: Mapping[str, str], initial: Mapping[str, float]) -> dict[str, Species]:
        """Pools whose names stand for concentrations, with their starts.

        Args:
            homes: compartment by species.
            initial: concentrations at time 0 in place of those of the graph, µM.

        Raises:
            DataError: `initial` names no species.
        """
        unknown = [name for name in initial if name not in homes]
        if unknown:
            raise DataError(f"`initial` of `{unknown[0]}`: no such species; {nearest(unknown[0], homes)}")
        columns = ["initial", "constant"]
        table = pd.concat([self._graph.nodes[kind][columns] for kind in SPECIES])
        pools = {}
        for name, place in homes.items():
            text, constant = str(table.at[name, "initial"]), bool(table.at[name, "constant"])
            start = initial.get(name)
            if start is None and text in self._table.index:
                self.starts[name] = self.concentration(text)
            elif start is None:
                start = float(text or 0.0)
            pools[name] = Species(place, start, start_is_amount=False, boundary=constant)
        return pools

    def equations(
        self,
        compartments: Mapping[str, Compartment],
        species: Mapping[str, Species],
        processes: Mapping[str, Process],
    ) -> Equations:
        """All that was collected.

        Raises:
            DataError: parameters have no value.
        """
        if self._missing:
            listed = "`, `".join(self._missing)
            raise DataError(f"{self._graph.name}: no value is given for `{listed}`; give one in `values`.")
        return Equations(
            compartments=compartments,
            species=species,
            parameters=self.parameters,
            processes=processes,
            starts=self.starts,
            assignments=self.assignments,
            units=UNITS,
        )

    def parameter(self, name: str) -> Expression:
        """Value of a parameter in its own unit."""
        key = ("parameter", name)
        if key not in self._names:
            value = float(self._values.get(name, self._nominal[name]))
            if np.isnan(value):
                self._missing.append(name)
            self._names[key] = self._free(name)
            self.parameters[self._names[key]] = Parameter(value, unit=str(self._table.at[name, "unit"]))
        return symbol(self._names[key])

    def concentration(self, name: str) -> Expression:
        """Value of a parameter in µM if it is a concentration, else in its own unit."""
        value, unit = self.parameter(name), str(self._table.at[name, "unit"])
        if unit not in CONCENTRATIONS or to_uM(1.0, unit) == 1.0:
            return value
        return value * self.constant(f"uM_per_{unit}", to_uM(1.0, unit), f"uM/{unit}")

    def constant(self, name: str, value: float, unit: str) -> Expression:
        """A number that formulas mention by name, so that its unit is stated."""
        key = ("constant", name)
        if key not in self._names:
            self._names[key] = self._free(name)
            self.parameters[self._names[key]] = Parameter(value, unit=unit)
        return symbol(self._names[key])

    def placeholder(self, k_on: float, order: int) -> Expression:
        """Forward rate constant that stands for an unknown one, among reactants of so many molecules."""
        name = PLACEHOLDER if order == 2 else f"{PLACEHOLDER}_order_{order}"
        return self.constant(name, k_on, f"{power_unit('uM', 1 - order)}/s")

    def derived(self, name: str, formula: Expression, unit: str) -> Expression:
        """A quantity that a formula gives."""
        key = ("derived", name)
        if key not in self._names:
            own = self._names[key] = self._free(name)
            self.parameters[own] = Parameter(None, constant=False, unit=unit)
            self.assignments[own] = formula
        return symbol(self._names[key])

    def equilibrium(self, change: Change, factor: float = 1.0) -> Expression:
        """K = exp(−Σ ν g/kT) Π ω^ν c°^Σν of a reaction, in powers of µM.

        Args:
            change: net stoichiometry ν by species; molecules have g = 0, ω = 1.
            factor: multiplies K.
        """
        counts: dict[str, float] = {}
        for species, n in change.items():
            terms, omega = self._energies.get(species, ({}, 1.0))
            factor *= omega**n
            for term, count in terms.items():
                counts[term] = counts.get(term, 0.0) + n * count
        g = total(number(n) * self.parameter(term) for term, n in counts.items() if n)
        scale = self.constant("kT", kT(self._temperature), "kcal/mol")
        K = number(factor) * apply("exp", -(g / scale))
        power = sum(change.values())
        return K * self.constant("c_standard", to_uM(1.0, "M"), "uM") ** power if power else K

    def constants(self, reaction: Reaction) -> Constants:
        """Value of every constant of the law of a reaction."""
        return {(n.constant.name, n.species): self._constant(reaction, n) for n in needs_of(reaction)}

    def _constant(self, reaction: Reaction, need: Need) -> Expression:
        given = need.given(reaction)
        if given:
            return self.concentration(given)
        name = reaction.name
        unit = power_unit("uM", sum(reaction.change.values()))
        if need.constant.backward:
            k_f, K = self.parameter(reaction.constants["k_f"]), self.equilibrium(reaction.change)
            per_time = f"({self._table.at[reaction.constants['k_f'], 'unit']})/({unit})"
            return self.derived(f"k_r of {name}", k_f / K, per_time)
        if need.constant.from_energy:
            return self.derived(f"K of {name}", self.equilibrium(reaction.change), unit)
        return number(need.constant.default)

    def _free(self, name: str) -> str:
        while name in self._taken:
            name += "_parameter"
        self._taken.add(name)
        return name


def power_unit(unit: str, power: int) -> str:
    """Unit to a power.

    >>> power_unit("uM", 1), power_unit("uM", -2), power_unit("uM", 0)
    ('uM', 'uM^-2', '1')
    """
    return "1" if power == 0 else unit if power == 1 else f"{unit}^{power}"
