"""How alike two entities are: shared words of their sequences, shared surroundings of their atoms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from multiscale.encoders.items import Item
from multiscale.encoders.residues import HYDROPHOBIC, NEGATIVE, POSITIVE, RESIDUES, residue_kernel
from multiscale.errors import ConfigError, DataError

__all__ = ["Aligned", "Kernel", "Morgan", "Spectrum"]


class Kernel(ABC):
    """A positive semidefinite similarity of entities, one of an entity with itself."""

    @abstractmethod
    def describe(self, items: Sequence[Item]) -> Any:
        """What of the entities the kernel compares."""

    @abstractmethod
    def between(self, some: Any, others: Any) -> np.ndarray:
        """Similarity of all pairs, shape (some, others)."""


class Spectrum(Kernel):
    """Words of k letters that two sequences share.

    k(x, y) = φ(x)·φ(y) / (|φ(x)| |φ(y)|), φ counts every word.

    Args:
        k: letters of a word, 1 to 7.

    Source: Leslie, Eskin & Noble 2002, The spectrum kernel: a string kernel for SVM protein classification.

    >>> words = Spectrum(2)
    >>> pair = words.describe([Item("a", ("ACAC",), "a"), Item("b", ("ACCC",), "b")])  # AC AC CA; AC CC CC
    >>> float(words.between(pair, pair)[0, 1].round(6))
    0.4
    """

    def __init__(self, k: int) -> None:
        if not 1 <= k <= 7:
            raise ConfigError(f"`k` must be 1 to 7 letters; got {k}.")
        self.k = k

    def describe(self, items: Sequence[Item]) -> list[np.ndarray]:
        """Words of every sequence, as numbers."""
        return [self._words(item) for item in items]

    def between(self, some: list[np.ndarray], others: list[np.ndarray]) -> np.ndarray:
        """Cosine of the counts of words."""
        every = [*some, *others]
        _, column = np.unique(np.concatenate(every), return_inverse=True)
        row = np.repeat(np.arange(len(every)), [len(words) for words in every])
        counts = sparse.csr_array(
            (np.ones(len(row)), (row, column)), shape=(len(every), int(column.max()) + 1)
        )
        counts.sum_duplicates()
        length = np.sqrt(counts.multiply(counts).sum(1))
        shared = (counts[: len(some)] @ counts[len(some) :].T).toarray()
        return shared / np.outer(length[: len(some)], length[len(some) :])

    def _words(self, item: Item) -> np.ndarray:
        """All words of one sequence, written in base 256."""
        text = item.cells[0]
        if len(text) < self.k or not text.isascii():
            raise DataError(
                f"{item.where}: `{item.name}` needs a sequence of at least {self.k} letters; got `{text}`;"
                " correct it or lower `k`."
            )
        letters = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(letters, self.k)
        return windows @ 256 ** np.arange(self.k)


class Morgan(Kernel):
    """Surroundings of atoms that two molecules share.

    k = |a ∩ b| / |a ∪ b|, the Tanimoto similarity of Morgan fingerprints a, b.

    Args:
        radius: bonds around an atom.
        bits: length of the fingerprint.

    Raises:
        ConfigError: RDKit is not installed.

    Source: Rogers & Hahn 2010, doi:10.1021/ci100050t.
    """

    def __init__(self, radius: int, bits: int) -> None:
        try:
            from rdkit.Chem import rdFingerprintGenerator  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ConfigError(
                '`kind = "morgan"` needs RDKit: install the extra `chem`, for example'
                " `pip install 'multiscale-biology[chem]'`."
            ) from None
        self.generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)

    def describe(self, items: Sequence[Item]) -> np.ndarray:
        """Fingerprints, shape (entity, bit)."""
        return np.array([self._fingerprint(item) for item in items], dtype=np.float64)

    def between(self, some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Tanimoto similarity."""
        shared = some @ others.T
        return shared / (some.sum(1)[:, None] + others.sum(1) - shared)

    def _fingerprint(self, item: Item) -> np.ndarray:
        """Fingerprint of one molecule."""
        from rdkit import Chem, rdBase  # pyright: ignore[reportMissingImports]

        with rdBase.BlockLogs():  # our own message names file and line
            molecule = Chem.MolFromSmiles(item.cells[0])
        if molecule is None or not molecule.GetNumAtoms():
            raise DataError(
                f"{item.where}: `{item.name}` has no valid SMILES; got `{item.cells[0]}`; correct or drop it."
            )
        return self.generator.GetFingerprintAsNumPy(molecule)


class Aligned(Kernel):
    """Like residues at like positions of aligned sequences, and likeness of the sequences as a whole.

    k(x, y) = (1 − o) Σ_p w_p (δ + κ)/2 / Σ_p w_p + o exp(−(Δq² + Δh²)/length), with δ and κ (see
    `residues.residue_kernel`) of the letters at p, q the net charge in e and h the count of hydrophobic
    residues. Letters that are no residues, such as gaps, are alike only to themselves.

    Args:
        weights: w, of every position; all alike if None.
        overall: o.

    >>> pair = [Item("a", ("AI",), "a"), Item("b", ("AV",), "b")]
    >>> kernel = Aligned(None, 0.0)
    >>> float(kernel.between(kernel.describe(pair), kernel.describe(pair))[0, 1].round(2))  # (1 + 0.81/2)/2
    0.7
    """

    def __init__(self, weights: Sequence[float] | None, overall: float) -> None:
        self.weights, self.overall = weights, overall
        self.length = None if weights is None else len(weights)
        self.alike = np.eye(128)
        codes = [ord(letter) for letter in RESIDUES]
        self.alike[np.ix_(codes, codes)] = 0.5 * (np.eye(len(codes)) + residue_kernel())

    def describe(self, items: Sequence[Item]) -> np.ndarray:
        """Letters of every sequence as numbers, shape (entity, position)."""
        self.length = len(items[0].cells[0]) if self.length is None else self.length
        for item in items:
            if len(item.cells[0]) != self.length or not item.cells[0].isascii():
                raise DataError(
                    f"{item.where}: `{item.name}` needs a sequence of {self.length} letters; got"
                    f' `{item.cells[0]}`; align it, or use `kind = "spectrum"`.'
                )
        return np.array([[ord(letter) for letter in item.cells[0].upper()] for item in items])

    def between(self, some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Likeness of all pairs."""
        weights = np.ones(some.shape[1]) if self.weights is None else np.array(self.weights, dtype=np.float64)
        total = np.zeros((len(some), len(others)))
        for p, weight in enumerate(weights / weights.sum()):
            total += weight * self.alike[some[:, p, None], others[:, p]]
        if not self.overall:
            return total
        square = np.square(_whole(some)[:, None] - _whole(others)).sum(-1)
        return (1.0 - self.overall) * total + self.overall * np.exp(-square / some.shape[1])


def _whole(codes: np.ndarray) -> np.ndarray:
    """Net charge and count of hydrophobic residues of sequences, shape (sequence, 2)."""
    positive, negative, hydrophobic = (
        np.isin(codes, [ord(letter) for letter in letters]).sum(1)
        for letters in (POSITIVE, NEGATIVE, HYDROPHOBIC)
    )
    return np.stack([positive - negative, hydrophobic], axis=1).astype(np.float64)
