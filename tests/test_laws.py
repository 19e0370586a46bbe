"""What holds for every rate law: exact derivatives, change of units, finiteness below zero, leading axes."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from multiscale.physics.law import Law
from multiscale.physics.laws import LAWS
from multiscale.physics.multiplier import bounded_multiplier, scaled

TURNOVER, CONCENTRATION, NUMBER, RATE = (0, -1), (1, 0), (0, 0), (1, -1)  # powers of µM and s
FLUX = torch.tensor(RATE)
LAC = ((), (0,), (1,), (1, 1), (0, 1))  # states of a promoter


class Example(NamedTuple):
    """A law and the powers of µM and s of its slots; `ln` are the slots that hold a logarithm."""

    law: Law
    units: list[tuple[int, int]]
    ln: tuple[int, ...] = ()


def examples(
    name: str, *arguments: object, units: list[tuple[int, int]], ln: tuple[int, ...] = ()
) -> Example:
    """A law of the table for given arguments."""
    return Example(LAWS[name](*arguments), units, ln)


C, INHIBITED = CONCENTRATION, [TURNOVER, CONCENTRATION, CONCENTRATION]
EXAMPLES = [
    examples("mass_action", 0, units=[RATE]),
    examples("mass_action", 1, units=[TURNOVER, C]),
    examples("mass_action", 3, units=[(-2, -1), C, C, C]),
    examples("reversible_mass_action", 2, 1, units=[(-1, -1), TURNOVER, C, C, C]),
    examples("transport", units=[TURNOVER, NUMBER, C, C]),
    examples("michaelis_menten", units=[TURNOVER, C, C, C]),
    examples("michaelis_menten", False, units=[RATE, C, C]),
    examples("reversible_michaelis_menten", units=[TURNOVER, C, C, NUMBER, C, C, C]),
    examples("competitive_inhibition", units=[*INHIBITED, C, C, C]),
    examples("noncompetitive_inhibition", units=[*INHIBITED, NUMBER, C, C, C]),
    examples("uncompetitive_inhibition", units=[*INHIBITED, C, C, C]),
    examples("modular", (1,), (1,), units=[TURNOVER, NUMBER, C, C, C, C, C]),
    examples("modular", (1, 2), (1,), units=[TURNOVER, (-2, 0), *[C] * 7]),
    examples("hill", units=[RATE, C, NUMBER, C]),
    examples("hill_repression", units=[RATE, C, NUMBER, C]),
    examples(
        "promoter", LAC, (1, 4), units=[RATE, (-1, 0), (-1, 0), (-2, 0), (-2, 0), C, C], ln=(1, 2, 3, 4)
    ),
]
EXAMPLES += [
    Example(scaled(example.law, 1.5), [NUMBER, *example.units], tuple(1 + i for i in example.ln))
    for example in EXAMPLES[2::7]
]
every_law = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.law.name}{len(e.law.slots)}")


def points(example: Example, *shape: int, seed: int = 0) -> Tensor:
    """Positive quantities between 0.3 and 3.3."""
    generator = torch.Generator().manual_seed(seed)
    size = (*shape, len(example.law.slots))
    return 0.3 + 3.0 * torch.rand(size, generator=generator, dtype=torch.float64)


def machine(f: Tensor, z: Tensor) -> Tensor:
    """Automatic derivative of Σf; 0·z keeps it defined where f is constant."""
    return torch.autograd.grad(f.sum() + (0.0 * z).sum(), z)[0]


def test_every_law_of_the_table_has_an_example() -> None:
    assert {example.law.name for example in EXAMPLES} == set(LAWS)


@pytest.mark.parametrize("name", LAWS)
def test_every_law_says_its_slots_and_its_source(name: str) -> None:
    text = LAWS[name].__doc__ or ""
    assert "Slots" in text and "ource:" in text and "flux" in text


@every_law
def test_the_law_has_one_unit_per_slot_and_is_made_once(example: Example) -> None:
    assert len(example.law.slots) == len(example.units) == len(set(example.law.slots))
    assert LAWS["modular"]((1, 2), (1,)) is LAWS["modular"]((1, 2), (1,))


@every_law
def test_gradient_is_the_derivative_of_the_rate(example: Example) -> None:
    z = points(example, 5).requires_grad_()
    expected = machine(example.law.rate(z), z)
    torch.testing.assert_close(example.law.gradient(z), expected, rtol=1e-11, atol=1e-13)


@every_law
def test_curvature_is_the_derivative_of_the_gradient_along_a_direction(example: Example) -> None:
    z, a = points(example, 5).requires_grad_(), points(example, 5, seed=1) - 1.8
    expected = machine(example.law.gradient(z) * a, z)
    torch.testing.assert_close(example.law.curvature(z, a), expected, rtol=1e-10, atol=1e-12)


@every_law
def test_automatic_derivatives_of_the_rate_agree_with_finite_differences(example: Example) -> None:
    z = points(example, 2).requires_grad_()
    assert torch.autograd.gradcheck(example.law.rate, (z,))
    assert torch.autograd.gradgradcheck(example.law.rate, (z,))


@every_law
def test_curvature_is_symmetric(example: Example) -> None:
    z, a, b = (points(example, seed=seed) for seed in (0, 1, 2))
    one, other = example.law.curvature(z, a) @ b, example.law.curvature(z, b) @ a
    torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@every_law
def test_other_units_of_concentration_and_time_change_the_flux_as_a_rate(example: Example) -> None:
    z, ln_units = points(example, 4), torch.tensor([math.log(1e3), math.log(60.0)], dtype=torch.float64)
    ln_factor = torch.tensor(example.units, dtype=torch.float64) @ ln_units
    other = z * ln_factor.exp()
    other[..., list(example.ln)] = (z + ln_factor)[..., list(example.ln)]
    expected = example.law.rate(z) * (FLUX.double() @ ln_units).exp()
    torch.testing.assert_close(example.law.rate(other), expected, rtol=1e-11, atol=0.0)


@every_law
def test_directions_and_systems_may_be_leading_axes(example: Example) -> None:
    z, a = points(example, 2, 3), points(example, 4, 1, 1, seed=1)
    assert example.law.rate(z).shape == (2, 3)
    assert example.law.gradient(z).shape == z.shape
    all_at_once = example.law.curvature(z, a)
    assert all_at_once.shape == (4, *z.shape)
    torch.testing.assert_close(all_at_once[3, 1, 2], example.law.curvature(z[1, 2], a[3, 0, 0]))


@every_law
@pytest.mark.parametrize("value", [0.0, -1e-8])
def test_the_law_is_finite_at_and_slightly_below_zero_concentrations(example: Example, value: float) -> None:
    """All concentrations at once, and those that lie just above zero differ by no more than the step."""
    z = points(example)
    moving = [i for i, slot in enumerate(example.law.slots) if slot[0] in "xyspSPI"]
    z[moving], above = value, z.clone()
    above[moving] = 1e-8
    for of in (
        example.law.rate,
        example.law.gradient,
        lambda u: example.law.curvature(u, torch.ones_like(u)),
    ):
        assert torch.isfinite(of(z)).all()
    torch.testing.assert_close(example.law.rate(z), example.law.rate(above), rtol=0.0, atol=1e-5)


@every_law
def test_solvers_may_differentiate_the_law_by_machine_at_zero_concentrations(example: Example) -> None:
    z = points(example)
    z[[i for i, slot in enumerate(example.law.slots) if slot[0] in "xyspSPI"]] = 0.0
    z.requires_grad_()
    slope, ones = example.law.gradient(z), torch.ones_like(z)
    torch.testing.assert_close(machine(example.law.rate(z), z), slope.detach(), rtol=1e-11, atol=1e-13)
    assert torch.isfinite(machine(slope, z)).all()
    assert torch.isfinite(machine(example.law.curvature(z, ones), z)).all()


def test_a_scaled_law_keeps_equilibrium_and_sign_and_stays_within_its_bound() -> None:
    law = LAWS["reversible_michaelis_menten"]()
    z = torch.tensor([10.0, 2.0, 4.0, 3.0, 0.5, 2.0, 6.0], dtype=torch.float64)
    h = torch.tensor([-40.0, -1.0, 0.0, 2.0, 40.0], dtype=torch.float64)[:, None]
    corrected = scaled(law, math.log(3.0))
    assert (corrected.rate(torch.cat([h, z.expand(5, -1)], -1)) == 0.0).all()
    z[-1] = 9.0
    ratio = corrected.rate(torch.cat([h, z.expand(5, -1)], -1)) / law.rate(z)
    torch.testing.assert_close(ratio, bounded_multiplier(h[:, 0], math.log(3.0)))
    torch.testing.assert_close(ratio[[0, 2, 4]], torch.tensor([1 / 3, 1.0, 3.0], dtype=torch.float64))
