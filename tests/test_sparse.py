"""Batched sparse elimination against dense solvers, with vanishing pivots, and where the fill is known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from multiscale.solver.ordering import analyse
from multiscale.solver.sparse import Elimination
from multiscale.solver.system import dense

EPSILON = torch.finfo(torch.float64).eps
Reaction = tuple[list[int], list[int]]


def network(monomers: int, dimers: int, reactions: int, seed: int) -> list[Reaction]:
    """Reactants and products of random mass-action reactions, every species a reactant.

    Isomerisations of monomers and of dimers 15 % each, A + B → D and D → A + B 25 % each, A + D → A′ + D′.
    """
    generator = np.random.default_rng(seed)
    kinds = ["A>A", "D>D", "AA>D", "D>AA", "AD>AD"]
    counts = np.round(np.array([0.15, 0.15, 0.25, 0.25, 0.2]) * reactions).astype(int)
    first = {"A": 0, "D": monomers}
    number = {"A": monomers, "D": dimers}
    draw = lambda word: [first[c] + int(generator.integers(number[c])) for c in word]  # noqa: E731
    made = []
    for kind in np.repeat(kinds, counts):
        if number[kind[0]] == 1 and len(kind) == 3:
            continue  # one species has nothing to turn into
        reactants, products = map(draw, kind.split(">"))
        while sorted(products) == sorted(reactants):
            products = draw(kind.split(">")[1])
        made.append((reactants, products))
    return use_every_species(made, monomers, dimers, generator)


def use_every_species(
    made: list[Reaction], monomers: int, dimers: int, generator: np.random.Generator
) -> list[Reaction]:
    """Put each species that is no reactant in the place of one of its kind that is so more than once."""
    for species in range(monomers + dimers):
        used = Counter(s for reactants, _ in made for s in reactants)
        if not used[species]:
            alike = [
                (r, i)
                for r, (reactants, products) in enumerate(made)
                for i, s in enumerate(reactants)
                if used[s] > 1 and (s < monomers) == (species < monomers) and species not in products
            ]
            reaction, place = alike[generator.integers(len(alike))]
            made[reaction][0][place] = species
    return made


def jacobian_pattern(made: list[Reaction]) -> Tensor:
    """Entries of ∂(N v)/∂x."""
    cells = set()
    for reactants, products in made:
        net = Counter(products)
        net.subtract(reactants)
        cells |= {(row, column) for row, change in net.items() if change for column in reactants}
    return torch.tensor(sorted(cells)).T.contiguous()


def jacobian_values(made: list[Reaction], pattern: Tensor, systems: int, seed: int) -> Tensor:
    """∂(N v)/∂x of mass action with rate constants over six decades and concentrations over six."""
    generator = np.random.default_rng(seed)
    where = {cell: i for i, cell in enumerate(map(tuple, pattern.T.tolist()))}
    ln_x = generator.uniform(-14, 0, (systems, int(pattern.max()) + 1))
    values = np.zeros((systems, len(where)))
    for reactants, products in made:
        flux = np.exp(
            generator.uniform(-7, 7) + generator.uniform(-1, 1, systems) + ln_x[:, reactants].sum(1)
        )
        net = Counter(products)
        net.subtract(reactants)
        for column in reactants:
            for row, change in net.items():
                if change:
                    values[:, where[row, column]] += change * flux / np.exp(ln_x[:, column])
    return torch.tensor(values)


def batch(
    size: int, systems: int, seed: int, steps: tuple[float, float] = (-4, 0)
) -> tuple[Elimination, Tensor, Tensor, Tensor]:
    """A mass-action network (3 reactions per species beyond 10), shifts 2/h with h over decades, and W."""
    dimers = max(1, 2 * size // 5)
    made = network(size - dimers, dimers, max(2 * size, 8), seed)
    pattern = jacobian_pattern(made)
    jacobian = jacobian_values(made, pattern, systems, seed)
    h = 10 ** np.random.default_rng(seed).uniform(*steps, systems)
    shift = torch.tensor(2 / h)
    return Elimination(pattern, size), shift, jacobian, matrices(pattern, shift, jacobian, size)


def matrices(pattern: Tensor, shift: Tensor, jacobian: Tensor, size: int) -> Tensor:
    """W as dense matrices."""
    return torch.diag_embed(shift.unsqueeze(-1).expand(-1, size)) - dense(pattern, jacobian, size)


def right_hand_sides(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


def backward_error(W: Tensor, k: Tensor, r: Tensor) -> float:
    """Largest ‖W k − r‖ / (‖W‖ ‖k‖ + ‖r‖), with largest row sums and components."""
    residual = ((W @ k.unsqueeze(-1)).squeeze(-1) - r).abs().amax(-1)
    scale = W.abs().sum(-1).amax(-1) * k.abs().amax(-1) + r.abs().amax(-1)
    return float((residual / scale).max())


def tridiagonal(size: int) -> np.ndarray:
    cells = [(i, j) for i in range(size) for j in (i - 1, i, i + 1) if 0 <= j < size]
    return np.array(cells).T


def star(size: int) -> np.ndarray:
    """Everything meets variable 0."""
    return np.array([[i, j] for i in range(size) for j in range(size) if i == j or 0 in (i, j)]).T


@pytest.mark.parametrize("size", [3, 7, 20, 45, 100])
def test_solutions_agree_with_dense_elimination(size: int) -> None:
    elimination, shift, jacobian, W = batch(size, 12, size)
    r = right_hand_sides(12, size)
    factors = elimination.factorise(shift, jacobian)
    for solve, matrix in ((factors.solve, W), (factors.solve_transposed, W.mT)):
        expected = torch.linalg.solve(matrix, r)
        forward = (solve(r) - expected).abs().amax(-1) / expected.abs().amax(-1)
        assert (forward <= 100 * EPSILON * torch.linalg.cond(matrix, torch.inf)).all()
        assert backward_error(matrix, solve(r), r) < 1e-14
    assert not factors.singular.any()


def test_backward_errors_are_below_1e_14_in_200_random_batches() -> None:
    worst = 0.0
    for seed in range(200):
        elimination, shift, jacobian, W = batch(3 + seed % 50, 4, seed, steps=(-4, 4))
        r = right_hand_sides(4, len(W[0]))
        factors = elimination.factorise(shift, jacobian)
        worst = max(worst, backward_error(W, factors.solve(r), r))
        worst = max(worst, backward_error(W.mT, factors.solve_transposed(r), r))
    assert worst < 1e-14


def test_several_right_hand_sides_are_solved_as_one_by_one() -> None:
    elimination, shift, jacobian, _ = batch(40, 5, 1)
    factors, r = elimination.factorise(shift, jacobian), right_hand_sides(2, 3, 5, 40)
    for solve in (factors.solve, factors.solve_transposed):
        each = torch.stack([solve(one) for one in r.flatten(0, 1)]).view(r.shape)
        torch.testing.assert_close(solve(r), each, rtol=1e-12, atol=0)


def cliques(members: int, shift: Tensor) -> tuple[Elimination, Tensor, Tensor]:
    """Elimination, J and W of 14 groups of variables, with ones beside the diagonal in each group."""
    size = 14 * members
    cells = [(i, j) for i in range(size) for j in range(size) if i != j and i // members == j // members]
    pattern = torch.tensor(cells).T
    jacobian = -torch.ones(len(shift), len(cells), dtype=torch.float64)
    return Elimination(pattern, size), jacobian, matrices(pattern, shift, jacobian, size)


def test_a_matrix_without_pivots_on_its_diagonal_is_solved() -> None:
    shift = torch.tensor([2.0, 3.0, 0.0, 2.5], dtype=torch.float64)
    elimination, jacobian, _ = cliques(2, shift)
    factors, r = elimination.factorise(shift, jacobian), right_hand_sides(4, 28)
    exchanged = r[2].view(-1, 2).flip(-1).flatten()
    assert torch.equal(factors.solve(r)[2], exchanged) and torch.equal(
        factors.solve_transposed(r)[2], exchanged
    )
    assert not factors.singular.any()


@pytest.mark.parametrize(("pivot", "dense_factors"), [(1e-5, 0), (1e-15, 1), (0.0, 1)])
def test_small_pivots_are_refined_and_vanishing_ones_replaced(
    pivot: float, dense_factors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = torch.tensor([3.0, pivot, 4.0], dtype=torch.float64)
    elimination, jacobian, W = cliques(3, shift)
    sizes: list[tuple[int, ...]] = []
    monkeypatch.setattr(torch.linalg, "lu_factor_ex", spy(torch.linalg.lu_factor_ex, sizes))
    factors, r = elimination.factorise(shift, jacobian), right_hand_sides(3, 42)
    k, transposed = factors.solve(r), factors.solve_transposed(r)
    assert max(backward_error(W, k, r), backward_error(W.mT, transposed, r)) < 1e-14
    assert sizes.count((1, 42, 42)) == dense_factors


def test_scarce_species_keep_ten_digits_beside_abundant_ones() -> None:
    elimination, jacobian, W = cliques(3, torch.tensor([1e-8], dtype=torch.float64))
    jacobian[:, 6:] = -1e-9  # all but the first group have large pivots
    W[:, 3:][W[:, 3:] == 1] = 1e-9
    r = torch.ones(1, 42, dtype=torch.float64)
    r[:, 3:] = 1e12
    k = elimination.factorise(torch.tensor([1e-8], dtype=torch.float64), jacobian).solve(r)
    assert (((W @ k.mT).mT - r)[0, 0, :3].abs() <= 1e-10 * 2).all()  # |W||k| + |r| is 2 there


def spy(function, sizes: list[tuple[int, ...]]):
    """The function, taking note of the shapes of its arguments."""

    def noted(matrix: Tensor):
        sizes.append(tuple(matrix.shape))
        return function(matrix)

    return noted


@pytest.mark.parametrize("kind", ["singular", "not a number", "infinite", "zero pivot"])
def test_a_bad_system_leaves_the_others_as_they_are(kind: str) -> None:
    elimination, shift, jacobian, _ = batch(60, 6, 3)
    r = right_hand_sides(2, 6, 60)
    good = elimination.factorise(shift, jacobian)
    before = torch.stack([good.solve(r), good.solve_transposed(r)])
    shift[4] = 0.0
    jacobian[4] = {"singular": 0.0, "not a number": torch.nan, "infinite": torch.inf}.get(kind, jacobian[4])
    jacobian[4, 7] = {"zero pivot": 0.0}.get(kind, jacobian[4, 7])
    bad = elimination.factorise(shift, jacobian)
    after = torch.stack([bad.solve(r), bad.solve_transposed(r)])
    others = [0, 1, 2, 3, 5]
    assert torch.equal(after[:, :, others], before[:, :, others]) and after.isfinite().all()
    if kind != "zero pivot":
        assert bad.singular.tolist() == [system == 4 for system in range(6)] and not after[:, :, 4].any()


def test_right_hand_sides_that_are_not_finite_give_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    elimination, shift, jacobian, _ = batch(20, 3, 4)
    factors, r = elimination.factorise(shift, jacobian), right_hand_sides(3, 20)
    before = factors.solve(r)
    r[1, 7] = torch.nan
    monkeypatch.delattr(torch.linalg, "lu_factor_ex")  # pivoting would not help
    after = factors.solve(r)
    assert torch.equal(after[[0, 2]], before[[0, 2]]) and not after[1].any()
    assert factors.singular.tolist() == [False, True, False]


def test_gradients_are_not_followed_and_empty_batches_pass() -> None:
    elimination, shift, jacobian, _ = batch(20, 3, 5)
    r = right_hand_sides(3, 20).requires_grad_()
    k = elimination.factorise(shift, jacobian.requires_grad_()).solve(r)
    assert not k.requires_grad
    with torch.no_grad():
        assert torch.equal(elimination.factorise(shift, jacobian).solve(r), k)
    assert elimination.factorise(shift[:0], jacobian[:0]).solve(r[:0]).shape == (0, 20)


@pytest.mark.parametrize("pattern", [tridiagonal(300), star(300)], ids=["chain", "star"])
def test_chains_and_stars_fill_little_and_need_few_stages(pattern: np.ndarray) -> None:
    plan = analyse(pattern, 300)
    assert plan.values < 3 * pattern.shape[1] < 300**2 / 30
    assert len(plan.stages) - 1 <= 6 and plan.updates.shape[1] < 5 * 300


def test_a_network_of_100_species_fills_to_a_quarter_at_most() -> None:
    made = network(60, 40, 200, 0)
    whole = analyse(jacobian_pattern(made).numpy(), 100, dense=2, small=1)
    assert whole.values < 2500 and whole.updates.shape[1] < 15_000  # 10,000 and 328,350 when dense
    plan = analyse(jacobian_pattern(made).numpy(), 100)
    assert len(plan.stages) - 1 < 10 and plan.dense < 50


def test_the_leaves_of_a_star_go_together_before_its_hub() -> None:
    plan = analyse(star(50), 50, small=1)
    assert plan.order.tolist() == [*range(1, 50), 0] and plan.stages.tolist() == [0, 49]
    assert plan.values == star(50).shape[1]  # no fill


def test_the_order_depends_on_the_pattern_alone() -> None:
    pattern = jacobian_pattern(network(60, 40, 200, 0)).numpy()
    shuffled = np.random.default_rng(0).permutation(pattern, axis=1)
    first, second = analyse(pattern, 100), analyse(shuffled, 100)
    for name in ("order", "stages", "lower", "upper", "updates", "entries", "where"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_the_arrays_of_a_pattern_describe_its_factors() -> None:
    """One system, one update after the other, as compiled code would do it."""
    made = network(18, 12, 60, 1)
    pattern = jacobian_pattern(made)
    plan = analyse(pattern.numpy(), 30, dense=2, small=1)
    W = -dense(pattern, jacobian_values(made, pattern, 1, 1), 30)[0].numpy() + 2 * np.eye(30)
    value = np.zeros(plan.values)
    value[plan.where] = W[np.ix_(plan.order, plan.order)][tuple(plan.entries)]
    below = plan.front + np.arange(plan.lower.shape[1])
    for s in range(len(plan.stages) - 1):
        mine = slice(plan.lower_stages[s], plan.lower_stages[s + 1])
        value[below[mine]] /= value[plan.lower[1, mine]]
        for target, left, right in plan.updates[:, plan.update_stages[s] : plan.update_stages[s + 1]].T:
            value[target] -= value[left] * value[right]
    L, U = np.eye(30), np.diag(np.append(value[: plan.front], value[-1]))
    L[tuple(plan.lower)] = value[below]
    U[tuple(plan.upper)] = value[plan.front + plan.lower.shape[1] : -1]
    np.testing.assert_allclose(
        (L @ U)[np.ix_(*2 * [np.argsort(plan.order)])], W, rtol=0, atol=1e-12 * abs(W).max()
    )


@pytest.mark.parametrize(
    ("cells", "message"), [([[0, 3], [1, 0]], "from 0 to 2"), ([[0, 0], [1, 1]], "once")]
)
def test_patterns_that_are_none_are_refused(cells: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Elimination(torch.tensor(cells), 3)
