"""Isothermal titration calorimetry: heats of injections, and the totals in the cell that they follow from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.assays.calibration import quantile_range
from multiscale.assays.cells import EVERY, find, positives, refuse_row
from multiscale.assays.instrument import Arrays, Quantity, Unknown
from multiscale.assays.options import finite, positive
from multiscale.assays.signal import Signal
from multiscale.errors import AssayError, nearest

__all__ = ["Heat", "injection_conditions"]

MICROCALORIES = {"ucal": 1.0, "µcal": 1.0, "uJ": 1.0 / 4.184, "µJ": 1.0 / 4.184}
"""µcal in one unit of heat; thermochemical calorie."""

PER_MOLE = "kcal/mol"
PREVIOUS = "@previous"
MIXINGS = ("perfusion", "average")


@dataclass(frozen=True, kw_only=True)
class Heat(Signal):
    """Heat of an injection of v into a cell of V₀ that overflows, c_j and c_j′ complexes after and before it.

    - `perfusion`: v leaves before mixing: q = V₀ Σ_j ΔH_j (c_j − (1 − v/V₀) c_j′) + offset.
    - `average`: v leaves at the mean of concentrations before and after: q = V₀ Σ_j ΔH_j (c_j (1 + v/2V₀) −
      c_j′ (1 − v/2V₀)) + offset.

    Rows state conditions of both states, totals of the molecules and, marked `@previous`, those before
    (`injection_conditions` works them out). With V₀ in mL, c in µM and ΔH in kcal/mol, q is in µcal.

    Args:
        species: the complex that forms, or several, each with an enthalpy of its own.
        cell_volume: V₀, mL.
        value_unit: `ucal`, `uJ`, or `kcal/mol` of injected titrant.
        syringe_concentration: of the titrant, µM; needed for `kcal/mol`.
        mixing: see above; as in `injection_conditions`.
        enthalpy_mean: prior mean of every ΔH, kcal/mol, of forming the complex from its free subunits.
        enthalpy_sd: its sd.

    Raises:
        AssayError: an option is unknown or out of range.

    Source: perfusion: Nguyen et al. 2018, doi:10.1371/journal.pone.0203224; average: mass balance with that
    assumption, as in the software of common calorimeters.
    """

    species: str | tuple[str, ...]
    cell_volume: float
    value_unit: str = "ucal"
    syringe_concentration: float | None = None
    mixing: Literal["perfusion", "average"] = "perfusion"
    enthalpy_mean: float = 0.0
    enthalpy_sd: float = 20.0

    inputs: ClassVar[Mapping[str, str]] = {**Signal.inputs, "volume": "injected volume, µL"}

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        species = (self.species,) if isinstance(self.species, str) else tuple(self.species)
        object.__setattr__(self, "species", species)
        positive("Heat", "mL", cell_volume=self.cell_volume)
        positive("Heat", "kcal/mol", enthalpy_sd=self.enthalpy_sd)
        finite("Heat", "kcal/mol", enthalpy_mean=self.enthalpy_mean)
        if not self.species:
            raise AssayError("`species` of Heat must name at least one complex.")
        if self.mixing not in MIXINGS:
            raise AssayError(f"`mixing` of Heat is `{self.mixing}`; {nearest(str(self.mixing), MIXINGS)}")
        allowed = (*MICROCALORIES, PER_MOLE)
        if self.value_unit not in allowed:
            hint = nearest(self.value_unit, allowed)
            raise AssayError(f"`value_unit` of Heat is `{self.value_unit}`; {hint}")
        if self.syringe_concentration is not None:
            positive("Heat", "µM", syringe_concentration=self.syringe_concentration)
        elif self.value_unit == PER_MOLE:
            raise AssayError("Heat in kcal/mol of titrant needs `syringe_concentration`, in µM; state it.")

    def quantities(self) -> tuple[Quantity, ...]:
        """Concentrations of the complexes after the injection, then before it."""
        return tuple(Quantity("concentration", name, of) for of in ("", PREVIOUS) for name in self.species)

    def settings(self, table: pd.DataFrame, where: str) -> Arrays:
        """Read injected volumes, `volume` (µL), as factors of the complexes `after` and `before`."""
        column = find(table, "volume", self.columns, where)
        volume = positives(table, column, where)
        share = volume * 1e-3 / self.cell_volume
        wrong = share >= 1
        if wrong.any():
            problem = f"`{column}` is {volume[wrong][0]:g} µL, but the cell holds {self.cell_volume:g} mL"
            refuse_row(table, wrong, where, f"{problem}; give `{column}` in µL, `cell_volume` in mL")
        if self.mixing == "perfusion":
            return {"after": np.ones_like(share), "before": 1.0 - share, "volume": volume}
        return {"after": 1.0 + share / 2.0, "before": 1.0 - share / 2.0, "volume": volume}

    def calibrations(self, arrays: Arrays, labels: tuple[str, ...], codes: np.ndarray) -> list[Unknown]:
        """One enthalpy per complex, and the offset (dilution, stirring) of every experiment."""
        low, spread = quantile_range(arrays["value"])
        small = float(np.nanmin(np.abs(arrays["value"]))) if np.isfinite(arrays["value"]).any() else 0.0
        enthalpies = [
            Unknown(
                name=name,
                labels=(EVERY,),
                codes=np.zeros(len(codes), dtype=np.int64),
                mean=self.enthalpy_mean,
                sd=self.enthalpy_sd,
                unit="kcal/mol",
            )
            for name in self._enthalpies
        ]
        scale = max(spread, abs(low))
        offset = Unknown(
            name="offset",
            labels=labels,
            codes=codes,
            mean=0.0,
            sd=scale,
            width=0.1 * small if small > 0 else 0.1 * scale,
            unit=self.unit,
        )
        return [*enthalpies, offset]

    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Expected heat."""
        count = len(self.species)
        x = torch.exp(readouts)
        change = arrays["after"][..., None] * x[..., :count] - arrays["before"][..., None] * x[..., count:]
        heats = [values[name] * change[..., j] for j, name in enumerate(self._enthalpies)]
        return sum(heats, torch.zeros_like(heats[0])) * self._factor(arrays) + values["offset"]

    @property
    def _enthalpies(self) -> list[str]:
        if len(self.species) == 1:
            return ["enthalpy"]
        return [f"enthalpy {name}" for name in self.species]

    def _factor(self, arrays: Mapping[str, Tensor]) -> Tensor | float:
        """From kcal/mol · µM in the cell to the unit of the values."""
        if self.syringe_concentration is not None and self.value_unit == PER_MOLE:
            # µcal per µL·µM (= 1e-12 mol) of titrant are 1e3 kcal/mol.
            return 1e3 * self.cell_volume / (arrays["volume"] * self.syringe_concentration)
        return self.cell_volume / MICROCALORIES[self.value_unit]


def injection_conditions(
    cell_volume: float,
    cell: Mapping[str, float],
    syringe: Mapping[str, float],
    volumes: Sequence[float],
    mixing: Literal["perfusion", "average"] = "perfusion",
) -> pd.DataFrame:
    """Work out total concentrations in the cell after every injection of a titration, and before it.

    The cell overflows: with each injection of v into V₀, v of its contents leaves.

    - `perfusion`: it leaves before mixing, X_i = (1 − v_i/V₀) X_{i−1} + (v_i/V₀) X_syringe.
    - `average`: it leaves at the mean of concentrations at the start and after, with V = Σ v: X = X_cell
      (1 − V/2V₀)/(1 + V/2V₀) + X_syringe (V/V₀)/(1 + V/2V₀).

    Args:
        cell_volume: V₀, mL.
        cell: molecule → concentration in the cell at the start, µM.
        syringe: molecule → concentration in the syringe, µM.
        volumes: v_i, µL.
        mixing: see above.

    Returns:
        one row per injection: `injection`, `volume` (µL), per molecule its total (µM) under its name, and
        before the injection under `name@previous`: conditions of the rows of `Heat`.

    Raises:
        AssayError: a volume or concentration is out of range.

    Source: perfusion: Nguyen et al. 2018, doi:10.1371/journal.pone.0203224.

    Half of the contents replaced twice leaves a quarter:

    >>> table = injection_conditions(1.0, {"A": 8.0}, {"B": 16.0}, [500.0, 500.0])
    >>> table[["A", "B", "A@previous", "B@previous"]].to_numpy().tolist()
    [[4.0, 8.0, 8.0, 0.0], [2.0, 12.0, 4.0, 8.0]]
    """
    share = _check_volumes(cell_volume, volumes)
    for place, contents in (("cell", cell), ("syringe", syringe)):
        for name, x in contents.items():
            if not (np.isfinite(x) and x >= 0):
                raise AssayError(f"`{name}` in the {place} must be at least 0, in µM; got {x!r}.")
    if mixing == "perfusion":
        left = np.cumprod(1.0 - share)
        brought = 1.0 - left
    elif mixing == "average":
        total = np.cumsum(share)
        left, brought = (1.0 - total / 2.0) / (1.0 + total / 2.0), total / (1.0 + total / 2.0)
    else:
        raise AssayError(f"`mixing` is `{mixing}`; {nearest(str(mixing), MIXINGS)}")
    columns: dict[str, np.ndarray] = {}
    for name in dict.fromkeys([*cell, *syringe]):
        start = float(cell.get(name, 0.0))
        columns[name] = start * left + float(syringe.get(name, 0.0)) * brought
        columns[name + PREVIOUS] = np.concatenate([[start], columns[name][:-1]])
    numbered = {"injection": np.arange(1, len(share) + 1), "volume": np.asarray(volumes, dtype=float)}
    return pd.DataFrame({**numbered, **columns})


def _check_volumes(cell_volume: float, volumes: Sequence[float]) -> np.ndarray:
    """Injected volumes as shares of the cell's."""
    positive("injection_conditions", "mL", cell_volume=cell_volume)
    share = np.asarray(volumes, dtype=float) * 1e-3 / cell_volume
    wrong = ~((share > 0) & (share < 1))
    if not len(share) or wrong.any():
        got = volumes[int(np.argmax(wrong))] if len(share) else "none"
        raise AssayError(f"`volumes` must be positive and less than the cell's, in µL; got {got}.")
    return share
