"""What a molecular fit found: values, predictions, what is undetermined, tables and saved folders."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from multiscale import formats
from multiscale.data import Readings
from multiscale.errors import DataError, FormatError
from multiscale.fit.curvature import LARGEST
from multiscale.fit.molecular import tables
from multiscale.fit.molecular.intervals import Uncertainty, uncertainty
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.molecular.predict import DRAWS, Prediction, predict, scores
from multiscale.fit.molecular.samples import SampledUncertainty, sampled_uncertainty
from multiscale.fit.optimise import REASONS, Optimum
from multiscale.fit.profile import follow
from multiscale.formats import document
from multiscale.graph import Graph
from multiscale.model.molecular import MolecularModel, MolecularProblem, RowModel
from multiscale.report.findings import Findings

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["MolecularResult"]

log = logging.getLogger("multiscale")


@dataclass(frozen=True)
class MolecularResult:
    """A fitted molecular problem.

    Args:
        problem: what was asked.
        model: parameters and rows as functions of theta, with learned widths of priors.
        optimum: where every start ended.
        settings: seed, starts and whatever else is needed to repeat the fit.
    """

    problem: MolecularProblem
    model: MolecularModel
    optimum: Optimum
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """The graph of states that was fitted."""
        return self.problem.graph

    @property
    def theta(self) -> torch.Tensor:
        """Parameters of the best start, shape (1, parameter)."""
        return self.optimum.theta[self.optimum.best][None]

    @property
    def flat(self) -> torch.Tensor:
        """Values of all parameters of the best start on their blocks' scales, shape (1, parameter)."""
        return self.model.parameters.flat(self.theta)

    @cached_property
    def posterior(self) -> MolecularPosterior:
        """The loss whose minimum the best start is."""
        used = self.optimum.used
        return MolecularPosterior(self.model, used=None if used is None else used[self.optimum.best])

    @cached_property
    def uncertainty(self) -> Uncertainty | SampledUncertainty | None:
        """Normal approximation of the posterior, by draws if it is large; None, with a warning, if none."""
        try:
            if self.model.parameters.size > LARGEST:
                return sampled_uncertainty(self.posterior, self.theta, seed=int(self.settings.get("seed", 0)))
            return uncertainty(self.posterior, self.theta)
        except DataError as error:
            log.warning("no intervals: %s", error)
            return None

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """PEtab parameter table of the best start: values, priors, intervals, and what determines them."""
        return tables.parameters(self)

    @cached_property
    def energies(self) -> pd.DataFrame:
        """Energy of every mutation that encoders name, with its interval; see `tables.energies`."""
        return tables.energies(self)

    def predict(
        self, readings: Readings | str, draws: int = DRAWS, *, intervals: bool = True
    ) -> pd.DataFrame:
        """Predict rows.

        Args:
            readings: rows of readings of a name that was fitted; a name means the fitted rows.
            draws: per row, for the intervals.
            intervals: whether to compute them.

        Returns:
            the columns that identify the rows, then predicted (expected measurement at the mode), lower and
            upper (90 % interval of a new measurement), fit_lower and fit_upper (that of the expected one),
            and observed where there is any.
        """
        part = self._rows(readings)
        return self._predict(part, draws, intervals).frame(part.readings.rows)

    def evaluate(
        self, readings: Readings | str, draws: int = DRAWS, *, intervals: bool = True
    ) -> dict[str, float]:
        """Score rows that were measured; see `predict.scores`."""
        return scores(self._predict(self._rows(readings), draws, intervals))

    def _rows(self, readings: Readings | str):
        if isinstance(readings, str):
            return self.model.instruments[readings]
        if readings.name not in self.model.instruments:
            known = ", ".join(f"`{name}`" for name in self.model.instruments)
            raise DataError(f"`readings` must be of {known}; got `{readings.name}`.")
        return self.model.row_model(readings)

    def _predict(self, part, draws: int, intervals: bool) -> Prediction:
        known = self.uncertainty if intervals and draws else None
        return predict(part, self.flat, known, draws, int(self.settings.get("seed", 0)))

    def profile(self, names: str | Sequence[str], points: int = 15) -> pd.DataFrame:
        """Profile the posterior of named parameters around the best start; see `fit.profile`."""
        if not isinstance(self.uncertainty, Uncertainty):
            raise DataError("profiles start from Laplace's approximation, which this fit does not have.")
        wanted = [names] if isinstance(names, str) else names
        near = self.uncertainty.laplace
        return follow(self.model.parameters, near, lambda _: self.posterior, wanted, points)

    def to_anndata(self, readings: Sequence[Readings | str] = ()) -> AnnData:
        """Variants × features: energies of mutations per term and, on request, measurements and predictions.

        Args:
            readings: whose rows are variants of one molecule too, see `predict`; rows of the same variant
                are averaged.

        Returns:
            see `formats.variants.variants_anndata`; layers `lower` and `upper` are ends of 90 % intervals.

        Raises:
            DataError: no encoder has energies of mutations, or readings have no sequence.
        """
        if self.energies.empty:
            raise DataError("no encoder names energies; `Additive` and `Pairwise` do.")
        names = {"label": "variant", "estimate": "value"}
        energies = self.energies.rename(columns=names)
        twice = energies.duplicated(["variant", "term"])
        measured = {part.readings.name: self._variants(part) for part in map(self._rows, readings)}
        units = {name: part.instrument.unit for name, part in self.model.instruments.items()}
        found = formats.variants.variants_anndata(energies[~twice], measured, units=units)
        found.uns["multiscale"] = document.to_json(self.metadata())
        return found

    def _variants(self, part: RowModel) -> pd.DataFrame:
        """Measured and predicted means per variant."""
        if len(part.readings.sequences) != 1:
            raise DataError(f"readings `{part.readings.name}` must have sequences of one molecule.")
        (sequences,) = part.readings.sequences.values()
        said = self._predict(part, DRAWS, True).frame(pd.DataFrame(index=part.readings.rows.index))
        names = {"observed": "measured"}
        columns = ["measured", "predicted", "lower", "upper"]
        table = said.rename(columns=names).reindex(columns=columns).assign(variant=sequences.labels())
        return table.groupby("variant", sort=False, as_index=False).mean()

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables of the fit by name: what a run folder holds and a report shows."""
        found = {
            "parameters": self.parameters,
            "energies": self.energies,
            "readings": tables.predictions(self),
            "calibration": tables.calibration(self),
            "scores": tables.scores_of(self),
            "starts": tables.starts(self),
            "undetermined": tables.undetermined_values(self),
        }
        return {name: table for name, table in found.items() if table is not None and len(table)}

    def undetermined(self) -> list[str]:
        """Sentences on what these data do not determine."""
        return tables.sentences_of(self)

    def findings(self, others: Sequence[Readings] = (), title: str = "", question: str = "") -> Findings:
        """Everything a report shows, as sentences and plain tables; see `summary.findings`."""
        from multiscale.fit.molecular.summary import findings

        return findings(self, others, title, question)

    def report(self, path: str | Path, others: Sequence[Readings] = ()) -> None:
        """Write the report page, one HTML file that opens anywhere.

        Args:
            path: file to write.
            others: measured rows that were not fitted, to judge the fit.
        """
        from multiscale.report import page

        page.write(self.findings(others), Path(path))

    def terms(self) -> dict[str, float]:
        """Log density of every readings and of the priors at the best start."""
        return {name: float(value[0]) for name, value in self.posterior.terms(self.theta).items()}

    def metadata(self) -> dict[str, Any]:
        """Version, units, graph hash, seed and settings."""
        from multiscale.version import __version__

        return {
            "format_version": 1,
            "multiscale": __version__,
            "scale": "molecular",
            "graph": self.problem.graph.name,
            "graph_hash": self.problem.graph.hash(),
            "temperature_K": self.problem.temperature,
            "units": {"concentration": "uM", "energy": "kcal/mol"},
            "settings": dict(self.settings),
            "widths": dict(self.model.widths),
            "data": {name: part.provenance for name, part in self.problem.readings.items()},
        }

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write parameters (safetensors), tables and metadata (JSON) into a folder, atomically."""
        arrays = {k: v for k, v in vars(self.optimum).items() if v is not None and k != "reason"}
        formats.weights.save(
            Path(folder),
            arrays | _modules(self.problem),
            self.metadata() | {"reasons": self.optimum.reasons, "parameters": self.model.parameters.names},
            tables={"parameters": self.parameters, "energies": self.energies},
            overwrite=overwrite,
        )

    @classmethod
    def load(cls, folder: str | Path, problem: MolecularProblem) -> MolecularResult:
        """Read what `save` wrote, for the same problem.

        Args:
            folder: a saved model.
            problem: graph, readings and encoders that were fitted.

        Raises:
            FormatError: the folder is damaged, or was made with another graph or other parameters.
        """
        saved = formats.weights.load(folder)
        arrays = {name: torch.as_tensor(array) for name, array in saved.arrays.items()}
        _restore_modules(problem, arrays)
        model = MolecularModel(problem, widths=saved.meta.get("widths"))
        for what, ours in (("graph_hash", problem.graph.hash()), ("parameters", model.parameters.names)):
            if saved.meta.get(what) != ours:
                raise FormatError(
                    f"{folder}: the saved fit has another `{what}` than `problem`; give what was fitted."
                )
        own = {name: value for name, value in arrays.items() if not name.startswith(MODULE)}
        reason = torch.tensor([REASONS.index(text) for text in saved.meta["reasons"]])
        return cls(problem, model, Optimum(**own, reason=reason), saved.meta["settings"])


MODULE = "module "
"""Before the names of the weights of networks in encoders."""


def _modules(problem: MolecularProblem) -> dict[str, torch.Tensor]:
    """Weights of the networks of encoders that have one."""
    modules = {name: getattr(bound, "module", None) for name, bound in problem.bound.items()}
    return {
        f"{MODULE}{name} {key}": value
        for name, module in modules.items()
        if module is not None
        for key, value in module.state_dict().items()
    }


def _restore_modules(problem: MolecularProblem, arrays: Mapping[str, torch.Tensor]) -> None:
    for name, bound in problem.bound.items():
        module, prefix = getattr(bound, "module", None), f"{MODULE}{name} "
        if module is not None:
            module.load_state_dict(
                {key.removeprefix(prefix): v for key, v in arrays.items() if key.startswith(prefix)}
            )
