"""Single cells from AnnData and MuData, in memory and in files, and the registry of what was read."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata import AnnData
from mudata import MuData
from scipy import sparse

from multiscale.assays import Counts
from multiscale.assays.channels import Cytometry, SurfaceProteins, Transcripts
from multiscale.config import DataSection
from multiscale.data import Cells, Interventions, from_anndata, from_mudata
from multiscale.data.cells import InMemory, Loader, OnDisk, Registry
from multiscale.errors import AssayError, ConfigError, DataError, FormatError
from multiscale.formats.anndata import not_pulling
from multiscale.graph import Graph
from multiscale.model import Problem
from multiscale.runs.problem import _from_anndata

CELLS, GENES, PROTEINS = 12, 7, 3

# What anndata says of files it will write otherwise in future.
pytestmark = [
    pytest.mark.filterwarnings("ignore:zarr v3 autosharding:UserWarning"),
    pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning"),
]


@pytest.fixture
def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(2.0, (CELLS, GENES)).astype(np.float32) + np.eye(CELLS, GENES)


@pytest.fixture
def proteins() -> np.ndarray:
    return np.random.default_rng(1).poisson(9.0, (CELLS, PROTEINS)).astype(np.float32) + 1


def table(values: Any, feature: str, cells: list[str] | None = None) -> AnnData:
    """Cells in two batches, whose first category has the last name."""
    names = [f"c{i}" for i in range(values.shape[0])] if cells is None else cells
    batch = pd.Categorical([["y", "x"][i % 2] for i in range(len(names))], categories=["y", "unused", "x"])
    drug = ["none" if i < 8 else "dose" for i in range(len(names))]
    obs = pd.DataFrame({"batch": batch, "drug": drug, "depth": 2.0}, index=pd.Index(names))
    var = pd.DataFrame(index=pd.Index([f"{feature}{i}" for i in range(values.shape[1])]))
    return AnnData(sparse.csr_matrix(values), obs, var)


@pytest.fixture
def adata(counts: np.ndarray, proteins: np.ndarray) -> AnnData:
    found = table(counts, "g")
    found.obsm["protein_expression"] = proteins
    found.uns["protein_names"] = np.array([f"p{i}" for i in range(PROTEINS)], dtype=object)
    found.obsp["connectivities"] = sparse.csr_matrix(np.eye(CELLS, k=1))
    return found


@pytest.fixture
def mdata(counts: np.ndarray, proteins: np.ndarray) -> MuData:
    """RNA of cells 0 to 11, proteins of cells 13 down to 2."""
    names = [f"c{i}" for i in range(13, 1, -1)]
    return joined({"rna": table(counts, "g"), "prot": table(proteins, "p", names)})


def joined(parts: dict[str, AnnData]) -> MuData:
    with not_pulling():
        return MuData(parts)


def values(cells: Cells, name: str) -> np.ndarray:
    return cells.modalities[name].values(np.arange(len(cells)))


def test_transcripts_and_proteins_of_every_cell_are_read(
    adata: AnnData, counts: np.ndarray, proteins: np.ndarray
) -> None:
    cells = from_anndata(adata)
    assert (len(cells), list(cells.modalities)) == (CELLS, ["rna", "protein"])
    np.testing.assert_array_equal(values(cells, "rna"), counts)
    np.testing.assert_array_equal(values(cells, "protein"), proteins)
    assert cells.modalities["protein"].features == ("p0", "p1", "p2")
    assert cells.batch.names == cells.condition.names == ("all",)


def test_sizes_are_total_counts_over_their_mean(adata: AnnData, counts: np.ndarray) -> None:
    cells = from_anndata(adata)
    total = counts.sum(1)
    np.testing.assert_allclose(cells.modalities["rna"].size, total / total.mean(), rtol=1e-12)
    assert set(cells.modalities["protein"].size) == {1.0}


def test_sizes_that_obs_states_are_used_when_named(adata: AnnData) -> None:
    adata.obs["depth"] = np.arange(1.0, CELLS + 1)
    size = from_anndata(adata, size_factor_key="depth").modalities["rna"].size
    np.testing.assert_allclose(size, np.arange(1, CELLS + 1) / 6.5)


def test_batches_and_conditions_come_in_the_order_of_their_categories(adata: AnnData) -> None:
    dose = Interventions(pd.DataFrame({"context": ["dose"], "kind": "dose", "target": "A", "value": "1"}))
    cells = from_anndata(adata, batch_key="batch", condition_key="drug", interventions=dose)
    assert (cells.batch.names, cells.batch.codes.tolist()) == (("y", "x"), [0, 1] * 6)
    assert (cells.condition.names, cells.condition.codes.tolist()) == (("dose", "none"), [1] * 8 + [0] * 4)
    assert len(cells.interventions) == 1


def test_neighbours_follow_the_cells(adata: AnnData) -> None:
    cells = from_anndata(adata, neighbours_key="connectivities").take(np.array([3, 2]))
    assert cells.neighbours is not None
    assert cells.neighbours.toarray().tolist() == [[0, 0], [1, 0]]


def test_a_layer_and_raw_and_a_table_in_obsm_are_read(adata: AnnData, counts: np.ndarray) -> None:
    adata.layers["counts"] = counts + 1
    adata.raw = adata
    names = pd.Index(adata.obs_names)
    adata.obsm["flow"] = pd.DataFrame({"m": np.linspace(-1, 9, CELLS)}, index=names)
    assays = {"flow": Cytometry(obsm_key="flow"), "raw": Transcripts(use_raw=True)}
    np.testing.assert_array_equal(values(from_anndata(adata, layer="counts"), "rna"), counts + 1)
    cells = from_anndata(adata, assays=assays)
    np.testing.assert_array_equal(values(cells, "raw"), counts)
    np.testing.assert_allclose(values(cells, "flow")[:, 0], np.linspace(-1, 9, CELLS), rtol=1e-6)
    assert cells.modalities["flow"].features == ("m",)


def test_a_view_is_copied(adata: AnnData, counts: np.ndarray) -> None:
    cells = from_anndata(adata[3:9, ::-1])
    assert cells.obs.index.tolist() == [f"c{i}" for i in range(3, 9)]
    np.testing.assert_array_equal(values(cells, "rna"), counts[3:9, ::-1])


def test_the_anndata_may_change_later(adata: AnnData, counts: np.ndarray) -> None:
    cells = from_anndata(adata)
    matrix: Any = adata.X
    matrix.data[:] = 0
    adata.obs["batch"] = "z"
    np.testing.assert_array_equal(values(cells, "rna"), counts)
    assert set(cells.obs["batch"]) == {"x", "y"}


@pytest.mark.parametrize("ending", [".h5ad", ".zarr"])
@pytest.mark.parametrize("dense", [True, False])
def test_files_are_read_as_if_they_were_in_memory(
    adata: AnnData, counts: np.ndarray, tmp_path: Path, ending: str, dense: bool
) -> None:
    adata.layers["counts"] = counts + 1 if dense else sparse.csr_matrix(counts + 1)
    adata.X = counts if dense else adata.X
    adata.raw = adata
    path = tmp_path / f"a{ending}"
    adata.write_h5ad(path) if ending == ".h5ad" else adata.write_zarr(path)
    assays = {
        "x": Transcripts(),
        "layer": Transcripts(layer="counts"),
        "raw": Transcripts(use_raw=True),
        "protein": SurfaceProteins(obsm_key="protein_expression", names="protein_names"),
    }
    keys: Any = {"batch_key": "batch", "condition_key": "drug", "neighbours_key": "connectivities"}
    stored, memory = (from_anndata(source, assays=assays, **keys) for source in (path, adata))
    for name, part in memory.modalities.items():
        assert isinstance(stored.modalities[name].source, OnDisk) and isinstance(part.source, InMemory)
        np.testing.assert_array_equal(values(stored, name), values(memory, name))
        np.testing.assert_array_equal(stored.modalities[name].size, part.size)
    assert stored.batch.names == memory.batch.names
    assert stored.neighbours is not None and memory.neighbours is not None
    assert (stored.neighbours != memory.neighbours).nnz == 0


def test_a_backed_anndata_stays_on_disk(adata: AnnData, counts: np.ndarray, tmp_path: Path) -> None:
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    cells = from_anndata(backed)
    assert cells.modalities["rna"].source.on_disk
    np.testing.assert_array_equal(values(cells, "rna"), counts)
    backed.file.close()


def test_a_file_compressed_by_columns_is_read_whole_and_logged(
    adata: AnnData, counts: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adata.X = sparse.csc_matrix(counts)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with caplog.at_level(logging.WARNING, "multiscale"):
        cells = from_anndata(tmp_path / "a.h5ad")
    assert "compressed by columns and therefore read into memory" in caplog.text
    np.testing.assert_array_equal(values(cells, "rna"), counts)


def test_cells_of_size_zero_are_left_out_by_name(
    adata: AnnData, counts: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    counts[[3, 5]] = 0
    adata.X = counts
    with caplog.at_level(logging.WARNING, "multiscale"):
        both = from_anndata(adata)
        alone = from_anndata(adata, assays={"rna": Transcripts()})
    assert "cells of size 0 (`X`) are left out of `rna`: `c3`, `c5`." in caplog.text
    assert both.modalities["rna"].rows[[2, 3, 5]].tolist() == [2, -1, -1] and len(both) == CELLS
    assert "c3" not in alone.obs.index and len(alone) == CELLS - 2
    assert alone.provenance["cells_not_measured"] == 2
    assert alone.modalities["rna"].size.mean() == pytest.approx(1)


def test_rows_of_nothing_but_nan_were_not_measured(adata: AnnData, proteins: np.ndarray) -> None:
    proteins[4] = np.nan
    adata.obsm["protein_expression"] = proteins
    assert from_anndata(adata).modalities["protein"].rows[[3, 4]].tolist() == [3, -1]
    proteins[5, 1] = np.nan
    with pytest.raises(AssayError, match="`p1` of cell `c5` is nan"):
        from_anndata(adata)


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan])
def test_what_is_no_count_is_refused_with_its_cell_and_feature(
    adata: AnnData, counts: np.ndarray, value: float, tmp_path: Path
) -> None:
    counts[7, 2] = value
    adata.X = sparse.csr_matrix(counts)
    adata.write_h5ad(tmp_path / "a.h5ad")
    for source in (adata, tmp_path / "a.h5ad"):
        with pytest.raises(AssayError, match=r"`X`.*`g2` of cell `c7` is"):
            from_anndata(source)


WRONG: dict[str, tuple[Any, str]] = {
    "batch": ({"batch_key": "bach"}, "`batch_key`: `bach` is not a column of obs; did you mean `batch`?"),
    "condition": ({"condition_key": "gone"}, "`condition_key`: `gone` is not a column of obs"),
    "missing": ({"batch_key": "holes"}, "obs['holes'] of cell `c2` (and of 1 more) is missing; fill it in"),
    "obsp": ({"neighbours_key": "near"}, "`neighbours_key`: `near` is not in obsp"),
    "size": ({"size_factor_key": "deep"}, "`size_factor_key`: `deep` is not a column of obs"),
    "layer": ({"layer": "count"}, "`count` is not a layer of the AnnData"),
    "both": ({"layer": "x", "assays": {"rna": Transcripts()}}, "`layer` is short for one assay"),
    "assay": ({"assays": {"rna": Counts()}}, "`rna` must be a channel such as Transcripts(); got Counts("),
    "obsm": ({"assays": {"a": SurfaceProteins(obsm_key="prot")}}, "`obsm_key`: `prot` is not in obsm"),
    "unnamed": (
        {"assays": {"a": SurfaceProteins(obsm_key="protein_expression")}},
        "obsm['protein_expression'] is an array; give the names of its columns in `names`",
    ),
    "names": (
        {"assays": {"a": SurfaceProteins(obsm_key="protein_expression", names="nams")}},
        "`names`: `nams` is not in uns",
    ),
    "few names": (
        {"assays": {"a": SurfaceProteins(obsm_key="protein_expression", names=["a"])}},
        "has shape (12, 3), not (12, 1)",
    ),
    "no condition": (
        {
            "interventions": Interventions(
                pd.DataFrame({"context": ["d"], "kind": "dose", "target": "A", "value": 1})
            )
        },
        "`interventions` are about conditions; give `condition_key`",
    ),
    "pairs": ({"pairs": True}, "`pairs` needs `groupby`"),
    "nothing": ({"assays": {}}, "nothing measured them"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused(adata: AnnData, case: str) -> None:
    adata.obs["holes"] = ["a", "b", None, " ", *"abababab"]
    options, message = WRONG[case]
    with pytest.raises(DataError, match=re.escape(message)):
        from_anndata(adata, **options)


def test_what_is_about_groups_asks_for_them(adata: AnnData, small_graph: Graph) -> None:
    with pytest.raises(DataError, match=r"`data` must be Data, .*groupby.*; got Cells"):
        Problem(small_graph, from_anndata(adata))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"\[data\]: `anndata` needs `groupby`"):
        _from_anndata(DataSection(anndata="a.h5ad"), adata)


def test_names_that_occur_twice_are_refused(adata: AnnData) -> None:
    adata.obs_names = ["c0", "c0", *adata.obs_names[2:]]
    with pytest.raises(DataError, match="`obs_names`: `c0` occurs twice"):
        from_anndata(adata)
    adata.obs_names_make_unique()
    adata.var_names = ["g0", "g0", *adata.var_names[2:]]
    with pytest.raises(DataError, match="features of `X`: `g0` occurs twice"):
        from_anndata(adata)


def test_empty_modalities_are_refused(adata: AnnData) -> None:
    with pytest.raises(DataError, match="`rna`: `X` is empty; leave the modality out"):
        from_anndata(adata[:, :0])
    adata.X = np.zeros((CELLS, GENES))
    with pytest.raises(DataError, match="`rna`: `X` holds no value other than zero"):
        from_anndata(adata)
    adata.X = None
    with pytest.raises(DataError, match=r"`adata\.X` is empty"):
        from_anndata(adata)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_obs(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["obs"]


@pytest.mark.parametrize("damage", [shorten, lose_obs, lambda path: path.write_text("cells")])
def test_a_damaged_h5ad_gives_one_clear_error(
    adata: AnnData, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.h5ad"
    adata.write_h5ad(path)
    damage(path)
    with pytest.raises(FormatError, match=r"`.*a\.h5ad` cannot be read .*truncated, damaged"):
        from_anndata(path)


def test_a_damaged_zarr_gives_one_clear_error_before_any_fit(adata: AnnData, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    adata.write_zarr(path)
    chunks = [file for file in (path / "X" / "data").rglob("*") if file.is_file()]
    chunk = next(file for file in chunks if "json" not in file.name and not file.name.startswith("."))
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(FormatError, match=r"X of `.*a\.zarr` cannot be read"):
        from_anndata(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.h5ad", "`none.h5ad` does not exist"),
        ("none.h5mu", "must end in .h5ad or .zarr (ms.from_mudata reads .h5mu)"),
    ],
)
def test_paths_of_nothing_are_refused(path: str, message: str) -> None:
    with pytest.raises(FormatError, match=re.escape(message)):
        from_anndata(path)


def check_union(cells: Cells, counts: np.ndarray, proteins: np.ndarray) -> None:
    """Cells 0 and 1 have RNA alone, 12 and 13 proteins alone."""
    assert sorted(cells.obs.index, key=lambda name: int(name[1:])) == [f"c{i}" for i in range(14)]
    number = np.array([int(name[1:]) for name in cells.obs.index])
    rna, protein = cells.modalities["rna"].rows >= 0, cells.modalities["prot"].rows >= 0
    assert set(number[~rna]) == {12, 13} and set(number[~protein]) == {0, 1}
    np.testing.assert_array_equal(values(cells, "rna")[rna], counts[number[rna]])
    np.testing.assert_array_equal(values(cells, "prot")[protein], proteins[13 - number[protein]])
    assert cells.provenance["overlap"] == {"prot": 2, "rna": 2, "rna + prot": 10}


def test_modalities_are_joined_by_the_names_of_cells(
    mdata: MuData, counts: np.ndarray, proteins: np.ndarray
) -> None:
    check_union(from_mudata(mdata), counts, proteins)
    parts: Any = dict(mdata.mod)
    check_union(from_mudata(parts), counts, proteins)


def test_a_mudata_in_a_file_is_read_without_loading_it(
    mdata: MuData, counts: np.ndarray, proteins: np.ndarray, tmp_path: Path
) -> None:
    with not_pulling():
        mdata.write(tmp_path / "a.h5mu")
    cells = from_mudata(tmp_path / "a.h5mu", assays={"rna": Transcripts(), "prot": SurfaceProteins()})
    check_union(cells, counts, proteins)
    assert all(part.source.on_disk for part in cells.modalities.values())
    batches = list(Loader(cells, batch_size=8).epoch(0))
    assert sum(int(batch.observed["prot"].sum()) for batch in batches) == CELLS


def test_labels_of_cells_are_taken_from_any_modality(mdata: MuData) -> None:
    mdata.mod["prot"].obs["batch"] = mdata.mod["rna"].obs["batch"].reindex(mdata.mod["prot"].obs_names)
    with pytest.raises(DataError, match=r"obs\['batch'\] of cell `c1[23]` \(and of 1 more\) is missing"):
        from_mudata(mdata, batch_key="batch")
    mdata.mod["prot"].obs["batch"] = mdata.mod["prot"].obs["batch"].fillna("x")
    cells = from_mudata(mdata, batch_key="batch")
    label = dict(zip(cells.obs.index, np.array(cells.batch.names)[cells.batch.codes], strict=True))
    assert (label["c0"], label["c1"], label["c12"]) == ("y", "x", "x")


def test_labels_that_differ_between_modalities_are_refused(mdata: MuData) -> None:
    mdata.mod["prot"].obs["drug"] = "other"
    with pytest.raises(DataError, match=r"obs\['drug'\] of cell `c\d+` differs between modalities"):
        from_mudata(mdata, condition_key="drug")


def test_modalities_that_share_no_cell_are_logged(
    counts: np.ndarray, proteins: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    apart = table(proteins, "p", [f"c{i}-1" for i in range(CELLS)])
    with caplog.at_level(logging.WARNING, "multiscale"):
        cells = from_mudata({"rna": table(counts, "g"), "adt": apart})
    assert "no cell is in two of `rna`, `adt`; do the names of cells agree?" in caplog.text
    assert len(cells) == 2 * CELLS


def test_barcodes_that_occur_twice_in_a_modality_are_refused(
    counts: np.ndarray, proteins: np.ndarray
) -> None:
    with pytest.warns(UserWarning, match="names are not unique"):
        twice = table(proteins, "p", ["c0"] * 2 + [f"c{i}" for i in range(2, CELLS)])
    with pytest.raises(DataError, match="`obs_names` of `adt`: `c0` occurs twice"):
        from_mudata({"rna": table(counts, "g"), "adt": twice})


def test_modalities_without_an_assay_are_left_out_or_asked_for(
    counts: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "multiscale"):
        cells = from_mudata({"rna": table(counts, "g"), "atac": table(counts, "peak")})
    assert "modalities without an assay are left out: `atac`" in caplog.text
    assert list(cells.modalities) == ["rna"]
    with pytest.raises(DataError, match="give `assays`: what `atac` are"):
        from_mudata({"atac": table(counts, "peak")})
    with pytest.raises(DataError, match="`assays`: `rn` is no modality; did you mean `rna`"):
        from_mudata({"rna": table(counts, "g")}, assays={"rn": Transcripts()})


def test_anndata_and_mudata_are_told_apart(adata: AnnData, mdata: MuData, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got MuData; use ms\.from_mudata"):
        from_anndata(mdata)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(DataError, match=r"got AnnData; use ms\.from_anndata"):
        from_mudata(adata)  # pyright: ignore[reportArgumentType]
    adata.write_zarr(tmp_path / "a.zarr")
    with pytest.raises(FormatError, match=r"has no modalities; ms\.from_anndata reads"):
        from_mudata(tmp_path / "a.zarr")
    zarr.open_group(tmp_path / "b.zarr", mode="w", attributes={"encoding-type": "MuData"})
    with pytest.raises(FormatError, match=r"holds a MuData; read it with ms\.from_mudata"):
        from_anndata(tmp_path / "b.zarr")


def test_a_registry_survives_json(adata: AnnData) -> None:
    registry = Registry.of(from_anndata(adata, batch_key="batch"))
    again = Registry.from_json(json.loads(json.dumps(registry.to_json())))
    assert again == registry
    assert again.modalities["rna"].kind == "transcripts" and again.batches == ("y", "x")
    with pytest.raises(FormatError, match="`format_version` must be 1; got 7"):
        Registry.from_json({**registry.to_json(), "format_version": 7})


def test_new_cells_get_the_features_and_sizes_of_the_fitted_ones(adata: AnnData, counts: np.ndarray) -> None:
    fitted = from_anndata(adata[:, :5], batch_key="batch")
    other = adata[::-1, [6, 4, 3, 2, 1, 0, 5]].copy()
    found = Registry.of(fitted).fit(from_anndata(other, batch_key="batch"))
    assert found.modalities["rna"].features == fitted.modalities["rna"].features
    np.testing.assert_array_equal(values(found, "rna"), counts[::-1, :5])
    np.testing.assert_allclose(found.modalities["rna"].size, fitted.modalities["rna"].size[::-1])
    assert found.batch.names == fitted.batch.names


def test_half_of_the_cells_keep_their_sizes(adata: AnnData) -> None:
    fitted = from_anndata(adata)
    found = Registry.of(fitted).fit(from_anndata(adata[:6]))
    np.testing.assert_allclose(found.modalities["rna"].size, fitted.modalities["rna"].size[:6])


def test_sizes_over_all_features_are_kept_when_fewer_were_fitted(adata: AnnData) -> None:
    fitted = from_anndata(adata).only("rna", ["g3", "g1"])
    found = Registry.of(fitted).fit(from_anndata(adata))
    np.testing.assert_allclose(found.modalities["rna"].size, fitted.modalities["rna"].size)


def test_a_batch_that_was_not_there_is_refused_or_numbered_last(adata: AnnData) -> None:
    registry = Registry.of(from_anndata(adata[::2], batch_key="batch"))
    cells = from_anndata(adata, batch_key="batch")
    with pytest.raises(DataError, match=r"batch `x` \(cell `c1`\) was not there .* `new_batches='mean'`"):
        registry.fit(cells)
    found = registry.fit(cells, new_batches="mean")
    assert (found.batch.names, found.batch.codes.tolist()) == (("y", "x"), [0, 1] * 6)


def test_features_and_conditions_and_kinds_that_do_not_fit_are_refused(adata: AnnData) -> None:
    registry = Registry.of(from_anndata(adata[:8], condition_key="drug"))
    with pytest.raises(DataError, match=r"condition `dose`.*was not there when the model was fitted"):
        registry.fit(from_anndata(adata, condition_key="drug"))
    with pytest.raises(DataError, match="`rna` lacks features of the model: `g0`, `g1`"):
        registry.fit(from_anndata(adata[:8, 2:], condition_key="drug"))
    with pytest.raises(DataError, match="`rna` is `surface_proteins`; the model was fitted to `transcripts`"):
        registry.fit(from_anndata(adata[:8], assays={"rna": SurfaceProteins()}, condition_key="drug"))
    with pytest.raises(DataError, match="`zero_inflation` is True, the model was fitted with False"):
        inflated = {"rna": Transcripts(zero_inflation=True)}
        registry.fit(from_anndata(adata[:8], assays=inflated, condition_key="drug"))
    with pytest.raises(DataError, match=r"sizes are from obs\['depth'\], the model's from row sums"):
        registry.fit(from_anndata(adata[:8], size_factor_key="depth", condition_key="drug"))


def test_a_modality_that_new_cells_lack_measured_none_of_them(adata: AnnData, caplog) -> None:
    registry = Registry.of(from_anndata(adata))
    with caplog.at_level(logging.WARNING, "multiscale"):
        found = registry.fit(from_anndata(adata, assays={"rna": Transcripts()}))
    assert "`protein` measured none of the cells" in caplog.text
    assert isinstance(found.modalities["protein"].channel, SurfaceProteins)
    batch = Loader(found).at(np.arange(4))
    assert batch.values["protein"].shape == (4, PROTEINS) and not batch.observed["protein"].any()


def test_provenance_can_be_written_as_json(adata: AnnData) -> None:
    cells = from_anndata(adata, batch_key="batch")
    facts = json.loads(json.dumps(dict(cells.modalities["rna"].provenance)))
    assert (facts["matrix"], facts["size_factor"], facts["size_features"]) == ("X", "row sums", GENES)
    assert json.loads(json.dumps(dict(cells.provenance)))["batch_key"] == "batch"


def test_published_cells_are_read_from_an_old_file(shared: Path) -> None:
    path = shared / "data" / "citeseq_pbmc" / "pbmc_10k_protein_v3.h5ad"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        memory = anndata.read_h5ad(path)
    cells = from_anndata(path)
    assert (len(cells), len(cells.modalities["protein"].features)) == (200, 14)
    np.testing.assert_array_equal(values(cells, "rna"), np.asarray(memory.X))
    np.testing.assert_array_equal(values(cells, "protein"), memory.obsm["protein_expression"])
