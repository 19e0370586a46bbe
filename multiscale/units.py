"""One unit system: s, µM, kcal/mol, K, nm, fL; conversions happen only at file boundaries.

Energies refer to the standard state c° = 1 M = 10⁶ µM and belong to a named process; negative = favoured.
"""

from __future__ import annotations

import math

__all__ = [
    "LN_STANDARD",
    "MOLECULES_PER_UM_FL",
    "ROOM_TEMPERATURE",
    "Kd_from_delta_g",
    "R",
    "concentration",
    "copies",
    "delta_g_from_Kd",
    "kT",
    "to_uM",
    "two_dimensional_Kd",
]

R = 8.31446261815324 / 4184.0
"""Molar gas constant, kcal/(mol·K): CODATA 2018, J/(mol·K), over the thermochemical kilocalorie (4184 J)."""

LN_STANDARD = math.log(1e6)
"""ln of the standard concentration c° = 1 M in µM."""

MOLECULES_PER_UM_FL = 602.214076
"""Molecules in 1 fL at 1 µM: the Avogadro constant (exact, SI 2019) times 10⁻⁶ mol/L times 10⁻¹⁵ L."""

ROOM_TEMPERATURE = 298.15
"""Temperature assumed where a source states none, K."""

_MICROMOLAR = {"fM": 1e-9, "pM": 1e-6, "nM": 1e-3, "uM": 1.0, "µM": 1.0, "mM": 1e3, "M": 1e6}


def kT(temperature: float) -> float:
    """Thermal energy per mole, R·T, in kcal/mol.

    Args:
        temperature: K, positive.

    Raises:
        ValueError: the temperature is not positive.

    >>> round(kT(298.15), 4)
    0.5925
    """
    if not temperature > 0:
        raise ValueError(f"`temperature` must be positive, in K; got {temperature}.")
    return R * temperature


def delta_g_from_Kd(Kd: float, temperature: float = ROOM_TEMPERATURE) -> float:
    """Standard binding energy of a dissociation constant: ΔG = kT ln(Kd / c°).

    Args:
        Kd: dissociation constant, µM, positive.
        temperature: K.

    Returns:
        kcal/mol, negative for Kd below 1 M.

    Raises:
        ValueError: Kd is not positive.

    >>> round(delta_g_from_Kd(1.0), 2)
    -8.19
    """
    if not Kd > 0:
        raise ValueError(f"`Kd` must be positive, in µM; got {Kd}.")
    return kT(temperature) * (math.log(Kd) - LN_STANDARD)


def Kd_from_delta_g(delta_g: float, temperature: float = ROOM_TEMPERATURE) -> float:
    """Dissociation constant of a standard binding energy: Kd = c° exp(ΔG / kT), in µM.

    >>> round(Kd_from_delta_g(delta_g_from_Kd(0.25)), 12)
    0.25
    """
    return math.exp(delta_g / kT(temperature) + LN_STANDARD)


def concentration(copies: float, volume_fL: float) -> float:
    """Concentration of `copies` molecules in a volume: x = n / (602.2 · V), in µM.

    >>> round(concentration(602.214076, 1.0), 12)
    1.0
    """
    return copies / (MOLECULES_PER_UM_FL * volume_fL)


def copies(concentration_uM: float, volume_fL: float) -> float:
    """Molecules in a volume at a concentration: n = 602.2 · V · x.

    >>> round(copies(1.0, 2.0), 6)
    1204.428152
    """
    return concentration_uM * MOLECULES_PER_UM_FL * volume_fL


def to_uM(value: float, unit: str) -> float:
    """Convert a concentration to µM.

    Args:
        value: number in `unit`.
        unit: fM, pM, nM, uM (or µM), mM, M.

    Raises:
        ValueError: the unit is not a concentration.

    >>> to_uM(9.0, "nM")
    0.009000000000000001
    """
    if unit not in _MICROMOLAR:
        raise ValueError(f"`unit` must be one of {', '.join(_MICROMOLAR)}; got `{unit}`.")
    return value * _MICROMOLAR[unit]


def two_dimensional_Kd(Kd: float, confinement_nm: float) -> float:
    """Two-dimensional dissociation constant of a membrane contact: K2D = 0.6022 · Kd · h.

    Args:
        Kd: solution dissociation constant, µM.
        confinement_nm: confinement length h, nm.

    Returns:
        molecules per µm². One µM in a slab 1 nm thick is 0.6022 molecules per µm².

    >>> round(two_dimensional_Kd(1.0, 1.0), 4)
    0.6022
    """
    return MOLECULES_PER_UM_FL * 1e-3 * Kd * confinement_nm
