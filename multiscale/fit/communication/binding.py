"""Complexes between two groups of cells by mass action, at the nominal energies of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from multiscale.errors import DataError, GraphError, nearest
from multiscale.fit.communication.place import Place, meet
from multiscale.graph import Graph, check
from multiscale.model.network import Network, PairNetwork
from multiscale.physics.energy import ln_weight
from multiscale.solver import equilibrium
from multiscale.units import MOLECULES_PER_UM_FL

__all__ = ["Binding", "Bound", "Unit"]


@dataclass(frozen=True)
class Unit:
    """One side of a complex between cells: a molecule, or a complex that has formed within its cell.

    Args:
        name: of the species.
        molecules: its subunits, each once.
    """

    name: str
    molecules: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Bound:
    """Complexes of all pairs of groups.

    Args:
        concentration: µM in the compartment, shape (labelling, sender, receiver, complex).
        complexes: copies per receiving cell, same shape.
        occupancy: fraction of the receptor that is in the complex, same shape.
        copies: copies per cell of every species before cells meet, shape (labelling, group, species).
    """

    concentration: np.ndarray
    complexes: np.ndarray
    occupancy: np.ndarray
    copies: np.ndarray


class Binding:
    """Mass action within and between cells, of the molecules that can take part in complexes between cells.

    Within a cell subunits assemble, T = A x; between two cells the assembled units of the sender and of the
    receiver bind, all of a compartment at once, so that ligands compete for a receptor and receptors for a
    ligand. Energies are the nominal values of the graph.

    Args:
        graph: with complexes between a sender and a receiver.
        Kd_uM: known dissociation constants of complexes between cells, µM, in place of the graph's.
        default_Kd_uM: the same for all complexes whose energy in the graph is assumed; None = the graph's.
        temperature: K.

    Raises:
        GraphError: the graph is inconsistent, or has no complex between cells.
        DataError: a name or value in `Kd_uM` is wrong, or an energy has no value.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        Kd_uM: Mapping[str, float] | None = None,
        default_Kd_uM: float | None = None,
        temperature: float = 310.15,
    ) -> None:
        check(graph)
        self.network = network = Network.from_graph(graph)
        if not network.pairs:
            raise GraphError(
                "has no complex between a sender and a receiver; `graph_from_ligand_receptor` makes one.",
                graph.name,
            )
        self._graph, self._temperature = graph, temperature
        self._reach()
        self._within()
        self._given = _checked_Kd(dict(Kd_uM or {}), default_Kd_uM, network.pair_complexes)
        self._default = default_Kd_uM
        self._places = [self._place(pair) for pair in network.pairs]
        self.table = self._describe()

    @cached_property
    def molecules(self) -> list[str]:
        """Molecules that matter: subunits of units, and what competes for them within a cell."""
        return [self.network.molecules[i] for i in self._molecules]

    @cached_property
    def genes(self) -> list[list[str]]:
        """Identifiers of the transcripts of every molecule; its own where the graph states none."""
        names = self._graph.nodes["molecule"]["identifier"].to_dict()
        found = []
        for i in self._molecules:
            encoding = np.flatnonzero(self.network.encodes[i])
            own = [str(names[self.network.molecules[i]])]
            found.append([self.network.identifiers[t] for t in encoding] if len(encoding) else own)
        return found

    def units(self, side: str) -> list[Unit]:
        """Ligands (`sender`) or receptors (`receiver`), each once."""
        column = "ligand_complex" if side == "sender" else "receptor_complex"
        return [self._unit(str(name)) for name in self.table[column].unique()]

    def members(self, species: str) -> tuple[str, ...]:
        """Molecules that a species within a cell is made of."""
        column = self.network.formula[:, self.network.species.index(species)]
        return tuple(self.network.molecules[i] for i in np.flatnonzero(column))

    def solve(self, total: np.ndarray, volume_fL: np.ndarray, surface_um2: np.ndarray) -> Bound:
        """Equilibria within all groups and between all ordered pairs of them.

        Args:
            total: supply of every molecule in the volume of its cell, µM, shape (labelling, group, molecule).
            volume_fL: of a cell, fL, shape (group,).
            surface_um2: of a cell, µm², shape (group,).
        """
        solved = equilibrium(self._formula, self._ln_weight, torch.as_tensor(total))
        x = (solved.ln_x - self._ln_loss).exp()
        x = torch.where(solved.solved[..., None], x, torch.nan)
        copies = x * MOLECULES_PER_UM_FL * torch.as_tensor(volume_fL)[:, None]
        area = torch.as_tensor(surface_um2)
        parts = zip(*(meet(place, copies, area) for place in self._places), strict=True)
        concentration, complexes, occupancy = (torch.cat(part, -1).numpy() for part in parts)
        return Bound(concentration, complexes, occupancy, copies.numpy())

    def copies_of(self, unit: str) -> int:
        """Column of a unit in `Bound.copies`."""
        return int(np.flatnonzero(self._species == self.network.species.index(unit))[0])

    def _unit(self, name: str) -> Unit:
        return Unit(name, self.members(name))

    def _reach(self) -> None:
        """Keep molecules that share complexes, directly or over others, with a unit."""
        formula = self.network.formula > 0
        position = {name: i for i, name in enumerate(self.network.species)}
        units = [position[str(name)] for pair in self.network.pairs for name in pair.units["unit"]]
        species = np.zeros(formula.shape[1], dtype=bool)
        species[units] = True
        while True:
            molecules = formula[:, species].any(1)
            reached = formula[molecules].any(0)
            if (reached == species).all():
                break
            species = reached
        self._molecules, self._species = np.flatnonzero(molecules), np.flatnonzero(species)

    def _within(self) -> None:
        """Weights of the species within a cell; faster loss of orphans as in the model of contexts."""
        network, keep = self.network, self._species
        self._g = self._energies()
        self._formula = network.formula[np.ix_(self._molecules, keep)]
        subunits = self._formula.sum(0)
        values = self._graph.parameters["nominalValue"]
        losses = [network.losses[i] for i in keep]
        ln_loss = np.log([float(values[name]) if name else 1.0 for name in losses])
        weight = self._weight(self._g[keep], subunits, np.log(network.statistical_factor[keep]))
        self._ln_loss = torch.as_tensor(ln_loss)
        self._ln_weight = torch.as_tensor(weight + (1 - subunits) * network.crowding[keep] + ln_loss)

    def _energies(self) -> np.ndarray:
        """Energy of every species at nominal values, kcal/mol."""
        table = self._graph.parameters.loc[self.network.terms]
        missing = table.index[table["nominalValue"].isna()]
        if len(missing):
            raise DataError(
                f"energy term `{missing[0]}` of graph `{self._graph.name}` has no nominalValue; give one, or"
                " fit the graph first and take its parameters with `with_priors`."
            )
        return self.network.term_counts @ table["nominalValue"].to_numpy(float)

    def _weight(self, g: np.ndarray, subunits: np.ndarray, ln_omega: np.ndarray) -> np.ndarray:
        energy, number, ln_factor = (
            torch.as_tensor(np.asarray(values, dtype=float)) for values in (g, subunits, ln_omega)
        )
        return ln_weight(energy, number, ln_factor, self._temperature).numpy()

    def _place(self, pair: PairNetwork) -> Place:
        """Weights of a compartment's complexes relative to their units, which are assembled already."""
        network = self.network
        units = [network.species.index(str(name)) for name in pair.units["unit"]]
        complexes = [network.all_species.index(name) for name in pair.complexes]
        counts = pair.formula[:, len(units) :]
        ln_omega = np.log(network.statistical_factor)
        g = self._g[complexes] - self._g[units] @ counts
        omega = ln_omega[complexes] - ln_omega[units] @ counts
        weight = self._weight(g, counts.sum(0), omega)
        terms = network.term_counts[complexes] - counts.T @ network.term_counts[units]
        known = np.array([self._is_known(row) for row in terms], dtype=bool)
        for i, name in enumerate(pair.complexes):
            Kd = self._given.get(name, None if known[i] else self._default)
            if Kd is not None:
                weight[i] = (1 - counts[:, i].sum()) * np.log(Kd)
                known[i] |= name in self._given
        column = {s: i for i, s in enumerate(self._species.tolist())}
        confinement = self._graph.parameters["nominalValue"].get(pair.confinement, np.nan)
        return Place(pair, np.array([column[u] for u in units]), weight, known, float(confinement))

    def _is_known(self, counts: np.ndarray) -> bool:
        """Whether all energy terms of a binding have a source or are fixed."""
        rows = self._graph.parameters.loc[[self.network.terms[i] for i in np.flatnonzero(counts)]]
        return bool(((rows["estimate"] == 0) | (rows["reference"] != "") | (rows["doi"] != "")).all())

    def _describe(self) -> pd.DataFrame:
        """Table of the complexes between cells, in the order of `Bound`."""
        rows = [row for place in self._places for row in place.rows()]
        return pd.DataFrame(rows)


def _checked_Kd(given: dict[str, float], default: float | None, complexes: list[str]) -> dict[str, float]:
    """Refuse names and values that cannot be used."""
    for name, value in given.items():
        if name not in complexes:
            raise DataError(f"`Kd_uM`: `{name}` is no complex between cells; {nearest(str(name), complexes)}")
        if not (np.isfinite(value) and value > 0):
            raise DataError(f"`Kd_uM` of `{name}` must be positive, in µM; got {value}.")
    if default is not None and not (np.isfinite(default) and default > 0):
        raise DataError(f"`default_Kd_uM` must be positive, in µM; got {default}.")
    return given
