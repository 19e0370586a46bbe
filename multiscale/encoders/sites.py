"""Which positions of a molecule an encoder of sequences looks at, and what rows have there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from multiscale.data import Readings, Sequences
from multiscale.encoders.places import file_of, place
from multiscale.errors import ConfigError, DataError, nearest

__all__ = ["Sites", "check_positions", "name_variant", "sites_of"]


@dataclass(frozen=True, eq=False)
class Sites:
    """Consecutive positions of one molecule, the same in all readings.

    Args:
        molecule: its name.
        alphabet: letters.
        reference: wild type at these positions, codes; None if there is none.
        first: number of the first of them.
        length: how many.
    """

    molecule: str
    alphabet: str
    reference: np.ndarray | None
    first: int
    length: int

    def of(self, readings: Readings) -> Sequences:
        """Sequences of these readings at these positions.

        Raises:
            DataError: they have no sequence of the molecule, or one of another alphabet, wild type or
                numbering.
        """
        if self.molecule not in readings.sequences:
            hint = nearest(self.molecule, readings.sequences)
            raise DataError(f"{file_of(readings)}: there is no sequence of `{self.molecule}`; {hint}")
        whole = readings.sequences[self.molecule]
        start = self.first - whole.first
        if start < 0 or start + self.length > whole.length:
            needed = f"{self.first}-{self.first + self.length - 1}"
            raise DataError(
                f"{file_of(readings)}: positions {needed} of `{self.molecule}` are needed; got"
                f" {whole.first}-{whole.first + whole.length - 1}; give all readings the same `first`."
            )
        part = slice(start, start + self.length)
        reference = None if whole.reference is None else whole.reference[part]
        self._same(readings, whole.alphabet, reference)
        return replace(whole, codes=whole.codes[:, part], reference=reference, first=self.first)

    def _same(self, readings: Readings, alphabet: str, reference: np.ndarray | None) -> None:
        """Refuse another alphabet or wild type than that of the fitted readings."""
        if alphabet != self.alphabet:
            raise DataError(
                f"{file_of(readings)}: letters of `{self.molecule}` are {alphabet}; got {self.alphabet} in"
                " the fitted readings; give one `alphabet`."
            )
        if reference is None and self.reference is None:
            return
        if reference is None or self.reference is None or not np.array_equal(reference, self.reference):
            raise DataError(
                f"{file_of(readings)}: the wild type of `{self.molecule}` differs from that of the fitted"
                f" readings at positions {self.first}-{self.first + self.length - 1}; give one `reference`."
            )

    def names(self) -> list[str]:
        """Name of every letter at every position, such as `A24G`; '' for a wild-type letter."""
        none = np.empty((0, self.length), dtype=np.int8)
        return Sequences(none, self.alphabet, self.reference, self.first).mutation_names()


def sites_of(readings: Sequence[Readings], molecule: str, positions: Sequence[int] | None = None) -> Sites:
    """Positions of a molecule that all readings share.

    Args:
        readings: that are fitted, at least one.
        molecule: whose sequence is read.
        positions: numbers of the first and the last; None for all.

    Raises:
        ConfigError: the molecule has no such positions.
        DataError: readings differ in wild type, alphabet or numbering.
    """
    whole = readings[0].sequences[molecule]
    first, last = whole.first, whole.first + whole.length - 1
    begin, end = (first, last) if positions is None else positions
    if begin < first or end > last:
        raise ConfigError(f"`positions` must lie within {first}-{last} of `{molecule}`; got {begin}-{end}.")
    part = slice(begin - first, end - first + 1)
    reference = None if whole.reference is None else whole.reference[part]
    sites = Sites(molecule, whole.alphabet, reference, begin, end - begin + 1)
    for item in readings[1:]:
        sites.of(item)
    return sites


def check_positions(positions: Sequence[int] | None) -> None:
    """Refuse what is not two rising numbers.

    Raises:
        ConfigError: so it is.
    """
    if positions is None:
        return
    if len(positions) != 2 or any(not isinstance(p, int) for p in positions) or positions[0] > positions[1]:
        raise ConfigError(
            f"`positions` must be the numbers of the first and last position; got {positions!r}."
        )


def name_variant(readings: Readings, row: int, molecule: str) -> str:
    """Say where a row is: file, line and variant, for the beginning of an error message."""
    variant = readings.sequences[molecule].take(np.array([row])).labels()[0]
    return f"{place(readings, row)}: variant `{variant}`"
