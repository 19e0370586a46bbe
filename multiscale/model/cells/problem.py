"""Graph and single cells joined and checked: what is asked, before anything is computed."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from multiscale.assays.channels import Summary
from multiscale.data import Match, match
from multiscale.data.cells import Cells
from multiscale.errors import ConfigError, DataError, nearest
from multiscale.graph import Graph, check
from multiscale.model.cells.matching import GraphNames, Reading, read_nothing, reading
from multiscale.model.cells.physics import CellPhysics, make_physics
from multiscale.model.cells.priors import CellPriors
from multiscale.model.cells.sample import sample_summary
from multiscale.model.network import Network
from multiscale.model.parameters import petab_id

__all__ = ["CELL_REGIMES", "CellProblem"]

CELL_REGIMES = ("equilibrium", "steady_state")
"""How the state of a cell follows from its totals."""

FREE = 2_000
"""Up to so many cells every cell has a posterior of its own; more share encoder networks."""


class CellProblem:
    """A graph and single cells that it must explain, validated.

    Args:
        graph: the network; None = nothing but the latent state and a decoder, a control.
        cells: readings of all modalities, batches and conditions.
        regime: `equilibrium` (binding, no reactions) or `steady_state` (of its reactions).
        latent: dimensions k of the latent state of a cell.
        temperature: K.
        priors: of loadings, scales and shifts.
        amortised: whether encoder networks give the posteriors of cells; default from 2,000 cells on.
        hidden: width of the encoder networks.
        layers: their hidden layers.
        smooth: strength s of the penalty s/2 Σ_ij w_ij |μ_i − μ_j|² on posterior means of neighbouring
            cells, w being `cells.neighbours`, in nats per unit of w; of a minibatch of b of N cells the pairs
            within it count (N − 1)/(b (b − 1)) times, which is unbiased for cells in memory.

    Raises:
        ConfigError: an option is wrong.
        GraphError: the graph is inconsistent, or lacks what the regime needs.
        DataError: no feature is in the graph, or `targets` or interventions do not fit it; or `smooth` is
            asked for and cells have no neighbours.
    """

    def __init__(
        self,
        graph: Graph | None,
        cells: Cells,
        *,
        regime: str = "equilibrium",
        latent: int = 10,
        temperature: float = 310.15,
        priors: CellPriors | None = None,
        amortised: bool | None = None,
        hidden: int = 128,
        layers: int = 2,
        smooth: float = 0.0,
    ) -> None:
        if regime not in CELL_REGIMES:
            raise ConfigError(f"`regime` is `{regime}`; {nearest(str(regime), CELL_REGIMES)}")
        if not 200 < temperature < 400:
            raise ConfigError(f"`temperature` must lie between 200 and 400, in K; got {temperature}.")
        for name, value in {"latent": latent, "hidden": hidden, "layers": layers}.items():
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"`{name}` must be a positive whole number; got {value!r}.")
        self.graph, self.cells, self.regime, self.temperature = graph, cells, regime, float(temperature)
        self.latent, self.hidden, self.layers = latent, hidden, layers
        self.smooth = _smooth(smooth, cells)
        self.priors = priors or CellPriors()
        self.amortised = len(cells) > FREE if amortised is None else bool(amortised)
        _check_names(cells)
        if graph is not None:
            check(graph)
        self.physics = self.make_physics("cpu")
        self.readings = self._readings()
        self._summaries: dict[str, Summary] = {}

    def make_physics(self, device: str | torch.device) -> CellPhysics | None:
        """Physics of the graph on a device; None where there is no graph."""
        if self.graph is None:
            return None
        return make_physics(
            self.graph,
            self.regime,
            list(self.cells.condition.names),
            self.cells.interventions,
            self.temperature,
            torch.device(device),
        )

    @property
    def molecules(self) -> list[str]:
        """Molecules of the graph with a total per cell."""
        return [] if self.physics is None else list(self.physics.molecules)

    @cached_property
    def names(self) -> GraphNames | None:
        """Names by which features may call what the graph has."""
        if self.graph is None or self.physics is None:
            return None
        return GraphNames.of(self.graph, self.physics)

    @cached_property
    def composition(self) -> np.ndarray:
        """Molecules in every species of the physics, shape (species, molecule)."""
        if self.graph is None or self.physics is None:
            return np.zeros((0, 0))
        network = Network.from_graph(self.graph)
        row, column = (
            {name: i for i, name in enumerate(names)} for names in (network.molecules, network.species)
        )
        made = np.zeros((len(self.physics.species), len(self.molecules)))
        for i, name in enumerate(self.physics.species):
            for j, molecule in enumerate(self.molecules):
                if name in column and molecule in row:
                    made[i, j] = network.formula[row[molecule], column[name]]
        return made

    @property
    def matches(self) -> dict[str, Match]:
        """Which features read the graph, per modality."""
        return {name: part.match for name, part in self.readings.items()}

    def summary(self, name: str) -> Summary:
        """What a sample of cells says of the features of a modality."""
        if name not in self._summaries:
            self._summaries[name] = sample_summary(self.cells, name)
        return self._summaries[name]

    def describe(self) -> str:
        """Say what reads the graph, one line per modality."""
        return "\n".join(
            f"{name}: {len(part.matched)} of {len(part.matched + part.only_data)} features read the graph"
            for name, part in self.matches.items()
        )

    def __repr__(self) -> str:
        """Say what is asked, and what reads the graph."""
        graph = "no graph" if self.graph is None else f"graph `{self.graph.name}`"
        posterior = "encoder networks" if self.amortised else "a posterior of each cell"
        asked = (
            f"{graph}, {self.regime}; {len(self.cells)} cells, {self.latent} latent dimensions, {posterior}"
        )
        return "\n    ".join([asked, *self.describe().splitlines()])

    def with_cells(self, cells: Cells) -> CellProblem:
        """The same question about other cells of the same modalities and features."""
        return self._like(self.graph, cells)

    def with_graph(self, graph: Graph | None) -> CellProblem:
        """The same question with another graph, or with none: a control."""
        return self._like(graph, self.cells)

    def _like(self, graph: Graph | None, cells: Cells) -> CellProblem:
        return CellProblem(
            graph,
            cells,
            regime=self.regime,
            latent=self.latent,
            temperature=self.temperature,
            priors=self.priors,
            amortised=self.amortised,
            hidden=self.hidden,
            layers=self.layers,
            smooth=self.smooth,
        )

    def _readings(self) -> dict[str, Reading]:
        """What every modality reads.

        Raises:
            DataError: nothing reads the graph.
        """
        names, parts = self.names, self.cells.modalities
        if names is None:
            return {name: read_nothing(part) for name, part in parts.items()}
        found = {name: reading(part, names) for name, part in parts.items()}
        if not any(part.reads_graph for part in found.values()):
            every = [feature for part in parts.values() for feature in part.features]
            match(names.everything, every)  # says why, where names are alike
            raise DataError("no feature of any modality reads the graph; name its nodes in `targets`.")
        return found


def _smooth(smooth: float, cells: Cells) -> float:
    """Strength of the pull between neighbours, checked."""
    if not (isinstance(smooth, float | int) and 0 <= smooth < np.inf):
        raise ConfigError(f"`smooth` must be 0 or positive and finite; got {smooth!r}.")
    if smooth and cells.neighbours is None:
        raise DataError(
            "`smooth` pulls neighbouring cells together, and `cells.neighbours` is None; name them in "
            "`neighbours_key` when reading, or leave `smooth` at 0."
        )
    return float(smooth)


def _check_names(cells: Cells) -> None:
    """Parameters are named after modalities, so these must differ as identifiers."""
    seen: dict[str, str] = {}
    for name in cells.modalities:
        other = seen.setdefault(petab_id(name), name)
        if other != name:
            raise DataError(f"modalities `{other}` and `{name}` differ in punctuation only; rename one.")
