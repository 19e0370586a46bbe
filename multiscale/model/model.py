"""The differentiable model: theta → physical state → log density of every measurement.

All tensors are float64 with leading axis `start`; contexts (cells or groups of cells) are the second axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from multiscale.model.blocks import parameter_table
from multiscale.model.problem import Problem
from multiscale.model.readings import TableReading
from multiscale.passing.messages import pool, translate
from multiscale.physics.energy import ln_weight, species_energy
from multiscale.physics.scales import ln_concentration, ln_sum, relative_to_mean
from multiscale.solver import Status, equilibrium
from multiscale.units import MOLECULES_PER_UM_FL

__all__ = ["Model", "State"]


@dataclass(frozen=True)
class State:
    """Physical state of every context.

    Args:
        values: parameters per block, each (start, ...).
        g: energies of all species (within-cell, then pair complexes), kcal/mol, (start, species).
        ln_level: ln of transcript levels, (start, context, transcript).
        ln_supply: ln copies supplied, (start, context, molecule).
        ln_x: ln concentrations of species, ln µM, (start, context, species).
        ln_total: ln copies of each molecule in all its forms, (start, context, molecule).
        ln_surface: ln copies of each molecule on a membrane, −inf where it has no such form, same shape.
        multipliers: λ of the equilibrium, (start, context, molecule): a warm start for the next call.
        status: of the equilibrium solver, (start, context).
    """

    values: dict[str, Tensor]
    g: Tensor
    ln_level: Tensor
    ln_supply: Tensor
    ln_x: Tensor
    ln_total: Tensor
    ln_surface: Tensor
    multipliers: Tensor
    status: Tensor

    @property
    def solved(self) -> Tensor:
        """Whether all contexts of a start were solved, (start,)."""
        return (self.status <= Status.ROUNDING).all(-1)


class Model:
    """Likelihood and priors of a problem as functions of `theta`.

    Args:
        problem: the checked problem.
        device: where to compute.
    """

    def __init__(self, problem: Problem, device: str | torch.device = "cpu") -> None:
        self.problem, self.device = problem, torch.device(device)
        self.parameters = parameter_table(problem, self.device)
        network = problem.network
        self._formula = torch.as_tensor(network.formula, device=self.device)
        self._counts = self.tensor(network.formula)
        self._surface = self.tensor(network.formula * network.surface)
        self._visible = self._surface.any(1)
        self.subunits = self.tensor(_subunits(problem))
        self.ln_statistical_factor = self.tensor(np.log(network.statistical_factor))
        self._crowding = self.tensor(network.crowding)
        self._volume = self.tensor(problem.volume_fL)
        self._encodes = torch.as_tensor(
            np.array(np.nonzero(network.encodes))[::-1].copy(), device=self.device
        )
        self._members = torch.as_tensor(
            np.array(np.nonzero(network.pathway_weights))[::-1].copy(), device=self.device
        )
        self._member_weight = self.tensor(network.pathway_weights[np.nonzero(network.pathway_weights)])
        self._energy = _GraphValues(problem, "energy", network.terms, self.device)
        self._term_counts = self.tensor(network.term_counts)
        self._loss = _GraphValues(problem, "loss", network.losses, self.device)
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
                term, self.parameters, self.ln_statistical_factor, self.confinement, problem.temperature
            )
            for term in problem.tables
        }

    def tensor(self, values: np.ndarray) -> Tensor:
        """Float64 tensor on the model's device."""
        return torch.as_tensor(np.asarray(values, dtype=float), device=self.device)

    def state(self, theta: Tensor, start: Tensor | None = None) -> State:
        """Solve the physical state of all contexts.

        Args:
            theta: shape (start, parameter).
            start: multipliers of an earlier, similar state.
        """
        values = self.parameters.unpack(theta)
        g = self.energies(values)
        ln_level = values["level"]
        ln_translation = values["translation_mean"] + values["translation"]
        ln_supply = self._supply(values, ln_level, ln_translation)
        ln_loss = self._loss(values)
        within = len(self._crowding)
        weight = ln_weight(
            g[:, :within],
            self.subunits[:within],
            self.ln_statistical_factor[:within],
            self.problem.temperature,
        )
        weight = weight + (1 - self.subunits[:within]) * self._crowding + ln_loss
        supplied = ln_concentration(ln_supply, self._volume).exp()
        # The solver refuses what floating point cannot hold; such a start is marked failed, not an error.
        legal = (supplied.isfinite().all(-1) & weight.isfinite().all(-1, keepdim=True))[..., None]
        solved = equilibrium(
            self._formula,
            torch.where(legal, weight[:, None], 0.0),
            torch.where(legal, supplied, 1.0),
            start=start,
        )
        ln_x = solved.ln_x - ln_loss[:, None]
        per_cell = (MOLECULES_PER_UM_FL * self._volume).log()[:, None]
        return State(
            values=values,
            g=g,
            ln_level=ln_level,
            ln_supply=ln_supply,
            ln_x=ln_x,
            ln_total=ln_sum(ln_x, self._counts) + per_cell,
            ln_surface=self._ln_surface(ln_x) + per_cell,
            multipliers=solved.multipliers.detach(),
            status=torch.where(legal[..., 0], solved.status, Status.NOT_CONVERGED),
        )

    def energies(self, values: dict[str, Tensor]) -> Tensor:
        """Standard energies of all species, kcal/mol, (start, species)."""
        correction = None
        network, features = self.problem.energy_network, self.problem.features
        if network is not None and features is not None:
            bound = (self.subunits > 1).to(torch.float64)
            correction = bound * _run(network, values["network"], features.to(self.device))
        return species_energy(self._term_counts, self._energy(values), correction)

    def _supply(self, values: dict[str, Tensor], ln_level: Tensor, ln_translation: Tensor) -> Tensor:
        supplied = translate(ln_level, ln_translation[:, None], self._encodes)
        if "supply" not in values:
            return supplied
        absent = torch.as_tensor(~self.problem.network.encodes.any(1), device=self.device)
        return supplied.masked_scatter(absent.expand_as(supplied), values["supply"])

    def _ln_surface(self, ln_x: Tensor) -> Tensor:
        empty = torch.full(
            (*ln_x.shape[:2], len(self._visible)), -torch.inf, dtype=ln_x.dtype, device=self.device
        )
        return empty.index_copy(2, self._visible.nonzero()[:, 0], ln_sum(ln_x, self._surface[self._visible]))

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
        gather = _GraphValues(self.problem, "confinement", [name], self.device)
        return lambda values: gather(values)[:, 0]


class _GraphValues:
    """Gathers the graph's parameters of one role in a given order; fixed ones and '' (zero) are constants."""

    def __init__(self, problem: Problem, role: str, names: list[str], device: torch.device) -> None:
        table = problem.graph.parameters
        table = table[table["role"] == role]
        free = [str(name) for name in table.index[table["estimate"].astype(int) == 1]]
        position = {name: i for i, name in enumerate(free)}
        self.block = role if free else None
        index = [position.get(name, -1) for name in names]
        self.index = torch.as_tensor(index, dtype=torch.int64, device=device)
        fixed = [0.0 if name in position or not name else _scaled(table, name) for name in names]
        self.fixed = torch.as_tensor(fixed, dtype=torch.float64, device=device)

    def __call__(self, values: dict[str, Tensor]) -> Tensor:
        if self.block is None:
            starts = next(iter(values.values())).shape[0]
            return self.fixed.expand(starts, -1)
        gathered = values[self.block][:, self.index.clamp(min=0)]
        return torch.where(self.index >= 0, gathered, self.fixed)


def _scaled(table: pd.DataFrame, name: str) -> float:
    value = float(table["nominalValue"][name])
    return value if table["parameterScale"][name] == "lin" else float(np.log(value))


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
