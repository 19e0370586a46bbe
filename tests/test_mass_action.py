"""Mass action and transport: closed forms, equilibrium, exact derivatives at zero, amounts across volumes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from multiscale.physics.energy import ln_rate_constants
from multiscale.physics.mass_action import mass_action, reversible_mass_action
from multiscale.physics.rational import Polynomial, polynomial
from multiscale.physics.transport import exchange_coefficients, exchange_constant, transport


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_synthesis_is_constant_and_decay_is_proportional() -> None:
    assert float(mass_action(0).rate(numbers(0.7))) == 0.7
    assert float(mass_action(1).rate(numbers(0.7, 3.0))) == 0.7 * 3.0


def test_a_repeated_reactant_reacts_with_the_square_of_its_concentration() -> None:
    k, x = 0.4, torch.linspace(0.0, 5.0, 11, dtype=torch.float64)
    z = torch.stack([torch.full_like(x, k), x, x], -1)
    torch.testing.assert_close(mass_action(2).rate(z), k * x**2)
    torch.testing.assert_close(mass_action(2).gradient(z)[:, 1:].sum(-1), 2 * k * x)


@pytest.mark.parametrize("reactants", [1, 2, 3, 4])
def test_the_flux_is_homogeneous_of_the_order_of_the_reaction(reactants: int) -> None:
    """Euler: Σ x ∂v/∂x = n v, and x·(∂²v/∂x²)x = n (n − 1) v."""
    z = torch.linspace(0.5, 2.0, 1 + reactants, dtype=torch.float64)
    x, law = z.clone(), mass_action(reactants)
    x[0] = 0.0
    v = law.rate(z)
    torch.testing.assert_close(law.gradient(z) @ x, reactants * v)
    torch.testing.assert_close(law.curvature(z, x) @ x, reactants * (reactants - 1) * v)


def test_derivatives_are_exact_where_one_and_where_two_reactants_are_zero() -> None:
    law = mass_action(3)
    assert law.gradient(numbers(2.0, 0.0, 3.0, 5.0)).tolist() == [0.0, 30.0, 0.0, 0.0]
    assert law.gradient(numbers(2.0, 0.0, 0.0, 5.0)).tolist() == [0.0, 0.0, 0.0, 0.0]
    along_first = law.curvature(numbers(2.0, 0.0, 0.0, 5.0), numbers(0.0, 1.0, 0.0, 0.0))
    assert along_first.tolist() == [0.0, 0.0, 10.0, 0.0]


def test_the_reversible_flux_is_exactly_zero_at_equilibrium() -> None:
    z = numbers(3.0, 0.5, 2.0, 12.0)
    assert float(reversible_mass_action(1, 1).rate(z)) == 0.0


def test_the_reversible_flux_is_the_difference_of_two_irreversible_ones() -> None:
    z = numbers(3.0, 0.5, 2.0, 7.0, 1.1)
    expected = mass_action(2).rate(z[[0, 2, 3]]) - mass_action(1).rate(z[[1, 4]])
    torch.testing.assert_close(reversible_mass_action(2, 1).rate(z), expected)


def test_rate_constants_from_energies_give_zero_flux_at_the_equilibrium_of_these_energies() -> None:
    """A + B ⇌ AB with Kd = 0.5 µM: at A = B = 1 µM, AB = 2 µM."""
    kT = 0.001987204258640832 * 298.15
    g = numbers(0.0, 0.0, kT * math.log(0.5e-6))
    A, B = numbers(1.0, 1.0, 0.0)[:, None], numbers(0.0, 0.0, 1.0)[:, None]
    ln_k = torch.cat(ln_rate_constants(A, B, g, numbers(14.0), 298.15))
    z = torch.cat([ln_k.exp(), numbers(1.0, 1.0, 2.0)])
    forward = float(z[0])
    assert abs(float(reversible_mass_action(2, 1).rate(z))) < 1e-12 * forward


def test_decay_and_synthesis_balance_at_their_ratio() -> None:
    k, d = 0.3, 0.1
    x = k / d
    assert float(mass_action(0).rate(numbers(k))) == pytest.approx(float(mass_action(1).rate(numbers(d, x))))


def test_transport_is_zero_at_the_partition_ratio_and_goes_down_the_gradient() -> None:
    law = transport()
    assert float(law.rate(numbers(0.7, 4.0, 3.0, 12.0))) == 0.0
    assert float(law.rate(numbers(0.7, 4.0, 3.0, 11.0))) > 0.0 > float(law.rate(numbers(0.7, 4.0, 3.0, 13.0)))


def test_transport_conserves_amounts_and_relaxes_with_the_sum_of_both_exit_rates() -> None:
    """With K = 1, x_from − x_to decays at k (1 + V_from/V_to)."""
    volume_from, volume_to = 1000.0, 250.0
    coefficient = numbers(*exchange_coefficients(volume_from, volume_to))
    v = transport().rate(numbers(0.3, 1.0, 5.0, 2.0))
    change = coefficient * v
    assert float(numbers(volume_from, volume_to) @ change) == 0.0
    assert float(change[0] - change[1]) == pytest.approx(-0.3 * (1 + 4.0) * (5.0 - 2.0))


def test_the_amount_that_crosses_does_not_depend_on_which_volume_counts_it() -> None:
    """Permeability × area × difference, in µM·fL/s, from either side."""
    P, area, inside, outside = 0.02, 500.0, 1000.0, 4e5
    out = transport().rate(numbers(exchange_constant(P, area, inside), 1.0, 5.0, 2.0)) * inside
    back = transport().rate(numbers(exchange_constant(P, area, outside), 1.0, 2.0, 5.0)) * outside
    assert float(out) == pytest.approx(P * area * 3.0) == pytest.approx(-float(back))


def test_a_polynomial_may_have_a_constant_term_and_one_without_terms_is_zero() -> None:
    z = numbers(2.0, 3.0)
    assert float(polynomial(("a", "b"), "", "- a a b").value(z)) == 1.0 - 12.0
    assert float(Polynomial(()).value(z)) == 0.0
