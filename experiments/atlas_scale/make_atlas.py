"""Write a synthetic atlas of single cells to disk, block by block: transcripts, surface proteins, network.

    python experiments/atlas_scale/make_atlas.py --out DIR [--cells 20000] [--threads 2]

DIR gets `atlas.zarr` (an AnnData: counts in X, antibodies in obsm["protein_expression"], states of cells in
obsm["state"]), `graph/` (the network, with its true energies) and `truth.npz` (see `World.truth`). The
numbers are those of config.toml; every block has a seed of its own, so that threads change nothing.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # blocks are drawn side by side instead

import numpy as np
import pandas as pd
import torch
import zarr
from anndata.io import write_elem
from world import Block, World, make_world

import multiscale as ms
from multiscale import atomic

HERE = Path(__file__).parent
CHUNK = 1 << 20
"""Values in a chunk of the counts: 4 MiB before compression."""


class Growing:
    """A one-dimensional array on disk whose length is known at the end: only whole chunks are written before.

    Args:
        group: to make it in.
        name: of the array.
        dtype: of its values.
    """

    def __init__(self, group: zarr.Group, name: str, dtype: type) -> None:
        """Make an array of length 0."""
        self._array = group.create_array(name, shape=(0,), chunks=(CHUNK,), dtype=dtype)
        self._waiting: list[np.ndarray] = []

    def append(self, values: np.ndarray) -> None:
        """Add values; what does not fill a chunk waits in memory."""
        self._waiting.append(values)
        waiting = sum(len(part) for part in self._waiting)
        if waiting >= CHUNK:
            self._write(waiting - waiting % CHUNK)

    def close(self) -> None:
        """Write what waits."""
        self._write(sum(len(part) for part in self._waiting))

    def _write(self, number: int) -> None:
        joined = np.concatenate([*self._waiting, np.zeros(0, self._array.dtype)])
        begin = self._array.shape[0]
        self._array.resize((begin + number,))
        self._array[begin:] = joined[:number].astype(self._array.dtype)
        self._waiting = [joined[number:]]


class Atlas:
    """The file that blocks go to.

    Args:
        path: of the zarr folder.
        world: what the cells are drawn from.
        cells: how many there will be.
    """

    def __init__(self, path: Path, world: World, cells: int) -> None:
        """Make the arrays; their content comes with the blocks."""
        config = world.config
        self._world, self._cells, self._row = world, cells, 0
        self._root = zarr.open_group(path, mode="w", zarr_format=2)
        self._root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        for name in ("uns", "layers", "varm", "obsp", "varp"):
            write_elem(self._root, name, {})
        write_elem(self._root, "obsm", {})
        write_elem(self._root, "var", pd.DataFrame(index=pd.Index(world.gene_names)))
        write_elem(self._root, "uns/protein_names", np.array(world.protein_names, dtype=object))
        counts = self._root.create_group("X")
        shape = [cells, config["genes"]]
        counts.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape})
        self._data = Growing(counts, "data", np.float32)
        self._indices = Growing(counts, "indices", np.int32)
        self._counts, self._indptr = counts, [np.zeros(1, np.int64)]
        rows = config["block"]
        self._proteins = self._dense("obsm/protein_expression", len(world.read), rows, np.int32)
        self._state = self._dense("obsm/state", config["latent"], rows, np.float32)
        self._labels: list[tuple[np.ndarray, np.ndarray]] = []

    def _dense(self, name: str, columns: int, rows: int, dtype: type) -> Any:
        shape, chunks = (self._cells, columns), (min(rows, self._cells), columns)
        array = self._root.create_array(name, shape=shape, chunks=chunks, dtype=dtype)
        array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        return array

    def append(self, block: Block) -> None:
        """Write the next cells."""
        after = self._row + len(block.batch)
        self._data.append(block.counts.data.astype(np.float32))
        self._indices.append(block.counts.indices)
        self._indptr.append(self._indptr[-1][-1] + block.counts.indptr[1:].astype(np.int64))
        self._proteins[self._row : after] = block.proteins
        self._state[self._row : after] = block.state
        self._labels.append((block.cell_type.astype(np.int16), block.batch.astype(np.int16)))
        self._row = after

    def close(self) -> int:
        """Write the tables; returns how many counts are not zero."""
        self._data.close()
        self._indices.close()
        indptr = np.concatenate(self._indptr)
        self._counts.create_array("indptr", data=indptr, chunks=(min(CHUNK, len(indptr)),))
        kinds, batches = (np.concatenate(codes) for codes in zip(*self._labels, strict=True))
        obs = pd.DataFrame(
            {"cell_type": _named("type", kinds, self._world.config["cell_types"]),
             "batch": _named("batch", batches, self._world.config["batches"])},
            index=pd.Index([f"cell_{i:07d}" for i in range(self._cells)]),
        )  # fmt: skip
        write_elem(self._root, "obs", obs)
        return int(indptr[-1])


def make_atlas(config: Mapping[str, Any], out: Path, threads: int = 1) -> int:
    """Write atlas, network and truth.

    Args:
        config: content of config.toml.
        out: a new or empty folder; it appears when everything is written.
        threads: blocks that are drawn at the same time; results do not depend on it.

    Returns:
        How many counts are not zero.

    Raises:
        OutputError: the folder is not empty.
    """
    world = make_world(config)
    with atomic.folder(out) as fresh:
        ms.write_graph(world.graph, fresh / "graph")
        np.savez(fresh / "truth.npz", **dict[str, Any](world.truth))
        atlas = Atlas(fresh / "atlas.zarr", world, config["cells"])
        for block in _blocks(world, threads):
            atlas.append(block)
        return atlas.close()


def _named(noun: str, codes: np.ndarray, number: int) -> pd.Categorical:
    names = pd.Index([f"{noun}_{i:02d}" for i in range(number)])
    return pd.Categorical.from_codes(codes.tolist(), names)


def _blocks(world: World, threads: int) -> Iterator[Block]:
    """All blocks in order, `threads` at a time."""
    cells, size = world.config["cells"], world.config["block"]
    sizes = [min(size, cells - begin) for begin in range(0, cells, size)]
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(sizes), threads):
            numbers = range(first, min(first + threads, len(sizes)))
            yield from pool.map(lambda number: world.block(number, sizes[number]), numbers)


def main() -> None:
    """Read the command line, write, and say what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument("--cells", type=int, help="instead of the number in config.toml")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    cells = arguments.cells or config["cells"]
    torch.set_num_threads(1)
    begin = time.perf_counter()
    stored = make_atlas(config | {"cells": cells}, arguments.out, arguments.threads)
    seconds, busy = time.perf_counter() - begin, time.process_time()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    size = sum(file.stat().st_size for file in arguments.out.rglob("*") if file.is_file()) / 2**30
    print(f"{cells:,} cells in {seconds:.0f} s, {arguments.threads} threads; {busy:.0f} s of processor time")
    print(
        f"peak memory {memory:.2f} GiB, {size:.2f} GiB on disk, {stored / cells:.0f} non-zero counts per cell"
    )


if __name__ == "__main__":
    main()
