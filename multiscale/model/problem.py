"""Graph and data joined and checked: what is asked, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.data import CountMatrix, Data, Match, MeasurementTable
from multiscale.encoders.dense import DenseEnergy
from multiscale.errors import DataError, GraphError, nearest
from multiscale.graph import Graph, check
from multiscale.model.kinetics.dynamics import Dynamics
from multiscale.model.kinetics.schedule import Schedule
from multiscale.model.network import Network
from multiscale.model.sums import Readable
from multiscale.model.terms import count_term, table_term
from multiscale.solver.options import Solver

__all__ = ["REGIMES", "Priors", "Problem"]

REGIMES = ("equilibrium", "steady_state", "time_course")
"""How the state of a context follows from its parameters."""

RESOLUTIONS = {"equilibrium": float(np.finfo(np.float64).tiny), "steady_state": 1e-12}
"""Least concentration that is told from zero, µM, where the options of the solver do not say."""


@dataclass(frozen=True, kw_only=True)
class Priors:
    """Normal priors of what neither graph nor assays state; modelling assumptions, on natural-log scales.

    Args:
        level_sd: of a transcript's level in one context around its level over all contexts.
        translation_mean: mean and sd of the mean translation factor (ln copies per unit fraction of
            transcripts).
        translation_sd: of a molecule's translation factor around that mean.
        supply: mean and sd of ln copies of molecules that no transcript encodes.
        network_sd: of the weights of an energy network.
        abundance_sd: in kinetic regimes, of a molecule's abundance in one context around the start that the
            graph states, which all contexts share; 0 = they do not differ.
        abundances: species to which that applies; () = all that reactions change and that have a start.
    """

    level_sd: float = 2.0
    translation_mean: tuple[float, float] = (18.0, 5.0)
    translation_sd: float = 2.0
    supply: tuple[float, float] = (10.0, 3.0)
    network_sd: float = 1.0
    abundance_sd: float = 0.0
    abundances: tuple[str, ...] = ()


class Problem:
    """A graph and the measurements it must explain, validated.

    Args:
        graph: the network.
        data: contexts and assays.
        regime: `equilibrium` (binding, no reactions), `steady_state` or `time_course` (reactions; those that
            the graph calls fast are at equilibrium inside the others).
        temperature: of the contexts, K.
        priors: priors of translation and transcript levels.
        energy_network: network that corrects energies; needs `features`.
        features: what the network reads, one row per complex.
        strict: refuse a surface measurement of a molecule that the graph never puts on a membrane; controls,
            whose graphs are altered on purpose, read its total instead.
        solver: options of time courses.

    Raises:
        GraphError: the graph is inconsistent, or lacks reactions that the regime needs.
        DataError: identifiers, contexts, interventions or readouts of the data do not fit the graph.
    """

    def __init__(
        self,
        graph: Graph,
        data: Data,
        *,
        regime: str = "equilibrium",
        temperature: float = 310.15,
        priors: Priors | None = None,
        energy_network: DenseEnergy | None = None,
        features: pd.DataFrame | None = None,
        strict: bool = True,
        solver: Solver | None = None,
    ) -> None:
        if regime not in REGIMES:
            raise DataError(f"`regime` is `{regime}`; {nearest(str(regime), REGIMES)}")
        if not 200 < temperature < 400:
            raise DataError(f"`temperature` must lie between 200 and 400, in K; got {temperature}.")
        if not isinstance(data, Data):
            got = type(data).__name__
            raise DataError(f"`data` must be Data, such as from_anndata(..., groupby=...) gives; got {got}.")
        check(graph)
        self.graph, self.data, self.regime, self.temperature = graph, data, regime, temperature
        self.priors, self.solver = priors or Priors(), solver or Solver()
        self.network = Network.from_graph(graph)
        self.energy_network = energy_network
        self.features = _features(energy_network, features, self.network)
        table = data.contexts.table
        self.contexts, self.pairs = table[table["kind"] != "pair"], table[table["kind"] == "pair"]
        if self.contexts.empty:
            raise DataError("`data` has no contexts; add cells or groups with `from_anndata`.")
        self.dynamics = self._dynamics()
        assays = list(data.assays.values())
        self.counts = [count_term(a, self.network) for a in assays if isinstance(a, CountMatrix)]
        self.tables = [
            table_term(a, graph, self.network, self._readable(), self.contexts.index, strict)
            for a in assays
            if isinstance(a, MeasurementTable)
        ]
        self.schedule = Schedule.of(self.tables, self.contexts.index, regime)
        self.volume_fL = self._geometry("volume_fL", self._counts_copies)
        self.surface_um2 = self._geometry("surface_um2", len(self.pairs) > 0)

    def _dynamics(self) -> Dynamics | None:
        """What kinetic regimes need; interventions need one."""
        done = self.data.contexts.interventions
        if self.regime == "equilibrium":
            if len(done) or "preequilibrate" in self.contexts:
                raise DataError(
                    "interventions and `preequilibrate` act on reactions, which regime `equilibrium` lacks;"
                    ' use regime = "steady_state" or "time_course".'
                )
            _refuse_without_energy(self.graph)
            return None
        wanted = self.priors.abundances if self.priors.abundance_sd > 0 else None
        return Dynamics.of(self.graph, self.network, self.data.contexts, self.regime, wanted)

    def _readable(self) -> Readable:
        """Species that tables of concentrations may read."""
        network = self.network
        species = network.species if self.dynamics is None else self.dynamics.kinetics.species
        column = {name: i for i, name in enumerate(network.species)}
        share = np.hstack([network.formula * np.exp(network.crowding), np.zeros((len(network.molecules), 1))])
        return Readable(species, network.molecules, share[:, [column.get(name, -1) for name in species]])

    @property
    def supplied(self) -> list[str]:
        """Molecules with a translation factor: at equilibrium all, else those that react and are encoded.

        Where nothing reads transcripts, reactions start from what the graph states.
        """
        network, dynamics = self.network, self.dynamics
        if dynamics is None:
            return network.molecules
        encoded = zip(network.molecules, np.any(network.encodes, axis=1).tolist(), strict=True)
        known = set(dynamics.kinetics.species)
        return [name for name, has in encoded if has and name in known] if self.reads_levels else []

    @property
    def reads_levels(self) -> bool:
        """Whether there are transcript levels: at equilibrium always, else where something reads them."""
        reads = any((term.entries["readout"] == "transcript").any() for term in self.tables)
        return self.dynamics is None or bool(self.counts) or reads

    @property
    def resolution(self) -> float:
        """Least concentration that the solver tells from zero, µM."""
        return RESOLUTIONS.get(self.regime, self.solver.atol)

    @property
    def _counts_copies(self) -> bool:
        """Whether copies per cell are read or supplied, so that the volume of the cells is needed."""
        copies = any(term.entries["readout"].isin(["total", "surface"]).any() for term in self.tables)
        return bool(self.supplied) or copies

    @property
    def matches(self) -> dict[str, Match]:
        """Which identifiers of graph and data agree, per assay."""
        return {term.name: term.match for term in [*self.counts, *self.tables] if term.match is not None}

    def with_graph(self, graph: Graph, drop: tuple[str, ...] = ()) -> Problem:
        """Pose the same question with an altered graph and without an energy network: a control.

        Args:
            graph: the other graph.
            drop: names of assays to leave out.
        """
        assays = {name: assay for name, assay in self.data.assays.items() if name not in drop}
        data = Data(self.data.contexts, assays, self.data.provenance)
        return Problem(
            graph,
            data,
            regime=self.regime,
            temperature=self.temperature,
            priors=self.priors,
            strict=False,
            solver=self.solver,
        )

    def describe(self) -> str:
        """Say what matched and what did not, one line per assay."""
        return "\n".join(f"{name}: {found}" for name, found in self.matches.items())

    def _geometry(self, column: str, needed: bool) -> np.ndarray:
        """Volume or surface of every context: of the data, else of the graph's card, else NaN."""
        default = float(self.graph.card.get("cell", {}).get(column, np.nan))
        given = self.contexts[column] if column in self.contexts else pd.Series(np.nan, self.contexts.index)
        values = given.where(given != "", np.nan).astype(float).fillna(default)  # files have blank cells
        bad = values.index[~((values > 0) | (values.isna() & (not needed)))]
        if len(bad):
            raise DataError(
                f"context `{bad[0]}`: `{column}` must be positive; got {values[bad[0]]}. Add it with "
                "`contexts.with_covariates(table)`, or give a default under [cell] in the graph's card.toml."
            )
        return values.to_numpy()


def _refuse_without_energy(graph: Graph) -> None:
    """Complexes that react may leave their energy open; at equilibrium they cannot."""
    table = graph.nodes["complex"]
    problems = [
        f"nodes.tsv: complex `{name}` has no `energy`, which regime `equilibrium` needs; name its terms, or "
        'use regime = "steady_state" or "time_course".'
        for name in table.index[table["energy"] == ""]
    ]
    if problems:
        raise GraphError(problems, graph.name)


def _features(
    energy_network: DenseEnergy | None, table: pd.DataFrame | None, network: Network
) -> Tensor | None:
    """Features in the order of energies; zero rows for molecules, whose energy is zero by definition."""
    if energy_network is None:
        return None
    if table is None:
        raise GraphError("`energy_network` needs `features`: a table with one row per complex.")
    missing = set(network.complexes + network.pair_complexes) - set(table.index)
    if missing:
        raise GraphError(f"`features` lacks {len(missing)} complexes, for example `{sorted(missing)[0]}`.")
    return torch.as_tensor(table.reindex(network.all_species).fillna(0.0).to_numpy(float))
