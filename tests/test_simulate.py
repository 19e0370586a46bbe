"""Simulations of a graph with its nominal values, in Python and from the command line."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from small_kinetics import network

import multiscale as ms
from multiscale.cli import main
from multiscale.errors import ConfigError, DataError
from multiscale.graph import Graph, write_graph
from multiscale.report.trajectories import trajectory
from multiscale.runs.simulation import read_times
from multiscale.solver.status import Status


@pytest.fixture
def decay() -> Graph:
    """A is made by an input and decays with 0.5/s."""
    return network(
        {"make": "-> A", "decay": "A ->"},
        {
            "make": {"k_f": "k_make", "source_or_sink": True},
            "decay": {"k_f": "k_decay", "source_or_sink": True},
        },
        modifiers={"make": {"L": "catalyst"}},
        values={"k_make": (2.0, "1/s"), "k_decay": (0.5, "1/s"), "x_A": (3000.0, "nM")},
        species={"A": {"initial": "x_A"}, "L": {"constant": True}},
    )


@pytest.fixture
def command(monkeypatch, capsys, tmp_path, decay):
    """Run a command beside the folder `decay`; return exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    write_graph(decay, tmp_path / "decay")

    def run(text: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["multiscale", *text.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_a_decay_is_exponential_from_the_start_in_its_own_unit(decay):
    course = ms.simulate(decay, [0.0, 1.0, 4.0], rtol=1e-9)
    assert course.frame()["A"].tolist() == pytest.approx([3 * math.exp(-t / 2) for t in (0, 1, 4)], rel=1e-7)
    assert course.fluxes()["decay"].tolist()[0] == pytest.approx(1.5)
    assert course.solved


def test_a_scan_is_one_context_per_value(decay):
    course = ms.simulate(decay, [0.0, 2.0], set={"k_decay": [0.5, 1.0], "A": 1.0, "L": 0.0})
    table = course.frame()
    assert table.columns.tolist() == ["k_decay", "time", "A", "L"]
    assert table["A"].tolist() == pytest.approx([1, math.exp(-1), 1, math.exp(-2)], rel=1e-5)
    long = course.frame(long=True)
    assert long.shape == (8, 4) and long.columns.tolist() == ["k_decay", "time", "species", "concentration"]


def test_a_clamp_holds_an_input_and_a_dose_is_added(decay):
    clamps, doses = [("L", 0.0, 4.0)], [("A", 1.0, 2.0), ("L", 0.15, 2.0)]
    start = {"A": 0.0, "L": 0.0}
    clamps.insert(0, ("L", 0.25, 2.0))  # after doses at the same time
    course = ms.simulate(decay, [1.0, 2.0, 4.0, 6.0], set=start, doses=doses, clamps=clamps, rtol=1e-9)
    rise = 1.0 + (1.0 - 1.0) * math.exp(-1)  # at rest with k_make L / k_decay = 1 µM from the dose on
    assert course.frame()["A"].tolist() == pytest.approx([0, 1, rise, math.exp(-1)], rel=1e-6)
    assert course.frame()["L"].tolist() == [0.0, 0.25, 0.0, 0.0]


def test_a_steady_state_balances_what_is_made_and_lost(decay):
    rest = ms.simulate(decay, set={"L": [0.25, 1.0]}, regime="steady_state")
    assert rest.frame().columns.tolist() == ["L at start", "A", "L"]
    assert rest.frame()["A"].tolist() == pytest.approx([1.0, 4.0])
    assert rest.eigenvalue is not None and rest.eigenvalue.tolist() == pytest.approx([-0.5, -0.5])
    assert rest.fluxes()["make"].tolist() == pytest.approx([0.5, 2.0])


def test_a_dose_of_what_binds_fast_is_shared_at_once():
    graph = network(
        {"bind": "A + B -> AB", "lose": "A ->"},
        {"bind": {"reversible": True, "fast": True, "k_f": "k_on", "k_r": "k_off"},
         "lose": {"k_f": "k_lose", "source_or_sink": True}},
        values={"k_on": (1.0, "1/(uM*s)"), "k_off": (1.0, "1/s"), "k_lose": (0.0, "1/s")},
        complexes={"AB": ("A + B", "")},
        species={"B": {"initial": "2"}},
    )  # fmt: skip
    table = ms.simulate(graph, [0.0, 1.0, 2.0], doses=[("A", 2.0, 1.0)]).frame()
    assert table["AB"].tolist() == pytest.approx([0.0, 1.0, 1.0])  # Kd = 1: half of 2 and 2 is bound
    assert table["A"].tolist() == pytest.approx([0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"times": [1, 0]}, "`times` must be ascending"),
        ({"times": [-1, 0]}, "`times` must be finite and not negative, in s; got -1"),
        ({"times": []}, "at least one time"),
        ({"times": [1], "set": {"k_decya": 1.0}}, "did you mean `k_decay`"),
        ({"times": [1], "set": {"k_decay": -1.0}}, "`k_decay` must be finite and not negative; got -1"),
        ({"times": [1], "set": {"A": math.nan}}, "`A` must be finite"),
        ({"times": [1], "set": {"k_decay": [1, 2], "A": [1, 2, 3]}}, "must have the same length; got"),
        ({"times": [1], "set": {"k_decay": "fast"}}, "must be a number, or several for a scan; got 'fast'"),
        ({"times": [1], "initial": {"k_decay": 1.0}}, "`initial` of `k_decay`: no reaction touches"),
        ({"times": [1], "doses": [("B", 1.0, 1.0)]}, "dose of `B`"),
        ({"times": [1], "doses": [("A", 1.0, -1.0)]}, "got 1 at -1"),
        ({"times": [1], "rtol": 0.0}, "`rtol`, `atol`"),
        ({"times": [1], "regime": "steady"}, "did you mean `steady_state`"),
        ({"times": [1], "regime": "steady_state"}, "a steady state has no `times`"),
    ],
)
def test_a_wrong_request_is_refused_with_the_remedy(decay, arguments: dict, expected: str):
    with pytest.raises(DataError) as caught:
        ms.simulate(decay, **arguments)
    assert expected in str(caught.value)


def test_all_parameters_without_a_value_are_named_unless_they_are_set(decay):
    decay.parameters.loc[["k_make", "k_decay", "x_A"], "nominalValue"] = math.nan
    with pytest.raises(DataError, match="no nominalValue of `k_make`, `k_decay`, `x_A`"):
        ms.simulate(decay, [1.0])
    assert ms.simulate(decay, [0.0], set={"k_make": 1, "k_decay": 1, "A": 1}).frame()["A"].tolist() == [1.0]


def test_a_name_of_species_and_parameter_needs_to_be_told_apart(decay):
    graph = network({"r": "k_1 -> B"}, {"r": {"k_f": "k_1"}}, values={"k_1": (1.0, "1/s")})
    with pytest.raises(DataError, match="`k_1` is a species and a parameter"):
        ms.simulate(graph, [1.0], set={"k_1": 2.0})
    assert ms.simulate(graph, [0.0], initial={"k_1": 2.0}).frame()["k_1"].tolist() == [2.0]


def test_a_failed_context_has_no_numbers_after_the_time_it_reached():
    graph = network(
        {"grow": "2 A -> 3 A"},
        {"grow": {"k_f": "k_1", "source_or_sink": True}},
        values={"k_1": (1.0, "1/(uM*s)")},
    )
    course = ms.simulate(graph, [0.5, 2.0], set={"A": [0.1, 1.0]}, max_steps=200)  # 1/(1 − t) ends at 1 s
    assert [status.solved for status in course.status] == [True, False]
    assert np.isnan(course.frame()["A"]).tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    "text", ["", "a", "0:1", "0:1:1", "1:0:5", "log:0:1:5", "log:1", "0:1:2.5", "0:inf:5", "0::5"]
)
def test_times_of_another_form_are_refused(text: str):
    with pytest.raises(ConfigError, match="start:stop:count"):
        read_times(text)


def test_the_command_writes_a_table_and_a_picture(command, tmp_path):
    code, out, err = command(
        "simulate decay --times 0:4:3 --set k_decay=0.5,1 --out c.csv --plot c.png --json"
    )
    assert (code, err) == (0, "")
    summary = json.loads(out)
    assert summary["solved"] and summary["status"] == ["CONVERGED", "CONVERGED"]
    table = pd.read_csv(tmp_path / "c.csv")
    assert table["A"].tolist()[:3] == pytest.approx([3.0, 3 * math.exp(-1), 3 * math.exp(-2)], rel=1e-5)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_finds_steady_states_and_gives_doses(command, tmp_path):
    assert command("simulate decay --steady --set L=0.25 --out s.tsv")[0] == 0
    assert pd.read_csv(tmp_path / "s.tsv", sep="\t")["A"].tolist() == pytest.approx([1.0])
    assert command("simulate decay --times 0,2 --set A=0 --dose A=1@2 --out d.csv")[0] == 0
    assert pd.read_csv(tmp_path / "d.csv")["A"].tolist() == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--times 0:4 --out x.csv", "`--times` = `0:4` must be start:stop:count"),
        ("--out x.csv", "give either `--times`"),
        ("--times 0:4:3 --steady --out x.csv", "give either `--times`"),
        ("--times 0:4:3 --set k=1 --out x.csv", "`k` cannot be set"),
        ("--times 0:4:3 --set k_decay --out x.csv", "must be NAME=VALUE"),
        ("--times 0:4:3 --set A=1 --set A=2 --out x.csv", "gives `A` twice"),
        ("--times 0:4:3 --dose A=1 --out x.csv", "must be NAME=VALUE@TIME"),
        ("--times 0:4:3 --clamp A=1@2 --out x.csv", "clamp of `A`: no constant species has this name"),
        ("--times 0:4:3 --out x.csv --plot x.gif", "must end in .png"),
        ("--times 0:4:3 --out x.xlsx", "must end in .csv or .tsv"),
        ("--times 0:4:3 --out no/x.csv", "the folder `no` does not exist"),
        ("--times 0:4:3 --out old.csv", "old.csv exists"),
        ("--times 0:4:3 --out x.csv --plot old.png", "old.png exists"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(command, tmp_path, arguments: str, expected: str):
    for name in ("old.csv", "old.png"):
        (tmp_path / name).write_text("precious")
    before = sorted(path.name for path in tmp_path.iterdir())
    code, out, err = command(f"simulate decay {arguments}")
    assert (code, out) == (2, "")
    assert expected in err and len(err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "old.csv").read_text() == "precious"


def test_a_solver_that_fails_is_exit_code_two_with_its_sentence(command, tmp_path):
    code, _, err = command("simulate decay --times 1,2 --set k_decay=1,1e300 --set A=1e100 --out x.csv")
    assert code == 2
    assert f"at k_decay = 1e+300: {Status.NOT_FINITE.text} (1 of 2 contexts failed)." in err
    assert len(err.splitlines()) == 1
    assert pd.read_csv(tmp_path / "x.csv")["A"].isna().tolist() == [False, False, True, True]


def test_a_picture_shows_what_changes_most_and_says_so():
    times = np.linspace(0, 1, 5)
    table = pd.DataFrame({"time": times} | {f"s{i}": i * times for i in range(12)})
    ax = trajectory(table)
    assert ax.get_title(loc="left") == "10 of 12 species"
    assert [line.get_label() for line in ax.lines] == [f"s{i}" for i in range(2, 12)]
    np.testing.assert_allclose(np.asarray(ax.lines[-1].get_ydata()), 11 * times)


def test_a_picture_of_steady_states_is_drawn_over_what_was_varied():
    dose = np.geomspace(1e-3, 10, 5)
    ax = trajectory(pd.DataFrame({"L at start": dose, "bound": dose / (1 + dose)}))
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "L at start")
    with pytest.raises(DataError, match="no column `unbound`"):
        trajectory(pd.DataFrame({"L": dose, "bound": dose}), species=["unbound"])
