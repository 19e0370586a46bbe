from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from multiscale.equations.derivative import derivatives, sparse_program
from multiscale.equations.expression import ONE, TIME, ZERO, Expression, apply, number, symbol, total
from multiscale.equations.hybrid import ABOVE, ABOVE_OR_AT, HybridSystem, Sparse
from multiscale.passing.reactions import Reactions
from multiscale.physics.mass_action import mass_action
from multiscale.solver.hybrid.compiled import Compiled, compile_system
from multiscale.solver.hybrid.evaluation import start_of
from multiscale.solver.hybrid.flow import Advance, State, advance
from multiscale.solver.status import Status
from multiscale.solver.time_course import sensitivities


def hybrid(
    f: Sequence[Expression],
    x: Sequence[Expression],
    p: Sequence[Expression],
    start: Sequence[Expression],
    values: Sequence[float],
    roots: Sequence[Expression] = (),
    modes: Sequence[Expression] = (),
    kinds: Sequence[int] = (),
) -> Compiled:
    n, P, M = len(x), len(p), len(modes)
    inputs = {TIME: 0} | {e: 1 + i for i, e in enumerate([*x, *p, *modes])}
    count = 1 + n + P + M
    w, u = symbol("of time"), [symbol(f"of state {i}") for i in range(n)]
    wider = inputs | {w: count} | {e: count + 1 + i for i, e in enumerate(u)}

    def by_time(parts: Sequence[Expression]) -> list[Expression]:
        found = derivatives(parts, [TIME])
        return [found.get((i, 0), ZERO) for i in range(len(parts))]

    entries = derivatives(f, x)
    push = [
        total([drift * w, *(entry * u[j] for (row, j), entry in entries.items() if row == i)])
        for i, drift in enumerate(by_time(f))
    ]

    def sparse(
        values: Sequence[Expression], *matrices: tuple[Sequence[Expression], Sequence[Expression]]
    ) -> Sparse:
        return sparse_program(values, matrices, inputs, count)

    return compile_system(
        HybridSystem(
            tuple(str(e.name) for e in x),
            tuple(str(e.name) for e in p),
            np.array(values),
            np.arange(P),
            sparse(start, (start, p)),
            sparse(f),
            sparse([*f, *by_time(f)], (f, x)),
            sparse([], (f, x), (f, p)),
            sparse_program([], [(push, x), (push, p)], wider, count + 1 + n),
            sparse(roots),
            sparse([*roots, *by_time(roots)], (roots, x), (roots, p)),
            np.array(kinds, dtype=np.int64),
            (),
        )
    )


def begin(
    compiled: Compiled,
    end: float,
    times: Sequence[float] = (),
    p: np.ndarray | None = None,
    tangents: bool = True,
) -> State:
    values = compiled.system.values[None] if p is None else p
    systems, P = values.shape
    dp = np.tile(np.eye(P)[:, : P if tangents else 0], (systems, 1, 1))
    zero, ends = np.zeros(systems), np.full(systems, end)
    x, S = start_of(compiled.system, zero, values, dp)
    modes = np.zeros((systems, len(compiled.system.kinds)))
    wanted, offsets = np.tile(times, systems), np.arange(systems + 1) * len(times)
    return State(zero, x, S, values, dp, modes, zero, ends, wanted, offsets)


def wave() -> Compiled:
    """x' = k x (1 − x) cos(w t), so that x = 1 / (1 + (1/x(0) − 1) exp(−k sin(w t) / w)), with x(0) = a²."""
    x, (k, w, a) = symbol("x"), (symbol("k"), symbol("w"), symbol("a"))
    rate = k * x * (ONE - x) * apply("cos", w * TIME)
    roots = [x - number(0.35), TIME - number(1.25)]
    modes, kinds = [symbol("m0"), symbol("m1")], [ABOVE, ABOVE_OR_AT]
    return hybrid([rate], [x], [k, w, a], [a * a], [2.0, 3.0, 0.5], roots, modes, kinds)


def of_wave(t: np.ndarray | float, p: np.ndarray) -> np.ndarray:
    k, w, a = p
    return 1 / (1 + (1 / a**2 - 1) * np.exp(-k * np.sin(w * np.asarray(t)) / w))


def robertson() -> Compiled:
    x, (a, b, c) = [symbol(name) for name in "xyz"], (symbol(name) for name in "abc")
    first, second, third = a * x[0], b * x[1] * x[2], c * x[1] * x[1]
    f = [second - first, first - second - third, third]
    return hybrid(f, x, [a, b, c], [ONE, ZERO, ZERO], [0.04, 1e4, 3e7])


def central(function: Callable[[np.ndarray], np.ndarray], p: np.ndarray, step: float) -> np.ndarray:
    columns = [(function(p + d) - function(p - d)) / (2 * d.sum()) for d in np.diag(step * np.abs(p))]
    return np.stack(columns, -1)


def test_states_at_requested_times_are_those_of_the_closed_form():
    compiled, times = wave(), [0.05, 0.1, 0.2]
    state = begin(compiled, 0.2, times)
    found = advance(compiled, state, rtol=1e-10, atol=1e-12)
    assert found.status.tolist() == [0] and found.t.tolist() == [0.2] and not found.switched.any()
    np.testing.assert_allclose(found.x_out[:, 0], of_wave(np.array(times), state.p[0]), rtol=1e-9)
    np.testing.assert_array_equal(found.x_out[-1], found.x[0])


def test_halved_steps_divide_the_error_by_thirty_two():
    compiled = wave()
    state = replace(begin(compiled, 1.0), modes=np.array([[1.0, 0.0]]), x=np.array([[0.36]]))
    exact = of_wave(1.0, np.array([2.0, 3.0, 0.6]))
    errors = []
    for h in (0.1, 0.05, 0.025):
        found = advance(compiled, replace(state, h=np.array([h])), rtol=1e6, atol=1e6, longest=h)
        assert found.steps.tolist() == [round(1 / h)]
        errors.append(abs(found.x[0, 0] - exact))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 4.7).all()


def test_robertson_is_followed_to_1e11_with_derivatives():
    compiled = robertson()
    state = begin(compiled, 1e11, [0.4, 1e11])
    found = advance(compiled, state, rtol=1e-9, atol=1e-15)
    published = [
        9.8517211386e-01,
        3.3863953790e-05,
        1.4794022185e-02,
    ]  # Hairer and Wanner 1996, section IV.10
    np.testing.assert_allclose(found.x_out[0], published, rtol=1e-7)
    np.testing.assert_allclose(found.x[0, :2], [0.2083340149701255e-07, 0.8333360770334713e-13], rtol=1e-6)
    assert found.steps[0] < 1500
    np.testing.assert_allclose(found.S[0].sum(0), 0.0, atol=1e-10 * np.abs(found.S_out).max())


def test_derivatives_are_those_of_the_steps_by_central_differences():
    compiled, h = wave(), 0.05
    state = begin(compiled, 0.2, [0.07, 0.2])

    def last(p: np.ndarray) -> np.ndarray:
        moved = begin(compiled, 0.2, [0.07, 0.2], p[None], tangents=False)
        found = advance(compiled, replace(moved, h=np.array([h])), rtol=1e6, atol=1e6, longest=h)
        assert found.steps.tolist() == [4]
        return found.x_out[:, 0]

    found = advance(compiled, replace(state, h=np.array([h])), rtol=1e6, atol=1e6, longest=h)
    np.testing.assert_allclose(found.S_out[:, 0], central(last, state.p[0], 1e-5), rtol=1e-8, atol=1e-10)


def test_derivatives_of_a_network_agree_with_the_tensor_solver():
    x, p = [symbol(name) for name in "abc"], [symbol(name) for name in ("on", "off", "cat", "start")]
    on, off, cat = p[0] * x[0] * x[1], p[1] * x[2], p[2] * x[2]
    f = [off + cat - on, off - on, on - off - cat]  # the enzyme comes back, the substrate does not
    compiled = hybrid(f, x, p, [ONE, p[3], ZERO], [3.0, 0.5, 2.0, 4.0])
    found = advance(compiled, begin(compiled, 0.5, [0.1, 0.5]), rtol=1e-10, atol=1e-13)
    laws = [
        (mass_action(2), [4, 0, 1], {0: -1.0, 1: -1.0, 2: 1.0}),
        (mass_action(1), [5, 2], {0: 1.0, 1: 1.0, 2: -1.0}),
        (mass_action(1), [6, 2], {0: 1.0, 2: -1.0}),
    ]
    system = Reactions.build(3, 3, laws)
    x0, k = torch.tensor([[1.0, 4.0, 0.0]]).double(), torch.tensor([[3.0, 0.5, 2.0]]).double()
    dx0, dp = torch.zeros(4, 1, 3).double(), torch.eye(4)[:, None, :3].double()
    dx0[3, 0, 1] = 1.0
    times = torch.tensor([0.1, 0.5]).double()
    course, slope = sensitivities(system, x0, k, times, dx0, dp, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.x_out, course.x[0].numpy(), rtol=1e-7)
    np.testing.assert_allclose(found.S_out, slope[:, 0].permute(1, 2, 0).numpy(), rtol=1e-6, atol=1e-7)


def test_a_switch_of_states_is_located_to_rounding():
    compiled = wave()
    state = begin(compiled, 1.0, [0.1, 0.9])
    found = advance(compiled, state, rtol=1e-11, atol=1e-13)
    assert found.switched.tolist() == [[True, False]] and found.status.tolist() == [0]
    assert 0 < found.x[0, 0] - 0.35 < 1e-15
    expected = np.arcsin(np.log((0.35 / 0.65) / (0.25 / 0.75)) * 3 / 2) / 3
    assert abs(found.t[0] - expected) < 1e-10
    assert np.isfinite(found.x_out[0, 0]) and np.isnan(found.x_out[1, 0])


def test_a_switch_of_time_is_hit_exactly_and_a_stale_mode_stops_at_once():
    compiled = wave()
    low = replace(begin(compiled, 9.0), x=np.array([[0.1]]))
    found = advance(compiled, low, rtol=1e-9, atol=1e-12)
    assert found.t.tolist() == [1.25] and found.switched.tolist() == [[False, True]]
    again = advance(compiled, replace(low, t=found.t, x=found.x, S=found.S))
    assert again.t.tolist() == [1.25] and again.switched.tolist() == [[False, True]]
    on = advance(compiled, replace(low, t=found.t, x=found.x, S=found.S, modes=np.array([[0.0, 1.0]])))
    assert on.t[0] > 1.25


def test_a_condition_that_is_true_for_a_thousandth_of_a_step_is_seen():
    x, mode = symbol("x"), symbol("m")
    peak = number(0.999999) - (TIME - number(0.5)) * (TIME - number(0.5))
    compiled = hybrid([-x], [x], [], [ONE], [], [peak - number(0.999998)], [mode], [ABOVE])
    found = advance(compiled, begin(compiled, 1.0), rtol=1e-2, atol=1e-2)
    assert found.switched.any() and abs(found.t[0] - 0.499) < 1e-12


def test_systems_do_not_depend_on_their_neighbours_or_on_threads():
    compiled = wave()
    p = np.array([[2.0, 3.0, a] for a in np.linspace(0.2, 0.5, 9)])
    state = begin(compiled, 0.2, [0.1], p)
    alone = [advance(compiled, begin(compiled, 0.2, [0.1], row[None]), threads=1) for row in p]
    for threads in (1, 3):
        together = advance(compiled, state, threads=threads)
        np.testing.assert_array_equal(together.S, np.concatenate([one.S for one in alone]))
        np.testing.assert_array_equal(together.x_out, np.concatenate([one.x_out for one in alone]))


def one(f: Expression, max_steps: int = 10_000) -> Advance:
    compiled = hybrid([f], [symbol("x")], [], [ONE], [])
    return advance(compiled, begin(compiled, 2.0, [0.5, 2.0]), max_steps=max_steps)


def test_failures_have_a_status_and_leave_what_was_not_reached_empty():
    x = symbol("x")
    blows = one(x * x)
    assert blows.status.tolist() == [Status.STEP_TOO_SMALL] and abs(blows.t[0] - 1.0) < 1e-6
    assert abs(blows.x_out[0, 0] - 2.0) < 1e-6 and np.isnan(blows.x_out[1, 0])
    assert one(ONE / (x - ONE)).status.tolist() == [Status.NOT_FINITE]
    assert one(-x, max_steps=3).status.tolist() == [Status.TOO_MANY_STEPS]


@pytest.mark.parametrize("size", [1, 12, 40])
def test_elimination_with_pivoting_solves_chains_whose_diagonal_vanishes(size: int):
    x = [symbol(f"x{i}") for i in range(size)]
    f = [x[(i + 1) % size] * number(50.0 + i) - number(1e-3) * x[(i - 2) % size] for i in range(size)]
    matrix = np.zeros((size, size))
    for i in range(size):
        matrix[i, (i + 1) % size] += 50.0 + i
        matrix[i, (i - 2) % size] -= 1e-3
    compiled = hybrid(f, x, [], [number(1.0 + i) for i in range(size)], [])
    state = begin(compiled, 0.02)
    found = advance(compiled, state, rtol=1e-9, atol=1e-9)
    values, vectors = np.linalg.eig(matrix)
    exact = (vectors * np.exp(0.02 * values)) @ np.linalg.solve(vectors, state.x[0].astype(complex))
    np.testing.assert_allclose(found.x[0], exact.real, rtol=1e-6)


def test_errors_of_derivatives_bound_the_steps_where_they_are_asked_to():
    compiled = robertson()
    state = begin(compiled, 40.0)
    loose, exact = (advance(compiled, state, rtol=tol, atol=1e-12) for tol in (1e-4, 1e-10))
    bound = advance(compiled, state, rtol=1e-4, atol=1e-12, control_sensitivities=True)
    assert bound.steps[0] > loose.steps[0]
    scale = np.abs(exact.S)
    assert (np.abs(bound.S - exact.S) / scale).max() < (np.abs(loose.S - exact.S) / scale).max()
