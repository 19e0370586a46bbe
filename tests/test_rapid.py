"""Fast binding inside slow kinetics: derivatives against finite differences, the limit of full kinetics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from multiscale.graph.moieties import conserved_moieties
from multiscale.passing.reactions import Reactions
from multiscale.physics.mass_action import mass_action
from multiscale.solver.rapid import RapidEquilibrium, weights_of_constants
from multiscale.solver.status import Status
from multiscale.solver.steady import steady_state
from multiscale.solver.system import Point, dense
from multiscale.solver.time_course import time_course

# E, S, C, P; fast E + S ⇌ C; slow C → E + P (k1), P → S (k2)
FAST = np.array([[-1], [-1], [1], [0]])
ENZYME = tuple(map(tuple, conserved_moieties(FAST).tolist()))  # E + C, S + C, P
SLOW = Reactions.build(
    4,
    2,
    [
        (mass_action(1), [5, 2], {2: -1.0, 0: 1.0, 3: 1.0}),
        (mass_action(1), [6, 3], {3: -1.0, 1: 1.0}),
    ],
)
# A, B, AB, A2, A2B; a bimolecular slow reaction AB + B → A + 2 B, and loss of A2B
TWICE = ((1, 0, 1, 2, 2), (0, 1, 1, 0, 1))
DIMER = Reactions.build(
    5, 2, [(mass_action(2), [6, 2, 1], {2: -1.0, 0: 1.0, 1: 1.0}), (mass_action(1), [7, 4], {4: -1.0})]
)
SYSTEMS = {"enzyme": (SLOW, ENZYME), "dimer": (DIMER, TWICE)}


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def rapid(name: str) -> RapidEquilibrium:
    slow, formula = SYSTEMS[name]
    return RapidEquilibrium.build(slow, tensor(formula))


def points(name: str, count: int, seed: int = 0, batch: int = 3) -> list[Point]:
    """Totals around 1, then directions."""
    system, generator = rapid(name), np.random.default_rng(seed)
    sizes = ((batch,), (batch, system.size), (batch, system.parameters))
    values = [[tensor(generator.normal(0, 1, size).tolist()) for size in sizes] for _ in range(count + 1)]
    (t, x, p), *directions = values
    return [Point(t, x.exp(), p), *(Point(*direction) for direction in directions)]


def moved(at: Point, along: Point, step: float) -> Point:
    return Point(*(a + step * b for a, b in zip(at, along, strict=True)))


def dot(a: Point, b: Point) -> Tensor:
    return a.t * b.t + (a.x * b.x).sum(-1) + (a.p * b.p).sum(-1)


def emptied(at: Point, totals: float = 0.0) -> Point:
    """One moiety of every system at zero, another one in each."""
    x = at.x.clone()
    x[torch.arange(len(x)), torch.arange(len(x)) % x.shape[1]] = totals
    return at._replace(x=x)


CASES = pytest.mark.parametrize("totals", [None, 0.0, -1e-6], ids=["positive", "zero", "negative"])
NAMES = pytest.mark.parametrize("name", ["enzyme", "dimer"])


@NAMES
@CASES
def test_directional_derivatives_are_those_of_central_differences(name: str, totals: float | None) -> None:
    system, (at, a, b) = rapid(name), points(name, 2)
    at = at if totals is None else emptied(at, totals)
    step = 1e-5
    ahead, behind = moved(at, a, step), moved(at, a, -step)
    first = (system.rate(ahead) - system.rate(behind)) / (2 * step)
    assert torch.allclose(system.push(at, a), first, rtol=1e-7, atol=1e-8)
    second = (system.push(ahead, b) - system.push(behind, b)) / (2 * step)
    assert torch.allclose(system.push2(at, a, b), second, rtol=1e-6, atol=1e-7)


@NAMES
@CASES
def test_reverse_directions_are_the_transposes(name: str, totals: float | None) -> None:
    system, (at, a, b, c) = rapid(name), points(name, 3)
    at = at if totals is None else emptied(at, totals)
    u = c.x
    pushed = (u * system.push(at, a)).sum(-1)
    assert torch.allclose(dot(system.pull(at, u), a), pushed, rtol=1e-12, atol=1e-13)
    twice = (u * system.push2(at, a, b)).sum(-1)
    assert torch.allclose(dot(system.pull2(at, u, a), b), twice, rtol=1e-11, atol=1e-12)
    assert torch.allclose(dot(system.pull2(at, u, b), a), twice, rtol=1e-11, atol=1e-12)


@NAMES
@CASES
def test_the_jacobian_is_the_derivative_along_each_total(name: str, totals: float | None) -> None:
    system, (at,) = rapid(name), points(name, 0)
    at = at if totals is None else emptied(at, totals)
    jacobian = dense(system.pattern, system.jacobian(at), system.size)
    for i in range(system.size):
        along = Point(torch.zeros_like(at.t), torch.zeros_like(at.x), torch.zeros_like(at.p))
        along.x[:, i] = 1.0
        assert torch.allclose(jacobian[..., i], system.push(at, along), rtol=1e-12, atol=1e-13)


@NAMES
def test_autograd_agrees_with_the_closed_derivatives(name: str) -> None:
    system, (at, a) = rapid(name), points(name, 1)
    x, p = at.x.requires_grad_(), at.p.requires_grad_()
    gradient = torch.autograd.grad((system.rate(at) * a.x).sum(), (x, p))
    pulled = system.pull(Point(at.t, x.detach(), p.detach()), a.x)
    assert torch.allclose(gradient[0], pulled.x, rtol=1e-12) and torch.allclose(
        gradient[1], pulled.p, rtol=1e-12
    )
    assert torch.autograd.gradcheck(system.species, (x, p))
    assert torch.autograd.gradgradcheck(system.species, (x, p), atol=1e-6)


def test_autograd_passes_totals_of_zero() -> None:
    system, (at, a) = rapid("dimer"), points("dimer", 1)
    at = emptied(at)
    x, p = at.x.requires_grad_(), at.p.requires_grad_()
    gradient = torch.autograd.grad((system.rate(at) * a.x).sum(), (x, p), create_graph=True)
    pulled = system.pull(Point(at.t, x.detach(), p.detach()), a.x)
    assert torch.allclose(gradient[0], pulled.x, rtol=1e-12)
    second = torch.autograd.grad((gradient[0] * a.x).sum(), (x, p))
    assert torch.allclose(second[1], system.pull2(at, a.x, a._replace(p=0 * a.p, t=0 * a.t)).p, rtol=1e-11)


def test_directions_may_be_a_leading_axis() -> None:
    system, (at, a, b) = rapid("dimer"), points("dimer", 2)
    both = Point(*(torch.stack(parts) for parts in zip(a, b, strict=True)))
    assert torch.allclose(system.push(at, both)[1], system.push(at, b), rtol=1e-14)
    assert torch.allclose(system.pull(at, both.x).p[1], system.pull(at, b.x).p, rtol=1e-13)
    assert torch.allclose(system.push2(at, both, both)[0], system.push2(at, a, a), rtol=1e-13)
    assert torch.allclose(system.pull2(at, both.x, both).x[1], system.pull2(at, b.x, b).x, rtol=1e-12)


def test_bound_enzyme_is_that_of_the_quadratic_and_detailed_balance_holds() -> None:
    system, Kd = rapid("enzyme"), 0.5
    R = weights_of_constants(tensor(FAST.tolist()))
    ln_weight = R @ tensor([-np.log(Kd)])
    x = system.species(tensor([[1.0, 2.0, 7.0]]), torch.cat([tensor([1.0, 1.0]), ln_weight]).unsqueeze(0))[0]
    total = 1.0 + 2.0 + Kd
    assert float(x[2]) == pytest.approx((total - np.sqrt(total**2 - 8)) / 2, rel=1e-13)
    assert float(x[0] * x[1] / x[2]) == pytest.approx(Kd, rel=1e-13)
    assert float(x[3]) == pytest.approx(7.0)


def full(binding: float, k: list[float], Kd: float) -> tuple[Reactions, Tensor]:
    """The same enzyme with binding at a finite rate."""
    rows = [
        (mass_action(2), [7, 0, 1], {0: -1.0, 1: -1.0, 2: 1.0}),
        (mass_action(1), [8, 2], {0: 1.0, 1: 1.0, 2: -1.0}),
        (mass_action(1), [5, 2], {2: -1.0, 0: 1.0, 3: 1.0}),
        (mass_action(1), [6, 3], {3: -1.0, 1: 1.0}),
    ]
    return Reactions.build(4, 4, rows), tensor([[*k, binding, binding * Kd]])


def test_full_kinetics_tends_to_rapid_equilibrium_as_binding_gets_faster() -> None:
    Kd, k = 0.5, [2.0, 0.3]
    system, times = rapid("enzyme"), tensor([0.3, 1.0])
    p = tensor([[*k, 0.0, 0.0, -np.log(Kd), 0.0]])
    start = system.species(tensor([[1.0, 2.0, 0.0]]), p)  # no product: a total of zero
    course = time_course(system, system.totals(start), p, times, rtol=1e-8, atol=1e-11)
    assert course.solved.all()
    limit, L = system.species(course.x, p.unsqueeze(1)), tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]])
    rest = steady_state(system, system.totals(start), p, moieties=tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]))
    assert rest.status.tolist() == [Status.CONVERGED]
    errors, steady = [], []
    for binding in (1e4, 1e5):
        kinetics, constants = full(binding, k, Kd)
        exact = time_course(kinetics, start, constants, times, rtol=1e-8, atol=1e-11).x
        errors.append(float((exact - limit).abs().max()))
        end = steady_state(kinetics, start, constants, moieties=L)
        steady.append(float((end.x - system.species(rest.x, p)).abs().max()))
    assert errors[1] / errors[0] == pytest.approx(0.1, rel=0.02)
    assert steady[1] / steady[0] == pytest.approx(0.1, rel=0.02)


def test_a_steady_state_behind_fast_binding_has_exact_derivatives() -> None:
    system, L = rapid("enzyme"), tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    totals, p = (
        tensor([[1.0, 2.0]]).requires_grad_(),
        tensor([[2.0, 0.3, 0.0, 0.1, 0.7, 0.0]]).requires_grad_(),
    )

    def readout(p: Tensor, totals: Tensor) -> Tensor:
        rest = steady_state(system, torch.ones(1, 3).double(), p, moieties=L, totals=totals)
        return system.species(rest.x, p)

    assert torch.autograd.gradcheck(readout, (p, totals), fast_mode=True)
    assert torch.autograd.gradgradcheck(readout, (p, totals), atol=1e-6, fast_mode=True)


def test_gradients_of_time_courses_pass_through_the_equilibrium() -> None:
    system = rapid("enzyme")
    p, totals = tensor([[2.0, 0.3, 0.0, 0.1, 0.7, 0.0]]).requires_grad_(), tensor([[1.0, 2.0, 0.0]])

    def end(p: Tensor) -> Tensor:
        return time_course(system, totals, p, tensor([1.0]), rtol=1e-7, atol=1e-9).x

    assert torch.autograd.gradcheck(end, (p,), eps=1e-3, rtol=1e-4, fast_mode=True)


def test_totals_that_nothing_can_hold_make_the_rate_not_finite() -> None:
    N = np.array([[-1], [-1], [1], [1]])  # A + B ⇌ C + D: no total has a species of its own
    slow = Reactions.build(4, 1, [(mass_action(1), [5, 2], {2: -1.0})])
    system = RapidEquilibrium.build(slow, tensor(conserved_moieties(N).tolist()))
    x = tensor([[1.0, 2.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]])
    at = Point(torch.zeros(3).double(), torch.zeros(3, 3).double(), torch.zeros(3, 5).double())
    at.x[:2] = system.totals(x)
    at.x[2] = at.x[0] * tensor([9.0, 1.0, 1.0])
    finite = system.rate(at).isfinite().all(-1)
    assert finite.tolist() == [True, True, False]
    assert bool(system.jacobian(at)[:2].isfinite().all())


def test_wrong_formulas_are_named() -> None:
    with pytest.raises(ValueError, match="integers ≥ 0 and every species"):
        RapidEquilibrium.build(SLOW, tensor([[1.0, 0.0, 1.0, 0.0]]))
    with pytest.raises(ValueError, match="independent rows"):
        RapidEquilibrium.build(SLOW, tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]]))
    with pytest.raises(ValueError, match="independent columns"):
        weights_of_constants(tensor([[1.0, 2.0], [-1.0, -2.0]]))
