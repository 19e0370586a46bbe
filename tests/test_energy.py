"""Energies: detailed balance by construction, and equality of Kd and energy descriptions."""

import numpy as np
import pytest
import torch
from scipy.linalg import null_space

from multiscale.physics.energy import (
    ln_equilibrium_constant,
    ln_rate_constants,
    ln_weight,
    process_energy,
    species_energy,
)
from multiscale.units import delta_g_from_Kd, kT

TEMPERATURE = 310.15


def _random_reactions(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random reversible reactions, more than there are species, hence with cycles, and random energies."""
    generator = np.random.default_rng(seed)
    reactants = generator.integers(0, 3, (6, 15)).astype(float)
    products = generator.integers(0, 3, (6, 15)).astype(float)
    terms = torch.as_tensor(generator.normal(0, 5, 4))
    counts = torch.as_tensor(generator.integers(0, 3, (6, 4)).astype(float))
    return torch.as_tensor(reactants), torch.as_tensor(products), species_energy(counts, terms)


@pytest.mark.parametrize("seed", range(20))
def test_equilibrium_constants_multiply_to_one_around_every_cycle(seed: int):
    reactants, products, g = _random_reactions(seed)
    cycles = null_space((products - reactants).numpy())
    assert cycles.shape[1] >= 9
    ln_K = ln_equilibrium_constant(reactants, products, g, TEMPERATURE).numpy()
    assert np.abs(ln_K @ cycles).max() < 1e-12 * max(1.0, np.abs(ln_K).max())


@pytest.mark.parametrize("seed", range(20))
def test_rate_constants_have_the_ratio_of_the_equilibrium_constant(seed: int):
    reactants, products, g = _random_reactions(seed)
    barrier = torch.randn(15, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    forward, backward = ln_rate_constants(reactants, products, g, barrier, TEMPERATURE)
    expected = ln_equilibrium_constant(reactants, products, g, TEMPERATURE)
    torch.testing.assert_close(forward - backward, expected, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize(("subunits", "omega"), [(2, 1.0), (2, 0.5), (3, 1.0)])
def test_weight_from_an_energy_equals_weight_from_a_dissociation_constant(subunits: int, omega: float):
    Kd = 0.02  # µM^(n-1)
    g = kT(TEMPERATURE) * (np.log(Kd) - (subunits - 1) * np.log(1e6))
    given = torch.tensor([g, float(subunits), np.log(omega)], dtype=torch.float64)
    got = ln_weight(given[0], given[1], given[2], TEMPERATURE)
    assert float(got.exp()) == pytest.approx(omega / Kd, rel=1e-12)


def test_process_energy_of_an_association_is_its_measured_energy():
    g = torch.tensor([0.0, 0.0, delta_g_from_Kd(0.068, TEMPERATURE)], dtype=torch.float64)
    process = torch.tensor([[-1.0, -1.0, 1.0]], dtype=torch.float64)
    got = process_energy(g, process, torch.zeros(3, dtype=torch.float64), TEMPERATURE)
    assert float(got) == pytest.approx(delta_g_from_Kd(0.068, TEMPERATURE), rel=1e-14)


def test_statistical_factor_lowers_the_macroscopic_energy():
    g, process = torch.zeros(2, dtype=torch.float64), torch.tensor([[-2.0, 1.0]], dtype=torch.float64)
    ln_omega = torch.tensor([0.0, np.log(0.5)], dtype=torch.float64)
    got = process_energy(g, process, ln_omega, TEMPERATURE)
    assert float(got) == pytest.approx(kT(TEMPERATURE) * np.log(2.0), rel=1e-12)
