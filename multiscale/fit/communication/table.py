"""What is known about communication between groups, as tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["COLUMNS", "Communication"]

COLUMNS = {
    "source": "group that sends",
    "target": "group that receives",
    "ligand_complex": "ligand: a molecule, or a complex of several that has formed in the sender",
    "receptor_complex": "receptor, likewise in the receiver",
    "ligand": "subunit of the ligand with the least expression in the sender",
    "receptor": "subunit of the receptor with the least expression in the receiver",
    "ligand_props": "share of the sender's cells that show it; of several subunits the least",
    "receptor_props": "the same of the receptor in the receiver",
    "ligand_means": "mean ln(1 + normalised counts) in the sender; of several subunits the least",
    "receptor_means": "the same of the receptor in the receiver",
    "lr_means": "CellPhoneDB: mean of the two means",
    "cellphone_pvals": "p value of lr_means",
    "expr_prod": "NATMI: product of the two means",
    "expr_prod_pvals": "p value of expr_prod",
    "spec_weight": "NATMI: share of the sender in the ligand's means times that of the receiver",
    "lrscore": "SingleCellSignalR: root of the product over itself plus the mean of the matrix",
    "lrscore_pvals": "p value of lrscore; that of expr_prod, of which it is an increasing function",
    "ligand_trimean": "trimean relative to the largest value of the matrix; of several subunits the least",
    "receptor_trimean": "the same of the receptor",
    "lr_probs": "CellChat: product of the trimeans over itself plus one half",
    "cellchat_pvals": "p value of lr_probs",
    "magnitude_rank": "robust rank of lr_means, expr_prod, lrscore, lr_probs; small = high up",
    "specificity_rank": "robust rank of cellphone_pvals, cellchat_pvals, spec_weight; small = high up",
    "ligand_copies": "copies of the assembled ligand per sending cell before it meets receptors",
    "receptor_copies": "the same of the receptor per receiving cell",
    "Kd_uM": "dissociation constant, µM; the smallest where they form several complexes",
    "Kd_known": "whether it has a source; else it is an assumption",
    "complexes": "copies of the complex per receiving cell, by mass action",
    "complex_pvals": "p value of complexes",
    "occupancy": "fraction of the receptor that is in the complex",
    "occupancy_pvals": "p value of occupancy",
    "downstream": "shift of the receptor's targets in the receiver against other groups, in sd",
    "downstream_pvals": "p value of downstream",
    "downstream_targets": "number of targets in that score",
}
"""Columns of `Communication.table`; names that LIANA has mean what they mean there."""


@dataclass(frozen=True, eq=False, repr=False)
class Communication:
    """Communication between groups of cells.

    Args:
        table: one row per sender, receiver, ligand and receptor; `COLUMNS` says what they hold. The names
            are those of LIANA's results, so that its plots take it.
        complexes: one row per sender, receiver and complex, with stoichiometry, Kd, concentration, copies and
            occupancy; of all pairs of groups, whatever share of cells shows the subunits.
        downstream: one row per receiver and receptor: score, p value and targets.
        provenance: what was read, chosen and left out.
    """

    table: pd.DataFrame
    complexes: pd.DataFrame
    downstream: pd.DataFrame
    provenance: dict[str, object]

    def __len__(self) -> int:
        """Rows of the table."""
        return len(self.table)

    def __repr__(self) -> str:
        """Say how much there is."""
        pairs = self.table.groupby(["ligand_complex", "receptor_complex"]).ngroups
        groups = len(set(self.complexes["source"]))
        return (
            f"Communication: {len(self)} rows, {pairs} pairs of ligand and receptor, {groups} groups,"
            f" {self.provenance['permutations']} permutations"
        )

    def matrix(self, column: str = "complexes") -> pd.DataFrame:
        """Sum of a column over ligands and receptors, senders as rows and receivers as columns.

        Args:
            column: numeric column of the table.
        """
        groups = list(dict.fromkeys(self.complexes["source"]))
        sums = self.table.pivot_table(column, "source", "target", aggfunc="sum", observed=True)
        return sums.reindex(index=groups, columns=groups).fillna(0.0).astype(np.float64)
