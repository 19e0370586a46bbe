"""Stiff time courses: published values, events, statuses, and systems that do not disturb each other."""

from __future__ import annotations

import math
from unittest.mock import patch

import pytest
import torch
from kinetic_systems import (
    FLOAT,
    OREGONATOR_END,
    ROBERTSON_END,
    cascade,
    mass_action_system,
    oregonator,
    random_network,
    robertson,
    vector,
)

from multiscale.passing.reactions import Reactions
from multiscale.physics.law import Law
from multiscale.solver.events import Event, Timed, dose
from multiscale.solver.sparse import Elimination
from multiscale.solver.status import Status
from multiscale.solver.time_course import time_course

DECAY = mass_action_system(1, [((0,), {0: -1})], extra=3)


def test_robertson_ends_at_the_published_values():
    case = robertson()
    course = time_course(case.system, case.x0, case.p, vector(1e11), rtol=1e-8, atol=1e-16)
    assert course.solved.all()
    torch.testing.assert_close(course.x[0, 0], ROBERTSON_END, rtol=2e-6, atol=0)


@pytest.mark.slow
def test_oregonator_ends_one_period_later_at_the_published_values():
    case = oregonator()
    course = time_course(case.system, case.x0, case.p, vector(360.0), rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(course.x[0, 0], OREGONATOR_END, rtol=1e-4, atol=0)


@pytest.mark.slow
def test_error_follows_the_tolerance():
    case = cascade()
    exact = time_course(case.system, case.x0, case.p, case.times, rtol=1e-8, atol=1e-12).x
    for rtol in (1e-4, 1e-6):
        course = time_course(case.system, case.x0, case.p, case.times, rtol=rtol, atol=1e-4 * rtol)
        scale = exact.abs() + 1e-4
        assert float(((course.x - exact) / scale).abs().max()) < 20 * rtol


def test_cascade_conserves_its_kinases_to_rounding():
    case = cascade()
    course = time_course(case.system, case.x0, case.p, case.times)
    kinase = [9, 10, 11, 12 + 6, 12 + 7, 12 + 8, 12 + 9]  # the last one in all its forms
    torch.testing.assert_close(
        course.x[0, :, kinase].sum(-1), torch.full((4,), 1.2, dtype=FLOAT), rtol=1e-12, atol=0
    )


def test_requested_times_inside_steps_are_as_accurate_as_steps():
    times = torch.linspace(0.01, 5, 200, dtype=FLOAT)
    p = vector(1.0, 0, 0, 0)[None]
    course = time_course(DECAY, vector(1.0)[None], p, times, rtol=1e-7, atol=1e-10)
    assert float((course.x[0, :, 0] - (-times).exp()).abs().max()) < 5e-7
    assert int(course.steps) < 60


def test_every_system_has_its_own_times_and_start():
    p = vector(1.0, 0, 0, 0).repeat(2, 1)
    times = torch.stack([vector(1.0, 2.0), vector(5.0, 7.0)])
    course = time_course(
        DECAY, vector(1.0).repeat(2, 1), p, times, t0=vector(0.0, 4.0), rtol=1e-9, atol=1e-12
    )
    elapsed = times - vector(0.0, 4.0)[:, None]
    torch.testing.assert_close(course.x[..., 0], (-elapsed).exp(), rtol=1e-8, atol=1e-10)


def test_state_at_the_start_is_the_initial_one():
    course = time_course(DECAY, vector(2.0)[None], vector(1.0, 0, 0, 0)[None], vector(0.0))
    assert course.x.item() == 2.0


def test_dose_is_added_at_its_time_exactly():
    times = vector(0.999999, 1.0, 2.0)
    p = vector(1.0, 1.0, 3.0, 0)[None]  # decay, time and amount of the dose
    course = time_course(DECAY, vector(1.0)[None], p, times, events=[dose(0, 1, 2)], rtol=1e-10, atol=1e-12)
    before, at, after = course.x[0, :, 0].tolist()
    assert before == pytest.approx(math.exp(-0.999999), rel=1e-8)
    assert at == pytest.approx(math.exp(-1) + 3, rel=1e-9)
    assert after == pytest.approx(math.exp(-2) + 3 * math.exp(-1), rel=1e-8)


def test_a_system_without_the_dose_is_not_touched_by_it():
    p = torch.stack([vector(1.0, math.inf, 3.0, 0), vector(1.0, 0.5, 3.0, 0)])
    course = time_course(DECAY, vector(1.0).repeat(2, 1), p, vector(1.0), events=[dose(0, 1, 2)], rtol=1e-9)
    assert course.x[0].item() == pytest.approx(math.exp(-1), rel=1e-7)
    assert course.x[1].item() == pytest.approx(math.exp(-1) + 3 * math.exp(-0.5), rel=1e-7)


def test_condition_is_met_to_rounding_when_its_event_acts():
    seen = []

    def reset(at):
        seen.append((at.t.clone(), at.x.clone()))
        return at.x + at.p[:, 2:3]

    event = Event(lambda at: at.p[:, 1] - at.x[:, 0], reset)  # fires when x has fallen to p1
    p = vector(1.0, 0.25, 0.5, 0)[None]
    course = time_course(DECAY, vector(1.0)[None], p, vector(3.0), events=[event], rtol=1e-9, atol=1e-12)
    assert [float(x) for _, x in seen] == pytest.approx([0.25, 0.25], rel=1e-14)
    assert float(seen[0][0]) == pytest.approx(math.log(4), rel=1e-9)
    assert float(seen[1][0]) == pytest.approx(math.log(4) + math.log(3), rel=1e-9)
    assert course.x.item() == pytest.approx(0.75 * math.exp(-(3 - math.log(12))), rel=1e-8)


def test_event_that_sets_off_another_acts_before_it():
    order = []

    def first(at):
        order.append("first")
        return at.x * 3

    def second(at):
        order.append("second")
        return at.x - 1

    events = [
        Event(lambda at: at.x[:, 0] - 1.5, second),
        Timed(lambda p: p[:, 1], first),
    ]
    course = time_course(DECAY, vector(1.0)[None], vector(1.0, 0.2, 0, 0)[None], vector(0.2), events=events)
    assert order == ["first", "second"]
    assert course.x.item() == pytest.approx(3 * math.exp(-0.2) - 1, rel=1e-6)


def test_condition_that_is_true_at_the_start_does_not_fire():
    event = Event(lambda at: at.x[:, 0] - 0.5, lambda at: at.x + 100)
    course = time_course(DECAY, vector(1.0)[None], vector(1.0, 0, 0, 0)[None], vector(2.0), events=[event])
    assert course.x.item() == pytest.approx(math.exp(-2), rel=1e-5)


def test_condition_that_is_only_touched_is_a_status():
    growth = mass_action_system(1, [((-1,), {0: 2.0})])  # x = t²
    event = Event(lambda at: -((at.t - 1.0) ** 2), lambda at: at.x + 1)
    course = time_course(growth, vector(0.0)[None], vector(1.0)[None], vector(2.0), events=[event])
    assert int(course.status) in (Status.GRAZING_EVENT, Status.CONVERGED)  # not seen between two samples
    cubic = Event(lambda at: (at.t - 1.0) ** 3, lambda at: at.x + 1)
    course = time_course(growth, vector(0.0)[None], vector(1.0)[None], vector(2.0), events=[cubic])
    assert int(course.status) == Status.GRAZING_EVENT


def test_nothing_falls_below_minus_the_absolute_tolerance():
    case = robertson()
    times = torch.logspace(-6, 6, 100, dtype=FLOAT)
    course = time_course(case.system, case.x0, case.p, times, rtol=1e-3, atol=1e-7)
    assert float(course.x.min()) >= -1.1e-7


def blow_up() -> Reactions:
    return mass_action_system(1, [((0, 0), {0: 1})])  # x' = k x²: infinite at t = 1/(k x0)


def test_failures_are_statuses_and_leave_the_others_alone():
    system, x0 = blow_up(), vector(1.0, 1.0, 1.0)[:, None]
    p = vector(0.1, 2.0, 0.3)[:, None]
    together = time_course(system, x0, p, vector(0.2, 1.0), max_steps=200)
    alone = time_course(system, x0[[0, 2]], p[[0, 2]], vector(0.2, 1.0), max_steps=200)
    assert together.status.tolist() == [Status.CONVERGED, Status.TOO_MANY_STEPS, Status.CONVERGED]
    assert torch.equal(together.x[[0, 2]], alone.x)
    assert together.x.isfinite().all()
    assert float(together.t[1]) == pytest.approx(0.5, abs=1e-6)


def test_too_many_steps_is_a_status():
    case = robertson()
    course = time_course(case.system, case.x0, case.p, vector(1e6), max_steps=10)
    assert int(course.status) == Status.TOO_MANY_STEPS


def test_start_that_is_not_finite_is_a_status():
    p = vector(1.0, math.nan)[:, None]
    course = time_course(blow_up(), vector(0.1, 0.1)[:, None], p, vector(1.0))
    assert course.status.tolist() == [Status.CONVERGED, Status.NOT_FINITE]
    assert course.x.isfinite().all()


def test_rate_that_stops_being_defined_ends_in_a_status():
    root = Law(
        "root",
        ("k", "x"),
        lambda z: z[..., 0] * z[..., 1].sqrt(),
        lambda z: torch.stack([z[..., 1].sqrt(), 0.5 * z[..., 0] / z[..., 1].sqrt()], -1),
        lambda z, a: a * 0,
    )
    system = Reactions.build(1, 1, [(root, [2, 0], {0: -1.0})])
    course = time_course(system, vector(1.0)[None], vector(1.0)[None], vector(3.0), nonnegative=False)
    assert int(course.status) == Status.STEP_TOO_SMALL
    assert float(course.t) == pytest.approx(2.0, abs=1e-2)


def test_failed_systems_pass_on_no_gradient():
    x0 = vector(1.0, 1.0)[:, None].requires_grad_()
    p = vector(0.1, 2.0)[:, None].requires_grad_()
    time_course(blow_up(), x0, p, vector(0.2, 1.0), max_steps=200).x.sum().backward()
    assert p.grad is not None and x0.grad is not None
    assert float(p.grad[1]) == 0 and float(x0.grad[1]) == 0
    assert float(p.grad[0]) > 0


def test_elimination_on_the_pattern_gives_what_dense_elimination_gives():
    case = random_network(5, size=60, reactions=90)
    p = case.p * torch.linspace(0.5, 2, 96, dtype=FLOAT)[:, None]  # so many that the pattern is used
    x0 = case.x0.repeat(96, 1)
    factorise = Elimination.factorise
    with patch.object(Elimination, "factorise", autospec=True, side_effect=factorise) as used:
        leaf = p.clone().requires_grad_()
        together = time_course(case.system, x0, leaf, case.times[:3], rtol=1e-5)
        together.x[:2].sum().backward()
        assert used.call_count > 0
        before = used.call_count
        alone_leaf = p[:2].clone().requires_grad_()
        alone = time_course(case.system, x0[:2], alone_leaf, case.times[:3], rtol=1e-5)
        alone.x.sum().backward()
        assert used.call_count == before
    torch.testing.assert_close(together.x[:2], alone.x, rtol=1e-9, atol=1e-12)
    assert leaf.grad is not None and alone_leaf.grad is not None
    torch.testing.assert_close(leaf.grad[:2], alone_leaf.grad, rtol=1e-7, atol=1e-10)


def test_lanes_change_nothing():
    case = random_network(3)
    p = case.p * torch.linspace(0.3, 3, 7, dtype=FLOAT)[:, None]
    x0 = case.x0.repeat(7, 1)
    wide = time_course(case.system, x0, p, case.times)
    narrow = time_course(case.system, x0, p, case.times, lanes=2)
    assert torch.equal(wide.steps, narrow.steps)
    torch.testing.assert_close(wide.x, narrow.x, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"times": vector(2.0, 1.0)}, "ascending"),
        ({"times": vector(-1.0)}, "not before"),
        ({"rtol": 0.0}, "rtol"),
        ({"p": vector(1.0)[None]}, "shapes"),
        ({"gradient": "exact"}, "adjoint"),
    ],
)
def test_wrong_arguments_are_refused(change, words):
    arguments = {"x0": vector(1.0)[None], "p": vector(1.0, 0, 0, 0)[None], "times": vector(1.0)} | change
    with pytest.raises(ValueError, match=words):
        time_course(DECAY, **arguments)
