"""Gradients of time courses: adjoint, tangents, autograd and finite differences of the same steps agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from kinetic_systems import (
    FLOAT,
    Case,
    cascade,
    mass_action_system,
    oregonator,
    random_network,
    robertson,
    vector,
)

from multiscale.solver.events import Event, Timed, dose
from multiscale.solver.integrate import Integration
from multiscale.solver.replay import replay
from multiscale.solver.tape import Tape
from multiscale.solver.time_course import _DEFAULTS, _task, sensitivities, time_course


def gradients(case: Case, method, events=(), **options):
    """Weighted sum of all requested states, each relative to its size, and its gradients."""
    x0, p = (part.clone().requires_grad_() for part in (case.x0, case.p))
    course = time_course(case.system, x0, p, case.times, gradient=method, events=events, **options)
    assert course.solved.all()
    weight = torch.linspace(0.5, 1.5, course.x.numel(), dtype=FLOAT).reshape(course.x.shape)
    weight = weight / course.x.detach().abs().amax((0, 1))
    first, second = torch.autograd.grad((course.x * weight).sum(), (x0, p))
    return course, weight, first, second


def assert_same(found, expected, rtol):
    for a, b in zip(found, expected, strict=True):
        scale = b.abs().amax(1, keepdim=True)
        assert float(((a - b).abs() / (b.abs() + 1e-6 * scale)).max()) < rtol


def switched(case: Case) -> tuple[Case, list]:
    """A case with a dose at a time that is a parameter, a clamp of a second input, and a threshold."""
    constants, times = case.p.shape[1], case.times
    extra = vector(float(times[1]) * 0.7, 0.3, 0.0, float(times[1]) * 1.3)
    system, p = replace(case.system, parameters=constants + 4), torch.cat([case.p, extra[None]], 1)
    clamp = Timed(
        lambda p: p[:, constants + 3], lambda at: torch.cat([at.x[:, :-1], at.x[:, -1:] * 0.5 + 0.01], 1)
    )
    timed = [dose(0, constants, constants + 1), clamp]
    later = torch.stack([1.4 * times[1], times[-1]])
    start, end = time_course(system, case.x0, p, later, events=timed).x[0, :, -1]
    sign, p[0, constants + 2] = float((end - start).sign()), (start + end) / 2

    def push(at):  # further beyond the threshold
        return at.x * (
            1 + sign * at.p[:, constants + 1 : constants + 2] * at.t[:, None] / (1 + at.t[:, None])
        )

    threshold = Event(
        lambda at: sign * (at.x[:, -1] - at.p[:, constants + 2] * (1 + 0.01 * at.t / times[-1])), push
    )
    return Case(system, case.x0, p, case.times), [*timed, threshold]


SHORT = {
    "robertson": robertson(),
    "oregonator": oregonator()._replace(times=vector(1.0, 5.0, 20.0)),
    "cascade": cascade()._replace(times=vector(1.0, 10.0, 50.0)),
    "random 1": random_network(1),
    "random 2": random_network(2),
}
LOOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-8}


@pytest.mark.parametrize("name", SHORT)
def test_adjoint_tangents_and_autograd_agree(name):
    _, _, *expected = gradients(SHORT[name], "autograd", **LOOSE)
    for method in ("adjoint", "forward"):
        _, _, *found = gradients(SHORT[name], method, **LOOSE)
        assert_same(found, expected, 1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["robertson", "oregonator", "cascade", "random 1", "random 2"])
def test_they_agree_through_events_too(name):
    case, events = switched(SHORT[name]._replace(times=SHORT[name].times[:3]))
    _, _, *expected = gradients(case, "autograd", events, **LOOSE)
    assert float(expected[1][:, -4:].abs().min(1).values) > 0  # times and thresholds matter
    for method in ("adjoint", "forward"):
        _, _, *found = gradients(case, method, events, **LOOSE)
        assert_same(found, expected, 1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("with_events", [False, True])
@pytest.mark.parametrize("name", ["robertson", "oregonator", "cascade", "random 2"])
def test_adjoint_equals_finite_differences_of_the_same_steps(name, with_events):
    case = SHORT[name]._replace(times=SHORT[name].times[:3])
    case, events = switched(case) if with_events else (case, [])
    _, weight, _, slope = gradients(case, "adjoint", events, **LOOSE)
    with torch.no_grad():
        task = _task(case.system, case.x0, case.p, case.times, **{**_DEFAULTS, "events": events, **LOOSE})
        tape = Tape(case.x0, 2**30)
        done = Integration(task, case.x0, tape).run()

        def value(p):
            return float((replay(task, tape, case.x0, p, done.out, done.status) * weight).sum())

        for j in [1, *range(2, case.p.shape[1])[-4:]]:
            differences = []
            for relative in (2e-4, 1e-4):  # extrapolated central differences
                h = torch.zeros_like(case.p)
                h[0, j] = relative * float(case.p[0, j].abs())
                differences.append((value(case.p + h) - value(case.p - h)) / (2 * float(h[0, j])))
            extrapolated = (4 * differences[1] - differences[0]) / 3
            size = float((slope[0] * case.p[0]).abs().max()) / float(case.p[0, j])
            assert extrapolated == pytest.approx(float(slope[0, j]), rel=1e-6, abs=1e-8 * size)


def test_jump_of_state_and_time_equals_the_closed_form():
    # x' = k until x reaches c, where it is reset to zero: x(T) = k (T − (c − x0)/k) = kT − c + x0.
    system = mass_action_system(1, [((), {0: 1})], extra=1)
    event = Event(lambda at: at.x[:, 0] - at.p[:, 1], lambda at: at.x * 0)
    x0 = vector(0.1)[None].requires_grad_()
    p = vector(2.0, 1.5)[None].requires_grad_()
    x = time_course(system, x0, p, vector(1.0), events=[event]).x
    assert x.item() == pytest.approx(2.0 - 1.5 + 0.1, rel=1e-12)
    first, second = torch.autograd.grad(x.sum(), (x0, p))
    assert first.item() == pytest.approx(1.0, rel=1e-10)
    assert second[0].tolist() == pytest.approx([1.0, -1.0], rel=1e-10)


def test_gradient_by_the_time_of_a_dose_equals_the_closed_form():
    decay = mass_action_system(1, [((0,), {0: -1})], extra=2)
    p = vector(1.3, 0.4, 2.0)[None].requires_grad_()  # decay, time and amount
    x = time_course(
        decay, vector(0.0)[None], p, vector(1.0), events=[dose(0, 1, 2)], rtol=1e-10, atol=1e-13
    ).x
    (slope,) = torch.autograd.grad(x.sum(), p)
    remains = torch.exp(vector(-1.3 * 0.6))
    expected = [float(-0.6 * 2 * remains), float(1.3 * 2 * remains), float(remains)]
    assert slope[0].tolist() == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("method", ["adjoint", "forward"])
def test_byte_budget_changes_nothing_but_the_number_of_segments(method):
    case, events = switched(SHORT["random 1"])
    whole, _, *expected = gradients(case, method, events, **LOOSE)
    parts, _, *found = gradients(case, method, events, memory=4000, **LOOSE)
    assert whole.segments == 1 and parts.segments > 2
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_sensitivities_along_chosen_directions_are_those_of_the_gradient():
    case = SHORT["robertson"]
    course, weight, first, second = gradients(case, "adjoint", **LOOSE)
    dx0, dp = torch.ones(1, 1, 3, dtype=FLOAT), case.p[None]
    again, slopes = sensitivities(case.system, case.x0, case.p, case.times, dx0, dp, **LOOSE)
    assert torch.equal(course.x.detach(), again.x)
    assert float((slopes[0] * weight).sum()) == pytest.approx(
        float(first.sum() + (second * case.p).sum()), rel=1e-9
    )


def test_a_batch_has_the_gradients_of_its_systems():
    case = SHORT["random 2"]
    p = case.p * torch.linspace(0.5, 2, 3, dtype=FLOAT)[:, None]
    batch = Case(case.system, case.x0.repeat(3, 1), p, case.times)
    together = gradients(batch, "adjoint", **LOOSE)
    p_leaf = p.clone().requires_grad_()
    for i in range(3):
        x = time_course(case.system, case.x0, p_leaf[i : i + 1], case.times, **LOOSE).x
        (slope,) = torch.autograd.grad((x * together[1][i]).sum(), p_leaf)
        torch.testing.assert_close(slope[i], together[3][i], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["adjoint", "forward", "autograd"])
def test_a_system_that_fails_changes_no_gradient_of_the_others(method):
    system = mass_action_system(1, [((0, 0), {0: 1})], extra=1)  # x' = k x²: infinite at t = 1/(k x0)
    p = vector(0.1, 2.0, 0.3)[:, None] * vector(1, 1)
    alone = p[[0, 2]].clone().requires_grad_()
    together = p.clone().requires_grad_()
    event = Event(lambda at: at.x[:, 0] - 1.05, lambda at: at.x * (1 + at.p[:, 1:]))
    options = {"events": [event], "gradient": method, "max_steps": 200}
    for leaf in (alone, together):
        x = time_course(system, leaf.detach()[:, :1] * 0 + 1, leaf, vector(0.6, 1.0), **options).x
        x.square().sum().backward()
    assert alone.grad is not None and together.grad is not None
    assert torch.equal(together.grad[[0, 2]], alone.grad)
    assert together.grad[1].abs().max() == 0


def test_second_derivatives_come_from_autograd_and_are_refused_by_the_adjoint():
    decay = mass_action_system(1, [((0,), {0: -1})])
    k = vector(1.2)[None].requires_grad_()
    x0, times = vector(1.0)[None], vector(0.5)
    for method in ("autograd", "adjoint"):
        x = time_course(decay, x0, k, times, gradient=method, rtol=1e-9, atol=1e-12).x
        (first,) = torch.autograd.grad(x.square().sum(), k, create_graph=True)
        if method == "autograd":
            (second,) = torch.autograd.grad(first.sum(), k)
            assert second.item() == pytest.approx(float(torch.exp(vector(-1.2))), rel=1e-6)
        else:
            with pytest.raises(NotImplementedError, match="autograd"):
                torch.autograd.grad(first.sum(), k)
