"""Enzymes: saturation, Haldane relation, limits of inhibitors, agreement of special cases, mechanisms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from multiscale.physics.enzyme import (
    competitive_inhibition,
    michaelis_menten,
    modular,
    noncompetitive_inhibition,
    reversible_michaelis_menten,
    uncompetitive_inhibition,
)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_half_of_the_enzyme_works_at_S_equal_to_Km_and_all_of_it_at_large_S() -> None:
    v = michaelis_menten().rate(torch.stack([numbers(10.0, 3.0, 0.5, S) for S in (0.0, 3.0, 3e12)]))
    torch.testing.assert_close(v, numbers(0.0, 2.5, 5.0), rtol=1e-11, atol=0.0)


def test_the_form_with_V_max_is_that_with_k_cat_times_enzyme() -> None:
    v = michaelis_menten(enzyme=False).rate(numbers(5.0, 3.0, 1.7))
    torch.testing.assert_close(v, michaelis_menten().rate(numbers(10.0, 3.0, 0.5, 1.7)))


def test_the_first_derivative_in_S_is_k_cat_E_Km_over_the_square_of_Km_plus_S() -> None:
    gradient = michaelis_menten().gradient(numbers(10.0, 3.0, 0.5, 2.0))
    torch.testing.assert_close(gradient, numbers(0.2, -0.4, 4.0, 0.6))


def test_bound_enzyme_of_the_mechanism_at_steady_state_gives_the_law() -> None:
    """E + S ⇌ ES → E + P with Km = (k_off + k_cat)/k_on; v = k_cat ES."""
    k_on, k_off, k_cat, E, S = 2.0, 3.0, 5.0, 0.1, 1.3
    ES = k_on * S * E / (k_on * S + k_off + k_cat)
    v = michaelis_menten().rate(numbers(k_cat, (k_off + k_cat) / k_on, E, S))
    assert float(v) == pytest.approx(k_cat * ES, rel=1e-14)


@pytest.mark.parametrize("K_eq", [0.1, 1.0, 3.7, 1e4])
def test_the_reversible_flux_is_exactly_zero_at_equilibrium(K_eq: float) -> None:
    S = numbers(0.3, 1.1, 7.0)
    z = torch.stack([torch.stack([*numbers(9.0, 0.3, 0.7, K_eq, 0.2), s, K_eq * s]) for s in S])
    assert (reversible_michaelis_menten().rate(z) == 0.0).all()


def test_the_backward_turnover_obeys_the_haldane_relation() -> None:
    """Without substrate and with much product, v → −E k_cat K_p/(K_s K_eq)."""
    k_cat, K_s, K_p, K_eq, E = 9.0, 0.3, 0.7, 5.0, 0.2
    v = reversible_michaelis_menten().rate(numbers(k_cat, K_s, K_p, K_eq, E, 0.0, 1e12))
    assert float(v) == pytest.approx(-E * k_cat * K_p / (K_s * K_eq), rel=1e-10)
    k_r = k_cat * K_p / (K_s * K_eq)
    assert (k_cat / K_s) / (k_r / K_p) == pytest.approx(K_eq)


def test_without_product_and_for_large_K_eq_the_reversible_law_is_the_irreversible_one() -> None:
    v = reversible_michaelis_menten().rate(numbers(9.0, 0.3, 0.7, 1e13, 0.2, 1.1, 0.0))
    torch.testing.assert_close(v, michaelis_menten().rate(numbers(9.0, 0.3, 0.2, 1.1)))


INHIBITIONS = [
    (competitive_inhibition(), ()),
    (noncompetitive_inhibition(), (2.5,)),
    (uncompetitive_inhibition(), ()),
]


@pytest.mark.parametrize(("law", "alpha"), INHIBITIONS)
def test_without_inhibitor_every_inhibition_is_michaelis_menten(law, alpha: tuple[float, ...]) -> None:
    v = law.rate(numbers(9.0, 0.3, 0.7, *alpha, 0.2, 1.1, 0.0))
    torch.testing.assert_close(v, michaelis_menten().rate(numbers(9.0, 0.3, 0.2, 1.1)))


@pytest.mark.parametrize(("law", "alpha"), INHIBITIONS)
def test_an_inhibitor_without_limit_stops_the_enzyme(law, alpha: tuple[float, ...]) -> None:
    assert float(law.rate(numbers(9.0, 0.3, 0.7, *alpha, 0.2, 1.1, 1e13))) < 1e-11


@pytest.mark.parametrize(
    ("law", "alpha", "Km_factor", "turnover_factor"),
    [
        (competitive_inhibition(), (), 3.0, 1.0),
        (noncompetitive_inhibition(), (1.0,), 1.0, 1 / 3),
        (noncompetitive_inhibition(), (4.0,), 3.0 / 1.5, 1 / 1.5),
        (uncompetitive_inhibition(), (), 1 / 3, 1 / 3),
    ],
)
def test_an_inhibitor_changes_apparent_Km_and_turnover(law, alpha, Km_factor, turnover_factor) -> None:
    """I = 2 K_i: 1 + I/K_i = 3, and 1 + I/(4 K_i) = 1.5."""
    S = torch.linspace(0.0, 9.0, 10, dtype=torch.float64)
    v = law.rate(
        torch.stack([torch.stack([*numbers(9.0, 0.3, 0.7, *alpha, 0.2), s, numbers(1.4)[0]]) for s in S])
    )
    torch.testing.assert_close(v, 9.0 * turnover_factor * 0.2 * S / (0.3 * Km_factor + S))


def test_mixed_inhibition_with_large_alpha_is_competitive() -> None:
    v = noncompetitive_inhibition().rate(numbers(9.0, 0.3, 0.7, 1e13, 0.2, 1.1, 1.4))
    torch.testing.assert_close(v, competitive_inhibition().rate(numbers(9.0, 0.3, 0.7, 0.2, 1.1, 1.4)))


def test_the_modular_law_of_one_substrate_and_one_product_is_reversible_michaelis_menten() -> None:
    k_cat, K_s, K_p, K_eq, E, S, P = numbers(9.0, 0.3, 0.7, 5.0, 0.2, 1.1, 2.2)
    v = modular((1,), (1,)).rate(torch.stack([k_cat, K_eq, K_s, K_p, E, S, P]))
    torch.testing.assert_close(
        v, reversible_michaelis_menten().rate(torch.stack([k_cat, K_s, K_p, K_eq, E, S, P]))
    )


def test_the_modular_law_is_the_published_equation() -> None:
    """A + 2 B ⇌ P + Q written out with forward and backward turnover."""
    k_cat, K_eq, Ka, Kb, Kp, Kq, E, a, b, p, q = 9.0, 0.8, 0.3, 0.6, 0.7, 1.9, 0.2, 1.1, 0.4, 2.2, 0.1
    k_r = k_cat * Kp * Kq / (K_eq * Ka * Kb**2)
    below = (1 + a / Ka) * (1 + b / Kb) ** 2 + (1 + p / Kp) * (1 + q / Kq) - 1
    expected = E * (k_cat * (a / Ka) * (b / Kb) ** 2 - k_r * (p / Kp) * (q / Kq)) / below
    v = modular((1, 2), (1, 1)).rate(numbers(k_cat, K_eq, Ka, Kb, Kp, Kq, E, a, b, p, q))
    assert float(v) == pytest.approx(expected, rel=1e-13)


def test_the_modular_flux_vanishes_at_equilibrium_for_any_stoichiometry() -> None:
    s, p2, K_eq = numbers(0.7, 1.3), 0.9, 2.0
    p1 = K_eq * s[0] * s[1] ** 2 / p2
    z = torch.stack([*numbers(9.0, K_eq, 0.3, 0.6, 0.7, 1.9, 0.2), *s, p1, numbers(p2)[0]])
    v = modular((1, 2), (1, 1)).rate(z)
    assert abs(float(v)) < 1e-15 * 9.0 * 0.2


def test_a_modular_reaction_read_backwards_has_the_opposite_flux() -> None:
    k_cat, K_eq, K_a, K_p, K_q, E, a, p, q = 9.0, 0.8, 0.3, 0.7, 1.9, 0.2, 1.1, 2.2, 0.1
    forward = modular((1,), (1, 1)).rate(numbers(k_cat, K_eq, K_a, K_p, K_q, E, a, p, q))
    k_r = k_cat * K_p * K_q / (K_eq * K_a)
    backward = modular((1, 1), (1,)).rate(numbers(k_r, 1 / K_eq, K_p, K_q, K_a, E, p, q, a))
    torch.testing.assert_close(forward, -backward)
