"""An energy measured in a vessel is known in every graph that names it, of molecules or of cells."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from multiscale.config import read_config
from multiscale.formats.tables import read_table
from multiscale.graph import Graph, write_graph
from multiscale.model import Model
from multiscale.runs.molecular import run_molecular
from multiscale.runs.molecular_problem import molecular_problem
from multiscale.runs.problem import problem_from_config
from multiscale.units import delta_g_from_Kd

KD = [0.018, 0.02, 0.022, 0.025]  # µM
TRUE = sum(delta_g_from_Kd(value, 298.15) for value in KD) / len(KD)

VESSEL = """
graph = "vessel"
temperature = 298.15
[data.readings.affinity]
path = "affinity.tsv"
instrument = "affinity"
complex = "AB"
unit_of_value = "uM"
columns = { value = "Kd" }
conditions = { A = 1.0, B = 1.0 }
[fit]
starts = 2
"""

ELSEWHERE = """
graph = "elsewhere"
priors_from = ["learned"]
[data.readings.titration]
path = "titration.tsv"
instrument = "titration"
species = "AB"
of = "A"
conditions = { A = 1e-6, B = "B_uM" }
"""


def pair(name: str, mean: float, sd: float) -> Graph:
    """Two molecules and their complex, whose energy is `g_AB`."""
    nodes = {
        "molecule": pd.DataFrame({"name": ["A", "B"]}),
        "complex": pd.DataFrame({"name": ["AB"], "energy": ["g_AB"]}),
    }
    subunits = pd.DataFrame({"source": ["A", "B"], "target": ["AB", "AB"]})
    parameters = pd.DataFrame(
        {
            "parameterId": ["g_AB"],
            "nominalValue": [mean],
            "objectivePriorType": ["normal"],
            "objectivePriorParameters": [f"{mean};{sd}"],
            "unit": ["kcal/mol"],
            "role": ["energy"],
        }
    )
    return Graph.from_tables(name, nodes, {"subunit": subunits}, parameters, {"licence": "CC0-1.0"})


@pytest.fixture
def learned(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Fit affinities in the folder of a small project of cells; estimate and sd of the energy."""
    monkeypatch.chdir(project)
    write_graph(pair("vessel", -7.0, 3.0), project / "vessel")
    pd.DataFrame({"Kd": KD}).to_csv("affinity.tsv", sep="\t", index=False)
    Path("vessel.toml").write_text(VESSEL)
    run_molecular(read_config("vessel.toml"), "learned", progress=False)
    table = read_table(Path("learned/parameters.tsv")).set_index("parameterId")
    return [float(str(table.at["g_AB", name])) for name in ("nominalValue", "sd")]


def prior_of(graph: Graph) -> list[float]:
    return [float(part) for part in str(graph.parameters.at["g_AB", "objectivePriorParameters"]).split(";")]


def test_an_energy_is_learned_from_affinities(learned: list[float]):
    assert learned[0] == pytest.approx(TRUE, abs=0.02)
    assert 0.03 < learned[1] < 0.3


def test_it_is_a_prior_of_another_instrument(learned: list[float]):
    write_graph(pair("elsewhere", -5.0, 5.0), Path("elsewhere"))
    pd.DataFrame({"B_uM": [0.001, 0.02, 1.0], "value": [0.0, 0.5, 1.0]}).to_csv(
        "titration.tsv", sep="\t", index=False
    )
    Path("elsewhere.toml").write_text(ELSEWHERE)
    problem = molecular_problem(read_config("elsewhere.toml")).problem
    assert prior_of(problem.graph) == pytest.approx(learned)


def test_it_is_a_prior_of_a_graph_of_cells_and_where_they_start(learned: list[float]):
    text = Path("fit.toml").read_text()
    Path("fit.toml").write_text('priors_from = ["learned"]\n' + text)
    problem, _ = problem_from_config(read_config("fit.toml"))
    assert prior_of(problem.graph) == pytest.approx(learned)
    centre = Model(problem).parameters.frame().set_index("parameterId").at["g_AB", "nominalValue"]
    assert centre == pytest.approx(learned[0])
