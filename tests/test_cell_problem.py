"""Single cells and a graph joined: what features read, and what is refused."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from cell_cases import made_cells, modality

from multiscale.assays.channels import Channel
from multiscale.assays.channels.registry import make_channel
from multiscale.data.cells import Cells, Source
from multiscale.errors import ConfigError, DataError
from multiscale.model.cells import CellPriors, CellProblem
from multiscale.model.cells.matching import reading
from multiscale.model.cells.sample import sample_cells, sample_summary

GENES = ["A", "other", "B", "C"]


def counts(features: list[str], cells: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(6.0, (cells, len(features))).astype(float)


def cells_of(kind: str, features: list[str], **options: object) -> Cells:
    channel: Channel = make_channel(kind, options)
    return made_cells([modality("part", channel, counts(features), features)])


def test_transcripts_read_the_molecules_that_they_encode(small_graph):
    problem = CellProblem(small_graph, cells_of("transcripts", GENES), latent=2)
    found = problem.readings["part"]
    assert found.linked is not None and found.physical is None
    assert problem.molecules == ["A", "B", "C", "L"]
    assert found.linked.position.tolist() == [0, 2, 3] and found.decoded.tolist() == [1]
    assert found.linked.weight.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


def test_a_transcript_named_in_targets_reads_that_molecule(small_graph):
    cells = cells_of("transcripts", ["ENS1", "C"], targets={"ENS1": "L.rna"})
    linked = CellProblem(small_graph, cells, latent=2).readings["part"].linked
    assert linked is not None and linked.weight.tolist() == [[0, 0, 0, 1], [0, 0, 1, 0]]


def test_proteins_read_the_surface_and_those_without_a_node_are_named_in_a_warning(small_graph, caplog):
    with caplog.at_level(logging.WARNING):
        problem = CellProblem(small_graph, cells_of("surface_proteins", ["A", "isotype"]), latent=2)
    physical = problem.readings["part"].physical
    assert physical is not None and (physical.kind, physical.names) == ("surface", ("A",))
    assert "1 of 2 features have no node in the graph" in caplog.text and "`isotype`" in caplog.text
    assert problem.describe() == "part: 1 of 2 features read the graph"


def test_concentrations_are_those_of_species_and_of_sums_named_in_targets(small_graph):
    cells = cells_of("cytometry", ["A:B", "x"], targets={"x": "A + 2*A:B"})
    physical = CellProblem(small_graph, cells, latent=2).readings["part"].physical
    assert physical is not None and physical.names == ("A:B", "A + 2*A:B")


def test_a_feature_that_could_read_several_molecules_is_refused(small_graph):
    problem = CellProblem(small_graph, cells_of("surface_proteins", ["A"]), latent=2)
    assert problem.names is not None
    names = replace(problem.names, named={**problem.names.named, "both": ["A", "B"]})
    part = modality("p", make_channel("surface_proteins", {}), counts(["both"]), ["both"])
    with pytest.raises(DataError, match=r"stands for 2 molecules.*targets"):
        reading(part, names)


def test_the_surface_of_what_never_lies_on_a_membrane_is_said_to_read_the_total(small_graph, caplog):
    problem = CellProblem(small_graph, cells_of("surface_proteins", ["A"]), latent=2)
    assert problem.names is not None
    with caplog.at_level(logging.WARNING):
        reading(problem.cells.modalities["part"], replace(problem.names, visible=set()))
    assert "`A` reads its total" in caplog.text


@pytest.mark.parametrize(
    ("kind", "targets", "message"),
    [
        ("transcripts", {"Z": "A"}, "no feature is called `Z`"),
        ("transcripts", {"A": "Q"}, "the graph has no `Q`"),
        ("cytometry", {"A": "A + Q"}, "`Q` in `A . Q`"),
    ],
)
def test_targets_that_do_not_exist_are_refused(small_graph, kind, targets, message):
    with pytest.raises(DataError, match=message):
        CellProblem(small_graph, cells_of(kind, ["A", "B"], targets=targets), latent=2)


def test_cells_that_share_no_name_with_the_graph_are_refused(small_graph):
    with pytest.raises(DataError, match="would match if case were ignored"):
        CellProblem(small_graph, cells_of("transcripts", ["a", "b"]), latent=2)


def test_without_a_graph_every_feature_is_decoded(small_graph):
    problem = CellProblem(small_graph, cells_of("transcripts", GENES), latent=2).with_graph(None)
    assert problem.physics is None and problem.molecules == []
    assert problem.readings["part"].decoded.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regime": "steady"}, "`regime` is `steady`"),
        ({"temperature": 37.0}, "in K; got 37"),
        ({"latent": 0}, "`latent` must be a positive whole number; got 0"),
        ({"hidden": 1.5}, "`hidden` must be a positive whole number"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        CellProblem(None, cells_of("transcripts", GENES), **options)


def test_priors_must_be_positive():
    with pytest.raises(ConfigError, match="`link_sd` must be positive and finite; got 0"):
        CellPriors(link_sd=0.0)


def test_modalities_whose_parameters_would_have_one_name_are_refused():
    channel = make_channel("transcripts", {})
    parts = [modality(name, channel, counts(GENES), GENES) for name in ("rna-1", "rna 1")]
    with pytest.raises(DataError, match="differ in punctuation only"):
        CellProblem(None, made_cells(parts))


def test_few_cells_have_free_posteriors_and_many_share_an_encoder():
    few = made_cells([modality("rna", make_channel("transcripts", {}), counts(GENES), GENES)])
    many = made_cells([modality("rna", make_channel("transcripts", {}), counts(GENES, 2001), GENES)])
    assert [CellProblem(None, cells).amortised for cells in (few, many)] == [False, True]
    assert CellProblem(None, few, amortised=True).amortised


def test_hidden_entries_have_no_effect_on_what_a_sample_says():
    values, hidden = counts(GENES, 200), np.random.default_rng(1).random((200, 4)) < 0.3
    hidden[:, 3] = True
    channel = make_channel("transcripts", {})
    found = [
        sample_summary(made_cells([modality("rna", channel, made, GENES, hidden=hidden)]), "rna")
        for made in (values, np.where(hidden, 1e6, values))
    ]
    assert np.array_equal(found[0].mean, found[1].mean)
    seen = np.where(hidden, np.nan, values)[:, :3]
    assert np.allclose(found[0].mean[0, :3], np.nanmean(seen, axis=0), atol=0.5)
    assert found[0].mean[0, 3] == 0.0


def test_a_sample_from_disk_is_made_of_runs_of_neighbouring_cells():
    class Slow(Source):
        shape, on_disk = (100_000, 1), True

        def rows(self, index: np.ndarray) -> np.ndarray:
            return np.zeros((len(index), 1), dtype=np.float32)

    part = replace(
        modality("rna", make_channel("transcripts", {}), np.zeros((1, 1)), ["A"], np.arange(100_000)),
        source=Slow(),
    )
    chosen = sample_cells(part)
    assert len(chosen) == len(np.unique(chosen)) == 4096
    assert np.array_equal(chosen, np.sort(chosen)) and (np.diff(chosen) == 1).sum() >= 4096 - 64
    assert np.array_equal(chosen, sample_cells(part)) and not np.array_equal(chosen, sample_cells(part, 1))
