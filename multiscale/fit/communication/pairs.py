"""Pairs of ligand and receptor in all pairs of groups: their statistics for many labellings at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from multiscale.fit.communication.binding import Binding, Bound, Unit
from multiscale.fit.communication.downstream import Downstream
from multiscale.fit.communication.groups import Expression
from multiscale.fit.communication.null import GroupMeans
from multiscale.fit.communication.scores import expression_product, hill_probability, mean_of_means
from multiscale.fit.communication.trimean import Trimeans

__all__ = ["Cells", "ComplexStatistics", "Pairs", "ProductStatistics", "Subunits"]


class Subunits:
    """Least values over the subunits of ligands or receptors.

    Args:
        units: ligands or receptors.
        molecules: order of the values.

    >>> both = Subunits([Unit("A", ("A",)), Unit("A_B", ("A", "B"))], ["A", "B"])
    >>> both.least(np.array([3.0, 2.0])).tolist()
    [3.0, 2.0]
    """

    def __init__(self, units: Sequence[Unit], molecules: Sequence[str]) -> None:
        position = {name: i for i, name in enumerate(molecules)}
        width = max((len(unit.molecules) for unit in units), default=1)
        rows = [[position[m] for m in unit.molecules] for unit in units]
        # Rows are filled with their first subunit, which changes no minimum.
        self._index = np.array([row + row[:1] * (width - len(row)) for row in rows]).reshape(-1, width)
        self._molecules = np.array(molecules, dtype=object)

    def least(self, values: np.ndarray) -> np.ndarray:
        """Least value of every unit, (..., unit), from values of shape (..., molecule)."""
        return values[..., self._index].min(-1)

    def name(self, values: np.ndarray) -> np.ndarray:
        """Molecule with the least value of every unit, the same shapes."""
        at = values[..., self._index].argmin(-1)
        return self._molecules[self._index[np.arange(len(self._index)), at]]


class Pairs:
    """Pairs of ligand and receptor of a graph whose subunits are all in the data.

    Args:
        binding: complexes between cells.
        measured: molecules that the data show.
    """

    def __init__(self, binding: Binding, measured: set[str]) -> None:
        keys = ["ligand_complex", "receptor_complex"]
        table = binding.table.groupby(keys, sort=False, as_index=False).agg(
            Kd_uM=("Kd_uM", "min"), Kd_known=("Kd_known", "all")
        )
        units = {unit.name: unit for side in ("sender", "receiver") for unit in binding.units(side)}
        shown = {name: set(unit.molecules) <= measured for name, unit in units.items()}
        kept = np.array([shown[a] and shown[b] for a, b in table[keys].to_numpy()], dtype=bool)
        self.missing = [f"{a} - {b}" for a, b in table.loc[~kept, keys].to_numpy()]
        self.table = table.loc[kept].reset_index(drop=True)
        self.ligands = Subunits([units[name] for name in self.table[keys[0]]], binding.molecules)
        self.receptors = Subunits([units[name] for name in self.table[keys[1]]], binding.molecules)
        pair = pd.MultiIndex.from_frame(self.table[keys])
        row = pair.get_indexer(pd.MultiIndex.from_frame(binding.table[keys]))
        self.sums = (row[:, None] == np.arange(len(self.table))).astype(float)

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.table)


@dataclass(frozen=True, eq=False)
class Cells:
    """Molecules of a binding network as the cells express them.

    Args:
        expression: of the cells.
        fraction: share of all transcripts, shape (cell, molecule).
        log: ln(1 + normalised counts), shape (cell, molecule).
        width: number of molecules.
    """

    expression: Expression
    fraction: sparse.csr_array
    log: sparse.csr_array
    width: int

    @classmethod
    def of(cls, expression: Expression, genes: list[list[str]]) -> Cells:
        """Sum the transcripts that encode a molecule."""
        fraction = expression.of(genes)
        return cls(expression, fraction, expression.log(fraction), len(genes))

    @property
    def shares(self) -> np.ndarray:
        """Share of the cells of each group that show each molecule, shape (group, molecule)."""
        shown = self.fraction.copy()
        shown.data = (shown.data > 0).astype(float)
        return GroupMeans(shown, self.expression.sizes)(self.expression.labels[None])[0]


class ProductStatistics:
    """Product scores of pairs and downstream scores of receptors, of labels (labelling, cell)."""

    def __init__(self, cells: Cells, pairs: Pairs, downstream: Downstream) -> None:
        self._pairs, self._downstream, self._sizes = pairs, downstream, cells.expression.sizes
        self._width = cells.width
        both = sparse.csr_array(sparse.hstack([cells.log, downstream.values], format="csr"))
        self._means = GroupMeans(both, self._sizes)
        self._trimeans = Trimeans(cells.log * (1.0 / cells.expression.largest))

    def levels(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means and trimeans of molecules and means of targets, each (labelling, group, column)."""
        means = self._means(labels)
        trimeans = self._trimeans(labels, self._sizes)
        return means[..., : self._width], trimeans, means[..., self._width :]

    def __call__(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of shape (labelling, sender, receiver, pair), `downstream` (labelling, group, receptor)."""
        means, trimeans, targets = self.levels(labels)
        L, R = self._pairs.ligands.least(means)[:, :, None], self._pairs.receptors.least(means)[:, None]
        scaled = (
            self._pairs.ligands.least(trimeans)[:, :, None],
            self._pairs.receptors.least(trimeans)[:, None],
        )
        return {
            "lr_means": mean_of_means(L, R),
            "expr_prod": expression_product(L, R),
            "lr_probs": hill_probability(*scaled),
            "downstream": self._downstream.score(targets),
        }


class ComplexStatistics:
    """Complexes between groups by mass action, of labellings of shape (labelling, cell).

    The supply of a molecule is f c V copies per cell: f its mean share of the transcripts, c proteins per
    volume, V the volume of the cell; as a concentration f c / 602.2.

    Args:
        cells: what they express.
        pairs: which complexes are summed.
        binding: mass action.
        proteins_uM: c / 602.2, µM of all proteins together.
        volume_fL: shape (group,).
        surface_um2: shape (group,).
    """

    def __init__(
        self,
        cells: Cells,
        pairs: Pairs,
        binding: Binding,
        proteins_uM: float,
        volume_fL: np.ndarray,
        surface_um2: np.ndarray,
    ) -> None:
        self._means = GroupMeans(cells.fraction, cells.expression.sizes)
        self._pairs, self._binding = pairs, binding
        self._proteins_uM, self._volume_fL, self._surface_um2 = proteins_uM, volume_fL, surface_um2

        self._labels = cells.expression.labels

    @cached_property
    def observed(self) -> Bound:
        """All complexes of the labels as they are."""
        return self._bound(self._labels[None])

    def _bound(self, labels: np.ndarray) -> Bound:
        total = self._means(labels) * self._proteins_uM
        return self._binding.solve(total, self._volume_fL, self._surface_um2)

    def __call__(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Copies and occupancy summed per pair, each (labelling, sender, receiver, pair)."""
        alone = len(labels) == 1 and np.array_equal(labels[0], self._labels)
        bound = self.observed if alone else self._bound(labels)
        return {
            "complexes": bound.complexes @ self._pairs.sums,
            "occupancy": bound.occupancy @ self._pairs.sums,
        }
