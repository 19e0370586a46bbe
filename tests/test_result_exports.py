"""A fitted kinetic graph as SBML and PEtab: other readers get the fitted model and the same likelihood."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import petab.v2
import pytest
from kinetic_problems import context_table, enzyme, measured, problem
from petab.v2.lint import lint_problem

import multiscale as ms

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEtab's library


@pytest.fixture(scope="module")
def result() -> ms.Result:
    rows = [("a", "P", t, v) for t, v in ((1.0, 0.21), (3.0, 0.58), (10.0, 1.41))]
    rows += [("b", "P", t, v) for t, v in ((1.0, 0.13), (3.0, 0.37), (10.0, 0.80))]
    contexts = context_table(["a", "b"], [("b", "set", "S", 1.0)])
    asked = problem(enzyme(), measured(rows, sd=0.1), contexts)
    return ms.fit(asked, starts=1, seed=2, adam_steps=3, draws=20, progress=False)


def test_the_written_problem_has_no_errors_and_the_fitted_values(result: ms.Result, tmp_path: Path):
    path = result.write_petab(tmp_path / "petab")
    assert not lint_problem(petab.v2.Problem.from_yaml(str(path))).has_errors()
    written = ms.read_petab(path)
    fitted = result.parameters.set_index("parameterId")["nominalValue"]
    for name in written.estimated:
        assert written.parameters[name].nominal == pytest.approx(fitted[name], rel=1e-12)


def test_the_written_problem_predicts_what_the_fit_predicts(result: ms.Result, tmp_path: Path):
    objective = ms.PetabObjective(ms.read_petab(result.write_petab(tmp_path / "petab")))
    table = objective.simulate(objective.nominal)
    predicted = result.predictions.sort_values(["context", "time"])["predicted"].to_numpy(float)
    simulated = table.sort_values(["experimentId", "time"])["simulation"].to_numpy(float)
    assert np.allclose(np.log(simulated), predicted, atol=1e-4)


def test_the_exported_sbml_has_the_fitted_values(result: ms.Result, tmp_path: Path):
    path = tmp_path / "model.xml"
    result.export(path)
    graph = ms.read_sbml(path)
    fitted = result.parameters.set_index("parameterId")["nominalValue"]
    assert graph.equations is not None
    assert graph.equations.parameters["k_cat"].value == pytest.approx(fitted["k_cat"], rel=1e-12)
    ours = ms.simulate(graph, [0.0, 10.0]).frame()
    start = ms.simulate(
        result.problem.graph, [0.0, 10.0], set={n: float(fitted[n]) for n in ("k_on", "k_cat", "g_ES")}
    )
    assert np.allclose(ours[["S", "P"]], start.frame()[["S", "P"]], rtol=1e-5)
    assert isinstance(ours, pd.DataFrame)
