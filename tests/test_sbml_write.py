"""Equations and graphs written as SBML: valid, complete, and the same when read back."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import libsbml
import numpy as np
import pandas as pd
import pytest
from small_kinetics import network

from multiscale.equations.expression import TIME, apply, number, symbol
from multiscale.equations.formula import parse
from multiscale.equations.model import (
    Compartment,
    Equations,
    Event,
    Parameter,
    Participant,
    Process,
    Species,
)
from multiscale.errors import FormatError, OutputError
from multiscale.formats.sbml.graph_marks import EQUILIBRIUM_ONLY
from multiscale.formats.sbml.identifiers import identifiers
from multiscale.formats.sbml.read import read_equations
from multiscale.formats.sbml.write import equations_to_sbml, graph_to_sbml, write, write_sbml
from multiscale.graph import read_graph
from multiscale.graph.tsv import equations_text
from multiscale.model.imported import simulate_equations
from multiscale.units import kT

A, B, k = symbol("A"), symbol("B"), symbol("k")

EVERYTHING = Equations(
    compartments={
        "c": Compartment(2.0, constant=False, unit="1e-15*litre"),
        "point": Compartment(None, dimensions=0.0),
    },
    species={
        "A": Species("c", 1.5, start_is_amount=False, conversion="factor"),
        "B": Species("c", 0.1, only_amount=True, unit="1e-21*mole"),
        "D": Species("point", 0.3, only_amount=True, boundary=True),
    },
    parameters={
        "k": Parameter(0.1 + 0.2, unit="second^-1"),
        "factor": Parameter(1e-3),
        "z": Parameter(None, constant=False),
        "w": Parameter(1e-300, constant=False),
        "late": Parameter(None),
    },
    processes={
        "r": Process(
            k * A * symbol("c") * symbol("D"),
            (Participant("A", number(2.0), "n_A", constant=False),),
            (Participant("B", number(1.0) + symbol("late")),),
            modifiers=("D",),
            reversible=True,
        ),
        "idle": Process(None, (Participant("B", number(0.5)),)),
    },
    starts={"late": parse("sqrt(4) / 8")},
    assignments={"z": parse("piecewise(A, A < 1 && !(k == 2), B, time > 3, 0.25) + min(A, B, 1)")},
    rates={"w": symbol("rateOf:A") * parse("0.1"), "c": parse("0.01 * c")},
    events=(
        Event(
            "pulse",
            apply("<", number(1.0), TIME),
            {"A": A + number(1.0), "n_A": number(3.0)},
            delay=number(0.5),
            priority=symbol("k"),
            persistent=False,
            initially_true=False,
            values_from_trigger=False,
        ),
    ),
    units={"substance": "1e-21*mole", "time": "second", "extent": "1e-21*mole", "volume": "1e-15*litre"},
)


def test_all_of_a_model_comes_back():
    found = read_equations(equations_to_sbml(EVERYTHING, "everything"))
    written = equations_text(found).splitlines()
    for name in ("pulse", "n_A", "late", "idle", "rateOf:A"):
        assert any(name in line for line in written)
    assert found.compartments == EVERYTHING.compartments and found.events == EVERYTHING.events
    assert found.parameters["k"] == EVERYTHING.parameters["k"]  # to the last digit
    assert found.rates == EVERYTHING.rates and found.starts == EVERYTHING.starts
    again = read_equations(equations_to_sbml(found, "everything"))
    assert equations_text(again) == equations_text(found)


def test_a_model_that_was_written_runs_the_same():
    times = [0.0, 0.5, 1.2, 1.6, 4.0]
    back = read_equations(equations_to_sbml(EVERYTHING, "everything"))
    wanted, found = (simulate_equations(e, times, ["A", "B", "c", "w", "z"]) for e in (EVERYTHING, back))
    assert wanted["A"][2] != pytest.approx(wanted["A"][3], rel=1e-2)  # the event has happened
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_names_become_identifiers_and_stay_as_names():
    assert identifiers(["K-PP", "K_PP", "K:PP", "2x"]) == {
        "K-PP": "K_PP_2",
        "K_PP": "K_PP",
        "K:PP": "K_PP_3",
        "2x": "_2x",
    }
    model = libsbml.readSBMLFromString(graph_to_sbml(read_graph("mapk_cascade"))).getModel()
    assert model.getSpecies("K_PP").getName() == "K-PP"


def test_libsbml_finds_no_error_and_no_wrong_unit():
    document = libsbml.readSBMLFromString(graph_to_sbml(read_graph("mapk_cascade")))
    assert document.checkConsistency() == 0
    assert document.getModel().getParameter("a1").getUnits() == "per_uM_per_s"


@pytest.mark.parametrize(
    "text",
    [
        "(A > B) + (B >= 1) + piecewise(1, A, 2)",
        "ceil(A) + abs(-B) + A^3 + log10(A) + max(A, B) - sqrt(A)",
        "factorial(A) + sec(B) + arctanh(A / 9) + 1e-40 * exp(90) + 6.02e23 / 1e22",
    ],
)
def test_formulas_have_the_same_value_when_read_back(text: str):
    e = Equations(
        parameters={"A": Parameter(2.0), "B": Parameter(1.5), "y": Parameter(None, constant=False)},
        assignments={"y": parse(text)},
    )
    back = read_equations(equations_to_sbml(e, "formula"))
    first, second = (simulate_equations(each, [0.0], ["y"])["y"][0] for each in (e, back))
    assert first == pytest.approx(second, rel=1e-15) and np.isfinite(first)


def test_what_sbml_lacks_is_refused_by_name():
    e = Equations(
        parameters={"y": Parameter(None, constant=False)}, assignments={"y": apply("digamma", symbol("y"))}
    )
    with pytest.raises(FormatError, match="no function `digamma`"):
        equations_to_sbml(e, "gamma")
    e = Equations(parameters={"y": Parameter(None, constant=False)}, assignments={"y": symbol("x")})
    with pytest.raises(FormatError, match="`x` is in a formula"):
        equations_to_sbml(e, "unknown")


def test_a_file_is_not_replaced_unless_asked(tmp_path: Path):
    path = tmp_path / "model.xml"
    assert write_sbml(EVERYTHING, path) == path
    with pytest.raises(OutputError, match="exists"):
        write_sbml(EVERYTHING, path)
    write_sbml(read_graph("mapk_cascade"), path, overwrite=True)
    assert "K-PP" in path.read_text() and len(list(tmp_path.iterdir())) == 1


def test_an_equilibrium_says_that_its_rates_are_placeholders():
    model = libsbml.readSBMLFromString(graph_to_sbml(read_graph("pbmc_surface"))).getModel()
    assert EQUILIBRIUM_ONLY in model.getNotesString()
    assert 'equilibrium_only="true"' in model.getAnnotationString()
    rate = model.getParameter("placeholder_k_on")
    assert rate.getValue() == 1.0 and "10.1073/pnas.89.8.3338" in rate.getNotesString()
    assert all('equilibrium_only="true"' in r.getAnnotationString() for r in model.getListOfReactions())


def test_fitted_values_take_the_place_of_nominal_ones(tmp_path: Path):
    import pandas as pd

    graph, path = read_graph("mapk_cascade"), tmp_path / "fit.xml"
    fitted = pd.DataFrame({"nominalValue": [7.0, 2.0]}, index=["a1", "noise of an assay"])
    write(graph, path, {"parameter": fitted}, {"temperature_K": 300.0})
    model = libsbml.readSBMLFromFile(str(path)).getModel()
    assert model.getParameter("a1").getValue() == 7.0 and model.getParameter("d1").getValue() == 150.0


def test_energies_that_a_network_corrects_are_refused(tmp_path: Path):
    import pandas as pd

    graph = network(
        {"r": "A -> B"},
        {"r": {"k_f": "k_f", "reversible": True}},
        values={"k_f": (1.0, "1/s"), "g_B": (-kT(310.15), "kcal/mol")},
        complexes={"B": ("A", "g_B")},
    )
    values = {
        "parameter": pd.DataFrame({"nominalValue": [-1.0]}, index=["g_B"]),
        "complex": pd.DataFrame({"g_kcal_per_mol": [-1.5]}, index=["B"]),
    }
    with pytest.raises(FormatError, match=r"energy of `B` is 0\.5 kcal/mol off"):
        write(graph, tmp_path / "model.xml", values)


@pytest.mark.skipif(importlib.util.find_spec("roadrunner") is None, reason="needs libroadrunner, a peer")
@pytest.mark.parametrize("name", ["mapk_cascade", "pbmc_surface"])
def test_libroadrunner_gives_the_same(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "experiments" / "conformance"))
    export = importlib.import_module("export")
    assert export.compare(name)[1] < 1e-6
    del sys.modules["export"]


def test_a_fit_whose_species_bind_nothing_is_written_without_them(tmp_path: Path) -> None:
    graph = read_graph("pbmc_surface")
    means = {
        kind: pd.DataFrame({"mean_concentration_uM": 0.5}, index=graph.nodes[kind].index)
        for kind in ("molecule", "complex")
    }
    write(graph, tmp_path / "model.xml", means)
    equations = read_equations(tmp_path / "model.xml")
    bound = set(graph.edges["subunit"]["source"])
    lonely = [name for name in graph.molecules if name not in bound]
    assert lonely and not set(lonely) & set(equations.species)
