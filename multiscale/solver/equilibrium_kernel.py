"""Compiled twin of `dual_newton`: the same rules, one system at a time, small dense matrices.

The blocks of a formula lie one after another in flat arrays. Nothing is generated from the formula, so a new
network needs no compilation. Reasons for the rules stand in the definition; tests hold the two equal.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = ["Layout", "adjoint_blocks", "layout", "solve_blocks"]

_compiled = njit(cache=True, nogil=True)
_EPSILON = np.finfo(np.float64).eps


class Layout(NamedTuple):
    """Blocks as flat arrays.

    Block b has molecules `molecule[b]:molecule[b + 1]` and species `species[b]:species[b + 1]`. Species j
    contains `subunits[e]` of molecule `member[e]`, counted from its block's first, for e in
    `entry[j]:entry[j + 1]`.
    """

    molecule: np.ndarray
    species: np.ndarray
    entry: np.ndarray
    member: np.ndarray
    subunits: np.ndarray
    ln_subunits: np.ndarray


class _Block(NamedTuple):
    """One block: `entry` cut to its species, the rest as in `Layout`."""

    entry: np.ndarray
    member: np.ndarray
    subunits: np.ndarray
    ln_subunits: np.ndarray


class _Work(NamedTuple):
    """Scratch of one system; per molecule, per species, and the upper triangular factor."""

    balance: np.ndarray
    base: np.ndarray
    direction: np.ndarray
    scratch: np.ndarray
    bound: np.ndarray
    change: np.ndarray
    factor: np.ndarray


def layout(formulas: list[np.ndarray]) -> Layout:
    """Flat arrays of a list of formulas, each of shape (molecule, species)."""
    columns = [column for formula in formulas for column in formula.T]
    member = [np.flatnonzero(column) for column in columns]
    subunits = np.concatenate([column[column > 0] for column in columns]).astype(np.float64)
    ends = [np.cumsum([0, *sizes]) for sizes in zip(*(formula.shape for formula in formulas), strict=True)]
    entry = np.cumsum([0, *map(len, member)])
    return Layout(ends[0], ends[1], entry, np.concatenate(member), subunits, np.log(subunits))


@_compiled
def _block(flat, b):
    entry = flat.entry[flat.species[b] : flat.species[b + 1] + 1]
    return _Block(entry, flat.member, flat.subunits, flat.ln_subunits)


@_compiled
def _work(flat):
    m, s = 0, 0
    for b in range(len(flat.molecule) - 1):
        m = max(m, flat.molecule[b + 1] - flat.molecule[b])
        s = max(s, flat.species[b + 1] - flat.species[b])
    vectors = np.empty(m), np.empty(m), np.empty(m), np.empty(m), np.empty(s), np.empty(s)
    return _Work(*vectors, np.empty((m, m)))


@_compiled
def _evaluate(block, ln_weight, multipliers, ln_x, x, balance):
    """State at the multipliers: ln x = ln w + Aᵀλ, x, and the balance A x."""
    balance[: len(multipliers)] = 0.0
    for j in range(len(ln_weight)):
        value = ln_weight[j]
        for e in range(block.entry[j], block.entry[j + 1]):
            value += block.subunits[e] * multipliers[block.member[e]]
        ln_x[j] = value
        x[j] = math.exp(value)
        for e in range(block.entry[j], block.entry[j + 1]):
            balance[block.member[e]] += block.subunits[e] * x[j]


@_compiled
def _set_bounds(block, ln_totals, bound):
    """ln of twice the most of a species that its molecules allow; ∞ for vanishing species."""
    for j in range(len(block.entry) - 1):
        bound[j] = math.inf
        for e in range(block.entry[j], block.entry[j + 1]):
            bound[j] = min(bound[j], ln_totals[block.member[e]] - block.ln_subunits[e] + math.log(2.0))
        bound[j] = bound[j] if bound[j] > -math.inf else math.inf


@_compiled
def _is_warm(rules, totals, ln_x, work):
    """Whether a start nearly balances and is not above any bound."""
    for j in range(len(ln_x)):
        if not ln_x[j] <= work.bound[j] + rules.warm:
            return False
    for m in range(len(totals)):
        if totals[m] > 0.0 and not abs(math.log(work.balance[m] / totals[m])) <= rules.warm:
            return False
    return True


@_compiled
def _set_all_free(block, ln_weight, ln_totals, multipliers):
    """Multipliers at which the species made of one molecule alone can hold its total; 0 if there is none."""
    multipliers[:] = math.inf
    for j in range(len(ln_weight)):
        e = block.entry[j]
        if block.entry[j + 1] == e + 1:
            m = block.member[e]
            one = (ln_totals[m] - block.ln_subunits[e] - ln_weight[j]) / block.subunits[e]
            multipliers[m] = min(multipliers[m], one)
    for m in range(len(multipliers)):
        if multipliers[m] == math.inf:
            multipliers[m] = 0.0 if ln_totals[m] > -math.inf else -math.inf


@_compiled
def _worst_molecule(rules, block, ln_totals, ln_x, top, slope):
    """Molecule whose most abundant species is furthest from carrying its total, or −1."""
    top[: len(ln_totals)] = -math.inf
    for j in range(len(ln_x)):
        for e in range(block.entry[j], block.entry[j + 1]):
            m, value = block.member[e], ln_x[j] + block.ln_subunits[e]
            if value > top[m]:
                top[m], slope[m] = value, block.subunits[e]
    worst, size = -1, rules.dominant
    for m in range(len(ln_totals)):
        if top[m] > -math.inf and abs(top[m] - ln_totals[m]) > size:
            worst, size = m, abs(top[m] - ln_totals[m])
    return worst


@_compiled
def _cold_start(rules, block, ln_weight, ln_totals, multipliers, ln_x, x, work):
    """Dominant-species equilibrium, then one shift that brings every species below its bound."""
    _set_all_free(block, ln_weight, ln_totals, multipliers)
    _evaluate(block, ln_weight, multipliers, ln_x, x, work.balance)
    top, slope = work.direction, work.scratch
    for _ in range(2 * len(multipliers)):
        worst = _worst_molecule(rules, block, ln_totals, ln_x, top, slope)
        if worst < 0:
            break
        shift = (top[worst] - ln_totals[worst]) / slope[worst]
        multipliers[worst] -= shift
        for j in range(len(ln_x)):
            for e in range(block.entry[j], block.entry[j + 1]):
                if block.member[e] == worst:
                    ln_x[j] -= shift * block.subunits[e]
    above = 0.0
    for j in range(len(ln_x)):
        subunits = 0.0
        for e in range(block.entry[j], block.entry[j + 1]):
            subunits += block.subunits[e]
        above = max(above, (ln_x[j] - work.bound[j]) / subunits)
    for m in range(len(multipliers)):
        multipliers[m] -= above
    _evaluate(block, ln_weight, multipliers, ln_x, x, work.balance)


@_compiled
def _set_hessian(block, x, U, alone):
    """Upper triangle of H, and the part of its diagonal from species made of one molecule alone."""
    U[:] = 0.0
    alone[:] = 0.0
    for j in range(len(x)):
        begin, end = block.entry[j], block.entry[j + 1]
        for e in range(begin, end):
            weighted = block.subunits[e] * x[j]
            for f in range(e, end):
                U[block.member[e], block.member[f]] += weighted * block.subunits[f]
        if end == begin + 1:
            alone[block.member[begin]] += block.subunits[begin] ** 2 * x[j]


@_compiled
def _factorise(U, alone, diagonal):
    """H = Uᵀ D⁻¹ U in place, 1 / pivot on the diagonal, 0 in rows left out; returns the smallest pivot."""
    smallest = 1.0
    for k in range(len(U)):
        diagonal[k] = U[k, k]
    for k in range(len(U)):
        pivot = max(U[k, k], alone[k])
        kept = alone[k] > 0.0 or pivot > len(U) * _EPSILON * diagonal[k]
        U[k, k] = 1.0 / pivot if kept else 0.0
        smallest = min(smallest, pivot / diagonal[k]) if kept else smallest
        for i in range(k + 1, len(U)):
            scale = U[k, i] * U[k, k]
            if scale != 0.0:
                for n in range(i, len(U)):
                    U[i, n] -= scale * U[k, n]
    return smallest


@_compiled
def _substitute(U, vector):
    """Solve Uᵀ D⁻¹ U y = vector in place; rows that were left out get zero."""
    for k in range(len(U)):
        scaled = vector[k] * U[k, k]
        for i in range(k + 1, len(U)):
            vector[i] -= U[k, i] * scaled
    for k in range(len(U) - 1, -1, -1):
        for i in range(k + 1, len(U)):
            vector[k] -= U[k, i] * vector[i]
        vector[k] *= U[k, k]


@_compiled
def _set_change(block, direction, change):
    """Change of ln x along a direction, Aᵀδ; returns the largest."""
    largest = 0.0
    for j in range(len(block.entry) - 1):
        change[j] = 0.0
        for e in range(block.entry[j], block.entry[j + 1]):
            change[j] += block.subunits[e] * direction[block.member[e]]
        largest = max(largest, abs(change[j]))
    return largest


@_compiled
def _slope(totals, balance, direction):
    """Minus the slope of f along a direction."""
    total = 0.0
    for m in range(len(totals)):
        total += (totals[m] - balance[m]) * direction[m]
    return total


@_compiled
def _move(rules, block, ln_weight, totals, multipliers, ln_x, x, work, largest):
    """Go along the direction to near the minimum of f, and evaluate there."""
    m = len(multipliers)
    base, direction, balance = work.base[:m], work.direction[:m], work.balance[:m]
    high = rules.furthest / largest if largest > 0.0 else 1.0
    for j in range(len(ln_x)):
        if work.change[j] > 0.0:
            high = min(high, max(work.bound[j] - ln_x[j], 1.0) / work.change[j])
    base[:] = multipliers
    slope = _slope(totals, balance, direction)
    low, length = 0.0, min(high, 1.0)
    for _ in range(rules.trials):
        for k in range(m):
            multipliers[k] = base[k] + length * direction[k]
        _evaluate(block, ln_weight, multipliers, ln_x, x, balance)
        ratio = _slope(totals, balance, direction) / slope if largest > rules.safe else 0.0
        if ratio > rules.short and length < 0.8 * high:
            low = length
        elif ratio < rules.long:
            high = length
        else:
            break
        length = min(2.0 * low, 0.5 * (low + high)) if low > 0.0 else 0.5 * high


@_compiled
def _newton(rules, block, ln_weight, ln_totals, totals, multipliers, ln_x, x, work, max_steps):
    """Solve one block of one system in place; returns the number of its `Status`."""
    m, s = len(totals), len(ln_weight)
    factor, alone, direction = work.factor[:m, :m], work.scratch[:m], work.direction[:m]
    _set_bounds(block, ln_totals, work.bound)
    for k in range(m):
        multipliers[k] = multipliers[k] if totals[k] > 0.0 else -math.inf
    _evaluate(block, ln_weight, multipliers, ln_x, x, work.balance)
    if not _is_warm(rules, totals, ln_x, work):
        _cold_start(rules, block, ln_weight, ln_totals, multipliers, ln_x, x, work)
    size = 1.0
    for j in range(s):
        size = max(size, abs(ln_weight[j]))
    largest, pivot, polished = math.inf, 1.0, 0
    for step in range(max_steps + 1):
        if _is_balanced(rules, size, totals, multipliers, work.balance):
            if largest <= rules.settled or polished == rules.polish:
                return 1 if rules.settled * pivot < _EPSILON else 0
            polished += 1
        if step < max_steps:
            _set_hessian(block, x, factor, alone)
            pivot = _factorise(factor, alone, work.base)
            for k in range(m):
                direction[k] = totals[k] - work.balance[k]
            _substitute(factor, direction)
            largest = _set_change(block, direction, work.change[:s])
            _move(rules, block, ln_weight, totals, multipliers, ln_x, x, work, largest)
    return 2


@_compiled
def _is_balanced(rules, size, totals, multipliers, balance):
    """Residual at the tolerance, or at the rounding error of the exponents if that is larger."""
    worst = 0.0
    for m in range(len(totals)):
        if totals[m] > 0.0:
            size = max(size, abs(multipliers[m]))
            error = abs(balance[m] - totals[m]) / totals[m]
            worst = error if not error <= worst else worst
    return worst <= max(rules.residual, rules.rounding * size)


@_compiled
def solve_blocks(rules, flat, max_steps, status, ln_weight, ln_totals, totals, multipliers, ln_x, x):
    """Solve every block of every system.

    `multipliers` holds the start and is overwritten, as are `ln_x`, `x` and `status` (system, block).
    """
    work = _work(flat)
    for i in range(len(totals)):
        for b in range(len(flat.molecule) - 1):
            block = _block(flat, b)
            m = slice(flat.molecule[b], flat.molecule[b + 1])
            s = slice(flat.species[b], flat.species[b + 1])
            given = ln_weight[i, s], ln_totals[i, m], totals[i, m]
            found = multipliers[i, m], ln_x[i, s], x[i, s]
            status[i, b] = _newton(rules, block, *given, *found, work, max_steps)


@_compiled
def adjoint_blocks(flat, x, v, u):
    """Solve H μ = A v + u for every block of every system; v becomes v − x ∘ Aᵀμ and u becomes μ."""
    work = _work(flat)
    for i in range(len(x)):
        for b in range(len(flat.molecule) - 1):
            block = _block(flat, b)
            mu = u[i, flat.molecule[b] : flat.molecule[b + 1]]
            begin, end = flat.species[b], flat.species[b + 1]
            for j in range(end - begin):
                for e in range(block.entry[j], block.entry[j + 1]):
                    mu[block.member[e]] += block.subunits[e] * v[i, begin + j]
            factor, alone = work.factor[: len(mu), : len(mu)], work.scratch[: len(mu)]
            _set_hessian(block, x[i, begin:end], factor, alone)
            _factorise(factor, alone, work.base)
            _substitute(factor, mu)
            _set_change(block, mu, work.change)
            for j in range(end - begin):
                v[i, begin + j] -= x[i, begin + j] * work.change[j]
