"""Events at one moment: order, waiting and what they leave, as SBML Level 3 Version 2 prescribes."""

import numpy as np
import pytest

from multiscale.equations.flatten import flatten
from multiscale.equations.formula import parse
from multiscale.equations.model import Equations, Event, Parameter
from multiscale.solver.hybrid.runs import Outcome, Period, Run, simulate
from multiscale.solver.status import Status


def event(name: str, trigger: str, options: dict | None = None, **assignments: str) -> Event:
    """Event whose formulas are text."""
    formulas = {key: parse(options[key]) for key in ("delay", "priority") if options and key in options}
    flags = {key: value for key, value in (options or {}).items() if key not in formulas}
    values = {target: parse(formula) for target, formula in assignments.items()}
    return Event(name, parse(trigger), values, **formulas, **flags)


def model(values: dict[str, float], *events: Event, rates: dict[str, str] | None = None) -> Equations:
    """Model of numbers that rates and events change; the others are constant."""
    changed = {name for one in events for name in one.assignments} | set(rates or {})
    parameters = {name: Parameter(value, name not in changed) for name, value in values.items()}
    return Equations(
        parameters=parameters,
        rates={name: parse(formula) for name, formula in (rates or {}).items()},
        events=events,
    )


def outcome(equations: Equations, times: list[float], *, seed: int = 0) -> Outcome:
    """Simulate from 0 with derivatives by all parameters."""
    system = flatten(equations).system
    period = Period(0.0, system.values, np.eye(len(system.active)), times=times)
    return simulate(system, [Run((period,))], sensitivities=True, seed=seed)[0]


def values(equations: Equations, times: list[float], name: str, *, seed: int = 0) -> list[float]:
    """One state at all times."""
    found = outcome(equations, times, seed=seed)
    assert found.status == Status.CONVERGED, found.message
    return found.x[0][:, flatten(equations).system.states.index(name)].tolist()


def test_the_event_with_the_highest_priority_is_executed_first():
    low = event("low", "time >= 1", {"priority": "1"}, a="2 * a")
    high = event("high", "time >= 1", {"priority": "2"}, a="a + 1")
    assert values(model({"a": 3.0}, low, high), [0.5, 1.0, 2.0], "a") == [3.0, 6.0, 6.0]
    assert values(model({"a": 3.0}, high, low), [2.0], "a") == [6.0]


def test_values_of_the_trigger_time_let_two_events_swap_what_they_read():
    there = event("there", "time >= 1", {"priority": "2"}, a="b")
    back = event("back", "time >= 1", {"priority": "1"}, b="a")
    found = outcome(model({"a": 1.0, "b": 2.0}, there, back), [1.0])
    assert found.x[0].tolist() == [[2.0, 1.0]]


def test_values_of_the_time_of_execution_are_those_that_the_event_before_left():
    late = {"values_from_trigger": False}
    there = event("there", "time >= 1", {"priority": "2", **late}, a="b")
    back = event("back", "time >= 1", {"priority": "1", **late}, b="a")
    assert outcome(model({"a": 1.0, "b": 2.0}, there, back), [1.0]).x[0].tolist() == [[2.0, 2.0]]


def test_priorities_are_evaluated_again_after_every_event():
    first = event("first", "time >= 1", {"priority": "10"}, swap="-1")
    second = event("second", "time >= 1", {"priority": "swap"}, order="10 * order + 2")
    third = event("third", "time >= 1", {"priority": "-swap"}, order="10 * order + 3")
    late = [Event(**{**vars(one), "values_from_trigger": False}) for one in (first, second, third)]
    assert values(model({"swap": 1.0, "order": 0.0}, *late), [2.0], "order") == [32.0]


def test_an_event_that_another_triggers_competes_with_those_that_wait():
    late = {"values_from_trigger": False}
    first = event("first", "time >= 1", {"priority": "3"}, go="1")
    last = event("last", "time >= 1", {"priority": "1", **late}, order="10 * order + 1")
    between = event("between", "go > 0", {"priority": "2", **late}, order="10 * order + 2")
    assert values(model({"go": 0.0, "order": 0.0}, first, last, between), [2.0], "order") == [21.0]


def test_an_event_that_does_not_persist_is_dropped_when_another_makes_it_false():
    stop = event("stop", "time >= 1", {"priority": "2"}, on="0")
    for persistent, expected in ((True, 5.0), (False, 0.0)):
        act = event("act", "time >= 1 && on > 0.5", {"priority": "1", "persistent": persistent}, a="5")
        assert values(model({"on": 1.0, "a": 0.0}, stop, act), [2.0], "a") == [expected]


def test_an_event_that_does_not_persist_is_dropped_while_it_waits():
    for persistent, expected in ((True, [0.0, 7.0]), (False, [0.0, 0.0])):
        wait = {"delay": "2", "persistent": persistent}
        act = event("act", "time >= 1 && time < 2", wait, a="7")
        assert values(model({"a": 0.0}, act), [2.9, 3.0], "a") == expected


def test_events_that_are_not_initially_true_fire_at_the_start():
    equations = model({"a": 0.0}, event("start", "a < 1", {"initially_true": False}, a="3"))
    assert values(equations, [0.0, 1.0], "a") == [3.0, 3.0]
    assert values(model({"a": 0.0}, event("start", "a < 1", a="3")), [0.0, 1.0], "a") == [0.0, 0.0]


def test_what_is_requested_when_a_condition_becomes_true_is_what_the_event_left():
    at_once = model({"a": 0.0}, event("dose", "time >= 1", a="a + 1"))
    right_after = model({"a": 0.0}, event("dose", "time > 1", a="a + 1"))
    assert values(at_once, [1.0, 1.5], "a") == [1.0, 1.0]
    assert values(right_after, [1.0, 1.5], "a") == [0.0, 1.0]


def test_an_event_can_be_waiting_several_times():
    count = event("count", "sin(time) > 0", {"delay": "20", "values_from_trigger": False}, a="a + 1")
    turns = 2 * np.pi * np.arange(1, 4) + 20
    times = [float(t + d) for t in turns for d in (-1e-6, 1e-6)]
    equations = model({"a": 0.0, "x": 0.0}, count, rates={"x": "1"})
    assert values(equations, times, "a") == pytest.approx([1.0, 2.0, 2.0, 3.0, 3.0, 4.0])


def test_ties_are_broken_by_chance_that_can_be_repeated():
    late = {"values_from_trigger": False}
    one, two = (event(name, "time >= 1", late, a=f"10 * a + {k}") for k, name in ((1, "one"), (2, "two")))
    equations = model({"a": 0.0}, one, two)
    found = [values(equations, [2.0], "a", seed=seed)[0] for seed in range(12)]
    assert set(found) == {12.0, 21.0}
    assert found == [values(equations, [2.0], "a", seed=seed)[0] for seed in range(12)]


def test_events_that_set_each_other_off_for_ever_are_a_status_that_names_one():
    up = event("up", "time >= 1 && a < 1", a="1")
    down = event("down", "a >= 1", a="0")
    found = outcome(model({"a": 0.0}, up, down), [2.0])
    assert found.status == Status.NOT_CONVERGED
    assert "up" in found.message or "down" in found.message
    assert np.isnan(found.x[0]).all()


def test_a_delay_that_is_negative_is_a_status_that_names_the_event():
    found = outcome(model({"a": 0.0}, event("back", "time >= 1", {"delay": "-1"}, a="1")), [2.0])
    assert found.status == Status.NOT_FINITE and "`back`" in found.message


def test_derivatives_go_through_a_delay_that_depends_on_the_state():
    # x = e^-kt falls below c at τ = ln(1/c)/k; what a becomes is x(τ) = c, d·c + w later; b' = a from then on
    wait = event("wait", "x < c", {"delay": "d * x + w"}, a="x")
    given = {"k": 0.7, "c": 0.4, "d": 1.5, "w": 0.25, "x": 1.0, "a": 0.0, "b": 0.0}
    equations = model(given, wait, rates={"x": "-k * x", "b": "a"})
    system = flatten(equations).system
    found = outcome(equations, [5.0])
    k, c, d, w = (given[name] for name in "kcdw")
    begin = np.log(1 / c) / k + d * c + w
    b = system.states.index("b")
    expected = {"k": c * np.log(1 / c) / k**2, "c": 5 - begin - c * (d - 1 / (k * c)), "d": -c * c, "w": -c}
    assert np.isclose(found.x[0][0, b], c * (5 - begin), rtol=1e-8)
    for name, slope in expected.items():
        assert np.isclose(found.S[0][0, b, system.parameters.index(name)], slope, rtol=1e-7), name
