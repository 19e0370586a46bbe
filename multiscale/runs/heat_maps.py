"""Energies of mutations laid out by position and residue."""

from __future__ import annotations

import re

import pandas as pd

__all__ = ["heat_maps"]

MUTATION = re.compile(r"(?P<wild>[^\d-]?)(?P<position>-?\d+)(?P<letter>\D)")


def heat_maps(energies: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Energies of single mutations, one matrix per encoder and term.

    Args:
        energies: columns `encoder`, `term`, `label` (such as `A24G`, or `24G` without a wild type),
            `estimate`, and `determinedBy` where there are intervals.

    Returns:
        by `<encoder>_<term>`: columns `position`, `wild_type`, and one per residue, kcal/mol; NaN where
        the data say nothing.

    >>> table = pd.DataFrame({"encoder": "m", "term": "fold", "label": ["A2C", "A2D"]})
    >>> heat_maps(table.assign(estimate=[0.5, 1.0]))["m_fold"].to_dict("list")
    {'position': [2], 'wild_type': ['A'], 'C': [0.5], 'D': [1.0]}
    """
    named = energies["label"].astype(str).str.extract(f"^{MUTATION.pattern}$")
    single = named["position"].notna()
    table = pd.concat([energies[["encoder", "term", "estimate"]], named], axis=1)[single]
    if "determinedBy" in energies:
        table["estimate"] = table["estimate"].mask(energies["determinedBy"] == "prior")
    table = table.assign(position=table["position"].astype(int))
    parts = table.groupby(["encoder", "term"], sort=False)
    return {f"{encoder}_{term}": _matrix(part) for (encoder, term), part in parts}


def _matrix(part: pd.DataFrame) -> pd.DataFrame:
    wild = part.groupby("position")["wild"].first()
    once = part.drop_duplicates(["position", "letter"])
    grid = once.pivot(index="position", columns="letter", values="estimate")
    grid.insert(0, "wild_type", wild)
    return grid.rename_axis(columns=None).reset_index()
