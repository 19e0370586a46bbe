"""Writing PEtab problems: read back, checked by PEtab's own library, and made from graphs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import petab.v1
import petab.v2
import pytest
import torch
from kinetic_problems import context_table, enzyme, measured, parameter
from petab.v1.lint import lint_problem as lint_1
from petab.v2.lint import lint_problem as lint_2
from petab_problems import write_1, write_2

import multiscale as ms
from multiscale.assays import Affinity, Concentration
from multiscale.data import Data, MeasurementTable, from_measurements
from multiscale.equations.formula import parse
from multiscale.errors import FormatError
from multiscale.fit.petab.objective import Objective
from multiscale.formats.petab import petab_from_graph, read_petab, write_parameters, write_petab
from multiscale.model import Model
from multiscale.solver.options import Solver

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEtab's library


def has_errors(path: Path, version: int) -> bool:
    """Whether PEtab's own check finds errors."""
    if version == 1:
        return lint_1(petab.v1.Problem.from_yaml(str(path)))
    return lint_2(petab.v2.Problem.from_yaml(str(path))).has_errors()


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_written_is_what_is_read_back(version: int, tmp_path: Path):
    before = read_petab(write_1(tmp_path))
    path = write_petab(before, tmp_path / "again", version=version)
    after = read_petab(path)
    assert not has_errors(path, version)
    assert [m.value for m in after.measurements] == [m.value for m in before.measurements]
    assert after.equations.processes["turn"].flux is parse("cell*(k1*A - turn_back*B)")
    for old, new in zip(before.experiments.values(), after.experiments.values(), strict=True):
        assert [(p.time, p.changes) for p in new] == [(p.time, p.changes) for p in old]
    if version == 1:
        assert (after.parameters, after.observables) == (before.parameters, before.observables)


def test_version_2_keeps_phases_formulas_and_priors(tmp_path: Path):
    before = read_petab(write_2(tmp_path))
    path = write_petab(before, tmp_path / "again", version=2)
    after = read_petab(path)
    assert not has_errors(path, 2)
    assert str(after.parameters) == str(before.parameters)  # NaN bounds of the fixed one
    assert after.observables == before.observables
    for name, phases in before.experiments.items():
        assert [(p.time, p.changes) for p in after.experiments[name]] == [(p.time, p.changes) for p in phases]


def test_log10_noise_is_written_as_the_same_density_in_version_2(tmp_path: Path):
    before = read_petab(write_1(tmp_path))
    after = read_petab(write_petab(before, tmp_path / "again", version=2))
    assert (before.observables["a"].scale, after.observables["a"].scale) == ("log10", "log")
    theta = np.array([[0.5, 0.2]])  # k2 is estimated as log10 k2 in version 1
    wanted = Objective(before).value(np.log10([[0.5, 1.0]]) * [[1, 0]] + [[0, 0.2]]).llh
    assert Objective(after).value(theta).llh == pytest.approx(wanted, rel=1e-9)


def test_version_1_has_no_words_for_later_changes_and_formulas(tmp_path: Path):
    problem = read_petab(write_2(tmp_path))
    with pytest.raises(FormatError, match=r"experiment `e`: PEtab version 1 has no changes after the start"):
        write_petab(problem, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_estimates_become_nominal_values_that_petab_reads(tmp_path: Path):
    problem = read_petab(write_1(tmp_path))
    found = pd.DataFrame({"estimate": [0.7], "lower": [0.5], "upper": [math.inf], "status": ["open"]}, ["k2"])
    table = petab.v1.get_parameter_df(write_parameters(problem, tmp_path / "p.tsv", found))
    assert table is not None
    assert table["nominalValue"].tolist() == [0.7, 0.1, 0.5]
    assert [table.at["k2", name] for name in ("lower", "upper", "status")] == [0.5, math.inf, "open"]
    (tmp_path / "parameters.tsv").write_text((tmp_path / "p.tsv").read_text())
    assert read_petab(tmp_path / "problem.yaml").parameters["k2"].nominal == 0.7


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (pd.DataFrame({"value": [1.0]}, ["k2"]), "must have a column `estimate`"),
        (pd.DataFrame({"estimate": [1.0]}, ["sigma"]), "`sigma` is no estimated parameter"),
        (pd.DataFrame({"estimate": [1.0], "lowerBound": [1.0]}, ["k2"]), "its own column `lowerBound`"),
    ],
)
def test_estimates_that_do_not_fit_the_problem_are_refused(found: pd.DataFrame, message: str, tmp_path: Path):
    with pytest.raises(FormatError, match=message):
        write_parameters(read_petab(write_1(tmp_path)), tmp_path / "p.tsv", found)


def flip() -> ms.Graph:
    """in → A ⇌ B → nothing with a constant `in|1`, the start of A in nM."""
    nodes = {
        "molecule": pd.DataFrame(
            {"name": ["A", "B", "in|1"], "initial": ["A0", "", "0.7"], "constant": [False, False, True]}
        ),
        "reaction": pd.DataFrame(
            {
                "name": ["make", "flip", "back", "loss"],
                "k_f": ["k3", "k1", "k2", "k2"],
                "source_or_sink": [True, False, False, True],
            }
        ),
    }
    sides = {
        "reactant": [("in|1", "make"), ("A", "flip"), ("B", "back"), ("B", "loss")],
        "product": [("make", "A"), ("flip", "B"), ("back", "A")],
    }
    edges = {name: pd.DataFrame(rows, columns=["source", "target"]) for name, rows in sides.items()}
    rows = [
        parameter(f"k{i}", "rate_constant", "1/s", value, 1.0) for i, value in ((1, 0.8), (2, 0.6), (3, 0.3))
    ]
    rows.append(parameter("A0", "concentration", "nM", 2000.0, 0.5))
    return ms.Graph.from_tables("flip", nodes, edges, pd.DataFrame(rows))


def likelihoods(graph: ms.Graph, data: Data, regime: str = "time_course") -> tuple[float, float]:
    """ln likelihood of a PEtab problem made from a graph, and that of the fit, at one random point."""
    problem = petab_from_graph(graph, data, regime=regime)
    model = Model(ms.Problem(graph, data, regime=regime, solver=Solver(rtol=1e-9, atol=1e-12)))
    theta = model.parameters.sample(1, torch.Generator().manual_seed(1))
    values = dict(zip(model.parameters.identifiers, model.parameters.flat(theta)[0].tolist(), strict=True))
    objective = Objective(problem, rtol=1e-9, atol=1e-12)
    theirs = objective.value(np.array([[values[name] for name in objective.names]])).llh
    ours = sum(float(part.sum()) for part in model.log_tables(model.state(theta)).values())
    for term in model.problem.tables:  # PEtab's density is of the value, ours of its logarithm
        assay = term.table.assay
        ours -= float(term.entries["y"].sum()) if assay.scale.startswith("ln ") else 0.0
    return float(theirs[0]), ours


ROWS = [(c, t, time, v) for c in "ab" for time, v in ((1.0, 0.3), (5.0, 0.7)) for t in ("A", "A + 2*B")]

INTERVENTIONS = {
    "none": [],
    "sets": [("b", "set", "A", "0.5"), ("a", "set", "k1", "2"), ("b", "set", "k2", "k1")],
    "rates": [("b", "inhibit", "flip", "0.9"), ("a", "activate", "back", "2"), ("b", "set", "k1", "1.5")],
    "events": [
        ("b", "dose", "A", "1", "1"),
        ("b", "dose", "A", "0.5", "2.5"),
        ("a", "clamp", "in|1", "2", "0", "3"),
        ("b", "clamp", "in|1", "0.2", "4"),
    ],
    "starts": [("a", "knock_down", "A", "0.4"), ("b", "dose", "A", "1"), ("b", "over_express", "A", "3")],
}


@pytest.mark.parametrize("case", INTERVENTIONS)
def test_a_graph_has_the_same_likelihood_as_a_petab_problem(case: str):
    contexts = context_table(["a", "b"], INTERVENTIONS[case])
    data = from_measurements(measured(ROWS, unit=""), contexts=contexts)
    theirs, ours = likelihoods(flip(), data)
    assert theirs == pytest.approx(ours, rel=1e-7)


def test_contexts_that_start_from_the_rest_of_another_one_are_equilibrated_first():
    done = [
        ("b", "inhibit", "back", "0.9"),
        ("b", "clamp", "in|1", "2"),
        ("b", "dose", "A", "1"),
        ("a", "set", "k3", "1"),
    ]
    contexts = context_table(["a", "b"], done, {"b": "a"})
    theirs, ours = likelihoods(flip(), from_measurements(measured(ROWS), contexts=contexts))
    assert theirs == pytest.approx(ours, rel=1e-7)


def test_steady_states_are_measurements_at_infinity():
    rows = [("a", "A", "", 1.0), ("b", "A", "", 2.0), ("a", "B", "", 0.1)]
    contexts = context_table(["a", "b"], [("b", "clamp", "in|1", "3")])
    data = from_measurements(measured(rows, sd=0.2), contexts=contexts)
    theirs, ours = likelihoods(flip(), data, "steady_state")
    assert theirs == pytest.approx(ours, rel=1e-7)


def test_normal_noise_and_energies_keep_their_meaning():
    rows = [("a", target, time, 0.3) for target in ("P", "ES + S") for time in (1.0, 4.0)]
    table = measured(rows, Concentration(distribution="normal", noise_median=0.1), unit="")
    theirs, ours = likelihoods(enzyme(), from_measurements(table, contexts=context_table(["a"])))
    assert theirs == pytest.approx(ours, rel=1e-7)


@pytest.mark.parametrize(("case", "version"), [("none", 1), ("sets", 1), ("rates", 2), ("events", 2)])
def test_petab_finds_no_error_in_a_problem_from_a_graph(case: str, version: int, tmp_path: Path):
    data = from_measurements(measured(ROWS, unit=""), contexts=context_table(["a", "b"], INTERVENTIONS[case]))
    problem = petab_from_graph(flip(), data, values={"k1": 0.5, "blot_scale_all_A": 3.0})
    path = write_petab(problem, tmp_path / "out", version=version)
    assert not has_errors(path, version)
    again = read_petab(path)
    assert again.estimated == problem.estimated
    assert again.parameters["k1"].nominal == 0.5
    assert again.experiments.keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("table", "regime", "message"),
    [
        (measured(ROWS, Concentration(limit=0.5)), "time_course", "4 values are detection limits"),
        (measured([("a", "A", "", 1.0)]), "equilibrium", "has no equations of motion"),
    ],
)
def test_what_petab_cannot_say_is_refused_by_name(table: MeasurementTable, regime: str, message: str):
    rows = from_measurements(table, contexts=context_table(["a", "b"]))
    with pytest.raises(FormatError, match=message):
        petab_from_graph(flip(), rows, regime=regime)


def test_only_concentrations_become_measurements():
    assay = Affinity()
    table = pd.DataFrame({"complex": ["ES"], "value": ["2"], "unit": ["uM"]})
    data = from_measurements(
        MeasurementTable("Kd", assay, assay.prepare(table)), contexts=context_table(["a"])
    )
    with pytest.raises(FormatError, match="only concentrations become PEtab measurements; got Affinity"):
        petab_from_graph(enzyme(), data, regime="steady_state")
