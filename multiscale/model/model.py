"""The differentiable model: theta → physical state → log density of every measurement.

All tensors are float64 with leading axis `start`; contexts (cells or groups of cells) are the second axis.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from multiscale.model.blocks import parameter_table
from multiscale.model.equilibrium_state import EquilibriumState
from multiscale.model.graph_values import GraphValues
from multiscale.model.kinetics.state import SteadyStates, TimeCourses
from multiscale.model.problem import Problem
from multiscale.model.readings import TableReading
from multiscale.model.state import State
from multiscale.passing.messages import pool
from multiscale.physics.energy import species_energy
from multiscale.physics.scales import relative_to_mean
from multiscale.solver.options import Solver

__all__ = ["Model", "State"]

STATES = {"equilibrium": EquilibriumState, "steady_state": SteadyStates, "time_course": TimeCourses}
"""What makes the state, by regime."""


class Model:
    """Likelihood and priors of a problem as functions of `theta`.

    Args:
        problem: the checked problem.
        device: where to compute.
        solver: options of time courses; those of the problem if None.
    """

    def __init__(
        self, problem: Problem, device: str | torch.device = "cpu", solver: Solver | None = None
    ) -> None:
        self.problem, self.device = problem, torch.device(device)
        self.solver = solver or problem.solver
        self.parameters = parameter_table(problem, self.device)
        network = problem.network
        self.subunits = self.tensor(_subunits(problem))
        self.ln_statistical_factor = self.tensor(np.log(network.statistical_factor))
        self._members = torch.as_tensor(
            np.array(np.nonzero(network.pathway_weights))[::-1].copy(), device=self.device
        )
        self._member_weight = self.tensor(network.pathway_weights[np.nonzero(network.pathway_weights)])
        self._energy = GraphValues(problem.graph, "energy", network.terms, self.device)
        self._term_counts = self.tensor(network.term_counts)
        self._solve = STATES[problem.regime](problem, self.parameters, self.solver)
        self.count_terms = [
            (
                term,
                term.matrix.likelihood(list(problem.contexts.index)).to(self.device),
                torch.as_tensor(term.transcript, device=self.device),
            )
            for term in problem.counts
        ]
        self.readings = {
            term.name: TableReading(
                term, self.parameters, self.ln_statistical_factor, self.confinement, problem
            )
            for term in problem.tables
        }

    @property
    def twice_differentiable(self) -> bool:
        """Whether second derivatives are exact; else they are differences of first ones."""
        return self._solve.twice_differentiable

    @cached_property
    def precise(self) -> Model:
        """The same model, accurate enough for differences of its derivatives."""
        finest = self.problem.solver.precise
        enough = self.twice_differentiable or self.solver == finest
        return self if enough else Model(self.problem, self.device, finest)

    def tensor(self, values: np.ndarray) -> Tensor:
        """Float64 tensor on the model's device."""
        return torch.as_tensor(np.asarray(values, dtype=float), device=self.device)

    def state(self, theta: Tensor, start: Tensor | None = None) -> State:
        """Solve the physical state of all contexts.

        Args:
            theta: shape (start, parameter).
            start: `warm` of an earlier, similar state.
        """
        values = self.parameters.unpack(theta)
        return self._solve(values, self.energies(values).expand(len(theta), -1), start)

    def energies(self, values: dict[str, Tensor]) -> Tensor:
        """Standard energies of all species, kcal/mol, (start, species)."""
        correction = None
        network, features = self.problem.energy_network, self.problem.features
        if network is not None and features is not None:
            bound = (self.subunits > 1).to(torch.float64)
            correction = bound * _run(network, values["network"], features.to(self.device))
        return species_energy(self._term_counts, self._energy(values), correction)

    def activities(self, state: State) -> Tensor:
        """Pathway activities from species within a cell, (start, context, pathway)."""
        between = len(self.problem.network.pair_complexes)
        return self.pool(torch.nn.functional.pad(relative_to_mean(state.ln_x), (0, between)))

    def pool(self, relative: Tensor) -> Tensor:
        """Activities from ln(x/x_ref) of all species, within and between cells, (start, context, pathway)."""
        return pool(relative, self._member_weight, self._members, len(self.problem.network.pathways))

    def log_counts(self, state: State) -> dict[str, Tensor]:
        """Log density of every count assay, each (start,)."""
        return {
            term.name: likelihood(state.ln_level[:, :, index], state.values[f"{term.name} dispersion"]).sum(1)
            for term, likelihood, index in self.count_terms
        }

    def log_tables(self, state: State) -> dict[str, Tensor]:
        """Log density of every entry of every table, each (start, entry)."""
        return {name: reading.log_density(state) for name, reading in self.readings.items()}

    def confinement(self, name: str) -> Callable[[dict[str, Tensor]], Tensor]:
        """Function that finds ln of a confinement length (nm) among unpacked values, shape (start,)."""
        gather = GraphValues(self.problem.graph, "confinement", [name], self.device)
        return lambda values: gather(values)[:, 0]


def _run(network: torch.nn.Module, flat: Tensor, features: Tensor) -> Tensor:
    """Evaluate a network for every start, its weights taken from theta, (start, species)."""
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    sizes = [shape.numel() for shape in shapes.values()]

    def one(weights: Tensor) -> Tensor:
        parts = torch.split(weights, sizes)
        named = {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        return functional_call(network, named, (features,))

    return vmap(one)(flat)


def _subunits(problem: Problem) -> np.ndarray:
    """Number of subunits of every species, within-cell species first."""
    network = problem.network
    within = network.formula.sum(0)
    edges = problem.graph.edges["subunit"].groupby("target")["stoichiometry"].sum()
    between = [int(edges[name]) for name in network.pair_complexes]
    return np.concatenate([within, np.array(between, dtype=within.dtype)])
