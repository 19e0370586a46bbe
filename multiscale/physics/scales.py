"""Laws that join scales: transcripts, supply, totals, contacts between cells, pathways and phenotypes."""

from __future__ import annotations

import math

from torch import Tensor

from multiscale.units import MOLECULES_PER_UM_FL

__all__ = [
    "contact_concentration",
    "ln_concentration",
    "ln_sum",
    "ln_two_dimensional_Kd",
    "phenotype_rate",
    "relative_to_mean",
    "supply",
]


def supply(ln_translation: Tensor, ln_transcript: Tensor) -> Tensor:
    """Supply of a molecule: ln s_m = ln t_m + ln R_m.

    Args:
        ln_translation: ln t, copies of the free subunit that one unit of transcript sustains.
        ln_transcript: ln R, transcript level (fraction of all transcripts), same shape after broadcasting.

    Returns:
        ln s in copies per cell: the copies there would be if nothing assembled.

    Source: definition (synthesis balances first-order loss).
    """
    return ln_translation + ln_transcript


def ln_concentration(ln_copies: Tensor, volume_fL: Tensor) -> Tensor:
    """Concentration of copies in a cell: ln x = ln n − ln(602.2 · V).

    Args:
        ln_copies: ln n, shape (..., context, molecule).
        volume_fL: V, fL, shape (context,).

    Returns:
        ln of µM, shape (..., context, molecule).

    >>> import torch
    >>> n, V = torch.tensor([[602.214076]], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    >>> float(ln_concentration(n.log(), V))
    0.0
    """
    return ln_copies - (MOLECULES_PER_UM_FL * volume_fL).log().unsqueeze(-1)


def ln_sum(ln_values: Tensor, counts: Tensor) -> Tensor:
    """Weighted sums of positive quantities in log space: ln Σ_j C_kj exp(ln v_j).

    Args:
        ln_values: shape (..., species).
        counts: C ≥ 0, shape (readout, species); every row has a positive entry.

    Returns:
        shape (..., readout). Finite wherever one contributing value is finite.

    >>> import torch
    >>> v = torch.tensor([0.0, math.log(3.0)], dtype=torch.float64)
    >>> round(float(ln_sum(v, torch.tensor([[1.0, 2.0]], dtype=torch.float64)).exp()), 9)
    7.0
    """
    shift = ln_values.detach().amax(-1, keepdim=True)
    return ((ln_values - shift).exp() @ counts.T).log() + shift


def contact_concentration(copies: Tensor, area_um2: Tensor, confinement_nm: Tensor) -> Tensor:
    """Concentration at which a membrane contact sees a surface molecule: x = σ / (0.6022 · h), σ = n / area.

    With it, mass action with the solution Kd equals mass action of densities with K2D = 0.6022 · Kd · h.

    Args:
        copies: surface molecules per cell, shape (..., molecule).
        area_um2: surface of that cell, µm², broadcastable to `copies`.
        confinement_nm: confinement length h, nm, broadcastable to `copies`.

    Returns:
        µM, shape (..., molecule).

    Source: definition of the two-dimensional dissociation constant, see `units.two_dimensional_Kd`.
    """
    return copies / area_um2 / (MOLECULES_PER_UM_FL * 1e-3 * confinement_nm)


def ln_two_dimensional_Kd(delta_g: Tensor, ln_confinement: Tensor, thermal_energy: float) -> Tensor:
    """Two-dimensional dissociation constant from an energy: ln K2D = ΔG/kT + ln c° + ln(0.6022 · h).

    Args:
        delta_g: ΔG of the same pair in solution, kcal/mol.
        ln_confinement: ln h, h in nm.
        thermal_energy: kT, kcal/mol.

    Returns:
        ln of molecules per µm².

    Source: definition.
    """
    return delta_g / thermal_energy + math.log(1e6 * MOLECULES_PER_UM_FL * 1e-3) + ln_confinement


def relative_to_mean(ln_values: Tensor, axis: int = -2) -> Tensor:
    """Logarithm relative to the geometric mean over contexts: ln(x / x_ref).

    Args:
        ln_values: ln x, finite.
        axis: the axis of contexts.

    Source: definition of the reference of pathway activities.

    >>> import torch
    >>> relative_to_mean(torch.tensor([[0.0], [2.0]])).squeeze().tolist()
    [-1.0, 1.0]
    """
    return ln_values - ln_values.mean(axis, keepdim=True)


def phenotype_rate(base: Tensor, drive: Tensor, bound: float | Tensor) -> Tensor:
    """Rate of a phenotype of a cell that pathways drive: μ = μ₀ + b · tanh(u/b), as in dN/dt = N μ.

    It rises with u at slope 1 where u is small, and stays within b of μ₀ whatever the pathways do.

    Args:
        base: μ₀, rate at the reference, where every activity is zero, 1/s.
        drive: u = Σ_p β_p a_p, signed weights (1/s) times activities, same shape after broadcasting.
        bound: b > 0, the largest change of the rate, 1/s.

    Returns:
        μ in 1/s; negative where the cells die faster than they divide.

    Source: definition (bounded and monotone in every activity, rising or falling with the sign of β).

    >>> import torch
    >>> base, drive = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.0, 1e9, -1e9])
    >>> phenotype_rate(base, drive, 0.5).tolist()
    [1.0, 1.5, 0.5]
    """
    return base + bound * (drive / bound).tanh()
