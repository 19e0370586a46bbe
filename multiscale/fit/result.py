"""What a fit found: tables, exports, saved folders, the AnnData keys."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from multiscale import formats
from multiscale.errors import DataError, FormatError
from multiscale.fit import tables
from multiscale.fit.identify import undetermined
from multiscale.fit.laplace import Laplace, laplace_of
from multiscale.fit.objective import Posterior
from multiscale.fit.optimise import REASONS, Optimum
from multiscale.fit.profile import profile
from multiscale.fit.propagate import Intervals, propagate
from multiscale.graph import Graph
from multiscale.model import Model, Problem
from multiscale.model.pairs import PairState, pair_activities, pair_state
from multiscale.report.findings import Findings

__all__ = ["DRAWS", "Result"]

log = logging.getLogger("multiscale")

DRAWS = 1000
"""Draws of the posterior for intervals, unless the settings say otherwise."""


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

    @cached_property
    def posterior(self) -> Posterior:
        """The loss whose minimum the best start is."""
        used = self.optimum.used
        return Posterior(self.model, used=None if used is None else used[self.optimum.best][None])

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
    def laplace(self) -> Laplace | None:
        """Normal approximation of the posterior at the best start; None, with a warning, if there is none."""
        try:
            return laplace_of(self.model, self.optimum)
        except DataError as error:
            log.warning("no intervals: %s", error)
            return None

    @cached_property
    def intervals(self) -> Intervals | None:
        """90 % intervals of whatever follows from theta, from draws of `laplace`; None without it."""
        draws = int(self.settings.get("draws", DRAWS))
        if not draws or self.laplace is None:
            return None
        return propagate(self.model, self.laplace, draws, int(self.settings.get("seed", 0)))

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """PEtab parameter table of the best start: values, priors, intervals, and what determines them."""
        return tables.parameters(self)

    @cached_property
    def energies(self) -> pd.DataFrame:
        """Energy of every complex from free subunits, with interval and prior; for two subunits its Kd."""
        return tables.energies(self)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Every fitted measurement beside the fit, with the 90 % interval of a new measurement."""
        return tables.predictions(self)

    def profile(self, names: str | Sequence[str], points: int = 15) -> pd.DataFrame:
        """Profile the posterior of named parameters; see `fit.profile`."""
        return profile(self, [names] if isinstance(names, str) else names, points)

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables of the fit by name: what a run folder holds and a report shows."""
        found = {
            "parameters": self.parameters,
            "energies": self.energies,
            "complexes": tables.complexes(self),
            "concentrations": tables.concentrations(self),
            "pairs": tables.pairs(self),
            "pathways": tables.pathways(self),
            "predictions": self.predictions,
            "starts": tables.starts(self),
            "undetermined": None if self.laplace is None else undetermined(self.laplace),
        }
        return {name: table for name, table in found.items() if table is not None and len(table)}

    def terms(self) -> dict[str, float]:
        """Log density of every assay and of the priors at the best start."""
        with torch.no_grad():
            terms = self.posterior.terms(self.theta, self.state, torch.zeros(1, dtype=torch.int64))
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

    def _frame(self, values: torch.Tensor, columns: list[str]) -> pd.DataFrame:
        return pd.DataFrame(values.detach().cpu().numpy(), index=self.contexts, columns=columns)

    def node_values(self) -> dict[str, pd.DataFrame]:
        """Learned values per node type: geometric means over contexts, energies, activities' range."""
        network = self.problem.network
        columns = {"mean_concentration_uM": ("mean_ln_x", self.state.ln_x[0].mean(0))}
        species = self._with_ends(columns, network.species)
        columns = {"mean_copies_per_cell": ("mean_ln_total", self.state.ln_total[0].mean(0))}
        known = not np.isnan(self.problem.volume_fL).any()
        copies = self._with_ends(columns if known else {}, network.molecules)
        names = {"g_kcal_per_mol": "g_kcal_per_mol", "lower": "g_lower", "upper": "g_upper", "Kd_uM": "Kd_uM"}
        energies = self.energies.set_index("complex")
        known = energies[[name for name in names if name in energies]].rename(columns=names)
        known = known.reindex(network.complexes + network.pair_complexes)
        values = {"molecule": species.loc[network.molecules].join(copies), "complex": known.join(species)}
        if network.pathways:
            ranges = [t.max() - t.min() for t in (self.activities(), self.pair_activities()) if len(t)]
            values["pathway"] = pd.DataFrame({"activity_range": pd.concat(ranges, axis=1).max(axis=1)})
        return values

    def _with_ends(self, columns: dict[str, tuple[str, torch.Tensor]], names: list[str]) -> pd.DataFrame:
        """Values given as logarithms, each with the ends of its interval if there are any."""
        table = pd.DataFrame(index=names)
        for column, (quantity, value) in columns.items():
            table[column] = value.exp().cpu().numpy()
            if self.intervals is not None:
                table[f"{column}_lower"] = np.exp(self.intervals.lower[quantity])
                table[f"{column}_upper"] = np.exp(self.intervals.upper[quantity])
        return table

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
        """Write the network with learned values; the suffix says the format (see `formats.FORMATS`).

        `.tsv` is the table of all parameters, in PEtab's columns. `.xml` and `.sbml` are the model as SBML,
        with the fitted values of its parameters.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".tsv":
            formats.tables.write_parameters(self.parameters, path)
            return
        values = self.node_values()
        if suffix in (".xml", ".sbml"):
            values["parameter"] = self.parameters.set_index("parameterId")
        formats.export(self.problem.graph, Path(path), values, self.metadata())

    def write_petab(self, folder: str | Path, *, version: int = 2, overwrite: bool = False) -> Path:
        """Write model, conditions, measurements and fitted parameters as a PEtab problem.

        Args:
            folder: a new or empty folder, unless `overwrite`.
            version: of PEtab; 1 cannot hold changes after the start, nor formulas of conditions.
            overwrite: replace files of the same names.

        Returns:
            Path of the YAML file.

        Raises:
            FormatError: the fit asks something that PEtab has no words for, by name.

        See `petab_from_graph` for what becomes what.
        """
        from multiscale.formats.petab import petab_from_graph, write_petab

        problem = self.problem
        fitted = self.parameters.set_index("parameterId")["nominalValue"]
        stated = petab_from_graph(
            problem.graph,
            problem.data,
            regime=problem.regime,
            values={str(name): float(value) for name, value in fitted.items()},
            temperature=problem.temperature,
        )
        return write_petab(stated, folder, version=version, overwrite=overwrite)

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
        if not self.problem.supplied:
            return pd.DataFrame(index=names)
        network = self.problem.network
        mean = float(self.state.values["translation_mean"][0, 0])
        translation = mean + self.state.values["translation"][0].cpu().numpy()
        factor = pd.Series(translation, index=self.problem.supplied).reindex(network.molecules)
        rows, columns = np.nonzero(network.encodes)
        identifiers = [network.identifiers[c] for c in columns]
        table = pd.DataFrame({"ln_translation": factor.to_numpy()[rows]}, index=identifiers)
        return table[~table.index.duplicated()].reindex(names)

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write parameters (safetensors), tables and metadata (JSON) into a folder, atomically."""
        formats.weights.save(
            Path(folder),
            {
                name: value
                for name, value in vars(self.optimum).items()
                if value is not None and name != "reason"
            },
            self.metadata() | {"reasons": self.optimum.reasons, "parameters": self.model.parameters.names},
            tables={"parameters": self.parameters, "energies": self.energies},
            overwrite=overwrite,
        )

    @classmethod
    def load(cls, folder: str | Path, problem: Problem) -> Result:
        """Read what `save` wrote, for the same problem.

        Args:
            folder: a saved model.
            problem: graph and data that were fitted.

        Raises:
            FormatError: the folder is damaged, or was made with another graph or other parameters.
        """
        saved = formats.weights.load(folder)
        model = Model(problem)
        for what, ours in (("graph_hash", problem.graph.hash()), ("parameters", model.parameters.names)):
            if saved.meta.get(what) != ours:
                raise FormatError(
                    f"{folder}: the saved fit has another `{what}` than `problem`; give what was fitted."
                )
        arrays = {name: torch.as_tensor(array) for name, array in saved.arrays.items()}
        reason = torch.tensor([REASONS.index(text) for text in saved.meta["reasons"]])
        return cls(problem, model, Optimum(**arrays, reason=reason), saved.meta["settings"])

    def findings(self, evaluations: Mapping[str, Any] | None = None, **more: Any) -> Findings:
        """Everything a report shows, as sentences and plain tables; see `summary.findings`."""
        from multiscale.fit.summary import findings

        return findings(self, evaluations or {}, **more)

    def report(self, path: str | Path, evaluations: Mapping[str, Any] | None = None) -> None:
        """Write the report page: one HTML file that opens anywhere."""
        from multiscale.report import page

        page.write(self.findings(evaluations), Path(path))

    def undetermined(self) -> list[str]:
        """Sentences on what these data do not determine."""
        from multiscale.fit.words import not_determined

        return not_determined(self)


def _per_cell(table: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """Repeat a context's row for each of its cells; NaN where a cell has no context."""
    return table.reindex(labels.to_numpy()).set_axis(labels.index)


def _edge_table(problem: Problem) -> str:
    """All edges as JSON records, which every AnnData version can hold."""
    edges = [table.assign(relation=name) for name, table in problem.graph.edges.items() if len(table)]
    return pd.concat(edges, ignore_index=True).to_json(orient="records") if edges else "[]"
