"""Affinities: dissociation constants and binding energies, in solution or between two membranes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multiscale.assays.assay import Assay, Noise, Offset, keys
from multiscale.assays.columns import NOTES, choice, notes, number, positive_number, refuse, require, text
from multiscale.assays.options import finite, positive
from multiscale.errors import nearest
from multiscale.units import ROOM_TEMPERATURE, R, delta_g_from_Kd, to_uM

__all__ = ["Affinity"]

CONCENTRATIONS = ("fM", "pM", "nM", "uM", "µM", "mM", "M")
DENSITIES = ("molecules/um^2", "molecules/µm²")
CENSORING = {"=": 0, "~": 0, "<": -1, ">": 1}
UNITS = {"Kd": CONCENTRATIONS, "Ki": CONCENTRATIONS, "delta_g": ("kcal/mol",), "Kd_2D": DENSITIES}
CELSIUS_ZERO = 273.15


@dataclass(frozen=True, kw_only=True)
class Affinity(Assay):
    """Affinity of a complex for the parts it falls into, with normal noise of its energy.

    y = kT ln(Kd / c°) in kcal/mol at the temperature of the row, or ln K2D (molecules per µm²) for a contact
    of two membranes. A bound on Kd is the same bound on y: "no binding up to 10 µM" is the row `>`, 10, uM.
    The Ki of a competitive inhibitor is its Kd.

    Assumed, because sources rarely say more: an apparent affinity of a multivalent construct or of cells
    differs from that of one site by an energy that depends on the format only, ΔG_apparent = ΔG +
    ΔG_avidity(format), ΔG_avidity ~ N(-3, 3²) kcal/mol; and a row without a temperature was measured at that
    of the assay.

    Args:
        temperature: K, of rows that state none.
        sd: of an energy about the truth, between laboratories, kcal/mol; a row may state its own.
        avidity_mean: prior mean of ΔG_avidity, kcal/mol; negative = apparently tighter.
        avidity_sd: prior sd of ΔG_avidity, kcal/mol.
    """

    temperature: float = ROOM_TEMPERATURE
    sd: float = 0.5
    avidity_mean: float = -3.0
    avidity_sd: float = 3.0

    reads: ClassVar[tuple[str, ...]] = ("delta_g", "ln_K2D")
    scale: ClassVar[str] = "kcal/mol"
    columns: ClassVar[dict[str, str]] = {
        "complex": "name of the complex that forms",
        "value": "a number, in `unit`",
        "unit": "fM, pM, nM, uM, mM, M; kcal/mol; molecules/um^2",
        "parts": "what it falls into, `A;B`; blank = its free subunits",
        "relation": "= (default), ~, > or <, of the value as written",
        "quantity": "Kd (default), Ki, delta_g or Kd_2D",
        "format": "monovalent (default), or a name that multivalent or cell-bound formats share",
        "temperature_C": "degrees Celsius",
        "sd": "known standard deviation of the energy, kcal/mol",
        **NOTES,
    }

    def __post_init__(self) -> None:
        """Check the options."""
        positive("Affinity", "K", temperature=self.temperature)
        positive("Affinity", "kcal/mol", sd=self.sd, avidity_sd=self.avidity_sd)
        finite("Affinity", "kcal/mol", avidity_mean=self.avidity_mean)

    def prepare(self, table: pd.DataFrame, where: str = "table") -> pd.DataFrame:
        """Check a table of affinities and convert it to entries; see `Assay.prepare`.

        Returns:
            also the columns `parts`, `format`, `temperature` (K) and `temperature_assumed`.
        """
        require(table, self.columns, ("complex", "value", "unit"), where)
        temperature, assumed = self._temperatures(table, where)
        planar = choice(table, "quantity", where, UNITS, "Kd") == "Kd_2D"
        sd = positive_number(table, "sd", where)
        energy_sd = np.where(np.isnan(sd), self.sd, sd)
        return notes(table).assign(
            context="",
            target=text(table, "complex", where),
            readout=np.where(planar, "ln_K2D", "delta_g"),
            y=_fitted_values(table, temperature, where),
            censoring=_read_relations(table, where),
            # The sd is stated as an energy, and ln K2D is an energy over kT.
            sd=np.where(planar, energy_sd / (R * temperature), energy_sd),
            parts=_read_parts(table, where),
            format=text(table, "format", where, "monovalent"),
            temperature=temperature,
            temperature_assumed=assumed,
        )

    def offsets(self, entries: pd.DataFrame) -> list[Offset]:
        """One avidity energy per format other than monovalent."""
        formats = keys(entries, "format").replace("monovalent", "")
        return [Offset("avidity", formats, self.avidity_mean, self.avidity_sd)]

    def noise(self, entries: pd.DataFrame) -> Noise:
        """Nothing is fitted: every entry carries its standard deviation."""
        return Noise("noise", pd.Series("", index=entries.index, dtype=object), self.sd, 1.0)

    def _temperatures(self, table: pd.DataFrame, where: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Temperature of every row in K, and whether it was assumed."""
        celsius = number(table, "temperature_C", where)
        wrong = (celsius < -50) | (celsius > 150)
        if wrong.any():
            got = f"{celsius[wrong][0]:g}"
            refuse(table, wrong, where, f"`temperature_C` must be -50 to 150 degrees Celsius; got {got}")
        assumed = np.isnan(celsius)
        return np.where(assumed, self.temperature, celsius + CELSIUS_ZERO), assumed


def _fitted_values(table: pd.DataFrame, temperature: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """Energy in kcal/mol of a solution affinity, ln of molecules per µm² of a planar one."""
    value, quantity = number(table, "value", where), choice(table, "quantity", where, UNITS, "Kd")
    unit = text(table, "unit", where)
    _check_values(table, value, unit, quantity, where)
    rows = zip(value.tolist(), unit, quantity, temperature.tolist(), strict=True)
    return np.array([_fitted_value(*row) for row in rows], dtype=np.float64)


def _fitted_value(value: float, unit: str, quantity: str, temperature: float) -> float:
    """Energy in kcal/mol, or ln K2D, of one row."""
    if quantity == "delta_g":
        return value
    if quantity == "Kd_2D":
        return math.log(value)
    return delta_g_from_Kd(to_uM(value, unit), temperature)


def _check_values(
    table: pd.DataFrame,
    value: NDArray[np.float64],
    unit: NDArray[np.object_],
    quantity: NDArray[np.object_],
    where: str,
) -> None:
    """Check that every value is a number in a unit of its quantity, and positive unless it is an energy."""
    blank = np.isnan(value)
    if blank.any():
        refuse(table, blank, where, "`value` is blank; drop the row, or give a bound with relation > or <")
    wrong = np.array([u not in UNITS[q] for u, q in zip(unit, quantity, strict=True)])
    if wrong.any():
        hint = nearest(unit[wrong][0], UNITS[quantity[wrong][0]]).rstrip(".")
        refuse(table, wrong, where, f"`unit` of {quantity[wrong][0]} is `{unit[wrong][0]}`; {hint}")
    wrong = (quantity != "delta_g") & (value <= 0)
    if wrong.any():
        problem = f"{quantity[wrong][0]} must be positive; got `value` {value[wrong][0]:g}"
        refuse(table, wrong, where, f"{problem}: correct it or drop the row")


def _read_relations(table: pd.DataFrame, where: str) -> NDArray[np.int64]:
    """Censoring of every row; a range or 'none' is refused with what to write instead."""
    relation = text(table, "relation", where, "=")
    wrong = ~np.isin(relation, list(CENSORING))
    if wrong.any():
        remedy = "write a bound as > or <, a range as its geometric mean with `sd`, or drop the row"
        got = relation[wrong][0]
        refuse(table, wrong, where, f"`relation` must be one of =, ~, >, <; got `{got}`: {remedy}")
    return np.array([CENSORING[cell] for cell in relation], dtype=np.int64)


def _read_parts(table: pd.DataFrame, where: str) -> list[str]:
    """Names of the parts, joined by `;` without blanks."""
    parts = text(table, "parts", where, "")
    names = [[name.strip() for name in cell.split(";")] if cell else [] for cell in parts]
    wrong = np.array([len(cell) == 1 or "" in cell for cell in names])
    if wrong.any():
        got = parts[wrong][0]
        refuse(table, wrong, where, f"`parts` must be two or more names joined by `;`, or blank; got `{got}`")
    return [";".join(cell) for cell in names]
