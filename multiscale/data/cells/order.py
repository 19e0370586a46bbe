"""The order of cells in an epoch, the same however many processes share the work.

Neighbouring cells form blocks, because neighbours on disk are cheap to read together. Blocks are dealt to
`LANES` lanes, lanes shuffle inside buffers of `BLOCKS` blocks, and a minibatch takes as many cells of every
lane. Process r of W owns lanes r, r + W, ...: any W that divides `LANES` sees the same minibatches.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from multiscale.errors import ConfigError

__all__ = ["BLOCKS", "LANES", "check_order", "epoch_order", "minibatches", "sequential_order"]

LANES = 8
"""Independent streams of cells; the number of processes must divide it."""

BLOCKS = 8
"""Blocks of a lane that are shuffled together."""


def check_order(count: int, batch_size: int, block: int, rank: int, world: int) -> None:
    """Refuse what has no order.

    Raises:
        ConfigError: names the argument, its value and what is possible.
    """
    if count < 1:
        raise ConfigError("there is no cell to order.")
    if batch_size < LANES or batch_size % LANES:
        raise ConfigError(f"`batch_size` must be a multiple of {LANES}; got {batch_size}.")
    if block < 1:
        raise ConfigError(f"`block` must be at least 1 cell; got {block}.")
    if world < 1 or LANES % world:
        raise ConfigError(f"the number of processes must divide {LANES}; got {world}.")
    if not 0 <= rank < world:
        raise ConfigError(f"`rank` must be 0 to {world - 1}; got {rank}.")


def minibatches(count: int, batch_size: int, block: int) -> int:
    """Number of minibatches of an epoch: until the longest lane is empty.

    >>> minibatches(1000, 512, 1)
    2
    """
    part = batch_size // LANES
    return -(-max(_lengths(count, block)) // part)


def epoch_order(
    count: int, *, batch_size: int, seed: int, epoch: int, block: int, rank: int = 0, world: int = 1
) -> Iterator[tuple[np.ndarray, int]]:
    """Minibatches of one epoch; every cell occurs once.

    Args:
        count: number of cells.
        batch_size: cells of a minibatch over all processes, a multiple of 8; the last ones are smaller.
        seed: of the order.
        epoch: number of the epoch; every one has another order.
        block: neighbouring cells that stay together, about as many as a file reads at once; 1 in memory.
        rank: number of this process.
        world: number of processes, a divisor of 8.

    Yields:
        own cells of the minibatch (maybe none), and the number of cells of all processes.

    Raises:
        ConfigError: no such order exists.

    >>> order = list(epoch_order(10, batch_size=8, seed=0, epoch=0, block=1))
    >>> [len(cells) for cells, _ in order], sorted(int(i) for cells, _ in order for i in cells)
    ([8, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    check_order(count, batch_size, block, rank, world)
    part = batch_size // LANES
    lengths = _lengths(count, block)
    dealt = _deal(count, block, seed, epoch)
    lanes = [_lane(dealt[lane], count, block, (seed, epoch, lane)) for lane in range(rank, LANES, world)]
    for number in range(minibatches(count, batch_size, block)):
        begin, end = number * part, (number + 1) * part
        own = np.concatenate([lane[begin:end] for lane in lanes])
        yield own, sum(max(0, min(end, length) - begin) for length in lengths)


def sequential_order(
    count: int, *, batch_size: int, rank: int = 0, world: int = 1
) -> Iterator[tuple[np.ndarray, int]]:
    """Minibatches in the order of the cells; processes take neighbouring parts of each.

    >>> [cells.tolist() for cells, _ in sequential_order(10, batch_size=8, rank=1, world=2)]
    [[4, 5, 6, 7], [9]]
    """
    check_order(count, batch_size, 1, rank, world)
    for begin in range(0, count, batch_size):
        cells = np.arange(begin, min(begin + batch_size, count))
        yield np.array_split(cells, world)[rank], len(cells)


def _deal(count: int, block: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Blocks of every lane; a last block that is not full comes last, so that buffers stay aligned."""
    full, rest = divmod(count, block)
    order = np.random.default_rng((seed, epoch, LANES)).permutation(full)
    order = np.append(order, full) if rest else order
    return [order[lane::LANES] for lane in range(LANES)]


def _lengths(count: int, block: int) -> list[int]:
    """Cells of every lane."""
    full, rest = divmod(count, block)
    lengths = [block * len(range(lane, full, LANES)) for lane in range(LANES)]
    lengths[full % LANES] += rest
    return lengths


def _lane(blocks: np.ndarray, count: int, block: int, key: tuple[int, int, int]) -> np.ndarray:
    """Cells of a lane, shuffled inside buffers."""
    cells = (blocks[:, None] * block + np.arange(block)).ravel()
    cells = cells[cells < count]
    rng = np.random.default_rng((*key, 0))
    for begin in range(0, len(cells), BLOCKS * block):
        rng.shuffle(cells[begin : begin + BLOCKS * block])
    return cells
