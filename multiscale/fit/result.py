"""What a fit found: tables, exports, saved folders, the AnnData keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from multiscale import formats
from multiscale.fit.objective import Posterior
from multiscale.fit.optimise import Optimum
from multiscale.graph import Graph
from multiscale.model import Model, Problem
from multiscale.model.pairs import PairState, pair_activities, pair_state
from multiscale.units import Kd_from_delta_g

__all__ = ["Result"]


@dataclass(frozen=True)
class Result:
    """The fitted network of one problem.

    Args:
        problem: what was asked.
        model: parameters and state as functions of theta.
        optimum: where every start ended.
        settings: seed, starts and whatever else is needed to repeat the fit.
    """

    problem: Problem
    model: Model
    optimum: Optimum
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """The network that was fitted."""
        return self.problem.graph

    @property
    def theta(self) -> torch.Tensor:
        """Parameters of the best start, shape (1, parameter)."""
        return self.optimum.theta[self.optimum.best][None]

    @cached_property
    def state(self):
        """State of the best start."""
        with torch.no_grad():
            return self.model.state(self.theta)

    @cached_property
    def pair_state(self) -> PairState | None:
        """Complexes between cells of the best start, None without pairs of contexts."""
        with torch.no_grad():
            return pair_state(self.model, self.state)

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """PEtab parameter table with the values of the best start; the prior's mean in `priorMean`."""
        fitted = self.model.parameters.frame(self.theta[0])
        prior = self.model.parameters.frame()["nominalValue"]
        return fitted.assign(priorMean=prior, spreadOverStarts=self._spread())

    def _spread(self) -> np.ndarray:
        """Standard deviation over the starts whose loss is within 2 of the best, on the parameter's scale."""
        loss = self.optimum.loss
        near = loss <= loss.min() + 2.0
        values = self.model.parameters.flat(self.optimum.theta[near])
        return values.std(0, unbiased=False).cpu().numpy()

    @cached_property
    def energies(self) -> pd.DataFrame:
        """Energy of every complex: g (from free subunits) and, for two subunits, its Kd."""
        network, temperature = self.problem.network, self.problem.temperature
        nodes = self.problem.graph.nodes["complex"]
        g = pd.Series(self.state.g[0].cpu().numpy(), index=network.all_species)
        names = network.complexes + network.pair_complexes
        table = pd.DataFrame({"complex": names, "g_kcal_per_mol": g[names].to_numpy()})
        rows = [network.all_species.index(name) for name in names]
        table["subunits"] = self.model.subunits[rows].cpu().numpy().astype(int)
        omega = dict(zip(network.all_species, network.statistical_factor, strict=True))
        kd = [
            Kd_from_delta_g(v, temperature) / omega[n]
            for n, v in zip(names, table["g_kcal_per_mol"], strict=True)
        ]
        table["Kd_uM"] = np.where(table["subunits"] == 2, kd, np.nan)
        table["between_cells"] = table["complex"].isin(network.pair_complexes)
        return table.assign(evidence=nodes.loc[names, "evidence"].to_numpy())

    def energies_with_priors(self) -> pd.DataFrame:
        """The table of energies with the prior's mean and sd of each, for plots."""
        table, network = self.energies, self.problem.network
        prior = self.model.parameters.frame().set_index("parameterId")["objectivePriorParameters"]
        mean, sd = (
            prior.reindex(network.terms).fillna("0;0").str.split(";", expand=True).astype(float).to_numpy().T
        )
        rows = [network.all_species.index(name) for name in table["complex"]]
        counts = network.term_counts[rows]
        return table.assign(prior_mean=counts @ mean, prior_sd=np.sqrt((counts**2) @ sd**2))

    def terms(self) -> dict[str, float]:
        """Log density of every assay and of the priors at the best start."""
        with torch.no_grad():
            posterior = Posterior(self.model)
            terms = posterior.terms(self.theta, self.state, torch.zeros(1, dtype=torch.int64))
        return {name: float(value) for name, value in terms.items()}

    @cached_property
    def contexts(self) -> list[str]:
        """Names of the contexts that are cells or groups."""
        return [str(name) for name in self.problem.contexts.index]

    def concentrations(self) -> pd.DataFrame:
        """Concentrations of species in every context, µM, (context, species)."""
        return self._frame(self.state.ln_x[0].exp(), self.problem.network.species)

    def copies(self) -> pd.DataFrame:
        """Copies per cell of every molecule in all its forms, (context, molecule)."""
        return self._frame(self.state.ln_total[0].exp(), self.problem.network.molecules)

    def activities(self) -> pd.DataFrame:
        """Pathway activities from species within cells, (context, pathway)."""
        return self._frame(self.model.activities(self.state)[0], self.problem.network.pathways)

    def pair_activities(self) -> pd.DataFrame:
        """Pathway activities in every pair context, (pair, pathway); empty without pairs."""
        if self.pair_state is None:
            return pd.DataFrame(columns=self.problem.network.pathways)
        with torch.no_grad():
            values = pair_activities(self.model, self.state, self.pair_state)[0].cpu().numpy()
        return pd.DataFrame(values, index=self.problem.pairs.index, columns=self.problem.network.pathways)

    def pathway_table(self) -> pd.DataFrame:
        """Tidy table: context (cell type or sender|receiver), pathway, activity; the receiver's in a pair."""
        tables = [self.activities(), self.pair_activities()]
        tidy = [
            t.rename_axis("context").reset_index().melt("context", var_name="pathway", value_name="activity")
            for t in tables
        ]
        return pd.concat([t for t in tidy if len(t)], ignore_index=True)

    def _frame(self, values: torch.Tensor, columns: list[str]) -> pd.DataFrame:
        return pd.DataFrame(values.detach().cpu().numpy(), index=self.contexts, columns=columns)

    def node_values(self) -> dict[str, pd.DataFrame]:
        """Learned values per node type: geometric means over contexts, energies, activities' range."""
        network = self.problem.network
        ln_x = self.state.ln_x[0].mean(0).cpu().numpy()
        species = pd.DataFrame({"mean_concentration_uM": np.exp(ln_x)}, index=network.species)
        molecules = species.loc[network.molecules].copy()
        total = self.state.ln_total[0].mean(0).cpu().numpy()
        molecules["mean_copies_per_cell"] = np.exp(total)
        energies = self.energies.set_index("complex")[["g_kcal_per_mol", "Kd_uM"]]
        complexes = energies.join(species)
        values = {"molecule": molecules, "complex": complexes}
        if network.pathways:
            ranges = [t.max() - t.min() for t in (self.activities(), self.pair_activities()) if len(t)]
            values["pathway"] = pd.DataFrame({"activity_range": pd.concat(ranges, axis=1).max(axis=1)})
        return values

    def metadata(self) -> dict[str, Any]:
        """Version, units, graph hash, seed and settings."""
        from multiscale.version import __version__

        return {
            "format_version": 1,
            "multiscale": __version__,
            "graph": self.problem.graph.name,
            "graph_hash": self.problem.graph.hash(),
            "regime": self.problem.regime,
            "temperature_K": self.problem.temperature,
            "units": {"concentration": "uM", "energy": "kcal/mol", "copies": "molecules per cell"},
            "settings": dict(self.settings),
            "data": dict(self.problem.data.provenance),
        }

    def export(self, path: str | Path) -> None:
        """Write the network with learned values; the suffix says the format (see `formats.FORMATS`)."""
        formats.export(self.problem.graph, Path(path), self.node_values(), self.metadata())

    def write_anndata(self, adata: Any, key_added: str = "multiscale") -> None:
        """Write concentrations, complexes and pathway activities into an AnnData, in place.

        Keys: obsm X_<key>, <key>_complex, <key>_pathway; varm X_<key>; uns <key>. Every cell gets its
        context's values.
        """
        sources = self.problem.data.provenance.values()
        groupby = next((source["groupby"] for source in sources if source.get("groupby")), None)
        labels = adata.obs[groupby].astype(str) if groupby else pd.Series(adata.obs_names, adata.obs_names)
        network = self.problem.network
        concentrations = self.concentrations()
        formats.anndata.write(
            adata,
            molecules=_per_cell(self.copies(), labels),
            complexes=_per_cell(concentrations[network.complexes], labels),
            pathways=_per_cell(self.activities(), labels),
            variables=self._per_gene(adata.var_names),
            meta=self.metadata() | {"edges": _edge_table(self.problem)},
            key_added=key_added,
        )

    def _per_gene(self, names: pd.Index) -> pd.DataFrame:
        """Translation factor per transcript of the AnnData, NaN where the graph has none."""
        network = self.problem.network
        mean = float(self.state.values["translation_mean"][0, 0])
        factor = pd.Series(mean + self.state.values["translation"][0].cpu().numpy(), index=network.molecules)
        rows, columns = np.nonzero(network.encodes)
        identifiers = [network.identifiers[c] for c in columns]
        table = pd.DataFrame({"ln_translation": factor.to_numpy()[rows]}, index=identifiers)
        return table[~table.index.duplicated()].reindex(names)

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write parameters (safetensors), tables and metadata (JSON) into a folder, atomically."""
        formats.weights.save(
            Path(folder),
            {"theta": self.optimum.theta, "loss": self.optimum.loss},
            self.metadata() | {"reasons": self.optimum.reasons, "parameters": self.model.parameters.names},
            tables={"parameters": self.parameters, "energies": self.energies},
            overwrite=overwrite,
        )

    def report(self, path: str | Path, evaluations: Mapping[str, Any] | None = None) -> None:
        """Write the report page."""
        from multiscale.fit.summary import write_report

        write_report(self, Path(path), evaluations or {})

    def undetermined(self) -> list[str]:
        """Sentences on what these data do not determine."""
        from multiscale.fit.summary import undetermined

        return undetermined(self)


def _per_cell(table: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """Repeat a context's row for each of its cells; NaN where a cell has no context."""
    return table.reindex(labels.to_numpy()).set_axis(labels.index)


def _edge_table(problem: Problem) -> str:
    """All edges as JSON records, which every AnnData version can hold."""
    edges = [table.assign(relation=name) for name, table in problem.graph.edges.items() if len(table)]
    return pd.concat(edges, ignore_index=True).to_json(orient="records") if edges else "[]"
