"""Minibatches of single cells: sparse on the host, dense only for the cells of one minibatch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from multiscale.data.cells.cells import Cells, Modality
from multiscale.data.cells.minibatch import CellBatch
from multiscale.data.cells.order import (
    BLOCKS,
    LANES,
    check_order,
    epoch_order,
    minibatches,
    sequential_order,
)
from multiscale.data.cells.source import Block, OnDisk

__all__ = ["Loader"]

MOST_CELLS = 1024
"""Neighbouring cells of a block on disk, at most."""

MOST_BYTES = 256 * 2**20
"""Readings that one round of buffers may take; two rounds are held at a time."""

Minibatch = tuple[np.ndarray, int]


@dataclass(frozen=True, eq=False)
class _Round:
    """Readings of the cells of some minibatches.

    Args:
        cells: sorted, shape (cell,).
        blocks: per modality its readings of those that it measured, shape (measured, feature).
        places: per modality the row of each cell in its block, −1 where not measured, shape (cell,).
    """

    cells: np.ndarray
    blocks: dict[str, Block]
    places: dict[str, np.ndarray]


class Loader:
    """Minibatches of cells in an order that depends on `seed` and the epoch alone.

    Files are read ahead by one thread: while some minibatches are computed with, the next ones are read.

    Args:
        cells: what to read.
        batch_size: cells of a minibatch over all processes, a multiple of 8.
        seed: of the order.
        rank: number of this process.
        world: number of processes, a divisor of 8.
        dtype: of readings and size factors.
        shuffle: false gives the cells in their order.

    Raises:
        ConfigError: no such minibatches exist.
    """

    def __init__(
        self,
        cells: Cells,
        *,
        batch_size: int = 512,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        dtype: torch.dtype = torch.float32,
        shuffle: bool = True,
    ) -> None:
        """Choose blocks; nothing is read yet."""
        self.cells, self.batch_size, self.seed = cells, batch_size, seed
        self.rank, self.world, self.dtype, self.shuffle = rank, world, dtype, shuffle
        check_order(len(cells), batch_size, 1, rank, world)
        self.on_disk = any(part.source.on_disk for part in cells.modalities.values())
        self.block = self._block() if self.on_disk else 1

    def __len__(self) -> int:
        """Number of minibatches of an epoch."""
        if not self.shuffle:
            return -(-len(self.cells) // self.batch_size)
        return minibatches(len(self.cells), self.batch_size, self.block)

    def epoch(self, number: int, *, start: int = 0) -> Iterator[CellBatch]:
        """Minibatches of one epoch.

        Args:
            number: of the epoch; every one has another order.
            start: minibatches that are skipped without being read, to resume in the middle.

        Raises:
            FormatError: a file is damaged.
        """
        order = islice(self._order(number), start, None)
        if not self.on_disk:
            for own, total in order:
                yield self._batch(self._read([(own, total)]), own, total)
            return
        # A buffer of a lane is a whole number of minibatches; so no block is read twice.
        length = max(1, BLOCKS * self.block * LANES // self.batch_size)
        first = length - start % length
        with ThreadPoolExecutor(1, thread_name_prefix="cells") as pool:
            plan = _groups(order, first, length)
            ahead = _submit(pool, self._read, plan)
            while ahead is not None:
                group, found = ahead[0], ahead[1].result()
                ahead = _submit(pool, self._read, plan)
                for own, total in group:
                    yield self._batch(found, own, total)

    def at(self, index: np.ndarray) -> CellBatch:
        """Some cells, in the order asked for.

        Args:
            index: positions, int64, shape (cell,).
        """
        own = np.asarray(index, dtype=np.int64)
        return self._batch(self._read([(own, len(own))]), own, len(own))

    def _block(self) -> int:
        """Neighbouring cells that are read together: a multiple of what a minibatch takes of a lane."""
        row = sum(_row_bytes(part) for part in self.cells.modalities.values())
        most = min(MOST_CELLS, int(MOST_BYTES / (LANES * BLOCKS * max(row, 1.0))))
        # Few cells: enough blocks that all lanes have some.
        most = min(most, len(self.cells) // (LANES * BLOCKS))
        part = self.batch_size // LANES
        if most < part:
            return max(1, most)
        return most // part * part

    def _order(self, number: int) -> Iterator[Minibatch]:
        shares = {"batch_size": self.batch_size, "rank": self.rank, "world": self.world}
        if not self.shuffle:
            return sequential_order(len(self.cells), **shares)
        return epoch_order(len(self.cells), seed=self.seed, epoch=number, block=self.block, **shares)

    def _read(self, group: Sequence[Minibatch]) -> _Round:
        """Read the cells of some minibatches."""
        cells = np.unique(np.concatenate([own for own, _ in group]))
        blocks: dict[str, Block] = {}
        places: dict[str, np.ndarray] = {}
        for name, part in self.cells.modalities.items():
            rows = part.rows[cells]
            measured = rows >= 0
            blocks[name] = _columns(part.source.rows(rows[measured]), part.columns)
            places[name] = np.where(measured, np.cumsum(measured) - 1, -1)
        return _Round(cells, blocks, places)

    def _batch(self, found: _Round, own: np.ndarray, total: int) -> CellBatch:
        """Dense readings of one minibatch."""
        at = np.searchsorted(found.cells, own)
        parts = self.cells.modalities
        places = {name: found.places[name][at] for name in parts}
        dense = {name: _dense(found.blocks[name], places[name]) for name in parts}
        hidden = {
            name: torch.from_numpy(part.hidden[own].toarray())
            for name, part in parts.items()
            if part.hidden is not None
        }
        return CellBatch(
            index=torch.from_numpy(own.astype(np.int64)),
            values={name: torch.from_numpy(values).to(self.dtype) for name, values in dense.items()},
            observed={name: torch.from_numpy(place >= 0) for name, place in places.items()},
            hidden=hidden,
            ln_size={name: self._ln_size(part, own) for name, part in parts.items()},
            batch=torch.from_numpy(self.cells.batch.codes[own].astype(np.int64)),
            condition=torch.from_numpy(self.cells.condition.codes[own].astype(np.int64)),
            total=total,
        )

    def _ln_size(self, part: Modality, own: np.ndarray) -> Tensor:
        return torch.from_numpy(np.log(part.size[own])).to(self.dtype)


def _groups(order: Iterator[Minibatch], first: int, length: int) -> Iterator[list[Minibatch]]:
    """Minibatches that are read together."""
    group = list(islice(order, first))
    while group:
        yield group
        group = list(islice(order, length))


def _submit(
    pool: ThreadPoolExecutor,
    read: Callable[[Sequence[Minibatch]], _Round],
    plan: Iterator[list[Minibatch]],
) -> tuple[list[Minibatch], Future[_Round]] | None:
    """Start to read the next minibatches, if there are any."""
    group = next(plan, None)
    return None if group is None else (group, pool.submit(read, group))


def _columns(block: Any, columns: np.ndarray) -> Block:
    """Some features of a block; all of them at no cost."""
    whole = len(columns) == block.shape[1] and bool((columns == np.arange(len(columns))).all())
    return block if whole else block[:, columns]


def _dense(block: Any, place: np.ndarray) -> np.ndarray:
    """Rows of a block, dense; 0 where not measured."""
    measured = place >= 0
    if measured.all():
        return _array(block[place])
    found = np.zeros((len(place), block.shape[1]), dtype=np.float32)
    found[measured] = _array(block[place[measured]])
    return found


def _array(block: Block) -> np.ndarray:
    return block.toarray() if isinstance(block, sparse.csr_array) else np.ascontiguousarray(block)


def _row_bytes(part: Modality) -> float:
    return part.source.row_bytes if isinstance(part.source, OnDisk) else 0.0
