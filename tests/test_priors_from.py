"""Energies learned by one fit become priors of another graph, by one line of TOML."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multiscale.config import Config, read_config
from multiscale.content import find
from multiscale.errors import ConfigError, DataError, GraphError
from multiscale.formats.tables import read_table
from multiscale.graph import Graph, check, read_graph, with_priors
from multiscale.model.kinetics.equations import graph_equations
from multiscale.model.network import Network
from multiscale.runs.priors import graph_with_priors
from multiscale.runs.problem import problem_from_config
from multiscale.runs.run import run


def states(**roles: str) -> Graph:
    """A protein with one folded state, whose energy has one term per role."""
    units = {"energy": "kcal/mol", "m_value": "kcal/(mol*M)"}
    parameters = pd.DataFrame(
        {
            "parameterId": list(roles),
            "role": list(roles.values()),
            "unit": [units.get(role, "kcal/(mol*K)") for role in roles.values()],
            "nominalValue": -1.0,
            "objectivePriorType": "normal",
            "objectivePriorParameters": "-1;2",
        }
    )
    return Graph.from_tables(
        "states",
        {
            "molecule": pd.DataFrame({"name": ["protein"]}),
            "complex": pd.DataFrame({"name": ["folded"], "energy": [";".join(roles)]}),
        },
        {"subunit": pd.DataFrame({"source": ["protein"], "target": ["folded"]})},
        parameters,
    )


def fitted(**columns: object) -> pd.DataFrame:
    row = {"parameterId": "fold", "role": "energy", "unit": "kcal/mol", "nominalValue": -2.5, "sd": 0.25}
    return pd.DataFrame([{key: cell for key, cell in (row | columns).items() if cell is not None}])


def prior_of(graph: Graph, name: str) -> list[float]:
    return [float(part) for part in str(graph.parameters.at[name, "objectivePriorParameters"]).split(";")]


# Roles


def test_energies_may_have_terms_of_entropy_heat_capacity_and_denaturant():
    check(states(fold="energy", dS="entropy", dCp="heat_capacity", m="m_value"))


def test_other_roles_are_no_terms_of_an_energy():
    graph = states(fold="energy")
    graph.parameters.loc["fold", ["role", "unit"]] = ["k_off", "1/s"]
    with pytest.raises(GraphError, match="`fold` is not a parameter of role energy"):
        check(graph)


@pytest.mark.parametrize("role", ["entropy", "heat_capacity", "m_value"])
def test_contexts_without_temperature_of_their_own_refuse_terms_that_depend_on_it(role: str):
    graph = states(fold="energy", other=role)
    with pytest.raises(GraphError, match=f"complex `folded`: energy term `other` has role {role}"):
        Network.from_graph(graph)
    with pytest.raises(GraphError, match=f"has role {role}"):
        graph_equations(graph)


# Priors


def test_a_parameter_takes_over_estimate_and_sd_and_others_stay():
    graph = states(fold="energy", bind="energy")
    changed = with_priors(graph, fitted())
    assert prior_of(changed, "fold") == [-2.5, 0.25]
    assert changed.parameters.at["fold", "nominalValue"] == -2.5
    assert "learned by another fit" in str(changed.parameters.at["fold", "note"])
    pd.testing.assert_frame_equal(changed.parameters.loc[["bind"]], graph.parameters.loc[["bind"]])
    assert prior_of(graph, "fold") == [-1.0, 2.0]


def test_an_interval_stands_for_the_sd_where_there_is_none():
    changed = with_priors(states(fold="energy"), fitted(sd=None, lower=-3.322426, upper=-1.677573))
    assert prior_of(changed, "fold")[1] == pytest.approx(0.5, abs=1e-6)


def test_an_sd_goes_before_the_interval_and_rows_that_were_not_fitted_are_skipped():
    table = pd.concat([fitted(lower=-9.0, upper=9.0, estimate=1), fitted(parameterId="bind", estimate=0)])
    changed = with_priors(states(fold="energy", bind="energy"), table)
    assert (prior_of(changed, "fold"), prior_of(changed, "bind")) == ([-2.5, 0.25], [-1.0, 2.0])


def test_priors_are_on_the_scale_that_the_graph_states(small_graph):
    small_graph.parameters.loc["h_contact", "parameterScale"] = "log10"
    row = {"parameterId": "h_contact", "role": "confinement", "unit": "nm", "parameterScale": "log"}
    changed = with_priors(small_graph, fitted(**row, nominalValue=10.0, sd=math.log(10) / 2))
    assert prior_of(changed, "h_contact") == pytest.approx([1.0, 0.5])


WRONG = {
    "other unit": (fitted(unit="kJ/mol"), ["`fold`", "`kJ/mol`", "`kcal/mol`"]),
    "other scale": (fitted(parameterScale="log"), ["`fold`", "`log`", "`lin`"]),
    "no sd": (fitted(sd=math.nan), ["`fold`", "no sd", "nan"]),
    "sd of zero": (fitted(sd=0.0), ["no sd", "got 0"]),
    "other name": (fitted(parameterId="fould"), ["no parameter", "`fold`", "did you mean `fould`"]),
    "other role": (fitted(role="loss"), ["role loss", "energy"]),
    "column missing": (fitted(unit=None), ["column `unit` is missing"]),
    "interval missing": (fitted(sd=None), ["column `sd` is missing", "lower and upper"]),
    "name twice": (pd.concat([fitted(), fitted()]), ["occurs twice"]),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_table_that_cannot_be_a_prior_is_refused(mistake: str):
    table, words = WRONG[mistake]
    with pytest.raises(GraphError) as caught:
        with_priors(states(fold="energy"), table, "learned.tsv")
    assert all(word in str(caught.value) for word in ["learned.tsv", *words]), caught.value


def test_a_parameter_that_the_graph_keeps_fixed_takes_no_prior():
    graph = states(fold="energy")
    graph.parameters.loc["fold", "estimate"] = 0
    with pytest.raises(GraphError, match="`fold` is not estimated in the graph"):
        with_priors(graph, fitted())


# From a TOML


def test_one_line_of_toml_makes_estimates_of_a_table_priors_of_a_graph(project: Path, monkeypatch):
    monkeypatch.chdir(project)
    fitted(parameterId="g_contact").to_csv("learned.tsv", sep="\t", index=False)
    text = Path("fit.toml").read_text()
    Path("fit.toml").write_text('priors_from = ["learned.tsv"]\n' + text)
    problem, _ = problem_from_config(read_config("fit.toml"))
    assert prior_of(problem.graph, "g_contact") == [-2.5, 0.25]
    assert prior_of(problem.graph, "g_AB") == [-10.0, 2.0]


def small_run(project: Path) -> Config:
    config = read_config(project / "fit.toml")
    fit = config.fit.model_copy(update={"starts": 2})
    uncertainty = config.uncertainty.model_copy(update={"draws": 2})
    return config.model_copy(update={"holdout": None, "fit": fit, "uncertainty": uncertainty})


def test_a_finished_run_is_a_prior_with_its_estimates_and_sds(project: Path, monkeypatch):
    monkeypatch.chdir(project)
    run(small_run(project), project / "out", progress=False)
    learned = read_table(project / "out" / "parameters.tsv").set_index("parameterId")
    estimate, sd = learned["nominalValue"].to_dict(), learned["sd"].to_dict()
    graph = graph_with_priors(read_graph("net"), ["out"])
    for name in ("g_AB", "g_contact"):
        np.testing.assert_allclose(prior_of(graph, name), [estimate[name], sd[name]], rtol=1e-12)
    scaled = [math.log(estimate["rho_AB"]), sd["rho_AB"]]
    np.testing.assert_allclose(prior_of(graph, "rho_AB"), scaled, rtol=1e-12)


def test_sources_that_are_missing_unfinished_or_know_the_same_parameter_are_refused(
    tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    graph = states(fold="energy")
    with pytest.raises(ConfigError, match="`priors_from`: runs/none: no such file or folder"):
        graph_with_priors(graph, ["runs/none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"has no parameters.tsv: it is not the folder of a run"):
        graph_with_priors(graph, ["empty"])
    for name in ("a.tsv", "b.tsv"):
        fitted().to_csv(name, sep="\t", index=False)
    with pytest.raises(ConfigError, match=r"`fold` is in a.tsv and in b.tsv"):
        graph_with_priors(graph, ["a.tsv", "b.tsv"])


# Where data lie


def test_data_are_found_below_the_folder_that_the_environment_names_last(tmp_path: Path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "far" / "data").mkdir(parents=True)
    (tmp_path / "far" / "data" / "scan.tsv").write_text("far")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("MULTISCALE_DATA", str(tmp_path / "far"))
    assert find("datasets", "data/scan.tsv").read_text() == "far"
    (tmp_path / "here" / "data").mkdir()
    (tmp_path / "here" / "data" / "scan.tsv").write_text("near")
    assert find("datasets", "data/scan.tsv").read_text() == "near"
    with pytest.raises(DataError, match="MULTISCALE_DATA"):
        find("datasets", "data/other.tsv")
