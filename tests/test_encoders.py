"""Networks that predict energies: they start with the physics alone and learn what it leaves open."""

import numpy as np
import pandas as pd
import pytest
import torch

import multiscale as ms


def test_a_fresh_network_corrects_nothing():
    network = ms.DenseEnergy(3, (8, 4))
    assert bool((network(torch.ones(5, 3, dtype=torch.float64)) == 0).all())


def test_making_a_network_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    first, second = ms.DenseEnergy(3, seed=1), ms.DenseEnergy(3, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_network_learns_the_energy_that_the_prior_excludes(small_graph, small_adata, small_tables):
    """The term of A:B is held at -6 kcal/mol; the measured 20 nM can only come from the network."""
    table = small_graph.parameters.copy()
    table.loc["g_AB", ["nominalValue", "estimate"]] = [-6.0, 0]
    graph = type(small_graph)(small_graph.name, small_graph.nodes, small_graph.edges, table, small_graph.card)
    data = ms.from_anndata(small_adata, groupby="kind")
    data = data.join(
        ms.read_measurements(small_tables["affinities"], assay=ms.assays.Affinity(), name="affinities")
    )
    features = pd.DataFrame(np.eye(3), index=["A:B", "L2", "L2:AB"], columns=["ab", "l", "contact"])
    network = ms.DenseEnergy(3, (4,))
    problem = ms.Problem(
        graph, data, energy_network=network, features=features, priors=ms.Priors(network_sd=3.0)
    )
    result = ms.fit(
        problem, starts=4, seed=0, adam_steps=50, max_steps=150, accelerator="cpu", progress=False
    )
    learned = result.energies.set_index("complex").loc["A:B", "g_kcal_per_mol"]
    assert learned == pytest.approx(ms.units.delta_g_from_Kd(0.020), abs=0.5)
    assert bool((result.state.g[:, :4] == 0).all())
