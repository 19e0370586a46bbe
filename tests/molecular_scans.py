"""Scans simulated from known energies, and an instrument with an affine calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from molecular_cases import three_states
from torch import Generator, Tensor

from multiscale.assays import Instrument, Quantity, Unknown
from multiscale.assays.noise import normal
from multiscale.data import Readings, Sequences
from multiscale.encoders import Additive
from multiscale.model.molecular import MolecularModel, MolecularProblem

ALPHABET = "ACDEFG"


@dataclass(frozen=True, kw_only=True)
class Scaled(Instrument):
    """Reads a + b times a fraction or energy with normal noise; a, b and ln sd are fitted unless `exact`."""

    quantity: Quantity
    exact: bool = False
    sd: float = 0.1
    measured: ClassVar[Mapping[str, str]] = {"value": "the reading"}

    @property
    def unit(self) -> str:
        return "1"

    def quantities(self) -> tuple[Quantity, ...]:
        return (self.quantity,)

    def prepare(self, table: pd.DataFrame, where: str, *, measured: bool = True) -> dict[str, np.ndarray]:
        return {"y": table["value"].to_numpy(float)}

    def unknowns(self, arrays: dict[str, np.ndarray]) -> list[Unknown]:
        if self.exact:
            return []
        one = {"labels": ("all",), "codes": np.zeros(len(arrays["y"]), dtype=np.int64)}
        return [
            Unknown(name="offset", mean=0.0, sd=1.0, **one),
            Unknown(name="amplitude", mean=1.0, sd=1.0, width=0.3, **one),
            Unknown(name="noise", mean=-2.0, sd=2.0, width=0.5, scale="ln", role="noise", **one),
        ]

    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        read = readouts[..., 0]
        read = read.exp() if self.quantity.kind == "fraction" else read
        return read if self.exact else values["offset"] + values["amplitude"] * read

    def _sd(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.tensor(self.sd, dtype=torch.float64) if self.exact else values["noise"].exp()

    def log_density(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        return normal(arrays["y"], self.expected(arrays, readouts, values), self._sd(values))

    def draw(
        self,
        arrays: Mapping[str, Tensor],
        readouts: Tensor,
        values: Mapping[str, Tensor],
        generator: Generator,
    ) -> Tensor:
        mean = self.expected(arrays, readouts, values)
        noise = torch.randn(mean.shape, generator=generator, dtype=torch.float64)
        return mean + self._sd(values) * noise

    def observed(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        return arrays["y"]


BOUND = Quantity("fraction", "bound", "protein")
FOLDED = Quantity("fraction", "folded + bound", "protein")


def variants(positions: int, rows: int, seed: int, mutations: int = 2) -> Sequences:
    """Wild type AAA..., every single mutation once, then random ones with so many mutations."""
    rng = np.random.default_rng(seed)
    codes = np.zeros((rows, positions), dtype=np.int8)
    singles = [(p, a) for p in range(positions) for a in range(1, len(ALPHABET))][: max(rows - 1, 0)]
    for row, (p, a) in enumerate(singles, 1):
        codes[row, p] = a
    for row in range(len(singles) + 1, rows):
        where = rng.choice(positions, size=mutations, replace=False)
        codes[row, where] = rng.integers(1, len(ALPHABET), size=mutations)
    return Sequences(codes, ALPHABET, np.zeros(positions, dtype=np.int8))


def scan(
    name: str, quantity: Quantity, sequences: Sequences, instrument: Instrument | None = None, **conditions
) -> Readings:
    """Readings of a scan, all zero."""
    rows = len(sequences.codes)
    return Readings(
        name,
        instrument or Scaled(quantity=quantity),
        pd.DataFrame({"variant": sequences.labels()}, index=pd.RangeIndex(2, rows + 2, name="line")),
        {"y": np.zeros(rows)},
        sequences={"protein": sequences},
        conditions={key: np.full(rows, float(value)) for key, value in conditions.items()},
    )


def measured(problem: MolecularProblem, theta: Tensor, seed: int) -> MolecularProblem:
    """The same problem with values drawn for a true theta, shape (parameter,)."""
    model, generator = MolecularModel(problem), torch.Generator().manual_seed(seed)
    flat, found = model.parameters.flat(theta[None]), []
    for part in model.instruments.values():
        values = part.draw(part.scalars_of(flat), generator)[0]
        readings = part.readings
        found.append(
            Readings(
                **{
                    **{k: getattr(readings, k) for k in readings.__dataclass_fields__},
                    "arrays": {"y": values.numpy()},
                }
            )
        )
    return problem.with_readings(found)


def three_state_scan(
    positions: int = 6, rows: int = 400, seed: int = 0, prior_sd: float | str = 1.0, sd: float = 1.0
) -> tuple[MolecularProblem, Tensor]:
    """Abundance and binding of one protein drawn from known energies, and the true theta."""
    sequences = variants(positions, rows, seed)
    readings = [scan("abundance", FOLDED, sequences, ligand=0.0), scan("binding", BOUND, sequences)]
    encoder = Additive(molecule="protein", terms=("fold", "bind"), prior_sd=prior_sd, mean_sd=0.0)
    problem = MolecularProblem(three_states(), readings, {"mutations": encoder})
    theta = truth(MolecularModel(problem), seed, sd)
    return measured(problem, theta, seed), theta


def truth(model: MolecularModel, seed: int, sd: float = 1.0) -> Tensor:
    """A theta whose weights have this sd and whose calibrations are 0.1 + 0.9 p with noise 0.05."""
    rng, table = np.random.default_rng(seed + 1), model.parameters
    values = {b.name: np.asarray(b.mean, dtype=float) for b in table.blocks}
    values |= {n: rng.normal(0, sd, len(v)) for n, v in values.items() if n.startswith("mutations")}
    known = {"offset": 0.1, "amplitude": 0.9, "noise": np.log(0.05)}
    values |= {n: np.full_like(v, known[n.split()[-1]]) for n, v in values.items() if n.split()[-1] in known}
    return table.pack(values)[0]
