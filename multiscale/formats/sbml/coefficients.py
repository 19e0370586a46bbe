"""Constants of a rate law from the coefficients of a formula, term by term."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from fractions import Fraction

import numpy as np

from multiscale.formats.sbml.rational import Monomial, Polynomial, Rational

__all__ = ["AGREE", "MARK", "Solution", "solution_of"]

MARK = "constant "
"""Before the name of a constant of a law, which no name of a model begins with."""

AGREE = 1e-9
"""How well numbers must agree, relative: they are the same but for rounding."""

Solution = dict[str, tuple[Monomial, float]]
"""Powers of atoms and a factor by atom of a constant."""

Terms = dict[Monomial, tuple[Monomial, float]]


def solution_of(formula: Rational, law: Rational, species: Collection[str]) -> Solution | None:
    """Find the constants for which a law is a formula.

    Args:
        formula: of a model.
        law: over species and constants whose names begin with `MARK`.
        species: of the model.

    Returns:
        each constant (or power of one with a named exponent) as a product of powers of what the formula
        reads; None if there is no such solution, or more than one.
    """
    rows: list[tuple[Monomial, float, Monomial, float]] = []
    for mine, other in ((formula.above, law.above), (formula.below, law.below)):
        left, right = _terms(mine, species), _terms(other, species)
        if left is None or right is None or left.keys() != right.keys():
            return None
        rows += [(*left[key], *right[key]) for key in left]
    return _solve(rows)


def _terms(polynomial: Polynomial, species: Collection[str]) -> Terms | None:
    """Powers of species to powers of constants and a number; None if a coefficient is a sum."""
    found: Terms = {}
    for monomial, c in polynomial.items():
        read = tuple((a, n) for a, n in monomial if a.split("^")[0] in species)
        if read in found:
            return None
        found[read] = tuple(power for power in monomial if power not in read), c
    return found


def _solve(rows: Sequence[tuple[Monomial, float, Monomial, float]]) -> Solution | None:
    """Atoms of the law such that law = λ · formula in every term; None if they are not determined."""
    unknowns = sorted({a for _, _, law, _ in rows for a, _ in law if a.startswith(MARK)})
    atoms = sorted({a for mine, _, law, _ in rows for a, _ in (*mine, *law) if not a.startswith(MARK)})
    signs = {np.sign(c) * np.sign(d) for _, c, _, d in rows}
    if len(signs) != 1:
        return None
    left, right = np.zeros((len(rows), len(unknowns) + 1)), np.zeros((len(rows), len(atoms) + 1))
    for i, (mine, c, law, d) in enumerate(rows):
        left[i, -1], right[i, -1] = -1.0, math.log(abs(c) / abs(d))
        for a, n in law:
            if a.startswith(MARK):
                left[i, unknowns.index(a)] += float(n)
            else:
                right[i, atoms.index(a)] -= float(n)
        for a, n in mine:
            right[i, atoms.index(a)] += float(n)
    solution, _, rank, _ = np.linalg.lstsq(left, right, rcond=None)
    if rank < left.shape[1] or np.abs(left @ solution - right).max() > AGREE:
        return None
    return {name: _product(atoms, solution[i]) for i, name in enumerate(unknowns)}


def _product(atoms: Sequence[str], row: np.ndarray) -> tuple[Monomial, float]:
    powers = [(a, Fraction(float(n)).limit_denominator(60)) for a, n in zip(atoms, row[:-1], strict=True)]
    return tuple((a, n) for a, n in powers if n), math.exp(float(row[-1]))
