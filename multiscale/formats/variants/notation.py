"""Variants written as mutations: `A24G:T30P`, or in HGVS protein notation: `p.[Ala24Gly;Thr30Pro]`.

Source: HGVS recommendations for protein variants (den Dunnen et al. 2016, doi:10.1002/humu.22981), of which
substitutions, stops and unchanged residues are read; insertions, deletions and frame shifts have no place
in aligned sequences.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from multiscale.data.sequences import ALPHABETS, Sequences, letters_of
from multiscale.errors import DataError, FormatError

__all__ = ["WILD_TYPE", "Notation", "sequences_of_mutations"]

Notation = Literal["sequence", "hgvs", "mutations"]

WILD_TYPE = ("wt", "WT", "_wt", "=", "wild type", "wildtype")
"""Words for the unchanged sequence."""

_NAMES = ("Ala", "Cys", "Asp", "Glu", "Phe", "Gly", "His", "Ile", "Lys", "Leu", "Met", "Asn", "Pro", "Gln")
_THREE = dict(
    zip((*_NAMES, "Arg", "Ser", "Thr", "Val", "Trp", "Tyr", "Ter"), ALPHABETS["protein*"], strict=True)
)
_HGVS = re.compile(r"([A-Z][a-z]{2}|[A-Z*])(\d+)([A-Z][a-z]{2}|[A-Z*=])")
_PLAIN = re.compile(r"([^\s\d])(\d+)([^\s\d])")
_UNCHANGED = ("p.=", "p.(=)", "_sy")  # besides the words; _sy: unchanged protein, other codons (MaveDB)


@dataclass(frozen=True)
class _Change:
    """One substitution; `new` = '=' for an unchanged residue."""

    old: str
    number: int
    new: str


def sequences_of_mutations(
    texts: Sequence[str],
    *,
    reference: str,
    alphabet: str = "protein",
    first: int = 1,
    notation: Notation = "mutations",
    where: str = "table",
    lines: Sequence[int] | np.ndarray | None = None,
) -> Sequences:
    """Sequences of variants that are written as mutations of a wild type.

    Args:
        texts: `A24G`, several joined by `:`, `,`, `;`, `/` or `+`, `wt`; or HGVS: `p.Ala24Gly`,
            `p.[Ala24Gly;Thr30Pro]`, `p.=`, shape (row,).
        reference: wild type.
        alphabet: see `Sequences.read`.
        first: number of the first residue.
        notation: `mutations` or `hgvs`.
        where: file name.
        lines: line of every row in the file.

    Raises:
        FormatError: a text is none of these, a position lies outside, occurs twice, or has another letter
            in the wild type; names file, line, variant and remedy.

    >>> sequences_of_mutations(["M1A:V3K", "wt"], reference="MKV").texts()
    ['AKK', 'MKV']
    >>> sequences_of_mutations(["p.[Met1Ala;Val3=]"], reference="MKV", notation="hgvs").texts()
    ['AKV']
    """
    if not reference:
        raise FormatError(f"{where}: variants written as mutations need the wild type; give `reference`.")
    wild = Sequences.read([reference], alphabet=alphabet, reference=reference, first=first, where=where)
    assert wild.reference is not None
    codes, unique = pd.factorize(np.asarray(texts, dtype=object), use_na_sentinel=False)
    rows = np.repeat(wild.codes, len(unique), axis=0)
    for index, text in enumerate(unique):
        try:
            changes = _changes("" if pd.isna(text) else str(text).strip(), notation)
            _apply(rows[index], changes, wild, alphabet)
        except DataError as error:
            row = int(np.argmax(codes == index))
            place = f"line {lines[row]}" if lines is not None else f"row {row + 1}"
            raise FormatError(f"{where}, {place}: variant `{text}`: {error}") from None
    return Sequences(rows[codes], wild.alphabet, wild.reference, first)


def _changes(text: str, notation: Notation) -> list[_Change]:
    """Substitutions of one text."""
    if text in WILD_TYPE or (notation == "hgvs" and _body(text) in _UNCHANGED):
        return []
    pattern, parts = (_HGVS, _parts(text)) if notation == "hgvs" else (_PLAIN, re.split(r"[:,;/+\s]+", text))
    changes = []
    for part in parts:
        match = pattern.fullmatch(part)
        if match is None:
            expected = "p.Ala24Gly or p.=" if notation == "hgvs" else "A24G, A24G:T30P or wt"
            raise DataError(f"`{part}` is no substitution such as {expected}; leave out the row.")
        old, number, new = match.groups()
        changes.append(_Change(_letter(old), int(number), _letter(new)))
    return changes


def _body(text: str) -> str:
    """Text without the accession before it."""
    return text.rpartition(":")[2]


def _parts(text: str) -> list[str]:
    """Substitutions of one HGVS text: without accession, `p.`, brackets, and the parentheses of what is
    predicted."""
    body = _body(text)
    if not body.startswith("p."):
        raise DataError("it does not begin with `p.`; give the column with protein notation.")
    return [part.strip("()") for part in body[2:].strip("()").removeprefix("[").removesuffix("]").split(";")]


def _letter(word: str) -> str:
    """One letter of a residue."""
    if len(word) == 1:
        return word
    if word not in _THREE:
        raise DataError(f"`{word}` is no residue; the three-letter codes are {', '.join(_THREE)}.")
    return _THREE[word]


def _apply(row: np.ndarray, changes: list[_Change], wild: Sequences, alphabet: str) -> None:
    """Substitute in the codes of one sequence."""
    letters, seen = letters_of(alphabet), set()
    assert wild.reference is not None
    for change in changes:
        position, last = change.number - wild.first, wild.first + wild.length - 1
        if not 0 <= position < wild.length:
            raise DataError(f"position {change.number} lies outside {wild.first} to {last}; check `first`.")
        there = letters[wild.reference[position]]
        if there != change.old:
            said = f"the wild type has `{there}` at {change.number}, not `{change.old}`"
            raise DataError(f"{said}; check `first` and `reference`.")
        if change.number in seen:
            raise DataError(f"position {change.number} is changed twice; state one change.")
        seen.add(change.number)
        if change.new == "=":
            continue
        if change.new not in letters:
            raise DataError(
                f"letter `{change.new}` is not in the alphabet ({alphabet}: {letters}); leave out the row."
            )
        row[position] = letters.index(change.new)
