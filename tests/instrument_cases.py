"""Small tables for every instrument, and what its tests have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.assays import (
    Anisotropy,
    BindingEnergy,
    Bins,
    Fitness,
    Heat,
    Instrument,
    Melt,
    SelectionCounts,
    Titration,
)


@dataclass(frozen=True)
class Case:
    """An instrument and a table that it reads."""

    name: str
    instrument: Instrument
    table: pd.DataFrame


def table(**columns: object) -> pd.DataFrame:
    """A table whose index names lines of a file."""
    data = pd.DataFrame(columns)
    return data.set_axis(pd.RangeIndex(2, len(data) + 2, name="line"))


def prepared(instrument: Instrument, data: pd.DataFrame, measured: bool = True) -> dict[str, Tensor]:
    """Arrays of a table as tensors."""
    arrays = instrument.prepare(data, "table.tsv", measured=measured)
    return {name: torch.as_tensor(array) for name, array in arrays.items()}


def values(instrument: Instrument, data: pd.DataFrame, starts: int = 2, seed: int = 0) -> dict[str, Tensor]:
    """Values of the unknowns about the means of their priors, shape (start, row)."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for unknown in instrument.unknowns(instrument.prepare(data, "table.tsv")):
        groups = torch.randn(starts, len(unknown.labels), generator=generator, dtype=torch.float64)
        drawn = unknown.mean + 0.3 * unknown.sd * groups
        found[unknown.name] = drawn[:, torch.as_tensor(unknown.codes)]
    return found


def readouts(instrument: Instrument, rows: int, starts: int = 2) -> Tensor:
    """Plausible readouts, shape (start, row, quantity)."""
    quantities = instrument.quantities()
    spread = torch.linspace(-3.0, -0.2, starts * rows * len(quantities), dtype=torch.float64)
    if quantities[0].kind == "energy":
        spread = 2.0 * spread - 5.0
    return spread.reshape(starts, rows, len(quantities))


FITNESS = table(
    value=[0.1, -1.2, 0.4], sigma=[0.1, 0.2, 0.3], before=[10, 20, 30], after=[3, 0, 40], lib=[1, 1, 2]
)
COUNTS = {"input_count": "before", "selected_count": "after"}
SIGNAL = table(value=[1.0, 2.0, 3.5], x=[290.0, 330.0, 350.0], volume=[2.0, 10.0, 10.0], run=["a", "b", "b"])
KD = table(value=["3", ">10", "<0.1"], unit=["uM", "uM", "nM"])
READS = table(low=[3, 0, 1], mid=[1, 2, 0], high=[0, 4, 0])


def _fitness(name: str, **options: object) -> Case:
    made = Fitness(species="bound", of="protein", **options)  # pyright: ignore[reportArgumentType]
    return Case(f"fitness {name}", made, FITNESS)


LINKS: tuple[tuple[Literal["logit", "probit", "multinomial"], bool, bool], ...] = (
    ("logit", False, True),
    ("probit", True, False),
    ("multinomial", False, False),
)

CASES = [
    _fitness("affine", sd_column="sigma", group="lib"),
    _fitness("log-affine", calibration="log_affine", base=2, counts=True, columns=COUNTS),
    _fitness("monotone", calibration="monotone", midpoints=(-1.0, 0.0, 2.0), heteroscedastic=True),
    _fitness("t", calibration="log_affine", noise="student_t", heteroscedastic=True, decreasing=True),
    Case("counts", SelectionCounts(species="bound", of="protein", columns=COUNTS, group="lib"), FITNESS),
    Case(
        "negative binomial counts",
        SelectionCounts(
            species="bound",
            of="protein",
            calibration="log_affine",
            columns=COUNTS,
            distribution="negative_binomial",
        ),
        FITNESS,
    ),
    Case("Kd", BindingEnergy(complex="AB"), KD),
    Case("logistic Kd", BindingEnergy(complex="AB", noise="logistic"), KD),
    Case("energy", BindingEnergy(complex="AB", quantity="energy", unit_of_value="kcal/mol"), SIGNAL),
    Case("titration", Titration(species="bound", of="protein", group="run"), SIGNAL),
    Case("concentration", Titration(species="bound", noise="student_t"), SIGNAL),
    Case("anisotropy", Anisotropy(species="bound", of="label", brightness=None), SIGNAL),
    Case("polarisation", Anisotropy(species="bound", of="label", brightness=0.7, value_unit="mP"), SIGNAL),
    Case("heat", Heat(species="AB", cell_volume=0.2, group="run"), SIGNAL),
    Case("two heats", Heat(species=("AB", "AAB"), cell_volume=0.2, mixing="average"), SIGNAL),
    Case("melt", Melt(species="folded", of="protein"), SIGNAL),
    *(
        Case(
            link,
            Bins(species="on", of="site", bins=("low", "mid", "high"), link=link, depth=depth, lapse=lapse),
            READS,
        )
        for link, depth, lapse in LINKS
    ),
]

UNREAD = ("row_sd", "reads")
"""Unknowns that only draws use."""


def leaves(case: Case, starts: int = 2) -> tuple[list[str], list[Tensor]]:
    """Names and values, with gradients, of what the log density depends on; readouts come first."""
    known = {
        name: value
        for name, value in values(case.instrument, case.table, starts).items()
        if name not in UNREAD
    }
    given = [readouts(case.instrument, len(case.table), starts), *known.values()]
    return list(known), [part.clone().requires_grad_() for part in given]


def density(case: Case, names: list[str], given: list[Tensor]) -> Tensor:
    """Log density of every row."""
    named = dict(zip(names, given[1:], strict=True))
    return case.instrument.log_density(prepared(case.instrument, case.table), given[0], named)


def moments(drawn: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over starts."""
    return drawn.mean(0).numpy(), drawn.std(0).numpy()
