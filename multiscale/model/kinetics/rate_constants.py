"""Columns of p, the constants that rate laws read, from linear parameter values and energies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from multiscale.errors import GraphError, nearest
from multiscale.physics.energy import ln_equilibrium_constant
from multiscale.units import kT

__all__ = ["Columns", "Energies", "value_of"]


@dataclass(frozen=True, eq=False)
class Energies:
    """Standard energies of the species of a kinetic model: g = E θ − kT ln ω.

    Args:
        counts: E, how often each term occurs in each species, shape (species, term).
        terms: names of the energy terms.
        ln_statistical_factor: ln ω, shape (species,).
    """

    counts: Tensor
    terms: list[str]
    ln_statistical_factor: Tensor

    def to(self, device: torch.device | str) -> Energies:
        """The same on another device."""
        return Energies(self.counts.to(device), self.terms, self.ln_statistical_factor.to(device))

    def values(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """g without the statistical factor, kcal/mol, shape (..., species)."""
        if not self.terms:
            return self.counts.new_zeros(self.counts.shape[0])
        terms = torch.broadcast_tensors(*(value_of(parameters, name) for name in self.terms))
        return torch.stack(terms, -1) @ self.counts.T

    def effective(self, g: Tensor, temperature: float) -> Tensor:
        """G − kT ln ω, which takes the place of g in equilibrium constants."""
        return g - kT(temperature) * self.ln_statistical_factor


@dataclass
class Columns:
    """Which columns p has; each is asked for by name and kept once.

    Kinds of columns: a `parameter` times a factor that turns its unit into µM, a fixed `number`, a `backward`
    rate constant k_f/K, the equilibrium constant K (`equilibrium`), and `weight`, the ln of a product of
    powers of other columns.

    Args:
        names: of the columns, in order.
    """

    names: list[str] = field(default_factory=list)
    _columns: dict[str, int] = field(default_factory=dict)
    _parameters: list[tuple[int, str, float]] = field(default_factory=list)
    _numbers: list[tuple[int, float]] = field(default_factory=list)
    _backward: list[tuple[int, int, int]] = field(default_factory=list)  # column, column of k_f, row of K
    _equilibrium: list[tuple[int, int]] = field(default_factory=list)  # column, row of K
    _weights: list[tuple[int, dict[int, float]]] = field(default_factory=list)
    _changes: list[tuple[dict[int, int], dict[int, int]]] = field(default_factory=list)

    @property
    def parameters(self) -> list[str]:
        """Parameters that columns take their values from."""
        return [name for _, name, _ in self._parameters]

    def parameter(self, name: str, factor: float = 1.0) -> int:
        """Column with the value of a parameter times a factor."""
        return self._column(name, lambda i: self._parameters.append((i, name, factor)))

    def number(self, value: float) -> int:
        """Column with a fixed number."""
        return self._column(f"{value:g}", lambda i: self._numbers.append((i, value)))

    def equilibrium(self, reaction: str, reactants: dict[int, int], products: dict[int, int]) -> int:
        """Column with K of a reaction; species are given by position, with stoichiometry."""
        row = self._row(reactants, products)
        return self._column(f"K of {reaction}", lambda i: self._equilibrium.append((i, row)))

    def backward(self, reaction: str, k_f: int, reactants: dict[int, int], products: dict[int, int]) -> int:
        """Column with k_r = k_f/K of a reaction whose forward rate constant is a column."""
        row = self._row(reactants, products)
        return self._column(f"k_r of {reaction}", lambda i: self._backward.append((i, k_f, row)))

    def weight(self, name: str, powers: dict[int, float]) -> int:
        """Column with Σ_i power_i ln(column_i)."""
        return self._column(name, lambda i: self._weights.append((i, powers)))

    @property
    def thermodynamic(self) -> set[int]:
        """Positions of the species on whose energies a column depends."""
        return {
            s for both in self._changes for s in {**both[0], **both[1]} if both[0].get(s) != both[1].get(s)
        }

    def values(self, parameters: Mapping[str, Tensor], g: Tensor, temperature: float) -> Tensor:
        """Value of every column of p, shape (..., column).

        Args:
            parameters: value by parameterId in its unit, shapes that broadcast.
            g: energies with −kT ln ω included, kcal/mol, shape (..., species).
            temperature: K.
        """
        found: dict[int, Tensor] = {i: value_of(parameters, n) * f for i, n, f in self._parameters}
        found |= {i: g.new_tensor(value) for i, value in self._numbers}
        if self._changes:
            reactants, products = self._stoichiometry(g)
            ln_K = ln_equilibrium_constant(reactants, products, g, temperature)
            found |= {i: torch.exp(ln_K[..., row]) for i, row in self._equilibrium}
            found |= {i: found[k_f] * torch.exp(-ln_K[..., row]) for i, k_f, row in self._backward}
        for i, powers in self._weights:
            found[i] = sum((power * found[c].log() for c, power in powers.items()), g.new_zeros(()))
        if not found:
            return g.new_zeros(*g.shape[:-1], 0)
        return torch.stack(torch.broadcast_tensors(*(found[i] for i in range(len(self.names)))), -1)

    def _column(self, name: str, add) -> int:
        if name not in self._columns:
            self._columns[name] = len(self.names)
            self.names.append(name)
            add(self._columns[name])
        return self._columns[name]

    def _row(self, reactants: dict[int, int], products: dict[int, int]) -> int:
        self._changes.append((reactants, products))
        return len(self._changes) - 1

    def _stoichiometry(self, g: Tensor) -> list[Tensor]:
        """Reactants and products of the reactions whose K is needed, each of shape (species, reaction)."""
        sides = [g.new_zeros(g.shape[-1], len(self._changes)) for _ in range(2)]
        for column, both in enumerate(self._changes):
            for side, species in zip(sides, both, strict=True):
                for row, number in species.items():
                    side[row, column] = number
        return sides


def value_of(parameters: Mapping[str, Tensor], name: str) -> Tensor:
    """Value of a parameter.

    Raises:
        GraphError: it has none.
    """
    if name not in parameters:
        raise GraphError(f"parameter `{name}` has no value; {nearest(name, parameters)}")
    return parameters[name]
