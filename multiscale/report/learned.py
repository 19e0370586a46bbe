"""What was learned about every node of a network, with its interval, from the tables of a fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiscale.report.findings import Findings

__all__ = ["Quantity", "quantities"]

NAMES = {
    "g_kcal_per_mol": "energy g, kcal/mol",
    "Kd_uM": "Kd, µM",
    "mean_concentration_uM": "mean concentration, µM",
    "mean_copies_per_cell": "mean copies per cell",
    "activity_range": "range of activity",
    "bound_fraction": "bound fraction",
}
"""Columns of learned values as people read them."""


@dataclass(frozen=True)
class Quantity:
    """One learned value per node.

    Args:
        name: what it is, with its unit.
        value: estimate, index = node names.
        lower: lower end of the 90 % interval, NaN where there is none.
        upper: upper end.
    """

    name: str
    value: pd.Series
    lower: pd.Series
    upper: pd.Series

    @property
    def positive(self) -> bool:
        """Whether it is better read by factors: positive and spanning more than two decades."""
        finite = self.value[np.isfinite(self.value)]
        return bool(len(finite)) and finite.min() > 0 and finite.max() > 100 * finite.min()

    @property
    def uncertainty(self) -> Quantity:
        """Width of the interval; for a quantity read by factors, upper over lower end."""
        factor = self.positive
        width = self.upper / self.lower if factor else self.upper - self.lower
        name = f"uncertainty of {self.name} (90 %: {'upper / lower' if factor else 'upper − lower'})"
        empty = pd.Series(np.nan, index=width.index)
        return Quantity(name, width.replace([np.inf, -np.inf], np.nan), empty, empty)


def quantities(findings: Findings) -> list[Quantity]:
    """All learned values: of the network itself, energies, and bound fractions in every context."""
    kinds = findings.network.graph.nodes
    tables = {kind: table for kind, table in findings.network.values.items() if kind in kinds}
    tables["complex"] = _with_energies(findings, tables.get("complex", pd.DataFrame()))
    return _merged([quantity for table in tables.values() for quantity in _of_table(table)]) + _bound(
        findings
    )


def _with_energies(findings: Findings, table: pd.DataFrame) -> pd.DataFrame:
    """Values of complexes with those of the table of energies, which has their intervals."""
    energies = findings.table("energies")
    if "complex" not in energies.columns:
        return table
    energies = energies.drop_duplicates("complex").set_index("complex")
    energies = energies.rename(columns={"lower": "g_lower", "upper": "g_upper"})
    shown = [name for name in energies.columns if str(name).startswith(("g_", "Kd_"))]
    energies = energies[shown]
    return energies.join(table.drop(columns=[c for c in table.columns if c in shown]), how="outer")


def _of_table(table: pd.DataFrame) -> list[Quantity]:
    """Every numeric column that is no end of an interval, with the two that are its own."""
    numeric = table.select_dtypes("number").astype(float)
    ends = {name: _ends(str(name), numeric) for name in numeric.columns}
    taken = {end for pair in ends.values() for end in pair} | {n for n in numeric if str(n).endswith("_sd")}
    empty = pd.Series(np.nan, index=numeric.index)
    return [
        Quantity(
            NAMES.get(name, str(name).replace("_", " ")),
            numeric[name],
            *(numeric.get(e, empty) for e in pair),
        )
        for name, pair in ends.items()
        if name not in taken
    ]


def _ends(name: str, table: pd.DataFrame) -> tuple[str, str]:
    """Names of the columns with the ends of an interval: `x_uM_lower`, `x_lower_uM` or `x_lower`."""
    first, _, rest = name.partition("_")
    for pattern in (f"{name}_{{}}", f"{first}_{{}}_{rest}", f"{first}_{{}}"):
        lower, upper = pattern.format("lower"), pattern.format("upper")
        if lower in table.columns and upper in table.columns:
            return lower, upper
    return "", ""


def _merged(found: list[Quantity]) -> list[Quantity]:
    """Quantities of one name, which several node types have, as one."""
    merged: dict[str, Quantity] = {}
    for item in found:
        other = merged.get(item.name)
        if other is not None:
            pairs = ((other.value, item.value), (other.lower, item.lower), (other.upper, item.upper))
            item = Quantity(item.name, *(pd.concat(pair) for pair in pairs))
        merged[item.name] = item
    return list(merged.values())


def _bound(findings: Findings) -> list[Quantity]:
    """Bound fraction of every complex, one quantity per context."""
    table = findings.table("complexes")
    if not {"context", "complex", "bound_fraction"} <= set(table.columns):
        return []
    found = []
    for context, part in table.groupby("context", sort=False):
        part = part.drop_duplicates("complex").set_index("complex")
        empty = pd.Series(np.nan, index=part.index)
        ends = (part.get(name, empty).astype(float) for name in ("bound_lower", "bound_upper"))
        found.append(Quantity(f"bound fraction in {context}", part["bound_fraction"].astype(float), *ends))
    return found
