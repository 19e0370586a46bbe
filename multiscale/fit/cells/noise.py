"""Standard normal numbers that depend on nothing but what they are for: seed, epoch, cell and dimension.

A cell gets the same noise whichever process computes it, in whatever company, and after any interruption.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mix", "standard_normal"]

GOLDEN = 0x9E3779B97F4A7C15
"""Step of the counter: the odd integer next to 2⁶⁴ divided by the golden ratio."""

WORD = 1 << 64


def standard_normal(seed: int, epoch: int, index: Tensor, size: int, draw: int = 0) -> Tensor:
    """Numbers from N(0, 1), one per cell and dimension: Φ⁻¹ of a counter's hash.

    u = (h + ½) / 2⁵³ with h the upper 53 bits of the hash, so that 0 and 1 never occur.

    Args:
        seed: any integer.
        epoch: any integer; negative ones are free for uses other than training.
        index: position of every cell among all, int64, shape (cell,).
        size: numbers per cell.
        draw: number of the draw, when a cell needs several.

    Returns:
        float64, shape (cell, size).

    Source: hash: Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195 (SplitMix64).
    """
    key = _fold(_fold(_fold(0, seed), epoch), draw)
    stream = mix(index + _signed(key))  # neighbouring cells begin far apart
    steps = torch.arange(1, size + 1, dtype=torch.int64, device=index.device) * _signed(GOLDEN)
    bits = _shifted(mix(stream[:, None] + steps), 11)
    return torch.special.ndtri((bits.to(torch.float64) + 0.5) / 2.0**53)


def mix(x: Tensor) -> Tensor:
    """Scramble 64-bit integers, one to one: the finaliser of SplitMix64.

    The counter 1234567 gives the first number of that generator for this seed:

    >>> counter = torch.tensor([1234567]) + _signed(GOLDEN)
    >>> int(mix(counter)[0]) % 2**64
    6457827717110365317
    """
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _fold(key: int, number: int) -> int:
    """A key that depends on all numbers so far, and on their order."""
    return int(mix(torch.tensor(_signed(key + GOLDEN)) ^ _signed(number % WORD))) % WORD


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; that of int64 would copy the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    """The int64 of the same bits as an integer modulo 2⁶⁴."""
    number %= WORD
    return number - WORD if number >= WORD // 2 else number
