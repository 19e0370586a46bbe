"""Energies: detailed balance by construction, and equality of Kd and energy descriptions."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import null_space

from multiscale.graph import Graph, check, cycles, energy_matrix, stoichiometric_matrix
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


def assembly_graph(seed: int) -> Graph:
    """All complexes of four molecules, random energy terms, and some of the ways to assemble them."""
    rng = np.random.default_rng(seed)
    sets = [s for size in (2, 3, 4) for s in combinations("ABCD", size)]
    terms = [f"g{i}" for i in range(6)]
    energies = [";".join(f"{t}*{n}" for t, n in zip(terms, rng.integers(1, 4, 6), strict=True)) for _ in sets]
    every = [*((m,) for m in "ABCD"), *sets]
    ways = [(a, b) for a in every for b in every if a < b and not set(a) & set(b)]
    chosen = [way for way in ways if rng.random() < 0.7]
    names = [f"{''.join(a)}_{''.join(b)}" for a, b in chosen]
    reactants = [(part, name) for name, way in zip(names, chosen, strict=True) for part in map("".join, way)]
    products = [(name, "".join(sorted(a + b))) for name, (a, b) in zip(names, chosen, strict=True)]
    parameters = pd.DataFrame({"parameterId": terms, "role": "energy", "unit": "kcal/mol"})
    return Graph.from_tables(
        "assembly",
        {
            "molecule": pd.DataFrame({"name": list("ABCD")}),
            "complex": pd.DataFrame({"name": ["".join(s) for s in sets], "energy": energies}),
            "reaction": pd.DataFrame({"name": names, "reversible": True}),
        },
        {
            "subunit": pd.DataFrame([(m, "".join(s)) for s in sets for m in s], columns=["source", "target"]),
            "reactant": pd.DataFrame(reactants, columns=["source", "target"]),
            "product": pd.DataFrame(products, columns=["source", "target"]),
        },
        parameters,
        {"licence": "CC0-1.0"},
    )


@pytest.mark.parametrize("seed", range(10))
def test_around_every_cycle_of_a_random_graph_the_constants_multiply_to_one(seed: int):
    graph = assembly_graph(seed)
    check(graph)
    counts, terms = energy_matrix(graph)
    theta = torch.as_tensor(np.random.default_rng(seed).normal(0, 1, len(terms)))
    g = species_energy(torch.as_tensor(counts), theta)
    change = torch.as_tensor(stoichiometric_matrix(graph).astype(float))
    ln_K = ln_equilibrium_constant((-change).clamp(min=0), change.clamp(min=0), g, TEMPERATURE).numpy()
    loops = cycles(graph)
    assert len(loops) >= 3
    np.testing.assert_allclose(np.exp(loops @ ln_K), 1.0, rtol=0, atol=1e-12)
