"""Order of cells, rows of files, and minibatches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from anndata import AnnData
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

from multiscale.assays.channels import SurfaceProteins, Transcripts
from multiscale.data.cells import (
    Cells,
    Codes,
    InMemory,
    Loader,
    Modality,
    OnDisk,
    Source,
    epoch_order,
    sequential_order,
)
from multiscale.errors import ConfigError, DataError, FormatError

ROWS, FEATURES = 700, 9

# What anndata says of files it will write otherwise in future.
pytestmark = pytest.mark.filterwarnings("ignore:zarr v3 autosharding:UserWarning")


@pytest.fixture
def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(0.7, (ROWS, FEATURES)).astype(np.float32)


def stored(counts: np.ndarray, path: Path, form: str, place: str) -> Source:
    """The counts as a source of every kind."""
    if place == "memory":
        return InMemory(sparse.csc_matrix(counts) if form == "sparse" else counts.astype(np.int64))
    root = h5py.File(path / "a.h5", "w") if place == "h5" else zarr.open_group(path / "a.zarr", mode="w")
    write_elem(root, "X", sparse.csr_matrix(counts) if form == "sparse" else counts)
    group: Any = root["X"]
    return OnDisk(sparse_dataset(group) if form == "sparse" else group, "X")


def dense(block: Any) -> np.ndarray:
    return block.toarray() if sparse.issparse(block) else block


def modality(name: str, source: Source, rows: np.ndarray, size: np.ndarray | None = None) -> Modality:
    features = tuple(f"{name}{i}" for i in range(source.shape[1]))
    channel = Transcripts() if name == "rna" else SurfaceProteins()
    sizes = np.ones(len(rows)) if size is None else size
    return Modality(name, channel, features, source, np.arange(len(features)), rows, sizes)


def cells_of(source: Source, **others: Modality) -> Cells:
    """Cells in two batches, whose rows are in the order of the source."""
    count = source.shape[0]
    obs = pd.DataFrame(index=pd.Index([f"c{i}" for i in range(count)]))
    half = Codes(("x", "y"), np.arange(count) % 2)
    size = np.random.default_rng(1).uniform(0.5, 2.0, count)
    rna = modality("rna", source, np.arange(count), size)
    return Cells(obs, {"rna": rna, **others}, half, Codes(("all",), np.zeros(count, dtype=np.int64)))


@pytest.mark.parametrize(("count", "block"), [(1000, 1), (1003, 7), (5, 1), (900, 64)])
def test_every_cell_occurs_once_in_an_epoch(count: int, block: int) -> None:
    order = list(epoch_order(count, batch_size=64, seed=3, epoch=2, block=block))
    assert sorted(np.concatenate([own for own, _ in order])) == list(range(count))
    assert [len(own) for own, _ in order] == [total for _, total in order]
    assert max(total for _, total in order) <= 64


@pytest.mark.parametrize("world", [2, 4, 8])
@pytest.mark.parametrize("block", [1, 16])
def test_any_number_of_processes_sees_the_same_minibatches(world: int, block: int) -> None:
    kind = {"batch_size": 48, "seed": 0, "epoch": 1, "block": block}
    alone = list(epoch_order(1111, **kind))
    ranks = [list(epoch_order(1111, **kind, rank=rank, world=world)) for rank in range(world)]
    for (whole, total), *parts in zip(alone, *ranks, strict=True):
        assert sorted(whole) == sorted(np.concatenate([own for own, _ in parts]))
        assert {total} == {size for _, size in parts}


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        parts = epoch_order(100, batch_size=16, seed=seed, epoch=epoch, block=1)
        return np.concatenate([own for own, _ in parts]).tolist()

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3) and order(1, 2) != order(2, 2)


def test_neighbours_of_a_block_come_close_to_each_other() -> None:
    order = list(epoch_order(64_000, batch_size=512, seed=0, epoch=0, block=100))
    first = np.unique(np.concatenate([own for own, _ in order[:12]]) // 100)
    assert len(first) == 8 * 8  # of 768 cells, which are less than a buffer of every lane


def test_any_cell_is_as_likely_to_come_first() -> None:
    """χ² over ten cells and 500 epochs stays below its 99.9 % quantile."""
    first = [int(next(epoch_order(10, batch_size=8, seed=0, epoch=e, block=1))[0][0]) for e in range(500)]
    observed = np.bincount(first, minlength=10)
    assert ((observed - 50) ** 2 / 50).sum() < 27.88


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 20}, "`batch_size` must be a multiple of 8; got 20"),
        ({"world": 3}, "must divide 8; got 3"),
        ({"rank": 2, "world": 2}, "`rank` must be 0 to 1; got 2"),
        ({"block": 0}, "`block` must be at least 1 cell; got 0"),
        ({"count": 0}, "there is no cell"),
    ],
)
def test_impossible_orders_are_refused(options: dict[str, int], message: str) -> None:
    given = {"count": 10, "batch_size": 8, "seed": 0, "epoch": 0, "block": 1, **options}
    with pytest.raises(ConfigError, match=message):
        next(epoch_order(given.pop("count"), **given))


def test_cells_in_their_order_are_shared_out_in_parts() -> None:
    parts = [
        [own.tolist() for own, _ in sequential_order(20, batch_size=16, rank=r, world=4)] for r in range(4)
    ]
    assert [part[0] for part in parts] == [list(range(4 * r, 4 * r + 4)) for r in range(4)]
    assert [part[1] for part in parts] == [[16], [17], [18], [19]]


@pytest.mark.parametrize("form", ["sparse", "dense"])
@pytest.mark.parametrize("place", ["memory", "h5", "zarr"])
def test_rows_come_in_the_order_asked_for(counts: np.ndarray, tmp_path: Path, form: str, place: str) -> None:
    source = stored(counts, tmp_path, form, place)
    asked = np.array([690, 3, 3, 4, 5, 0, 699, 350, 351, 349])
    found = source.rows(asked)
    assert (sparse.issparse(found), found.dtype) == (form == "sparse", np.float32)
    np.testing.assert_array_equal(dense(found), counts[asked])
    np.testing.assert_array_equal(dense(source.rows(np.arange(ROWS))), counts)
    assert source.rows(np.array([], dtype=np.int64)).shape == (0, FEATURES)


def test_rows_on_disk_are_read_in_runs_of_neighbours(counts: np.ndarray, tmp_path: Path) -> None:
    source = stored(counts, tmp_path, "dense", "h5")
    assert isinstance(source, OnDisk)
    asked: list[tuple[int, int]] = []

    class Watched:
        def __getitem__(self, rows: slice) -> np.ndarray:
            asked.append((rows.start, rows.stop))
            return counts[rows]

    source._matrix = Watched()
    source.rows(np.array([500, 3, 10, 501, 4]))
    assert asked == [(3, 11), (500, 502)]


def test_what_happens_to_a_matrix_later_does_not_matter(counts: np.ndarray) -> None:
    matrix = sparse.csr_matrix(counts)
    source = InMemory(matrix)
    matrix.data[:] = -1
    np.testing.assert_array_equal(dense(source.rows(np.arange(5))), counts[:5])


def test_columns_on_disk_are_refused(counts: np.ndarray, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_elem(file, "X", sparse.csc_matrix(counts))
        group: Any = file["X"]
        with pytest.raises(DataError, match="X is compressed by columns; store it by rows"):
            OnDisk(sparse_dataset(group), "X")


def cut(path: Path) -> None:
    """Lose half of a chunk."""
    chunk = next(file for file in (path / "a.zarr" / "X" / "data" / "c").rglob("*") if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])


def lose(path: Path) -> None:
    """Lose a whole chunk, which zarr reads as zeros."""
    next(file for file in (path / "a.zarr" / "X" / "indices" / "c").rglob("*") if file.is_file()).unlink()


def shorten(path: Path) -> None:
    group: Any = zarr.open_group(path / "a.zarr", mode="r+")["X"]
    write_elem(group, "data", np.ones(10, dtype=np.float32))


@pytest.mark.parametrize("damage", [cut, lose, shorten])
def test_a_damaged_file_is_refused_by_name(
    counts: np.ndarray, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    stored(counts, tmp_path, "sparse", "zarr")
    damage(tmp_path)
    group: Any = zarr.open_group(tmp_path / "a.zarr", mode="r")["X"]
    with pytest.raises(FormatError, match=r"`cells` cannot be read .*truncated, damaged"):
        OnDisk(sparse_dataset(group), "`cells`").rows(np.arange(ROWS))


def test_files_in_shards_are_read(counts: np.ndarray, tmp_path: Path) -> None:
    stored(counts, tmp_path, "sparse", "zarr")
    group: Any = zarr.open_group(tmp_path / "a.zarr", mode="r+")["X"]
    for name in ("data", "indices"):
        kind = {"chunks": (100,), "shards": (300,), "overwrite": True}
        group.create_array(name, data=group[name][...], **kind)
    source = OnDisk(sparse_dataset(group), "X")
    np.testing.assert_array_equal(dense(source.rows(np.arange(ROWS))), counts)


def test_a_file_that_was_closed_is_named(counts: np.ndarray, tmp_path: Path) -> None:
    AnnData(sparse.csr_matrix(counts)).write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    source = OnDisk(backed.X, "X of `a.h5ad`")
    backed.file.close()
    with pytest.raises(FormatError, match=r"X of `a\.h5ad` cannot be read"):
        source.rows(np.arange(3))


@pytest.mark.parametrize("form", ["sparse", "dense"])
@pytest.mark.parametrize("place", ["memory", "h5", "zarr"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_minibatches_hold_the_readings_of_their_cells(
    counts: np.ndarray, tmp_path: Path, form: str, place: str, shuffle: bool
) -> None:
    cells = cells_of(stored(counts, tmp_path, form, place))
    loader = Loader(cells, batch_size=32, shuffle=shuffle)
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader)
    for batch in batches:
        np.testing.assert_array_equal(batch.values["rna"].numpy(), counts[batch.index.numpy()])
        assert batch.observed["rna"].all() and not batch.hidden
        assert batch.batch.tolist() == (batch.index % 2).tolist()
        size = cells.modalities["rna"].size[batch.index.numpy()]
        np.testing.assert_allclose(batch.ln_size["rna"].numpy(), np.log(size), rtol=1e-6, atol=1e-7)
        assert (batch.total, batch.values["rna"].dtype) == (len(batch.index), torch.float32)
    seen = torch.cat([batch.index for batch in batches]).tolist()
    assert sorted(seen) == list(range(ROWS)) and (seen == list(range(ROWS))) == (not shuffle)


@pytest.mark.parametrize("place", ["memory", "zarr"])
def test_two_processes_share_every_minibatch(counts: np.ndarray, tmp_path: Path, place: str) -> None:
    cells = cells_of(stored(counts, tmp_path, "sparse", place))
    alone, first, second = (
        list(Loader(cells, batch_size=64, rank=rank, world=world).epoch(4))
        for rank, world in ((0, 1), (0, 2), (1, 2))
    )
    for whole, one, two in zip(alone, first, second, strict=True):
        assert sorted(whole.index.tolist()) == sorted([*one.index.tolist(), *two.index.tolist()])
        assert whole.total == one.total == two.total == len(whole.index)


@pytest.mark.parametrize("place", ["memory", "zarr"])
@pytest.mark.parametrize("start", [1, 5, 22])
def test_an_epoch_is_resumed_in_the_middle(
    counts: np.ndarray, tmp_path: Path, place: str, start: int
) -> None:
    loader = Loader(cells_of(stored(counts, tmp_path, "sparse", place)), batch_size=24)
    whole = list(loader.epoch(1))[start:]
    for one, other in zip(whole, loader.epoch(1, start=start), strict=True):
        assert torch.equal(one.index, other.index) and torch.equal(one.values["rna"], other.values["rna"])


def test_cells_that_a_modality_did_not_measure_are_zero_and_flagged(counts: np.ndarray) -> None:
    proteins = counts[:300] + 1
    rows = np.concatenate([np.arange(300)[::-1], np.full(ROWS - 300, -1)])
    cells = cells_of(InMemory(counts), protein=modality("protein", InMemory(proteins), rows))
    batch = Loader(cells).at(np.array([299, 650, 0]))
    assert batch.observed["protein"].tolist() == [True, False, True]
    np.testing.assert_array_equal(batch.values["protein"][[0, 2]].numpy(), proteins[[0, 299]])
    assert not batch.values["protein"][1].any()
    assert batch.index.tolist() == [299, 650, 0]


def test_hidden_entries_and_chosen_features_follow_their_cells(counts: np.ndarray) -> None:
    entries = np.random.default_rng(2).random((ROWS, FEATURES)) < 0.2
    cells = cells_of(InMemory(sparse.csr_array(counts))).hide("rna", entries)
    cells = cells.only("rna", ["rna7", "rna2"]).take(np.arange(100, 200))
    batch = Loader(cells, dtype=torch.float64).at(np.array([5, 50]))
    np.testing.assert_array_equal(batch.hidden["rna"].numpy(), entries[[105, 150]][:, [7, 2]])
    np.testing.assert_array_equal(batch.values["rna"].numpy(), counts[[105, 150]][:, [7, 2]])
    assert batch.values["rna"].dtype == batch.ln_size["rna"].dtype == torch.float64


def test_files_are_read_a_round_at_a_time_and_ahead(counts: np.ndarray, tmp_path: Path) -> None:
    large = np.tile(counts, (8, 1))
    source = stored(large, tmp_path, "sparse", "zarr")
    loader = Loader(cells_of(source), batch_size=64)
    # Two rounds are in memory at most: one to compute with, one that is read meanwhile.
    sizes: list[int] = []
    threads: set[str] = set()
    read = source.rows

    def watched(index: np.ndarray) -> Any:
        sizes.append(len(index))
        threads.add(threading.current_thread().name)
        return read(index)

    source.rows = watched  # pyright: ignore[reportAttributeAccessIssue]
    next(loader.epoch(0))
    assert len(sizes) == 2 and max(sizes) == 64 * loader.block
    assert all(name.startswith("cells") for name in threads)
    sizes.clear()
    next(loader.epoch(0, start=3))
    assert sizes[0] == 64 * (loader.block - 3)  # the rest of the round, so that later ones are whole


def test_blocks_shrink_where_rows_are_long(counts: np.ndarray, tmp_path: Path, monkeypatch) -> None:
    source = stored(np.tile(counts, (8, 1)), tmp_path, "dense", "zarr")
    assert Loader(cells_of(source), batch_size=64).block == 5600 // 64 // 8 * 8
    monkeypatch.setattr("multiscale.data.cells.loader.MOST_BYTES", 64 * 20 * 4 * FEATURES)
    assert Loader(cells_of(source), batch_size=64).block == 16


@pytest.mark.parametrize("place", ["memory", "h5"])
def test_a_process_without_cells_gets_empty_minibatches(
    counts: np.ndarray, tmp_path: Path, place: str
) -> None:
    cells = cells_of(stored(counts[:5], tmp_path, "sparse", place))
    (batch,) = Loader(cells, rank=7, world=8).epoch(0)
    assert (batch.total, len(batch.index), batch.values["rna"].shape) == (5, 0, (0, FEATURES))
