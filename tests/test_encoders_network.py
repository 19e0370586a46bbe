"""Networks over aligned sequences, and encoders made from plain options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from reading_rows import make_readings, sequences
from torch import Tensor

from multiscale.data import Readings
from multiscale.encoders import ENCODERS, Additive, BoundNetwork, Features, Network, Product, make_encoder
from multiscale.errors import ConfigError

KINDS = ["dense", "convolution", "attention"]
ROWS = make_readings(protein=sequences(["ACDEF", "ACDEW", "GCDEF", "GCDEW"], "ACDEF"))


def network(**options: Any) -> BoundNetwork:
    """A small network for `ROWS`."""
    return Network(**{"terms": ["fold"], "molecule": "protein", "hidden": 8, **options}).bind([ROWS])


def features_of(bound: BoundNetwork, readings: Readings = ROWS) -> Tensor:
    """Features of rows, shape (row, feature)."""
    factors = bound.designs(readings)[0].columns()[1]
    assert factors is not None
    return factors


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_zero_for_the_wild_type_and_bounded(kind: str) -> None:
    features = features_of(network(kind=kind))
    assert features.shape == (4, 8) and features.dtype == torch.float64
    assert features[0].abs().max() < 1e-6 and features[1:].abs().amax(1).min() > 1e-3
    assert features.square().sum(1).max() <= 4.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_network_and_leaves_the_global_random_state_alone(kind: str) -> None:
    before = torch.random.get_rng_state()
    one, same, other = (network(kind=kind, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    first, second, third = (item.module(item.inputs(ROWS)) for item in (one, same, other))
    assert torch.equal(first, second) and not torch.equal(first, third)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_learns_what_does_not_add_up(kind: str) -> None:
    target = torch.tensor([[0.0], [0.0], [0.0], [2.0]], dtype=torch.float64)  # only the double mutant
    bound = network(kind=kind)
    inputs = bound.inputs(ROWS)
    trained = [*bound.module.parameters(), *bound.head.parameters()]
    optimiser = torch.optim.Adam(trained, lr=0.01)
    for _ in range(200):
        optimiser.zero_grad()
        (bound.head(bound.module(inputs)) - target).square().mean().backward()
        optimiser.step()
    energies = bound.head(bound.module(inputs))
    assert torch.allclose(energies, target, atol=0.2)
    assert torch.allclose(features_of(bound) @ bound.head.weight[0], energies[:, 0], atol=1e-6)


def test_training_starts_without_any_effect() -> None:
    bound = network()
    assert bound.head(bound.module(bound.inputs(ROWS))).abs().max() == 0
    assert bound.families[0].learned and len(bound.families[0].labels) == 8


def test_trained_weights_can_be_put_back() -> None:
    trained = network(seed=3)
    encoder = replace(trained.encoder, seed=0, state=trained.module.state_dict())
    again = encoder.bind([ROWS])
    assert torch.equal(again.module(again.inputs(ROWS)), trained.module(trained.inputs(ROWS)))


def test_features_do_not_depend_on_which_rows_come_along() -> None:
    bound = network(kind="attention")
    alone = make_readings(protein=sequences(["GCDEW"], "ACDEF"))
    whole, one = features_of(bound), features_of(bound, alone)
    assert torch.allclose(whole[3], one[0], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "convolutional"}, "did you mean `convolution`"),
        ({"hidden": 0}, "`hidden` must be a positive whole number; got 0"),
        ({"kind": "attention", "hidden": 7}, "`hidden` must be even"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
    ],
)
def test_wrong_options_of_a_network_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        network(**options)


def test_encoders_are_made_from_plain_options() -> None:
    made = make_encoder("additive", {"molecule": "protein", "terms": ["fold"], "positions": [2, 3]})
    assert isinstance(made, Additive) and made.positions == [2, 3]
    drug = {"entity": "drug", "kind": "identity"}
    kinase = {"entity": "kinase", "kind": "spectrum", "column": "sequence"}
    features = make_encoder("features", {"terms": ["bind"], "source": drug})
    assert isinstance(features, Features) and features.source.entity == "drug"
    pairs = {"molecule": "protein", "terms": ["bind"], "by": "properties", "sds": {"constant": 0.3}}
    assert make_encoder("pairwise", pairs).prior == (1.0, False)
    product = make_encoder("product", {"terms": ["bind"], "left": drug, "right": kinase})
    assert isinstance(product, Product) and product.right.k == 3
    assert set(ENCODERS) == {"additive", "pairwise", "descriptors", "features", "product", "network"}


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("aditive", {}, "encoder `type` is `aditive`; did you mean `additive`"),
        (
            "additive",
            {"terms": ["fold"], "molecul": "p"},
            "unknown option `molecul`; did you mean `molecule`",
        ),
        ("additive", {"terms": ["fold"]}, "encoder `additive`: `molecule` is missing; got terms"),
        ("features", {"terms": ["bind"], "source": "drug"}, "`source` must be a table of options"),
        ("features", {"terms": ["bind"], "source": {"kind": "identity"}}, "`entity` is missing"),
    ],
)
def test_unknown_and_missing_options_are_named(kind: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_encoder(kind, options)
