"""Titrations read by a signal linear in a fraction or a concentration, and by fluorescence anisotropy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from multiscale.assays.calibration import quantile_range
from multiscale.assays.instrument import Arrays, Quantity, Unknown
from multiscale.assays.options import flag, positive
from multiscale.assays.signal import Signal
from multiscale.errors import AssayError, nearest

__all__ = ["Anisotropy", "Titration"]

ANISOTROPY_UNITS = ("anisotropy", "polarisation", "mP")


@dataclass(frozen=True, kw_only=True)
class Titration(Signal):
    """Signal = baseline + amplitude · p, with p a fraction of a molecule, or x/per for a concentration x.

    Fluorescence of a label that changes on binding, bound ligand, activity of the free enzyme. Depletion is
    the state's affair: give totals as conditions.

    Args:
        species: which species count.
        of: molecule of which a fraction is read; '' = their concentration is.
        per: concentration at which the signal is baseline + amplitude, µM.
        decreasing: whether the signal falls; only where starts are drawn.

    Raises:
        AssayError: an option is unknown or out of range.

    Source: definition.
    """

    species: str
    of: str = ""
    per: float = 1.0
    decreasing: bool = False

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        positive("Titration", "µM", per=self.per)
        flag("Titration", decreasing=self.decreasing)

    def quantities(self) -> tuple[Quantity, ...]:
        """The fraction, or the concentration."""
        return (Quantity("fraction" if self.of else "concentration", self.species, self.of),)

    def calibrations(self, arrays: Arrays, labels: tuple[str, ...], codes: np.ndarray) -> list[Unknown]:
        """Baseline and amplitude of every experiment."""
        low, spread = quantile_range(arrays["value"])
        start, change = (low + spread, -spread) if self.decreasing else (low, spread)
        return [
            _signal("baseline", labels, codes, low + 0.5 * spread, 2.0 * spread, start, self.unit),
            _signal("amplitude", labels, codes, 0.0, 3.0 * spread, change, self.unit),
        ]

    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Expected signal."""
        share = torch.exp(readouts[..., 0])
        return values["baseline"] + values["amplitude"] * (share if self.of else share / self.per)


@dataclass(frozen=True, kw_only=True)
class Anisotropy(Signal):
    """Fluorescence anisotropy of a label: r = (r_free (1 − p) + R r_bound p)/(1 − p + R p), p the bound part.

    Anisotropies add up weighted by intensity; R is the brightness of a bound label over that of a free one.
    Polarisation is P = 3 r/(2 + r), and 1 mP is P = 0.001. Give totals of label and partner as conditions:
    depletion follows.

    Args:
        species: the bound species.
        of: the labelled molecule.
        brightness: R; None = fitted, with a log-normal prior of median 1 and sd `brightness_ln_sd`.
        brightness_ln_sd: of ln R.
        value_unit: `anisotropy`, `polarisation` or `mP`.

    Raises:
        AssayError: an option is unknown or out of range.

    Source: Lakowicz 2006, Principles of Fluorescence Spectroscopy, doi:10.1007/978-0-387-46312-4, chapter 10.
    """

    species: str
    of: str
    brightness: float | None = 1.0
    brightness_ln_sd: float = 0.5
    value_unit: str = "anisotropy"

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        positive("Anisotropy", "1", brightness_ln_sd=self.brightness_ln_sd)
        if self.brightness is not None:
            positive("Anisotropy", "1", brightness=self.brightness)
        if self.value_unit not in ANISOTROPY_UNITS:
            hint = nearest(self.value_unit, ANISOTROPY_UNITS)
            raise AssayError(f"`value_unit` of Anisotropy is `{self.value_unit}`; {hint}")

    def quantities(self) -> tuple[Quantity, ...]:
        """The bound fraction of the label."""
        return (Quantity("fraction", self.species, self.of),)

    def calibrations(self, arrays: Arrays, labels: tuple[str, ...], codes: np.ndarray) -> list[Unknown]:
        """Anisotropies of free and bound label, and R, of every experiment."""
        low, spread = quantile_range(self._anisotropies(arrays["value"]))
        found = [
            _signal("free", labels, codes, low, spread, low, "1"),
            _signal("bound", labels, codes, low + spread, spread, low + spread, "1"),
        ]
        if self.brightness is None:
            sd = self.brightness_ln_sd
            found.append(Unknown(name="brightness", labels=labels, codes=codes, mean=0.0, sd=sd, scale="ln"))
        return found

    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        """Expected anisotropy or polarisation."""
        p = torch.exp(readouts[..., 0])
        light = p * (torch.exp(values["brightness"]) if self.brightness is None else self.brightness)
        r = (values["free"] * (1.0 - p) + values["bound"] * light) / (1.0 - p + light)
        return r if self.value_unit == "anisotropy" else 3.0 * r / (2.0 + r) / self._polarisation

    @property
    def _polarisation(self) -> float:
        """Polarisation in one unit of the values."""
        return 1e-3 if self.value_unit == "mP" else 1.0

    def _anisotropies(self, value: np.ndarray) -> np.ndarray:
        """Values as anisotropies: r = 2 P/(3 − P)."""
        if self.value_unit == "anisotropy":
            return value
        return 2.0 * value * self._polarisation / (3.0 - value * self._polarisation)


def _signal(
    name: str,
    labels: tuple[str, ...],
    codes: np.ndarray,
    mean: float,
    sd: float,
    center: float,
    unit: str,
    scale: Literal["lin", "ln"] = "lin",
) -> Unknown:
    """Make a calibration whose starts lie near what the readings show."""
    return Unknown(
        name=name,
        labels=labels,
        codes=codes,
        mean=mean,
        sd=sd,
        center=center,
        width=0.1 * sd,
        unit=unit,
        scale=scale,
    )
