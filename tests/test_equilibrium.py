"""Binding equilibrium against closed forms, multiple-precision arithmetic, eqtk and finite differences."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multiscale.physics.energy import ln_weight as weight_of_energy
from multiscale.solver import Equilibrium, Status, equilibrium
from multiscale.units import delta_g_from_Kd

PAIR = np.array([[1, 0, 1], [0, 1, 1]])
DIMER = np.array([[1, 2]])
TRIMER = np.array([[1, 3]])
COMPETITION = np.array([[1, 0, 0, 1, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 1]])
HETEROTRIMER = np.array([[1, 0, 0, 1, 1, 0, 1], [0, 1, 0, 1, 0, 1, 1], [0, 0, 1, 0, 1, 1, 1]])
BOTH = pytest.mark.parametrize("compiled", [True, False], ids=["twin", "definition"])


def reference(formula: np.ndarray, ln_weight: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Concentrations by Newton's method on T = A x in 60 digits, with steps of at most 1 in λ.

    Independent of the solver but for its start, which is immaterial: there is one solution only.
    """
    with mpmath.workdps(60):
        A, T = mpmath.matrix(formula.tolist()), mpmath.matrix(totals.tolist())
        multipliers = mpmath.matrix(equilibrium(formula, ln_weight, totals).multipliers.tolist())
        for _ in range(200):
            exponents = A.T * multipliers
            x = [mpmath.exp(mpmath.mpf(w) + e) for w, e in zip(ln_weight.tolist(), exponents, strict=True)]
            step = mpmath.lu_solve(A * mpmath.diag(x) * A.T, T - A * mpmath.matrix(x))
            multipliers += step / max(1, mpmath.norm(step, mpmath.inf))
            if mpmath.norm(step, mpmath.inf) < 1e-40:
                return np.array([float(value) for value in x])
    raise AssertionError("the reference did not converge")


def assert_accurate(formula: np.ndarray, x: Tensor, expected: np.ndarray) -> None:
    """Relative forward error ≤ max(1e-8, 1e3 ε κ), κ the condition number of the scaled Hessian."""
    hessian = formula @ np.diag(expected) @ formula.T
    scale = 1 / np.sqrt(np.diag(hessian))
    kappa = np.linalg.cond(hessian * scale * scale[:, None])
    error = np.abs(x.detach().numpy() / expected - 1).max()
    assert error <= max(1e-8, 1e3 * np.finfo(float).eps * kappa)


def random_systems(
    seed: int, molecules: int, complexes: int, batch: int = 8
) -> tuple[np.ndarray, Tensor, Tensor]:
    """Formula of distinct random complexes of 2 to 4 subunits, ln weights and totals within ±3 decades."""
    generator = np.random.default_rng(seed)
    columns: dict[tuple[int, ...], None] = {}
    while len(columns) < complexes:
        members = generator.integers(0, molecules, generator.integers(2, 5))
        columns[tuple(np.bincount(members, minlength=molecules))] = None
    formula = np.column_stack([np.eye(molecules, dtype=int), np.array(list(columns)).T])
    decades = generator.uniform(-3, 3, (batch, formula.shape[1]))
    ln_weight = math.log(10) * decades * (formula.sum(0) - 1)
    totals = 10 ** generator.uniform(-1.5, 1.5, (batch, molecules))
    return formula, torch.tensor(ln_weight), torch.tensor(totals)


def weights(formula: np.ndarray, Kd: float, as_energy: bool) -> np.ndarray:
    """ln w when every bond has the same Kd: directly, or by way of the energy in kcal/mol at 298.15 K."""
    subunits = torch.tensor(formula.sum(0), dtype=torch.float64)
    if not as_energy:
        return ((1 - subunits) * math.log(Kd)).numpy()
    return weight_of_energy(
        (subunits - 1) * delta_g_from_Kd(Kd), subunits, torch.zeros(len(subunits)), 298.15
    ).numpy()


STRENGTHS = pytest.mark.parametrize("strength", [1e-3, 1.0, 1e6, 1e10, 1e15])
STATED_AS = pytest.mark.parametrize("as_energy", [False, True], ids=["Kd", "energy"])


@BOTH
@STATED_AS
@STRENGTHS
@pytest.mark.parametrize("ratio", [1.0, 1.0 + 1e-12, 0.5, 1e-6])
def test_heterodimer_obeys_the_quadratic_formula(strength, ratio, as_energy, compiled):
    totals, Kd = np.array([2.0, 2.0 * ratio]), 2.0 / strength
    result = equilibrium(PAIR, weights(PAIR, Kd, as_energy), totals, compiled=compiled)
    with mpmath.workdps(60):
        a, b, K = mpmath.mpf(totals[0]), mpmath.mpf(totals[1]), mpmath.mpf(Kd)
        free = (a - b - K + mpmath.sqrt((a - b - K) ** 2 + 4 * a * K)) / 2
        expected = np.array([float(value) for value in (free, b / (1 + free / K), a - free)])
    assert result.status == Status.CONVERGED
    assert_accurate(PAIR, result.x, expected)


@BOTH
@STATED_AS
@STRENGTHS
@pytest.mark.parametrize(("formula", "subunits"), [(DIMER, 2), (TRIMER, 3)], ids=["dimer", "trimer"])
def test_homomer_obeys_its_polynomial(formula, subunits, strength, as_energy, compiled):
    total, Kd = 3.0, 3.0 / strength
    result = equilibrium(formula, weights(formula, Kd, as_energy), [total], compiled=compiled)
    with mpmath.workdps(60):
        K = mpmath.mpf(Kd) ** (subunits - 1)
        roots = mpmath.polyroots(
            [subunits / K, *[0] * (subunits - 2), 1, -total], maxsteps=500, extraprec=500
        )
        free = next(root.real for root in roots if abs(root.imag) < 1e-40 and root.real > 0)
        expected = np.array([float(free), float(free**subunits / K)])
    assert_accurate(formula, result.x, expected)


@BOTH
@STATED_AS
@STRENGTHS
@pytest.mark.parametrize("totals", [[1.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0, 3.0, 0.01], [1e-6, 1.0, 1e3]])
@pytest.mark.parametrize("formula", [COMPETITION, HETEROTRIMER], ids=["competition", "trimer"])
def test_three_partners_agree_with_multiple_precision(formula, totals, strength, as_energy, compiled):
    Kd = 1.0 / strength
    result = equilibrium(formula, weights(formula, Kd, as_energy), totals, compiled=compiled)
    assert result.solved
    assert_accurate(formula, result.x, reference(formula, weights(formula, Kd, False), np.array(totals)))


@pytest.mark.slow  # eqtk compiles itself
def test_random_systems_agree_with_eqtk():
    eqtk = pytest.importorskip("eqtk")
    compared = 0
    for seed in range(25):
        formula, ln_weight, totals = random_systems(seed, molecules=2 + seed % 5, complexes=1 + seed % 4)
        molecules, complexes = len(formula), formula.shape[1] - len(formula)
        association = np.ascontiguousarray(np.column_stack([-formula[:, molecules:].T, np.eye(complexes)]))
        mixture = np.ascontiguousarray(np.column_stack([totals, np.zeros((len(totals), complexes))]))
        K = ln_weight[0, molecules:].exp().numpy()
        theirs = eqtk.solve(mixture, N=association, K=K, tol=1e-13)
        ours = equilibrium(formula, ln_weight[0], totals).x.numpy()
        accurate = np.abs(theirs @ formula.T / totals.numpy() - 1).max(1) < 1e-10
        assert np.allclose(ours[accurate], theirs[accurate], rtol=1e-8, atol=0)
        compared += accurate.sum()
    assert compared >= 190


@BOTH
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    molecules=st.integers(2, 7),
    complexes=st.integers(1, 9),
    decades=st.floats(0, 5),
)
def test_every_solution_obeys_mass_balance_and_mass_action(compiled, seed, molecules, complexes, decades):
    formula, ln_weight, totals = random_systems(seed, molecules, complexes)
    ln_weight, totals = ln_weight * decades / 3, totals ** (decades / 1.5)
    result = equilibrium(formula, ln_weight, totals, compiled=compiled)
    A = torch.tensor(formula, dtype=torch.float64)
    assert result.solved.all()
    assert torch.allclose(result.x @ A.T, totals, rtol=3e-13, atol=0)
    assert torch.allclose(result.ln_x, ln_weight + result.multipliers @ A, rtol=0, atol=1e-12)
    assert torch.allclose(result.x, result.ln_x.exp(), rtol=1e-15, atol=0)


@pytest.mark.parametrize("seed", range(4))
def test_twin_and_definition_agree(seed):
    formula, ln_weight, totals = random_systems(seed, molecules=8, complexes=20, batch=30)
    totals[0, 3] = 0.0
    arguments = ln_weight.requires_grad_(), totals.requires_grad_()
    twin, definition = (equilibrium(formula, *arguments, compiled=compiled) for compiled in (True, False))
    assert torch.equal(twin.status, definition.status)
    assert torch.allclose(twin.ln_x, definition.ln_x, rtol=0, atol=1e-11)
    for ours, theirs in zip(gradients(twin, arguments), gradients(definition, arguments), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def gradients(result: Equilibrium, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Gradients of a scalar that depends on every output, with unequal coefficients."""
    coefficients = [torch.linspace(-1, 2, part.shape[-1], dtype=torch.float64) for part in result[:3]]
    present = result.ln_x.isfinite()
    loss = (coefficients[0] * result.x).sum() + (coefficients[1] * result.ln_x)[present].sum()
    known = result.multipliers.isfinite()
    loss = loss + (coefficients[2] * result.multipliers)[known].sum()
    return torch.autograd.grad(loss, arguments)


@BOTH
def test_gradients_pass_gradcheck_in_weights_and_totals(compiled):
    formula, ln_weight, totals = random_systems(5, molecules=3, complexes=4, batch=2)
    formula = np.pad(formula, ((0, 1), (0, 1)))
    formula[-1, -1] = 2  # a molecule that occurs only as its dimer: closed form
    ln_weight = torch.cat([ln_weight, ln_weight[:, -1:]], -1).requires_grad_()
    totals = torch.cat([totals, totals[:, -1:]], -1).requires_grad_()

    def solve(ln_weight: Tensor, totals: Tensor) -> tuple[Tensor, ...]:
        return tuple(equilibrium(formula, ln_weight, totals, compiled=compiled)[:3])

    assert torch.autograd.gradcheck(solve, (ln_weight, totals))
    assert torch.autograd.gradgradcheck(solve, (ln_weight, totals))


def test_gradients_equal_finite_differences_in_multiple_precision():
    formula, ln_weight, totals = random_systems(7, molecules=4, complexes=5, batch=1)
    weight, total, step = ln_weight[0].requires_grad_(), totals[0].requires_grad_(), 1e-4
    grads = torch.autograd.grad(equilibrium(formula, weight, total).ln_x.sum(), (weight, total))
    base = weight.detach().numpy(), total.detach().numpy()
    for which, k in [(0, 0), (0, 5), (0, 8), (1, 1), (1, 3)]:
        shifted = []
        for sign in (1, -1):
            moved = [part.copy() for part in base]
            moved[which][k] += sign * step
            shifted.append(np.log(reference(formula, *moved)).sum())
        assert float(grads[which][k]) == pytest.approx((shifted[0] - shifted[1]) / (2 * step), rel=1e-6)


@BOTH
def test_gradient_is_accurate_where_almost_everything_is_bound(compiled):
    # A excess, Kd = 1e-12: [B] = Kd T_B / (T_A - T_B) to first order, so d ln[B] / d ln w = -1
    ln_weight = torch.tensor([0.0, 0.0, math.log(1e12)], dtype=torch.float64, requires_grad=True)
    totals = torch.tensor([3.0, 1.0], dtype=torch.float64, requires_grad=True)
    result = equilibrium(PAIR, ln_weight, totals, compiled=compiled)
    grad_weight, grad_total = torch.autograd.grad(result.ln_x[1], (ln_weight, totals))
    assert float(grad_weight[2]) == pytest.approx(-1, abs=1e-9)
    assert grad_total.tolist() == pytest.approx([-1 / 2, 1 + 1 / 2], rel=1e-9)


def test_orphan_loss_enters_through_the_weights():
    # supply s = Σ A d x is the conserved quantity of y = d x; instruments read totals T = Σ A y / d
    ln_weight = torch.tensor([[0.0, 0.0, 2.0]], dtype=torch.float64)
    supply = torch.tensor([[2.0, 1.0]], dtype=torch.float64)

    def totals(ln_loss: Tensor) -> Tensor:
        y = equilibrium(PAIR, ln_weight + ln_loss, supply).x
        return (y / ln_loss.exp()) @ torch.tensor(PAIR.T, dtype=torch.float64)

    ln_loss = torch.tensor([[0.0, 0.0, math.log(0.2)]], dtype=torch.float64, requires_grad=True)
    x = equilibrium(PAIR, ln_weight + ln_loss, supply).x / ln_loss.exp()
    assert torch.allclose(x[:, 2], math.exp(2.0) * x[:, 0] * x[:, 1])  # mass action holds for x, not for y
    assert torch.allclose(x[:, :2] + 0.2 * x[:, 2:], supply)
    assert (totals(ln_loss) > supply).all()  # the bound form lives longer
    assert torch.autograd.gradcheck(totals, (ln_loss,))


@BOTH
def test_an_absent_molecule_and_its_complexes_vanish(compiled):
    formula, ln_weight, totals = random_systems(3, molecules=4, complexes=6, batch=1)
    totals[0, 1] = 0.0
    result = equilibrium(formula, ln_weight, totals, compiled=compiled)
    without = formula[:, formula[1] == 0][[0, 2, 3]]
    rest = equilibrium(without, ln_weight[:, formula[1] == 0], totals[:, [0, 2, 3]], compiled=compiled)
    assert result.solved.all()
    assert (result.x[:, formula[1] > 0] == 0).all() and (result.ln_x[:, formula[1] > 0] == -math.inf).all()
    assert torch.allclose(result.ln_x[:, formula[1] == 0], rest.ln_x, atol=1e-12)
    assert result.multipliers[0, 1] == -math.inf


@BOTH
@pytest.mark.parametrize(
    ("formula", "absent"),
    [(PAIR, [0]), (COMPETITION, [0]), (COMPETITION, [1]), (HETEROTRIMER, [0, 1]), (DIMER, [0]), ([[2]], [0])],
)
def test_gradient_at_a_total_of_zero_is_the_one_sided_derivative(formula, absent, compiled):
    molecules, species = np.shape(formula)
    ln_weight = torch.linspace(-1, 1, species, dtype=torch.float64, requires_grad=True)
    totals = torch.linspace(1, 2, molecules, dtype=torch.float64)
    totals[absent] = 0.0
    totals.requires_grad_()
    coefficients = torch.linspace(-1, 2, species, dtype=torch.float64)
    loss = (coefficients * equilibrium(formula, ln_weight, totals, compiled=compiled).x).sum()
    grad_weight, grad_total = torch.autograd.grad(loss, (ln_weight, totals))
    for m in absent:
        step = 1e-7 * torch.eye(molecules, dtype=torch.float64)[m]
        moved = (coefficients * equilibrium(formula, ln_weight, totals + step).x).sum()
        slope = float((moved - loss).detach()) / 1e-7
        assert float(grad_total[m]) == pytest.approx(slope, rel=1e-5, abs=1e-5)
        assert (grad_weight[torch.tensor(formula)[m] > 0] == 0).all()


@BOTH
def test_infinite_logarithms_pass_no_gradient_on(compiled):
    ln_weight = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    totals = torch.tensor([[0.0, 1.0], [2.0, 1.0]], dtype=torch.float64, requires_grad=True)
    ln_x = equilibrium(PAIR, ln_weight, totals, compiled=compiled).ln_x
    of_finite = torch.autograd.grad(ln_x[ln_x.isfinite()].sum(), (ln_weight, totals), retain_graph=True)
    of_all = torch.autograd.grad(ln_x, (ln_weight, totals), torch.ones_like(ln_x))
    for one, other in zip(of_finite, of_all, strict=True):
        assert one.isfinite().all() and torch.equal(one, other)


@BOTH
def test_infeasible_totals_are_a_status_of_their_system_only(compiled):
    formula = [[1, 1], [0, 1]]  # B occurs only bound to A
    ln_weight = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    totals = torch.tensor([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    totals.requires_grad_()
    result = equilibrium(formula, ln_weight, totals, compiled=compiled)
    assert result.solved.tolist() == [True, False, True, False, True]
    assert [Status(s) for s in result.status[[1, 3]].tolist()] == [Status.INFEASIBLE] * 2
    assert torch.allclose(result.x[[0, 2, 4]], torch.tensor([[1.0, 1], [0, 1], [1, 0]], dtype=torch.float64))
    assert result.x.isfinite().all()
    (grad,) = torch.autograd.grad(result.x.sum(), totals)
    assert (grad[[1, 3]] == 0).all() and grad[0].tolist() == pytest.approx([1, 0], abs=1e-12)


@BOTH
def test_subunits_that_occur_only_together_are_solved_when_their_totals_agree(compiled):
    result = equilibrium([[1, 2], [1, 2]], [0.0, 1.0], [[3.0, 3.0], [3.0, 3.1]], compiled=compiled)
    assert [Status(s) for s in result.status.tolist()] == [Status.CONVERGED, Status.INFEASIBLE]
    monomer, dimer = result.x[0].tolist()
    assert monomer + 2 * dimer == pytest.approx(3) and dimer == pytest.approx(math.e * monomer**2)


@BOTH
def test_a_molecule_in_no_complex_is_free(compiled):
    formula = [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1]]
    result = equilibrium(formula, [0.0, 0.7, 0.0, 1.0], [1.0, 5.0, 2.0], compiled=compiled)
    pair = equilibrium(PAIR, [0.0, 0.0, 1.0], [1.0, 2.0], compiled=compiled)
    assert float(result.x[1]) == 5.0 and float(result.multipliers[1]) == pytest.approx(math.log(5) - 0.7)
    assert torch.equal(result.x[[0, 2, 3]], pair.x)


@BOTH
def test_components_give_the_same_as_one_dense_problem(compiled):
    formula, ln_weight, totals = random_systems(1, molecules=5, complexes=9)
    both = np.block([[formula, np.zeros_like(formula)], [np.zeros_like(formula), formula]])
    shuffled = np.random.default_rng(0).permutation(both.shape[1])
    weight, total = torch.cat([ln_weight, ln_weight + 1], -1), torch.cat([totals, 2 * totals], -1)
    # a species of negligible weight that joins both halves makes it one block
    joined = np.column_stack([both[:, shuffled], np.ones(len(both), int)])
    dense = equilibrium(
        joined, torch.nn.functional.pad(weight[:, shuffled], (0, 1), value=-600.0), total, compiled=compiled
    )
    apart = equilibrium(both[:, shuffled], weight[:, shuffled], total, compiled=compiled)
    assert torch.allclose(apart.ln_x, dense.ln_x[:, :-1], rtol=0, atol=1e-11)


@BOTH
def test_a_homomer_of_60_subunits_assembles(compiled):
    # [A] = 0.5 and [A60] = 0.05 by choice: T = 0.5 + 60 · 0.05
    ln_weight = [0.0, math.log(0.05) - 60 * math.log(0.5)]
    result = equilibrium([[1, 60]], ln_weight, [3.5], compiled=compiled)
    assert result.status == Status.CONVERGED
    assert result.x.tolist() == pytest.approx([0.5, 0.05], rel=1e-12)


@BOTH
def test_a_complex_of_60_different_subunits_assembles(compiled):
    free = np.linspace(0.1, 2.0, 60)
    formula = np.column_stack([np.eye(60), np.ones(60)])
    result = equilibrium(
        formula, [*[0.0] * 60, math.log(0.7) - np.log(free).sum()], free + 0.7, compiled=compiled
    )
    assert result.status == Status.CONVERGED
    assert result.x.tolist() == pytest.approx([*free, 0.7], rel=1e-10)


@BOTH
def test_free_forms_that_rounding_hides_are_reported_as_such(compiled):
    # [A] = [B] = 1e-20 beside [A30 B30] = 1: totals of 30 in float64 do not determine their ratio
    result = equilibrium(
        [[1, 0, 30], [0, 1, 30]], [0.0, 0.0, 1200 * math.log(10)], [30.0, 30.0], compiled=compiled
    )
    assert result.status == Status.ROUNDING and result.solved
    assert float(result.x[2]) == pytest.approx(1, rel=1e-11)
    assert (result.x[:2] < 1e-10).all() and float(result.multipliers.sum()) == pytest.approx(
        -40 * math.log(10)
    )


@BOTH
def test_a_hard_system_leaves_the_others_of_its_batch_alone(compiled):
    formula, ln_weight, totals = random_systems(2, molecules=6, complexes=12)
    alone = equilibrium(formula, ln_weight, totals, compiled=compiled)
    ln_weight[3], totals[3] = 35.0 * torch.tensor(formula.sum(0) - 1), 1.0
    together = equilibrium(formula, ln_weight, totals, compiled=compiled)
    easy = [0, 1, 2, 4, 5, 6, 7]
    assert together.solved.all()
    assert torch.allclose(together.ln_x[easy], alone.ln_x[easy], rtol=0, atol=1e-12)
    limited = equilibrium(formula, ln_weight, totals, compiled=compiled, max_steps=9)
    assert limited.status[3] == Status.NOT_CONVERGED and limited.solved[easy].all()


@BOTH
@pytest.mark.parametrize("shift", [0.0, 0.01, 0.5, 40.0, -40.0, math.inf, -math.inf, math.nan])
def test_a_start_changes_the_effort_and_not_the_solution(shift, compiled):
    formula, ln_weight, totals = random_systems(4, molecules=6, complexes=12)
    totals[0, 0] = 0.0
    cold = equilibrium(formula, ln_weight, totals, compiled=compiled)
    warm = equilibrium(formula, ln_weight, totals, start=cold.multipliers + shift, compiled=compiled)
    assert torch.equal(warm.status, cold.status)
    assert torch.allclose(warm.x, cold.x, rtol=1e-11, atol=0)


@BOTH
def test_a_close_start_needs_three_steps(compiled):
    formula, ln_weight, totals = random_systems(4, molecules=6, complexes=12)
    start = equilibrium(formula, ln_weight, totals, compiled=compiled).multipliers
    assert equilibrium(
        formula, ln_weight + 1e-3, totals, start=start, max_steps=3, compiled=compiled
    ).solved.all()
    assert not equilibrium(formula, ln_weight + 1e-3, totals, max_steps=3, compiled=compiled).solved.all()


def test_a_start_for_a_molecule_that_was_absent_is_replaced():
    before = equilibrium(PAIR, [0.0, 0.0, 1.0], [0.0, 1.0])
    after = equilibrium(PAIR, [0.0, 0.0, 1.0], [2.0, 1.0], start=before.multipliers)
    assert torch.equal(after.x, equilibrium(PAIR, [0.0, 0.0, 1.0], [2.0, 1.0]).x)


@BOTH
def test_another_unit_of_concentration_gives_the_same_amounts(compiled):
    formula, ln_weight, totals = random_systems(6, molecules=4, complexes=6)
    subunits = torch.tensor(formula.sum(0), dtype=torch.float64)
    micromolar = equilibrium(formula, ln_weight, totals, compiled=compiled)
    nanomolar = equilibrium(
        formula, ln_weight + (1 - subunits) * math.log(1e3), 1e3 * totals, compiled=compiled
    )
    assert torch.allclose(nanomolar.x, 1e3 * micromolar.x, rtol=1e-11)


def test_leading_dimensions_broadcast_and_gradients_are_summed():
    ln_weight = torch.zeros(2, 1, 3, dtype=torch.float64, requires_grad=True)
    totals = torch.rand(4, 2, dtype=torch.float64, generator=torch.manual_seed(0)).requires_grad_()
    result = equilibrium(PAIR, ln_weight, totals, start=torch.zeros(2, dtype=torch.float64))
    assert [part.shape for part in result] == [(2, 4, 3), (2, 4, 3), (2, 4, 2), (2, 4)]
    grads = torch.autograd.grad(result.x.sum(), (ln_weight, totals))
    assert [grad.shape for grad in grads] == [(2, 1, 3), (4, 2)]
    assert equilibrium(PAIR, torch.zeros(0, 3, dtype=torch.float64), totals[:1]).x.shape == (0, 3)


def test_the_number_of_threads_changes_no_bit():
    formula, ln_weight, totals = random_systems(8, molecules=5, complexes=10, batch=2000)
    threads = torch.get_num_threads()
    try:
        results = []
        for number in (1, 2):
            torch.set_num_threads(number)
            results.append(equilibrium(formula, ln_weight, totals))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"formula": [[1, 0, -1], [0, 1, 1]]},
            "`formula` must hold non-negative integers; got -1.0 for molecule 0 in species 2",
        ),
        ({"formula": [[1, 0, 0.5], [0, 1, 1]]}, "got 0.5 for molecule 0 in species 2"),
        ({"formula": [[1, 0, 1], [0, 0, 1]]}, "`formula` has only zeros for species 1"),
        ({"formula": [[1, 1, 1], [0, 0, 0]]}, "`formula` has only zeros for molecule 1. Give it a free form"),
        ({"formula": [1, 0, 1]}, "`formula` must be a numeric matrix"),
        ({"ln_weight": [0.0, math.nan, 0.0]}, "`ln_weight` must be finite; got nan"),
        ({"ln_weight": [0.0, 0.0]}, r"`ln_weight` must have shape \(..., species\) with 3"),
        ({"totals": [1.0, -2.0]}, "`totals` must not be negative; got -2.0"),
        ({"totals": [1.0, math.inf]}, "`totals` must be finite; got inf"),
        ({"totals": [1, 2]}, "`totals` must be float64; got torch.int64"),
        ({"start": torch.zeros(3, dtype=torch.float64)}, "`start` must be `multipliers` of an earlier call"),
        ({"max_steps": 0}, "`max_steps` must be at least 1; got 0"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    arguments = {"formula": PAIR, "ln_weight": [0.0, 0.0, 1.0], "totals": [1.0, 2.0]} | change
    with pytest.raises(ValueError, match=message):
        equilibrium(**arguments)


def test_every_status_says_how_the_solve_ended():
    assert [status for status in Status if status.solved] == [Status.CONVERGED, Status.ROUNDING]
    assert all(status.text and status.text[0].islower() for status in Status)


@pytest.mark.parametrize("formula", [PAIR, [[1], [1]]])
def test_totals_near_the_smallest_number_are_a_status_and_not_an_error(formula: list[list[int]]):
    species = np.shape(formula)[1]
    result = equilibrium(formula, np.full(species, 40.0), [1e-310, 1e-310], max_steps=1)
    assert int(result.status) in (Status.CONVERGED, Status.ROUNDING, Status.NOT_CONVERGED)
