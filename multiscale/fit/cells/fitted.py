"""What a fit of cells found: states of cells, parameters and scores; which cells are meant."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from multiscale.data import Interventions
from multiscale.data.cells import Cells
from multiscale.data.cells.registry import Registry
from multiscale.errors import DataError
from multiscale.fit.cells import states as tables_of
from multiscale.fit.cells import tables as written
from multiscale.fit.cells.ensemble import spread
from multiscale.fit.cells.judged import scores
from multiscale.fit.cells.predict import CHUNK, Reader, positions
from multiscale.fit.cells.states import CellStates, states
from multiscale.fit.cells.worlds import World, world
from multiscale.graph import Graph
from multiscale.model.cells import CellModel, CellProblem

if TYPE_CHECKING:
    from multiscale.fit.cells.result import CellResult

__all__ = ["FittedCells", "NewBatches"]

NewBatches = Literal["refuse", "mean"]
"""What becomes of batches that a fit did not know: refused, or calibrated as the mean of those known."""


@dataclass(frozen=True)
class FittedCells(ABC):
    """What was found by a fit of single cells; see `CellResult`, which also predicts and writes."""

    problem: CellProblem
    model: CellModel
    history: pd.DataFrame
    settings: Mapping[str, Any] = field(default_factory=dict)
    members: tuple[CellResult, ...] = ()

    def __repr__(self) -> str:
        """Say what was fitted and how training ended, without computing anything."""
        active = int(self.history["active_units"].iloc[-1]) if len(self.history) else 0
        ended = (
            f"{active} of {self.problem.latent} latent dimensions active; {self.settings.get('stopped', '')}"
        )
        return f"{self.problem!r}\n    {ended}"

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

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """Values and priors of the graph and of all that cells share; see `CellModel.table`.

        With members also `sd`, `lower` and `upper` of 90 % intervals; see `ensemble.spread`.
        """
        table = self.model.table()
        if not self.members:
            return table
        return table.join(spread(self.model, [member.model for member in self.members]))

    def scores(
        self,
        cells: Cells | None = None,
        *,
        contexts: Sequence[str] | None = None,
        new_batches: NewBatches = "refuse",
    ) -> pd.DataFrame:
        """Log density, correlation, R² of every modality, of shown and of hidden readings; see `judged`."""
        return scores(self._reader(cells, contexts, new_batches), self._seed)

    def metadata(self) -> dict[str, Any]:
        """Version, units, graph hash, seed and settings."""
        return written.metadata(self)

    @property
    def _seed(self) -> int:
        return int(self.settings.get("seed", 0))

    def _worlds(
        self, condition: str | None, intervention: Interventions | pd.DataFrame | None, draws: int
    ) -> list[World]:
        """Physics of which draws are taken in turn: of the members, or of the fit."""
        models = [member.model for member in self.members] if draws else []
        return [world(model, condition, intervention) for model in models or [self.model]]

    def _reader(self, cells: Cells | None, contexts: Sequence[str] | None, new_batches: NewBatches) -> Reader:
        if cells is None:
            ours = self.problem.cells
            return Reader(self.model, ours, positions(ours, contexts))
        if not self.model.amortised:
            raise DataError(
                "`cells`: this fit has a posterior for each of its own cells and no encoder networks for "
                "others; fit again with CellProblem(..., amortised=True)."
            )
        known = self.registry.fit(cells, new_batches=new_batches)
        return Reader(self.model, known, positions(known, contexts))
