"""SBML semantics: from equations to states, conditions, events and exact derivatives."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from multiscale.equations.expression import ONE, TIME, ZERO, Expression, apply, number, symbol
from multiscale.equations.flatten import Flat, flatten
from multiscale.equations.hybrid import ABOVE, ABOVE_OR_AT, Sparse
from multiscale.equations.machine import evaluate, evaluate_torch
from multiscale.equations.model import Compartment, Equations, Event, Parameter, Participant, Process, Species
from multiscale.errors import FormatError

s = symbol


def less(a: Expression, b: Expression) -> Expression:
    return apply("<", a, b)


def start(flat: Flat, values: np.ndarray | None = None) -> np.ndarray:
    """States at the start; states and conditions are not read."""
    system = flat.system
    inputs = np.full(system.inputs, np.nan)
    first = 1 + len(system.states)
    inputs[first : first + len(system.parameters)] = system.values if values is None else values
    return evaluate(system.start.program, inputs)[: len(system.states)]


def at(flat: Flat, t: float, x: np.ndarray, m: tuple[float, ...] = ()) -> np.ndarray:
    return np.concatenate([[t], x, flat.system.values, m])


def rate(flat: Flat, t: float, x: np.ndarray, m: tuple[float, ...] = ()) -> np.ndarray:
    return evaluate(flat.system.rate.program, at(flat, t, x, m))


def read(flat: Flat, formula: Expression, t: float = 0.0, x: np.ndarray | None = None) -> float:
    """Value of an inlined formula, by default at the start."""
    x = start(flat) if x is None else x
    return float(evaluate(flat.program([formula]), at(flat, t, x))[0])


def test_state_of_a_species_is_its_amount_and_its_name_its_concentration():
    """A → B with k [A] V: 3 mM in 2 litres are 6 mmol, of which 0.5 · 3 · 2 = 3 per time leave."""
    flux = s("k") * s("A") * s("V")
    model = Equations(
        compartments={"V": Compartment(2.0)},
        species={"A": Species("V", 3.0, start_is_amount=False), "B": Species("V", 1.0)},
        parameters={"k": Parameter(0.5)},
        processes={"r": Process(flux, (Participant("A", ONE),), (Participant("B", number(2)),))},
    )
    flat = flatten(model)
    assert flat.system.states == ("A", "B")
    assert flat.system.parameters == ("V", "A", "B", "k")
    assert flat.system.values.tolist() == [2, 3, 1, 0.5]
    assert start(flat).tolist() == [6, 1]
    assert rate(flat, 0.0, start(flat)).tolist() == [-3, 6]
    readings = [flat.quantity("A"), flat.quantity("A", amount=True), flat.quantity("B"), flat.quantity("r")]
    assert [read(flat, reading) for reading in readings] == [3, 6, 0.5, 3]


def test_conversion_factor_turns_extent_into_amount():
    model = Equations(
        compartments={"V": Compartment(1.0)},
        species={"A": Species("V", 1.0, conversion="c"), "B": Species("V", 0.0, only_amount=True)},
        parameters={"c": Parameter(1000.0)},
        processes={"r": Process(number(3), (Participant("A", ONE),), (Participant("B", ONE),))},
    )
    flat = flatten(model)
    assert rate(flat, 0.0, start(flat)).tolist() == [-3000, 3]


def test_boundary_and_constant_species_are_left_as_they_are_by_reactions():
    species = {"A": Species("V", 1.0, boundary=True), "B": Species("V", 2.0, boundary=True, constant=True)}
    process = Process(ONE, (Participant("A", ONE),), (Participant("B", ONE),))
    flat = flatten(Equations(compartments={"V": Compartment(1.0)}, species=species, processes={"r": process}))
    assert flat.system.states == ()
    assert flat.system.parameters == ("V", "A", "B")


def test_species_in_a_point_are_counted_in_amounts():
    model = Equations(
        compartments={"P": Compartment(None, dimensions=0.0)},
        species={"A": Species("P", 4.0)},
        processes={"r": Process(s("A"), (Participant("A", ONE),))},
    )
    flat = flatten(model)
    assert rate(flat, 0.0, start(flat)).tolist() == [-4]
    assert read(flat, flat.quantity("A", amount=False)) == 4


def test_amount_stays_while_its_compartment_grows():
    """V' = 1 from V = 1: a constant amount 1 has the concentration 1/2 at V = 2, and there c' = -c V'/V."""
    model = Equations(
        compartments={"V": Compartment(1.0, constant=False)},
        species={"A": Species("V", 1.0, start_is_amount=False, constant=True)},
        rates={"V": ONE},
    )
    flat = flatten(model)
    x = np.array([2.0])
    assert read(flat, flat.quantity("A"), x=x) == 0.5
    assert read(flat, flat.quantity("A", amount=True), x=x) == 1.0
    assert read(flat, flat.inline(s("rateOf:A")), x=x) == -0.25


def test_concentration_with_a_rate_rule_is_its_own_state_while_its_compartment_grows():
    """Case 01505 of the SBML semantic test suite without its event: c' = 0.4, V' = 0.2."""
    flat = flatten(_swelling())
    assert flat.system.states == ("V", "A")
    assert rate(flat, 0.0, np.array([0.59, 0.18])).tolist() == [0.2, 0.4]
    assert read(flat, flat.quantity("A", amount=True), x=np.array([0.5, 3.0])) == 1.5


def test_event_that_sets_a_compartment_keeps_amounts_there():
    """Case 01505: at t = 0.45, V jumps from 0.59 to 0.2; the suite gives c = 0.711 at t = 0.9."""
    event = Event("jump", apply("<=", number(0.45), TIME), {"V": number(0.2)})
    flat = flatten(_swelling(event))
    size, concentration = 0.59, 0.18
    x = np.array([size, size * concentration])
    (jump,) = flat.system.events
    assert [flat.system.states[i] for i in jump.targets] == ["V"]
    after = np.array([evaluate(jump.reset.program, at(flat, 0.45, x, (1.0,)))[0], x[1]])
    assert read(flat, flat.quantity("A"), x=after) + 0.45 * 0.4 == pytest.approx(0.711, abs=1e-12)
    assert rate(flat, 0.45, x, (1.0,))[1] == pytest.approx(0.4 * size + concentration * 0.2)


def _swelling(*events: Event) -> Equations:
    return Equations(
        compartments={"V": Compartment(0.5, constant=False)},
        species={"A": Species("V", 0.0, start_is_amount=False, boundary=True)},
        rates={"V": number(0.2), "A": number(0.4)},
        events=events,
    )


def test_event_counts_a_new_concentration_by_the_size_before_it():
    """Case 01779: c and V are set to 0.2 at once, V was 0.5: the suite gives the amount 0.1."""
    event = Event("both", less(ONE, TIME), {"A": number(0.2), "V": number(0.2)})
    species = {"A": Species("V", 2.0, start_is_amount=False, boundary=True)}
    flat = flatten(Equations(compartments={"V": Compartment(0.5)}, species=species, events=(event,)))
    (both,) = flat.system.events
    new = evaluate(both.reset.program, at(flat, 1.0, start(flat), (1.0,)))[:2]
    assert dict(zip([flat.system.states[i] for i in both.targets], new, strict=True)) == {"A": 0.1, "V": 0.2}


def test_concentration_that_an_event_stores_for_later_is_a_state_of_its_own():
    """A' = 1 amount per time in V = 2 + t: c' = 1/V - c V'/V."""
    event = Event("late", less(number(3), TIME), {"A": number(7)}, delay=ONE)
    model = Equations(
        compartments={"V": Compartment(2.0)},
        species={"A": Species("V", 4.0)},
        processes={"r": Process(ONE, (), (Participant("A", ONE),))},
        rates={"V": ONE},
        events=(event,),
    )
    flat = flatten(model)
    assert start(flat).tolist() == [2, 2]
    assert rate(flat, 0.0, start(flat), (0.0,)).tolist() == [1, 0.5 - 1]
    assert evaluate(flat.system.events[0].reset.program, at(flat, 3.0, start(flat), (1.0,)))[0] == 7


def test_rules_may_stand_in_any_order_and_depend_on_what_comes_later():
    rules = {"c": s("b") + s("a"), "b": number(2) * s("a"), "a": number(3) * TIME}
    flat = flatten(Equations(parameters=dict.fromkeys("abc", Parameter(constant=False)), assignments=rules))
    assert read(flat, flat.quantity("c"), t=2.0, x=np.zeros(0)) == 18


def test_rules_that_lead_back_to_themselves_are_named():
    rules = {"a": s("b") + 1.0, "b": s("c"), "c": number(2) * s("a")}
    flat = flatten(Equations(parameters=dict.fromkeys("abc", Parameter(constant=False)), assignments=rules))
    with pytest.raises(FormatError, match="`a` -> `b` -> `c` -> `a`"):
        flat.quantity("a")


def test_chain_of_doublings_is_as_long_as_its_text_and_not_2_to_the_power_of_it():
    length = 1100  # more than Python's limit of calls in calls
    names = [f"a{i}" for i in range(length)]
    rules = {b: number(0.5) * (s(a) + s(a) * s("k")) for a, b in pairwise(names)}
    rules |= {"a0": s("x")}
    parameters = dict.fromkeys(names, Parameter(constant=False)) | dict.fromkeys("xk", Parameter(1.0))
    flat = flatten(Equations(parameters=parameters, assignments=rules, rates={"x": s(names[-1])}))
    assert len(flat.system.rate.program.code) == 3 * (length - 1)
    assert rate(flat, 0.0, np.array([5.0])).tolist() == [5]


def test_initial_assignments_read_other_starts_and_reactions_and_stay_what_they_were():
    """k = 2 r(0) with r = q [A], q = 3 A(0), [A](0) = 4/2: k = 2 · 6 · 2 = 24, whatever A is later."""
    model = Equations(
        compartments={"V": Compartment(2.0)},
        species={"A": Species("V", 4.0)},
        parameters={"q": Parameter(), "k": Parameter(), "y": Parameter(constant=False)},
        processes={"r": Process(s("q") * s("A"), (Participant("A", ONE),))},
        starts={"k": number(2) * s("r"), "q": number(3) * s("A"), "y": s("k") + TIME},
        rates={"y": TIME},
    )
    flat = flatten(model)
    assert flat.system.parameters == ("V", "A")
    assert start(flat).tolist() == [4, 24]
    assert read(flat, flat.quantity("k"), t=9.0, x=np.array([100.0, 0.0])) == 24


def test_stoichiometry_may_follow_a_rate_rule_or_a_formula():
    products = (Participant("A", number(2), name="n", constant=False), Participant("B", s("k") * TIME))
    model = Equations(
        compartments={"V": Compartment(1.0)},
        species={"A": Species("V", 0.0), "B": Species("V", 0.0)},
        parameters={"k": Parameter(5.0)},
        processes={"r": Process(number(10), (), products)},
        rates={"n": number(-1)},
    )
    flat = flatten(model)
    assert flat.system.states == ("A", "B", "n")
    assert start(flat).tolist() == [0, 0, 2]
    assert rate(flat, 2.0, np.array([0.0, 0.0, 2.0])).tolist() == [20, 100, -1]


def test_rateOf_follows_rules_reactions_and_compartments():
    """A' = -k A V in amounts; c = A/V; d = c² has d' = 2 c c'."""
    model = Equations(
        compartments={"V": Compartment(2.0)},
        species={"A": Species("V", 6.0)},
        parameters={"k": Parameter(0.5), "d": Parameter(constant=False), "y": Parameter(0.0, constant=False)},
        processes={"r": Process(s("k") * s("A") * s("V"), (Participant("A", ONE),))},
        assignments={"d": s("A") * s("A")},
        rates={"y": s("rateOf:d") + s("rateOf:k")},
    )
    flat = flatten(model)
    assert rate(flat, 0.0, start(flat)).tolist() == [-3, 2 * 3 * -1.5]


def test_comparisons_of_what_moves_become_conditions_and_others_do_not():
    """The inner condition is part of the root of the outer one; x > k is above, x >= k above or at."""
    inner = apply("if", less(s("k"), s("x")), TIME, number(5))
    constant = apply("if", less(s("k"), s("j")), number(2), number(3))
    outer = apply("if", apply("<=", inner, s("x")), ONE, constant)
    parameters = {"x": Parameter(0.0, constant=False), "k": Parameter(1.0), "j": Parameter(0.0)}
    flat = flatten(Equations(parameters=parameters, rates={"x": outer}))
    assert flat.system.kinds.tolist() == [ABOVE, ABOVE_OR_AT]
    x = np.array([4.0])
    roots = [evaluate(flat.system.roots.program, at(flat, 7.0, x, (m, 0.0))).tolist() for m in (0.0, 1.0)]
    assert roots == [[3, -1], [3, -3]]
    assert rate(flat, 7.0, x, (0.0, 1.0)).tolist() == [1]
    assert rate(flat, 7.0, x, (0.0, 0.0)).tolist() == [3]


def test_equality_of_what_moves_is_refused_and_of_what_only_events_change_is_not():
    flag, moving = Parameter(0.0, constant=False), Parameter(0.0, constant=False)
    event = Event("on", less(ONE, TIME), {"flag": ONE})
    when = apply("if", apply("==", s("flag"), ONE), ONE, ZERO)
    model = Equations(parameters={"flag": flag, "x": moving}, rates={"x": when}, events=(event,))
    flat = flatten(model)
    assert len(flat.system.kinds) == 1
    assert rate(flat, 0.0, np.array([1.0, 0.0]), (1.0,)).tolist() == [0, 1]
    with pytest.raises(FormatError, match=r"`x == time` must not compare"):
        flatten(Equations(parameters={"x": moving}, rates={"x": apply("==", s("x"), TIME)}))


def test_number_that_moves_is_no_truth_value():
    with pytest.raises(FormatError, match="must be a truth value"):
        flatten(Equations(parameters={"x": Parameter(0.0)}, rates={"x": apply("if", s("x"), ONE, ZERO)}))


@pytest.mark.parametrize(("x", "state", "new"), [(3.0, 2, 3), (3.0 - 1e-12, 2, 3), (2.0 - 1e-12, 2, 1)])
def test_integer_part_of_what_moves_is_counted_by_an_event(x, state, new):
    """x' = floor(x): a step is counted even where rounding leaves x just before it."""
    flat = flatten(Equations(parameters={"x": Parameter(2.5)}, rates={"x": apply("floor", s("x"))}))
    assert start(flat).tolist() == [2.5, 2]
    assert rate(flat, 0.0, np.array([x, state]), (0.0, 0.0)).tolist() == [state, 0]
    (event,) = flat.system.events
    assert evaluate(event.reset.program, at(flat, 0.0, np.array([x, state]), (1.0, 0.0)))[0] == new


def test_all_derivatives_equal_those_of_automatic_differentiation():
    """Jacobian, linear and second programs against PyTorch on the program of the right-hand side."""
    flat = flatten(_cascade())
    system, n, parameters = flat.system, len(flat.system.states), len(flat.system.parameters)
    rng = np.random.default_rng(0)
    point = torch.tensor(np.concatenate([[0.3], rng.uniform(0.5, 2.0, n + parameters), [1.0]]))
    slopes = _jacobian(system.rate, point)
    x, p = slice(1, 1 + n), slice(1 + n, 1 + n + parameters)
    values, by_x = _dense(system.jacobian, point.numpy(), [n])
    np.testing.assert_allclose(values[n:], slopes[:, 0], rtol=1e-12)
    np.testing.assert_allclose(by_x, slopes[:, x], rtol=1e-12, atol=1e-14)
    _, by_x, by_p = _dense(system.linear, point.numpy(), [n, parameters])
    np.testing.assert_allclose(by_x, slopes[:, x], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(by_p, slopes[:, p], rtol=1e-12, atol=1e-14)
    direction = np.concatenate([[0.7], rng.normal(size=n)])
    along = torch.tensor(direction)
    curved = torch.func.jacfwd(lambda z: _slopes(system.rate, z)[:, : 1 + n] @ along)(point).numpy()
    _, by_x, by_p = _dense(system.second, np.concatenate([point.numpy(), direction]), [n, parameters])
    np.testing.assert_allclose(by_x, curved[:, x], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(by_p, curved[:, p], rtol=1e-11, atol=1e-12)


def _cascade() -> Equations:
    """Two reactions in a growing compartment, a rule, a switch and an explicit time."""
    saturating = s("k") * s("A") * s("V") / (s("K") + s("A")) * (ONE + TIME * s("h"))
    back = apply("if", less(TIME, s("K")), s("k") * s("B") * s("B") * s("V"), ZERO)
    return Equations(
        compartments={"V": Compartment(2.0, constant=False)},
        species={"A": Species("V", 3.0), "B": Species("V", 1.0), "C": Species("V", 1.0)},
        parameters={"k": Parameter(0.5), "K": Parameter(2.0), "h": Parameter(constant=False)},
        processes={
            "to": Process(saturating, (Participant("A", ONE),), (Participant("B", ONE),)),
            "fro": Process(back, (Participant("B", ONE),), (Participant("A", ONE),)),
        },
        assignments={"h": apply("exp", -s("A")) * s("k")},
        rates={"V": s("k") * s("V"), "C": s("A") - s("K") * s("C")},
    )


def _slopes(sparse: Sparse, point: torch.Tensor) -> torch.Tensor:
    return torch.func.jacfwd(lambda z: evaluate_torch(sparse.program, z))(point)


def _jacobian(sparse: Sparse, point: torch.Tensor) -> np.ndarray:
    return _slopes(sparse, point).numpy()


def _dense(sparse: Sparse, inputs: np.ndarray, columns: list[int]) -> list[np.ndarray]:
    """Values and matrices; all matrices have four rows."""
    outputs = evaluate(sparse.program, inputs)
    result, place = [outputs[: sparse.values]], sparse.values
    for (rows, where), count in zip(sparse.patterns, columns, strict=True):
        matrix = np.zeros((4, count))
        matrix[rows, where] = outputs[place : place + len(rows)]
        place += len(rows)
        result.append(matrix)
    return result


def test_only_active_parameters_have_columns():
    flat = flatten(_cascade(), active=["K"])
    assert [flat.system.parameters[i] for i in flat.system.active] == ["K"]
    assert set(flat.system.linear.patterns[1][1].tolist()) == {0}
    with pytest.raises(FormatError, match="did you mean `K`"):
        flatten(_cascade(), active=["KK"])


def test_free_start_is_that_of_the_model_until_it_has_a_number():
    """S starts at 2 k = 6 by an initial assignment to its concentration, in a volume of 2."""
    model = Equations(
        compartments={"V": Compartment(2.0)},
        species={"S": Species("V", 1.0, boundary=True)},
        parameters={"k": Parameter(3.0)},
        starts={"S": number(2) * s("k")},
        rates={"S": ZERO},
    )
    flat = flatten(model, free=["S"])
    values = flat.system.values.copy()
    assert start(flat).tolist() == [6]
    values[flat.system.parameters.index("S")] = 11.0
    assert start(flat, values).tolist() == [11]


def test_free_species_means_what_its_name_stands_for():
    """The model states an amount 4 in a volume of 2; the name stands for the concentration."""
    model = Equations(
        compartments={"V": Compartment(2.0)},
        species={"S": Species("V", 4.0)},
        processes={"r": Process(s("S"), (Participant("S", ONE),))},
    )
    flat = flatten(model, free=["S"])
    assert start(flat).tolist() == [4]
    assert start(flat, np.array([2.0, 5.0])).tolist() == [10]


def test_further_parameters_may_stand_in_formulas_and_unknown_names_may_not():
    flat = flatten(Equations(parameters={"offset": Parameter(1.0)}), extra=["scale"])
    assert flat.system.parameters == ("offset", "scale")
    assert np.isnan(flat.system.values[1])
    formula = flat.inline(s("scale") * s("offset"))
    assert evaluate(flat.program([formula]), np.array([0.0, 3.0, 2.0]))[0] == 6
    with pytest.raises(FormatError, match="got `offfset`; did you mean `offset`"):
        flat.inline(s("offfset"))


def test_formula_is_compiled_with_derivatives_by_states_parameters_and_placeholders():
    flat = flatten(_cascade(), active=["k"])
    noise = s("noise")
    sparse = flat.sparse([flat.quantity("A") * s("p:k") * noise], [noise])
    assert [pattern.tolist() for pattern in sparse.patterns] == [[[0, 0], [0, 1]], [[0], [0]], [[0], [0]]]


def test_quantity_that_a_rule_determines_must_not_be_set_by_an_event():
    event = Event("e", less(ONE, TIME), {"a": ONE})
    with pytest.raises(FormatError, match="`a` must be determined once"):
        flatten(Equations(parameters={"a": Parameter()}, assignments={"a": TIME}, events=(event,)))


def test_rule_about_nothing_is_refused_with_the_nearest_name():
    with pytest.raises(FormatError, match=r"a rate rule must be about a quantity.*did you mean `Alpha`"):
        flatten(Equations(parameters={"Alpha": Parameter(1.0)}, rates={"Alphas": ONE}))
