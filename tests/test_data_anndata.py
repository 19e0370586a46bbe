from __future__ import annotations

import json
import logging
import re
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from multiscale.assays import Copies, Counts, LogNormal
from multiscale.data import CountMatrix, Data, MeasurementTable, from_anndata
from multiscale.errors import DataError

CELLS, FEATURES = 12, 30
TYPES = ["T", "B", "T", "NK", "B", "T", "T", "B", "NK", "T", "B", "T"]
ORDER = ["T", "NK", "B"]


@pytest.fixture
def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(2.0, (CELLS, FEATURES))


@pytest.fixture
def adata(counts: np.ndarray) -> AnnData:
    """Twelve cells of three types, whose categories are not in alphabetical order."""
    cells, features = [f"c{i}" for i in range(CELLS)], [f"g{i}" for i in range(FEATURES)]
    obs = pd.DataFrame({"type": pd.Categorical(TYPES, categories=ORDER)}, index=pd.Index(cells))
    return AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs, pd.DataFrame(index=pd.Index(features)))


@pytest.fixture
def normalised(adata: AnnData, counts: np.ndarray) -> AnnData:
    """The same cells, log1p of counts per 10,000, without their counts."""
    total = counts.sum(1, keepdims=True) + 50
    adata.X = sparse.csr_matrix(np.log1p(counts / total * 1e4).astype(np.float32))
    adata.obs["n_counts"] = total[:, 0].astype(np.float32)
    return adata


def frame(adata: AnnData) -> pd.DataFrame:
    assert isinstance(adata.obs, pd.DataFrame)
    return adata.obs


def per_cell(adata: AnnData, assays: dict[str, Any] | None = None) -> Data:
    """Every cell a group of its own."""
    adata.obs["cell"] = adata.obs_names
    return from_anndata(adata, groupby="cell", assays=assays)


def rna(data: Data) -> CountMatrix:
    matrix = data.assays["rna"]
    assert isinstance(matrix, CountMatrix)
    return matrix


def means(data: Data) -> MeasurementTable:
    table = data.assays["rna"]
    assert isinstance(table, MeasurementTable)
    return table


def test_groups_come_in_the_order_of_their_categories(adata: AnnData, counts: np.ndarray) -> None:
    data = from_anndata(adata, groupby="type")
    assert data.contexts.names == ORDER
    assert data.contexts.table["n_cells"].tolist() == [6, 2, 4]
    assert rna(data).rows["context"].tolist() == TYPES
    assert rna(data).rows.index.tolist() == adata.obs_names.tolist()
    np.testing.assert_array_equal(rna(data).values.toarray(), counts)


def test_every_cell_can_be_a_context(adata: AnnData) -> None:
    data = per_cell(adata)
    assert data.contexts.names == sorted(adata.obs_names)
    assert data.contexts.table["n_cells"].tolist() == [1] * CELLS
    assert rna(data).rows["context"].tolist() == adata.obs_names.tolist()


def test_pairs_of_groups_are_contexts_too(adata: AnnData) -> None:
    data = from_anndata(adata, groupby="type", pairs=True)
    assert data.contexts.groups == ORDER
    assert data.contexts.pairs[:4] == ["T|T", "T|NK", "T|B", "NK|T"]


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_dense_and_sparse_matrices_agree(adata: AnnData, counts: np.ndarray, form: Any) -> None:
    adata.X = form(counts.astype(np.int32))
    np.testing.assert_array_equal(rna(from_anndata(adata, groupby="type")).values.toarray(), counts)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_a_matrix_on_disk_is_read_in_pieces(
    adata: AnnData, counts: np.ndarray, form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata.X = form(counts.astype(np.float32))
    adata.raw = adata
    adata.write_h5ad(tmp_path / "a.h5ad")
    monkeypatch.setattr("multiscale.data.matrix.ROWS_AT_ONCE", 5)
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    for assay in (Counts(), Counts(use_raw=True)):
        found = rna(from_anndata(backed, groupby="type", assays={"rna": assay}))
        np.testing.assert_array_equal(found.values.toarray(), counts)
    backed.file.close()


def test_a_view_of_some_cells_is_read(adata: AnnData, counts: np.ndarray) -> None:
    view = adata[2:7, 3:]
    np.testing.assert_array_equal(rna(from_anndata(view, groupby="type")).values.toarray(), counts[2:7, 3:])


def test_layers_and_raw_are_read_when_named(adata: AnnData, counts: np.ndarray) -> None:
    adata.layers["counts"] = counts + 1
    adata.raw = adata
    adata.X = None
    layer, raw = (
        rna(per_cell(adata, assays={"rna": assay}))
        for assay in (Counts(layer="counts"), Counts(use_raw=True))
    )
    np.testing.assert_array_equal(layer.values.toarray(), counts + 1)
    np.testing.assert_array_equal(raw.values.toarray(), counts)


def test_nothing_of_the_anndata_is_changed(normalised: AnnData) -> None:
    before = normalised.copy()
    from_anndata(normalised, groupby="type", pairs=True)
    pd.testing.assert_frame_equal(before.to_df(), normalised.to_df())
    pd.testing.assert_frame_equal(frame(before), frame(normalised))
    assert dict(before.uns) == dict(normalised.uns)


def test_size_is_the_row_sum_unless_obs_states_it(adata: AnnData, counts: np.ndarray) -> None:
    assert rna(per_cell(adata)).rows["size_factor"].tolist() == counts.sum(1).tolist()
    adata.obs["total_counts"] = counts.sum(1) + 1000.0
    assert rna(per_cell(adata)).rows["size_factor"].tolist() == (counts.sum(1) + 1000.0).tolist()


def test_a_stated_size_below_the_counts_is_used_only_if_asked_for(adata: AnnData, counts: np.ndarray) -> None:
    adata.obs["n_counts"] = 1.0
    assert rna(per_cell(adata)).rows["size_factor"].tolist() == counts.sum(1).tolist()
    asked = per_cell(adata, assays={"rna": Counts(size_factor_key="n_counts")})
    assert set(rna(asked).rows["size_factor"]) == {1.0}
    assert asked.provenance["rna"]["size_factor"] == "obs['n_counts']"


def test_cells_without_counts_are_left_out_and_logged(adata: AnnData, counts: np.ndarray, caplog) -> None:
    counts[3] = 0
    adata.X = counts
    with caplog.at_level(logging.WARNING, "multiscale"):
        data = from_anndata(adata, groupby="type")
    assert "c3" not in rna(data).rows.index
    assert "1 cells of size 0 (row sums) are left out of `rna`" in caplog.text


@pytest.mark.parametrize("missing", [np.nan, "", "  "])
def test_cells_without_a_label_are_left_out_and_logged(adata: AnnData, missing: object, caplog) -> None:
    adata.obs["type"] = [missing, *TYPES[1:]]
    with caplog.at_level(logging.WARNING, "multiscale"):
        data = from_anndata(adata, groupby="type")
    assert data.contexts.names == ["B", "NK", "T"]
    assert (len(rna(data).rows), data.provenance["rna"]["cells_without_label"]) == (CELLS - 1, 1)
    assert "1 cells without a label in obs['type'] are left out" in caplog.text


def test_labels_without_a_cell_are_left_out_and_logged(adata: AnnData, caplog) -> None:
    adata.obs["type"] = adata.obs["type"].cat.add_categories(["plasma"])
    with caplog.at_level(logging.WARNING, "multiscale"):
        data = from_anndata(adata, groupby="type")
    assert data.contexts.names == ORDER
    assert data.provenance["rna"]["labels_without_cell"] == ["plasma"]
    assert "plasma" in caplog.text


def test_labels_that_are_numbers_become_text(adata: AnnData) -> None:
    adata.obs["cluster"] = [i % 2 for i in range(CELLS)]
    assert from_anndata(adata, groupby="cluster").contexts.names == ["0", "1"]


def test_counts_are_recovered_from_log1p_of_counts_per_10000(normalised: AnnData, counts: np.ndarray) -> None:
    data = from_anndata(normalised, groupby="type")
    np.testing.assert_array_equal(rna(data).values.toarray(), counts)
    facts = data.provenance["rna"]
    assert (facts["recovered"], facts["target_sum"], facts["size_factor"]) == (True, 1e4, "obs['n_counts']")


def test_zeros_that_a_sparse_matrix_stores_are_zeros(normalised: AnnData, counts: np.ndarray) -> None:
    dense = normalised.to_df().to_numpy()
    stored = sparse.csr_matrix(dense + 1.0)
    stored.data = dense.ravel()
    normalised.X = stored
    np.testing.assert_array_equal(rna(per_cell(normalised)).values.toarray(), counts)


def test_what_cannot_be_recovered_is_read_as_means(normalised: AnnData, counts: np.ndarray, caplog) -> None:
    noise = np.random.default_rng(1).uniform(0.8, 1.2, counts.shape)
    natural = counts / counts.sum(1, keepdims=True) * 1e4 * noise
    natural[np.array(TYPES) == "NK", 4] = 0.0
    normalised.X = np.log1p(natural)
    with caplog.at_level(logging.WARNING, "multiscale"):
        data = from_anndata(normalised, groupby="type")
    assert "read as log-normal means of expm1(X)" in caplog.text
    entries = means(data).entries
    expected = natural[np.array(TYPES) == "B"].mean(0)[7] / 1e4
    seen = entries[(entries["context"] == "B") & (entries["target"] == "g7")]
    assert seen[["censoring", "y"]].to_numpy() == pytest.approx(np.array([[0, np.log(expected)]]))
    bound = natural[natural > 0].min() / 2 / 1e4
    unseen = entries[(entries["context"] == "NK") & (entries["target"] == "g4")]
    assert unseen[["censoring", "y"]].to_numpy() == pytest.approx(np.array([[-1, np.log(bound)]]))
    assert data.provenance["rna"]["target_sum_assumed"]


def test_means_are_read_where_they_are_asked_for(normalised: AnnData, counts: np.ndarray) -> None:
    normalised.X = np.log1p(counts / counts.sum(1, keepdims=True) * 3000.0)
    data = from_anndata(normalised, groupby="type", assays={"rna": LogNormal()})
    share = (counts / counts.sum(1, keepdims=True))[np.array(TYPES) == "T"].mean(0)
    entries = means(data).entries
    assert entries["y"][entries["context"] == "T"].to_numpy() == pytest.approx(np.log(share), rel=1e-6)
    assert data.provenance["rna"]["target_sum"] == pytest.approx(3000.0)
    assert not data.provenance["rna"]["target_sum_assumed"]


def test_provenance_can_be_written_as_json(normalised: AnnData) -> None:
    facts = json.loads(json.dumps(from_anndata(normalised, groupby="type", pairs=True).provenance))["rna"]
    assert (facts["shape"], facts["groupby"], facts["matrix"]) == ([CELLS, FEATURES], "type", "X")
    assert facts["anndata"] == version("anndata")


def spoil(adata: AnnData, value: float) -> AnnData:
    dense = adata.to_df().to_numpy().astype(float)
    dense[3, 5] = value
    adata.X = dense
    return adata


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "`X` of cell `c3`, feature `g5` is nan; values must be finite"),
        (np.inf, "`X` of cell `c3`, feature `g5` is inf; values must be finite"),
        (-1.5, "`X` of cell `c3`, feature `g5` is -1.5, negative; a scaled matrix holds no counts"),
        (1234.5, "`X` of cell `c3`, feature `g5` is 1234.5: neither a count nor log1p"),
    ],
)
def test_values_that_cannot_be_are_refused_with_cell_and_feature(
    adata: AnnData, value: float, message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        per_cell(spoil(adata, value))


@pytest.mark.parametrize("assay", [Counts(layer="counts"), Counts(recover=False)])
def test_promised_counts_that_are_none_are_refused(adata: AnnData, assay: Counts) -> None:
    spoil(adata, 2.5)
    adata.layers["counts"] = adata.X
    where = "layers['counts']" if assay.layer else "X"
    message = f"counts were promised, but `{where}` of cell `c3`, feature `g5` is 2.5; give the layer"
    with pytest.raises(DataError, match=re.escape(message)):
        per_cell(adata, assays={"rna": assay})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groupby": "typ"}, "`typ` is not a column of obs; did you mean `type`?"),
        ({"groupby": None, "pairs": True}, "`pairs` needs `groupby`"),
        ({"batch_key": "type"}, "`batch_key` is of single cells; omit it, or `groupby`"),
        ({"layer": "counts", "assays": {"rna": Counts()}}, "`layer` is short for one assay"),
        (
            {"assays": {"rna": Counts(layer="count")}},
            "`count` is not a layer of the AnnData; did you mean `counts`?",
        ),
        ({"assays": {"rna": Counts(use_raw=True)}}, "`adata.raw` is empty"),
        (
            {"assays": {"rna": Counts(size_factor_key="size")}},
            "`size` is not a column of obs; did you mean `sizes`?",
        ),
        (
            {"assays": {"rna": Counts(size_factor_key="sizes")}},
            "obs['sizes'] of cell `c1` must be a positive number",
        ),
        ({"assays": {"rna": Counts(size_factor_key="zero")}}, "every cell has size 0 (obs['zero'])"),
        ({"assays": {"rna": LogNormal()}}, "`X` holds integers, not log1p-normalised values; use Counts()"),
        ({"assays": {"rna": Copies()}}, "`rna` must be Counts() or LogNormal(); got Copies("),
    ],
)
def test_wrong_arguments_are_refused(adata: AnnData, options: dict[str, Any], message: str) -> None:
    adata.layers["counts"] = adata.X
    adata.obs["sizes"] = [1.0, -1.0] * (CELLS // 2)
    adata.obs["zero"] = 0.0
    with pytest.raises(DataError, match=re.escape(message)):
        from_anndata(adata, **{"groupby": "type", **options})


def test_labels_of_no_cell_are_refused(adata: AnnData) -> None:
    adata.obs["none"] = np.nan
    with pytest.raises(DataError, match=re.escape("obs['none'] labels no cell")):
        from_anndata(adata, groupby="none")


def test_something_else_than_an_anndata_is_refused() -> None:
    with pytest.raises(DataError, match=r"must be an AnnData or a path to \.h5ad or \.zarr; got list"):
        from_anndata([], groupby="type")  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_a_path_is_opened(adata: AnnData, counts: np.ndarray, tmp_path: Path) -> None:
    adata.layers["counts"] = adata.X
    adata.write_h5ad(tmp_path / "a.h5ad")
    data = from_anndata(tmp_path / "a.h5ad", groupby="type", layer="counts")
    np.testing.assert_array_equal(rna(data).values.toarray(), counts)


def test_names_that_occur_twice_are_refused(adata: AnnData) -> None:
    with pytest.warns(UserWarning, match="names are not unique"):
        doubled = AnnData(adata.X, frame(adata), pd.DataFrame(index=pd.Index(["g"] * FEATURES)))
    adata.raw = doubled
    for data, assay, where in (
        (doubled, Counts(), "var_names"),
        (adata, Counts(use_raw=True), "raw.var_names"),
    ):
        with pytest.raises(DataError, match=re.escape(f"`{where}`: `g` occurs twice")):
            per_cell(data, assays={"rna": assay})


def test_empty_matrices_are_refused(adata: AnnData) -> None:
    adata.X = np.zeros((CELLS, FEATURES))
    with pytest.raises(DataError, match="`X` holds no value other than zero"):
        per_cell(adata)
    adata.X = None
    with pytest.raises(DataError, match=re.escape("`adata.X` is empty; give `layer` or `use_raw`")):
        per_cell(adata)


def test_means_of_too_many_contexts_are_refused(normalised: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiscale.data.means.MOST_ENTRIES", 100)
    with pytest.raises(DataError, match="`rna` would have 360 means; give `groupby`"):
        per_cell(normalised, assays={"rna": LogNormal()})


@pytest.fixture(scope="module")
def pbmc() -> AnnData:
    """Blood cells that ship inside scanpy; raw is log1p of counts per 10,000."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy's own imports
        import scanpy

        return scanpy.datasets.pbmc68k_reduced()


def test_counts_of_published_blood_cells_are_recovered_exactly(pbmc: AnnData) -> None:
    data = from_anndata(pbmc, groupby="bulk_labels", assays={"rna": Counts(use_raw=True)})
    matrix, facts = rna(data), data.provenance["rna"]
    natural = np.expm1(pbmc.raw.to_adata().to_df().to_numpy(float))
    expected = natural * frame(pbmc)["n_counts"].to_numpy()[:, None] / 1e4
    assert np.abs(matrix.values.toarray() - expected).max() == pytest.approx(0.0815, abs=1e-4)
    assert facts["max_deviation"] == pytest.approx(0.0815, abs=1e-4)
    assert matrix.rows["size_factor"].tolist() == pbmc.obs["n_counts"].tolist()
    assert (matrix.values.shape, data.contexts.table["n_cells"].min()) == ((700, 765), 8)


def test_scaled_blood_cells_are_refused_with_the_remedy(pbmc: AnnData) -> None:
    with pytest.raises(
        DataError, match="negative; a scaled matrix holds no counts: give `layer`, or `use_raw`"
    ):
        from_anndata(pbmc, groupby="bulk_labels")


def test_other_published_cells_are_read(shared: Path) -> None:
    files = sorted((shared / "data" / "citeseq_pbmc").glob("*.h5ad"))
    for file in files:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file of an old version
            adata = anndata.read_h5ad(file)
        adata.var_names_make_unique()
        data = per_cell(adata)
        assert rna(data).values.sum() > 1e5
    assert files
