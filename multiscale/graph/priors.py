"""Parameters that builders add where a table says nothing: broad priors, flagged as assumed."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["Identifiers", "assumed_energy", "assumed_positive"]


class Identifiers:
    """Hands out PEtab identifiers for names, each once.

    >>> ids = Identifiers()
    >>> ids.new("g", "A-1", "B"), ids.new("g", "A_1", "B")
    ('g_A_1_B', 'g_A_1_B_2')
    """

    def __init__(self) -> None:
        self._used: set[str] = set()

    def new(self, *words: str) -> str:
        """Identifier of letters, digits and underscores made of `words`; the first starts with a letter."""
        stem = re.sub(r"[^A-Za-z0-9]+", "_", "_".join(words)).strip("_")
        name, count = stem, 1
        while name in self._used:
            count += 1
            name = f"{stem}_{count}"
        self._used.add(name)
        return name


def assumed_energy(identifier: str, mean: float, sd: float, note: str) -> dict[str, Any]:
    """Row of parameters.tsv: an energy with a normal prior.

    Args:
        identifier: parameterId.
        mean: kcal/mol.
        sd: standard deviation, kcal/mol, positive.
        note: what is assumed.
    """
    return {
        "parameterId": identifier,
        "nominalValue": mean,
        "objectivePriorType": "parameterScaleNormal",
        "objectivePriorParameters": f"{mean:g};{sd:g}",
        "unit": "kcal/mol",
        "role": "energy",
        "note": f"assumed: {note}",
    }


def assumed_positive(
    identifier: str, median: float, factor: float, role: str, unit: str, note: str
) -> dict[str, Any]:
    """Row of parameters.tsv: a positive quantity with a log-normal prior.

    Args:
        identifier: parameterId.
        median: in `unit`, positive.
        factor: the quantity lies between median / factor and median · factor with probability 0.68.
        role: what it is.
        unit: unit that fits the role.
        note: what is assumed.
    """
    return {
        "parameterId": identifier,
        "parameterScale": "log",
        "lowerBound": 0.0,
        "nominalValue": median,
        "objectivePriorType": "parameterScaleNormal",
        "objectivePriorParameters": f"{math.log(median):g};{math.log(factor):g}",
        "unit": unit,
        "role": role,
        "note": f"assumed: {note}",
    }
