"""Hill functions and promoters: closed forms, limits, behaviour at zero, partition functions by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from multiscale.physics.energy import ln_weight
from multiscale.physics.enzyme import michaelis_menten
from multiscale.physics.regulation import hill, hill_repression, promoter
from multiscale.units import kT


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("x", [-1e-9, 0.0, 0.4, 3.0, 1e5])
def test_hill_with_exponent_one_is_michaelis_menten_with_all_derivatives(x: float) -> None:
    one, other = hill(), michaelis_menten(enzyme=False)
    z, same = numbers(5.0, 3.0, 1.0, x), [0, 1, 3]
    a = numbers(0.3, -0.7, 0.0, 1.1)
    torch.testing.assert_close(one.rate(z), other.rate(z[same]))
    torch.testing.assert_close(one.gradient(z)[same], other.gradient(z[same]))
    torch.testing.assert_close(one.curvature(z, a)[same], other.curvature(z[same], a[same]))


@pytest.mark.parametrize("n", [1.0, 1.5, 2.0, 4.0, 30.0])
def test_half_of_the_flux_at_K_and_activation_and_repression_share_it(n: float) -> None:
    assert float(hill().rate(numbers(5.0, 3.0, n, 3.0))) == pytest.approx(2.5)
    z = numbers(5.0, 3.0, n, 1.7)
    assert float(hill().rate(z) + hill_repression().rate(z)) == pytest.approx(5.0)


@pytest.mark.parametrize("n", [1.0, 2.0, 4.0, 30.0])
def test_steepness_at_K_is_a_quarter_of_the_exponent(n: float) -> None:
    """∂(v/k)/∂ln x = n/4 at x = K."""
    slope = hill().gradient(numbers(1.0, 3.0, n, 3.0))[3] * 3.0
    assert float(slope) == pytest.approx(n / 4)


def test_powers_beyond_the_range_of_numbers_saturate() -> None:
    """(10⁴)^200 is no float, the shares are 1 and 0."""
    for law, share in ((hill(), 1.0), (hill_repression(), 0.0)):
        z = numbers(5.0, 1e-2, 200.0, 1e2)
        assert float(law.rate(z)) == 5.0 * share
        assert torch.isfinite(law.gradient(z)).all() and torch.isfinite(law.curvature(z, z)).all()


def test_activation_is_odd_enough_to_return_from_below_zero() -> None:
    """Just below zero an activator has a small negative flux, not a positive one."""
    v = hill().rate(torch.stack([numbers(5.0, 3.0, n, -1e-3) for n in (1.0, 2.0, 3.0)]))
    assert (v < 0.0).all() and (v > -1e-2).all()


@pytest.mark.parametrize(
    ("n", "slope", "bend"), [(1.0, 5.0, -10.0), (1.5, 0.0, 0.0), (2.0, 0.0, 10.0), (3.0, 0.0, 0.0)]
)
def test_derivatives_at_zero_are_those_from_the_right(n: float, slope: float, bend: float) -> None:
    z, along_x = numbers(5.0, 1.0, n, 0.0), numbers(0.0, 0.0, 0.0, 1.0)
    assert float(hill().gradient(z)[3]) == slope
    assert float(hill().curvature(z, along_x)[3]) == bend


@pytest.mark.parametrize("n", [1.0, 1.5, 2.0, 3.0])
def test_the_flux_at_zero_does_not_depend_on_the_exponent(n: float) -> None:
    z = numbers(5.0, 2.0, n, 0.0)
    assert float(hill().rate(z)) == 0.0 == float(hill().gradient(z)[2])
    assert float(hill().curvature(z, numbers(0.0, 0.0, 1.0, 0.0))[2]) == 0.0


STATES = ((), (0,), (1,), (0, 1), (1, 1), (0, 1, 1))


def by_hand(ln_w: list[float], x: tuple[float, float], active: tuple[int, ...]) -> float:
    """Sum over states as written in the partition function."""
    weights = [
        math.exp(w) * math.prod(x[i] for i in state) for w, state in zip([0.0, *ln_w], STATES, strict=True)
    ]
    return sum(weights[s] for s in active) / sum(weights)


@pytest.mark.parametrize("x", [(0.0, 0.0), (0.3, 0.0), (0.3, 2.0), (1e3, 1e4)])
def test_occupancy_is_that_of_the_partition_function(x: tuple[float, float]) -> None:
    ln_w, active = [-1.0, 0.5, 2.0, 1.2, -0.3], (1, 3, 5)
    v = promoter(STATES, active).rate(numbers(7.0, *ln_w, *x))
    assert float(v) == pytest.approx(7.0 * by_hand(ln_w, x, active), rel=1e-14)


def test_independent_sites_are_occupied_independently() -> None:
    """Without cooperativity the probability of two bound sites is the product of two binding curves."""
    sites = tuple(itertools.chain.from_iterable(itertools.combinations((0, 1), r) for r in range(3)))
    Kd, x = numbers(0.5, 4.0), numbers(1.2, 0.7)
    ln_w = torch.stack([-Kd[0].log(), -Kd[1].log(), -Kd.log().sum()])
    v = promoter(sites, (3,)).rate(torch.cat([numbers(1.0), ln_w, x]))
    torch.testing.assert_close(v, (x / (Kd + x)).prod())


def test_fold_change_of_recruitment_and_repression_is_the_published_regulation_factor() -> None:
    """Weak promoter, Bintu 2005: (1 + a e^(−ε/kT))/(1 + a) by an activator, 1/(1 + r) by a repressor."""
    a, r, weak, recruits = 3.0, 8.0, 1e-9, math.log(20.0)
    recruited = promoter(((), (0,), (1,), (0, 1)), (1, 3))
    excluded = promoter(((), (0,), (1,)), (1,))
    polymerase = math.log(weak)
    basal = recruited.rate(numbers(1.0, polymerase, 0.0, polymerase + recruits, 1.0, 0.0))
    activated = recruited.rate(numbers(1.0, polymerase, 0.0, polymerase + recruits, 1.0, a))
    repressed = excluded.rate(numbers(1.0, polymerase, 0.0, 1.0, r))
    assert float(activated / basal) == pytest.approx((1 + 20 * a) / (1 + a), rel=1e-6)
    assert float(repressed / basal) == pytest.approx(1 / (1 + r), rel=1e-6)


def test_two_cooperative_copies_approach_a_hill_function() -> None:
    """States (), (0), (0, 0) with a vanishing single state: x²/(K² + x²)."""
    law, K = promoter(((), (0,), (0, 0)), (2,)), 3.0
    for x in (0.0, 1.0, 3.0, 50.0):
        v = law.rate(numbers(5.0, -60.0, -2 * math.log(K), x))
        assert float(v) == pytest.approx(float(hill().rate(numbers(5.0, K, 2.0, x))), rel=1e-12)


def test_weights_follow_from_standard_energies_of_the_bound_promoter() -> None:
    """A site of Kd = 0.02 µM is half occupied at 0.02 µM."""
    g = numbers(kT(310.15) * math.log(0.02e-6))
    w = ln_weight(g, numbers(2.0), numbers(0.0), 310.15)
    v = promoter(((), (0,)), (1,)).rate(torch.cat([numbers(1.0), w, numbers(0.02)]))
    assert float(v) == pytest.approx(0.5, rel=1e-12)


def test_very_strong_binding_does_not_overflow() -> None:
    law = promoter(((), (0,), (0, 0)), (1,))
    z = numbers(1.0, 2000.0, 2001.0, 0.5)
    assert float(law.rate(z)) == pytest.approx(1 / (1 + math.e * 0.5))
    assert torch.isfinite(law.gradient(z)).all()


@pytest.mark.parametrize(("states", "active"), [((), ()), (((0,),), (0,)), (((), (0,)), (2,))])
def test_states_that_do_not_begin_empty_are_refused(states, active) -> None:
    with pytest.raises(ValueError, match="`states` must begin with the empty state"):
        promoter(states, active)
