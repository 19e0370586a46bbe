"""The experiment on signalling of T cells: its network, its controls, its moments and its score."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import multiscale as ms

FOLDER = Path(__file__).parents[1] / "experiments" / "tcell_phospho"


@pytest.fixture(scope="module")
def modules():
    """The modules of the experiment, which is no package."""
    sys.path.insert(0, str(FOLDER))
    try:
        names = ("judge", "networks", "population", "single_cells")
        return {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def config():
    return tomllib.loads((FOLDER / "config.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def graph():
    return ms.read_graph("tcell_phospho")


def catalysts(graph: ms.Graph) -> list[str]:
    return sorted(graph.edges["modifier"]["source"])


def test_every_catalysed_reaction_names_a_reference(graph):
    catalysed = graph.nodes["reaction"].loc[graph.edges["modifier"]["target"]]
    assert (catalysed["doi"] != "").all() and catalysed["k_f"].is_unique


def test_only_PKA_inhibits(graph):
    modifiers = graph.edges["modifier"].set_index("target")["source"]
    inhibits = [name for name in modifiers.index if "inhibits" in name]
    assert len(inhibits) == 6 and {modifiers[name] for name in inhibits} == {"PKA*"}


def test_rewiring_keeps_degrees_and_inputs_and_moves_edges(graph):
    other = ms.rewire(graph, 3, relation="modifier")
    one, two = graph.edges["modifier"], other.edges["modifier"]
    assert catalysts(graph) == catalysts(other) and (one["target"] == two["target"]).all()
    moved = one["source"].to_numpy() != two["source"].to_numpy()
    inputs = one["source"].isin(["CD3CD28", "ICAM2", "PMA", "b2cAMP"])
    assert moved.sum() > 5 and not moved[inputs].any()


def test_without_edges_nothing_but_inputs_catalyses(graph, modules):
    assert set(catalysts(modules["networks"].without_edges(graph))) == {"CD3CD28", "ICAM2", "PMA", "b2cAMP"}


def test_a_cycle_with_one_input_rests_at_a_over_one_plus_a(graph, modules, config):
    alone = modules["population"].Population(modules["networks"].without_edges(graph), config)
    theta = torch.zeros(1, alone.parameters.size, dtype=torch.float64)
    p = alone.constants(alone.parameters.unpack(theta))[0, :1]
    x, found = alone.rest(p, alone.start()[:1])
    assert found.all()  # k_basal = 0.1/s, k of the input = 0.3/(µM s) at 1 µM, k_back = 1/s
    assert float(x[0, alone.kinetics.species.index("Erk*")]) == pytest.approx(0.4 / 1.4, rel=1e-3)


def test_sensitivities_to_totals_are_finite_differences(graph, modules, config):
    model = modules["population"].Population(graph, config)
    theta = model.parameters.sample(1, torch.Generator().manual_seed(1), spread=0.5)
    p, x0 = model.constants(model.parameters.unpack(theta))[0, 1:2], model.start()[1:2]
    S, size, h = model.sensitivity(p, model.rest(p, x0)[0])[0], len(model.pools), 1e-4
    moved = x0.repeat(2 * size, 1)
    rows = torch.arange(size)
    moved[rows, model.pools] *= np.exp(h)
    moved[rows + size, model.pools] *= np.exp(-h)
    up, down = model.rest(p.expand(2 * size, -1), moved)[0][:, model.read].log().split(size)
    torch.testing.assert_close(S, ((up - down) / (2 * h)).T, rtol=1e-5, atol=1e-7)


def test_what_only_the_condition_left_out_determines_is_drawn_from_its_prior(graph, modules, config):
    model, conditions = modules["population"].Population(graph, config), list(config["conditions"])
    labels = np.array([label for block in model.parameters.blocks for label in block.labels])
    assert labels[model.unseen(conditions.index("pma"))].tolist() == ["k_PMA_PKC"]
    assert labels[model.unseen(conditions.index("cd3cd28_u0126"))].tolist() == ["efficacy_u0126"]
    assert not model.unseen(conditions.index("cd3cd28")).any()


def test_fit_comes_close_to_means_that_the_model_made(graph, modules, config):
    population = modules["population"]
    model = population.Population(graph, config)
    truth = model.parameters.sample(1, torch.Generator().manual_seed(2), spread=0.3)
    with torch.no_grad():
        made = model.moments(truth, torch.zeros(1, dtype=torch.int64))[0]
    data = population.Moments(made.mean[0], made.covariance[0])
    theta = population.fit(model, data, torch.ones(1, 9, dtype=torch.float64), cells=100, starts=1, steps=20)
    with torch.no_grad():
        found = model.moments(theta, torch.zeros(1, dtype=torch.int64))[0]
    assert float((found.mean[0] - data.mean).abs().median()) < 0.1  # a few are taken for shifts


def test_score_is_that_of_a_normal_prediction_in_closed_form(modules):
    drawn = np.random.default_rng(0).normal(size=100_000)
    found = modules["judge"].crps(drawn, np.array([0.0]))
    assert found == pytest.approx((np.sqrt(2) - 1) / np.sqrt(np.pi), abs=5e-3)  # Gneiting and Raftery 2007


def test_cells_of_the_data_become_contexts_of_a_problem(shared, graph, modules, config):
    table = pd.read_csv(shared / config["data"])
    groups = dict(list(table.groupby(config["condition"])))
    assert set(groups) == set(config["conditions"])
    cells = [np.log(groups[name][list(config["readouts"])].to_numpy(float)) for name in config["conditions"]]
    asked = modules["single_cells"].problem(graph, config, cells, [0, 5])
    assert len(asked.contexts) == 2 * config["single_cells"]["cells"] and asked.regime == "steady_state"
