"""Cells of a condition as contexts of one network: each has its own totals, all share the rate constants.

At rest x(T, p) solves N v(x) = 0 with totals T. Cells have ln T ~ N(0, diag τ²), and a reading is
ln y = ln scale + ln x + shift of the condition + noise. To first order in ln T, the cells of a condition have

    mean  ln scale + ln x(1, p)        covariance  C = S diag(τ²) Sᵀ + diag(σ²),   S = ∂ln x/∂ln T

so that all cells enter a fit by their mean and covariance: the totals of single cells are integrated out.
Predictions are not linear: they solve the steady state of every virtual cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import truncnorm
from torch import Tensor

import multiscale as ms
from multiscale.fit.optimise import Optimum, lbfgs
from multiscale.graph.rates import Reaction, reactions_of
from multiscale.model.kinetics import Kinetics
from multiscale.model.parameters import Block, ParameterTable
from multiscale.solver import Status
from multiscale.solver.steady import steady_state
from multiscale.solver.system import Point, dense

__all__ = ["Moments", "Population", "fit", "predict"]

DEGREES = 3  # of freedom of shifts of conditions: heavy tails with a variance


@dataclass(frozen=True)
class Moments:
    """Mean (condition, marker) and covariance (condition, marker, marker) of ln readings."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, cells: Sequence[np.ndarray]) -> Moments:
        """Of ln readings, one array (cell, marker) per condition."""
        means = np.stack([values.mean(0) for values in cells])
        return cls(torch.tensor(means), torch.tensor(np.stack([np.cov(values.T) for values in cells])))


class Population:
    """Parameters, steady states and readings of all conditions on a graph; rows of theta are fits."""

    def __init__(self, graph: ms.Graph, config: Mapping[str, Any]) -> None:
        conditions = list(config["conditions"].values())
        self.kinetics = Kinetics.from_graph(graph)
        species, reactions = self.kinetics.species, reactions_of(graph)
        self.read = [species.index(name) for name in config["readouts"].values()]
        self.pools = [species.index(name) for name in graph.molecules if name not in self.kinetics.inputs]
        self.inhibitors = [condition.get("efficacy", "") for condition in conditions]
        self.inputs = torch.zeros(len(conditions), len(species), dtype=torch.float64)
        self.hit: list[set[str]] = []  # rate constants that the inhibitor of a condition scales
        for i, condition in enumerate(conditions):
            self.inputs[i, [species.index(name) for name in condition["inputs"]]] = 1.0
            self.hit.append({r.constants["k_f"] for r in reactions if is_inhibited(r, condition)})
        self.driven = {  # rate constant → input that drives its reaction
            r.constants["k_f"]: name
            for r in reactions
            for name in r.modifiers["catalyst"]
            if name in self.kinetics.inputs
        }
        known = graph.parameters.loc[self.kinetics.parameters]
        kept = known[known["estimate"] == 0]
        self.fixed = {str(name): float(value) for name, value in kept["nominalValue"].items()}
        self.rates = known.index[known["estimate"] == 1].tolist()
        self.parameters = ParameterTable(_blocks(graph, self.rates, self.inhibitors, len(self.pools), config))
        self.warm: dict[int, Tensor] = {}

    def unseen(self, condition: int) -> Tensor:
        """Parameters that only this condition determines: without it they have their prior, (parameter,)."""
        others = torch.arange(len(self.inputs)) != condition
        new = (self.inputs[condition] > 0) & (self.inputs[others].sum(0) == 0)
        inputs = {self.kinetics.species[i] for i in torch.nonzero(new).flatten().tolist()}
        names = {name for name, source in self.driven.items() if source in inputs}
        names.add(self.inhibitors[condition])
        labels = [label for block in self.parameters.blocks for label in block.labels]
        return torch.tensor([label in names for label in labels])

    def constants(self, values: Mapping[str, Tensor]) -> Tensor:
        """Constants of the system with all inhibitors at work, (row, condition, constant)."""
        named = dict(zip(self.parameters["efficacy"].labels, values["efficacy"].T, strict=True))
        none = torch.zeros_like(values["rate"][:, 0])
        left = 1 - torch.stack([named.get(name, none) for name in self.inhibitors], 1)
        k = {name: torch.tensor([[value]], dtype=torch.float64) for name, value in self.fixed.items()}
        for i, name in enumerate(self.rates):
            hit = torch.tensor([name in names for names in self.hit])
            k[name] = values["rate"][:, i, None].exp() * torch.where(hit, left, 1.0)
        return self.kinetics.values(k).expand(*left.shape, -1)

    def start(self) -> Tensor:
        """Concentrations before anything is modified, with all totals 1, (condition, species)."""
        return self.inputs + self.kinetics.initial({})

    def rest(self, p: Tensor, x0: Tensor, near: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Steady states with the totals of `x0`, (system, species), and which were found, (system,)."""
        L = self.kinetics.moieties
        near = x0 if near is None else near
        found = steady_state(self.kinetics.system, near, p, moieties=L, totals=x0 @ L.T)
        return found.x, found.status <= Status.ROUNDING

    def sensitivity(self, p: Tensor, x: Tensor) -> Tensor:
        """S = ∂ln x/∂ln T at x and totals 1, (system, species that are read, pool).

        J dx = 0 and L dx = dT have the solution (J + LᵀL)⁻¹ Lᵀ dT, because L J = 0.
        """
        system, L = self.kinetics.system, self.kinetics.moieties
        J = dense(system.pattern, system.jacobian(Point(torch.zeros_like(x[:, 0]), x, p)), system.size)
        # a row without a steady state may be singular: it gets what is not finite, and spoils no other row
        dx = torch.linalg.solve_ex(J + L.T @ L, (L.T @ L[:, self.pools]).expand(len(x), -1, -1)).result
        return dx[:, self.read] / x[:, self.read, None]

    def moments(self, theta: Tensor, rows: Tensor) -> tuple[Moments, Tensor]:
        """Mean and covariance, (row, condition, ...), and whether all steady states were found, (row,)."""
        values = self.parameters.unpack(theta)
        p = self.constants(values)
        near = torch.cat([self.warm.get(row, self.start()) for row in rows.tolist()])
        x, found = self.rest(p.flatten(0, 1), self.start().repeat(len(theta), 1), near)
        found = found.unflatten(0, p.shape[:2]).all(1)
        for row, state, good in zip(rows.tolist(), x.detach().unflatten(0, p.shape[:2]), found, strict=True):
            if good:
                self.warm[row] = state
        S = self.sensitivity(p.flatten(0, 1), x).unflatten(0, p.shape[:2])
        S = S * values["total"].exp()[:, None, None]
        noise = torch.diag_embed((2 * values["noise"]).exp())[:, None]
        mean = values["scale"][:, None] + x[:, self.read].log().unflatten(0, p.shape[:2])
        return Moments(mean, S @ S.mT + noise), found


def is_inhibited(reaction: Reaction, condition: Mapping[str, Any]) -> bool:
    """Whether the inhibitor of a condition slows a reaction: its target catalyses it, or is made by it."""
    active, made = condition.get("activity"), condition.get("formation")
    return active in reaction.modifiers["catalyst"] or made in reaction.products


def _blocks(
    graph: ms.Graph, rates: list[str], inhibitors: list[str], pools: int, config: Mapping[str, Any]
) -> list[Block]:
    """Parameters with their priors; theta is standard normal."""
    markers = list(config["readouts"])
    mean, sd = _priors(graph, rates)
    blocks = [Block(name="rate", labels=rates, mean=mean, sd=sd, scale="ln")]
    names = [name for name in inhibitors if name]
    mean, sd = _priors(graph, names)
    ends = np.zeros(len(names)), np.ones(len(names))
    middle = truncnorm.median((ends[0] - mean) / sd, (ends[1] - mean) / sd, loc=mean, scale=sd)
    prior = {"mean": mean, "sd": sd, "lower": ends[0], "upper": ends[1], "center": middle}
    blocks.append(Block(name="efficacy", labels=names, **prior))
    totals = [f"total {i}" for i in range(pools)]
    for name, labels in (("scale", markers), ("total", totals), ("noise", markers), ("shift", ["all"])):
        centre, width = config["priors"][name]
        full = np.full(len(labels), centre if name == "scale" else np.log(centre))
        blocks.append(Block(name=name, labels=labels, mean=full, sd=np.full(len(labels), width), scale="ln"))
    return blocks


def _priors(graph: ms.Graph, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of normal priors."""
    parts = graph.parameters.loc[names, "objectivePriorParameters"].str.split(";", expand=True).astype(float)
    return parts[0].to_numpy(), parts[1].to_numpy()


def fit(population: Population, data: Moments, used: Tensor, cells: int, starts: int, steps: int) -> Tensor:
    """Fit every row to its conditions: normal likelihood of mean and covariance, and the priors.

    The mean of a condition is off by a shift of its own, which all its cells share: Student's t with scale ω
    and 3 degrees of freedom, so that a condition that no edge explains does not bend the others.

    Args:
        population: the model.
        data: of all conditions.
        used: 1 for conditions that a row is fitted to, (row, condition).
        cells: number that the moments count for.
        starts: number per row, the first at the centre of the priors; the best one is kept.
        steps: most iterations.

    Returns:
        theta, (row, parameter).
    """
    size, every = population.parameters.size, used.repeat(starts, 1)

    def loss(theta: Tensor, rows: Tensor) -> Tensor:
        model, found = population.moments(theta, rows)
        terms = (cells - 1) * _normal(model.covariance, data.covariance)
        variance = (2 * population.parameters.unpack(theta)["shift"]).exp()[:, None]
        variance = variance + model.covariance.diagonal(dim1=-2, dim2=-1) / cells
        far = (1 + (data.mean - model.mean) ** 2 / (DEGREES * variance)).log()
        terms = terms + 0.5 * (variance.log() + (DEGREES + 1) * far).sum(-1)
        total = (every[rows] * terms).sum(1) - population.parameters.log_prior(theta)
        return torch.where(found, total, torch.inf)

    generator = torch.Generator().manual_seed(0)
    drawn = population.parameters.sample(len(used) * (starts - 1), generator, spread=0.5)
    theta = torch.cat([torch.zeros(len(used), size, dtype=torch.float64), drawn])
    population.warm.clear()
    found: Optimum = lbfgs(loss, theta, max_steps=steps, gradient_tolerance=0.01, change_tolerance=0.005)
    best = found.loss.unflatten(0, (starts, -1)).argmin(0)
    return found.theta.unflatten(0, (starts, -1))[best, torch.arange(len(used))]


def _normal(covariance: Tensor, observed: Tensor) -> Tensor:
    """½ (ln det C + tr C⁻¹ M): minus log density per observation with second moment M, up to a constant."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    factor = torch.where((failed == 0)[..., None, None], factor, torch.nan)
    trace = torch.cholesky_solve(observed.expand_as(covariance), factor).diagonal(dim1=-2, dim2=-1).sum(-1)
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * trace


def predict(
    population: Population,
    values: Mapping[str, Tensor],
    condition: int,
    draws: int,
    cells: int,
    generator: torch.Generator,
) -> np.ndarray:
    """Draw ln readings of a condition that was left out, (draw × cell, marker).

    Each draw takes parameters that the other conditions leave open from their prior; each cell its own
    totals, shift and noise.

    Args:
        population: the model.
        values: parameters fitted to the other conditions, by block, each (1, number).
        condition: its position.
        draws: of parameters.
        cells: per draw.
        generator: random numbers.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    prior = population.parameters.unpack(normal(draws, population.parameters.size))
    unseen, where = population.unseen(condition), population.parameters.slices()
    values = {name: torch.where(unseen[where[name]], prior[name], value) for name, value in values.items()}
    p = population.constants(values)[:, condition]
    x0 = population.start()[condition].repeat(draws, 1)
    near = population.rest(p, x0)[0].repeat_interleave(cells, 0)
    values = {name: value.repeat_interleave(cells, 0) for name, value in values.items()}
    x0 = x0.repeat_interleave(cells, 0)
    x0[:, population.pools] *= (values["total"].exp() * normal(*values["total"].shape)).exp()
    x, found = population.rest(p.repeat_interleave(cells, 0), x0, near)
    shape = values["noise"].shape
    tail = (normal(DEGREES, *shape) ** 2).mean(0).sqrt()
    off = values["noise"].exp() * normal(*shape) + values["shift"].exp() * normal(*shape) / tail
    return (values["scale"] + x[:, population.read].log() + off)[found].numpy()
