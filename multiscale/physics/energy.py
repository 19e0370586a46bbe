"""Standard energies of species, and the equilibrium and rate constants that follow from them.

Energies are in kcal/mol, negative = favoured, standard state c° = 1 M; concentrations are in µM. Because
every constant is derived from one energy per species, the product of equilibrium constants around any cycle
of reactions is one for any parameter values.
"""

from __future__ import annotations

from torch import Tensor

from multiscale.units import LN_STANDARD, kT

__all__ = ["ln_equilibrium_constant", "ln_rate_constants", "ln_weight", "process_energy", "species_energy"]


def species_energy(term_counts: Tensor, terms: Tensor, correction: Tensor | None = None) -> Tensor:
    """Energy of every species: g = E θ + net(features).

    Args:
        term_counts: E, how often each energy term occurs in each species, shape (species, term). Free
            reference forms have zero rows.
        terms: θ, energy terms in kcal/mol, shape (..., term).
        correction: output of a network in kcal/mol, shape (..., species); zero for reference
            forms is the caller's duty.

    Returns:
        g in kcal/mol, shape (..., species).

    Source: definition.

    >>> import torch
    >>> E = torch.tensor([[0.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
    >>> species_energy(E, torch.tensor([-3.0, -1.5], dtype=torch.float64)).tolist()
    [0.0, -7.5]
    """
    g = terms @ term_counts.T
    return g if correction is None else g + correction


def ln_weight(g: Tensor, subunits: Tensor, ln_statistical_factor: Tensor, temperature: float) -> Tensor:
    """Weight of a species in the binding equilibrium: ln w_j = ln ω_j − g_j/kT + (1 − n_j) ln c°.

    With it, ln x_j = ln w_j + Σ_m A_mj ln x_m for concentrations x in µM.

    Args:
        g: standard energies, kcal/mol, shape (..., species).
        subunits: n_j = Σ_m A_mj, number of subunits, shape (species,).
        ln_statistical_factor: ln ω_j, distinct arrangements over symmetry number, shape (species,).
        temperature: K.

    Returns:
        ln w in powers of µM, shape (..., species).

    Source: definition (mass action, standard state of 1 M). A dimer of ΔG = kT ln(Kd/c°) has weight 1/Kd:

    >>> import torch
    >>> from multiscale.units import delta_g_from_Kd
    >>> g = torch.tensor([delta_g_from_Kd(0.5, 298.15)], dtype=torch.float64)
    >>> two, one = torch.tensor([2.0], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    >>> round(float(ln_weight(g, two, one, 298.15).exp()), 9)
    2.0
    """
    return ln_statistical_factor - g / kT(temperature) + (1.0 - subunits) * LN_STANDARD


def process_energy(g: Tensor, process: Tensor, ln_statistical_factor: Tensor, temperature: float) -> Tensor:
    """Macroscopic standard energy of a named process: ΔG = Σ_j ν_j (g_j − kT ln ω_j).

    Args:
        g: standard energies, kcal/mol, shape (..., species).
        process: ν, products minus reactants, shape (process, species).
        ln_statistical_factor: ln ω, shape (species,).
        temperature: K.

    Returns:
        kcal/mol, shape (..., process); equals kT ln(Kd/c°) for an association.

    Source: definition.
    """
    return (g - kT(temperature) * ln_statistical_factor) @ process.T


def ln_equilibrium_constant(reactants: Tensor, products: Tensor, g: Tensor, temperature: float) -> Tensor:
    """Equilibrium constants of reversible reactions: ln K = −(B − A)ᵀ g/kT + (ΣB − ΣA) ln c°.

    Args:
        reactants: A, stoichiometry, shape (species, reaction).
        products: B, stoichiometry, shape (species, reaction).
        g: energies, kcal/mol, with −kT ln ω already included where ω ≠ 1, shape (..., species).
        temperature: K.

    Returns:
        ln K in powers of µM, shape (..., reaction). Around any cycle (integer c with (B − A) c = 0) it sums
        to zero.

    Source: definition.
    """
    change = products - reactants
    return -(g @ change) / kT(temperature) + change.sum(0) * LN_STANDARD


def ln_rate_constants(
    reactants: Tensor, products: Tensor, g: Tensor, barrier: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Forward and backward rate constants that obey detailed balance for any parameter values.

    ln k_f = b + Aᵀ g/kT − ΣA ln c°, ln k_r = b + Bᵀ g/kT − ΣB ln c°, so that k_f/k_r = K.

    Args:
        reactants: A, shape (species, reaction).
        products: B, shape (species, reaction).
        g: energies, kcal/mol, shape (..., species).
        barrier: b, one free kinetic constant per reaction (ln of a rate in µM/s), shape (..., reaction).
        temperature: K.

    Returns:
        ln k_f and ln k_r, each of shape (..., reaction), in s⁻¹ and powers of µM.

    Source: definition.
    """
    forward = barrier + (g @ reactants) / kT(temperature) - reactants.sum(0) * LN_STANDARD
    backward = barrier + (g @ products) / kT(temperature) - products.sum(0) * LN_STANDARD
    return forward, backward
