"""What a kinetic model needs to know of its species: starts, volumes, energies, conserved amounts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from multiscale.errors import GraphError
from multiscale.graph import (
    Graph,
    conserved_moieties,
    energy_matrix,
    pair_complexes,
    refuse_conditional_energies,
)
from multiscale.graph.rates import Reaction
from multiscale.graph.volumes import species_compartments, volumes
from multiscale.model.kinetics.rate_constants import Energies
from multiscale.units import to_uM

__all__ = [
    "Start",
    "coefficients",
    "energies_of",
    "moieties_of",
    "refuse_incomplete",
    "starts_of",
    "stoichiometry",
    "unmixable",
    "volumes_of",
]

Start = tuple[float, str, float]  # a number in µM, or a parameter and the factor that makes it µM


def coefficients(
    reaction: Reaction,
    position: dict[str, int],
    inputs: list[str],
    volume: list[float],
    flux_volume: dict[str, float],
) -> dict[int, float]:
    """What a reaction adds to species, per flux: stoichiometry times the ratio of volumes; inputs stay."""
    flux = flux_volume[reaction.name]
    change = {name: n for name, n in reaction.change.items() if name not in inputs}
    return {position[name]: n * flux / volume[position[name]] for name, n in change.items()}


def unmixable(
    reactions: list[Reaction], position: dict[str, int], inputs: list[str], volume: list[float]
) -> dict[str, str]:
    """Fast reactions whose totals cannot be counted, with the reason."""
    found = {}
    for reaction in reactions:
        fixed = [name for name in reaction.change if name in inputs]
        if fixed:
            found[reaction.name] = f"changes the constant species `{fixed[0]}`"
        if len({volume[position[name]] for name in reaction.change}) > 1:
            found[reaction.name] = "joins compartments of different volume"
    return found


def refuse_incomplete(graph: Graph, reactions: list[Reaction]) -> None:
    """Raise for everything that `check` allows in a network but a simulation cannot do without."""
    pairs = set(pair_complexes(graph))
    if graph.equations is not None:
        raise GraphError(
            "is an imported model with equations of its own (rules, events, formulas), which rate laws and"
            " energies do not hold; use `simulate`, or fit it as a PEtab problem.",
            graph.name,
        )
    problems = [] if reactions else ["nodes.tsv: the graph has no reactions; add some."]
    for reaction in reactions:
        if reaction.law == "mass_action" and not reaction.fast and "k_f" not in reaction.constants:
            problems.append(f"nodes.tsv: reaction `{reaction.name}` has no `k_f`; name a rate constant.")
        between = pairs.intersection(reaction.species)
        if between:
            problems.append(
                f"edges.tsv: reaction `{reaction.name}` touches `{min(between)}`, a complex between two"
                " cells; reactions run within one."
            )
    if problems:
        raise GraphError(problems, graph.name)


def starts_of(graph: Graph, species: list[str]) -> tuple[list[str], list[Start]]:
    """Constant species, and the start of every species."""
    columns = ["initial", "constant"]
    table = pd.concat([graph.nodes[kind][columns] for kind in ("molecule", "complex")]).loc[species]
    units = graph.parameters["unit"].to_dict()
    starts = []
    for text in table["initial"]:
        if text in units:
            starts.append((0.0, text, to_uM(1.0, units[text])))
        else:
            starts.append((float(text or 0.0), "", 1.0))
    return table.index[table["constant"].to_numpy(bool)].tolist(), starts


def volumes_of(
    graph: Graph, species: list[str], where: dict[str, str]
) -> tuple[list[float], dict[str, float]]:
    """Volume of the compartment of every species and of every flux, relative to the largest."""
    home = species_compartments(graph)
    found = volumes(graph, {home[s] for s in species} | set(where.values()))
    largest = max((v for v in found.values() if not np.isnan(v)), default=1.0)
    share = {
        name: 1.0 if np.isnan(v) else v / largest for name, v in found.items()
    }  # NaN: joined to no other
    return [share[home[s]] for s in species], {name: share[place] for name, place in where.items()}


def stoichiometry(reactions: list[Reaction], position: dict[str, int]) -> NDArray[np.int64]:
    """Net change of every species in every reaction, shape (species, reaction)."""
    N = np.zeros((len(position), len(reactions)), dtype=np.int64)
    for column, reaction in enumerate(reactions):
        for name, number in reaction.change.items():
            N[position[name], column] = number
    return N


def moieties_of(N: NDArray[np.int64], inputs: list[int], volume: NDArray[np.float64]) -> Tensor:
    """Conserved amounts of the states that change, then the inputs one by one.

    Args:
        N: net change of every state, shape (state, reaction).
        inputs: positions of states that stay, whatever N says.
        volume: of every state, shape (state,).

    Returns:
        shape (moiety, state).
    """
    free = [i for i in range(len(N)) if i not in inputs]
    conserved = conserved_moieties(N[free])
    L = np.zeros((len(conserved) + len(inputs), len(N)))
    L[: len(conserved), free] = conserved * volume[free]
    L[range(len(conserved), len(L)), inputs] = 1.0
    return torch.tensor(L)


def energies_of(graph: Graph, species: list[str], needed: set[int]) -> Energies:
    """Energies of the species in whose equilibrium constants they enter; others may be unknown."""
    refuse_conditional_energies(graph)
    counts, terms = energy_matrix(graph)
    row = {name: i for i, name in enumerate(graph.species)}
    omega = graph.nodes["complex"]["statistical_factor"].to_dict()
    used = np.asarray(counts, dtype=float)[[row[name] for name in species]]
    used[[i for i in range(len(species)) if i not in needed]] = 0.0
    kept = np.flatnonzero(used.any(axis=0))
    factors = [omega.get(name, 1.0) for name in species]
    return Energies(
        torch.tensor(used[:, kept]),
        [terms[i] for i in kept],
        torch.tensor(factors, dtype=torch.float64).log(),
    )
