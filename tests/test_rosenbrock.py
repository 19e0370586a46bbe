"""One step of the Rosenbrock method: order, dense output, exact derivatives."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from kinetic_systems import FLOAT, mass_action_system, random_network, vector

from multiscale.solver.rosenbrock import RODAS5P, DenseFactors, Stages, combine, interpolate, step
from multiscale.solver.step_gradient import step_adjoint, step_tangent
from multiscale.solver.system import Point

# x' = −k0 x y + k1 t², y' = k2 x − k3 y: nonlinear and not autonomous.
SYSTEM = mass_action_system(2, [((0, 1), {0: -1}), ((-1, -1), {0: 1}), ((0,), {1: 1}), ((1,), {1: -1})])
P = vector(2.0, 0.7, 1.5, 0.4)[None]


def integrate(t: float, x: torch.Tensor, end: float, steps: int) -> torch.Tensor:
    h = vector((end - t) / steps)
    for i in range(steps):
        at = Point(t + i * h, x, P)
        x = step(RODAS5P, SYSTEM, DenseFactors.of(SYSTEM.pattern, SYSTEM.size), at, h)[0].x
    return x


def first_step(start: torch.Tensor, h: float) -> Stages:
    eliminate = DenseFactors.of(SYSTEM.pattern, SYSTEM.size)
    return step(RODAS5P, SYSTEM, eliminate, Point(vector(0.0), start, P), vector(h))[0]


def test_solution_converges_with_order_five():
    start = vector(1.0, 0.5)[None]
    exact = integrate(0.0, start, 2.0, 300)
    errors = [float((integrate(0.0, start, 2.0, n) - exact).abs().max()) for n in (16, 32, 64)]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert min(orders) > 4.8
    assert errors[-1] < 1e-9


def test_dense_output_converges_with_order_four():
    start, errors = vector(1.0, 0.5)[None], []
    for h in (0.1, 0.05, 0.025):
        stages = first_step(start, h)
        inside = interpolate(RODAS5P, start, stages.x, stages.u, vector(0.4))
        errors.append(float((inside - integrate(0.0, start, 0.4 * h, 32)).abs().max()))
    # The error of one step is of one order more than what accumulates.
    assert min(math.log2(a / b) for a, b in pairwise(errors)) > 4.5


def test_error_estimate_is_one_order_less_than_the_solution():
    start, errors = vector(1.0, 0.5)[None], []
    for h in (0.2, 0.1, 0.05):
        stages = first_step(start, h)
        errors.append(float(stages.error.abs().max()))
    assert min(math.log2(a / b) for a, b in pairwise(errors)) > 4.5


def test_coefficients_are_consistent():
    ones = torch.ones(8, 1, 1, dtype=FLOAT)
    # On x' = 1 all stages are u_i with Σ over the stages x(h) = h, and each stage sees the right time.
    u: list[torch.Tensor] = []
    for i in range(8):
        u.append(RODAS5P.gamma * (1 + combine(RODAS5P.c[i], u)) * ones[0])
        inner = combine(RODAS5P.a[i], u[:i])
        assert float(inner if i else 0.0) == pytest.approx(RODAS5P.alpha[i], abs=1e-13)
    assert float(combine(RODAS5P.m, u)) == pytest.approx(1.0, abs=1e-13)


def test_stiff_decay_vanishes_in_one_step():
    decay = mass_action_system(1, [((0,), {0: -1})])
    at = Point(vector(0.0), vector(1.0)[None], vector(1e9)[None])
    stages, _ = step(RODAS5P, decay, DenseFactors.of(decay.pattern, decay.size), at, vector(1.0))
    assert abs(float(stages.x)) < 1e-7  # L-stable


@pytest.mark.parametrize("seed", range(3))
def test_adjoint_and_tangent_of_a_step_equal_autograd(seed):
    case = random_network(seed)
    g = torch.Generator().manual_seed(seed)
    x, p = case.x0.repeat(3, 1), case.p.repeat(3, 1)
    t, h = torch.rand(3, generator=g, dtype=FLOAT), 0.05 * torch.rand(3, generator=g, dtype=FLOAT) + 0.01
    leaves = [part.clone().requires_grad_() for part in (t, x, p, h)]
    eliminate = DenseFactors.of(case.system.pattern, case.system.size)
    stages, _ = step(RODAS5P, case.system, eliminate, Point(*leaves[:3]), leaves[3])
    new, inner = (torch.randn(part.shape, generator=g, dtype=FLOAT) for part in (stages.x, stages.u))
    expected = torch.autograd.grad((stages.x * new).sum() + (stages.u * inner).sum(), leaves)
    with torch.no_grad():
        at = Point(t, x, p)
        stages, factors = step(RODAS5P, case.system, eliminate, at, h)
        found = step_adjoint(RODAS5P, case.system, factors, at, h, stages.u, new, inner)
        for value, wanted in zip((*found.at, found.h), expected, strict=True):
            torch.testing.assert_close(value, wanted, rtol=1e-11, atol=1e-12 * float(wanted.abs().max()))
        moved = [torch.randn(part.shape, generator=g, dtype=FLOAT) for part in leaves]
        dx, du = step_tangent(RODAS5P, case.system, factors, at, h, stages.u, Point(*moved[:3]), moved[3])
    forward = float((dx * new).sum() + (du * inner).sum())
    backward = float(sum((a * b).sum() for a, b in zip(moved, expected, strict=True)))
    assert forward == pytest.approx(backward, rel=1e-10)
