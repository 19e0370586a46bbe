"""The reactions of a graph as differential equations, and where their constants and starts come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from multiscale.graph import Graph, check
from multiscale.graph.rates import reactions_of
from multiscale.graph.volumes import flux_compartments
from multiscale.model.kinetics.fast import Fast
from multiscale.model.kinetics.rate_constants import Columns, Energies, value_of
from multiscale.model.kinetics.rate_laws import Reader
from multiscale.model.kinetics.species import (
    Start,
    coefficients,
    energies_of,
    moieties_of,
    refuse_incomplete,
    starts_of,
    stoichiometry,
    unmixable,
    volumes_of,
)
from multiscale.passing.reactions import Reactions
from multiscale.solver.rapid import RapidEquilibrium
from multiscale.solver.system import Point, System

__all__ = ["TEMPERATURE", "Kinetics"]

TEMPERATURE = 310.15
"""Temperature of contexts that state none, K: human body."""


@dataclass(frozen=True, eq=False)
class Kinetics:
    """The reactions of a graph as a system dx/dt = N v(t, x, p), and how p and x(0) follow from parameters.

    Concentrations are in µM in the volume of each species' own compartment, time is in s. Make one with
    `Kinetics.from_graph`; then

        p = kinetics.values(parameters)                  # (..., constant), differentiable in every parameter
        state = kinetics.state(kinetics.initial(parameters))        # (..., size of the system)
        time_course(kinetics.system, state, p, times)               # or steady_state(..., moieties=...)
        x = kinetics.concentrations(state, p)                       # (..., species), µM

    The state is x itself, unless reactions are `fast`: then it is the totals T = A x that these conserve, and
    the system goes through their equilibrium.

    Args:
        species: every molecule and complex that a reaction changes or reads, in the order of the graph: the
            order of x.
        inputs: those of them that no reaction changes because the graph declares them constant.
        constants: names of the columns of p: parameterId where the column is the value of a parameter,
            else what it is.
        names: of the reactions, in the order of fluxes; those at rapid equilibrium are not among them.
        reactions: all reactions but fast ones, as a system in x whose constants are the first columns of p.
            Constant species are states without change, which an event may reset.
        system: what a solver integrates: `reactions`, or these with rapid equilibria inside.
        moieties: L with L dx/dt = 0 for all x, shape (moiety, species). A row of conserved amounts holds the
            volumes of the compartments relative to the largest; a constant species is a moiety of its own.
        state_moieties: the same of the state of `system`, shape (moiety, size).
        volume: of each species' compartment relative to the largest, shape (species,).
        energies: standard energies of the species.
    """

    species: list[str]
    inputs: list[str]
    constants: list[str]
    names: list[str]
    reactions: Reactions
    system: System
    moieties: Tensor
    state_moieties: Tensor
    volume: Tensor
    energies: Energies
    _columns: Columns
    _fast: Fast | None
    _starts: list[Start]

    @classmethod
    def from_graph(cls, graph: Graph) -> Kinetics:
        """Turn the reactions of a graph into a system.

        Raises:
            GraphError: the graph is inconsistent, has no reactions, or lacks rate constants; lists them all.
        """
        check(graph)
        everything = reactions_of(graph)
        refuse_incomplete(graph, everything)
        touched = {name for reaction in everything for name in reaction.species}
        species = [name for name in graph.species if name in touched]
        position = {name: i for i, name in enumerate(species)}
        inputs, starts = starts_of(graph, species)
        volume, flux_volume = volumes_of(graph, species, flux_compartments(graph, everything))
        columns, fast_columns = Columns(), Columns()
        slow = [reaction for reaction in everything if not reaction.fast]
        reader = Reader(position, graph.parameters, columns)
        rows = [(*reader.law(r), coefficients(r, position, inputs, volume, flux_volume)) for r in slow]
        reactions = Reactions.build(len(species), len(columns.names), rows)
        quick = [reaction for reaction in everything if reaction.fast]
        why = unmixable(quick, position, inputs, volume)
        fast = Fast.of(quick, position, Reader(position, graph.parameters, fast_columns), why, graph.name)
        fixed = [position[name] for name in inputs]
        moieties = moieties_of(stoichiometry(everything, position), fixed, np.array(volume))
        return cls(
            species=species,
            inputs=inputs,
            constants=columns.names + ([f"ln weight of {name}" for name in species] if fast else []),
            names=[reaction.name for reaction in slow],
            reactions=reactions,
            system=_system(reactions, fast),
            moieties=moieties,
            state_moieties=fast.moieties(stoichiometry(slow, position), fixed, volume) if fast else moieties,
            volume=torch.tensor(volume, dtype=torch.float64),
            energies=energies_of(graph, species, columns.thermodynamic | fast_columns.thermodynamic),
            _columns=columns,
            _fast=fast,
            _starts=starts,
        )

    def to(self, device: torch.device | str) -> Kinetics:
        """The same system with its arrays on another device."""
        reactions, fast = self.reactions.to(device), self._fast.to(device) if self._fast else None
        return replace(
            self,
            reactions=reactions,
            system=_system(reactions, fast),
            _fast=fast,
            moieties=self.moieties.to(device),
            state_moieties=self.state_moieties.to(device),
            volume=self.volume.to(device),
            energies=self.energies.to(device),
        )

    @property
    def parameters(self) -> list[str]:
        """Parameters on which constants and starts depend, by parameterId."""
        starts = [name for _, name, _ in self._starts if name]
        return list(dict.fromkeys([*self._rate_parameters(), *starts]))

    def start_parameters(self, species: Collection[str]) -> set[str]:
        """Parameters on which nothing but the starts of these species depends."""
        rates = self._rate_parameters()
        others = {n for s, (_, n, _) in zip(self.species, self._starts, strict=True) if s not in species}
        return {*self.parameters} - {*rates} - others

    def _rate_parameters(self) -> list[str]:
        fast = self._fast.columns.parameters if self._fast else []
        return [*self._columns.parameters, *fast, *self.energies.terms]

    def values(
        self,
        parameters: Mapping[str, Tensor],
        g: Tensor | None = None,
        temperature: float = TEMPERATURE,
    ) -> Tensor:
        """Constants p of the system from linear parameter values.

        Backward rate constants that the graph leaves empty are k_r = k_f/K, and equilibrium constants that it
        leaves empty are K, with ln K = −Σ_s ν_s (g_s − kT ln ω_s)/kT + Σ_s ν_s ln c°.

        Args:
            parameters: value by parameterId, in the unit of parameters.tsv, float64; shapes that broadcast.
            g: standard energies in the order of `species`, kcal/mol, shape (..., species); from the energy
                terms among the parameters if None.
            temperature: K.

        Returns:
            p of `system`, in s and µM, shape (..., constant).

        Raises:
            GraphError: a parameter has no value.
        """
        g = self.energies.values(parameters) if g is None else g
        g = self.energies.effective(g, temperature)
        p = self._columns.values(parameters, g, temperature)
        if self._fast is None:
            return p
        ln_weight = self._fast.ln_weight(parameters, g, temperature)
        shape = torch.broadcast_shapes(p.shape[:-1], ln_weight.shape[:-1])
        return torch.cat([part.expand(*shape, part.shape[-1]) for part in (p, ln_weight)], -1)

    def initial(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Concentrations at time 0, µM, shape (..., species); 0 where the graph states none.

        Raises:
            GraphError: a parameter has no value.
        """
        parts = [
            value_of(parameters, name) * factor if name else self.volume.new_tensor(number)
            for number, name, factor in self._starts
        ]
        return torch.stack(torch.broadcast_tensors(*parts), -1)

    def state(self, x: Tensor) -> Tensor:
        """State of `system` at concentrations x, shape (..., species) → (..., size); linear in x."""
        return x if self._fast is None else x @ self._fast.formula.T

    def concentrations(self, state: Tensor, p: Tensor) -> Tensor:
        """Concentrations of all species in a state, µM, shape (..., size) → (..., species)."""
        return self.system.species(state, p) if isinstance(self.system, RapidEquilibrium) else state

    def extended(self, p: Tensor, extra: Tensor) -> tuple[System, Tensor, int]:
        """A system with further constants, such as times of doses, that no reaction reads.

        Args:
            p: constants of `system`, shape (context, constant).
            extra: further ones, shape (context, number).

        Returns:
            the system, its constants, and the position of the first further one.
        """
        first = self.reactions.parameters
        reactions = replace(self.reactions, parameters=first + extra.shape[-1])
        return _system(reactions, self._fast), torch.cat([p[:, :first], extra, p[:, first:]], 1), first

    def fluxes(self, t: Tensor, x: Tensor, p: Tensor) -> Tensor:
        """Net flux of every reaction that is not fast, µM/s, shape (..., reaction)."""
        return self.reactions.fluxes(Point(t, x, p[..., : self.reactions.parameters]))


def _system(reactions: Reactions, fast: Fast | None) -> System:
    system = reactions if fast is None else RapidEquilibrium.build(cast(System, reactions), fast.formula)
    return cast(System, system)  # frozen attributes and properties stand for the plain ones of the protocol
