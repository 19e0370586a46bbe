"""What an instrument of the molecular scale is: what it reads of the state, its calibration and its noise.

A reading is one row: one variant, pair or well under its conditions. Whatever differs between rows enters
through scalars per row, each linear in the parameters (energy terms, calibrations, noise), so that gradients
and curvature of millions of rows stay cheap.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from torch import Generator, Tensor

__all__ = ["Arrays", "Instrument", "Quantity", "Unknown"]

Arrays = dict[str, np.ndarray]
"""Numbers of every row, first axis `row`."""


@dataclass(frozen=True)
class Quantity:
    """One number of the state that an instrument reads.

    Args:
        kind: `fraction` (ln of the share of a molecule that is in some species), `concentration` (ln of a sum
            of species, ln µM), or `energy` (standard energy of a complex from its free subunits, kcal/mol).
        species: a species, or a sum such as `A + 2*B`; for `energy` the complex.
        of: molecule of which a fraction is meant, else ''.
    """

    kind: Literal["fraction", "concentration", "energy"]
    species: str
    of: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Unknown:
    """A calibration or noise parameter: one value per group of rows, with a normal prior on its scale.

    Args:
        name: unique within the instrument, such as `amplitude`.
        labels: names of the groups.
        codes: group of every row, index into `labels`, shape (row,).
        mean: of the prior, on `scale`.
        sd: of the prior.
        scale: `lin`, or `ln`: then the prior is that of the natural logarithm, and so is the value handed to
            the instrument.
        unit: of the quantity (not of its logarithm).
        role: `calibration` or `noise`.
        center: where starts are drawn around; the prior's mean if None.
        width: standard deviation of starts and length scale of the search; the prior's if None.
    """

    name: str
    labels: tuple[str, ...]
    codes: np.ndarray
    mean: float
    sd: float
    scale: Literal["lin", "ln"] = "lin"
    unit: str = "1"
    role: Literal["calibration", "noise"] = "calibration"
    center: float | None = None
    width: float | None = None


@dataclass(frozen=True, kw_only=True)
class Instrument(ABC):
    """An instrument whose readings are rows of a table. Subclasses are frozen dataclasses of options.

    `measured` names the columns that hold measurements (they are not needed, and ignored, in rows to
    predict), `inputs` those that say how a row was measured (groups, replicates), each with its meaning.
    `unit` is that of `expected` and `observed`.
    """

    measured: ClassVar[Mapping[str, str]]
    inputs: ClassVar[Mapping[str, str]] = {}
    columns: Mapping[str, str] = field(default_factory=dict)
    """Names of columns in the table, where they differ: own name → name in the table."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """Unit of `expected`, `draw` and `observed`."""

    @abstractmethod
    def quantities(self) -> tuple[Quantity, ...]:
        """What is read of the state; their order is the last axis of `readouts` below."""

    @abstractmethod
    def prepare(self, table: pd.DataFrame, where: str, *, measured: bool = True) -> Arrays:
        """Check a table and turn it into numbers.

        Args:
            table: rows as in the file; its index is named in error messages (`line`).
            where: file name.
            measured: whether measurements are there; else their columns are ignored and their arrays hold
                NaN.

        Raises:
            AssayError: a column or value is wrong; names file, line, column, value and remedy.
        """

    @abstractmethod
    def unknowns(self, arrays: Arrays) -> list[Unknown]:
        """Calibrations and noise; groups that are in `arrays` only."""

    @abstractmethod
    def log_density(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Log density of every row, normalised, in nats, twice differentiable.

        Args:
            arrays: what `prepare` gave, of some rows, as tensors.
            readouts: shape (..., row, quantity).
            values: per unknown its value in every row on its scale, shape (..., row).

        Returns:
            shape (..., row).
        """

    @abstractmethod
    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Expected measurement of every row, shape (..., row)."""

    @abstractmethod
    def draw(
        self,
        arrays: Mapping[str, Tensor],
        readouts: Tensor,
        values: Mapping[str, Tensor],
        generator: Generator,
    ) -> Tensor:
        """Draw a new measurement of every row, with noise, shape (..., row)."""

    @abstractmethod
    def observed(self, arrays: Arrays) -> np.ndarray:
        """Measured value of every row in the unit of `expected`, NaN where there is none, shape (row,)."""

    def energies(self, arrays: Arrays) -> np.ndarray | None:
        """What rows say of the energy itself, kcal/mol, bounds as if they were values; NaN where nothing.

        None: this instrument reads no energies.
        """
        return None
