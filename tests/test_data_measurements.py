from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from scipy import sparse

from multiscale import content
from multiscale.assays import Affinity, Copies, Counts
from multiscale.data import (
    CountMatrix,
    Data,
    MeasurementTable,
    from_measurements,
    group_contexts,
    read_measurements,
)
from multiscale.errors import AssayError, DataError

COPIES = "context\tmolecule\tvalue\tsource\nB\tx\t5000\tms\nT\ty\t\tms\n"


@pytest.fixture
def proteome(tmp_path: Path) -> MeasurementTable:
    """One measured and one undetected copy number, read from a file."""
    file = tmp_path / "proteome.tsv"
    file.write_text(COPIES.replace("\tsource", "\tsource\tdetected").replace("\t\tms", "\t\tms\tno"))
    return read_measurements(file, assay=Copies())


@pytest.fixture
def rna() -> CountMatrix:
    """Three features in four cells of two groups."""
    values = np.array([[1, 0, 5], [0, 2, 7], [3, 1, 0], [0, 0, 9]])
    rows = pd.DataFrame(
        {"context": ["T", "B", "B", "T"], "size_factor": [10.0, 20.0, 30.0, 40.0]}, index=list("abcd")
    )
    return CountMatrix("rna", Counts(), sparse.csr_array(values), rows, pd.Index(["x", "y", "z"]))


def test_a_table_is_read_by_its_assay_and_named_after_its_file(proteome: MeasurementTable) -> None:
    assert (proteome.name, proteome.identifiers, proteome.contexts) == ("proteome", ["x", "y"], ["B", "T"])
    assert proteome.entries["censoring"].tolist() == [0, -1]
    assert proteome.provenance == {"source": "proteome.tsv", "entries": 2}


def test_a_wrong_cell_is_reported_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.tsv"
    file.write_text(COPIES)
    with pytest.raises(AssayError, match=re.escape("bad.tsv, line 3: `value` is blank")):
        read_measurements(file, assay=Copies())


def test_a_path_below_datasets_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "root", lambda: tmp_path)
    (tmp_path / "datasets" / "cells").mkdir(parents=True)
    (tmp_path / "datasets" / "cells" / "kd.tsv").write_text("complex\tvalue\tunit\nAB\t1\tuM\n")
    table = read_measurements("cells/kd.tsv", assay=Affinity(), name="affinity")
    assert (table.name, table.contexts) == ("affinity", [])


def test_a_missing_table_and_an_assay_of_matrices_are_refused() -> None:
    with pytest.raises(DataError, match="is neither a file or folder"):
        read_measurements("nowhere.tsv", assay=Copies())
    with pytest.raises(AssayError, match=re.escape("must read tables, such as Copies() or Affinity()")):
        read_measurements("x.tsv", assay=Counts())  # pyright: ignore[reportArgumentType]


def test_taken_entries_keep_their_index(proteome: MeasurementTable) -> None:
    assert proteome.take(proteome.entries["target"] == "y").entries.index.tolist() == [1]


def test_joined_data_have_both_assays_and_their_provenance(
    rna: CountMatrix, proteome: MeasurementTable
) -> None:
    data = Data(group_contexts(["B", "T"]), {}).join(rna).join(proteome)
    assert list(data.assays) == ["rna", "proteome"]
    assert data.provenance["proteome"]["source"] == "proteome.tsv"
    assert data.contexts.names == ["B", "T"]


def test_tables_alone_make_data_of_groups(proteome: MeasurementTable) -> None:
    data = from_measurements(proteome)
    assert (data.contexts.groups, list(data.assays)) == (["B", "T"], ["proteome"])


def test_two_assays_of_one_name_are_refused(rna: CountMatrix) -> None:
    data = Data(group_contexts(["B", "T"]), {"rna": rna})
    with pytest.raises(DataError, match="assay `rna` is in both; give one of them another `name`"):
        data.join(rna)


def test_measurements_of_an_unknown_context_are_refused(proteome: MeasurementTable) -> None:
    with pytest.raises(
        DataError, match=re.escape("`proteome` measures context `B`, which is not in the data")
    ):
        Data(group_contexts(["b", "T"]), {}).join(proteome)


def test_selected_features_come_in_the_order_asked_for(rna: CountMatrix) -> None:
    few = rna.select(["z", "x"])
    assert few.identifiers == ["z", "x"]
    assert few.values.toarray().tolist() == [[5, 1], [7, 0], [0, 3], [9, 0]]
    with pytest.raises(DataError, match="`w` is not a feature of `rna`"):
        rna.select(["x", "w"])


def test_likelihood_of_counts_equals_scipy(rna: CountMatrix) -> None:
    contexts, level, r = (
        ["B", "T"],
        np.array([[0.1, 0.02, 0.2], [0.03, 0.01, 0.3]]),
        np.array([0.5, 1.0, 4.0]),
    )
    rate = torch.from_numpy(np.log(level)).unsqueeze(0)
    found = rna.likelihood(contexts)(rate, torch.from_numpy(np.log(r)).unsqueeze(0))
    mean = level[[1, 0, 0, 1]] * rna.rows["size_factor"].to_numpy()[:, None]
    expected = scipy.stats.nbinom.logpmf(rna.values.toarray(), r, r / (r + mean)).sum(0)
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)


def test_masked_counts_stay_masked_when_features_are_selected(rna: CountMatrix) -> None:
    mask = np.ones((4, 3), dtype=bool)
    mask[:, 2] = False
    masked = CountMatrix(rna.name, rna.assay, rna.values, rna.rows, rna.features, mask).select(["z"])
    found = masked.likelihood(["B", "T"])(torch.zeros(1, 2, 1).double(), torch.zeros(1, 1).double())
    assert found.tolist() == [[0.0]]


def test_likelihood_needs_every_context_of_the_rows(rna: CountMatrix) -> None:
    with pytest.raises(DataError, match="context `T` of `rna` is not in the model"):
        rna.likelihood(["B"])
