"""Runs through periods, conditions and steady states, against closed forms."""

import numpy as np
import pytest

from multiscale.equations.derivative import sparse_program
from multiscale.equations.expression import TIME, ZERO, symbol
from multiscale.equations.flatten import Flat, flatten
from multiscale.equations.formula import parse
from multiscale.equations.model import Equations, Event, Parameter
from multiscale.errors import DataError
from multiscale.solver.hybrid.runs import Outcome, Period, Reset, Run, simulate
from multiscale.solver.status import Status

INF = np.inf


def model(
    values: dict[str, float], rates: dict[str, str], *events: Event, starts: dict[str, str] | None = None
) -> Flat:
    """Model of numbers; what has no rate and is set by no event is constant."""
    changed = set(rates) | {name for event in events for name in event.assignments}
    return flatten(
        Equations(
            parameters={name: Parameter(value, name not in changed) for name, value in values.items()},
            rates={name: parse(formula) for name, formula in rates.items()},
            starts={name: parse(formula) for name, formula in (starts or {}).items()},
            events=events,
        )
    )


def event(name: str, trigger: str, **assignments: str) -> Event:
    return Event(name, parse(trigger), {target: parse(value) for target, value in assignments.items()})


def period(
    flat: Flat, start: float, times: list[float], resets: tuple[Reset, ...] = (), **changes: float
) -> Period:
    """Period with derivatives by all active parameters."""
    p = flat.system.values.copy()
    for name, value in changes.items():
        p[flat.system.parameters.index(name)] = value
    return Period(start, p, np.eye(len(flat.system.active)), resets, times)


def only(flat: Flat, *periods: Period) -> Outcome:
    return simulate(flat.system, [Run(periods)], sensitivities=True)[0]


def slopes(flat: Flat, S: np.ndarray, state: str) -> dict[str, float]:
    """Derivatives of a state by name of the parameter."""
    row = S[flat.system.states.index(state)]
    return {flat.system.parameters[k]: float(value) for k, value in zip(flat.system.active, row, strict=True)}


def setting(flat: Flat, target: str, formula: str) -> Reset:
    """Reset of a state to a formula of states and parameters."""
    system, value = flat.system, flat.inline(parse(formula))
    x = [symbol(f"x:{name}") for name in system.states]
    p = [symbol(f"p:{name}") for name in system.parameters]
    active = [p[k] for k in system.active]
    places = {entry: k for k, entry in enumerate([TIME, *x, *p])}
    matrices = [([value], x), ([value], active)]
    return Reset(
        np.array([system.states.index(target)]),
        sparse_program([value, ZERO], matrices, places, system.inputs),
    )


def test_derivatives_go_through_a_dose_that_a_threshold_triggers():
    # x' = -kx from 1 falls below c at τ = ln(1/c)/k, becomes c + d, and so again after ln((c + d)/c)/k
    flat = model({"x": 1.0, "k": 0.5, "c": 0.3, "d": 2.0}, {"x": "-k * x"}, event("dose", "x < c", x="x + d"))
    k, c, d, t = 0.5, 0.3, 2.0, 9.0
    again = np.log(1 / c) / k + np.log((c + d) / c) / k
    found = only(flat, period(flat, 0.0, [t]))
    x = (c + d) * np.exp(-k * (t - again))
    by_c = 1 / (c + d) + k * (-1 / (k * c) + (1 / (c + d) - 1 / c) / k)
    expected = {"x": x, "k": x * -t, "c": x * by_c, "d": x * 2 / (c + d)}
    assert t > again and np.isclose(found.x[0][0, 0], x, rtol=1e-7)
    assert slopes(flat, found.S[0][0], "x") == pytest.approx(expected, rel=1e-6)


def test_derivatives_go_through_a_rate_that_switches_at_a_time_that_is_a_parameter():
    flat = model({"x": 0.0, "k": 2.0, "s": 1.5}, {"x": "piecewise(k, time < s, -k / 2)"})
    found = only(flat, period(flat, 0.0, [1.0, 4.0]))
    assert found.x[0][:, 0] == pytest.approx([2.0, 2 * 1.5 - 2.5])
    assert slopes(flat, found.S[0][1], "x") == pytest.approx({"x": 1.0, "k": 1.5 - 1.25, "s": 3.0})


def test_derivatives_go_through_a_rate_that_switches_at_a_state():
    # x' = a below 1, b above; τ = 1/a
    flat = model({"x": 0.0, "a": 2.0, "b": 0.5}, {"x": "piecewise(a, x < 1, b)"})
    found = only(flat, period(flat, 0.0, [2.0]))
    assert found.x[0][0, 0] == pytest.approx(1 + 0.5 * 1.5)
    assert slopes(flat, found.S[0][0], "x") == pytest.approx({"x": 0.25, "a": 0.5 / 4, "b": 1.5})


def test_a_condition_that_is_reached_without_speed_has_no_derivative():
    # the root of (t - 1)³ + p is at 1 - p^(1/3), which p = 0 moves infinitely fast
    touch = event("touch", "(time - 1) * (time - 1) * (time - 1) + p > 0", x="2")
    flat = model({"x": 0.0, "p": 0.0, "y": 0.0}, {"x": "1", "y": "1"}, touch)
    found = only(flat, period(flat, 0.0, [0.5, 2.0]))
    assert found.status == Status.GRAZING_EVENT and "time 1" in found.message
    assert np.isfinite(found.x[0][0]).all() and np.isnan(found.x[0][1]).all()
    assert simulate(flat.system, [Run((period(flat, 0.0, [2.0]),))])[0].x[0][0].tolist() == pytest.approx(
        [3.0, 2.0]
    )


def test_periods_hand_the_state_on_and_change_parameters():
    flat = model({"x": 1.0, "k": 0.5}, {"x": "-k * x"})
    found = only(flat, period(flat, 0.0, [0.0, 1.0]), period(flat, 2.0, [2.0, 3.0], k=1.0))
    assert found.status == Status.CONVERGED and found.message == ""
    assert found.x[0][:, 0] == pytest.approx([1.0, np.exp(-0.5)], rel=1e-7)
    assert found.x[1][:, 0] == pytest.approx([np.exp(-1), np.exp(-2)], rel=1e-7)
    assert slopes(flat, found.S[1][1], "x")["k"] == pytest.approx(-3 * np.exp(-2), rel=1e-7)


def test_resets_of_a_period_read_what_was_before_all_of_them():
    flat = model({"a": 1.0, "b": 2.0, "k": 3.0}, {"a": "1", "b": "0"})
    swap = (setting(flat, "a", "b + k"), setting(flat, "b", "a"))
    found = only(flat, period(flat, 0.0, [1.0]), period(flat, 1.0, [1.0], swap, k=30.0))
    assert found.x[0][0] == pytest.approx([2.0, 2.0]) and found.x[1][0] == pytest.approx([5.0, 2.0])
    assert slopes(flat, found.S[1][0], "a") == pytest.approx({"a": 0.0, "b": 1.0, "k": 1.0})


def test_an_event_at_the_start_of_a_period_acts_after_the_resets():
    flat = model({"a": 1.0, "x": 0.0}, {"x": "1"}, event("double", "time >= 10", a="2 * a"))
    found = only(
        flat, period(flat, 0.0, [5.0]), period(flat, 10.0, [10.0, 15.0], (setting(flat, "a", "a + 3"),))
    )
    assert found.x[1][:, flat.system.states.index("a")].tolist() == [8.0, 8.0]


def test_events_act_before_the_steady_state_and_not_again_after_it():
    rates = {"p": "piecewise(v, p <= 500, 0)"}
    flat = model(
        {"q": 10.0, "p": 0.0, "v": 1.0}, rates, event("jump", "p >= 500", p="p + 1000"), starts={"p": "q"}
    )
    found = only(flat, period(flat, -INF, [INF]), period(flat, 0.0, [0.0, 100.0, INF]))
    assert np.concatenate(found.x)[:, 0] == pytest.approx([1500.0] * 4)


def test_an_input_that_is_switched_off_later_is_waited_for():
    flat = model({"x": 0.0, "k": 0.1}, {"x": "piecewise(1, time > 1000 && time < 1001, 0)"})
    assert only(flat, period(flat, -INF, [INF])).x[0][0, 0] == pytest.approx(1.0, rel=1e-7)


@pytest.mark.parametrize("slow", [1.0, 1e-3, 1e-7])
def test_steady_states_keep_what_is_conserved_however_slow_the_last_step(slow: float):
    # a ⇌ b with rates 1 and 3, b ⇌ c with 2s and s: a : b : c = 3 : 1 : 2
    rates = {"a": "3 * b - u * a", "b": "u * a - 3 * b + s * c - 2 * s * b", "c": "2 * s * b - s * c"}
    flat = model({"a": 6.0, "b": 0.0, "c": 0.0, "u": 1.0, "s": slow}, rates)
    found = only(flat, period(flat, -INF, [INF]))
    assert found.x[0][0] == pytest.approx([3.0, 1.0, 2.0], rel=1e-8)
    weight = 6.0 / (3 + 3) ** 2  # b = T/(3/u + 3), db/du = T (3/u²)/(3/u + 3)² at u = 1
    by_u = [-9 * weight, 3 * weight, 6 * weight]
    for state, value in zip("abc", by_u, strict=True):
        slope = slopes(flat, found.S[0][0], state)
        assert slope["u"] == pytest.approx(value, rel=1e-7)
        assert [slope["a"], slope["b"]] == pytest.approx([slope["c"]] * 2, rel=1e-7)
        assert abs(slope["s"]) < 1e-7 / slow


def test_a_system_that_is_not_linear_rests_where_its_equation_says():
    flat = model({"x": 3.0, "k": 2.0}, {"x": "k - x^3"})
    found = only(flat, period(flat, -INF, [INF]))
    assert found.x[0][0, 0] == pytest.approx(2 ** (1 / 3), rel=1e-12)
    assert slopes(flat, found.S[0][0], "x") == pytest.approx(
        {"x": 0.0, "k": 2 ** (-2 / 3) / 3}, rel=1e-10, abs=1e-12
    )


def test_what_turns_or_grows_for_ever_has_no_steady_state():
    turning = model({"x": 1.0, "y": 0.0}, {"x": "y", "y": "-x"})
    growing = model({"x": 1.0}, {"x": "1"})
    for flat in (turning, growing):
        found = only(flat, period(flat, -INF, [INF]), period(flat, 0.0, [1.0]))
        assert found.status == Status.NO_STEADY_STATE and "time" in found.message
        assert np.isnan(found.x[0]).all() and np.isnan(found.x[1]).all()


def test_conditions_that_switch_to_and_fro_are_a_status():
    flat = model({"x": 1.0}, {"x": "piecewise(-1, x > 0, 1)"})
    found = only(flat, period(flat, 0.0, [0.5, 2.0]))
    assert found.status == Status.STEP_TOO_SMALL and "to and fro" in found.message
    assert found.x[0][0, 0] == pytest.approx(0.5) and np.isnan(found.x[0][1, 0])


def test_runs_do_not_depend_on_those_beside_them():
    flat = model({"x": 1.0, "k": 0.5, "c": 0.3}, {"x": "-k * x"}, event("dose", "x < c", x="x + 1"))
    runs = [
        Run((period(flat, 0.0, [1.0, 5.0], k=k), period(flat, 6.0, [8.0], k=k / 2), period(flat, 9.0, [9.5])))
        for k in (0.1, 0.5, 2.0, np.nan)
    ]
    together = simulate(flat.system, runs, sensitivities=True)
    assert [outcome.status for outcome in together] == [0, 0, 0, Status.NOT_FINITE]
    for run, outcome in zip(runs, together, strict=True):
        alone = simulate(flat.system, [run], sensitivities=True)[0]
        for one, other in zip(alone.x + alone.S, outcome.x + outcome.S, strict=True):
            np.testing.assert_array_equal(one, other)


def test_without_derivatives_values_are_the_same():
    flat = model({"x": 1.0, "k": 0.5, "c": 0.3}, {"x": "-k * x"}, event("dose", "x < c", x="x + 1"))
    run = Run((period(flat, 0.0, [1.0, 5.0]),))
    plain = simulate(flat.system, [run])[0]
    assert plain.S[0].shape == (2, 1, 0)
    np.testing.assert_array_equal(plain.x[0], simulate(flat.system, [run], sensitivities=True)[0].x[0])


@pytest.mark.parametrize(
    ("periods", "message"),
    [
        ([(0.0, [2.0, 1.0])], "must ascend from 0"),
        ([(0.0, [-1.0])], "must ascend from 0"),
        ([(0.0, [3.0]), (2.0, [])], "from 0 to 2"),
        ([(-INF, [0.0])], "must be only inf"),
        ([(0.0, []), (0.0, [])], r"periods\[1\].start"),
        ([], "at least one period"),
    ],
)
def test_periods_that_do_not_follow_each_other_are_refused(
    periods: list[tuple[float, list[float]]], message: str
):
    flat = model({"x": 1.0}, {"x": "-x"})
    run = Run(tuple(period(flat, start, times) for start, times in periods))
    with pytest.raises(DataError, match=message):
        simulate(flat.system, [run])


def test_parameters_of_the_wrong_number_are_refused():
    flat = model({"x": 1.0}, {"x": "-x"})
    with pytest.raises(DataError, match=r"`runs\[0\].periods\[0\].p` must have shape \(1,\)"):
        simulate(flat.system, [Run((Period(0.0, np.zeros(3), np.eye(1)),))])
