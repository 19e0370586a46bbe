"""Graph and data joined and checked: what is asked, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.data import CountMatrix, Data, Match, MeasurementTable
from multiscale.encoders.dense import DenseEnergy
from multiscale.errors import DataError, GraphError
from multiscale.graph import Graph, check
from multiscale.model.network import Network
from multiscale.model.terms import count_term, table_term

__all__ = ["Priors", "Problem"]


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
    """

    level_sd: float = 2.0
    translation_mean: tuple[float, float] = (18.0, 5.0)
    translation_sd: float = 2.0
    supply: tuple[float, float] = (10.0, 3.0)
    network_sd: float = 1.0


class Problem:
    """A graph and the measurements it must explain, validated.

    Args:
        graph: the network.
        data: contexts and assays.
        regime: `equilibrium`.
        temperature: of the contexts, K.
        priors: priors of translation and transcript levels.
        energy_network: network that corrects energies; needs `features`.
        features: what the network reads, one row per complex.
        strict: refuse a surface measurement of a molecule that the graph never puts on a membrane; controls,
            whose graphs are altered on purpose, read its total instead.

    Raises:
        GraphError: the graph is inconsistent.
        DataError: identifiers, contexts or readouts of the data do not fit the graph.
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
    ) -> None:
        if regime != "equilibrium":
            raise DataError(
                f"`regime` must be `equilibrium`; got `{regime}`: other regimes are not available yet."
            )
        if not 200 < temperature < 400:
            raise DataError(f"`temperature` must lie between 200 and 400, in K; got {temperature}.")
        check(graph)
        self.graph, self.data, self.regime, self.temperature = graph, data, regime, temperature
        self.priors = priors or Priors()
        self.network = Network.from_graph(graph)
        self.energy_network = energy_network
        self.features = _features(energy_network, features, self.network)
        table = data.contexts.table
        self.contexts, self.pairs = table[table["kind"] != "pair"], table[table["kind"] == "pair"]
        if self.contexts.empty:
            raise DataError("`data` has no contexts; add cells or groups with `from_anndata`.")
        self.volume_fL = self._geometry("volume_fL")
        self.surface_um2 = self._geometry("surface_um2")
        assays = list(data.assays.values())
        self.counts = [count_term(a, self.network) for a in assays if isinstance(a, CountMatrix)]
        self.tables = [
            table_term(a, graph, self.network, self.contexts.index, strict)
            for a in assays
            if isinstance(a, MeasurementTable)
        ]

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
            graph, data, regime=self.regime, temperature=self.temperature, priors=self.priors, strict=False
        )

    def describe(self) -> str:
        """Say what matched and what did not, one line per assay."""
        return "\n".join(f"{name}: {found}" for name, found in self.matches.items())

    def _geometry(self, column: str) -> np.ndarray:
        """Volume or surface of every context: from the data, else the default of the graph's card."""
        default = float(self.graph.card.get("cell", {}).get(column, np.nan))
        given = self.contexts[column] if column in self.contexts else pd.Series(np.nan, self.contexts.index)
        values = given.astype(float).fillna(default)
        bad = values.index[~(values > 0)]
        if len(bad):
            raise DataError(
                f"context `{bad[0]}`: `{column}` must be positive; got {values[bad[0]]}. Add it with "
                "`contexts.with_covariates(table)`, or give a default under [cell] in the graph's card.toml."
            )
        return values.to_numpy()


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
