"""Affinities as readings of the energy of a complex: dissociation constants or energies, some as bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from multiscale.assays.bounds import Bounds
from multiscale.assays.cells import (
    encode_groups,
    find,
    groups,
    named_columns,
    no_numbers,
    positives,
    refuse_row,
)
from multiscale.assays.columns import text
from multiscale.assays.density import (
    draw_logistic,
    draw_normal,
    logistic,
    normal_of_variance,
    softplus,
)
from multiscale.assays.instrument import Arrays, Instrument, Quantity, Unknown
from multiscale.assays.options import positive, text_or_none
from multiscale.errors import AssayError, nearest
from multiscale.units import LN_STANDARD, ROOM_TEMPERATURE, R, to_uM

__all__ = ["BindingEnergy"]

UNITS = ("fM", "pM", "nM", "uM", "µM", "mM", "M")
QUANTITIES = ("Kd", "Ki", "energy")
NOISES = ("normal", "logistic")


@dataclass(frozen=True, kw_only=True)
class BindingEnergy(Instrument):
    """Affinity of a complex for its free subunits, some of it known as a bound only.

    y = ΔG + noise, in kcal/mol, with ΔG = kT ln(Kd/c°) of the complex; the sd of the noise is fitted, one per
    group, and added (as a variance) to the sd that a row states. "No binding up to 10 µM" is the bound Kd >
    10 µM: it counts with the probability that a reading lies above it. The Ki of a competitive inhibitor is
    its Kd. Log densities are per unit of ln value, or per kcal/mol if energies are stated.

    Args:
        complex: the complex whose standard energy from its free subunits is read.
        quantity: `Kd`, `Ki`, or `energy` (kcal/mol). An IC50 is refused: it depends on concentrations.
        unit_of_value: fM, pM, nM, uM, mM, M, or kcal/mol; None = as column `unit` says row by row, then
            expected values are in uM.
        censored_at: a stated value that means "not seen up to here", such as 10000.
        limit: bound of rows whose relation is one and whose value is blank.
        relations: what cells of the column `relation` mean, as `=`, `<` or `>`, where it holds words, such as
            {"no-binding": ">", "binder": "="}.
        temperature: at which values were measured, K, of rows that do not state it.
        noise: `normal`, or `logistic`, whose tails are heavier.
        noise_sd: prior median of the sd of the noise, kcal/mol.
        noise_ln_sd: sd of its logarithm; 0 = the noise is known, and not fitted.
        group: column of study or laboratory; each group has its own noise.
        sd_column: column of known standard deviations: of ln value, or of the energy.
        relation_column: column that says whether a value is a bound.

    Raises:
        AssayError: an option is unknown or out of range.

    Source: likelihood of bounds: Tobin 1958, doi:10.2307/1907382.
    """

    complex: str
    quantity: Literal["Kd", "Ki", "energy"] = "Kd"
    unit_of_value: str | None = None
    censored_at: float | None = None
    limit: float | None = None
    relations: Mapping[str, str] = field(default_factory=dict)
    temperature: float = ROOM_TEMPERATURE
    noise: Literal["normal", "logistic"] = "normal"
    noise_sd: float = 0.5
    noise_ln_sd: float = 1.0
    group: str | None = None
    sd_column: str | None = None
    relation_column: str | None = None

    measured: ClassVar[Mapping[str, str]] = {
        "value": "Kd, Ki or energy; a bound may be written as such: `>10000`",
        "unit": "unit of the value, unless the option `unit_of_value` states it",
        "relation": "=, < or >, or words that `relations` explains, where `relation_column` names its column",
        "sd": "standard deviation of ln value, or of the energy, where `sd_column` names its column",
    }
    inputs: ClassVar[Mapping[str, str]] = {
        "group": "study or laboratory, where the option `group` names its column",
        "temperature": "K, where the option `columns` names its column",
    }

    def __post_init__(self) -> None:
        """Check the options."""
        if self.quantity not in QUANTITIES:
            reason = " (it depends on the concentrations of the assay)" if self.quantity == "IC50" else ""
            hint = nearest(str(self.quantity), QUANTITIES)
            raise AssayError(f"`quantity` of BindingEnergy is `{self.quantity}`{reason}; {hint}")
        if self.noise not in NOISES:
            raise AssayError(
                f"`noise` of BindingEnergy is `{self.noise}`; {nearest(str(self.noise), NOISES)}"
            )
        positive("BindingEnergy", "K", temperature=self.temperature)
        positive("BindingEnergy", "kcal/mol", noise_sd=self.noise_sd)
        if self.noise_ln_sd != 0:
            positive("BindingEnergy", "ln units", noise_ln_sd=self.noise_ln_sd)
        text_or_none(
            "BindingEnergy",
            group=self.group,
            sd_column=self.sd_column,
            relation_column=self.relation_column,
            unit_of_value=self.unit_of_value,
        )
        self._check_units()
        columns = named_columns(
            "BindingEnergy",
            self.columns,
            [*self.measured, *self.inputs],
            group=self.group,
            sd=self.sd_column,
            relation=self.relation_column,
        )
        object.__setattr__(self, "columns", columns)
        _ = self._bounds  # refuses its options

    @property
    def unit(self) -> str:
        """Unit of the values."""
        default = "kcal/mol" if self.quantity == "energy" else "uM"
        return default if self.unit_of_value is None else self.unit_of_value

    def quantities(self) -> tuple[Quantity, ...]:
        """The standard energy of the complex."""
        return (Quantity("energy", self.complex),)

    def prepare(self, table: pd.DataFrame, where: str, *, measured: bool = True) -> Arrays:
        """Read values and bounds; see `Instrument.prepare`.

        Returns:
            `y`, kcal/mol; `censoring`, −1, 0 or 1; `variance` stated by the row, (kcal/mol)²; `kT`, kcal/mol;
            `group`.
        """
        kT = R * self._temperatures(table, where)
        group = groups(table, self._column(table, "group", where), where)
        if not measured:
            none = {"y": no_numbers(table), "censoring": np.zeros(len(table), dtype=np.int64)}
            return {**none, "variance": np.zeros(len(table)), "kT": kT, "group": group}
        value, censoring = self._bounds.read(table, find(table, "value", self.columns, where), where)
        factor, logarithmic = self._factors(table, where), self.quantity != "energy"
        self._refuse_negative(table, value, where)
        y = kT * (np.log(value) + factor - LN_STANDARD) if logarithmic else value
        sd = np.zeros(len(table))
        if "sd" in self.columns:
            sd = positives(table, find(table, "sd", self.columns, where), where) * (
                kT if logarithmic else 1.0
            )
        return {"y": y, "censoring": censoring, "variance": sd**2, "kT": kT, "group": group}

    def unknowns(self, arrays: Arrays) -> list[Unknown]:
        """The noise of every group, unless it is known."""
        if self.noise_ln_sd == 0:
            return []
        labels, codes = encode_groups(arrays["group"])
        mean, sd = math.log(self.noise_sd), self.noise_ln_sd
        return [
            Unknown(
                name="noise",
                labels=labels,
                codes=codes,
                mean=mean,
                sd=sd,
                scale="ln",
                unit="kcal/mol",
                role="noise",
            )
        ]

    def log_density(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Log density of a value, or log probability of the side on which a bound leaves it."""
        y, mean, side = arrays["y"], readouts[..., 0], arrays["censoring"]
        variance = self._variance(arrays, values)
        sd = variance.sqrt()
        z = side * (mean - y) / sd
        if self.noise == "logistic":
            exact, tail = logistic(y, mean, sd), -softplus(-z * (math.pi / math.sqrt(3.0)))
        else:
            exact, tail = normal_of_variance(y, mean, variance), torch.special.log_ndtr(z)
        if self.quantity != "energy":
            exact = exact + torch.log(arrays["kT"])  # dy/d ln value
        return torch.where(side == 0, exact, tail)

    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Kd of the energy, or the energy."""
        return self._from_energy(readouts[..., 0], arrays)

    def draw(
        self,
        arrays: Mapping[str, Tensor],
        readouts: Tensor,
        values: Mapping[str, Tensor],
        generator: Generator,
    ) -> Tensor:
        """Draw a value with noise, not limited by any bound."""
        variance = self._variance(arrays, values)
        if self.noise == "logistic":
            return self._from_energy(draw_logistic(readouts[..., 0], variance.sqrt(), generator), arrays)
        return self._from_energy(draw_normal(readouts[..., 0], variance, generator), arrays)

    def observed(self, arrays: Arrays) -> np.ndarray:
        """Measured values, NaN where only a bound is known."""
        y = np.where(arrays["censoring"] == 0, arrays["y"], np.nan)
        return y if self.quantity == "energy" else np.exp(y / arrays["kT"] + LN_STANDARD) / self._uM

    def energies(self, arrays: Arrays) -> np.ndarray:
        """Standard energies, kcal/mol, a bound as if it were a value."""
        return arrays["y"]

    @cached_property
    def _bounds(self) -> Bounds:
        return Bounds(self.columns.get("relation"), self.relations, self.limit, self.censored_at)

    @property
    def _uM(self) -> float:
        """µM in one unit of `unit`."""
        return to_uM(1.0, self.unit)

    def _variance(self, arrays: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Tensor:
        """Of a reading, (kcal/mol)²."""
        if "noise" not in values:
            return arrays["variance"] + self.noise_sd**2
        return arrays["variance"] + torch.exp(2.0 * values["noise"])

    def _from_energy(self, energy: Tensor, arrays: Mapping[str, Tensor]) -> Tensor:
        """Energy as a value in `unit`."""
        if self.quantity == "energy":
            return energy
        return torch.exp(energy / arrays["kT"] + (LN_STANDARD - math.log(self._uM)))

    def _column(self, table: pd.DataFrame, own: str, where: str) -> str | None:
        """Name of an optional column, None unless an option names it."""
        return find(table, own, self.columns, where) if own in self.columns else None

    def _check_units(self) -> None:
        allowed = ("kcal/mol",) if self.quantity == "energy" else UNITS
        if self.unit_of_value is not None and self.unit_of_value not in allowed:
            hint = nearest(self.unit_of_value, allowed)
            raise AssayError(f"`unit_of_value` of {self.quantity} is `{self.unit_of_value}`; {hint}")
        if self.quantity != "energy":
            for name, value in (("censored_at", self.censored_at), ("limit", self.limit)):
                if value is not None:
                    positive("BindingEnergy", "the unit of the values", **{name: value})

    def _temperatures(self, table: pd.DataFrame, where: str) -> NDArray[np.float64]:
        """K of every row."""
        column = self._column(table, "temperature", where)
        if column is None:
            return np.full(len(table), self.temperature)
        given = positives(table, column, where, blank=True)
        return np.where(np.isnan(given), self.temperature, given)

    def _factors(self, table: pd.DataFrame, where: str) -> NDArray[np.float64] | float:
        """ln of the µM in the unit of every row."""
        allowed = ("kcal/mol",) if self.quantity == "energy" else UNITS
        if self.unit_of_value is not None:
            return 0.0 if self.quantity == "energy" else math.log(self._uM)
        column = self.columns.get("unit", "unit")
        if column not in table:
            remedy = "state `unit_of_value`, or name the column with `columns`"
            raise AssayError(f"{where}: no unit: there is no column `{column}`; {remedy}.")
        codes, units = pd.factorize(text(table, column, where, ""))
        for code, unit in enumerate(units):
            if unit not in allowed:
                problem = f"the unit is `{unit}`; {nearest(unit, allowed).rstrip('.')}"
                refuse_row(table, codes == code, where, problem)
        if self.quantity == "energy":
            return 0.0
        return np.array([math.log(to_uM(1.0, unit)) for unit in units])[codes]

    def _refuse_negative(self, table: pd.DataFrame, value: NDArray[np.float64], where: str) -> None:
        wrong = value <= 0
        if self.quantity != "energy" and wrong.any():
            problem = f"{self.quantity} must be positive; got {value[wrong][0]:g}"
            refuse_row(table, wrong, where, f"{problem}; correct it or drop the row")
