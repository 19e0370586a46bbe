"""Residues told by their properties, and features in which residues of like properties are alike."""

from __future__ import annotations

import numpy as np

from multiscale.encoders.descriptors import HYDROPATHY, VOLUME

__all__ = [
    "HYDROPHOBIC",
    "MARKS",
    "NEGATIVE",
    "POSITIVE",
    "RESIDUES",
    "features_of_letters",
    "residue_features",
    "residue_kernel",
    "residue_properties",
]

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
"""Letters of the residues; the order of rows below."""
MARKS = {"proline": "P", "glycine": "G", "beta-branched": "ITV", "aromatic": "FWY"}
"""Residues that have a property others lack."""
POSITIVE, NEGATIVE = "KR", "DE"
"""Residues with charge +1 and −1 e at pH 7."""
HYDROPHOBIC = "".join(letter for letter in RESIDUES if HYDROPATHY[letter] > 0)
"""Residues of positive hydropathy."""


def residue_properties() -> np.ndarray:
    """Hydropathy and volume in standard deviations, charge in e at pH 7, and marks as 0 or 1.

    Returns:
        shape (residue, property).
    """
    letters = list(RESIDUES)
    numbers = [np.array([scale[letter] for letter in letters]) for scale in (HYDROPATHY, VOLUME)]
    charge = np.isin(letters, list(POSITIVE)) * 1.0 - np.isin(letters, list(NEGATIVE))
    marks = [np.isin(letters, list(having)) * 1.0 for having in MARKS.values()]
    return np.stack([*((x - x.mean()) / x.std() for x in numbers), charge, *marks], axis=1)


def residue_kernel(length: float = 1.0) -> np.ndarray:
    """How alike residues are, k(a, b) = exp(−|x_a − x_b|²/(2 length²)), x their properties.

    Args:
        length: distance over which residues stop being alike; one standard deviation, charge or mark is 1.

    Returns:
        shape (residue, residue).

    >>> like = dict(zip(RESIDUES, residue_kernel()[RESIDUES.index("I")].round(2).tolist(), strict=True))
    >>> like["V"], like["L"], like["D"]
    (0.81, 0.59, 0.0)
    """
    x = residue_properties()
    return np.exp(-np.square(x[:, None] - x).sum(-1) / (2.0 * length**2))


def residue_features(rank: int, length: float = 1.0) -> np.ndarray:
    """Leading components of the kernel after centring, whose squares sum to one for a typical residue.

    They sum to zero over the residues, so that a constant beside them is the mean.

    Args:
        rank: number of components, 1 to 19.
        length: of the kernel.

    Returns:
        shape (residue, component); the largest entry of every component is positive.
    """
    centring = np.eye(len(RESIDUES)) - 1.0 / len(RESIDUES)
    values, vectors = np.linalg.eigh(centring @ residue_kernel(length) @ centring)
    vectors = vectors[:, ::-1][:, :rank]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(rank)])
    features = vectors * np.sqrt(values[::-1][:rank])
    return features * np.sqrt(len(RESIDUES) / np.square(features).sum())


def features_of_letters(table: np.ndarray, alphabet: str) -> np.ndarray:
    """Rows of a table of residues for the letters of an alphabet, NaN for what is no residue (a stop, a gap).

    Args:
        table: shape (residue, feature).
        alphabet: letters.

    Returns:
        shape (letter, feature).
    """
    found = np.full((len(alphabet), table.shape[1]), np.nan)
    known = [letter in RESIDUES for letter in alphabet]
    found[known] = table[[RESIDUES.index(letter) for letter in alphabet if letter in RESIDUES]]
    return found
