"""Additive energies of mutations: which weights a row adds up, and what they are relative to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from reading_rows import make_readings, sequences

from multiscale.encoders import Additive
from multiscale.errors import ConfigError, DataError


def labels_of(bound, readings) -> list[list[str]]:
    """Names of the weights of every row."""
    index, _ = bound.designs(readings)[0].columns()
    names = bound.families[0].labels
    return [[names[i] for i in row if i >= 0] for row in index.tolist()]


def test_a_row_adds_up_its_mutations_relative_to_the_wild_type() -> None:
    readings = make_readings(protein=sequences(["ACD", "ACE", "GCE"], "ACD", first=24))
    bound = Additive(terms=["fold"], molecule="protein").bind([readings])
    assert labels_of(bound, readings) == [[], ["D26E"], ["A24G", "D26E"]]
    assert len(bound.families[0].labels) == 3 * 19
    assert bound.gauge == "energies are relative to the wild type"
    seen = bound.families[0].seen
    assert seen is not None and seen.sum() == 2 and bound.families[0].energies


def test_energies_of_rows_are_sums_of_weights_and_zero_for_the_wild_type() -> None:
    readings = make_readings(protein=sequences(["ACD", "GCE"], "ACD"))
    bound = Additive(terms=["fold"], molecule="protein").bind([readings])
    names = list(bound.families[0].labels)
    weights = torch.zeros(len(names), dtype=torch.float64)
    weights[names.index("A1G")], weights[names.index("D3E")] = 1.5, -0.25
    assert bound.designs(readings)[0].forward(weights).tolist() == [0.0, 1.25]


def test_a_mutation_that_no_fitted_row_has_is_refused_by_file_line_and_variant() -> None:
    fitted = make_readings(protein=sequences(["ACD", "ACE"], "ACD"))
    other = make_readings(protein=sequences(["ACE", "WCE"], "ACD"))
    other = replace(other, provenance={"file": "folder/new.csv"})
    bound = Additive(terms=["fold"], molecule="protein").bind([fitted])
    with pytest.raises(DataError, match=r"^new\.csv, line 3: variant `A1W:D3E`: no fitted row has `A1W`"):
        bound.designs(other)
    free = Additive(terms=["fold"], molecule="protein", unseen="prior").bind([fitted])
    assert labels_of(free, other) == [["D3E"], ["A1W", "D3E"]]


def test_without_a_wild_type_every_letter_has_a_weight() -> None:
    readings = make_readings(promoter=sequences(["ACG", "TCG"], None, "dna"))
    bound = Additive(terms=["bind"], molecule="promoter").bind([readings])
    assert labels_of(bound, readings) == [["1A", "2C", "3G"], ["1T", "2C", "3G"]]
    assert len(bound.families[0].labels) == 12 and "sum to zero" in bound.gauge


def test_the_prior_makes_letters_of_a_position_sum_to_zero() -> None:
    texts = [a + b for a in "ACGT" for b in "ACGT"]
    readings = make_readings(promoter=sequences(texts, None, "dna"))
    bound = Additive(terms=["bind"], molecule="promoter").bind([readings])
    index, _ = bound.designs(readings)[0].columns()
    x = np.zeros((16, 8))
    np.put_along_axis(x, index.numpy(), 1.0, axis=1)
    y = np.random.default_rng(0).normal(size=16) + 3.0
    with_term = np.hstack([x, np.ones((16, 1))])  # the term itself has no prior here
    penalty = np.diag([1.0] * 8 + [0.0])
    weights = np.linalg.solve(with_term.T @ with_term + penalty, with_term.T @ y)
    assert np.abs(weights[:8].reshape(2, 4).sum(1)).max() < 1e-12


def test_positions_cut_out_a_site() -> None:
    readings = make_readings(promoter=sequences(["ACGT", "TCAT"], "ACGT", "dna", first=-2))
    bound = Additive(terms=["bind"], molecule="promoter", positions=[-1, 0]).bind([readings])
    assert labels_of(bound, readings) == [[], ["G0A"]]
    with pytest.raises(ConfigError, match=r"`positions` must lie within -2-1 of `promoter`; got -1-9"):
        Additive(terms=["bind"], molecule="promoter", positions=[-1, 9]).bind([readings])


def test_readings_with_another_wild_type_are_refused() -> None:
    one = make_readings(protein=sequences(["ACD"], "ACD"))
    other = make_readings(protein=sequences(["ACD"], "ACE"))
    with pytest.raises(DataError, match="wild type of `protein` differs"):
        Additive(terms=["fold"], molecule="protein").bind([one, other])


@pytest.mark.parametrize(
    "options",
    [
        {"prior_sd": -1.0},
        {"prior_sd": "free"},
        {"terms": []},
        {"terms": "fold"},
        {"mean": float("nan")},
        {"mean": 0.9, "mean_sd": 0.0},
    ],
)
def test_wrong_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Additive(**{"molecule": "protein", "terms": ["fold"], **options})


def test_half_a_million_rows_need_little_memory() -> None:
    codes = np.zeros((500_000, 55), dtype=np.int8)
    codes[np.arange(500_000), np.arange(500_000) % 55] = 1
    whole = sequences(["A" * 55], "A" * 55)
    readings = make_readings(rows=pd.RangeIndex(500_000), protein=replace(whole, codes=codes))
    index, _ = Additive(terms=["fold"], molecule="protein").bind([readings]).designs(readings)[0].columns()
    assert index.shape == (500_000, 1) and index.min() == 0
