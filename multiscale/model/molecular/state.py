"""The physical state of every row: concentrations of all species from energies and conditions.

ln x_j = ln w_j + Σ_m A_mj λ_m with T_m = Σ_j A_mj x_j for molecules of limited amount, λ = ln L for those
held constant. Where no species joins two molecules of limited amount, each has its own partition function:
its shares are a softmax of weights. Else the dual Newton method of `solver.equilibrium` balances all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from multiscale.assays import Quantity
from multiscale.model.molecular.layout import Layout
from multiscale.model.sums import read_sum
from multiscale.solver import equilibrium
from multiscale.units import LN_STANDARD, R

__all__ = ["PREVIOUS", "Chemistry", "Conditions", "Reader", "coefficients"]

PREVIOUS = "@previous"
"""Marks conditions, and quantities, of the state before the present one: the injection before."""

LN_NOTHING = math.log(5e-324)
"""Stands for ln 0, so that logarithms and their derivatives stay finite: the least positive float64."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """Conditions of some rows.

    Args:
        ln_amount: ln of the total, or of the free concentration where a molecule is held constant, ln µM; NaN
            where it is unknown and not needed; shape (row or 1, molecule).
        temperature: K, shape (row or 1,).
        denaturant: M, shape (row or 1,).
    """

    ln_amount: Tensor
    temperature: Tensor
    denaturant: Tensor

    def take(self, rows: Tensor | None) -> Conditions:
        """Some rows."""
        if rows is None:
            return self
        parts = (self.ln_amount, self.temperature, self.denaturant)
        return Conditions(*(part if len(part) == 1 else part[rows] for part in parts))

    @classmethod
    def of(
        cls,
        layout: Layout,
        given: Mapping[str, np.ndarray],
        reference: float,
        device: torch.device,
        mark: str = "",
    ) -> Conditions:
        """Conditions of rows: what the rows state, else what the graph states.

        Args:
            layout: of the graph.
            given: conditions of the readings.
            reference: temperature where rows state none, K.
            device: where to compute.
            mark: '' or `PREVIOUS`.
        """

        def column(name: str, default: float) -> Tensor:
            values = given.get(name + mark, given.get(name, np.array([default])))
            return torch.as_tensor(np.array(values, dtype=float), device=device)

        amounts = [column(name, start) for name, start in zip(layout.molecules, layout.initial, strict=True)]
        rows = max(len(part) for part in amounts)
        ln = torch.stack([part.log().clamp(min=LN_NOTHING).expand(rows) for part in amounts], 1)
        return cls(ln, column("temperature", reference), column("denaturant", 0.0))


def coefficients(layout: Layout, conditions: Conditions, reference: float) -> Tensor:
    """Factor of each term: ΔG = ΔG₀ − ΔS₀ (T − T₀) + ΔCp (T − T₀ − T ln(T/T₀)) − m [denaturant].

    Args:
        layout: of the graph.
        conditions: of the rows.
        reference: T₀, K.

    Returns:
        shape (row or 1, term).

    Source: Gibbs–Helmholtz with constant ΔCp; linear extrapolation: Greene & Pace 1974, J Biol Chem 249:5388.
    """
    T, denaturant = conditions.temperature, conditions.denaturant
    by_role = {
        "energy": torch.ones_like(T),
        "entropy": reference - T,
        "heat_capacity": T - reference - T * torch.log(T / reference),
        "m_value": -denaturant,
    }
    rows = max(len(by_role[role]) for role in [*layout.roles, "energy"])
    columns = [by_role[role].expand(rows) for role in layout.roles]
    return torch.stack(columns, 1) if columns else T.new_zeros(1, 0)


class Chemistry:
    """From energy terms to ln concentrations.

    Args:
        layout: of the graph.
        reference: T₀ of the energies, K.
        device: where to compute.
    """

    def __init__(self, layout: Layout, reference: float, device: torch.device) -> None:
        self.layout, self.reference = layout, reference
        self._counts = torch.as_tensor(layout.counts, device=device)
        self.term_counts = torch.as_tensor(layout.term_counts, device=device)
        self._ln_factor = torch.as_tensor(np.log(layout.statistical_factor), device=device)
        self._clamped = torch.as_tensor(layout.clamped, device=device)
        free = ~layout.clamped
        self._limited = np.flatnonzero(
            layout.counts[free].sum(0) > 0
        )  # species that hold a molecule in limited supply
        self._formula = layout.counts[free][:, self._limited]
        self._owner = torch.as_tensor(layout.counts[free].argmax(0), device=device)

    def energies(self, terms: Tensor, conditions: Conditions) -> Tensor:
        """Standard energies of all species, kcal/mol: terms (..., row, term) → (..., row, species)."""
        return (terms * coefficients(self.layout, conditions, self.reference)) @ self.term_counts.T

    def ln_x(self, energies: Tensor, conditions: Conditions) -> Tensor:
        """ln concentrations of all species, ln µM, (..., row, species); an unknown total counts as 1."""
        weight = self.weights(energies, conditions)
        ln_amount = conditions.ln_amount.nan_to_num(nan=0.0)
        if not len(self._limited):
            return weight
        if self.layout.separable:
            return self._partition(weight, ln_amount)
        return self._balance(weight, ln_amount)

    def weights(self, energies: Tensor, conditions: Conditions) -> Tensor:
        """ln x of all species where molecules of limited amount are free at 1 µM, (..., row, species)."""
        scale = (R * conditions.temperature)[:, None]
        weight = self._ln_factor - energies / scale + (1.0 - self._counts.sum(0)) * LN_STANDARD
        ln_amount = conditions.ln_amount.nan_to_num(nan=0.0)
        outside = torch.where(self._clamped, ln_amount, 0.0)
        return weight + outside @ self._counts

    def _partition(self, weight: Tensor, ln_amount: Tensor) -> Tensor:
        """Shares of every molecule by its own partition function; other species stay as they are."""
        totals = ln_amount[:, ~self._clamped]
        result = weight
        for molecule, row in enumerate(self._formula):
            own = torch.as_tensor(self._limited[row > 0], device=weight.device)
            share = torch.log_softmax(weight[..., own], -1) + totals[:, molecule, None]
            result = result.index_copy(-1, own, share)
        return result

    def _balance(self, weight: Tensor, ln_amount: Tensor) -> Tensor:
        """All molecules at once."""
        chosen = torch.as_tensor(self._limited, device=weight.device)
        ln_total = ln_amount[:, ~self._clamped]
        totals = torch.where(ln_total > LN_NOTHING, ln_total.exp(), 0.0).expand(*weight.shape[:-1], -1)
        solved = equilibrium(self._formula, weight[..., chosen], totals)
        found = torch.where(solved.solved[..., None], solved.ln_x, torch.nan)
        return weight.index_copy(-1, chosen, found.clamp(min=LN_NOTHING))


class Reader:
    """What instruments read of the state.

    Args:
        quantities: of one instrument.
        layout: of the graph.
        device: where to compute.
    """

    def __init__(self, quantities: tuple[Quantity, ...], layout: Layout, device: torch.device) -> None:
        self.quantities = quantities
        self.previous = any(q.of == PREVIOUS for q in quantities)
        self.parts = [_part(quantity, layout, device) for quantity in quantities]

    def __call__(self, energies: Tensor, ln_x: Tensor | None, before: Tensor | None) -> Tensor:
        """All quantities, (..., row, quantity).

        Args:
            energies: of all species, (..., row, species).
            ln_x: ln concentrations; None if no quantity needs them.
            before: those of the previous state; None if no quantity needs them.
        """
        found = []
        for quantity, (species, ln_share, whole, ln_whole) in zip(self.quantities, self.parts, strict=True):
            if quantity.kind == "energy":
                found.append(energies[..., species[0]])
                continue
            source = before if quantity.of == PREVIOUS else ln_x
            assert source is not None
            value = torch.logsumexp(source[..., species] + ln_share, -1)
            if len(whole):
                value = value - torch.logsumexp(source[..., whole] + ln_whole, -1)
            found.append(value)
        return torch.stack(found, -1)

    @property
    def reads_state(self) -> bool:
        """Whether concentrations are needed."""
        return any(quantity.kind != "energy" for quantity in self.quantities)


def _part(quantity: Quantity, layout: Layout, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Species and ln of their factors, and the same of the whole of which a fraction is meant."""
    given = read_sum(quantity.species, layout.species)
    species = [layout.species.index(name) for name in given]
    factor, whole = np.array(list(given.values())), np.zeros(0, dtype=np.int64)
    share = np.zeros(0)
    if quantity.kind == "fraction":
        row = layout.counts[layout.molecules.index(quantity.of)]
        factor, whole = factor * row[species], np.flatnonzero(row)
        share = row[whole]
    arrays = (np.array(species), np.log(factor), whole, np.log(share))
    return tuple(torch.as_tensor(part, device=device) for part in arrays)  # pyright: ignore[reportReturnType]
