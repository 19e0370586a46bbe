"""What a fit of single cells found: states, predictions, tables, the AnnData keys, saved folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from multiscale.data import Interventions
from multiscale.data.cells import Cells
from multiscale.errors import DataError
from multiscale.fit.cells import saved
from multiscale.fit.cells import tables as written
from multiscale.fit.cells.compared import compared
from multiscale.fit.cells.fitted import FittedCells, NewBatches
from multiscale.fit.cells.fresh import Latent, batch_code, check_latent, fresh_cells
from multiscale.fit.cells.predict import CellPrediction, chosen, predict, sample
from multiscale.fit.cells.response import Done, response
from multiscale.model.cells import CellProblem
from multiscale.report.findings import Findings

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

__all__ = ["DRAWS", "CellResult"]

DRAWS = 100
"""Draws per cell for intervals of predictions."""


@dataclass(frozen=True, repr=False)
class CellResult(FittedCells):
    """A fitted model of single cells.

    Args:
        problem: what was asked.
        model: with the parameters that were found.
        history: a row per epoch; nats per cell unless another unit is named: `elbo`, `kl`, `log_density
            <modality>` (per cell that it measured) over the epoch, the same with `watched_` of the cells
            that training is judged on, `log_prior` (nats), `active_units`, `kl_weight`, `rate` (factor of all
            learning rates), `failed` (cells not solved), `skipped` (steps left out), `seconds`.
        settings: seed, rates and whatever else is needed to repeat the fit.
        members: the other fits of an ensemble, each a result of its own, that say how uncertain is what all
            cells share; see `ensemble`. States, loadings and scores are those of this fit.
    """

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
        share is at its optimum, or, where the fit has members, taken from these in turn, draw by draw.

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
        if draws < 0:
            raise DataError(f"`draws` must be 0 or more; got {draws}.")
        names = chosen(modalities, list(self.model.modalities), "modalities")
        worlds = self._worlds(condition, intervention, draws)
        return predict(self._reader(cells, contexts, new_batches), worlds, names, draws, self._seed)

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
        if draws < 1:
            raise DataError(f"`draws` must be 1 or more; got {draws}.")
        names = chosen(modalities, list(self.model.modalities), "modalities")
        worlds = self._worlds(condition, intervention, draws)
        reader = self._reader(cells, contexts, new_batches)
        return sample(reader, worlds, names, draws, self._seed if seed is None else seed)

    def new_cells(
        self,
        count: int,
        *,
        condition: str | None = None,
        intervention: Interventions | pd.DataFrame | None = None,
        batch: str | None = None,
        contexts: Sequence[str] | None = None,
        latent: Latent = "posterior",
        modalities: Sequence[str] | None = None,
        new_batches: NewBatches = "refuse",
        seed: int | None = None,
    ) -> dict[str, pd.DataFrame]:
        """Draw cells that nobody measured, shape (cell, feature), by modality; NaN where physics failed.

        Each is like a fitted cell, drawn with replacement: it has its size, and its batch and condition
        unless others are stated. Its latent state is drawn from the posterior of that cell, so that new cells
        are as diverse as those of the fit, or from the prior. Where the fit has members, new cells are of
        these in turn.

        Args:
            count: number of cells, 1 or more.
            condition: as of `predict`.
            intervention: as of `predict`.
            batch: of all new cells; None = each that of the cell that it is like.
            contexts: names of cells, or of conditions, that new cells are like; None = all of the fit.
            latent: `posterior` or `prior`.
            modalities: those to draw; None = all.
            new_batches: `mean` allows a batch that the fit did not see: calibrated as the mean of those seen.
            seed: of the draws, that of the fit if None.

        Raises:
            DataError: something named is unknown, or `count` is not positive.
        """
        if count < 1:
            raise DataError(f"`count` must be 1 or more; got {count}.")
        check_latent(latent)
        names = chosen(modalities, list(self.model.modalities), "modalities")
        worlds = self._worlds(condition, intervention, count)
        reader = self._reader(None, contexts, "refuse")
        options = {"batch": batch_code(self.model, batch, new_batches), "latent": latent}
        return fresh_cells(reader, worlds, count, names, **options, seed=self._seed if seed is None else seed)

    def compare(
        self,
        cells: Cells | None = None,
        *,
        contexts: Sequence[str] | None = None,
        modalities: Sequence[str] | None = None,
        draws: int = DRAWS,
        new_batches: NewBatches = "refuse",
    ) -> pd.DataFrame:
        """Measured readings beside predicted and drawn ones: a table for `pl.checks`.

        Args: as of `predict`; name some cells or modalities where all are too many rows.

        Returns:
            a row per cell and feature: `cell`, `modality`, `feature`, `observed` (NaN where not measured),
            `drawn` (one new reading), `predicted`, `lower`, `upper`, and `hidden` (not shown to the fit).
        """
        if draws < 1:
            raise DataError(f"`draws` must be 1 or more; got {draws}.")
        asked: dict[str, Any] = {"contexts": contexts, "modalities": modalities, "new_batches": new_batches}
        predictions = self.predict(cells, draws=draws, **asked)
        drawn = self.sample(cells, draws=1, **asked)
        return compared(self._reader(cells, contexts, new_batches), predictions, drawn)

    def response(
        self,
        modality: str,
        interventions: Done | None = None,
        *,
        contexts: Sequence[str] | None = None,
        draws: int = 20,
    ) -> pd.DataFrame:
        """Mean readings under conditions or doses: a table for `pl.response`.

        Args:
            modality: whose features.
            interventions: table of what is done, by label, or by dose where all labels are numbers; it is
                done to all `contexts` and replaces what their conditions say. None = the conditions of the
                fit, each with the cells that were under it.
            contexts: names of cells, or of conditions whose cells are meant; None = all.
            draws: of latent states and noise of every cell.

        Returns:
            a row per feature and condition (or dose): `feature`, `predicted` (mean over cells, median over
            draws), `lower` and `upper` (90 % of the draws), `condition` or `dose`, and `observed` (mean of
            the measured cells, hidden readings included) of conditions of the fit.

        Raises:
            DataError: something named is unknown, or interventions do not fit the graph.
        """
        return response(self, modality, interventions, contexts, draws)

    # Tables and files

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables of the fit that do not grow with its cells."""
        return written.tables(self)

    def findings(self, controls: Mapping[str, CellResult] | None = None, **options: Any) -> Findings:
        """Everything a report shows, as sentences and plain tables.

        Args:
            controls: fits of the same cells by name; that without a graph is called `without graph`. They
                are compared on readings that were hidden from all (`Cells.hide`).
            **options: `groupby` (column of obs whose groups are compared), `title` and `question` of a page.

        Raises:
            DataError: obs has no such column.
        """
        from multiscale.fit.cells.summary import findings

        return findings(self, controls, **options)

    def report(
        self, path: str | Path, controls: Mapping[str, CellResult] | None = None, **options: Any
    ) -> None:
        """Write the report page, one HTML file that opens anywhere; see `findings` for the arguments."""
        from multiscale.report import page

        page.write(self.findings(controls, **options), Path(path))

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
        return written.write_anndata(self, adata, key_added, copy)

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write parameters (safetensors), tables and metadata with the registry (JSON), atomically."""
        saved.save(self, folder, overwrite)

    @classmethod
    def load(cls, folder: str | Path, problem: CellProblem) -> CellResult:
        """Read what `save` wrote, for the same problem.

        Args:
            folder: a saved model.
            problem: graph and cells that were fitted; other cells go to `predict(cells)` afterwards.

        Raises:
            FormatError: the folder is damaged, or was made with another graph, other options or other data.
        """
        first, *others = [cls(problem, *parts) for parts in saved.load(folder, problem)]
        return replace(first, members=tuple(others))
