"""Pairwise energies and descriptors of substitutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reading_rows import make_readings, sequences

from multiscale.encoders import Descriptors, Pairwise
from multiscale.encoders.descriptors import HYDROPATHY, VOLUME
from multiscale.errors import ConfigError, DataError

TERMS = ["fold"]


def pairs_of(bound, readings) -> list[list[str]]:
    """Names of the pairs of every row."""
    index, _ = bound.designs(readings)[0].columns()
    names = bound.families[0].labels
    return [[names[i] for i in row if i >= 0] for row in index.tolist()]


def test_only_pairs_that_some_fitted_row_has_get_a_weight() -> None:
    fitted = make_readings(protein=sequences(["ACD", "GCE", "GFE"], "ACD"))
    bound = Pairwise(terms=TERMS, molecule="protein").bind([fitted])
    assert sorted(bound.families[0].labels) == ["A1G:C2F", "A1G:D3E", "C2F:D3E"]
    assert pairs_of(bound, fitted) == [[], ["A1G:D3E"], ["A1G:C2F", "A1G:D3E", "C2F:D3E"]]


def test_a_pair_that_no_fitted_row_has_counts_as_zero() -> None:
    fitted = make_readings(protein=sequences(["GCE"], "ACD"))
    bound = Pairwise(terms=TERMS, molecule="protein").bind([fitted])
    other = make_readings(protein=sequences(["WCW", "ACE", "GCE"], "ACD"))
    design = bound.designs(other)[0]
    assert design.forward(torch.ones(1, dtype=torch.float64)).tolist() == [0.0, 0.0, 1.0]


def test_pairs_can_be_limited_to_positions_and_to_rows_enough() -> None:
    fitted = make_readings(protein=sequences(["GFE", "GFE", "GCE"], "ACD", first=10))
    limited = Pairwise(terms=TERMS, molecule="protein", pairs=[[12, 10]]).bind([fitted])
    assert list(limited.families[0].labels) == ["A10G:D12E"]
    often = Pairwise(terms=TERMS, molecule="protein", least_rows=3).bind([fitted])
    assert list(often.families[0].labels) == ["A10G:D12E"]
    with pytest.raises(ConfigError, match=r"`pairs` must lie within positions 10-12; got \[9, 10\]"):
        Pairwise(terms=TERMS, molecule="protein", pairs=[[9, 10]]).bind([fitted])


def test_readings_without_pairs_have_no_pair_energies() -> None:
    fitted = make_readings(protein=sequences(["ACD", "ACE"], "ACD"))
    bound = Pairwise(terms=TERMS, molecule="protein").bind([fitted])
    assert len(bound.families[0].labels) == 0
    assert bound.designs(fitted)[0].forward(torch.zeros(0, dtype=torch.float64)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("reference", ["ACDA", None])
def test_pairs_equal_a_search_row_by_row(reference: str | None) -> None:
    texts = ["".join(row) for row in np.random.default_rng(0).choice(list("ACD"), (60, 4))]
    fitted = make_readings(protein=sequences(texts, reference))
    bound = Pairwise(terms=TERMS, molecule="protein").bind([fitted])
    for text, found in zip(texts, pairs_of(bound, fitted), strict=True):
        old = reference or "...."
        names = [
            f"{a}{i + 1}{b}".strip(".") for i, (a, b) in enumerate(zip(old, text, strict=True)) if a != b
        ]
        assert sorted(found) == sorted(f"{a}:{b}" for i, a in enumerate(names) for b in names[i + 1 :])


def test_descriptors_weigh_the_change_of_a_property_at_a_position() -> None:
    fitted = make_readings(protein=sequences(["ACD", "ICD", "IWD"], "ACD"))
    bound = Descriptors(terms=TERMS, molecule="protein").bind([fitted])
    water, size = bound.designs(fitted)
    weights = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    values = list(HYDROPATHY.values())
    typical = np.sqrt(np.mean([(x - y) ** 2 for i, x in enumerate(values) for y in values[:i]]))
    change = (4.5 - 1.8) / typical
    assert np.allclose(water.forward(weights), [0.0, change, change])
    assert [family.name for family in bound.families] == ["hydropathy", "volume"]
    second = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    assert size.forward(second)[1] == 0 and size.forward(second)[2] > 0
    seen = bound.families[0].seen
    assert seen is not None and seen.tolist() == [True, True, False]


def test_a_weight_of_a_descriptor_is_the_energy_of_a_typical_substitution() -> None:
    texts = [a + b for a in HYDROPATHY for b in HYDROPATHY if a != b]
    squares = []
    for old, new in texts:
        readings = make_readings(protein=sequences([new], old))
        bound = Descriptors(terms=TERMS, molecule="protein", properties=["volume"]).bind([readings])
        squares.append(bound.designs(readings)[0].forward(torch.ones(1, dtype=torch.float64)).item() ** 2)
    assert np.mean(squares) == pytest.approx(1.0, abs=1e-12)


def test_tables_of_residues_are_complete_and_agree_with_their_ends() -> None:
    assert set(HYDROPATHY) == set(VOLUME) == set("ACDEFGHIKLMNPQRSTVWY")
    assert max(HYDROPATHY, key=HYDROPATHY.__getitem__) == "I" and min(HYDROPATHY.values()) == -4.5
    assert max(VOLUME, key=VOLUME.__getitem__) == "W" and VOLUME["G"] == 63.8
    assert sum(HYDROPATHY.values()) == pytest.approx(-9.8)  # by hand: 21.5 hydrophobic, -31.3 hydrophilic


def test_a_stop_has_no_hydropathy() -> None:
    fitted = make_readings(protein=sequences(["AC", "A*"], "AC", "protein*"))
    bound = Descriptors(terms=TERMS, molecule="protein").bind([fitted])
    with pytest.raises(DataError, match=r"^rows, line 3: variant `C2\*`: `\*` has no hydropathy"):
        bound.designs(fitted)


def test_unknown_properties_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean `volume`"):
        Descriptors(terms=TERMS, molecule="protein", properties=["volumes"])
