"""Interventions: tables, and what they do to constants, starts and inputs."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import torch
from kinetic_problems import ENZYME, context_table, enzyme, measured, parameter, problem

import multiscale as ms
from multiscale.data import Data, Interventions, group_contexts, read_interventions
from multiscale.errors import DataError
from multiscale.model import Model

ROW = {"context": "a", "kind": "set", "target": "S", "value": "1"}
FIXED = [{**row, "estimate": 0} for row in ENZYME]


def table(**changes: object) -> pd.DataFrame:
    return pd.DataFrame([ROW | changes])


def state(
    interventions: list[tuple],
    graph: ms.Graph | None = None,
    times: tuple[float, ...] = (0.0, 3.0),
    **options,
):
    """State of a context `a` with interventions and `b` without, on times; x by species."""
    rows = [(name, "P", t, 1.0) for name in "ab" for t in times]
    contexts = context_table(["a", "b"], interventions)
    options = {"solver": ms.Solver(rtol=1e-8, atol=1e-10), **options}
    asked = problem(graph or enzyme(FIXED), measured(rows, sd=0.1), contexts, **options)
    model = Model(asked)
    found = model.state(torch.zeros(1, model.parameters.size, dtype=torch.float64))
    assert bool(found.solved)
    species = asked.dynamics.kinetics.species  # pyright: ignore[reportOptionalMemberAccess]
    return {name: found.x[0, :, :, i] for i, name in enumerate(species)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "doze"}, "interventions, row 0: `kind` is `doze`; did you mean `dose`?"),
        ({"value": ""}, "interventions, row 0: `value` is blank"),
        ({"time": "5"}, "row 0: `time` belongs to dose and clamp; leave it blank"),
        ({"kind": "dose", "until": "5"}, "row 0: `until` belongs to clamp; leave it blank"),
        ({"kind": "clamp", "time": "5", "until": "5"}, "row 0: `until` must be later than `time`"),
        ({"kind": "inhibit", "value": "1.2"}, "row 0: `value` must be a fraction, 0 to 1; got 1.2"),
        ({"kind": "dose", "value": "-1"}, "row 0: `value` must not be negative; got -1"),
        ({"kind": "dose", "time": "soon"}, "row 0: `time` must be a finite number; got `soon`"),
        ({"dose": "1"}, "unknown column `dose`"),
    ],
)
def test_wrong_rows_are_refused_with_row_column_and_remedy(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        Interventions(table(**changes))


def test_a_file_of_interventions_names_its_lines(tmp_path) -> None:
    (tmp_path / "done.tsv").write_text("context\tkind\ttarget\tvalue\na\tset\tS\t1\nz\tset\tS\t2\n")
    found = read_interventions(tmp_path / "done.tsv")
    with pytest.raises(DataError, match=re.escape("done.tsv, line 3: `context` is `z`, which is not in")):
        group_contexts(["a"]).with_interventions(found)


def test_joined_contexts_have_the_interventions_of_both_once() -> None:
    one = group_contexts(["a", "b"]).with_interventions(table())
    two = one.join(group_contexts(["b", "c"]).with_interventions(table(context="c")))
    assert two.join(one).interventions.table["context"].tolist() == ["a", "c"]
    assert two.interventions.take(["c"]).table["context"].tolist() == ["c"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", "set", "Q", 1.0), "`target` is `Q`, which is neither a species that reactions touch nor"),
        (("a", "dose", "Q", 1.0), "`target` is `Q`, which no reaction touches as a species"),
        (("a", "clamp", "S", 1.0), "`target` is `S`, which reactions change; a clamp needs a species"),
        (("a", "inhibit", "P", 0.5), "`target` is `P`, which catalyses no reaction and is none"),
        (("a", "set", "S", "k_on"), "`value` is `k_on`, which is neither a number nor a parameter of role"),
        (("a", "inhibit", "make", "k_cat"), "`value` is `k_cat`, which is neither a number nor a parameter"),
    ],
)
def test_interventions_that_do_not_fit_the_graph_are_refused(row: tuple, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"interventions, row 0: {message}")):
        state([row])


def test_interventions_need_a_kinetic_regime() -> None:
    data = Data(context_table(["a"], [("a", "set", "S", 1.0)]), {})
    with pytest.raises(DataError, match=re.escape('use regime = "steady_state" or "time_course"')):
        ms.Problem(enzyme(FIXED), data)


def test_starts_are_set_removed_and_folded() -> None:
    x = state([("a", "set", "S", 5.0), ("a", "knock_down", "E", 0.75), ("a", "over_express", "S", 2.0)])
    assert x["S"][:, 0].tolist() == [10.0, 2.0]
    assert x["E"][:, 0].tolist() == [0.125, 0.5]


def test_a_concentration_may_come_from_a_parameter_in_another_unit() -> None:
    graph = enzyme([*FIXED, parameter("given", "concentration", "nM", 300.0)])
    assert state([("a", "dose", "S", "given")], graph)["S"][:, 0].tolist() == [2.3, 2.0]


def test_a_dose_adds_at_its_time() -> None:
    x = state([("a", "dose", "P", 3.0, 2.0)], times=(1.0, 1.999, 2.0))
    without = state([], times=(1.0, 1.999, 2.0))["P"][0]
    torch.testing.assert_close(x["P"][0] - without, torch.tensor([0.0, 0.0, 3.0]).double(), rtol=0, atol=1e-7)


def test_inhibiting_half_of_a_rate_is_setting_its_constant_to_half() -> None:
    inhibited = state([("a", "inhibit", "make", 0.5)])["P"]
    halved = state([("a", "set", "k_cat", 0.25)])["P"]
    torch.testing.assert_close(inhibited, halved, rtol=1e-12, atol=0)


def catalytic() -> ms.Graph:
    """A → B by K, C → D by L, with one rate constant, and an input I that feeds A."""
    nodes = {
        "molecule": pd.DataFrame(
            {
                "name": ["A", "B", "C", "D", "K", "L", "I", "P"],
                "initial": ["1", "", "1", "", "1", "1", "0", "1"],
                "constant": [False] * 6 + [True, False],
            }
        ),
        "reaction": pd.DataFrame(
            {"name": ["r1", "r2", "feed"], "k_f": ["k", "k", "f"], "source_or_sink": [True] * 3}
        ),
    }
    edges = {
        "reactant": pd.DataFrame({"source": ["A", "C"], "target": ["r1", "r2"]}),
        "product": pd.DataFrame({"source": ["r1", "r2", "feed"], "target": ["B", "D", "P"]}),
        "modifier": pd.DataFrame({"source": ["K", "L", "I"], "target": ["r1", "r2", "feed"]}),
    }
    constants = [
        parameter("k", "rate_constant", "1/(uM*s)", 1.0),
        parameter("f", "rate_constant", "1/s", 1.0),
    ]
    return ms.Graph.from_tables("catalytic", nodes, edges, pd.DataFrame(constants))


def test_an_inhibitor_acts_only_where_its_target_catalyses() -> None:
    x = state([("a", "inhibit", "K", 0.5), ("b", "activate", "L", 2.0)], catalytic(), times=(1.0,))
    decayed = torch.exp(-torch.tensor([0.5, 1.0, 1.0, 2.0]).double())
    torch.testing.assert_close(torch.cat([x["A"], x["C"]]).flatten(), decayed, rtol=1e-6, atol=0)


def test_a_clamp_holds_an_input_and_lets_go() -> None:
    x = state([("a", "clamp", "I", 2.0, 1.0, 3.0)], catalytic(), times=(0.5, 1.0, 2.0, 3.0, 5.0))
    assert x["I"][0].tolist() == [0.0, 2.0, 2.0, 0.0, 0.0]
    fed = torch.tensor([1.0, 1.0, 3.0, 5.0, 5.0]).double()
    torch.testing.assert_close(x["P"][0], fed, rtol=1e-9, atol=0)


def test_a_clamp_from_the_start_goes_back_to_what_was_set() -> None:
    x = state([("a", "set", "I", 1.0), ("a", "clamp", "I", 3.0, "", 1.0)], catalytic(), times=(0.5, 1.0, 2.0))
    assert x["I"][0].tolist() == [3.0, 1.0, 1.0]
