"""Steady states against closed forms, finite differences and long integration; what has none says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from multiscale.graph.moieties import conserved_moieties
from multiscale.passing.reactions import Reactions
from multiscale.physics.law import Law
from multiscale.physics.mass_action import mass_action
from multiscale.solver.status import Status
from multiscale.solver.steady import SteadyState, steady_state
from multiscale.solver.system import Point

Edges = Sequence[tuple[Sequence[int], Sequence[int]]]  # per reaction its reactants and products


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def network(size: int, edges: Edges) -> Reactions:
    """Irreversible mass action; the constant of reaction i is column i of p."""
    rows = []
    for i, (reactants, products) in enumerate(edges):
        change = {s: float(products.count(s) - reactants.count(s)) for s in {*reactants, *products}}
        rows.append((mass_action(len(reactants)), [size + 1 + i, *reactants], change))
    return Reactions.build(size, len(edges), rows)


def moieties(size: int, edges: Edges) -> Tensor:
    N = np.zeros((size, len(edges)), dtype=np.int64)
    for i, (reactants, products) in enumerate(edges):
        np.add.at(N[:, i], list(products), 1)
        np.subtract.at(N[:, i], list(reactants), 1)
    return tensor(conserved_moieties(N).tolist()).reshape(-1, size)


def found(rest: SteadyState) -> list[Status]:
    return [Status(number) for number in rest.status.tolist()]


ISOMERS: Edges = [([0], [1]), ([1], [0])]  # A ⇌ B
# W + E1 ⇌ C1 → W* + E1 and W* + E2 ⇌ C2 → W + E2; W, W*, E1, E2, C1, C2
CYCLE: Edges = [([0, 2], [4]), ([4], [0, 2]), ([4], [1, 2]), ([1, 3], [5]), ([5], [1, 3]), ([5], [0, 3])]
# 2 X → 3 X (k1), 3 X → 2 X (k2), → X (k3), X → (k4); 1/k2 of these: x³ − k1 x² + k4 x − k3
SWITCH: Edges = [([0, 0], [0, 0, 0]), ([0, 0, 0], [0, 0]), ([], [0]), ([0], [])]
SWITCH_K = [6.0, 1.0, 6.0, 11.0]  # −(x − 1)(x − 2)(x − 3)
# Brusselator: → X, 2 X + Y → 3 X, X → Y, X →
BRUSSELATOR: Edges = [([], [0]), ([0, 0, 1], [0, 0, 0]), ([0], [1]), ([0], [])]


@pytest.mark.parametrize("total", [0.0, 1e-9, 4.0, 1e6])
def test_isomers_share_their_total_by_their_rates(total: float) -> None:
    k = tensor([[1.0, 3.0]])
    rest = steady_state(network(2, ISOMERS), tensor([[total, 0.0]]), k, moieties=moieties(2, ISOMERS))
    assert torch.allclose(rest.x, total * tensor([[0.75, 0.25]]), rtol=1e-14, atol=0)
    assert rest.status.tolist() == [Status.CONVERGED]
    assert rest.eigenvalue.tolist() == pytest.approx([-4.0], rel=1e-13)


def goldbeter_koshland(u: float, v: float, J: float, K: float) -> float:
    """Modified fraction; Goldbeter and Koshland, PNAS 78:6840, 1981, doi:10.1073/pnas.78.11.6840.

    In the form of J. J. Tyson, K. C. Chen and B. Novak, Curr. Opin. Cell Biol. 15:221, 2003, which has no
    difference of like numbers.
    """
    B = v - u + v * J + u * K
    return 2 * u * K / (B + np.sqrt(B * B - 4 * (v - u) * u * K))


@pytest.mark.parametrize(("kinase", "phosphatase"), [(0.5, 1.0), (1.0, 1.0), (1.3, 1.0)])
def test_a_phosphorylation_cycle_is_that_of_goldbeter_and_koshland(kinase: float, phosphatase: float) -> None:
    k = [10.0, 1.0, 2.0, 8.0, 3.0, 2.0]
    K1, K2 = (k[1] + k[2]) / k[0], (k[4] + k[5]) / k[3]
    x0 = tensor([[20.0, 0.0, kinase, phosphatase, 0.0, 0.0]])
    rest = steady_state(network(6, CYCLE), x0, tensor([k]), moieties=moieties(6, CYCLE))
    free = float(rest.x[0, :2].sum())  # exact with what is not bound; the limit takes it for the total
    expected = goldbeter_koshland(k[2] * kinase, k[5] * phosphatase, K1 / free, K2 / free)
    assert float(rest.x[0, 1]) / free == pytest.approx(expected, rel=1e-12)


def test_few_enzymes_bind_nothing_and_leave_the_formula_for_the_total() -> None:
    k, enzymes = [10.0, 1.0, 2.0, 8.0, 3.0, 2.0], torch.logspace(-2, -6, 3, dtype=torch.float64)
    x0 = torch.zeros(3, 6, dtype=torch.float64)
    x0[:, 0], x0[:, 2], x0[:, 3] = 20.0, 0.8 * enzymes, enzymes
    rest = steady_state(network(6, CYCLE), x0, tensor(k), moieties=moieties(6, CYCLE))
    limit = goldbeter_koshland(0.8 * k[2], k[5], 0.3 / 20, 0.625 / 20)
    error = (rest.x[:, 1] / 20 / limit - 1).abs()
    assert (error[1:] / error[:-1] - 0.01).abs().max() < 1e-3  # proportional to the enzymes


def test_totals_replace_those_of_the_start() -> None:
    system, L = network(6, CYCLE), moieties(6, CYCLE)
    k, x0 = tensor([10.0, 1.0, 2.0, 8.0, 3.0, 2.0]), tensor([[20.0, 0.0, 1.0, 1.0, 0.0, 0.0]])
    other = tensor([[3.0, 1.0, 0.2, 0.4, 0.1, 0.3]])
    wanted = steady_state(system, other, k, moieties=L)
    for start in (x0, torch.zeros_like(x0), torch.ones_like(x0) * 100):
        rest = steady_state(system, start, k, moieties=L, totals=other @ L.T)
        assert torch.allclose(rest.x, wanted.x, rtol=1e-12, atol=0)


def test_derivatives_by_constants_and_totals_are_exact_to_second_order() -> None:
    system, L = network(6, CYCLE), moieties(6, CYCLE)
    k = tensor([[10.0, 1.0, 2.0, 8.0, 3.0, 2.0]]).requires_grad_()
    totals = (tensor([[3.0, 1.0, 0.2, 0.4, 0.1, 0.3]]) @ L.T).requires_grad_()
    x0 = torch.zeros(1, 6, dtype=torch.float64)

    def rest(k: Tensor, totals: Tensor) -> Tensor:
        return steady_state(system, x0, k, moieties=L, totals=totals).x

    assert torch.autograd.gradcheck(rest, (k, totals), eps=1e-5, rtol=1e-6)
    assert torch.autograd.gradgradcheck(rest, (k, totals), eps=1e-5, rtol=1e-5, atol=1e-6)


def test_the_third_derivative_is_that_of_the_closed_form() -> None:
    k, rest = tensor(3.0).requires_grad_(), []
    p = torch.stack([tensor(1.0), k]).unsqueeze(0)
    x = steady_state(network(2, ISOMERS), tensor([[4.0, 0.0]]), p, moieties=tensor([[1.0, 1.0]])).x[0, 1]
    for _ in range(3):
        (x,) = torch.autograd.grad(x, k, create_graph=True)
        rest.append(float(x.detach()))
    assert rest == pytest.approx([-4 / 4**2, 8 / 4**3, -24 / 4**4], rel=1e-12)  # of 4/(1 + k)


def test_a_clamped_input_keeps_its_value_and_passes_a_gradient() -> None:
    system = network(2, [([0], [0, 1]), ([1], [])])  # input 0 makes 1, which decays: x1 = k1 x0 / k2
    x0 = tensor([[2.0, 0.0]]).requires_grad_()
    rest = steady_state(system, x0, tensor([[3.0, 4.0]]))
    assert rest.x.tolist() == [[2.0, 1.5]]
    (gradient,) = torch.autograd.grad(rest.x[0, 1], x0)
    assert gradient.tolist() == [[0.75, 0.0]]


def test_it_is_where_a_long_time_course_ends() -> None:
    system, L = network(6, CYCLE), moieties(6, CYCLE)
    k, x0 = tensor([[10.0, 1.0, 2.0, 8.0, 3.0, 2.0]]), tensor([[20.0, 0.0, 1.0, 0.9, 0.0, 0.0]])
    rest = steady_state(system, x0, k, moieties=L)

    def rate(t: float, x: np.ndarray) -> np.ndarray:
        return system.rate(Point(tensor([t]), tensor([x.tolist()]), k))[0].numpy()

    course = solve_ivp(rate, (0, 1000), x0[0].numpy(), method="LSODA", rtol=1e-10, atol=1e-12)
    assert rest.x[0].numpy() == pytest.approx(course.y[:, -1], rel=1e-8)


def test_both_states_of_a_switch_are_reached_and_the_one_between_is_unstable() -> None:
    x0 = tensor([[0.0], [1.9], [1.999], [2.0], [2.001], [2.1], [50.0]])
    k = tensor([SWITCH_K]).expand(7, 4).clone().requires_grad_()
    rest = steady_state(network(1, SWITCH), x0, k)
    expected = tensor([1, 1, 1, 2, 3, 3, 3])
    assert torch.allclose(rest.x[:, 0], expected, rtol=1e-13, atol=0)
    assert (rest.status == Status.UNSTABLE).tolist() == [False, False, False, True, False, False, False]
    assert rest.eigenvalue.tolist() == pytest.approx([-2, -2, -2, 1, -2, -2, -2], rel=1e-12)
    (gradient,) = torch.autograd.grad(rest.x.sum(), k)  # dx/dk3 = 1 / −f'(x), on the branch that was reached
    assert torch.allclose(gradient[:, 2], -1 / rest.eigenvalue, rtol=1e-12)


def test_a_fold_has_no_derivative() -> None:
    k = tensor([4.0, 1.0, 2.0, 5.0])  # −(x − 1)² (x − 2): from below the two solutions at 1 meet
    rest = steady_state(network(1, SWITCH), tensor([[0.0], [5.0]]), k, fallback=False)
    assert found(rest)[0] in (Status.SINGULAR, Status.NO_STEADY_STATE)
    assert found(rest)[1] is Status.CONVERGED
    assert float(rest.x[1]) == pytest.approx(2.0, rel=1e-12)


def test_synthesis_without_loss_has_no_steady_state_and_no_gradient() -> None:
    for edges, size in (([([], [0])], 1), ([([], [0]), ([0], [1])], 2)):
        k = torch.ones(1, len(edges), dtype=torch.float64, requires_grad=True)
        rest = steady_state(network(size, edges), torch.ones(1, size).double(), k, fallback=False)
        assert found(rest) == [Status.NO_STEADY_STATE]
        assert bool(rest.x.isfinite().all())
        assert not rest.x.requires_grad


def test_a_state_that_needs_a_negative_concentration_is_none() -> None:
    rows = [(mass_action(0), [2], {0: -1.0}), (mass_action(1), [3, 0], {0: -1.0})]  # −k1 − k2 x
    rest = steady_state(Reactions.build(1, 2, rows), tensor([[2.0]]), tensor([[1.0, 2.0]]), fallback=False)
    assert found(rest) == [Status.NO_STEADY_STATE]
    assert float(rest.x) >= -1e-12  # the tolerance


def test_a_limit_cycle_is_never_a_good_value() -> None:
    k = tensor([[1.0, 1.0, 3.0, 1.0], [1.0, 1.0, 1.0, 1.0]])  # oscillates if k3 > 1 + k1²
    rest = steady_state(network(2, BRUSSELATOR), tensor([[1.5, 1.0], [1.5, 1.0]]), k, fallback=False)
    assert found(rest)[0] in (Status.UNSTABLE, Status.NO_STEADY_STATE)
    assert found(rest)[1] is Status.CONVERGED
    assert torch.allclose(rest.x[1], tensor([1.0, 1.0]), rtol=1e-12)
    assert float(rest.eigenvalue[1]) == pytest.approx(-0.5, rel=1e-12)  # λ² + λ + 1 = 0


def test_zero_rates_that_add_a_law_are_singular() -> None:
    edges: Edges = [([0], [1]), ([1], [0]), ([1], [2]), ([2], [1])]
    k = tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    x0 = tensor([[1.0, 1.0, 1.0]]).expand(3, 3)
    rest = steady_state(network(3, edges), x0, k.requires_grad_(), moieties=moieties(3, edges))
    assert found(rest) == [Status.CONVERGED, Status.SINGULAR, Status.SINGULAR]
    assert torch.allclose(rest.x[1], tensor([4 / 3, 2 / 3, 1.0]), rtol=1e-9)  # the law keeps species 2
    (gradient,) = torch.autograd.grad(rest.x.sum(), k)
    assert gradient.isfinite().all() and gradient[1:].abs().max() == 0


def test_totals_that_nothing_can_hold_are_infeasible() -> None:
    edges: Edges = [([0, 1], [2]), ([2], [0, 1]), ([3], [0]), ([0], [3])]
    L = tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]])
    totals = tensor([[1.0, 2.0], [1.0, -1.0], [0.0, 2.0]])
    k = tensor([1.0, 1.0, 1.0, 1.0])
    rest = steady_state(network(4, edges), torch.ones(3, 4).double(), k, moieties=L, totals=totals)
    assert found(rest) == [Status.CONVERGED, Status.INFEASIBLE, Status.CONVERGED]
    assert rest.x[2].tolist() == pytest.approx([0.0, 2.0, 0.0, 0.0], abs=1e-12)
    assert bool(rest.x.isfinite().all())


def test_totals_far_from_the_start_are_met_without_negative_concentrations() -> None:
    L = tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    x0, totals = tensor([[0.0, 0.0, 5.0]]), tensor([[1e-6, 300.0]])
    k = tensor([1.0, 2.0])
    rest = steady_state(network(3, [([0, 1], [2]), ([2], [0, 1])]), x0, k, moieties=L, totals=totals)
    assert found(rest) == [Status.CONVERGED]
    assert float(rest.x[0, 2]) == pytest.approx(1e-6 * 300 / 302, rel=1e-6)


def test_failing_systems_do_not_disturb_their_neighbours() -> None:
    edges: Edges = [([], [0]), ([0], [1]), ([1], []), ([1], [0])]
    k = tensor(
        [[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 0.0, 0.0], [torch.nan, 1.0, 1.0, 1.0], [3.0, 0.1, 50.0, 9.0]]
    )
    k.requires_grad_()
    system, x0 = network(2, edges), tensor([[1.0, 1.0]]).expand(4, 2)
    rest = steady_state(system, x0, k, fallback=False)
    expected = [Status.CONVERGED, Status.NO_STEADY_STATE, Status.NOT_FINITE, Status.CONVERGED]
    assert found(rest) == expected
    (gradient,) = torch.autograd.grad(rest.x.sum(), k)
    assert bool(rest.x.isfinite().all()) and bool(gradient.isfinite().all())
    assert gradient[1:3].abs().max() == 0
    for i in (0, 3):
        alone = steady_state(system, x0[i : i + 1], k[i : i + 1], fallback=False)
        (own,) = torch.autograd.grad(alone.x.sum(), k)
        assert torch.equal(alone.x[0], rest.x[i]) and torch.equal(own[i], gradient[i])


def random_network(generator: np.random.Generator) -> tuple[int, Edges]:
    """Reversible isomerisations and bindings, and a driven cycle, so that no detailed balance holds."""
    size = int(generator.integers(4, 9))
    edges: list[tuple[list[int], list[int]]] = []
    for _ in range(size):
        a, b, c = generator.choice(size, 3, replace=False).tolist()
        pair = ([a, b], [c]) if generator.random() < 0.5 else ([a], [b])
        edges += [pair, (pair[1], pair[0])]
    return size, edges


def test_fifty_random_networks_with_conserved_totals_balance_to_rounding() -> None:
    generator, networks = np.random.default_rng(7), 0
    while networks < 50:
        size, edges = random_network(generator)
        system, L = network(size, edges), moieties(size, edges)
        if not bool((L > 0).any(0).all()):  # else something may grow or vanish
            continue
        networks += 1
        k = tensor(np.exp(generator.normal(0, 3, (4, len(edges)))).tolist())
        x0 = tensor(np.exp(generator.normal(0, 2, (4, size))).tolist())
        rest = steady_state(system, x0, k, moieties=L, fallback=False)
        at = Point(torch.zeros(4).double(), rest.x, k)
        gross = torch.zeros_like(rest.x).index_add(
            1, system.edges[1], system.fluxes(at)[:, system.edges[0]] * system.coefficient.abs()
        )
        assert bool((system.rate(at).abs() <= 1e-14 * len(edges) * gross).all())
        assert torch.allclose(rest.x @ L.T, x0 @ L.T, rtol=1e-13)
        assert bool((rest.x >= 0).all()) and bool((rest.eigenvalue < 0).all())
        assert bool((rest.status <= Status.ROUNDING).all())


def test_integration_helps_where_the_continuation_gives_up() -> None:
    k = tensor([SWITCH_K, [0.0, 0.0, 1.0, 0.0]])
    x0 = tensor([[1.5], [1.5]])
    assert (
        found(steady_state(network(1, SWITCH), x0, k, max_steps=3, fallback=False))[0]
        is Status.NO_STEADY_STATE
    )
    rest = steady_state(network(1, SWITCH), x0, k, max_steps=3)
    assert found(rest) == [Status.CONVERGED, Status.NO_STEADY_STATE]
    assert rest.x[0].tolist() == pytest.approx([1.0], rel=1e-12)


def saturated(z: Tensor) -> Tensor:
    return z[..., 0] * z[..., 2] / (z[..., 1] + z[..., 2])


def saturated_gradient(z: Tensor) -> Tensor:
    V, K, x = z.unbind(-1)
    return torch.stack([x / (K + x), -V * x / (K + x) ** 2, V * K / (K + x) ** 2], -1)


def test_supply_above_the_capacity_of_removal_has_no_steady_state() -> None:
    law = Law("saturated", ("V", "K", "x"), saturated, saturated_gradient, lambda z, a: a)
    system = Reactions.build(1, 3, [(mass_action(0), [2], {0: 1.0}), (law, [3, 4, 0], {0: -1.0})])
    k = tensor([[0.5, 1.0, 2.0], [0.999, 1.0, 2.0], [1.5, 1.0, 2.0]])  # supply, V, K: x = K s / (V − s)
    rest = steady_state(system, torch.ones(3, 1).double(), k, fallback=False)
    assert found(rest) == [Status.CONVERGED, Status.CONVERGED, Status.NO_STEADY_STATE]
    assert rest.x[:2, 0].tolist() == pytest.approx([2.0, 1998.0], rel=1e-11)


def test_wrong_arguments_are_named() -> None:
    system, k = network(2, ISOMERS), tensor([[1.0, 1.0]])
    with pytest.raises(ValueError, match="`x0` must be finite and not negative; got -1"):
        steady_state(system, tensor([[1.0, -1.0]]), k)
    with pytest.raises(ValueError, match="`totals` must have shape"):
        steady_state(system, tensor([[1.0, 1.0]]), k, totals=tensor([[1.0]]))
    with pytest.raises(ValueError, match="row 1 of `moieties` is a combination"):
        steady_state(system, tensor([[1.0, 1.0]]), k, moieties=tensor([[1.0, 1.0], [2.0, 2.0]]))
