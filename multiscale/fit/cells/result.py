"""What a fit of single cells found: states, predictions, tables, the AnnData keys, saved folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch

from multiscale import formats
from multiscale.data import Interventions
from multiscale.data.cells import Cells
from multiscale.data.cells.registry import Registry
from multiscale.errors import DataError, nearest
from multiscale.fit.cells import states as tables_of
from multiscale.fit.cells.judged import scores
from multiscale.fit.cells.predict import CHUNK, CellPrediction, Reader, chosen, predict, sample
from multiscale.fit.cells.same import check_same, shape_of
from multiscale.fit.cells.states import CellStates, states
from multiscale.fit.cells.worlds import World, world
from multiscale.graph import Graph
from multiscale.model.cells import CellModel, CellProblem

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

__all__ = ["DRAWS", "CellResult"]

DRAWS = 100
"""Draws per cell for intervals of predictions."""

NewBatches = Literal["refuse", "mean"]


@dataclass(frozen=True)
class CellResult:
    """A fitted model of single cells.

    Args:
        problem: what was asked.
        model: with the parameters that were found.
        history: a row per epoch; nats per cell unless another unit is named: `elbo`, `kl`, `log_density
            <modality>` (per cell that it measured) over the epoch, the same with `watched_` of the cells
            that training is judged on, `log_prior` (nats), `active_units`, `kl_weight`, `rate` (factor of all
            learning rates), `failed` (cells not solved), `skipped` (steps left out), `seconds`.
        settings: seed, rates and whatever else is needed to repeat the fit.
    """

    problem: CellProblem
    model: CellModel
    history: pd.DataFrame
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> Graph | None:
        """The network that was fitted; None of a control without."""
        return self.problem.graph

    @cached_property
    def registry(self) -> Registry:
        """What data the model knows: features, batches, conditions."""
        return Registry.of(self.problem.cells)

    # States

    def stream(
        self,
        cells: Cells | None = None,
        *,
        condition: str | None = None,
        intervention: Interventions | pd.DataFrame | None = None,
        contexts: Sequence[str] | None = None,
        new_batches: NewBatches = "refuse",
        size: int = CHUNK,
    ) -> Iterator[CellStates]:
        """States of cells, some thousand at a time: for more cells than memory holds; see `predict`."""
        there = world(self.model, condition, intervention)
        yield from states(self._reader(cells, contexts, new_batches), there, size)

    def states(self, cells: Cells | None = None, **options: Any) -> CellStates:
        """States of cells as whole tables; see `stream` for the arguments."""
        parts = list(self.stream(cells, **options))
        return CellStates(
            **{f.name: pd.concat([getattr(part, f.name) for part in parts]) for f in fields(CellStates)}
        )

    @cached_property
    def _states(self) -> CellStates:
        return self.states()

    @property
    def latent(self) -> pd.DataFrame:
        """Posterior means of the latent state, (cell, latent)."""
        return self._states.latent

    @property
    def latent_sd(self) -> pd.DataFrame:
        """Posterior standard deviations of the latent state, (cell, latent)."""
        return self._states.latent_sd

    @property
    def totals(self) -> pd.DataFrame:
        """Copies per cell of every molecule in all its forms, (cell, molecule)."""
        return self._states.totals

    @property
    def surface(self) -> pd.DataFrame:
        """Copies of every molecule on membranes, (cell, molecule)."""
        return self._states.surface

    @property
    def concentrations(self) -> pd.DataFrame:
        """Concentrations of species in their compartments, µM, (cell, species)."""
        return self._states.concentrations

    @property
    def complexes(self) -> pd.DataFrame:
        """Concentrations of complexes, µM, (cell, complex)."""
        known = [] if self.graph is None else self.graph.nodes["complex"].index
        return self.concentrations[[name for name in self.concentrations if name in known]]

    @property
    def pathways(self) -> pd.DataFrame:
        """Σ_i sign_i w_i ln(x_i / x_i,ref), x_ref the geometric mean over cells; (cell, pathway)."""
        pooled = self._states.pathways
        return pooled - pooled.where(np.isfinite(pooled)).mean()

    @property
    def active_units(self) -> int:
        """Latent dimensions in which posterior means vary by more than 0.01 over cells."""
        return tables_of.active_units(self.latent)

    @cached_property
    def loadings(self) -> dict[str, pd.DataFrame]:
        """Change of ln signal per unit of z, (feature, latent), by modality; see `states.loadings`."""
        return tables_of.loadings(self.model)

    # Predictions

    def predict(
        self,
        cells: Cells | None = None,
        *,
        condition: str | None = None,
        intervention: Interventions | pd.DataFrame | None = None,
        contexts: Sequence[str] | None = None,
        modalities: Sequence[str] | None = None,
        draws: int = DRAWS,
        new_batches: NewBatches = "refuse",
    ) -> dict[str, CellPrediction]:
        """Expected readings, with 90 % intervals; also of what was not measured, and of what was not done.

        Every cell keeps the posterior of its latent state, which follows from its readings; condition and
        intervention change the physics. Intervals hold for the latent state and the noise; what all cells
        share is at its optimum.

        Args:
            cells: other cells, of a fit with encoder networks; None = those of the fit.
            condition: of the fit, put in place of every cell's own.
            intervention: table of what is done besides, see `data.Interventions`; the column `context` may be
                missing. Without `condition` it is all that is done.
            contexts: names of cells, or of conditions whose cells are meant; None = all.
            modalities: those to predict; None = all.
            draws: of latent state and noise per cell; 0 = the mean of the posterior, without intervals.
            new_batches: `mean`: batches that the fit did not know get the mean over those that it did.

        Raises:
            DataError: something named is unknown, interventions do not fit the graph, or other cells lack
                features of the fit.
        """
        reader, there, names = self._asked(cells, condition, intervention, contexts, modalities, new_batches)
        if draws < 0:
            raise DataError(f"`draws` must be 0 or more; got {draws}.")
        return predict(reader, there, names, draws, self._seed)

    def sample(
        self,
        cells: Cells | None = None,
        *,
        condition: str | None = None,
        intervention: Interventions | pd.DataFrame | None = None,
        contexts: Sequence[str] | None = None,
        modalities: Sequence[str] | None = None,
        draws: int = 1,
        new_batches: NewBatches = "refuse",
        seed: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Draw new readings, shape (draw, cell, feature), by modality: for the distribution over cells.

        Args: as of `predict`; `seed` of the draws, that of the fit if None.
        """
        reader, there, names = self._asked(cells, condition, intervention, contexts, modalities, new_batches)
        if draws < 1:
            raise DataError(f"`draws` must be 1 or more; got {draws}.")
        return sample(reader, there, names, draws, self._seed if seed is None else seed)

    def scores(
        self,
        cells: Cells | None = None,
        *,
        contexts: Sequence[str] | None = None,
        new_batches: NewBatches = "refuse",
    ) -> pd.DataFrame:
        """Log density, correlation, R² of every modality, of shown and of hidden readings; see `judged`."""
        return scores(self._reader(cells, contexts, new_batches), self._seed)

    @property
    def _seed(self) -> int:
        return int(self.settings.get("seed", 0))

    def _asked(
        self,
        cells: Cells | None,
        condition: str | None,
        intervention: Interventions | pd.DataFrame | None,
        contexts: Sequence[str] | None,
        modalities: Sequence[str] | None,
        new_batches: NewBatches,
    ) -> tuple[Reader, World, list[str]]:
        """Everything is checked before anything is computed."""
        names = chosen(modalities, list(self.model.modalities), "modalities")
        there = world(self.model, condition, intervention)
        return self._reader(cells, contexts, new_batches), there, names

    def _reader(self, cells: Cells | None, contexts: Sequence[str] | None, new_batches: NewBatches) -> Reader:
        if cells is None:
            ours = self.problem.cells
            return Reader(self.model, ours, _positions(ours, contexts))
        if not self.model.amortised:
            raise DataError(
                "`cells`: this fit has a posterior for each of its own cells and no encoder networks for "
                "others; fit again with CellProblem(..., amortised=True)."
            )
        known = self.registry.fit(cells, new_batches=new_batches)
        return Reader(self.model, known, _positions(known, contexts))

    # Tables and files

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """Values and priors of the graph and of all that cells share; see `CellModel.table`."""
        return self.model.table()

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables of the fit that do not grow with its cells."""
        found = {
            "history": self.history.reset_index(),
            "parameters": self.parameters,
            "scores": self.scores().reset_index(),
            **{f"loadings {name}": _indexed(table, "feature") for name, table in self.loadings.items()},
        }
        return {name: table for name, table in found.items() if len(table)}

    def metadata(self) -> dict[str, Any]:
        """Version, units, graph hash, seed and settings."""
        from multiscale.version import __version__

        problem = self.problem
        return {
            "format_version": 1,
            "multiscale": __version__,
            "scale": "cells",
            "graph": None if problem.graph is None else problem.graph.name,
            "graph_hash": None if problem.graph is None else problem.graph.hash(),
            "regime": problem.regime,
            "temperature_K": problem.temperature,
            "units": {"concentration": "uM", "energy": "kcal/mol", "copies": "molecules per cell"},
            "settings": dict(self.settings),
            "data": {name: dict(part.provenance) for name, part in problem.cells.modalities.items()},
        }

    def write_anndata(
        self, adata: AnnData | MuData, key_added: str = "multiscale", copy: bool = False
    ) -> AnnData | MuData | None:
        """Write states into an AnnData or MuData; cells that were not fitted get NaN.

        Keys: obsm `X_<key>` (latent state, for neighbours and embeddings), `<key>_molecule` (copies per
        cell), `<key>_complex` (µM), `<key>_pathway` (activity); varm `X_<key>` (loadings of features); uns
        `<key>`.

        Args:
            adata: to write into.
            key_added: the key.
            copy: write into a copy, which is returned, and leave `adata` as it is.

        Raises:
            DataError: it has none of the cells of the fit.
        """
        names = adata.obs_names
        if not names.isin(self.latent.index).any():
            raise DataError(
                f"`adata` has none of the fitted cells, such as `{self.latent.index[0]}`; its first is "
                f"`{names[0]}`."
            )
        target: Any = adata.copy() if copy else adata
        physical = {"molecules": self.totals, "complexes": self.complexes, "pathways": self.pathways}
        formats.anndata.write(
            target,
            latent=self.latent.reindex(names),
            variables=self._per_variable(adata.var_names),
            meta=self.metadata() | {"edges": _edges(self.graph)},
            key_added=key_added,
            **{name: table.reindex(names) for name, table in physical.items() if table.shape[1]},
        )
        return target if copy else None

    def _per_variable(self, names: pd.Index) -> pd.DataFrame:
        """Loadings of every variable, NaN of those that were not fitted."""
        table = pd.concat(self.loadings.values())
        return table[~table.index.duplicated()].reindex(names)

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write parameters (safetensors), tables and metadata with the registry (JSON), atomically."""
        formats.weights.save(
            Path(folder),
            {f"model {name}": value for name, value in self.model.state_dict().items()},
            self.metadata() | {"problem": shape_of(self.problem), "registry": self.registry.to_json()},
            tables={"history": self.history.reset_index(), "parameters": self.parameters},
            overwrite=overwrite,
        )

    @classmethod
    def load(cls, folder: str | Path, problem: CellProblem) -> CellResult:
        """Read what `save` wrote, for the same problem.

        Args:
            folder: a saved model.
            problem: graph and cells that were fitted; other cells go to `predict(cells)` afterwards.

        Raises:
            FormatError: the folder is damaged, or was made with another graph, other options or other data.
        """
        saved = formats.weights.load(folder)
        check_same(folder, saved.meta, problem)
        settings = saved.meta["settings"]
        dtype = torch.float64 if settings.get("precision") == "64" else torch.float32
        model = CellModel(problem, dtype=dtype, seed=int(settings.get("seed", 0)))
        prefix = "model "
        weights = {n.removeprefix(prefix): torch.as_tensor(a) for n, a in saved.arrays.items()}
        model.load_state_dict(weights)
        history = saved.tables["history"].astype(float).set_index("epoch")
        return cls(problem, model, history, settings)


def _positions(cells: Cells, contexts: Sequence[str] | None) -> np.ndarray | None:
    """Positions of cells by their names, or by those of their conditions."""
    if contexts is None:
        return None
    names = [contexts] if isinstance(contexts, str) else list(contexts)
    conditions = cells.condition.names
    if names and all(name in conditions for name in names):
        return np.flatnonzero(np.isin(cells.condition.codes, [conditions.index(name) for name in names]))
    found = cells.obs.index.get_indexer(pd.Index(names))
    if not names or (found < 0).any():
        odd = names[int((found < 0).argmax())] if names else ""
        raise DataError(f"`contexts`: `{odd}` is no cell; of conditions {nearest(odd, conditions)}")
    return found


def _indexed(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table.rename_axis(name).reset_index()


def _edges(graph: Graph | None) -> str:
    """All edges as JSON records, which every AnnData version can hold."""
    tables = [] if graph is None else [t.assign(relation=n) for n, t in graph.edges.items() if len(t)]
    return pd.concat(tables, ignore_index=True).to_json(orient="records") if tables else "[]"
