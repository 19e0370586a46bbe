"""Tables of everything that was inferred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiscale.fit.communication.binding import Binding
from multiscale.fit.communication.downstream import Downstream
from multiscale.fit.communication.null import Null
from multiscale.fit.communication.pairs import Cells, ComplexStatistics, Pairs, ProductStatistics
from multiscale.fit.communication.scores import regularised_product, robust_rank, specificity_weight
from multiscale.fit.communication.table import COLUMNS

__all__ = ["Inferred"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Inferred:
    """What went in and what came out, before it is laid out in tables.

    Arrays of pairs have shape (sender, receiver, pair), which becomes one row each.
    """

    cells: Cells
    pairs: Pairs
    binding: Binding
    products: ProductStatistics
    complexes: ComplexStatistics
    downstream: Downstream
    product_null: Null
    complex_null: Null

    @property
    def _groups(self) -> list[str]:
        return self.cells.expression.groups

    def table(self, min_share: float) -> pd.DataFrame:
        """One row per sender, receiver and pair whose subunits are shown by enough cells, in order."""
        rows = pd.DataFrame(
            {
                **self._names(),
                **self._expression(),
                **self._products(),
                **self._amounts(),
                **self._evidence(),
            }
        )
        kept = (rows["ligand_props"] >= min_share) & (rows["receptor_props"] >= min_share)
        rows = rows.loc[kept].reset_index(drop=True)
        magnitude, specificity = _ranks(rows)
        rows = rows.assign(magnitude_rank=magnitude, specificity_rank=specificity)[list(COLUMNS)]
        order = rows.assign(few=-rows["complexes"]).sort_values(["complex_pvals", "few"], kind="stable").index
        return rows.loc[order].reset_index(drop=True)

    def _names(self) -> dict[str, np.ndarray]:
        """Sender, receiver, ligand and receptor of every row, and what is known of their affinity."""
        groups, count = np.array(self._groups, dtype=object), len(self.pairs)
        each = {
            name: np.tile(self.pairs.table[name].to_numpy(), len(groups) ** 2)
            for name in ("ligand_complex", "receptor_complex", "Kd_uM", "Kd_known")
        }
        source = np.repeat(groups, len(groups) * count)
        target = np.tile(np.repeat(groups, count), len(groups))
        return {"source": source, "target": target, **each}

    def _expression(self) -> dict[str, np.ndarray]:
        """Shares, means and trimeans of ligand and receptor; of several subunits the least."""
        labels = self.cells.expression.labels[None]
        means, trimeans, _ = (level[0] for level in self.products.levels(labels))
        found = {}
        for side, units, spread in (
            ("ligand", self.pairs.ligands, self._sent),
            ("receptor", self.pairs.receptors, self._received),
        ):
            found[side] = spread(units.name(means))
            found[f"{side}_props"] = spread(units.least(self.cells.shares))
            found[f"{side}_means"] = spread(units.least(means))
            found[f"{side}_trimean"] = spread(units.least(trimeans))
        return found

    def _products(self) -> dict[str, np.ndarray]:
        """Scores of other programs with their p values."""
        score, p = self.product_null
        labels = self.cells.expression.labels[None]
        means = self.products.levels(labels)[0][0]
        ligand, receptor = self.pairs.ligands.least(means), self.pairs.receptors.least(means)
        mean = self.cells.expression.mean
        return {
            "lr_means": score["lr_means"].ravel(),
            "cellphone_pvals": p["lr_means"].ravel(),
            "expr_prod": score["expr_prod"].ravel(),
            "expr_prod_pvals": p["expr_prod"].ravel(),
            "spec_weight": specificity_weight(ligand, receptor).ravel(),
            "lrscore": regularised_product(ligand[:, None], receptor[None], mean).ravel(),
            "lrscore_pvals": p["expr_prod"].ravel(),
            "lr_probs": score["lr_probs"].ravel(),
            "cellchat_pvals": p["lr_probs"].ravel(),
        }

    def _amounts(self) -> dict[str, np.ndarray]:
        """Copies of ligand, receptor and complexes."""
        copies = self.complexes.observed.copies[0]
        ligand, receptor = (
            copies[:, [self.binding.copies_of(name) for name in self.pairs.table[column]]]
            for column in ("ligand_complex", "receptor_complex")
        )
        score, p = self.complex_null
        return {
            "ligand_copies": self._sent(ligand),
            "receptor_copies": self._received(receptor),
            "complexes": score["complexes"].ravel(),
            "complex_pvals": p["complexes"].ravel(),
            "occupancy": score["occupancy"].ravel(),
            "occupancy_pvals": p["occupancy"].ravel(),
        }

    def _evidence(self) -> dict[str, np.ndarray]:
        """Downstream score of every receptor in every receiver; NaN where it has no targets."""
        column = pd.Index(self.downstream.receptors).get_indexer(
            pd.Index(self.pairs.table["receptor_complex"])
        )
        score, p = (part["downstream"] for part in self.product_null)
        nothing = np.full((len(self._groups), 1), np.nan)
        spread = [self._received(np.hstack([part, nothing])[:, column]) for part in (score, p)]
        used = np.array([*(len(self.downstream.used[r]) for r in self.downstream.receptors), 0])
        number = np.tile(used[column], len(self._groups) ** 2)
        return {"downstream": spread[0], "downstream_pvals": spread[1], "downstream_targets": number}

    def _sent(self, values: np.ndarray) -> np.ndarray:
        """Values of senders, (group, pair), for every row."""
        return np.repeat(values[:, None], len(self._groups), 1).ravel()

    def _received(self, values: np.ndarray) -> np.ndarray:
        """Values of receivers, (group, pair), for every row."""
        return np.repeat(values[None], len(self._groups), 0).ravel()

    def complex_table(self) -> pd.DataFrame:
        """One row per sender, receiver and complex whose subunits are all in the data."""
        bound = self.complexes.observed
        measured = self.pairs.sums.any(1)
        table, groups = self.binding.table.loc[measured], np.array(self._groups, dtype=object)
        count, squared = len(table), len(groups) ** 2
        rows = pd.DataFrame({name: np.tile(table[name].to_numpy(), squared) for name in table})
        rows.insert(0, "source", np.repeat(groups, len(groups) * count))
        rows.insert(1, "target", np.tile(np.repeat(groups, count), len(groups)))
        return rows.assign(
            concentration_uM=bound.concentration[0][..., measured].ravel(),
            complexes=bound.complexes[0][..., measured].ravel(),
            occupancy=bound.occupancy[0][..., measured].ravel(),
        )

    def downstream_table(self) -> pd.DataFrame:
        """One row per receiver and receptor with targets."""
        receptors, groups = self.downstream.receptors, self._groups
        used = [self.downstream.used[name] for name in receptors]
        return pd.DataFrame(
            {
                "target": np.repeat(np.array(groups, dtype=object), len(receptors)),
                "receptor_complex": np.tile(np.array(receptors, dtype=object), len(groups)),
                "downstream": self.product_null.observed["downstream"].ravel(),
                "downstream_pvals": self.product_null.p["downstream"].ravel(),
                "downstream_targets": np.tile(np.array([len(g) for g in used], dtype=int), len(groups)),
                "genes": np.tile(np.array([";".join(g) for g in used], dtype=object), len(groups)),
            }
        )


def _ranks(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Consensus of the product scores and of their specificity; the latter NaN without permutations."""
    magnitude = robust_rank(rows[["lr_means", "expr_prod", "lrscore", "lr_probs"]].to_numpy())
    specific = rows[["cellphone_pvals", "cellchat_pvals", "spec_weight"]].to_numpy() * [-1.0, -1.0, 1.0]
    if np.isnan(specific).any():
        return magnitude, np.full(len(rows), np.nan)
    return magnitude, robust_rank(specific)
