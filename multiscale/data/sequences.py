"""Aligned sequences of one molecule, one per row, and how they differ from its wild type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from multiscale.errors import DataError, nearest

__all__ = ["ALPHABETS", "Sequences", "letters_of"]

ALPHABETS = {
    "protein": "ACDEFGHIKLMNPQRSTVWY",
    "protein*": "ACDEFGHIKLMNPQRSTVWY*",
    "protein-": "ACDEFGHIKLMNPQRSTVWY-",
    "dna": "ACGT",
    "rna": "ACGU",
}
"""Letters by name of the alphabet; `*` is a stop, `-` a gap of an alignment."""

_UNKNOWN = -1
_SHOWN = 60  # letters of a sequence in a message


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of equal length.

    Args:
        codes: index into `alphabet`, int8, shape (row, position).
        alphabet: letters.
        reference: wild type, codes, shape (position,); None where there is none (unrelated sequences of an
            alignment).
        first: number of the first residue.
    """

    codes: np.ndarray
    alphabet: str
    reference: np.ndarray | None = None
    first: int = 1

    @classmethod
    def read(
        cls,
        texts: Sequence[str],
        *,
        alphabet: str = "protein",
        reference: str | None = None,
        first: int = 1,
        where: str = "table",
        lines: Sequence[int] | np.ndarray | None = None,
    ) -> Sequences:
        """Read one sequence per row. A stop that ends all of them is cut off if the alphabet has no stop.

        Args:
            texts: sequences of equal length, shape (row,).
            alphabet: name in `ALPHABETS`, or the letters themselves.
            reference: wild type; None or '' for sequences without one.
            first: number of the first residue.
            where: file name, for messages.
            lines: line of every row in the file, for messages; 1, 2, 3... if None.

        Raises:
            DataError: no row, another length than the others, a letter outside the alphabet; names file,
                line, variant.

        >>> sequences = Sequences.read(["MKV", "MAV"], reference="MKV", first=10)
        >>> sequences.labels(), sequences.mutations().tolist()
        (['wt', 'K11A'], [[-1], [20]])
        """
        letters = letters_of(alphabet)
        texts, wild = _without_stop([*texts], reference or "", letters)
        if not texts:
            raise DataError(f"{where}: there is no sequence; give at least one row.")
        rows = _Rows(texts, where, lines)
        rows.check_lengths(len(wild))
        codes = _encode("".join(texts), letters).reshape(len(texts), -1)
        rows.check_letters(codes, alphabet, letters)
        return cls(codes, letters, _reference(wild, letters, alphabet, where), first)

    def take(self, rows: np.ndarray) -> Sequences:
        """Some rows."""
        return replace(self, codes=self.codes[rows])

    @property
    def length(self) -> int:
        """Number of positions."""
        return self.codes.shape[1]

    def texts(self) -> list[str]:
        """Sequences as text, shape (row,)."""
        table = np.frombuffer(self.alphabet.encode("latin-1"), dtype=np.uint8)
        whole = table[self.codes].tobytes().decode("latin-1")
        return [whole[start : start + self.length] for start in range(0, len(whole), self.length)]

    def mutation_names(self) -> list[str]:
        """Name every letter at every position, position-major; '' for the letter of the wild type.

        Without a wild type names have none of its letters, such as `24G`.

        >>> Sequences.read(["AC"], alphabet="dna", reference="AC").mutation_names()
        ['', 'A1C', 'A1G', 'A1T', 'C2A', '', 'C2G', 'C2T']
        """
        numbers = range(self.first, self.first + self.length)
        if self.reference is None:
            return [f"{number}{letter}" for number in numbers for letter in self.alphabet]
        wild = [self.alphabet[code] for code in self.reference]
        pairs = zip(wild, numbers, strict=True)
        return ["" if old == new else f"{old}{number}{new}" for old, number in pairs for new in self.alphabet]

    def mutations(self) -> np.ndarray:
        """Which mutations every row has: position × letters of the alphabet + letter, int64, shape (row,
        slot).

        Rows with fewer mutations than slots are filled up with −1. Without a wild type all letters count.
        """
        if self.reference is None:
            return self.codes.astype(np.int64) + np.arange(self.length) * len(self.alphabet)
        row, position = np.nonzero(self.codes != self.reference)
        counts = np.bincount(row, minlength=len(self.codes))
        result = np.full((len(self.codes), max(int(counts.max(initial=0)), 1)), -1, dtype=np.int64)
        slot = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        result[row, slot] = position * len(self.alphabet) + self.codes[row, position]
        return result

    def labels(self) -> list[str]:
        """Name every row by its mutations, such as `A24G:T30P`, or `wt`; without a wild type by its
        sequence."""
        if self.reference is None:
            return self.texts()
        names = np.array([*self.mutation_names(), ""], dtype=object)
        slots = names[self.mutations()]
        return [":".join(filter(None, row)) or "wt" for row in slots.tolist()]


def letters_of(alphabet: str) -> str:
    """Letters of an alphabet given by name or by its letters.

    Raises:
        DataError: neither a name nor distinct letters.
    """
    if alphabet in ALPHABETS:
        return ALPHABETS[alphabet]
    lower_word = alphabet.isalpha() and alphabet.islower()
    if lower_word or len(set(alphabet)) != len(alphabet) or not 2 <= len(alphabet) <= 127:
        hint = nearest(alphabet, ALPHABETS)
        raise DataError(f"`alphabet` = `{alphabet}` is neither a name nor distinct letters; {hint}")
    if not alphabet.isascii():
        raise DataError(f"`alphabet` = `{alphabet}`: letters must be ASCII.")
    return alphabet


@dataclass(frozen=True)
class _Rows:
    """Sequences of a file, with what messages say of them."""

    texts: list[str]
    where: str
    lines: Sequence[int] | np.ndarray | None

    def check_lengths(self, wild: int) -> None:
        """All must be as long as the wild type, or as most are."""
        lengths = np.fromiter(map(len, self.texts), dtype=np.int64, count=len(self.texts))
        usual = wild or int(np.bincount(lengths).argmax())
        if not usual:
            self.refuse(0, "the sequence is blank; fill it or leave out the row")
        wrong = np.flatnonzero(lengths != usual)
        if len(wrong):
            than = "the wild type has" if wild else "the others have"
            problem = f"{lengths[wrong[0]]} letters, {than} {usual}; align it, or leave out the row"
            self.refuse(int(wrong[0]), problem, len(wrong))

    def check_letters(self, codes: np.ndarray, alphabet: str, letters: str) -> None:
        """All letters must be of the alphabet."""
        if codes.min(initial=0) == _UNKNOWN:
            row, position = np.nonzero(codes == _UNKNOWN)
            letter = self.texts[row[0]][position[0]]
            known = alphabet if alphabet == letters else f"{alphabet}: {letters}"
            problem = f"letter `{letter}` at place {position[0] + 1} is not in the alphabet ({known})"
            remedy = "; correct it, choose another `alphabet`, or leave out the row"
            self.refuse(int(row[0]), problem + remedy, len(np.unique(row)))

    def refuse(self, row: int, problem: str, count: int = 1) -> None:
        """Raise the error that names the row."""
        line = row + 1 if self.lines is None else self.lines[row]
        word = "row" if self.lines is None else "line"
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise DataError(f"{self.where}, {word} {line}{more}: variant `{_shown(self.texts[row])}`: {problem}.")


def _shown(text: str) -> str:
    """A sequence short enough for a message."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...({len(text)} letters)"


def _without_stop(texts: list[str], wild: str, letters: str) -> tuple[list[str], str]:
    """Cut the stop that ends all sequences, where stops are no letters."""
    if "*" in letters or not texts or not all(text.endswith("*") for text in texts):
        return texts, wild
    return [text[:-1] for text in texts], wild.removesuffix("*")


def _encode(text: str, letters: str) -> np.ndarray:
    """Codes of letters, −1 where there is none."""
    table = np.full(256, _UNKNOWN, dtype=np.int8)
    table[np.frombuffer(letters.encode("latin-1"), dtype=np.uint8)] = np.arange(len(letters))
    return table[np.frombuffer(text.encode("latin-1", errors="replace"), dtype=np.uint8)]


def _reference(wild: str, letters: str, alphabet: str, where: str) -> np.ndarray | None:
    """Codes of the wild type."""
    if not wild:
        return None
    codes = _encode(wild, letters)
    if (codes == _UNKNOWN).any():
        letter = wild[int(np.argmax(codes == _UNKNOWN))]
        said = f"letter `{letter}` is not in the alphabet ({alphabet}: {letters})"
        raise DataError(f"{where}: wild type `{_shown(wild)}`: {said}.")
    return codes
