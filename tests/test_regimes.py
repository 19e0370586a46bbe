"""Kinetic regimes in the model: time courses and steady states are fitted like equilibria."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from kinetic_problems import ENZYME, context_table, enzyme, measured, noisy, parameter, problem

import multiscale as ms
from multiscale.config import read_config
from multiscale.data import MeasurementTable, from_measurements
from multiscale.fit.curvature import hessian
from multiscale.fit.objective import Posterior
from multiscale.model import Model
from multiscale.runs.run import run
from multiscale.runs.store import export_run
from multiscale.units import MOLECULES_PER_UM_FL

FIXED = [{**row, "estimate": 0} for row in ENZYME]
TRUTH = {"k_on": 3.0, "k_cat": 0.3, "g_ES": -8.6}
LOOSE = ms.Solver(rtol=1e-5, atol=1e-8)
ROW = torch.zeros(1, dtype=torch.int64)
FIRST = {"k_on": math.log(2.0), "k_cat": math.log(0.5), "g_ES": -8.0}


def observed(seed: int = 5) -> MeasurementTable:
    """Product and complex of the enzyme at two doses of its substrate, with 5 % of noise."""
    times = [0.2, 1.0, 4.0, 12.0]
    table = ms.simulate(enzyme(), times, set=TRUTH | {"S0": [1.0, 4.0]}, rtol=1e-8).frame(long=True)
    table = table[table["species"].isin(["P", "ES"])]
    table["context"] = np.where(table["S0"] == 1.0, "low", "high")
    table["value"] = noisy(table["concentration"].to_numpy(), 0.05, seed)
    rows = table[["context", "species", "time", "value"]].itertuples(index=False, name=None)
    return measured(list(rows), sd=0.05)


def doses() -> list[tuple]:
    return [("low", "set", "S", 1.0), ("high", "set", "S0", 4.0)]


def course() -> ms.Problem:
    return problem(enzyme(), observed(), context_table(["low", "high"], doses()), solver=LOOSE)


def inside(table: pd.DataFrame, name: str, value: float) -> bool:
    """Whether the interval of a parameter holds a value."""
    return table["lower"].to_dict()[name] < value < table["upper"].to_dict()[name]


def test_rate_constants_and_an_energy_are_recovered_from_time_courses() -> None:
    result = ms.fit(course(), starts=1, seed=2, adam_steps=3, draws=20, progress=False)
    table = result.parameters.set_index("parameterId")
    for name, value in TRUTH.items():
        assert inside(table, name, value)
        assert table.at[name, "determinedBy"] == "data"
    assert table["unit"].to_dict() == {"g_ES": "kcal/mol", "k_on": "1/(uM*s)", "k_cat": "1/s"}
    shown = result.tables()["concentrations"]
    assert len(shown) == 2 * 4 * 4
    assert (shown["lower"] <= shown["upper"]).all()


def turnover() -> ms.Graph:
    """Synthesis of A, catalysed by K, against loss: A rests at k K/d; e is an unknown efficacy."""
    nodes = {
        "molecule": pd.DataFrame({"name": ["A", "K"], "initial": ["", "1"], "constant": [False, True]}),
        "reaction": pd.DataFrame(
            {"name": ["make", "lose"], "k_f": ["k", "d"], "source_or_sink": [True, True]}
        ),
    }
    edges = {
        "reactant": pd.DataFrame({"source": ["A"], "target": ["lose"]}),
        "product": pd.DataFrame({"source": ["make"], "target": ["A"]}),
        "modifier": pd.DataFrame({"source": ["K"], "target": ["make"]}),
    }
    constants = [
        parameter("k", "rate_constant", "1/s", 1.0, 2.0),
        parameter("d", "rate_constant", "1/s", 0.1),
        parameter("e", "efficacy", "1", 0.5, 1.0),
    ]
    return ms.Graph.from_tables("turnover", nodes, edges, pd.DataFrame(constants))


def inhibited(measured_at: dict[str, float], **options) -> ms.Problem:
    """A at rest, without and with a drug on K."""
    rows = [(context, "A", "", value) for context, value in measured_at.items()]
    contexts = context_table(["free", "drug"], [("drug", "inhibit", "K", "e")])
    return problem(turnover(), measured(rows, sd=0.02), contexts, regime="steady_state", **options)


def test_an_unknown_efficacy_follows_from_two_steady_states() -> None:
    result = ms.fit(inhibited({"free": 30.0, "drug": 6.0}), starts=2, seed=0, draws=50, progress=False)
    table = result.parameters.set_index("parameterId")
    assert table.at["k", "nominalValue"] == pytest.approx(3.0, rel=1e-3)
    assert table.at["e", "nominalValue"] == pytest.approx(0.8, rel=1e-2)
    assert (table.at["e", "lowerBound"], table.at["e", "upperBound"]) == (0.0, 1.0)
    assert inside(table, "e", 0.8)
    assert "time" not in result.tables()["concentrations"]


def test_what_reacts_is_carried_over_and_inputs_are_of_the_context_itself() -> None:
    contexts = context_table(["rest", "later"], [("rest", "set", "K", 2.0)], {"later": "rest"})
    table = measured([("later", "A", t, 1.0) for t in (0.0, 10.0)], sd=0.1)
    model = Model(problem(turnover(), table, contexts, solver=ms.Solver(rtol=1e-8)))
    found = model.state(torch.zeros(1, model.parameters.size).double()).x[0, 1]
    expected = torch.tensor([[20.0, 1.0], [10.0 + 10.0 * math.exp(-1.0), 1.0]]).double()
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)


def preequilibrated() -> ms.Problem:
    contexts = context_table(["rest", "later"], [("later", "dose", "B", 0.5, 2.0)], {"later": "rest"})
    table = measured([("later", "A2B", 3.0, 0.1), ("later", "AB", 1.0, 0.1)], sd=0.1)
    return problem(reversible(), table, contexts)


PROBLEMS = {
    "time course": course,
    "steady state": lambda: inhibited({"free": 30.0, "drug": 6.0}),
    "after preequilibration": preequilibrated,
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_gradient_of_the_posterior_is_that_of_central_differences(name: str) -> None:
    model = Model(PROBLEMS[name](), solver=ms.Solver(rtol=1e-9, atol=1e-11))
    posterior, h = Posterior(model), 1e-4
    theta = torch.full((1, model.parameters.size), 0.3, dtype=torch.float64)
    leaf = theta.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(posterior(leaf, ROW).sum(), leaf)
    moves = h * torch.eye(model.parameters.size, dtype=torch.float64)
    points = torch.cat([theta + moves, theta - moves])
    above, below = posterior(points, torch.zeros(len(points), dtype=torch.int64)).chunk(2)
    torch.testing.assert_close(gradient[0], (above - below) / (2 * h), rtol=1e-5, atol=1e-5)


def test_differences_of_gradients_give_the_hessian_that_autograd_gives() -> None:
    model = Model(inhibited({"free": 30.0, "drug": 6.0}))
    theta = torch.full((1, model.parameters.size), 0.3, dtype=torch.float64)
    exact = hessian(Posterior(model), theta)

    class Once(Posterior):
        twice_differentiable = False  # pyright: ignore

    torch.testing.assert_close(hessian(Once(model), theta), exact, rtol=1e-6, atol=1e-5)


def test_a_difference_that_meets_a_failure_takes_the_other_side() -> None:
    class Walled:
        twice_differentiable = False

        def __call__(self, theta: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            return torch.where(theta[:, 0] < 1.0, (theta**2).sum(1) + theta.prod(1), torch.inf)

    theta = torch.tensor([[1.0 - 1e-5, 0.5]], dtype=torch.float64)
    expected = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(hessian(Walled(), theta), expected, rtol=0, atol=1e-9)


def test_a_context_that_fails_fails_its_start_alone_and_without_gradient() -> None:
    asked = course()
    model = Model(asked)
    good = torch.zeros(1, model.parameters.size, dtype=torch.float64)
    bad = good.clone()
    bad[0, model.parameters.slices()["k_on"]] = 1000.0  # overflows
    leaf = torch.cat([good, bad]).requires_grad_(True)
    loss = Posterior(model)(leaf, torch.arange(2))
    (gradient,) = torch.autograd.grad(loss[0] + loss[1], leaf)
    alone = good.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(Posterior(model)(alone, ROW).sum(), alone)
    assert loss[1] == torch.inf
    assert gradient[1].abs().max() == 0
    torch.testing.assert_close(gradient[:1], expected, rtol=0, atol=0)


def test_a_context_that_takes_too_many_steps_makes_the_loss_infinite() -> None:
    asked = course()
    slow = Model(asked, solver=ms.Solver(max_steps=3))
    theta = torch.zeros(1, slow.parameters.size, dtype=torch.float64, requires_grad=True)
    loss = Posterior(slow)(theta, ROW)
    (gradient,) = torch.autograd.grad(loss.sum(), theta)
    assert loss.item() == torch.inf
    assert gradient.abs().max() == 0


def reversible() -> ms.Graph:
    """A + B ⇌ AB, AB + A ⇌ A2B, with backward rate constants from the energies."""
    nodes = {
        "molecule": pd.DataFrame({"name": ["A", "B"], "initial": ["1.5", "0.7"]}),
        "complex": pd.DataFrame(
            {"name": ["AB", "A2B"], "energy": ["g1", "g1;g2"], "statistical_factor": [1, 0.5]}
        ),
        "reaction": pd.DataFrame({"name": ["r1", "r2"], "reversible": True, "k_f": ["k1", "k2"]}),
    }
    edges = {
        "subunit": pd.DataFrame(
            {
                "source": ["A", "B", "A", "B"],
                "target": ["AB", "AB", "A2B", "A2B"],
                "stoichiometry": [1, 1, 2, 1],
            }
        ),
        "reactant": pd.DataFrame({"source": ["A", "B", "AB", "A"], "target": ["r1", "r1", "r2", "r2"]}),
        "product": pd.DataFrame({"source": ["r1", "r2"], "target": ["AB", "A2B"]}),
    }
    constants = [
        parameter("g1", "energy", "kcal/mol", -8.5, 1.0),
        parameter("g2", "energy", "kcal/mol", -7.5, 1.0),
        parameter("k1", "k_on", "1/(uM*s)", 1.0),
        parameter("k2", "k_on", "1/(uM*s)", 20.0),
    ]
    card = {"cell": {"volume_fL": 100.0, "surface_um2": 100.0}}
    return ms.Graph.from_tables("reversible", nodes, edges, pd.DataFrame(constants), card)


def test_equilibrium_is_the_steady_state_of_reversible_binding() -> None:
    graph, table = reversible(), measured([("a", "A2B", "", 0.3)], sd=0.1)
    balanced = Model(ms.Problem(graph, from_measurements(table)))
    copies = np.log(np.array([1.5, 0.7]) * 100.0 * 602.214076)
    values = {block.name: np.asarray(block.mean) for block in balanced.parameters.blocks} | {"supply": copies}
    rest = Model(problem(graph, table, regime="steady_state"))
    expected = balanced.state(balanced.parameters.pack(values))
    found = rest.state(rest.parameters.pack({"energy": np.array([-8.5, -7.5])}))
    torch.testing.assert_close(found.ln_x, expected.ln_x, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.ln_total, expected.ln_total, rtol=0, atol=1e-9)
    assert rest.readings["blot"].location(found).item() == pytest.approx(
        balanced.readings["blot"].location(expected).item(), abs=1e-9
    )


def test_a_dose_after_preequilibration_is_a_simulation_in_two_stages() -> None:
    graph = reversible()
    done = [("rest", "set", "A", 0.2), ("later", "dose", "B", 0.5, 2.0), ("later", "set", "k1", 0.5)]
    contexts = context_table(["rest", "later"], done, {"later": "rest"})
    times = [1.0, 2.5, 6.0]
    table = measured([("later", "A2B", t, 0.1) for t in times], sd=0.1)
    asked = problem(graph, table, contexts, solver=ms.Solver(rtol=1e-9, atol=1e-12))
    model = Model(asked)
    found = model.state(torch.zeros(1, model.parameters.size).double()).x[0, 1]
    first = ms.simulate(graph, set={"A": 0.2}, regime="steady_state")
    start = dict(zip(first.species, first.x[0, 0].tolist(), strict=True))
    second = ms.simulate(
        graph, times, set={"k1": 0.5}, initial=start, doses=[("B", 0.5, 2.0)], rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(found, second.x[0], rtol=1e-7, atol=1e-10)


def test_fast_binding_inside_takes_doses_like_a_simulation() -> None:
    graph = reversible()
    reactions = graph.nodes["reaction"].assign(fast=[True, False])
    graph = replace(graph, nodes={**graph.nodes, "reaction": reactions})
    times = [1.0, 3.0, 6.0]
    contexts = context_table(["a", "b"], [("a", "dose", "A", 1.0, 2.0)])
    table = measured([("a", "A2B", t, 0.1) for t in times], sd=0.1)
    model = Model(problem(graph, table, contexts))
    found = model.state(torch.zeros(1, model.parameters.size).double()).x[0, 0]
    expected = ms.simulate(graph, times, doses=[("A", 1.0, 2.0)]).x[0]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def counted(species: ms.Graph) -> ms.Graph:
    """The enzyme with a transcript of E, in cells of 100 fL."""
    molecules = species.nodes["molecule"]
    transcript = (
        molecules.loc[["E"]].rename({"E": "E.rna"}).assign(kind="transcript", identifier="E", initial="")
    )
    nodes = {**species.nodes, "molecule": pd.concat([molecules, transcript]).rename_axis("name")}
    edges = {**species.edges, "encodes": pd.DataFrame({"source": ["E.rna"], "target": ["E"]})}
    card = {"cell": {"volume_fL": 100.0}}
    return ms.Graph.from_tables("counted", nodes, edges, species.parameters, card)


def test_counted_transcripts_supply_the_start() -> None:
    counts = np.full((4, 1), 5.0, dtype="float32")
    cells = pd.DataFrame({"kind": ["low", "low", "high", "high"], "n_counts": 1000.0}, index=list("abcd"))
    data = ms.from_anndata(AnnData(counts, cells, pd.DataFrame(index=["E"])), groupby="kind").join(observed())
    model = Model(ms.Problem(counted(enzyme(FIXED)), data, regime="time_course"))
    assert list(model.parameters["translation"].labels) == ["E"]
    state = model.state(torch.zeros(1, model.parameters.size, dtype=torch.float64))
    enzyme_total = state.x[0, :, :, 0] + state.x[0, :, :, 3]
    supplied = (state.ln_supply.exp() / (100.0 * MOLECULES_PER_UM_FL))[0].expand_as(enzyme_total)
    torch.testing.assert_close(enzyme_total, supplied, rtol=1e-9, atol=0)


def test_tables_of_counts_are_needed_for_supply() -> None:
    model = Model(problem(counted(enzyme(FIXED)), observed(), context_table(["low", "high"])))
    assert model.parameters.size == 0
    found = model.state(torch.zeros(1, 0, dtype=torch.float64))
    assert (found.x[0, :, -1, 0] + found.x[0, :, -1, 3]).tolist() == pytest.approx([0.5, 0.5], rel=1e-9)


@pytest.mark.parametrize(
    ("before", "interventions", "message"),
    [
        ({"b": "c"}, [], "context `b`: `preequilibrate` is `c`, which is no context"),
        ({"b": "a", "a": "b"}, [], "`preequilibrate` is `b`, which starts from `a` itself"),
        (
            {"b": "a"},
            [("a", "dose", "P", 1.0, 3.0)],
            "dose of `a` states a `time`, but another context starts",
        ),
    ],
)
def test_preequilibration_that_cannot_be_is_refused(before: dict, interventions: list, message: str) -> None:
    contexts = context_table(["a", "b"], interventions, before)
    with pytest.raises(ms.MultiscaleError, match=re.escape(message)):
        problem(enzyme(FIXED), measured([("b", "P", 1.0, 1.0)], sd=0.1), contexts)


def test_abundances_of_contexts_scale_their_starts() -> None:
    priors = ms.Priors(abundance_sd=0.5)
    asked = problem(enzyme(FIXED), observed(), context_table(["low", "high"]), priors=priors)
    model = Model(asked)
    block = model.parameters["abundance"]
    assert list(block.labels) == ["E in low", "S in low", "E in high", "S in high"]
    fold = np.log([1.0, 2.0, 3.0, 4.0])
    state = model.state(model.parameters.pack({"abundance": fold}))
    moieties = state.x[0, :, -1] @ torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 1]]).double().T  # E, S, P, ES
    expected = torch.tensor([[0.5, 4.0], [1.5, 8.0]]).double()
    torch.testing.assert_close(moieties, expected, rtol=1e-9, atol=0)
    assert block.per_context


def test_warm_starts_find_the_same_steady_state() -> None:
    model = Model(inhibited({"free": 30.0, "drug": 6.0}))
    theta = torch.zeros(2, model.parameters.size, dtype=torch.float64)
    cold = model.state(theta)
    warm = model.state(theta + 0.1, start=cold.warm)
    torch.testing.assert_close(warm.x, model.state(theta + 0.1).x, rtol=1e-9, atol=0)


def test_a_picture_of_courses_shows_measurements_limits_and_the_fit() -> None:
    table = pd.DataFrame(
        {
            "assay": "blot",
            "context": "a",
            "target": "P",
            "time": [2.0, 1.0, np.nan],
            "scale": "ln µM",
            "measured": [5.0, 4.0, 3.0],
            "predicted": [5.5, 4.5, 3.5],
            "censoring": [0, -1, 0],
        }
    )
    (panel,) = ms.pl.courses(table).child_axes
    drawn = [(line.get_marker(), np.asarray(line.get_xydata()).tolist()) for line in panel.lines]
    assert drawn == [("None", [[1.0, 4.5], [2.0, 5.5]]), ("o", [[2.0, 5.0]]), ("v", [[1.0, 4.0]])]
    with pytest.raises(ms.MultiscaleError, match="this fit has none"):
        ms.pl.courses(table.assign(time=np.nan))


CONFIG = """
graph = "graph"
regime = "time_course"
title = "enzyme"
[data]
contexts = "contexts.tsv"
interventions = "done.tsv"
[data.tables.blot]
path = "blot.tsv"
assay = "concentration"
[solver]
rtol = 1e-5
atol = 1e-8
[fit]
starts = 1
seed = 2
adam_steps = 0
[uncertainty]
draws = 10
"""


def test_a_run_from_a_toml_gives_a_whole_folder(tmp_path) -> None:
    ms.write_graph(enzyme(), tmp_path / "graph")
    entries = observed().entries
    rows = entries.assign(value=np.exp(entries["y"]), unit="uM")
    rows[["context", "target", "time", "value", "unit", "sd"]].to_csv(
        tmp_path / "blot.tsv", sep="\t", index=False
    )
    (tmp_path / "contexts.tsv").write_text("context\tnote\nlow\tx\nhigh\ty\n")
    done = pd.DataFrame(doses(), columns=["context", "kind", "target", "value"])
    done.to_csv(tmp_path / "done.tsv", sep="\t", index=False)
    (tmp_path / "config.toml").write_text(CONFIG)
    out = tmp_path / "out"
    summary = run(read_config(tmp_path / "config.toml"), out, progress=False)
    assert summary["regime"] == "time_course"
    assert {"concentrations", "energies", "parameters", "predictions"} <= set(summary["tables"])
    assert not (out / "results.h5ad").exists()
    assert 'id="courses"' in (out / "report.html").read_text(encoding="utf-8")
    assert json.loads((out / "metrics.json").read_text())["terms"].keys() >= {"prior", "blot"}
    assert len(export_run(out, ["cx2", "cyjs", "tsv", "safetensors"])) == 4
    with pytest.raises(ms.MultiscaleError, match="the run had no AnnData"):
        export_run(out, ["h5ad"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CONFIG + '[holdout]\ntable = "blot"\n', "regime `time_course` has no use for"),
        (CONFIG.replace("[data]", '[data]\ngroupby = "type"'), "`data.groupby` needs `data.anndata`"),
        (CONFIG.replace('regime = "time_course"', 'regime = "dynamic"'), "`regime` = 'dynamic'"),
        ('graph = "graph"\n[data]\n', "holds no measurements"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(tmp_path, text: str, message: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ms.MultiscaleError, match=message):
        run(read_config(tmp_path / "config.toml"), tmp_path / "out", progress=False)
